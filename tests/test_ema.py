"""The average of the weights, against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from diffusion.errors import ConfigError
from diffusion.training.ema import Average, constant, decay, power


def profile(width: float, steps: int) -> torch.Tensor:
    """Share of each step's weights in the average after `steps`."""
    shares, kept = torch.zeros(steps, dtype=torch.float64), power(width)
    for step in range(steps):
        shares *= kept(step)
        shares[step] += 1 - kept(step)
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
    kept = constant(0.995, after=2000)
    assert (kept(0), kept(1999), kept(2000), kept(10**6)) == (0, 0, 0.995, 0.995)
    assert decay("constant:0.995")(1999) == 0 and decay("constant:0.995")(2000) == 0.995
    assert decay("power:0.1")(999) == power(0.1)(999)


@pytest.mark.parametrize("wrong", ["", "power", "power:x", "power:0.3", "power:0", "power:nan",
                                   "constant:1", "constant:-0.1", "mean:0.1"])  # fmt: skip
def test_an_average_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="power:0.1"):
        decay(wrong)


def test_the_average_follows_the_weights() -> None:
    net = torch.nn.Linear(2, 1, bias=False).double()
    average = Average(net, "power:0.1")
    kept, wanted = power(0.1), torch.zeros(1, 2)
    for step in range(50):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[math.sin(step), step]]))
        average.update(net, step)
        wanted = kept(step) * wanted + (1 - kept(step)) * net.weight.detach().float()
        if not step:
            assert torch.equal(average.weights["weight"], net.weight.float())
    assert average.weights["weight"].dtype == torch.float32
    assert torch.allclose(average.weights["weight"], wanted, rtol=1e-4)
    assert not average.weights["weight"].requires_grad
