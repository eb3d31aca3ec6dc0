"""Models as ONNX files: what ONNX Runtime computes is what torch does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from test_diffusers_folder import SMALL, make_model
from torch import Tensor

from diffusion import ConfigError, Denoiser, DiffusionError, load
from diffusion.model import onnx_file
from diffusion.model.onnx_file import export_onnx
from diffusion.model.presets import Config, preset
from diffusion.sampling.samplers import dpmpp_2m, make_sigmas, seeded_noise

NEAR = 1e-4


def open_file(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def shrink(name: str) -> Config:
    config = preset(name)
    shape = replace(config.shape, channels=(32, 64), attention=(False, True), blocks=1, head=16)
    return replace(config, size=16, shape=shape)


CONFIGS = {
    "tiny": shrink("tiny"),
    "article": shrink("article"),
    "classic": SMALL,
    "classes": shrink("tiny").with_condition("class", 5),
    "vectors": shrink("tiny").with_condition("vector", 12),
    "cosine": replace(shrink("article"), noise="cosine", target="v"),
    "few steps": replace(shrink("article"), steps=50, target="x0"),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_denoiser_is_that_of_torch(name: str, count: int, tmp_path: Path) -> None:
    """At every noise level, for any number of pictures."""
    model = make_model(CONFIGS[name])
    assert export_onnx(model, tmp_path) == ["denoiser.onnx"]
    session = open_file(tmp_path / "denoiser.onnx")
    shape = model.config.shape
    condition = None
    if shape.condition == "class":
        condition = torch.arange(count) - 1
    elif shape.condition == "vector":
        condition = torch.nn.functional.normalize(torch.randn(count, shape.width), dim=1)
    for sigma in (0.02, 0.5, 7.0, model.schedule.sigma_max):
        x = (1 + sigma) * torch.randn(count, *model.config.sample_shape)
        sigmas = torch.full((count,), sigma)
        inputs = {"x": x.numpy(), "sigma": sigmas.numpy()}
        if condition is not None:
            inputs["condition"] = condition.numpy()
        expected = model(x, sigmas, condition).numpy()
        actual = session.run(None, inputs)[0]
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() < NEAR * np.abs(expected).max()


def test_a_sampler_over_the_file_makes_the_same_pictures(tmp_path: Path) -> None:
    model = make_model(CONFIGS["tiny"])
    export_onnx(model, tmp_path)
    session = open_file(tmp_path / "denoiser.onnx")

    def denoise(x: Tensor, sigma: float) -> Tensor:
        inputs = {"x": x.numpy(), "sigma": np.full(len(x), sigma, np.float32)}
        return torch.from_numpy(session.run(None, inputs)[0])

    sigmas = make_sigmas(model.schedule, 8)
    start = sigmas[0] * seeded_noise([3, 4], model.config.sample_shape)()
    ours, theirs = (
        [*dpmpp_2m(function, start, sigmas)][-1].x
        for function in (model.make_denoise_function(), denoise)
    )
    assert (ours - theirs).abs().max() < NEAR * ours.abs().max()


def test_another_size(tmp_path: Path) -> None:
    export_onnx(make_model(CONFIGS["tiny"]), tmp_path, 32)
    assert open_file(tmp_path / "denoiser.onnx").get_inputs()[0].shape[1:] == [3, 32, 32]
    assert json.loads((tmp_path / "model.json").read_text())["size"] == 32


@pytest.mark.slow
def test_the_model_on_latents_has_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    """The shipped one; a picture goes through both files as through torch."""
    model = load("photo")
    assert export_onnx(model, tmp_path) == ["denoiser.onnx", "encoder.onnx", "decoder.onnx"]
    picture = torch.rand(1, 3, 128, 128) * 2 - 1
    x = open_file(tmp_path / "encoder.onnx").run(None, {"pictures": picture.numpy()})[0]
    again = open_file(tmp_path / "decoder.onnx").run(None, {"x": x})[0]
    assert np.abs(x - model.encode(picture).numpy()).max() < 1e-3
    assert np.abs(again - model.decode(model.encode(picture)).numpy()).max() < 1e-3
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["inputs"]["condition"] == ["n", 512] and about["sigma"] == [0.01, 80.0]


def test_a_wrong_size_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    model = make_model(CONFIGS["tiny"])
    with pytest.raises(ConfigError, match="multiple of 4"):
        export_onnx(model, tmp_path, 18)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        export_onnx(model, tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "a_missing_package"))
    with pytest.raises(ConfigError, match="pip install a_missing_package"):
        export_onnx(make_model(CONFIGS["tiny"]), tmp_path)


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise level is doubled while the file is written, and not when torch is asked."""
    model, forward = make_model(CONFIGS["tiny"]), Denoiser.forward

    def change(self: Denoiser, x: Tensor, sigma: Tensor, *more: Tensor | None) -> Tensor:
        return forward(self, x, 2 * sigma if torch.onnx.is_in_onnx_export() else sigma, *more)

    monkeypatch.setattr(Denoiser, "forward", change)
    with pytest.raises(DiffusionError, match="something else than torch"):
        export_onnx(model, tmp_path / "out")
    assert not list(tmp_path.rglob("*.onnx"))
