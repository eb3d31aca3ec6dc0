"""Samplers against Gaussians and finite sets, whose best denoiser is known, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from diffusion.errors import ConfigError
from diffusion.model.schedule import DiscreteSchedule, LogNormalSchedule, cosine_betas, linear_betas
from diffusion.sampling.samplers import (
    LAST_SIGMA,
    SAMPLERS,
    State,
    ancestral,
    ddim,
    dpmpp_2m,
    heun,
    karras_sigmas,
    make_sigmas,
    seeded_noise,
    trailing_sigmas,
)

LINEAR = DiscreteSchedule(linear_betas())
MEAN, SPREAD = 0.3, 0.5  # of the data
DETERMINISTIC = {"ddim": ddim, "heun": heun, "dpmpp_2m": dpmpp_2m}


def exact(x: Tensor, sigma: float) -> Tensor:
    """The expected x_0 for data N(MEAN, SPREAD^2)."""
    return MEAN + SPREAD**2 / (SPREAD**2 + sigma**2) * (x - MEAN)


def flow(x: Tensor, start: float, end: float = 0.0) -> Tensor:
    """Return where the probability flow of that data takes x."""
    return MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + end**2) / (SPREAD**2 + start**2))


def last(states: Iterator[State]) -> Tensor:
    *_, state = states
    return state.x


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


@pytest.mark.parametrize("variance, expected", [("beta", 0.250752075), ("posterior", 0.246125211)])
def test_the_ancestral_chain_ends_in_the_known_mean_and_variance(
    variance: str, expected: float
) -> None:
    """Each row but the first gets noise once, 1 at a step of its own: as all is linear, its
    distance to the first row is what that noise adds, and the squares add up."""
    sigmas = trailing_sigmas(LINEAR, 1000)
    calls = iter(range(1, 1000))

    def draw_noise() -> Tensor:
        return torch.eye(1001, dtype=torch.float64)[next(calls)].view(-1, 1, 1, 1)

    x = torch.zeros(1001, 1, 1, 1, dtype=torch.float64)
    x[1000] = math.sqrt(1 + sigmas[0] ** 2)  # x_T = N(0, 1) in the paper's coordinates
    x = last(ancestral(exact, x, sigmas, draw_noise, variance)).flatten()
    assert next(calls, None) is None  # the last step adds none
    assert x[0].item() == pytest.approx(0.299996973, abs=1e-9)
    assert (x[1:] - x[0]).square().sum().item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_over_all_steps_ancestral_is_algorithm_2(variance: str) -> None:
    """Against the paper's own form, in its coordinates, with any predictor of noise."""
    steps = DiscreteSchedule(linear_betas(20, last=0.3))
    alpha_bar, between = steps.alpha_bar, steps.posterior_coefficients()[2]
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noises = torch.randn(20, *x.shape, dtype=torch.float64)

    def predict(x: Tensor, t: int) -> Tensor:
        return torch.sin(x * (1 + t / 7))

    def denoise(x: Tensor, sigma: float) -> Tensor:
        t = int((steps.sigmas - sigma).abs().argmin())
        return x - sigma * predict(x * alpha_bar[t].sqrt(), t)

    source = iter(noises)
    states = list(
        ancestral(
            denoise,
            x / alpha_bar[-1].sqrt(),
            trailing_sigmas(steps, 20),
            lambda: next(source),
            variance,
        )
    )
    for t, noise, state in zip(reversed(range(20)), noises, states, strict=True):
        x = steps.mean_from_eps(x, torch.full((4,), t), predict(x, t))
        if t:
            x = x + (steps.betas if variance == "beta" else between)[t].sqrt() * noise
        ours = state.x * steps.alpha_bar_prev[t].sqrt()
        assert (ours - x).abs().max() < 1e-10


@pytest.mark.parametrize(
    "steps, expected", [(10, 0.66924973), (50, 0.77050425), (1000, 0.79754523)]
)
def test_ddim_ends_where_it_is_known_to(steps: int, expected: float) -> None:
    sigmas = trailing_sigmas(LINEAR, steps)
    x = column(math.sqrt(1 + sigmas[0] ** 2))
    assert last(ddim(exact, x, sigmas)).item() == pytest.approx(expected, abs=1e-8)
    assert flow(x, sigmas[0]).item() == pytest.approx(0.79905463, abs=1e-8)


@pytest.mark.parametrize("name, order", [("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_the_order_of_accuracy(name: str, order: int) -> None:
    counts = [8, 16, 32, 64, 128, 256]
    x, start = column(3.0, -20.0), 20.0
    errors = []
    for count in counts:
        sigmas = karras_sigmas(start, count + 1, 0.05)[:-1]  # without the step to 0, of first order
        there = last(DETERMINISTIC[name](exact, x, sigmas))
        errors.append((there - flow(x, start, sigmas[-1])).abs().max().item())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(slope - order) < 0.35 for slope in orders[1:])  # 8 steps are still few
    assert math.log2(errors[0] / errors[-1]) / 5 == pytest.approx(order, abs=0.2)
    assert abs(orders[-1] - order) < 0.1


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sample_lands_on_a_data_point(name: str) -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(12, 3, 4, 4, dtype=torch.float64, generator=rng) * 2 - 1

    def oracle(x: Tensor, sigma: float) -> Tensor:
        far = (x[:, None] - points).flatten(2).square().sum(2)
        return torch.einsum("bn,nchw->bchw", (-far / (2 * sigma**2)).softmax(1), points)

    normal = seeded_noise(range(40), (3, 4, 4))
    sigmas = karras_sigmas(80, 15)
    x = last(SAMPLERS[name](oracle, sigmas[0] * normal().double(), sigmas, normal))
    far = torch.cdist(x.flatten(1), points.flatten(1))
    assert far.amin(1).max() < 1e-3
    assert len(far.argmin(1).unique()) > 6


def test_an_eta_of_one_is_ancestral_and_of_zero_needs_no_noise() -> None:
    sigmas = trailing_sigmas(LINEAR, 20)
    x = column(5.0, -9.0)
    one = last(ddim(exact, x, sigmas, seeded_noise([1, 2], (1, 1, 1)), eta=1.0))
    other = last(ancestral(exact, x, sigmas, seeded_noise([1, 2], (1, 1, 1))))
    assert (one - other).abs().max() < 1e-12
    plain = last(ddim(exact, x, sigmas))
    assert torch.equal(plain, last(ddim(exact, x, sigmas, seeded_noise([1, 2], (1, 1, 1)))))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_any_eta_keeps_the_distribution(eta: float) -> None:
    """A step of DDIM takes N(x_0, t^2) to N(x_0, s^2) when x_0 is known."""
    t, s = 3.0, 1.0
    noise = iter([torch.ones(3, 1, 1, 1)] * 2)
    x = column(0.0, t, 0.0)  # x_0 = 0: no noise, noise in x, and no noise again
    there = next(ddim(lambda x, _: 0 * x, x, [t, s, 0.0], lambda: next(noise), eta)).x.flatten()
    fresh, carried = there[0], there[1] - there[2]
    assert (fresh**2 + carried**2).item() == pytest.approx(s**2)
    assert (fresh > 0) == (eta > 0)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_sampler_is_a_generator_of_states(name: str) -> None:
    passes = 0

    def counted(x: Tensor, sigma: float) -> Tensor:
        nonlocal passes
        passes += 1
        return exact(x, sigma)

    sigmas = karras_sigmas(80, 5)
    states = SAMPLERS[name](counted, column(40.0), sigmas, seeded_noise([0], (1, 1, 1)))
    first = next(states)
    assert passes == (2 if name == "heun" else 1)  # it computes no further state
    assert (first.step, first.steps, first.sigma) == (1, 5, sigmas[1])
    assert torch.equal(first.x0, exact(column(40.0), 80.0))
    rest = list(states)
    assert [state.sigma for state in rest] == sigmas[2:]
    assert passes == (9 if name == "heun" else 5)
    assert torch.equal(rest[-1].x, rest[-1].x0) or name == "heun"


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@pytest.mark.parametrize("start", [1e-4, 0.002, 0.003, 0.5, 1.0, 79.0, 80.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 15])
def test_any_sigma_can_be_started_from(name: str, start: float, steps: int) -> None:
    for kind in (LogNormalSchedule(), LINEAR):
        sigmas = make_sigmas(kind, steps, start)
        assert sigmas[0] == start and sigmas[-1] == 0
        assert all(a > b for a, b in pairwise(sigmas))
        assert len(sigmas) == steps + 1 or sigmas[0] < 3 * max(kind.sigma_min, LAST_SIGMA)
        x = last(SAMPLERS[name](exact, column(start), sigmas, seeded_noise([0], (1, 1, 1))))
        assert x.isfinite().all()


def test_a_small_sigma_returns_the_picture() -> None:
    picture = column(0.7)
    for kind in (LogNormalSchedule(), LINEAR):
        sigmas = make_sigmas(kind, 5, 1e-6)
        for name, sampler in SAMPLERS.items():
            normal = seeded_noise([0], (1, 1, 1))
            noisy = picture + sigmas[0] * normal()
            x = last(sampler(exact, noisy, sigmas, normal))
            assert abs(x - picture).item() < 1e-5, name


@pytest.mark.parametrize("start", [0.0, -1.0, math.nan])
def test_a_start_that_is_no_noise_is_refused(start: float) -> None:
    for kind in (LogNormalSchedule(), LINEAR):
        with pytest.raises(ConfigError, match="above 0"):
            make_sigmas(kind, 10, start)


def test_a_start_above_the_highest_is_pure_noise() -> None:
    assert make_sigmas(LogNormalSchedule(), 7, 1e9) == make_sigmas(LogNormalSchedule(), 7)
    assert make_sigmas(LogNormalSchedule(), 7) == karras_sigmas(80, 7, LAST_SIGMA)
    for steps, lowest in (
        (15, LAST_SIGMA),
        (30, LAST_SIGMA / 4),
        (1000, LogNormalSchedule().sigma_min),
    ):
        assert make_sigmas(LogNormalSchedule(), steps)[-2] == pytest.approx(lowest)
    assert make_sigmas(LINEAR, 7, 1e9) == make_sigmas(LINEAR, 7) == trailing_sigmas(LINEAR, 7)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 1000))
def test_trailing_steps_begin_with_the_last_and_end_at_zero(steps: int) -> None:
    sigmas = trailing_sigmas(LINEAR, steps)
    assert len(sigmas) == steps + 1 and sigmas[0] == LINEAR.sigma_max and sigmas[-1] == 0
    assert all(a > b for a, b in pairwise(sigmas))
    assert set(sigmas[:-1]) <= set(LINEAR.sigmas.tolist())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(2, 60), st.floats(0.01, 80))
def test_karras_steps_are_even_in_the_root(steps: int, start: float) -> None:
    sigmas = karras_sigmas(start, steps)
    assert sigmas[0] == start and sigmas[-2] == pytest.approx(0.002) and sigmas[-1] == 0
    roots = [sigma ** (1 / 7) for sigma in sigmas[:-1]]
    gaps = [a - b for a, b in pairwise(roots)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(steps: int) -> None:
    for kind in (LogNormalSchedule(), LINEAR):
        for start in (None, 1.0):
            with pytest.raises(ConfigError, match=str(steps)):
                make_sigmas(kind, steps, start)
    with pytest.raises(ConfigError, match="1001"):
        make_sigmas(LINEAR, 1001)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_options_of_samplers_are_checked(eta: float) -> None:
    source = seeded_noise([0], (1, 1, 1))
    with pytest.raises(ConfigError, match="eta"):
        next(ddim(exact, column(1.0), [1.0, 0.0], source, eta))
    with pytest.raises(ConfigError, match="eta"):
        next(ddim(exact, column(1.0), [1.0, 0.0], None, 0.5))
    with pytest.raises(ConfigError, match="learned"):
        next(ancestral(exact, column(1.0), [1.0, 0.0], source, "learned"))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_a_seed_gives_the_same_noise_alone_or_among_others(seeds: list[int]) -> None:
    together = seeded_noise(seeds, (3, 2, 2))
    alone = [seeded_noise([seed], (3, 2, 2)) for seed in seeds]
    for _ in range(3):
        assert torch.equal(together(), torch.cat([one() for one in alone]))


def test_cosine_and_linear_noise_of_one_sigma_mean_the_same() -> None:
    """Every schedule of steps ends at the same point of a known flow."""
    x, start = column(2.0), 2.0
    ends: list[Tensor] = []
    walk: Callable[[Sequence[float]], Iterator[State]] = lambda s: heun(exact, x, s)  # noqa: E731
    for kind in (LINEAR, DiscreteSchedule(cosine_betas()), LogNormalSchedule()):
        ends.append(last(walk(make_sigmas(kind, 100, start))))
    assert all((end - flow(x, start)).abs() < 2e-3 for end in ends)
