"""Distances between two sets of pictures by their features, computed in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion.errors import DataError

BLOCKS, MAX_BLOCK = 10, 1000
ROWS = 256  # rows of a distance matrix that are in memory together


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D) of (N, D) features, float64.

    Raises DataError for fewer than 2 rows.
    """
    if features.ndim != 2 or len(features) < 2:
        raise DataError(
            f"the features have the shape {tuple(features.shape)}; give (N, D) with N of at least 2"
        )
    mean = features.mean(0, dtype=torch.float64)
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    for part in torch.split(features, 4096):  # a large reference in float64 may not fit in memory
        centred = part.double() - mean
        total.addmm_(centred.T, centred)
    return mean, total / (len(features) - 1)


def frechet(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """Frechet distance of two Gaussians (Heusel et al. 2017, arXiv:1706.08500, eq. 6).

    |m - n|^2 + tr(S + T - 2 (S T)^(1/2)). a, b: mean (D,) and covariance (D, D), see `moments`.

    The trace of the root equals that of (S^(1/2) T S^(1/2))^(1/2). This matrix is symmetric, so
    its eigenvalues are real.
    """
    (m, s), (n, t) = a, b
    values, vectors = torch.linalg.eigh(s)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ t @ root
    trace = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    distance = (m - n).square().sum() + s.trace() + t.trace() - 2 * trace
    return float(distance.clamp(min=0))


def kid(a: Tensor, b: Tensor, seed: int = 0) -> tuple[float, float]:
    """Kernel distance (KID) of (N, D) and (M, D) features, and its standard error.

    This is the unbiased squared MMD with the kernel (x . y / D + 1)^3 (Binkowski et al. 2018,
    arXiv:1801.01401). It is the mean over ten pairs of disjoint blocks of at most a thousand
    pictures each. seed: of the random blocks.

    Raises DataError for fewer than 20 pictures in a set.
    """
    if min(len(a), len(b)) < 2 * BLOCKS:
        raise DataError(
            f"KID compares {len(a)} with {len(b)} pictures; give at least {2 * BLOCKS} in each set"
        )
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for x in (a, b):
        size = min(MAX_BLOCK, len(x) // BLOCKS)
        order = torch.randperm(len(x), generator=generator)[: size * BLOCKS]
        halves.append(torch.split(x[order.to(x.device)].double(), size))
    parts = torch.stack([mmd(x, y) for x, y in zip(*halves, strict=True)])
    return float(parts.mean()), float(parts.std() / BLOCKS**0.5)


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared MMD of (N, D) and (M, D) with the kernel of `kid`; a tensor of shape ()."""

    def kernel(u: Tensor, v: Tensor) -> Tensor:
        return (u @ v.T / u.shape[1] + 1) ** 3

    def average_kernel(u: Tensor) -> Tensor:
        k = kernel(u, u)
        return (k.sum() - k.trace()) / (len(u) * (len(u) - 1))

    return average_kernel(x) + average_kernel(y) - 2 * kernel(x, y).mean()


class Manifold:
    """Estimate of the manifold of features (Kynkaanniemi et al. 2019, arXiv:1904.06991).

    It is the union of balls around all features; a ball reaches to the k-th nearest neighbour.
    """

    def __init__(self, features: Tensor, k: int = 3) -> None:
        """features: (N, D). k: number of the neighbour. Raises DataError unless N is above k."""
        if len(features) <= k:
            raise DataError(
                f"there are {len(features)} pictures to estimate a manifold from; give more than "
                f"{k}"
            )
        self.features = features.double()
        self._radii = torch.cat(
            [
                rows.kthvalue(k + 1, dim=1).values
                for rows in _distance_rows(self.features, self.features)
            ]
        )  # k + 1, since the nearest neighbour is the feature itself

    def contains(self, others: Tensor) -> Tensor:
        """(M, D) -> (M,) bool: whether each feature is inside the manifold."""
        return torch.cat(
            [
                (rows <= self._radii).any(1)
                for rows in _distance_rows(others.double(), self.features)
            ]
        )


def precision_recall(generated: Manifold, real: Manifold) -> tuple[float, float]:
    """Precision and recall, each 0 to 1.

    Precision is the share of generated features inside the manifold of the real ones; recall is the
    share of real features inside the manifold of the generated ones.
    """
    precision, recall = real.contains(generated.features), generated.contains(real.features)
    return float(precision.double().mean()), float(recall.double().mean())


def find_nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest row of b (M, D) for each row of a (N, D).

    Returns indices (N,) and distances (N,) float64.
    """
    indices = torch.cat([rows.argmin(1) for rows in _distance_rows(a.float(), b.float())])
    return indices, (a.double() - b[indices].double()).square().sum(1).sqrt()


def _distance_rows(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Yield the (N, M) distances from a to b in parts of at most ROWS rows."""
    for part in torch.split(a, ROWS):
        yield torch.cdist(part, b)
