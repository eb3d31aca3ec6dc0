"""The files of a run: config.json, skipped.json, log.txt, stats.jsonl, grids, loss.png, states,
snapshots, checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from diffusion import files
from diffusion.errors import ConfigError, TrainingError
from diffusion.model.checkpoint import upgrade_keys
from diffusion.plots import draw_loss, save_png
from diffusion.reading import read_bytes, read_json
from diffusion.tensors import Shapes, check_shapes, read_header, read_tensors
from diffusion.training.devices import Speed
from diffusion.training.ema import Average, Snapshot

MAX_STATISTICS = 2**28  # bytes of stats.jsonl: some two million lines


class Folder:
    """A run folder. Of processes that train together only one writes. What writes here raises
    DiffusionError when the disk does not take it."""

    def __init__(self, path: str, writes: bool) -> None:
        self.path, self._writes = Path(path).expanduser(), writes

    def config(self) -> dict[str, Any] | None:
        """The configuration of an earlier start; None for a new run. Raises ConfigError."""
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            document: dict[str, Any] = read_json(path)
            missing = {"options", "config", "recipe", "steps", "pictures"} - set(document)
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            _check_config(document)
            return document
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path} is not readable ({error}); give another run") from error

    def write_config(self, document: dict[str, Any]) -> None:
        """Write what a later start reads back."""
        if self._writes:
            files.write_json(self.path / "config.json", document)

    def write_skipped(self, skipped: Sequence[tuple[str, str]]) -> None:
        """Write the names of the files that could not be read, each with its reason."""
        path = self.path / "skipped.json"
        if self._writes and (skipped or path.exists()):
            document = [{"name": name, "reason": reason} for name, reason in skipped]
            files.write_json(path, document)

    def log(self, line: str) -> None:
        """Append a line to the log."""
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}")

    def add_statistics(self, statistics: dict[str, Any]) -> None:
        """Append a line of numbers."""
        self._append("stats.jsonl", json.dumps(statistics))

    def save_grid(self, step: int, picture: Image.Image) -> Path:
        """Save the grid of a step. Returns its path."""
        path = self.path / "grids" / f"{step:07d}.png"
        save_png(path, picture)
        return path

    def save(self, name: str, state: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Save a state to resume from."""
        if self._writes:
            metadata = {key: json.dumps(value) for key, value in about.items()}
            files.write_tensors(self.path / f"{name}.safetensors", state, metadata)

    def save_snapshot(self, step: int, average: Average) -> None:
        """Save an average of the weights at a step, in half precision."""
        if self._writes:
            path = self.path / "snapshots" / f"{step:07d}-{average.kind.replace(':', '-')}"
            weights = {name: weight.half() for name, weight in average.weights.items()}
            metadata = {"step": str(step), "average": average.kind}
            files.write_tensors(path.with_name(f"{path.name}.safetensors"), weights, metadata)

    def has(self, name: str) -> bool:
        """Whether there are tensors of that name: a state, or the checkpoint."""
        return (self.path / f"{name}.safetensors").exists()

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A saved state and what is known of it; None when there is none. Raises TrainingError when
        it is damaged."""
        if not self.has(name):
            return None
        path = self.path / f"{name}.safetensors"
        try:
            about = {k: json.loads(text) for k, text in read_header(path).metadata.items()}
            return read_tensors(path), about
        except (OSError, ValueError, RecursionError) as error:
            raise TrainingError(
                f"{path} is damaged ({error}); start another run from the checkpoint beside it"
            ) from error

    def forget_after(self, step: int) -> None:
        """Delete statistics and snapshots of later steps: these steps will be done again."""
        path = self.path / "stats.jsonl"
        if not self._writes:
            return
        for snapshot in sorted(self.path.glob("snapshots/*.safetensors")):
            if snapshot.name[:7].isdigit() and int(snapshot.name[:7]) > step:
                snapshot.unlink(missing_ok=True)
        if path.exists():
            remaining = [line for line in self._statistics() if line["step"] <= step]
            text = "".join(json.dumps(line) + "\n" for line in remaining)
            files.replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    def plot(self) -> None:
        """Draw the loss so far, where matplotlib is installed."""
        lines = self._statistics()
        if self._writes and lines and find_spec("matplotlib"):
            draw_loss(self.path / "loss.png", lines)

    def _statistics(self) -> list[dict[str, Any]]:
        path = self.path / "stats.jsonl"
        text = read_bytes(path, MAX_STATISTICS).decode() if path.exists() else ""
        lines = text.splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]  # it may be cut off

    def _append(self, name: str, line: str) -> None:
        if not self._writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise TrainingError(f"cannot write {self.path / name}: {error.strerror}") from error


def _check_config(document: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError for values that no run writes."""
    parts = [document[name] for name in ("options", "config", "recipe")]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("options, config and recipe are no objects")
    preset, steps = document["config"]["preset"], document["steps"]
    if not isinstance(preset, str) or not (steps is None or type(steps) is int):
        raise ValueError(f"its preset is {preset!r}, its steps are {steps!r}")
    lengths = [document["options"][name] for name in ("steps", "minutes")]
    if not all(value is None or isinstance(value, int | float) for value in lengths):
        raise ValueError(f"its length is {lengths}")
    speed = Speed(**document.get("speed", {"bf16": False}))
    if type(speed.bf16) is not bool or type(speed.threads) is not int or speed.threads < 0:
        raise ValueError(f"its speed is {speed}")


def read_snapshots(run: Path, shapes: Shapes) -> list[Snapshot]:
    """The snapshots of power function averages in a run folder, oldest first.

    shapes: of the weights of the run's model, by name. Raises ConfigError if there is no snapshot,
    and TrainingError if one is damaged or of another model.
    """
    snapshots = []
    for path in sorted((run / "snapshots").glob("*.safetensors")):
        try:
            header = read_header(path)
            kind, _, width = header.metadata["average"].partition(":")
            if kind == "power":
                check_shapes(upgrade_keys(header.shapes), shapes)
                weights, step = upgrade_keys(read_tensors(path)), int(header.metadata["step"])
                snapshots.append(Snapshot(step, float(width), weights))
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{path} is damaged ({error}); remove it") from error
    if not snapshots:
        raise ConfigError(
            f"{run} has no snapshots of power averages; train with --snapshots 8 and two widths, "
            "such as --ema power:0.1 --ema power:0.05"
        )
    return snapshots
