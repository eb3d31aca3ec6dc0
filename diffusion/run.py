"""A run folder: what a training leaves behind, and what it goes on from."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from diffusion import checkpoint, files
from diffusion.data import Pictures, match, read, read_vectors
from diffusion.denoiser import Denoiser
from diffusion.errors import ConfigError, TrainingError
from diffusion.plots import draw_loss, save_png, tiled
from diffusion.presets import Config, preset
from diffusion.recipe import RECIPES, Recipe, plateau
from diffusion.sample import sample
from diffusion.train import Trainer, World, epochs, pick

GRID, PASSES = 16, 20  # pictures of a grid, and network passes that each costs at most
SHARE = 0.1  # of a run's time that grids may take
RESERVE = 0.04  # of a budget: for writing, and for a rate that was measured too high
MEASURE = (12, 0.03)  # the rate is known after these many steps and this share of the budget
SAVE_SECONDS = 120.0
ENDLESS = 10**9
LIKE = ("minutes", "steps", "device", "compiled", "run")  # options that may differ on resuming


@dataclass(frozen=True)
class Options:
    """What the user says; None leaves it to the preset.

    data: folders and zips. run: the run folder. minutes or steps: how long (default: 60 minutes).
    embeddings: a file of conditioning vectors. classes: condition on the folders' names. start: a
    checkpoint to start from, or `shipped`. The others as in `Recipe`, `Config` and `pick`.
    """

    data: tuple[str, ...]
    run: str
    preset: str = "tiny"
    minutes: float | None = None
    steps: int | None = None
    embeddings: str | None = None
    classes: bool = False
    start: str | None = None
    size: int | None = None
    batch: int | None = None
    lr: float | None = None
    drop: float | None = None
    seed: int = 0
    device: str = "auto"
    compiled: bool | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and self.steps is not None:
            raise ConfigError("give minutes or steps, not both")
        if not (self.minutes is None or 0 < self.minutes < math.inf) or (self.steps or 1) < 1:
            raise ConfigError("minutes is above 0, and steps at least 1")
        if self.classes and self.embeddings:
            raise ConfigError("a model has one condition: give classes or embeddings")

    @property
    def budget(self) -> float | None:
        """Seconds of the whole run; None where its steps are given."""
        return None if self.steps else 60 * (self.minutes or 60.0)


@dataclass(frozen=True)
class Progress:
    """One look at a run. steps: None while the rate is being measured. loss: mean since the last
    look. rate: pictures a second. left: seconds. grid: a picture grid that was just written.
    said: a line for the user. finished: the run is over."""

    step: int
    steps: int | None
    loss: float | None = None
    rate: float | None = None
    left: float | None = None
    grid: Path | None = None
    said: str | None = None
    finished: bool = False


class Run:
    """One training in one folder; `go` does it. `stop` may be set: it then ends after the step."""

    def __init__(self, options: Options) -> None:
        """Reads the data, and what is in the folder. Raises DiffusionError."""
        self._begun = time.monotonic()
        self.options, self.stop = options, False
        self.folder = Path(options.run).expanduser()
        self._earlier = _read_config(self.folder, options)
        device = pick(options.device)
        self._start = None
        if options.start:
            self._start = checkpoint.load(None if options.start == "shipped" else options.start)
        config = self._start.config if self._start else preset(options.preset)
        config = replace(config, size=options.size or config.size)
        self.pictures, conditions, self.encoder = _read_data(options, config.size)
        self.config = self._conditioned(config, conditions)
        self.recipe = _recipe(options, config.preset)
        torch.manual_seed(options.seed)
        model = Denoiser(self.config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.world = World.join(device)
        compiled = device != "cpu" if options.compiled is None else options.compiled
        self.trainer = Trainer(
            model,
            self.pictures.images,
            conditions,
            self.recipe,
            options.seed,
            self.world,
            compiled,
        )
        if self._start:
            self.trainer.begin_from(self._start.net.state_dict())
        self._sampled = copy.deepcopy(model)
        self._before = self._trained = self._grids = 0.0  # seconds: earlier goes, steps, grids
        self._saved = self._begun
        self.steps = self._planned()

    def go(self) -> Iterator[Progress]:
        """Train to the end. Raises TrainingError for a loss that is no number, and
        DiffusionError when the disk is full; the folder then holds the last good state."""
        trainer, total = self.trainer, torch.zeros((), device=self.trainer.device)
        if self.steps is not None and trainer.step >= self.steps:
            said = f"{self.folder} is finished: {trainer.step} steps; more minutes go on with it"
            yield Progress(trainer.step, self.steps, said=said, finished=True)
            return
        self._write_config()
        self._log(f"{len(self.pictures)} pictures, step {trainer.step} of {self.steps or '?'}")
        every, looked = (10 if trainer.device.type == "cpu" else 100), trainer.step
        first = trainer.step + 3  # the steps before are slower
        measured = first, 0.0
        try:
            while not self.stop and (self.steps is None or trainer.step < self.steps):
                begun = time.monotonic()
                total += trainer.advance(self.steps or ENDLESS)
                step = trainer.step
                if self.steps is None:
                    total.item()  # so that a GPU has done it
                self._trained += time.monotonic() - begun
                if self.steps is None:
                    if step == first:
                        measured = step, self._trained
                    self._measure(*measured)
                last = step == self.steps
                due = time.monotonic() - self._saved > SAVE_SECONDS
                turned = self.steps is not None and step == plateau(self.steps)
                if step % every == 0 or last or due or turned or self.stop:
                    begun = time.monotonic()
                    loss = self._look(total / (step - looked), step)
                    self._trained += time.monotonic() - begun
                    total, looked = torch.zeros_like(total), step
                    yield self._progress(loss)
                if due or last or turned or self.stop:
                    self._save(turned)
                if last or any(epochs(step - 1, self.recipe.batch, len(self.pictures))):
                    yield from self._draw(last)
        except GeneratorExit:  # at a yield, between two steps
            self._save()
            raise
        if not self.stop:
            self._log(f"finished after {self._elapsed():.0f} s")
        yield Progress(trainer.step, self.steps, finished=not self.stop)

    # what to train -------------------------------------------------------------------------------

    def _conditioned(self, config: Config, conditions: Tensor | None) -> Config:
        """The model's configuration under the data's condition. Raises ConfigError."""
        kind = "class" if self.options.classes else "vector" if self.options.embeddings else "none"
        width = 0
        if conditions is not None:
            width = len(self.pictures.classes) if kind == "class" else conditions.shape[1]
        if not self._start:
            return config.conditioned(kind, width)
        about, shape = self._start.about, config.shape
        same = (kind, width) == (shape.condition, shape.width)
        if kind == "class":
            same = same and list(self.pictures.classes) == about.get("classes")
        if kind == "vector":
            same = same and self.encoder == about.get("encoder")
        if kind != "none" and not same:
            known = about.get("encoder") or about.get("classes") or ""
            raise ConfigError(
                f"the weights to start from are conditioned on {shape.condition} {known}, the data "
                f"on {kind} {self.encoder or ''}; make the vectors with that encoder, or give none"
            )
        self.encoder = about.get("encoder")
        return config

    def _planned(self) -> int | None:
        """Steps of the whole run, if they are known; the trainer goes back to the state that they
        go on from."""
        earlier = self._earlier
        if not earlier:
            return self.options.steps
        if earlier["pictures"] != _digest(self.pictures):
            raise ConfigError(
                f"the pictures have changed since {self.folder} began; give another run"
            )
        self._restore("state.safetensors")
        planned: int | None = earlier["steps"]
        said = self.options.steps or self.options.minutes or 60.0
        before = earlier["options"]["steps"] or earlier["options"]["minutes"] or 60.0
        if planned is None or said == before:
            return planned
        if said < before or bool(self.options.steps) != bool(earlier["options"]["steps"]):
            raise ConfigError(f"{self.folder} was begun for {before:g}; give as much, or more")
        turn = plateau(planned)
        if self.trainer.step > turn:
            self._restore("plateau.safetensors")
        return self.options.steps

    def _measure(self, first: int, seconds: float) -> None:
        """Fix the number of steps, once the rate is known."""
        budget, trainer = self.options.budget, self.trainer
        if budget is None:
            return
        steps, spent, planned = trainer.step - first, self._trained - seconds, 0
        if steps >= MEASURE[0] and spent >= MEASURE[1] * budget:
            left = budget * (1 - RESERVE - SHARE / 2) - self._elapsed()
            planned = trainer.step + max(1, int(left / (spent / steps)))
        if self.world.size > 1:  # the first decides for all
            agreed = torch.tensor(planned, device=trainer.device)
            torch.distributed.broadcast(agreed, 0)
            planned = int(agreed)
        if not planned:
            return
        self.steps = planned
        self._log(f"{spent / steps:.4f} s a step: {planned} steps")
        self._write_config()

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._begun

    # what is left behind -------------------------------------------------------------------------

    def _look(self, mean: Tensor, step: int) -> float:
        """The mean loss, written down. Raises TrainingError when it is no number."""
        loss = float(mean)
        rate = self.recipe.rate(step - 1, self.steps or ENDLESS)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step} (learning rate {rate:.2g}); {self.folder} "
                "keeps the last good state: try a smaller lr in another run folder"
            )
        seen = step * self.recipe.batch
        line = {
            "step": step,
            "pictures": seen,
            "loss": loss,
            "lr": rate,
            "seconds": self._elapsed(),
        }
        self._append("stats.jsonl", json.dumps(line))
        return loss

    def _progress(self, loss: float) -> Progress:
        trainer = self.trainer
        pace = self._trained / max(1, trainer.step)
        left = (self.steps - trainer.step) * pace if self.steps else None
        return Progress(trainer.step, self.steps, loss, self.recipe.batch / pace, left)

    def _draw(self, last: bool) -> Iterator[Progress]:
        """A grid from the average, unless grids have had their share of the time."""
        if self.world.rank or (not last and self._grids > SHARE / 2 * self._elapsed()):
            return
        begun, trainer = time.monotonic(), self.trainer
        count = min(GRID, len(self.pictures))
        places = torch.arange(count) * len(self.pictures) // count
        under = trainer.conditions
        self._sampled.net.load_state_dict(trainer.average.weights)
        drawn = sample(
            self._sampled.eval(),
            count,
            condition=None if under is None else under[places.to(under.device)],
            steps=PASSES,
        )
        path = self.folder / "grids" / f"{trainer.step:07d}.png"
        save_png(path, tiled(drawn))
        self._grids += time.monotonic() - begun
        yield Progress(trainer.step, self.steps, grid=path)

    def _save(self, turned: bool = False) -> None:
        """State, checkpoint and loss plot. turned: the learning rate falls from here; a longer
        run goes on from this state."""
        self._saved = time.monotonic()
        if self.world.rank or not self.trainer.step:
            return
        about = {"step": str(self.trainer.step), "seconds": str(self._elapsed())}
        about["trained"] = str(self._trained)
        state = self.trainer.state()
        for name in ("plateau", "state") if turned else ("state",):
            files.write_tensors(self.folder / f"{name}.safetensors", state, about)
        checkpoint.save(
            self.folder / "checkpoint.safetensors",
            self.config,
            self.trainer.average.weights,
            self.about(),
        )
        lines = (self.folder / "stats.jsonl").read_text().splitlines()
        draw_loss(self.folder / "loss.png", [json.loads(line) for line in lines])

    def about(self) -> dict[str, Any]:
        """What a checkpoint of this run tells of itself."""
        told: dict[str, Any] = {
            "data": [Path(path).name for path in self.options.data],
            "pictures": len(self.pictures),
            "seen": self.trainer.step * self.recipe.batch,
            "step": self.trainer.step,
            "seed": self.options.seed,
            "recipe": asdict(self.recipe),
            "seconds": round(self._trained),
        }
        if self.encoder and self.config.shape.condition == "vector":
            told["encoder"] = self.encoder
        if self.config.shape.condition == "class":
            told["classes"] = list(self.pictures.classes)
        return told

    def _restore(self, name: str) -> None:
        """Go on from a saved state; statistics after it are dropped."""
        path = self.folder / name
        if not path.exists():
            return
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}
            self.trainer.restore(state, int(about["step"]))
            self._before, self._trained = float(about["seconds"]), float(about["trained"])
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise TrainingError(f"{path} is damaged ({error}); remove it to begin anew") from error
        stats = self.folder / "stats.jsonl"
        if stats.exists() and not self.world.rank:
            lines = stats.read_text().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= self.trainer.step]
            files.replace(stats, lambda partial: partial.write_text("".join(kept)))

    def _write_config(self) -> None:
        if not self.world.rank:
            document = {
                "options": asdict(self.options),
                "config": self.config.to_json(),
                "recipe": asdict(self.recipe),
                "steps": self.steps,
                "pictures": _digest(self.pictures),
            }
            files.write_json(self.folder / "config.json", document)

    def _log(self, line: str) -> None:
        self._append("log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}")

    def _append(self, name: str, line: str) -> None:
        if self.world.rank:
            return
        try:
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise TrainingError(f"cannot write {self.folder / name}: {error.strerror}") from error


def _read_config(folder: Path, options: Options) -> dict[str, Any] | None:
    """What a run folder began with. Raises ConfigError when that was another run."""
    path = folder / "config.json"
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        said = {k: v for k, v in found["options"].items() if k not in LIKE}
        found["steps"], found["pictures"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not readable ({error}); give another run folder") from error
    wanted = {k: v for k, v in json.loads(json.dumps(asdict(options))).items() if k not in LIKE}
    differing = [k for k in wanted if wanted[k] != said.get(k)]
    if differing:
        raise ConfigError(
            f"{folder} holds a run with other {', '.join(differing)}; give another run folder, or "
            "the same options to go on with it"
        )
    return found


def _read_data(
    options: Options, size: int
) -> tuple[Pictures, Tensor | None, dict[str, str] | None]:
    """Pictures, their conditions, and the encoder of those. Raises DiffusionError."""
    pictures = read(options.data, size)
    if options.embeddings:
        vectors = read_vectors(options.embeddings)
        pictures, rows = match(pictures, vectors)
        return pictures, rows, vectors.encoder
    if options.classes and not pictures.classes:
        raise ConfigError("classes need pictures in folders, one for each class")
    return pictures, pictures.labels if options.classes else None, None


def _recipe(options: Options, name: str) -> Recipe:
    said = {key: getattr(options, key) for key in ("batch", "lr", "drop")}
    return replace(RECIPES[name], **{k: v for k, v in said.items() if v is not None})


def _digest(pictures: Pictures) -> str:
    digest = hashlib.sha256("\n".join(pictures.names).encode())
    digest.update(pictures.images.numpy().tobytes())
    return digest.hexdigest()[:16]
