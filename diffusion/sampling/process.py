"""A figure of the diffusion process: forward chain, reverse chain, expected x_0, and schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from diffusion import files
from diffusion.data import to_unit
from diffusion.errors import ConfigError
from diffusion.media.images import crop_square
from diffusion.model.denoiser import Denoiser
from diffusion.model.schedule import DiscreteSchedule, NoiseSchedule
from diffusion.plots import SOFTWARE, tile_pictures
from diffusion.sampling.sample import SEED_LIMIT
from diffusion.sampling.samplers import ancestral, make_sigmas, seeded_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 10
INK, SOFT, BLUE, RED = "#1b1f24", "#6b7480", "#2457c5", "#c4452d"
STYLE = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 13,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


@dataclass(frozen=True)
class ProcessTrace:
    """The forward and the reverse chain at the same noise levels, ascending.

    steps: steps of the reverse chain. sigmas: noise level of each column; the first is 0.
    forward: the picture with noise. reverse: states of the sampler. expected: the x_0 that the
    model expects from each of these states; at sigma 0 the state itself.
    The tensors are (columns, 3, S, S). Noisy ones are divided by sqrt(1 + sigma^2), which gives the
    x_t of Ho et al.
    """

    steps: int
    sigmas: tuple[float, ...]
    forward: Tensor
    reverse: Tensor
    expected: Tensor


@torch.inference_mode()
def trace_process(
    model: Denoiser,
    picture: Image.Image,
    condition: Tensor | None = None,
    seed: int = 0,
    steps: int = 250,
    columns: int = COLUMNS,
) -> ProcessTrace:
    """Trace the forward chain of a picture, and a reverse chain from pure noise (algorithm 2).

    condition: (1,) class or (1, D) vector of the reverse chain; None for none.
    steps: steps of the reverse chain, one network pass each; at most those of the schedule.
    columns: number of noise levels to keep, evenly spaced in t; under a continuous schedule in
        arctan sigma, which is the t of a cosine schedule.

    Raises ConfigError for values out of range, and for a model on latents.
    """
    if isinstance(model.schedule, DiscreteSchedule):
        steps = min(steps, len(model.schedule.betas))
    shape = model.config.shape
    if model.config.space != "pixels":
        raise ConfigError(
            "this model works on latents, whose states are not pictures; give a checkpoint of a "
            "model on pixels, or none for the shipped one"
        )
    expected = {"class": (1,), "vector": (1, shape.width)}.get(shape.condition)
    if condition is not None and tuple(condition.shape) != expected:
        raise ConfigError(
            f"the condition has the shape {tuple(condition.shape)}; the model's condition is "
            f"{shape.condition}: give the shape {expected}"
        )
    if steps < 1 or not 0 <= seed < SEED_LIMIT:
        raise ConfigError(
            f"steps is {steps} and seed is {seed}; give at least 1 step, and a seed of 64 bits"
        )
    if not 2 <= columns <= steps + 1:
        raise ConfigError(f"columns is {columns} for {steps} steps; give 2 to {steps + 1} columns")
    device, side = str(next(model.parameters()).device), model.config.size
    sigmas = make_sigmas(model.schedule, steps)
    shown = _choose_columns(model.schedule, sigmas, columns)
    normal = seeded_noise([seed], (3, side, side), device)
    condition = None if condition is None else condition.to(device)
    eps, x = normal(), sigmas[0] * normal()
    xs, estimates = [x], list[Tensor]()
    for state in ancestral(model.make_denoise_function(condition), x, sigmas, normal):
        xs.append(state.x)
        estimates.append(state.x0)
    estimates.append(xs[-1])
    x0 = to_unit(torch.tensor(crop_square(picture, side)).permute(2, 0, 1)).to(device)
    levels = torch.tensor([sigmas[i] for i in shown], device=device)[:, None, None, None]
    scale = (1 + levels**2).sqrt()
    chains = (
        (x0 + levels * eps) / scale,
        torch.cat([xs[i] for i in shown]) / scale,
        torch.cat([estimates[i] for i in shown]),
    )
    parts = [chain.flip(0).float().cpu() for chain in chains]
    return ProcessTrace(steps, tuple(sigmas[i] for i in reversed(shown)), *parts)


def _choose_columns(noise: NoiseSchedule, sigmas: Sequence[float], columns: int) -> list[int]:
    """Choose the indices of the sigmas to show, all different, from the first to the last."""
    last = len(sigmas) - 1
    if isinstance(noise, DiscreteSchedule):
        return [round(i * last / (columns - 1)) for i in range(columns)]
    angles = [math.atan(sigma) for sigma in sigmas]
    chosen = [0]
    for i in range(1, columns):
        angle = angles[0] * (1 - i / (columns - 1))
        nearest = min(range(last + 1), key=lambda j: abs(angles[j] - angle))
        chosen.append(min(max(nearest, chosen[-1] + 1), last - (columns - 1 - i)))
    return chosen


def draw_process(
    model: Denoiser,
    picture: Image.Image,
    path: Path,
    condition: Tensor | None = None,
    seed: int = 0,
    steps: int = 250,
) -> None:
    """Draw `trace_process` and write the figure to `path` as PNG. Raises DiffusionError."""
    trace = trace_process(model, picture, condition, seed, steps, min(COLUMNS, steps + 1))
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context(STYLE):  # type: ignore[arg-type]
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
        figure = Figure(figsize=(13, 6.95), layout=layout, facecolor="white")
        (above,), (below,) = figure.subfigures(
            2, 1, squeeze=False, height_ratios=[4.05, 2.9], hspace=0.03
        )
        _draw_chains(above, trace, model.schedule, condition is not None)
        _draw_schedule(below, trace.sigmas, model.schedule)
        caption = _format_caption(model, condition is not None, seed, trace.steps)
        below.supxlabel(caption, x=0.995, ha="right", fontsize=11, color=SOFT)

        def write(partial: Path) -> None:
            metadata = {"Software": SOFTWARE}
            options: dict[str, Any] = {
                "bbox_inches": "tight",
                "pad_inches": 0.2,
                "metadata": metadata,
            }
            figure.savefig(partial, format="png", dpi=120, **options)

        files.replace(path, write)


def _format_caption(model: Denoiser, conditioned: bool, seed: int, steps: int) -> str:
    config = model.config
    parts = [
        f"{config.preset}, {config.noise} noise, {config.target} prediction",
        f"algorithm 2 in {steps} steps, seed {seed}",
    ]
    if conditioned:
        parts.append("$c$: condition")
    if not _is_discrete(model.schedule):
        parts += [r"$s < \sigma$", r"$x_\sigma$ is shown over $\sqrt{1 + \sigma^2}$"]
    return "; ".join(parts)


def _draw_chains(figure: Any, trace: ProcessTrace, noise: NoiseSchedule, conditioned: bool) -> None:
    axis = figure.subplots()
    t, before = ("t", "{t-1}") if _is_discrete(noise) else (r"\sigma", "s")
    condition = ", c" if conditioned else ""
    rows = (
        (trace.forward, r"forward  $\longrightarrow$", rf"$q(x_{t} \mid x_0)$"),
        (
            trace.reverse,
            r"$\longleftarrow$  reverse",
            rf"$p_\theta(x_{before} \mid x_{t}{condition})$",
        ),
        (trace.expected, "expected", rf"$\hat{{x}}_0(x_{t}{condition})$"),
    )
    side, columns = trace.forward.shape[-1], len(trace.sigmas)
    gap = max(1, side // 16)
    axis.imshow(
        tile_pictures(torch.cat([row[0] for row in rows]), columns, gap), interpolation="nearest"
    )
    centres = [gap + side / 2 + i * (side + gap) - 0.5 for i in range(columns)]
    axis.set_xticks(centres, _format_labels(trace.sigmas, noise))
    middles = [gap + side / 2 + i * (side + gap) - 0.5 for i in range(len(rows))]
    axis.set_yticks(middles, [f"{name}\n{formula}" for _, name, formula in rows])
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelcolor=INK, labelsize=13)
    axis.spines[:].set_visible(False)


def _format_labels(sigmas: Sequence[float], noise: NoiseSchedule) -> list[str]:
    if _is_discrete(noise):
        return ["$x_0$", *(f"$x_{{{t:.0f}}}$" for t in _curve_positions(sigmas, noise)[1:])]
    return [rf"$\sigma = {sigma:.2g}$" for sigma in sigmas]


def _curve_positions(sigmas: Sequence[float], noise: NoiseSchedule) -> list[float]:
    """Horizontal positions of noise levels: t = 1..T as in the paper, 0 for no noise; or sigma."""
    if not isinstance(noise, DiscreteSchedule):
        return list(sigmas)
    levels = noise.timestep(torch.tensor(sigmas, dtype=torch.float64)) * len(noise.betas) / 1000 + 1
    return [t if sigma else 0.0 for t, sigma in zip(levels.tolist(), sigmas, strict=True)]


def _draw_schedule(figure: Any, sigmas: Sequence[float], noise: NoiseSchedule) -> None:
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    if isinstance(noise, DiscreteSchedule):
        curve = noise.sigmas[torch.isfinite(noise.sigmas)]
        places: Tensor = torch.arange(1, len(curve) + 1)
    else:
        ends = math.log10(noise.sigma_min), math.log10(noise.sigma_max)
        curve = places = torch.logspace(*ends, 400, dtype=torch.float64)
    marked = torch.tensor([s for s in sigmas if s], dtype=torch.float64)
    at = _curve_positions(marked.tolist(), noise)
    for axis, offset in ((left, 1), (right, 0)):  # alpha_bar = 1 / (1 + sigma^2); SNR = 1 / sigma^2
        line, dots = (1 / (offset + sigma**2) for sigma in (curve, marked))
        axis.plot(places, line, color=BLUE, linewidth=1.8, label=r"$\bar\alpha$  signal")
        axis.plot(at, dots, "o", color=BLUE, markersize=5, markeredgecolor="white")
        _style_axis(axis, _is_discrete(noise))
    left.plot(
        places,
        1 - 1 / (1 + curve**2),
        color=RED,
        linewidth=1.8,
        label=r"$1 - \bar\alpha$  noise",
        zorder=1.5,
    )
    left.legend(frameon=False, loc="center right")
    left.set_title("share of the variance", fontsize=13, loc="left")
    right.set_title(r"SNR $= \bar\alpha \,/\, (1 - \bar\alpha)$", fontsize=13, loc="left")
    right.set_yscale("log")
    right.axhline(1, color=SOFT, linewidth=0.7, linestyle=(0, (4, 4)))


def _style_axis(axis: Axes, steps: bool) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("$t$" if steps else r"$\sigma$")
    if not steps:
        axis.set_xscale("log")
    axis.margins(x=0.02)
    axis.grid(color="#e8ebef", linewidth=0.7)
    axis.set_axisbelow(True)


def _is_discrete(noise: NoiseSchedule) -> bool:
    """Whether a schedule has steps; usable where the type is not narrowed."""
    return isinstance(noise, DiscreteSchedule)
