"""The Embedder protocol: what every implementation must do.

A new embedder is a line in `OPENERS`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from search.embedders.base import Embedder
from search.embedders.diffusion import DiffusionEmbedder
from search.embedders.mini import Mini
from search.embedders.openclip import OpenClip
from search.embedders.timm import Timm
from search.media.preprocessing import Preprocessing
from search.types import Pixels, Vectors

SHIPPED = Mini().path


class MeanColor:
    """The smallest embedder: the mean colour, scaled by weights of its own and a constant."""

    name, dim, terms, batch = "mean-color", 4, "made for this test", 8
    preprocessing = Preprocessing(16)

    def __init__(self, weights: Path) -> None:
        self._weights = np.frombuffer(weights.read_bytes(), np.float32)
        text = f"{self.name} {self._weights.tobytes().hex()} {self.preprocessing}"
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def load(self) -> object:
        return self

    def embed(self, pixels: Sequence[Pixels]) -> Vectors:
        rows = [[*(one.mean((0, 1)) / 255), 1.0] * self._weights for one in pixels]
        array = np.array(rows, np.float32).reshape(len(pixels), self.dim)
        unit: Vectors = array / np.linalg.norm(array, axis=1, keepdims=True)
        return unit


def open_mini_in_numpy(weights: Path) -> Mini:
    embedder = Mini(weights=weights)
    embedder.runner.load("numpy")
    return embedder


OPENERS: dict[str, Callable[[Path], Embedder]] = {
    "mini": lambda path: Mini(weights=path),
    "mini in numpy": open_mini_in_numpy,
    "openclip": lambda path: OpenClip(f"ViT-S-32-alt:{path}"),
    "timm": lambda path: Timm(f"timm:test_vit.r160_in1k:{path}"),
    "diffusion": lambda path: DiffusionEmbedder(weights=path),
    "in memory": MeanColor,
}
"""Implementation -> how to open it with weights of a file."""


@pytest.fixture(scope="module", params=list(OPENERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def weights(
    kind: str, clip: str, timm_model: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The file of weights of an implementation."""
    if kind == "in memory":
        path = tmp_path_factory.mktemp("mean") / "weights"
        path.write_bytes(np.array([1, 2, 3, 1], np.float32).tobytes())
        return path
    return {
        "mini": SHIPPED,
        "mini in numpy": SHIPPED,
        "openclip": Path(clip.split(":")[1]),
        "timm": Path(timm_model.split(":")[2]),
        "diffusion": DiffusionEmbedder().path,
    }[kind]


@pytest.fixture(scope="module")
def embedder(kind: str, weights: Path) -> Embedder:
    return OPENERS[kind](weights)


@pytest.fixture(scope="module")
def batch(embedder: Embedder) -> list[Pixels]:
    """Five different pictures, prepared."""
    rng = np.random.default_rng(0)
    colors = [rng.integers(0, 256, (9, 7, 3), dtype=np.uint8) for _ in range(5)]
    return [embedder.preprocessing(Image.fromarray(one).resize((200, 90))) for one in colors]


def test_it_describes_itself(embedder: Embedder) -> None:
    assert isinstance(embedder, Embedder)
    assert embedder.name and embedder.terms and "\n" not in embedder.terms
    assert len(embedder.fingerprint) == 16 and int(embedder.fingerprint, 16) >= 0
    assert embedder.dim >= 1
    embedder.load()
    assert embedder.batch >= 1


def test_preprocessing_gives_its_shape(embedder: Embedder, batch: list[Pixels]) -> None:
    height, width, channels = embedder.preprocessing.shape
    assert channels == 3 and height >= 1 and width >= 1
    assert all(one.shape == (height, width, 3) and one.dtype == np.uint8 for one in batch)


def test_vectors_have_shape_and_unit_length(embedder: Embedder, batch: list[Pixels]) -> None:
    vectors = embedder.embed(batch)
    assert vectors.shape == (5, embedder.dim) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_an_empty_batch_gives_no_vectors(embedder: Embedder) -> None:
    vectors = embedder.embed([])
    assert vectors.shape == (0, embedder.dim) and vectors.dtype == np.float32


def test_the_same_picture_gets_the_same_vector(
    kind: str, weights: Path, embedder: Embedder, batch: list[Pixels]
) -> None:
    vectors = embedder.embed(batch)
    assert np.array_equal(embedder.embed(batch), vectors)
    again = OPENERS[kind](weights)
    assert again.fingerprint == embedder.fingerprint
    assert np.abs(again.embed(batch) - vectors).max() < 1e-5


def test_different_pictures_get_different_vectors(embedder: Embedder, batch: list[Pixels]) -> None:
    vectors = embedder.embed(batch)
    assert all(np.abs(vectors[0] - other).max() > 1e-4 for other in vectors[1:])


def test_a_batch_gives_the_vectors_of_its_pictures(embedder: Embedder, batch: list[Pixels]) -> None:
    alone = np.concatenate([embedder.embed([one]) for one in batch])
    assert np.abs(embedder.embed(batch) - alone).max() < 1e-5


def test_the_pictures_stay_as_they_are(embedder: Embedder, batch: list[Pixels]) -> None:
    before = [one.copy() for one in batch]
    embedder.embed(batch)
    assert all(np.array_equal(one, other) for one, other in zip(batch, before, strict=True))


def test_the_fingerprint_follows_the_weights_and_not_their_place(
    kind: str, weights: Path, embedder: Embedder, tmp_path: Path
) -> None:
    copy = tmp_path / f"copy{weights.suffix}"
    shutil.copy(weights, copy)
    assert OPENERS[kind](copy).fingerprint == embedder.fingerprint
    if weights.suffix == ".safetensors":
        with safe_open(weights, "pt") as file:
            metadata = file.metadata()
        state = load_file(weights)
        first = next(key for key, value in state.items() if value.is_floating_point())
        save_file(state | {first: state[first] + 0.5}, copy, metadata)
    else:
        copy.write_bytes(np.array([1, 2, 3, 4], np.float32).tobytes())
    assert OPENERS[kind](copy).fingerprint != embedder.fingerprint
