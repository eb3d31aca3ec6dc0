"""Variants of a model: the extremes of sigma, seeds, and the two bands of a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion import Config, Denoiser, Shape, variants
from diffusion.errors import ConfigError
from diffusion.model.precision import BF16_SIGMA
from diffusion.sampling.bands import MAX_ASPECT, Bands, low_band_size
from diffusion.sampling.variants import REGIMES, nearest_regime, resolve_settings

SMALL = Config("small", Shape((16, 32), 1, (False, True), head=16), size=16)


def denoiser(config: Config) -> Denoiser:
    """A model of random weights, also where initial weights are zero."""
    torch.manual_seed(0)
    model = Denoiser(config)
    for weight in model.net.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """With small tensors, more threads are slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    return denoiser(SMALL.with_condition("vector", 4))


PICTURE = torch.rand(3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
CONDITION = torch.tensor([0.5, 0.5, -0.5, 0.5])


def test_at_nothing_it_is_the_picture(model: Denoiser) -> None:
    assert torch.equal(variants(model, PICTURE, 2, sigma=0), PICTURE.repeat(2, 1, 1, 1))


def test_it_comes_to_the_picture_as_sigma_goes_to_nothing() -> None:
    """With a denoiser that returns nearly grey, as a good one does at high noise."""
    model = denoiser(SMALL)
    for weight in model.net.parameters():
        torch.nn.init.zeros_(weight)
    gaps = [(variants(model, PICTURE, sigma=s) - PICTURE).abs().max() for s in (1e-1, 1e-2, 1e-3)]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.01


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_pure_noise_of_a_stepped_schedule_has_not_even_the_mean_colour(schedule: str) -> None:
    """The last sigma of `linear` is 157: at 80 a white and a black picture would still differ."""
    model = denoiser(replace(SMALL, noise=schedule, steps=1000, target="eps", sigma_data=1.0))
    white, black = (torch.full((3, 16, 16), value) for value in (1.0, -1.0))
    for sigma in (80.0, 500.0):
        a, b = (variants(model, one, 2, sigma=sigma, steps=4) for one in (white, black))
        assert torch.equal(a, b)
    a, b = (variants(model, one, 2, sigma=10.0, steps=4) for one in (white, black))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("sigma", [80.0, 1000.0])
def test_pure_noise_has_nothing_of_the_picture(model: Denoiser, sigma: float) -> None:
    def draw(picture: torch.Tensor, condition: torch.Tensor, **at: object) -> torch.Tensor:
        arguments = {"condition": condition, "steps": 3, **(at or {"sigma": sigma})}
        return variants(model, picture, 1, **arguments)  # type: ignore[arg-type]

    assert torch.equal(draw(PICTURE, CONDITION), draw(-PICTURE, CONDITION))
    assert not torch.equal(draw(PICTURE, CONDITION), draw(PICTURE, -CONDITION))
    assert torch.equal(draw(PICTURE, CONDITION), draw(PICTURE, CONDITION, regime="concept"))


def test_below_that_there_is_some_of_it(model: Denoiser) -> None:
    pair = [variants(model, p, 1, regime="same", condition=CONDITION) for p in (PICTURE, -PICTURE)]
    assert not torch.allclose(*pair, atol=0.1)


def test_one_is_the_same_alone_and_among_others(model: Denoiser) -> None:
    together = variants(model, PICTURE, 5, condition=CONDITION, seed=7, guidance=2.0, steps=3)
    for i in (0, 3):
        alone = variants(model, PICTURE, 1, condition=CONDITION, seed=7 + i, guidance=2.0, steps=3)
        assert (alone[0] - together[i]).abs().max() <= 2 * 2 / 255
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_guidance_goes_the_way_of_the_condition(model: Denoiser) -> None:
    """A weight of 1 is no guidance. Without a condition, guidance changes nothing."""
    results = [
        variants(model, PICTURE, 1, condition=c, guidance=w, steps=3)
        for c in (CONDITION, None)
        for w in (1.0, 3.0)
    ]
    assert not torch.allclose(results[0], results[1], atol=1e-3)
    assert torch.equal(results[2], results[3])


def test_the_regimes_are_in_order() -> None:
    near, same, concept = (REGIMES["pixels"][name] for name in ("near", "same", "concept"))
    assert near.sigma < same.sigma < concept.sigma == 80
    assert resolve_settings() == same and resolve_settings("concept") == concept


def test_between_regimes_the_dial_runs_on() -> None:
    for regime in REGIMES["pixels"].values():
        assert resolve_settings(sigma=regime.sigma) == regime
    least, most = REGIMES["pixels"]["near"].steps, REGIMES["pixels"]["concept"].steps
    steps = [resolve_settings(sigma=s).steps for s in (0, 0.1, 0.5, 1, 2, 5, 20, 80, 500)]
    assert steps == sorted(steps) and steps[0] == least and steps[-1] == most
    assert resolve_settings(sigma=2, steps=3, guidance=1.25).steps == 3


@pytest.mark.parametrize("space", sorted(REGIMES))
def test_the_limits_between_regimes_are_geometric_means(space: str) -> None:
    regimes = sorted(REGIMES[space].items(), key=lambda pair: pair[1].sigma)
    assert [nearest_regime(dial.sigma, REGIMES[space]) for _, dial in regimes] == [
        n for n, _ in regimes
    ]
    for (lower, a), (upper, b) in zip(regimes, regimes[1:], strict=False):
        limit = math.sqrt(a.sigma * b.sigma)
        assert nearest_regime(0.99 * limit, REGIMES[space]) == lower
        assert nearest_regime(1.01 * limit, REGIMES[space]) == upper
    assert (
        nearest_regime(0, REGIMES[space]) == "near"
        and nearest_regime(1e6, REGIMES[space]) == "concept"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"regime": "far"},
        {"regime": "near", "sigma": 1},
        {"sigma": -1},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"guidance": -1},
        {"guidance": math.nan},
        {"steps": 0},
        {"steps": 10**6},
        {"n": 0},
        {"seed": 2**64},
        {"seed": -1},
        {"picture": torch.zeros(3, 15, 16)},
        {"picture": torch.zeros(1, 16, 16)},
        {"condition": torch.zeros(5)},
    ],
)
def test_what_cannot_be_is_refused(model: Denoiser, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        variants(model, **{"picture": PICTURE, **arguments})  # type: ignore[arg-type]


# the two bands --------------------------------------------------------------------------------


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize("size", [(256, 256), (100, 256), (1, 200), (300, 2), (64, 64)])
def test_an_unchanged_low_band_gives_the_picture_back(size: tuple[int, int]) -> None:
    picture = noise(*size)
    bands = Bands(picture, 64, 8)
    assert bands.merge(bands.low).tobytes() == picture.tobytes()


@pytest.mark.parametrize("size", [(256, 256), (400, 300), (90, 256), (1, 10_000), (512, 7)])
def test_the_low_band_keeps_the_shape(size: tuple[int, int]) -> None:
    width, height = low_band_size(*size, 64, 8)
    assert width % 8 == 0 == height % 8
    assert 0.7 < width * height / 64**2 < 1.4
    expected = min(max(size[0] / size[1], 1 / MAX_ASPECT), MAX_ASPECT)
    assert 0.75 < width / height / expected < 1.34


def test_detail_goes_where_something_changed_and_stays_elsewhere() -> None:
    picture = noise(256, 256)
    bands = Bands(picture, 64, 8)
    low = bands.low.copy()
    low[:, :, 32:] *= -1
    low[:, :, 32:] += 0.8
    before, after = (np.asarray(p, np.float32) for p in (picture, bands.merge(low)))
    assert np.abs(before - after)[:, :100].max() < 3
    rough = [np.abs(np.diff(p[:, 160:], axis=0)).mean() for p in (before, after)]
    assert rough[1] < 0.4 * rough[0]


def test_without_its_detail_a_picture_is_not_in_its_variant() -> None:
    pictures = noise(200, 100), Image.new("RGB", (200, 100))
    low = np.random.default_rng(1).random(Bands(pictures[0], 64, 8).low.shape, np.float32)
    pair = [Bands(picture, 64, 8).merge(low, detail=False).tobytes() for picture in pictures]
    assert pair[0] == pair[1]


def test_a_change_of_the_low_band_shows_in_the_picture() -> None:
    bands = Bands(Image.new("RGB", (200, 100), (100, 100, 100)), 64, 8)
    merged = np.asarray(bands.merge(bands.low + 0.2), np.float32)
    assert np.abs(merged - 125.5).max() <= 1


def test_low_noise_is_denoised_in_bfloat16_where_that_is_fast(
    model: Denoiser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(sigma: float) -> torch.Tensor:
        return variants(model, PICTURE, 2, sigma=sigma, condition=CONDITION, seed=3)

    monkeypatch.setattr("diffusion.sampling.variants.supports_bf16", lambda _: False)
    exact = {sigma: draw(sigma) for sigma in (BF16_SIGMA, 2 * BF16_SIGMA)}
    monkeypatch.setattr("diffusion.sampling.variants.supports_bf16", lambda _: True)
    rough = draw(BF16_SIGMA)
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact[BF16_SIGMA])
    assert (rough - exact[BF16_SIGMA]).abs().mean() < 0.02
    assert torch.allclose(draw(2 * BF16_SIGMA), exact[2 * BF16_SIGMA], atol=1e-5)
