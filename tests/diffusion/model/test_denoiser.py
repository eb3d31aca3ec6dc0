"""The denoiser: targets, estimates of x_0, loss weights and guidance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from diffusion import Denoiser
from diffusion.model.presets import TARGETS, Config
from diffusion.model.schedule import DiscreteSchedule, linear_betas
from diffusion.model.unet import Shape
from diffusion.sampling.samplers import ddim, karras_sigmas

SHAPE = Shape((32,), 1, (False,))
LINEAR = DiscreteSchedule(linear_betas())
SIGMAS = st.floats(0.002, 100)
fast = settings(max_examples=50, deadline=None, derandomize=True)


def denoiser(target: str, **other: object) -> Denoiser:
    """Return a float64 model; `say` sets the output of its network."""
    config = Config("test", SHAPE, size=8, noise="linear", target=target, sigma_data=1.0)
    return Denoiser(replace(config, **other)).double()  # type: ignore[arg-type]


def say(model: Denoiser, what: Tensor) -> None:
    model.net.forward = lambda *_, **__: what  # type: ignore[method-assign,assignment]


def draw_pair(seed: int, count: int = 3) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shape = (count, 3, 8, 8)
    x0 = torch.rand(shape, dtype=torch.float64, generator=rng) * 2 - 1
    return x0, torch.randn(shape, dtype=torch.float64, generator=rng)


def truth(target: str, x0: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """A target in the paper's coordinates: v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x_0."""
    alpha_bar = 1 / (1 + sigma**2)
    v = math.sqrt(alpha_bar) * eps - math.sqrt(1 - alpha_bar) * x0
    return {"eps": eps, "x0": x0, "v": v}[target]


@fast
@given(SIGMAS, st.sampled_from(TARGETS), st.integers(0, 99))
def test_eps_x0_and_v_tell_the_same(sigma: float, target: str, seed: int) -> None:
    x0, eps = draw_pair(seed)
    model, sigmas = denoiser(target), torch.full((3,), sigma, dtype=torch.float64)
    say(model, truth(target, x0, eps, sigma))
    x = x0 + sigma * eps
    guess = model(x, sigmas)
    assert (guess - x0).abs().max() < 1e-12 * max(1, sigma)
    back = (x - guess) / sigma  # and to eps again
    assert (back - eps).abs().max() < 1e-12 * max(1, 1 / sigma)
    assert model.loss(x0, sigmas, eps, None).max() < 1e-18 * max(1, sigma**-2)


@fast
@given(SIGMAS, st.sampled_from(TARGETS), st.sampled_from([0.5, 1.0]))
def test_the_input_has_the_variance_of_one(sigma: float, target: str, spread: float) -> None:
    model = denoiser(target, sigma_data=spread)
    skip, out, into = model.preconditioning(torch.tensor([sigma], dtype=torch.float64))
    assert into.item() ** 2 * (spread**2 + sigma**2) == pytest.approx(1)
    if target == "v":  # the target of F has unit variance
        expected = (1 - skip) ** 2 * spread**2 + skip**2 * sigma**2
        assert (expected / out**2).item() == pytest.approx(1)


def test_scaling_is_the_papers() -> None:
    """Karras et al. 2022, table 1, at sigma = 1 and sigma_data = 0.5; F with its sign turned."""
    skip, out, into = denoiser("v", sigma_data=0.5).preconditioning(torch.tensor([1.0]))
    assert skip.item() == pytest.approx(0.2)
    assert out.item() == pytest.approx(-0.5 / math.sqrt(1.25))
    assert into.item() == pytest.approx(1 / math.sqrt(1.25))


def test_the_network_hears_what_the_paper_says() -> None:
    for kind, sigma, time in (("linear", LINEAR.sigmas[123], 123), ("edm", 2.0, 250 * math.log(2))):
        model, inputs = denoiser("v", noise=kind), list[Tensor]()
        model.net.forward = lambda x, t, c, inputs=inputs, **_: inputs.extend([x, t]) or x  # type: ignore[method-assign,misc]
        x, _ = draw_pair(0)
        model(x, torch.full((3,), float(sigma), dtype=torch.float64))
        assert (inputs[0] - x / math.sqrt(1 + sigma**2)).abs().max() < 1e-12
        assert inputs[1].tolist() == pytest.approx([time] * 3, abs=1e-3)


def test_min_snr_5_weighs_as_the_paper_says() -> None:
    eps, v, x0 = (
        denoiser(t, weighting="min-snr-5").weights(LINEAR.sigmas) for t in ("eps", "v", "x0")
    )
    assert int((LINEAR.snr <= 5).nonzero()[0]) == 130
    assert eps[[0, 100, 500]].tolist() == pytest.approx([5.0005e-4, 0.585709, 1], rel=1e-5)
    clipped = LINEAR.snr.clamp(max=5)
    assert (eps - clipped / LINEAR.snr).abs().max() < 1e-12
    assert (v - clipped / (LINEAR.snr + 1)).abs().max() < 1e-12
    assert (x0 - clipped).abs().max() < 1e-12
    assert denoiser("eps").weights(LINEAR.sigmas).unique().tolist() == [1]


@pytest.mark.parametrize("target", TARGETS)
def test_under_min_snr_all_targets_weigh_an_error_of_x0_alike(target: str) -> None:
    x0, eps = draw_pair(5, 4)
    sigmas = LINEAR.sigmas[[3, 100, 400, 900]]
    model = denoiser(target, weighting="min-snr-5")
    x = x0 + sigmas.view(-1, 1, 1, 1) * eps
    say(model, torch.zeros_like(x))
    off = (model(x, sigmas) - x0).square().flatten(1).mean(1)
    expected = off * (1 / sigmas**2).clamp(max=5)
    assert model.loss(x0, sigmas, eps, None).tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_the_loss_of_the_article_is_the_error_of_the_noise() -> None:
    x0, eps = draw_pair(2)
    model = denoiser("eps")
    say(model, torch.zeros_like(x0))
    expected = eps.square().flatten(1).mean(1)
    assert torch.allclose(model.loss(x0, LINEAR.sigmas[[0, 5, 999]], eps, None), expected)


class Gaussian(Denoiser):
    """The exact denoiser of one N(mean, 0.4^2) for each class, and one for none."""

    means = torch.tensor([-0.5, 0.6, 0.1], dtype=torch.float64)  # of classes 0 and 1, and of none
    passes = 0

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        self.passes += len(x)
        at = torch.full((len(x),), -1) if condition is None else condition
        mean, scale = self.means[at], 0.16 / (0.16 + sigma**2)
        return mean[:, None, None, None] + scale[:, None, None, None] * (
            x - mean[:, None, None, None]
        )


def gaussian() -> Gaussian:
    shape = replace(SHAPE, condition="class", width=2)
    return Gaussian(Config("test", shape, size=8))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.0, 7.0])
def test_guidance_moves_the_mean_and_keeps_the_variance(weight: float) -> None:
    model, label = gaussian(), torch.tensor([0, 0])
    sigmas = karras_sigmas(80, 30)

    def ends(denoise: object, centre: float) -> tuple[float, float]:
        """Return where sampling takes the mean, and the ratio by which it shrinks distances."""
        x = torch.tensor([centre, centre + 80.0], dtype=torch.float64).view(2, 1, 1, 1)
        *_, state = ddim(denoise, x, sigmas)  # type: ignore[arg-type]
        return state.x[0].item(), (state.x[1] - state.x[0]).item()

    mean = 0.1 + weight * (-0.5 - 0.1)
    there, width = ends(model.make_denoise_function(label, weight), mean)
    assert there == pytest.approx(mean, abs=1e-12)
    assert width == pytest.approx(ends(model.make_denoise_function(), 0.1)[1], rel=1e-12)


def test_guidance_of_one_or_without_a_condition_is_free() -> None:
    model, x = gaussian(), torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    label = torch.tensor([0, 1])
    for denoise, passes in (
        (model.make_denoise_function(label), 2),
        (model.make_denoise_function(None, 3.0), 2),
        (model.make_denoise_function(label, 3.0), 4),
    ):
        model.passes = 0
        denoise(x, 1.0)
        assert model.passes == passes


def test_guidance_acts_only_within_its_interval() -> None:
    model, label = gaussian(), torch.tensor([0, 1])
    x = torch.ones(2, 1, 1, 1, dtype=torch.float64)
    plain, always = model.make_denoise_function(label), model.make_denoise_function(label, 3.0)
    within = model.make_denoise_function(label, 3.0, (0.5, 2.0))
    for sigma in (0.1, 0.499, 2.001, 80.0):
        assert torch.equal(within(x, sigma), plain(x, sigma))
    for sigma in (0.5, 1.0, 2.0):
        assert torch.equal(within(x, sigma), always(x, sigma))
        assert not torch.allclose(within(x, sigma), plain(x, sigma))


def test_guidance_of_vectors_is_against_zeros() -> None:
    torch.manual_seed(0)
    model = Denoiser(Config("t", replace(SHAPE, condition="vector", width=4), size=8))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, vectors, sigmas = torch.randn(2, 3, 8, 8), torch.eye(4)[:2], torch.ones(2)
    without, under = model(x, sigmas), model(x, sigmas, vectors)
    assert not torch.allclose(without, under)
    guided = model.make_denoise_function(vectors, 2.5)(x, 1.0)
    assert torch.allclose(guided, without + 2.5 * (under - without), atol=1e-5)
