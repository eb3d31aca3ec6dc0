"""The recipe of the diffusion model, when the encoder of its condition has changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from diffusion import Denoiser, files, load, preset
from diffusion.data import Vectors
from diffusion.model import checkpoint

ROOT = Path(__file__).resolve().parents[1]
NEW = {"name": "mini", "fingerprint": "new"}


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    kept = set(sys.modules)
    import train_ddpm

    yield train_ddpm
    for name in set(sys.modules) - kept:
        if str(ROOT / "scripts") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def turned(n: int = 64) -> tuple[Vectors, Vectors, torch.Tensor]:
    """Vectors of the same pictures by two encoders that differ by a rotation, and the rotation."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    rows = torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=1)
    names = tuple(f"{i}.jpg" for i in range(n))
    other = torch.randperm(n, generator=generator).tolist()
    old = (rows @ rotation)[other].half()
    return (
        Vectors(rows.half(), names, NEW),
        Vectors(old, tuple(names[i] for i in other), {"name": "mini", "fingerprint": "old"}),
        rotation,
    )


def test_the_map_leads_from_the_new_vectors_to_the_earlier_ones(recipe: ModuleType) -> None:
    new, old, rotation = turned()
    assert (recipe.fitted(new, old) - rotation).abs().max() < 0.01


def test_a_state_is_turned_once(recipe: ModuleType, tmp_path: Path) -> None:
    path, names = tmp_path / "state.safetensors", ("net", "ema", "adam.exp_avg")
    recipe.turn(path, torch.eye(8), "new")  # there is none
    state = {f"{kind}.{recipe.LAYER}": torch.randn(5, 8) for kind in names}
    files.write_tensors(path, state, {"step": "7"})
    across = turned()[2]
    for _ in range(2):
        recipe.turn(path, across, "new")
    for key, rows in load_file(path).items():
        assert torch.allclose(rows, state[key] @ across.T)
    recipe.turn(path, across.T, "newer")
    for key, rows in load_file(path).items():
        assert torch.allclose(rows, state[key], atol=1e-5)


def test_a_turned_model_does_under_new_vectors_what_it_did(
    recipe: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Denoiser(preset("tiny").conditioned("vector", 8)).eval()
    torch.nn.init.normal_(model.net.condition.weight)
    path = tmp_path / "checkpoint.safetensors"
    about = {"step": 7, "encoder": {"name": "mini", "fingerprint": "old"}}
    checkpoint.save(path, model.config, model.net.state_dict(), about)
    new, _, rotation = turned(2)
    rows = new.rows.float()
    wanted = load(path).net.embed(torch.zeros(2), rows @ rotation)
    for _ in range(2):  # the second finds it done
        recipe.turn_checkpoint(path, rotation, NEW)
    found = load(path, encoder="new").net.embed(torch.zeros(2), rows)
    assert torch.allclose(found, wanted, atol=1e-4) and wanted.std() > 0.01
    said = json.loads(path.with_suffix(".json").read_text())
    assert said["step"] == 7 and said["encoder"] == NEW
