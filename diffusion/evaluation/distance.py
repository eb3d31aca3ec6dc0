"""How far two sets of pictures are apart, by their features. In float64, whatever comes in."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.errors import DataError

BLOCKS, MOST_BLOCK = 10, 1000
ROWS = 256  # compared at a time


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) -> mean (D,) and unbiased covariance (D, D). Raises DataError for N < 2."""
    if features.ndim != 2 or len(features) < 2:
        raise DataError(f"features of the shape {tuple(features.shape)}: give at least 2 rows")
    mean = features.mean(0, dtype=torch.float64)
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for part in torch.split(features, 4096):  # never all of a large reference in float64
        centred = part.double() - mean
        total.addmm_(centred.T, centred)
    return mean, total / (len(features) - 1)


def frechet(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """Frechet distance of two Gaussians, each mean and covariance (Heusel et al. 2017,
    arXiv:1706.08500, eq. 6): |m - n|^2 + tr(S + T - 2 (S T)^(1/2)).

    The trace of the root is that of (S^(1/2) T S^(1/2))^(1/2), which is symmetric, so its
    eigenvalues are real and the distance needs no root of a general matrix.
    """
    (m, s), (n, t) = a, b
    values, vectors = torch.linalg.eigh(s)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ t @ root
    trace = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    apart = (m - n).square().sum() + s.trace() + t.trace() - 2 * trace
    return float(apart.clamp(min=0))


def kid(a: Tensor, b: Tensor, seed: int = 0) -> tuple[float, float]:
    """Kernel distance of (N, D) and (M, D), and its standard error (Binkowski et al. 2018,
    arXiv:1801.01401): the unbiased squared MMD under (x . y / D + 1)^3.

    The mean over ten pairs of blocks that share no picture, drawn by the seed, of at most a
    thousand pictures each. Raises DataError for fewer than 20 pictures.
    """
    if min(len(a), len(b)) < 2 * BLOCKS:
        raise DataError(f"{len(a)} and {len(b)} pictures: KID needs at least {2 * BLOCKS} of each")
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for x in (a, b):
        size = min(MOST_BLOCK, len(x) // BLOCKS)
        order = torch.randperm(len(x), generator=generator)[: size * BLOCKS]
        halves.append(torch.split(x[order.to(x.device)].double(), size))
    parts = torch.stack([mmd(x, y) for x, y in zip(*halves, strict=True)])
    return float(parts.mean()), float(parts.std() / BLOCKS**0.5)


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared MMD of (N, D) and (M, D) under that kernel, a number."""

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / u.shape[1] + 1) ** 3

    def among(u: Tensor) -> Tensor:
        k = kernel(u, u)
        return (k.sum() - k.trace()) / (len(u) * (len(u) - 1))

    return among(x) + among(y) - 2 * kernel(x, y).mean()


class Manifold:
    """Where features are: within reach of one of them, as far as its k-th neighbour
    (Kynkaanniemi et al. 2019, arXiv:1904.06991)."""

    def __init__(self, features: Tensor, k: int = 3) -> None:
        """features: (N, D). Raises DataError for no more than k of them."""
        if len(features) <= k:
            raise DataError(f"{len(features)} pictures: give more than {k}")
        self.features = features.double()
        self._radii = torch.cat(
            [rows.kthvalue(k + 1, dim=1).values for rows in _rows(self.features, self.features)]
        )  # the first is the picture itself

    def holds(self, others: Tensor) -> Tensor:
        """(M, D) -> (M,): is each within reach of any."""
        return torch.cat(
            [(rows <= self._radii).any(1) for rows in _rows(others.double(), self.features)]
        )


def precision_recall(made: Manifold, real: Manifold) -> tuple[float, float]:
    """Share of the made pictures that are where real ones are, and the other way round."""
    precision, recall = real.holds(made.features), made.holds(real.features)
    return float(precision.double().mean()), float(recall.double().mean())


def nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D), (M, D) -> for each of a its nearest of b: index (N,) and distance (N,) float64."""
    found = torch.cat([rows.argmin(1) for rows in _rows(a.float(), b.float())])
    return found, (a.double() - b[found].double()).square().sum(1).sqrt()


def _rows(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Distances from some of a to all of b, (at most ROWS, M), part by part."""
    for part in torch.split(a, ROWS):
        yield torch.cdist(part, b)
