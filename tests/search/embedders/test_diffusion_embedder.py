"""`diffusion`: the embedder over features of the latent diffusion model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.project import SAMPLES
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from search import Engine, ModelError
from search.embedders.diffusion import DiffusionEmbedder
from search.embedders.mini import Mini


def test_it_was_fitted_to_the_model_that_ships() -> None:
    embedder = DiffusionEmbedder()
    features = embedder.load()
    assert embedder.preprocessing.shape == (features.model.config.size,) * 2 + (3,)
    assert embedder.load() is features


def test_it_finds_the_other_half_of_a_picture() -> None:
    """Alone among samples: the right halves are the index, the left ones the queries."""
    embedder = DiffusionEmbedder()
    halves: list[list[np.ndarray]] = [[], []]
    for path in sorted(SAMPLES.rglob("*.jpg"))[::12]:
        with Image.open(path) as picture:
            whole = picture.convert("RGB")
        middle = whole.width // 2
        halves[0].append(embedder.preprocessing(whole.crop((0, 0, middle, whole.height))))
        halves[1].append(embedder.preprocessing(whole.crop((middle, 0, *whole.size))))
    left, right = (embedder.embed(one) for one in halves)
    is_first = (left @ right.T).argmax(1) == np.arange(len(left))
    assert is_first.mean() > 0.5  # by chance 1 of some 10


def test_a_library_is_indexed_with_it(library: Callable[..., Engine], folder: Path) -> None:
    for name in ("01", "02", "03"):
        (folder / f"{name}.jpg").write_bytes((SAMPLES / "hat" / f"{name}.jpg").read_bytes())
    engine = library(model="diffusion")
    assert engine.sync(folder).embedded == 3
    hits = engine.search(folder / "02.jpg")
    assert hits.model == "diffusion" and hits[0].path == str(folder / "02.jpg")
    assert hits[0].score == pytest.approx(1, abs=1e-3) and (hits[1].score or 1) < 0.9
    assert engine.status().spaces[0].name == "diffusion"


def test_it_refuses_another_version_of_the_diffusion_model(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    with safe_open(DiffusionEmbedder().path, "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        config = json.loads(file.metadata()["config"]) | {"sha256": "0" * 64}
    save_file(tensors, other, {"config": json.dumps(config)})
    with pytest.raises(ModelError, match="another version"):
        DiffusionEmbedder(weights=other).load()


def test_other_files_are_refused(tmp_path: Path) -> None:
    missing, foreign = tmp_path / "none.safetensors", tmp_path / "foreign.safetensors"
    save_file({"mean": np.zeros(3, np.float32)}, foreign, {"config": "{}"})
    for path in (missing, foreign, Mini().path):
        with pytest.raises(ModelError, match="reinstall the package"):
            DiffusionEmbedder(weights=path)
    with pytest.raises(ModelError, match="cannot be used"):
        DiffusionEmbedder("no-such-device").load()
