"""The diffusion model in the package: it denoises, and its card is right."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.project import SAMPLES

import diffusion
from diffusion import Denoiser, Options, Run, load, sample
from diffusion.data import read_pictures, to_unit
from diffusion.model import checkpoint
from search.embedders.mini import Mini

CARD = checkpoint.shipped_path().with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def model() -> Denoiser:
    return load()


def test_the_card_is_of_these_weights(model: Denoiser) -> None:
    digest = hashlib.sha256(checkpoint.shipped_path().read_bytes()).hexdigest()
    assert digest == model.about["sha256"] and digest in CARD
    assert f"{model.about['seen']:,} pictures" in CARD


def test_it_is_conditioned_on_the_encoder_in_the_package(model: Denoiser) -> None:
    mini = Mini(version="mini-1")
    assert model.about["encoder"] == {"name": "mini", "fingerprint": mini.fingerprint}
    assert model.config.shape.width == mini.dim
    load(encoder=mini.fingerprint)


def test_a_weak_model_guides_it(model: Denoiser) -> None:
    """An earlier checkpoint of the same network, under vectors of the same encoder."""
    weak = model.weak
    assert weak is not None and weak.config == model.config
    assert weak.about["encoder"] == model.about["encoder"]
    assert weak.about["sha256"] in CARD and f"{weak.about['seen']:,} pictures" in CARD
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sigma, vector = torch.tensor([2.0], dtype=torch.float64), torch.eye(512)[:1]
    strong, guide = model(x, sigma, vector), weak(x, sigma, vector)
    guided = model.make_denoise_function(vector, 3.0)(x, 2.0)
    assert torch.allclose(guided, guide + 3 * (strong - guide), atol=1e-4)


def test_guidance_by_the_weak_model_needs_no_condition(model: Denoiser) -> None:
    plain, guided = (sample(model, 1, steps=3, guidance=w) for w in (1.0, 2.0))
    assert not torch.allclose(plain, guided, atol=0.05)


def test_all_weights_together_are_small() -> None:
    root = Path(diffusion.__file__).parents[1]
    weights = [*root.glob("*/weights/*.safetensors"), *root.glob("*/*/weights/*.safetensors")]
    assert len(weights) > 8 and sum(path.stat().st_size for path in weights) < 80_000_000


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_it_denoises_pictures_it_has_not_seen(model: Denoiser, sigma: float) -> None:
    """Far better than the best that shrinking towards the mean of all pictures can do."""
    x0 = to_unit(read_pictures([SAMPLES], model.config.size).images[:32])
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    guess = model(x0 + sigma * eps, torch.full((len(x0),), sigma))
    mean = x0.mean((0, 2, 3), keepdim=True)
    variance = (x0 - mean).square().mean()
    shrunk = mean + variance / (variance + sigma**2) * (x0 + sigma * eps - mean)
    assert (guess - x0).square().mean() < 0.6 * (shrunk - x0).square().mean()


def test_samples_are_pictures(model: Denoiser) -> None:
    samples = sample(model, 4, steps=8)
    assert samples.shape == (4, 3, 64, 64) and samples.abs().max() <= 1
    neighbours = (samples[..., 1:] - samples[..., :-1]).square().mean() / samples.var()
    assert neighbours < 1  # of independent pixels it is 2


def test_a_run_can_start_from_it(model: Denoiser, tmp_path: Path) -> None:
    """Without vectors it samples as if the condition was dropped."""
    options = Options(
        (str(SAMPLES),), str(tmp_path), start="shipped", steps=1, batch=2, device="cpu"
    )
    run = Run(options)
    begun = run.trainer.model.net.state_dict()
    assert all(torch.equal(begun[name], w) for name, w in model.net.state_dict().items())
    *_, last = run.go()
    assert last.finished
    tuned = load(tmp_path / "checkpoint.safetensors")
    assert tuned.config == model.config and tuned.about["encoder"] == model.about["encoder"]


def test_the_commands_need_nothing_but_the_package(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "search", "diffusion"]
    picture = str(SAMPLES / "hat" / "01.jpg")
    for words in (
        ["sample", "-n", "4", "-o", "out", "--steps", "4"],
        ["process", picture, "-o", "process.png", "--steps", "10"],
        ["evaluate", "--data", str(SAMPLES), "-n", "20", "--steps", "2"],
    ):
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE
        )
    assert f"under mini {Mini().fingerprint}; weights" in done.stdout.decode()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png", "00003.png", "grid.png"]
    assert (tmp_path / "process.png").stat().st_size > 10_000
