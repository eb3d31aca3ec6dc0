"""A picture of the process: the forward chain of a picture, the reverse chain out of noise with
what the model expects on the way, and the schedule, as the papers draw them."""

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
from diffusion.data import square, to_unit
from diffusion.errors import ConfigError
from diffusion.model.denoiser import Denoiser
from diffusion.model.schedule import Noise, Steps
from diffusion.plots import SOFTWARE, tiled
from diffusion.sampling.sample import MOST_SEED
from diffusion.sampling.samplers import ancestral, grid, normals

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
class Process:
    """Both chains at the same noise levels, the least first.

    steps: of the way back. sigmas: of the columns; the first is 0. forward: the picture at them;
    reverse: the sampler's states; expected: what the model made of those, the picture itself at
    sigma 0; each (columns, 3, S, S), noisy ones over sqrt(1 + sigma^2), which is the x_t of Ho et
    al.
    """

    steps: int
    sigmas: tuple[float, ...]
    forward: Tensor
    reverse: Tensor
    expected: Tensor


@torch.inference_mode()
def process(
    model: Denoiser,
    picture: Image.Image,
    condition: Tensor | None = None,
    seed: int = 0,
    steps: int = 250,
    columns: int = COLUMNS,
) -> Process:
    """Noise a picture; then start from pure noise and take algorithm 2 back.

    condition: (1,) class or (1, D) vector for the way back; None for none. steps: of the way back,
    a network pass each, and no more than the schedule has. columns: how many levels are kept,
    evenly spaced in t; under continuous noise in arctan sigma, which is the t of a cosine schedule.
    Raises ConfigError.
    """
    if isinstance(model.noise, Steps):
        steps = min(steps, len(model.noise.betas))
    shape = model.config.shape
    if model.config.space != "pixels":
        raise ConfigError(
            "the process is drawn for models on pixels, whose states can be seen; this model works "
            "on latents: give another checkpoint, or none for the one that ships"
        )
    known = {"class": (1,), "vector": (1, shape.width)}.get(shape.condition)
    if condition is not None and tuple(condition.shape) != known:
        raise ConfigError(
            f"the model's condition is {shape.condition}, of the shape {known}: not one of the "
            f"shape {tuple(condition.shape)}"
        )
    if steps < 1 or not 0 <= seed < MOST_SEED:
        raise ConfigError(f"{steps} steps, seed {seed}: give at least 1, and 64 bits")
    if not 2 <= columns <= steps + 1:
        raise ConfigError(f"{columns} columns of {steps} steps: give 2 to {steps + 1}")
    device, side = str(next(model.parameters()).device), model.config.size
    sigmas = grid(model.noise, steps)
    shown = _columns(model.noise, sigmas, columns)
    normal = normals([seed], (3, side, side), device)
    under = None if condition is None else condition.to(device)
    eps, x = normal(), sigmas[0] * normal()
    xs, guesses = [x], list[Tensor]()
    for state in ancestral(model.denoise(under), x, sigmas, normal):
        xs.append(state.x)
        guesses.append(state.x0)
    guesses.append(xs[-1])
    x0 = to_unit(torch.tensor(square(picture, side)).permute(2, 0, 1)).to(device)
    levels = torch.tensor([sigmas[i] for i in shown], device=device)[:, None, None, None]
    scale = (1 + levels**2).sqrt()
    chains = (
        (x0 + levels * eps) / scale,
        torch.cat([xs[i] for i in shown]) / scale,
        torch.cat([guesses[i] for i in shown]),
    )
    parts = [chain.flip(0).float().cpu() for chain in chains]
    return Process(steps, tuple(sigmas[i] for i in reversed(shown)), *parts)


def _columns(noise: Noise, sigmas: Sequence[float], columns: int) -> list[int]:
    """Which of the sigmas are shown, all different, from the first to the last."""
    last = len(sigmas) - 1
    if isinstance(noise, Steps):
        return [round(i * last / (columns - 1)) for i in range(columns)]
    angles = [math.atan(sigma) for sigma in sigmas]
    chosen = [0]
    for i in range(1, columns):
        wanted = angles[0] * (1 - i / (columns - 1))
        nearest = min(range(last + 1), key=lambda j: abs(angles[j] - wanted))
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
    """Write the figure of `process` as PNG. Raises DiffusionError."""
    found = process(model, picture, condition, seed, steps, min(COLUMNS, steps + 1))
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context(STYLE):  # type: ignore[arg-type]
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
        figure = Figure(figsize=(13, 6.95), layout=layout, facecolor="white")
        (above,), (below,) = figure.subfigures(
            2, 1, squeeze=False, height_ratios=[4.05, 2.9], hspace=0.03
        )
        _draw_chains(above, found, model.noise, condition is not None)
        _draw_schedule(below, found.sigmas, model.noise)
        caption = _caption(model, condition is not None, seed, found.steps)
        below.supxlabel(caption, x=0.995, ha="right", fontsize=11, color=SOFT)

        def write(partial: Path) -> None:
            said = {"Software": SOFTWARE}
            figure.savefig(
                partial, format="png", dpi=120, bbox_inches="tight", pad_inches=0.2, metadata=said
            )

        files.replace(path, write)


def _caption(model: Denoiser, conditioned: bool, seed: int, steps: int) -> str:
    config = model.config
    parts = [
        f"{config.preset}, {config.noise} noise, {config.target} prediction",
        f"algorithm 2 in {steps} steps, seed {seed}",
    ]
    if conditioned:
        parts.append("$c$: what the model is told of the picture")
    if not _stepped(model.noise):
        parts += [r"$s < \sigma$", r"$x_\sigma$ is shown over $\sqrt{1 + \sigma^2}$"]
    return "; ".join(parts)


def _draw_chains(figure: Any, found: Process, noise: Noise, conditioned: bool) -> None:
    axis = figure.subplots()
    t, before = ("t", "{t-1}") if _stepped(noise) else (r"\sigma", "s")
    given = ", c" if conditioned else ""
    rows = (
        (found.forward, r"forward  $\longrightarrow$", rf"$q(x_{t} \mid x_0)$"),
        (found.reverse, r"$\longleftarrow$  reverse", rf"$p_\theta(x_{before} \mid x_{t}{given})$"),
        (found.expected, "expected", rf"$\hat{{x}}_0(x_{t}{given})$"),
    )
    side, columns = found.forward.shape[-1], len(found.sigmas)
    gap = max(1, side // 16)
    axis.imshow(tiled(torch.cat([row[0] for row in rows]), columns, gap), interpolation="nearest")
    centres = [gap + side / 2 + i * (side + gap) - 0.5 for i in range(columns)]
    axis.set_xticks(centres, _labels(found.sigmas, noise))
    middles = [gap + side / 2 + i * (side + gap) - 0.5 for i in range(len(rows))]
    axis.set_yticks(middles, [f"{name}\n{formula}" for _, name, formula in rows])
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelcolor=INK, labelsize=13)
    axis.spines[:].set_visible(False)


def _labels(sigmas: Sequence[float], noise: Noise) -> list[str]:
    if _stepped(noise):
        return ["$x_0$", *(f"$x_{{{t:.0f}}}$" for t in _positions(sigmas, noise)[1:])]
    return [rf"$\sigma = {sigma:.2g}$" for sigma in sigmas]


def _positions(sigmas: Sequence[float], noise: Noise) -> list[float]:
    """Where noise levels are on the curves: t = 1..T as the paper counts, 0 for none; or sigma."""
    if not isinstance(noise, Steps):
        return list(sigmas)
    levels = noise.time(torch.tensor(sigmas, dtype=torch.float64)) * len(noise.betas) / 1000 + 1
    return [t if sigma else 0.0 for t, sigma in zip(levels.tolist(), sigmas, strict=True)]


def _draw_schedule(figure: Any, sigmas: Sequence[float], noise: Noise) -> None:
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.06})
    if isinstance(noise, Steps):
        curve = noise.sigmas[torch.isfinite(noise.sigmas)]
        places: Tensor = torch.arange(1, len(curve) + 1)
    else:
        ends = math.log10(noise.lowest), math.log10(noise.highest)
        curve = places = torch.logspace(*ends, 400, dtype=torch.float64)
    marked = torch.tensor([s for s in sigmas if s], dtype=torch.float64)
    at = _positions(marked.tolist(), noise)
    for axis, offset in ((left, 1), (right, 0)):  # alpha_bar = 1 / (1 + sigma^2); SNR = 1 / sigma^2
        line, dots = (1 / (offset + sigma**2) for sigma in (curve, marked))
        axis.plot(places, line, color=BLUE, linewidth=1.8, label=r"$\bar\alpha$  signal")
        axis.plot(at, dots, "o", color=BLUE, markersize=5, markeredgecolor="white")
        _plain(axis, _stepped(noise))
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


def _plain(axis: Axes, steps: bool) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("$t$" if steps else r"$\sigma$")
    if not steps:
        axis.set_xscale("log")
    axis.margins(x=0.02)
    axis.grid(color="#e8ebef", linewidth=0.7)
    axis.set_axisbelow(True)


def _stepped(noise: Noise) -> bool:
    return isinstance(noise, Steps)
