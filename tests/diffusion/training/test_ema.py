"""The average of the weights, against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from diffusion.errors import ConfigError
from diffusion.training.ema import Average, Snapshot, combine, constant, parse_decay, power


def profile(width: float, steps: int) -> torch.Tensor:
    """Share of each step's weights in the average after `steps`."""
    shares, average = torch.zeros(steps, dtype=torch.float64), power(width)
    for step in range(steps):
        shares *= average(step)
        shares[step] += 1 - average(step)
    return shares


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.floats(0.03, 0.25))
def test_the_power_average_has_the_width_it_was_asked_for(width: float) -> None:
    """Karras et al. 2024, eq. 122: the standard deviation of the profile, over the run."""
    steps = 2000
    shares, at = profile(width, steps), (torch.arange(steps) + 1) / steps
    assert shares.sum().item() == pytest.approx(1)
    mean = (shares * at).sum()
    assert ((shares * (at - mean) ** 2).sum().sqrt()).item() == pytest.approx(width, rel=0.01)


def test_the_profile_is_a_power_of_the_step() -> None:
    shares = profile(0.1, 3000)
    slope = (shares[2999] / shares[1499]).log2()
    assert slope.item() == pytest.approx(6.94, abs=0.01)  # the paper's gamma for 10 %


def test_the_articles_average_copies_at_first() -> None:
    average = constant(0.995, after=2000)
    assert (average(0), average(1999), average(2000), average(10**6)) == (0, 0, 0.995, 0.995)
    assert parse_decay("constant:0.995")(1999) == 0 and parse_decay("constant:0.995")(2000) == 0.995
    assert parse_decay("power:0.1")(999) == power(0.1)(999)


@pytest.mark.parametrize("wrong", ["", "power", "power:x", "power:0.3", "power:0", "power:nan",
                                   "constant:1", "constant:-0.1", "mean:0.1"])  # fmt: skip
def test_an_average_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="power:0.1"):
        parse_decay(wrong)


def test_the_average_follows_the_weights() -> None:
    net = torch.nn.Linear(2, 1, bias=False).double()
    average = Average(net, "power:0.1")
    smoothed, expected = power(0.1), torch.zeros(1, 2)
    for step in range(50):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[math.sin(step), step]]))
        average.update(net, step)
        expected = smoothed(step) * expected + (1 - smoothed(step)) * net.weight.detach().float()
        if not step:
            assert torch.equal(average.weights["weight"], net.weight.float())
    assert average.weights["weight"].dtype == torch.float32
    assert torch.allclose(average.weights["weight"], expected, rtol=1e-4)
    assert not average.weights["weight"].requires_grad


def test_an_average_of_any_width_follows_from_snapshots_of_two() -> None:
    """Weights on a random walk. The average of a third width is computed as well."""
    net = torch.nn.Linear(40, 1, bias=False)
    averages = {width: Average(net, f"power:{width}") for width in (0.05, 0.1, 0.07, 0.15)}
    generator, snapshots = torch.Generator().manual_seed(0), list[Snapshot]()
    for step in range(1600):
        with torch.no_grad():
            net.weight += torch.randn(net.weight.shape, generator=generator) * 0.05
        for average in averages.values():
            average.update(net, step)
        if (step + 1) % 200 == 0:
            for width in (0.05, 0.1):
                weights = {"weight": averages[width].weights["weight"].half()}
                snapshots.append(Snapshot(step + 1, width, weights))
    for width in (0.07, 0.15):
        exact = averages[width].weights["weight"]
        error = (combine(snapshots, width)["weight"] - exact).norm()
        nearest = min((averages[w].weights["weight"] - exact).norm() for w in (0.05, 0.1))
        assert error < nearest / 4, width


def test_one_width_or_none_is_refused() -> None:
    snapshots = [Snapshot(step, 0.1, {"w": torch.ones(1)}) for step in (1, 2)]
    with pytest.raises(ConfigError, match="two widths"):
        combine(snapshots, 0.07)
    with pytest.raises(ConfigError, match="width 0.5"):
        combine([*snapshots, Snapshot(2, 0.05, {"w": torch.ones(1)})], 0.5)
