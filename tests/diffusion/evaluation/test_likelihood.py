"""The bound on likelihood, against data whose likelihood is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn

from diffusion import Config, Denoiser, Shape, preset
from diffusion.errors import ConfigError, DataError
from diffusion.evaluation.likelihood import PredictX0, bound_terms, estimate_bits, summarize_terms
from diffusion.model.schedule import DiscreteSchedule, cosine_betas, linear_betas

NOISE = DiscreteSchedule(linear_betas())
SMALL = replace(
    preset("article"), shape=Shape((16,), 1, (False,), head=16, scale_shift=False), size=8
)


def grey(n: int = 2, value: int = 100) -> Tensor:
    return torch.full((n, 3, 8, 8), value, dtype=torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    return images.double() / 127.5 - 1


def knows(x0: Tensor) -> PredictX0:
    return lambda x, sigma: x0.expand_as(x)


def prior(x0: float, noise: DiscreteSchedule = NOISE) -> float:
    """Return L_T of a pixel in bits."""
    alpha_bar = float(noise.alpha_bar[-1])
    return (alpha_bar * x0**2 + (1 - alpha_bar) - 1 - math.log(1 - alpha_bar)) / 2 / math.log(2)


@pytest.mark.parametrize("noise", [NOISE, DiscreteSchedule(cosine_betas(100))])
def test_a_single_picture_costs_its_decoder_and_the_prior(noise: DiscreteSchedule) -> None:
    x0 = to_unit(grey())
    terms = bound_terms(knows(x0), noise, grey())
    spread = math.sqrt(float(noise.posterior_coefficients()[2][1]))
    decoder = -math.log2(math.erf(1 / 255 / spread / math.sqrt(2)))
    parts = [prior(float(x0[0, 0, 0, 0]), noise), 0.0, decoder]
    expected = torch.tensor(parts, dtype=torch.float64)
    torch.testing.assert_close(terms, expected.expand(2, 3), rtol=0, atol=1e-9)


@pytest.mark.parametrize("value", [0, 255])
def test_the_outermost_bins_reach_to_infinity(value: int) -> None:
    terms = bound_terms(knows(to_unit(grey(2, value))), NOISE, grey(2, value), steps=1)
    spread = math.sqrt(float(NOISE.posterior_coefficients()[2][1]))
    share = (1 + math.erf(1 / 255 / spread / math.sqrt(2))) / 2
    assert float(terms[0, 2]) == pytest.approx(-math.log2(share), abs=1e-9)


def test_the_other_variance_costs_what_it_is_too_wide() -> None:
    terms = bound_terms(knows(to_unit(grey())), NOISE, grey(), variance="beta")
    ratio = (NOISE.posterior_coefficients()[2] / NOISE.betas)[1:]
    expected = float((ratio - 1 - ratio.log()).sum() / 2 / math.log(2))
    assert float(terms[0, 1]) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def gaussian() -> tuple[Tensor, PredictX0, float]:
    """Grey values N(0, 0.2^2) of independent pixels, the best guess, and the variance."""
    spread, generator = 0.2, torch.Generator().manual_seed(0)
    x0 = spread * torch.randn(48, 3, 8, 8, generator=generator, dtype=torch.float64)
    images = ((x0 + 1) * 127.5).round().to(torch.uint8)

    def guess(x: Tensor, sigma: Tensor) -> Tensor:
        return (spread**2 / (spread**2 + sigma**2))[:, None, None, None] * x

    return images, guess, spread**2


def test_the_bound_of_gaussians_is_its_closed_form(
    gaussian: tuple[Tensor, PredictX0, float],
) -> None:
    images, guess, variance = gaussian
    terms = bound_terms(guess, NOISE, images)
    c1, _, posterior = NOISE.posterior_coefficients()
    x0, sigma = to_unit(images), NOISE.sigmas
    # the error of a linear guess, for the variance that these pixels have
    ratio = variance / (variance + sigma**2)
    error = (1 - ratio) ** 2 * x0.square().mean() + ratio**2 * sigma**2
    between = float((c1**2 * error / posterior)[1:].sum() / 2 / math.log(2))
    spread = float(terms[:, 1].std()) / math.sqrt(len(terms))
    assert abs(float(terms[:, 1].mean()) - between) < 4 * spread < 0.2
    mean = sum(prior(float(x)) for x in x0.flatten()) / x0.numel()
    assert float(terms[:, 0].mean()) == pytest.approx(mean, rel=1e-9)
    # the last guess errs by a Gaussian
    width = math.sqrt(float(posterior[1]))
    wrong, wide = norm(0, math.sqrt(float(error[0]))), norm(0, width)

    def cost(z: float) -> float:
        return -math.log2(wide.cdf(1 / 255 - z) - wide.cdf(-1 / 255 - z)) * wrong.pdf(z)

    decoder = quad(cost, -0.05, 0.05, points=[0])[0]
    spread = float(terms[:, 2].std()) / math.sqrt(len(terms))
    assert abs(float(terms[:, 2].mean()) - decoder) < 4 * spread < 0.1
    # no bound is below the entropy
    entropy = math.log2(math.sqrt(2 * math.pi * math.e * variance) * 255 / 2)
    assert entropy < float(terms.sum(1).mean()) < entropy + 1


def test_sampled_steps_leave_the_bound_where_it_is(
    gaussian: tuple[Tensor, PredictX0, float],
) -> None:
    images, guess, _ = gaussian
    whole = summarize_terms(bound_terms(guess, NOISE, images), 999, "posterior", 0)
    some = [bound_terms(guess, NOISE, images, steps=40, seed=seed) for seed in range(4)]
    bound = summarize_terms(torch.cat(some), 40, "posterior", 0)
    assert abs(bound.bits - whole.bits) < 4 * bound.error
    assert bound.bits == pytest.approx(bound.prior + bound.between + bound.decoder)


class Oracle(nn.Module):
    """Replace the network by the exact prediction for one picture."""

    def __init__(self, model: Denoiser, x0: Tensor) -> None:
        super().__init__()
        self.model, self.x0 = (model.preconditioning, model.schedule), x0
        self.anchor = nn.Parameter(torch.zeros(()))  # so that the model is on a device

    def forward(self, into: Tensor, time: Tensor, condition: Tensor | None, **_: object) -> Tensor:
        scales, noise = self.model
        if not isinstance(noise, DiscreteSchedule):
            raise TypeError(noise)
        sigma = noise.sigmas[(time * len(noise.betas) / 1000).round().long()]
        skip, out, scale = (c[:, None, None, None] for c in scales(sigma))
        return ((self.x0 - skip * (into.double() / scale)) / out).float()


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
def test_every_target_gives_the_same_bound(target: str) -> None:
    model = Denoiser(replace(SMALL, target=target, sigma_data=0.7))
    images, x0 = grey(3), to_unit(grey(1))
    model.net = Oracle(model, x0)  # type: ignore[assignment]
    bound = estimate_bits(model, images, steps=30)
    expected = bound_terms(knows(x0), NOISE, images, steps=1).sum(1).mean()
    assert bound.bits == pytest.approx(float(expected), abs=2e-3) and bound.error < 1e-3
    assert (bound.n, bound.steps) == (3, 30)


def test_a_network_that_knows_nothing_costs_more() -> None:
    """An untrained one predicts no noise at all: the guess is x, kept within -1..1."""
    model = Denoiser(SMALL).eval()
    bound = estimate_bits(model, grey(2), steps=5)
    expected = bound_terms(lambda x, sigma: x, NOISE, grey(2), steps=5)
    assert bound.bits == pytest.approx(float(expected.sum(1).mean()), rel=1e-5)
    assert (
        bound.bits
        > summarize_terms(bound_terms(knows(to_unit(grey())), NOISE, grey()), 999, "", 0).bits
    )


def test_a_condition_is_passed_on() -> None:
    model = Denoiser(SMALL.with_condition("class", 2)).eval()
    classes: list[list[int]] = []
    model.net.condition_embedding.register_forward_pre_hook(
        lambda net, inputs: classes.append(inputs[0].tolist())
    )
    estimate_bits(model, grey(3), condition=torch.tensor([1, 0, -1]), steps=1)
    assert classes == [[1, 0, 2]] * 2


def test_continuous_noise_has_no_bound() -> None:
    config = Config("tiny", Shape((16,), 1, (False,), head=16), size=8)
    with pytest.raises(ConfigError, match="edm"):
        estimate_bits(Denoiser(config), grey())


def test_wrong_options_are_refused() -> None:
    guess = knows(to_unit(grey()))
    for options in ({"steps": 0}, {"steps": 1000}, {"variance": "learned"}):
        with pytest.raises(ConfigError):
            bound_terms(guess, NOISE, grey(), **options)
    with pytest.raises(DataError):
        estimate_bits(Denoiser(SMALL), grey(1), steps=1)
