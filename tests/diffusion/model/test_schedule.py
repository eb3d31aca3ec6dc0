"""Noise schedules, the forward process and its posterior, against known values and identities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from diffusion.errors import ConfigError
from diffusion.model.schedule import (
    DiscreteSchedule,
    LogNormalSchedule,
    cosine_betas,
    linear_betas,
    make_schedule,
    rescale_zero_terminal_snr,
)

LINEAR, COSINE = DiscreteSchedule(linear_betas()), DiscreteSchedule(cosine_betas())
TINY = 1e-12


def near(values: torch.Tensor, expected: list[float], to: float = 1e-9) -> None:
    assert values.dtype == torch.float64
    assert values.tolist() == pytest.approx(expected, rel=to, abs=0)


def test_the_linear_schedule_keeps_what_the_paper_says() -> None:
    near(LINEAR.alpha_bar[[0, 499, 999]], [0.9999, 0.07858724288, 4.035829765e-5])
    assert LINEAR.betas[0] == 1e-4 and LINEAR.betas[-1] == 0.02 and len(LINEAR.betas) == 1000


def test_the_cosine_schedule_keeps_what_the_paper_says() -> None:
    near(COSINE.alpha_bar[[0, 499, 999]], [0.9999587158, 0.4938435904, 2.428767e-9], 2e-7)
    near(COSINE.alpha_bar[[0, 499]], [0.9999587158, 0.4938435904])
    assert (COSINE.betas == 0.999).sum() == 1 and COSINE.betas[-1] == 0.999


def test_a_rescaled_schedule_ends_in_pure_noise() -> None:
    moved = DiscreteSchedule(rescale_zero_terminal_snr(linear_betas()))
    assert moved.alpha_bar[-1] == 0
    assert moved.alpha_bar[0].item() == pytest.approx(LINEAR.alpha_bar[0].item(), abs=TINY)
    near(moved.alpha_bar[[499]], [0.0760287], 1e-6)
    assert math.isfinite(moved.sigma_max) and moved.sigma_max == moved.sigmas[-2]
    assert moved.timestep(torch.tensor([moved.sigma_max])).isfinite().all()


def test_the_posterior_has_the_variance_of_the_paper() -> None:
    _, _, variance = LINEAR.posterior_coefficients()
    assert variance[0] == 0
    near(variance[[1, 999]], [5.45318766e-5, 0.0199999835], 3e-9)
    ratio = (variance / LINEAR.betas)[[1, 10, 100]]
    near(ratio, [0.454736, 0.863851, 0.982104], 1e-6)


@pytest.mark.parametrize("steps", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_the_posterior_agrees_with_the_marginals(steps: DiscreteSchedule) -> None:
    c1, c2, variance = steps.posterior_coefficients()
    now, before = steps.alpha_bar, steps.alpha_bar_prev
    assert (c1 + c2 * now.sqrt() - before.sqrt()).abs().max() < TINY
    assert (c2**2 * (1 - now) + variance - (1 - before)).abs().max() < TINY


@pytest.mark.parametrize("steps", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_both_forms_of_the_mean_are_the_same(steps: DiscreteSchedule) -> None:
    rng = torch.Generator().manual_seed(0)
    x0 = torch.rand(1000, 3, 2, 2, dtype=torch.float64, generator=rng) * 2 - 1
    eps = torch.randn(x0.shape, dtype=torch.float64, generator=rng)
    t = torch.arange(1000)
    x = steps.add_noise(x0, t, eps)
    c1, c2, _ = (c.view(-1, 1, 1, 1) for c in steps.posterior_coefficients())
    # At the last steps of `cosine`, x_t holds almost nothing of x_0, so eps gives it imprecisely.
    nonzero = steps.alpha_bar > 1e-8
    assert (steps.mean_from_eps(x, t, eps) - (c1 * x0 + c2 * x))[nonzero].abs().max() < TINY


def test_noise_in_one_go_is_noise_step_by_step() -> None:
    signal, variance = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0)
    for t, beta in enumerate(LINEAR.betas):
        signal, variance = (1 - beta).sqrt() * signal, (1 - beta) * variance + beta
        assert abs(signal - LINEAR.alpha_bar[t].sqrt()) < TINY
        assert abs(variance - (1 - LINEAR.alpha_bar[t])) < TINY


def test_the_forward_process_keeps_the_precision_and_shape_of_its_pictures() -> None:
    x0 = torch.ones(2, 3, 4, 5)
    x = LINEAR.add_noise(x0, torch.tensor([0, 999]), torch.zeros_like(x0))
    assert x.dtype == torch.float32 and x.shape == x0.shape
    assert x[0].mean().item() == pytest.approx(0.9999**0.5)
    assert x[1].mean().item() == pytest.approx(4.035829765e-5**0.5)


@pytest.mark.parametrize("steps", [LINEAR, COSINE], ids=["linear", "cosine"])
def test_sigma_is_noise_over_signal(steps: DiscreteSchedule) -> None:
    assert (steps.sigmas**2 * steps.snr - 1).abs().max() < TINY
    assert (1 / (1 + steps.sigmas**2) - steps.alpha_bar).abs().max() < TINY
    assert (steps.sigmas.diff() > 0).all()
    assert (steps.sigma_min, steps.sigma_max) == (steps.sigmas[0], steps.sigmas[-1])


@pytest.mark.parametrize(
    "steps", [LINEAR, COSINE, DiscreteSchedule(linear_betas(50))], ids=["l", "c", "50"]
)
def test_a_sigma_tells_its_step_in_units_of_a_thousand(steps: DiscreteSchedule) -> None:
    scale = 1000 / len(steps.betas)
    expected = torch.arange(len(steps.betas)) * scale
    assert (steps.timestep(steps.sigmas) - expected).abs().max() < 1e-6
    between = (steps.sigmas[:-1] * steps.sigmas[1:]).sqrt()
    assert (steps.timestep(between) - (expected[:-1] + scale / 2)).abs().max() < 1e-6
    beyond = torch.tensor([steps.sigma_min / 9, steps.sigma_max * 9])
    assert steps.timestep(beyond).tolist() == [0, (len(steps.betas) - 1) * scale]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True))
def test_every_draw_is_a_step(uniform: float) -> None:
    sigma = LINEAR.draw_sigmas(torch.tensor([uniform], dtype=torch.float64))
    assert sigma.item() in LINEAR.sigmas


def test_all_steps_are_drawn_alike_and_the_first_among_them() -> None:
    """The article's code draws from 1 to T - 1 of 0 to T - 1, and never trains the first step."""
    even = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    sigmas, counts = LINEAR.draw_sigmas(even).unique(return_counts=True)
    assert torch.equal(sigmas, LINEAR.sigmas) and (counts == 3).all()
    assert LINEAR.draw_sigmas(torch.zeros(1, dtype=torch.float64)) == LINEAR.sigmas[0]
    assert LINEAR.timestep(LINEAR.sigmas[:1]) == 0


def test_continuous_noise_is_log_normal_within_its_limits() -> None:
    kind = LogNormalSchedule()
    even = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    logs = kind.draw_sigmas(even).log()
    assert logs.mean().item() == pytest.approx(kind.mean, abs=1e-3)
    assert logs.std().item() == pytest.approx(kind.std, abs=3e-3)
    ends = kind.draw_sigmas(torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64))
    assert kind.sigma_min <= ends[0] < 0.01 and 50 < ends[1] <= kind.sigma_max
    assert kind.timestep(torch.tensor([1.0, math.e])).tolist() == pytest.approx([0, 250])


def test_schedules_are_found_by_name() -> None:
    for name, betas in (("linear", linear_betas(10)), ("cosine", cosine_betas(10))):
        schedule = make_schedule(name, 10)
        assert isinstance(schedule, DiscreteSchedule) and torch.equal(schedule.betas, betas)
    assert make_schedule("edm") == LogNormalSchedule()


@pytest.mark.parametrize("kind, steps", [("sigmoid", 1000), ("linear", 1), ("cosine", 10**9)])
def test_other_schedules_are_refused(kind: str, steps: int) -> None:
    with pytest.raises(ConfigError, match=str(steps)):
        make_schedule(kind, steps)
