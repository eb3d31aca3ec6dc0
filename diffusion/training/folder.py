"""The files of a run: config.json, log.txt, stats.jsonl, grids, loss.png, states, checkpoint."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffusion import files
from diffusion.errors import ConfigError, TrainingError
from diffusion.plots import draw_loss, save_png


class Folder:
    """A run folder. Of processes that train together only one writes."""

    def __init__(self, path: str, writes: bool) -> None:
        self.path, self._writes = Path(path).expanduser(), writes

    def config(self) -> dict[str, Any] | None:
        """What the run began with, if it has begun. Raises ConfigError."""
        path = self.path / "config.json"
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            missing = {"options", "config", "recipe", "steps", "pictures"} - set(found)
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            return found
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{path} is not readable ({error}); give another run") from error

    def write_config(self, document: dict[str, Any]) -> None:
        """Raises DiffusionError, as all that writes here."""
        if self._writes:
            files.write_json(self.path / "config.json", document)

    def log(self, line: str) -> None:
        """A line for people."""
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}")

    def note(self, statistics: dict[str, Any]) -> None:
        """A line for machines."""
        self._append("stats.jsonl", json.dumps(statistics))

    def grid(self, step: int, picture: Image.Image) -> Path:
        """A grid after a step; where it is."""
        path = self.path / "grids" / f"{step:07d}.png"
        save_png(path, picture)
        return path

    def save(self, name: str, state: dict[str, Tensor], about: dict[str, Any]) -> None:
        """A state to go on from."""
        if self._writes:
            said = {key: json.dumps(value) for key, value in about.items()}
            files.write_tensors(self.path / f"{name}.safetensors", state, said)

    def has(self, name: str) -> bool:
        """Whether `save` wrote it."""
        return (self.path / f"{name}.safetensors").exists()

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What `save` wrote, if it is there. Raises TrainingError when it is damaged."""
        if not self.has(name):
            return None
        path = self.path / f"{name}.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                about = {key: json.loads(said) for key, said in (file.metadata() or {}).items()}
                return {key: file.get_tensor(key) for key in file.keys()}, about
        except (OSError, ValueError, SafetensorError) as error:
            raise TrainingError(
                f"{path} is damaged ({error}); start another run from the checkpoint beside it"
            ) from error

    def forget_after(self, step: int) -> None:
        """Drop statistics of later steps: they are about to be done again."""
        path = self.path / "stats.jsonl"
        if self._writes and path.exists():
            kept = [line for line in self._statistics() if line["step"] <= step]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            files.replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))

    def plot(self) -> None:
        """The loss so far."""
        lines = self._statistics()
        if self._writes and lines and find_spec("matplotlib"):  # not where one only trains
            draw_loss(self.path / "loss.png", lines)

    def _statistics(self) -> list[dict[str, Any]]:
        path = self.path / "stats.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be torn

    def _append(self, name: str, line: str) -> None:
        if not self._writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise TrainingError(f"cannot write {self.path / name}: {error.strerror}") from error
