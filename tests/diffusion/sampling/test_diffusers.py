"""The same noise through `diffusers`: both give the same where both define the same.

Theirs mix, x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps, and hold float32 tables; ours add,
so states are divided by sqrt(1 + sigma^2) to be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    HeunDiscreteScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr as rescale_of_diffusers
from torch import Tensor

from diffusion import Denoiser
from diffusion.model.presets import Config
from diffusion.model.schedule import (
    DiscreteSchedule,
    LogNormalSchedule,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from diffusion.model.unet import Shape
from diffusion.sampling.samplers import (
    State,
    ancestral,
    ddim,
    dpmpp_2m,
    heun,
    karras_sigmas,
    trailing_sigmas,
)

BETAS = {"linear": linear_betas, "squaredcos_cap_v2": cosine_betas}
PLAIN = {"beta_start": 1e-4, "beta_end": 0.02, "timestep_spacing": "trailing"}
PREDICTIONS = ("epsilon", "sample", "v_prediction")
NEAR = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < NEAR


def guess(x: Tensor, t: float) -> Tensor:
    """Return some x_0 for x_t: bounded like pictures, and not that of a Gaussian."""
    return 0.8 * torch.tanh(1.5 * x + math.sin(t / 100))


class Pair:
    """The same starting noise and noise stream for our samplers and theirs."""

    def __init__(self, steps: DiscreteSchedule) -> None:
        self.steps = steps
        rng = torch.Generator().manual_seed(3)
        self.x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=rng)
        self.noises = torch.randn(1000, 2, 3, 4, 4, dtype=torch.float64, generator=rng)
        stream = iter(self.noises)
        self.normal = lambda: next(stream)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        t = float(self.steps.timestep(torch.tensor([sigma])))
        return guess(x / math.sqrt(1 + sigma**2), t)

    def start(self, sigmas: list[float]) -> Tensor:
        return math.sqrt(1 + sigmas[0] ** 2) * self.x

    def predict(self, kind: str, x: Tensor, t: int) -> Tensor:
        """Return the output for `guess` of a network that predicts `kind`."""
        x0, alpha_bar = guess(x, t), self.steps.alpha_bar[t]
        eps = (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()
        v = alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * x0
        return {"epsilon": eps, "sample": x0, "v_prediction": v}[kind]

    def compare(self, states: Iterator[State], theirs: Any, count: int, **options: Any) -> None:
        """Compare each of our states with theirs."""
        theirs.alphas_cumprod = self.steps.alpha_bar  # a thousand steps add float32 up to 1e-5
        theirs.set_timesteps(count)
        x, noises, kind = self.x, iter(self.noises), theirs.config.prediction_type
        for t, state in zip(theirs.timesteps, states, strict=True):
            if options.get("eta"):
                options["variance_noise"] = next(noises)
            x = theirs.step(self.predict(kind, x, int(t)), int(t), x, **options).prev_sample
            close(state.x / math.sqrt(1 + state.sigma**2), x)


@pytest.mark.parametrize("kind", BETAS)
def test_schedules(kind: str) -> None:
    theirs = DDPMScheduler(beta_schedule=kind, **PLAIN)
    steps = DiscreteSchedule(BETAS[kind]())
    close(steps.betas, theirs.betas)
    close(steps.alpha_bar, theirs.alphas_cumprod)
    rescaled = rescale_of_diffusers(torch.linspace(1e-4, 0.02, 1000))
    close(rescale_zero_terminal_snr(linear_betas()), rescaled)


@pytest.mark.parametrize("kind", BETAS)
def test_the_forward_process(kind: str) -> None:
    theirs, steps = DDPMScheduler(beta_schedule=kind, **PLAIN), DiscreteSchedule(BETAS[kind]())
    x0, eps = torch.rand(1000, 3, 2, 2) * 2 - 1, torch.randn(1000, 3, 2, 2)
    t = torch.arange(1000)
    close(steps.add_noise(x0, t, eps), theirs.add_noise(x0, eps, t))


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize(
    "count, variance, name",  # their `fixed_large` takes beta of all the steps, also over some
    [(1000, "posterior", "fixed_small"), (1000, "beta", "fixed_large")]
    + [(count, "posterior", "fixed_small") for count in (50, 16)],
)
def test_ancestral_is_their_ddpm(
    kind: str, count: int, variance: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = DDPMScheduler(
        beta_schedule=kind, variance_type=name, clip_sample=False, prediction_type="sample", **PLAIN
    )
    pair = Pair(DiscreteSchedule(BETAS[kind]()))
    sigmas, noises = trailing_sigmas(pair.steps, count), iter(pair.noises)
    source = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    monkeypatch.setattr(source, lambda *_, **__: next(noises))
    states = ancestral(pair.denoise, pair.start(sigmas), sigmas, pair.normal, variance)
    pair.compare(states, theirs, count)


@pytest.mark.parametrize("predicts", PREDICTIONS)
@pytest.mark.parametrize("count", [50, 20])  # theirs spaces other counts unevenly
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_theirs(predicts: str, count: int, eta: float) -> None:
    theirs = DDIMScheduler(clip_sample=False, prediction_type=predicts, **PLAIN)
    pair = Pair(DiscreteSchedule(linear_betas()))
    sigmas = trailing_sigmas(pair.steps, count)
    states = ddim(pair.denoise, pair.start(sigmas), sigmas, pair.normal, eta)
    pair.compare(states, theirs, count, eta=eta)


@pytest.mark.parametrize("kind, predicts", [*((k, "sample") for k in BETAS), ("linear", "epsilon")])
@pytest.mark.parametrize("count", [20, 15, 6])
def test_dpmpp_2m_is_theirs(kind: str, predicts: str, count: int) -> None:
    theirs = DPMSolverMultistepScheduler(
        beta_schedule=kind,
        prediction_type=predicts,
        solver_order=2,
        final_sigmas_type="zero",
        **PLAIN,
    )
    pair = Pair(DiscreteSchedule(BETAS[kind]()))
    sigmas = trailing_sigmas(pair.steps, count)
    pair.compare(dpmpp_2m(pair.denoise, pair.start(sigmas), sigmas), theirs, count)


@pytest.mark.parametrize("count", [20, 15])
def test_heun_is_theirs(count: int) -> None:
    """Theirs gives a state after each pass, two for a step."""
    theirs = HeunDiscreteScheduler(beta_schedule="linear", **PLAIN)
    theirs.set_timesteps(count)
    pair = Pair(DiscreteSchedule(linear_betas()))
    sigmas = trailing_sigmas(pair.steps, count)
    x = start = pair.start(sigmas)
    results = []
    for t in theirs.timesteps:
        predicted = pair.predict("epsilon", theirs.scale_model_input(x, t), int(t))
        x = theirs.step(predicted, t, x).prev_sample
        results.append(x)
    states = list(heun(pair.denoise, start, sigmas))
    for state, other in zip(states, [*results[1::2], results[-1]], strict=True):
        close(state.x / math.sqrt(1 + state.sigma**2), other / math.sqrt(1 + state.sigma**2))


def edm() -> Denoiser:
    """Our denoiser, with a formula in the place of its network."""
    model = Denoiser(Config("edm", Shape((32,), 1, (False,)), size=4)).double()

    def formula(x: Tensor, time: Tensor, condition: object, **_: object) -> Tensor:
        return torch.sin(2 * x + time[:, None, None, None] / 300)

    model.net.forward = formula  # type: ignore[method-assign,assignment]
    return model


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m"])
@pytest.mark.parametrize("count", [20, 15])
def test_edm_noise_and_scaling_are_theirs(name: str, count: int) -> None:
    """Sigmas, c_skip, c_out, c_in and c_noise under `v`, through two solvers."""
    ours, kind = (ddim, EDMEulerScheduler) if name == "ddim" else (
        dpmpp_2m, EDMDPMSolverMultistepScheduler,
    )  # fmt: skip
    theirs = kind(prediction_type="v_prediction")
    theirs.set_timesteps(count)
    sigmas = karras_sigmas(LogNormalSchedule().sigma_max, count, LogNormalSchedule().sigma_min)
    assert sigmas == pytest.approx(theirs.sigmas.tolist(), rel=NEAR)
    start = x = 80 * torch.randn(2, 3, 4, 4, dtype=torch.float64)
    model = edm()
    for t, state in zip(
        theirs.timesteps, ours(model.make_denoise_function(), start, sigmas), strict=True
    ):
        time = torch.full((2,), 1000 * float(t), dtype=torch.float64)
        x = theirs.step(model.net(theirs.scale_model_input(x, t), time, None), t, x).prev_sample
        assert ((state.x - x).abs() / (1 + x.abs())).max() < NEAR
