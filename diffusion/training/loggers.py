"""Trackers of training runs: TensorBoard, and Weights & Biases. Both are optional packages.

for progress in follow(run.go(), [TensorBoardTracker(run.folder.path)]): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from diffusion import files
from diffusion.errors import ConfigError
from diffusion.training.options import Progress

FOLDER, RUN_ID = "tensorboard", "wandb-id.txt"


class Tracker(Protocol):
    """Takes the numbers and pictures of a run."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers of a step, by name."""
        ...

    def add_picture(self, step: int, picture: Image.Image) -> None:
        """Add the grid of a step."""
        ...

    def close(self) -> None:
        """Write what is not yet written."""
        ...


class TensorBoardTracker:
    """Writes event files into `tensorboard` of the run folder. See `Tracker`."""

    def __init__(self, run: Path, step: int = 0, config: Mapping[str, Any] | None = None) -> None:
        """step: at which the run resumes; later entries of an earlier start are dropped. Raises
        ConfigError if the package is missing."""
        module = _import("torch.utils.tensorboard", "tensorboard")
        self._writer = module.SummaryWriter(str(run / FOLDER), purge_step=step or None)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def add_picture(self, step: int, picture: Image.Image) -> None:
        """See `Tracker`."""
        self._writer.add_image("grid", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """See `Tracker`."""
        self._writer.close()


class WandbTracker:
    """Sends a run to Weights & Biases, as its own settings say (`WANDB_MODE=offline` sends
    nothing). See `Tracker`."""

    def __init__(self, run: Path, step: int = 0, config: Mapping[str, Any] | None = None) -> None:
        """config: of the run, which is shown with it. A resumed run continues the same one there.
        Raises ConfigError if the package is missing, or cannot be used."""
        self._wandb = _import("wandb", "wandb")
        place = run / RUN_ID
        known = place.read_text().strip() if step and place.is_file() else None
        run.mkdir(parents=True, exist_ok=True)
        options = {"project": "lookalike", "name": run.name, "dir": str(run), "id": known}
        try:
            self._run = self._wandb.init(**options, config=dict(config or {}), resume="allow")
        except Exception as error:  # no account, no network
            raise ConfigError(
                f"wandb cannot be used: {error}; run `wandb login`, or set WANDB_MODE=offline"
            ) from error
        files.replace(place, lambda partial: partial.write_text(self._run.id))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def add_picture(self, step: int, picture: Image.Image) -> None:
        """See `Tracker`."""
        self._run.log({"grid": self._wandb.Image(picture)}, step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, int, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
}


def check_names(names: Sequence[str]) -> None:
    """Raise ConfigError for an unknown tracker or a missing package."""
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"there is no log {name!r}; give one of {', '.join(TRACKERS)}")
        _import(name, name)


def open_trackers(
    names: Sequence[str], run: Path, step: int, config: Mapping[str, Any]
) -> list[Tracker]:
    """Open the trackers of a run. Raises ConfigError for an unknown name or a missing package."""
    check_names(names)
    return [TRACKERS[name](run, step, config) for name in dict.fromkeys(names)]


def follow(events: Iterable[Progress], trackers: Sequence[Tracker]) -> Iterator[Progress]:
    """Pass on the progress of a run, and let trackers have its numbers and grids."""
    with ExitStack() as stack:
        for tracker in trackers:
            stack.enter_context(closing(tracker))
        for event in events:
            values = {
                name: value
                for name in ("loss", "validation", "rate")
                if (value := getattr(event, name)) is not None
            }
            for tracker in trackers:
                if values:
                    tracker.add(event.step, values)
                if event.grid is not None:
                    with Image.open(event.grid) as picture:
                        tracker.add_picture(event.step, picture.convert("RGB"))
            yield event


def _import(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--log {package} needs the package {package}; run `pip install {package}`, or leave "
            "the option out"
        ) from error
