"""The figure of the process: its contents, for every noise schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffusion import Config, Denoiser, Shape
from diffusion.data import to_unit
from diffusion.errors import ConfigError, DiffusionError
from diffusion.media.images import crop_square
from diffusion.model.schedule import DiscreteSchedule
from diffusion.sampling.process import draw_process, trace_process
from diffusion.sampling.samplers import seeded_noise

EDM = Config("small", Shape((16,), 1, (False,), head=16), size=16)
LINEAR = replace(EDM, noise="linear", target="eps", sigma_data=1.0)


def picture() -> Image.Image:
    blocks = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((40, 32), Image.Resampling.NEAREST)


def unit() -> Tensor:
    return to_unit(torch.tensor(crop_square(picture(), 16)).permute(2, 0, 1))


def test_the_forward_chain_is_the_closed_form() -> None:
    model = Denoiser(LINEAR).eval()
    process = trace_process(model, picture(), seed=4, steps=20)
    noise, eps = model.schedule, seeded_noise([4], (3, 16, 16))()
    if not isinstance(noise, DiscreteSchedule):
        raise TypeError(noise)
    torch.testing.assert_close(process.forward[0], unit())
    for sigma, x in zip(process.sigmas[1:], process.forward[1:], strict=True):
        t = (noise.sigmas - sigma).abs().argmin()[None]
        expected = noise.add_noise(unit()[None], t, eps)
        torch.testing.assert_close(x[None], expected, rtol=0, atol=1e-5)
    assert process.sigmas[-1] == pytest.approx(noise.sigma_max)


@pytest.mark.parametrize("config", [EDM, LINEAR])
@pytest.mark.parametrize("steps", [9, 40])
def test_columns_go_from_the_picture_to_pure_noise(config: Config, steps: int) -> None:
    model = Denoiser(config).eval()
    process = trace_process(model, picture(), steps=steps)
    assert len(process.sigmas) == 10 and process.sigmas[0] == 0
    assert list(process.sigmas) == sorted(set(process.sigmas))
    assert process.sigmas[-1] == pytest.approx(model.schedule.sigma_max)
    for chain in (process.forward, process.reverse, process.expected):
        assert chain.shape == (10, 3, 16, 16)
    for chain in (process.forward, process.reverse):
        assert float(chain[-1].std()) == pytest.approx(1, abs=0.1)


def test_the_way_back_has_no_more_steps_than_the_schedule() -> None:
    model = Denoiser(replace(LINEAR, steps=15)).eval()
    assert trace_process(model, picture()).steps == 15


def test_continuous_noise_is_shown_where_pictures_change() -> None:
    process = trace_process(Denoiser(EDM).eval(), picture(), steps=100)
    angles = np.arctan(process.sigmas)
    np.testing.assert_allclose(np.diff(angles), angles[-1] / 9, atol=0.05)


@pytest.mark.parametrize("config", [EDM, LINEAR])
def test_the_reverse_chain_ends_at_what_is_expected(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = torch.full((1, 3, 16, 16), 0.25)
    monkeypatch.setattr(
        Denoiser, "make_denoise_function", lambda self, condition: lambda x, sigma: point
    )
    process = trace_process(Denoiser(config), picture(), steps=30)
    torch.testing.assert_close(process.reverse[0], point[0])
    torch.testing.assert_close(process.expected, point.expand(10, -1, -1, -1))
    # the noise in x_t has unit variance
    middle = torch.tensor(process.sigmas[5])
    noise = (process.reverse[5] * (1 + middle**2).sqrt() - 0.25) / middle
    assert float(noise.std()) == pytest.approx(1, abs=0.1)


def test_the_condition_reaches_the_model() -> None:
    model, vector = (
        Denoiser(EDM.with_condition("vector", 4)).eval(),
        torch.tensor([[0, 0.6, 0.8, 0]]),
    )
    conditions: list[Tensor] = []
    model.net.condition_embedding.register_forward_pre_hook(
        lambda net, args: conditions.append(args[0])
    )
    trace_process(model, picture(), vector, steps=9)
    assert len(conditions) == 9 and torch.allclose(conditions[0], 2 * vector)  # of unit variance


@pytest.mark.parametrize(
    "config", [EDM, LINEAR, replace(LINEAR, noise="cosine"), replace(LINEAR, steps=50)]
)
def test_a_figure_is_drawn(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "figures" / "process.png"
    draw_process(Denoiser(config).eval(), picture(), path, steps=9)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert width > 1400 and 0.4 < height / width < 0.7
    assert (pixels[:8] == 255).all() and (pixels[:, :8] == 255).all()  # a white border
    assert (pixels[: height // 2] < 200).mean() > 0.2  # pictures above
    assert 0.001 < (pixels[2 * height // 3 :] < 200).mean() < 0.2  # curves below


def test_a_conditioned_figure_is_drawn(tmp_path: Path) -> None:
    model = Denoiser(EDM.with_condition("vector", 4)).eval()
    draw_process(model, picture(), tmp_path / "a.png", torch.ones(1, 4) / 2, steps=9)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        trace_process(Denoiser(EDM), picture(), steps=8)
    for condition in (torch.ones(1, 4), torch.zeros(1, dtype=torch.int64)):
        with pytest.raises(ConfigError):
            trace_process(Denoiser(EDM), picture(), condition, steps=9)
    with pytest.raises(ConfigError):
        trace_process(
            Denoiser(EDM.with_condition("vector", 5)), picture(), torch.ones(1, 4), steps=9
        )
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffusionError):
        draw_process(Denoiser(EDM).eval(), picture(), tmp_path / "file" / "a.png", steps=9)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
