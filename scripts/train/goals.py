"""The pictures that `mini` is trained on, and what its teachers answer for each (its goals)."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import networks
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from diffusion import files
from search.embedders.efficientnet import EfficientNetLite
from search.embedders.mobilenet import MiniNet, to_tensor
from search.media.preprocessing import Preprocessing

OPEN = ("photos144-open-*.zip", "photos288-open-*.zip")
TINY = ("photos64-train-*.zip",)
CHUNK = 1024  # pictures of one file of goals
MOSAICS = 2000
SHARE = 0.6  # weight of MobileNetV2's features beside EfficientNet-Lite2's
NEIGHBOURS = 20
DIM = 512
Net = EfficientNetLite | MiniNet


@dataclass(frozen=True)
class Pool:
    """Encoded pictures. names: where each is from, unique and in the same order."""

    names: list[str]
    data: list[bytes]

    def twins(self) -> torch.Tensor:
        """(n,) the other row of the same photograph at another size, or the own row."""
        first: dict[str, int] = {}
        rows = list(range(len(self.names)))
        for row, name in enumerate(self.names):
            other = first.setdefault(name.split(".zip/")[-1], row)
            if other != row:
                rows[row], rows[other] = other, row
        return torch.tensor(rows)

    def picture(self, row: int) -> Image.Image:
        """The upright RGB picture of a row."""
        return Image.open(io.BytesIO(self.data[row])).convert("RGB")


def read_pool(data: Path, tiny: bool, seed: int) -> Pool:
    """The open photographs, the CC0 clothing training pictures, and mosaics of four of these.

    tiny: add the Tiny ImageNet training pictures, which are not for commercial use.
    """
    names, encoded = [], []
    for pattern in OPEN + (TINY if tiny else ()):
        for path in sorted(data.glob(pattern)):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith((".webp", ".jpg")):
                        names.append(f"{path.name}/{name}")
                        encoded.append(archive.read(name))
    for path in sorted((data / "clothing" / "train").glob("*/*")):
        names.append(f"clothing/{path.name}")  # without the folder: its label is not used
        encoded.append(path.read_bytes())
    pool, rng = Pool(names, encoded), random.Random(seed)
    large = [row for row, name in enumerate(names) if not name.startswith("photos64")]
    for number in range(min(MOSAICS, len(large))):
        encoded.append(_mosaic(pool, rng.sample(large, 4)))
        names.append(f"mosaic/{number}")
    return pool


def _mosaic(pool: Pool, rows: list[int], side: int = 144) -> bytes:
    """Two by two pictures on one sheet, as JPEG."""
    prepare, sheet = Preprocessing(side), Image.new("RGB", (2 * side, 2 * side))
    for i, row in enumerate(rows):
        tile = Image.fromarray(prepare(pool.picture(row)))
        sheet.paste(tile, (side * (i % 2), side * (i // 2)))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=90)
    return out.getvalue()


def teach(data: Path, pool: Pool, folder: Path, say: Callable[[str], None]) -> None:
    """Write the teachers' features (n, 1280) and logits (n, 1000) of all pictures, in chunks.

    Existing chunks stay, so that a stopped run resumes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, second = networks.efficientnet(data), networks.mobilenet(data)
    for start in range(0, len(pool.names), CHUNK):
        path = folder / f"{start:06d}.safetensors"
        if path.exists():
            continue
        rows = range(start, min(start + CHUNK, len(pool.names)))
        parts = [_answers(first, second, pool, rows[i : i + 16]) for i in range(0, len(rows), 16)]
        merged = {key: torch.cat([part[key] for part in parts]).half() for key in parts[0]}
        files.write_tensors(path, merged, {})
        say(f"goals: {rows.stop} of {len(pool.names)} pictures")


@torch.inference_mode()
def _answers(first: EfficientNetLite, second: MiniNet, pool: Pool, rows: range) -> dict:
    pictures = [pool.picture(row) for row in rows]
    lite = features(first, pictures, Preprocessing(260, "between"))
    return {
        "lite": lite,
        "mobile": features(second, pictures, Preprocessing(224, "between")),
        "logits": first.classes(lite),
    }


@torch.inference_mode()
def features(net: Net, pictures: list[Image.Image], prepare: Preprocessing) -> torch.Tensor:
    """n pictures -> (n, 1280) pooled features."""
    return net.features(to_tensor([prepare(p) for p in pictures], net.mean, net.std))


@dataclass
class Goals:
    """What `mini` should answer. vectors, plain: (n, 512) of unit length, with and without the
    neighbours; logits: (n, 1000)."""

    vectors: torch.Tensor
    plain: torch.Tensor
    logits: torch.Tensor
    turn: torch.Tensor

    @classmethod
    def read(cls, folder: Path, neighbours: float) -> Goals:
        """From the chunks that `teach` wrote.

        The features of both teachers, each of unit length, are put side by side (so that cosines
        are averaged) and reduced to the 512 directions with most energy. To each vector the mean
        of its nearest others is added (Iscen et al. 2018, arXiv:1803.11095), with weight
        `neighbours` where their mean cosine is at least .75, none below .55, linear between.
        """
        chunks = [load_file(path) for path in sorted(folder.glob("*.safetensors"))]
        lite, mobile = (torch.cat([c[key] for c in chunks]) for key in ("lite", "mobile"))
        features = join_features(lite, mobile)
        turn = torch.linalg.eigh(features.T @ features).eigenvectors[:, -DIM:]
        plain = F.normalize(features @ turn, dim=1)
        mean, cosine = neighbour_means(plain)
        weight = neighbours * ((cosine - 0.55) / 0.2).clamp(0, 1)
        vectors = F.normalize(plain + weight[:, None] * mean, dim=1)
        return cls(vectors, plain, torch.cat([c["logits"] for c in chunks]), turn)

    def to(self, device: str) -> Goals:
        """The same on a device."""
        return Goals(*(getattr(self, field.name).to(device) for field in fields(self)))


def join_features(lite: torch.Tensor, mobile: torch.Tensor) -> torch.Tensor:
    """(n, 1280) of each teacher -> (n, 2560) of unit length."""
    parts = F.normalize(lite.float(), dim=1), SHARE * F.normalize(mobile.float(), dim=1)
    return F.normalize(torch.cat(parts, 1), dim=1)


def neighbour_means(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, d) of unit length -> the (n, d) unit mean of the nearest other rows, weighted by cosine
    cubed, and the (n,) mean cosine of these."""
    means, cosines = [], []
    for start in range(0, len(vectors), 1024):
        scores = vectors[start : start + 1024] @ vectors.T
        rows = torch.arange(len(scores))
        scores[rows, start + rows] = -1
        top, places = scores.topk(NEIGHBOURS)
        means.append((top.clamp(min=0)[..., None] ** 3 * vectors[places]).sum(1))
        cosines.append(top.mean(1))
    return F.normalize(torch.cat(means), dim=1), torch.cat(cosines)


def as_array(pictures: list[Image.Image], prepare: Preprocessing) -> np.ndarray:
    """n pictures -> (n, S, S, 3) uint8."""
    return np.stack([prepare(picture) for picture in pictures])
