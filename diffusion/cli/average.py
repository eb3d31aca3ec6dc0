"""`lookalike diffusion average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion.cli.output import print_note
from diffusion.errors import ConfigError


def average(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with snapshots.")],
    width: Annotated[
        float, typer.Option(metavar="W", help="Width of the average, as a share of the run.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="A checkpoint (.safetensors).")
    ],
) -> None:
    """Compute an average of the weights of any width after a run, from its snapshots."""
    from diffusion.model import checkpoint
    from diffusion.model.presets import Config
    from diffusion.training.ema import combine
    from diffusion.training.folder import read_snapshots

    about = checkpoint.read_description(run / "checkpoint.safetensors")
    if out.exists() or out.with_suffix(".json").exists():
        raise ConfigError(f"{out} exists; give another name")
    config = Config.from_json(about["config"])
    snapshots = read_snapshots(run, checkpoint.list_network_shapes(config))
    last = max(one.step for one in snapshots)
    if last != about.get("step"):
        raise ConfigError(
            f"the last snapshot of {run} is of step {last}, its checkpoint of step "
            f"{about.get('step')}; let the run come to its end"
        )
    weights = combine(snapshots, width)
    known = {**checkpoint.strip_header(about), "average": f"power:{width:g}"}
    checkpoint.save(out, config, weights, known)
    print_note(f"{out}: the average of width {width:g}, from {len(snapshots)} snapshots")
