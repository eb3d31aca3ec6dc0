"""A training from beginning to end: data, budget, the loop, what is left behind."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.data import Pictures, match, read, read_vectors
from diffusion.errors import ConfigError, TrainingError
from diffusion.model import checkpoint
from diffusion.model.denoiser import Denoiser
from diffusion.model.presets import Config, preset
from diffusion.plots import tiled
from diffusion.sampling.sample import sample
from diffusion.training.folder import Folder
from diffusion.training.options import Options, Progress
from diffusion.training.recipe import RECIPES, Recipe, plateau
from diffusion.training.sets import PixelSet
from diffusion.training.trainer import Trainer, World, epochs, pick

GRID, PASSES = 16, 20  # pictures of a grid, and network passes that each costs at most
SHARE = 0.05  # of a run's time that grids may take
RESERVE = 0.04  # of a budget: for writing, and for a rate that was measured too high
MEASURE = (12, 0.03)  # the rate is known after these many steps and this share of the budget
SAVE_SECONDS = 120.0
ENDLESS = 10**9
LIKE = ("minutes", "steps", "device", "compiled", "run")  # options that may differ on resuming


class Run:
    """One training in one folder; `go` does it. `stop` may be set: it then ends after the step."""

    def __init__(self, options: Options) -> None:
        """Reads the data, and what is in the folder. Raises DiffusionError."""
        self._begun = self._saved = time.monotonic()
        self.options, self.stop = options, False
        device = pick(options.device)
        self.world = World.join(device)
        self.folder = Folder(options.run, writes=not self.world.rank)
        earlier = self.folder.config()
        if earlier:
            _same(options, earlier)
        self._start = None
        if options.start:
            self._start = checkpoint.load(None if options.start == "shipped" else options.start)
        known = earlier["config"]["preset"] if earlier else "tiny"
        config = self._start.config if self._start else preset(options.preset or known)
        if options.preset not in (None, config.preset):
            raise ConfigError(
                f"the weights to start from are of the preset {config.preset}, not "
                f"{options.preset}; leave the preset out, or do not start from them"
            )
        config = replace(config, size=options.size or config.size)
        self.recipe = _recipe(options, config.preset)
        self.pictures, conditions, self.encoder = _read(options, config.size)
        self.classes, self.side = list(self.pictures.classes), self.pictures.side
        self._digest = digest(self.pictures, conditions)
        self.config = self._conditioned(config, conditions)
        torch.manual_seed(options.seed)
        model = Denoiser(self.config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = self.pictures.images
        if device != "cpu" and images.numel() < torch.cuda.mem_get_info(device)[0] // 2:
            images = images.to(device)
        self._set = PixelSet(images, conditions, self.recipe.flip)
        self.trainer = Trainer(
            model,
            [self._set],
            self.recipe,
            options.seed,
            self.world,
            device != "cpu" if options.compiled is None else options.compiled,
        )
        if self._start:
            self.trainer.begin_from(self._start.net.state_dict())
        self._sampled = copy.deepcopy(model).eval()
        self._before = self._trained = self._grids = 0.0  # seconds: earlier goes, steps, grids
        self.steps = self._resumed(earlier) if earlier else options.steps

    def go(self) -> Iterator[Progress]:
        """Train to the end. Raises TrainingError for a loss that is no number, and
        DiffusionError when the disk is full; the folder then holds the last good state."""
        trainer = self.trainer
        if self.steps is not None and trainer.step >= self.steps:
            said = f"the run is finished, {self.steps} steps; more minutes or steps go on with it"
            yield Progress(trainer.step, self.steps, said=said, finished=True)
            return
        self._save()  # a run that is made longer has gone back to its plateau
        self._write_config()
        self.folder.log(
            f"{len(self.pictures)} pictures, step {trainer.step} of {self.steps or '?'}"
        )
        try:
            yield from self._loop()
        except GeneratorExit:  # at a yield, between two steps
            if trainer.sound():
                self._save()
            raise
        if not self.stop:
            self.folder.log(f"finished after {self._elapsed():.0f} s")
        yield Progress(trainer.step, self.steps, finished=not self.stop)

    @contextmanager
    def until_stopped(self) -> Iterator[None]:
        """Within, in the main thread, Ctrl-C and SIGTERM set `stop`."""

        def stop(*_: object) -> None:
            self.stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _loop(self) -> Iterator[Progress]:
        trainer, total = self.trainer, torch.zeros((), device=self.trainer.device)
        every, looked = (10 if trainer.device.type == "cpu" else 100), trainer.step
        first = trainer.step + 3  # the steps before are slower
        spent, known = 0.0, 1  # known: since which step it is known when to turn
        while not self.stop and (self.steps is None or trainer.step < self.steps):
            begun = time.monotonic()
            total += trainer.advance(self.steps or ENDLESS)
            step = trainer.step
            if self.steps is None:
                total.item()  # so that a GPU has done it
            self._trained += time.monotonic() - begun
            if self.steps is None and step >= first:
                spent = self._trained if step == first else spent
                self._measure(step - first, self._trained - spent)
                known = step
            last = step == self.steps
            turned = self.steps is not None and step == max(plateau(self.steps), known)
            save = last or turned or self.stop or time.monotonic() - self._saved > SAVE_SECONDS
            if save or step % every == 0:
                begun = time.monotonic()
                loss = self._look(total / (step - looked))
                self._trained += time.monotonic() - begun
                total, looked = torch.zeros_like(total), step
                if save:
                    self._save(turned)
                yield self._progress(loss)
            if last or any(epochs(step - 1, self.recipe.batch, len(self.pictures))):
                yield from self._draw(last)

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
        self.encoder, self.classes = about.get("encoder"), about.get("classes", [])
        if kind == "none":  # what it knows of a condition is what it knew
            self.side = about.get("side", config.size)
        return config

    def _resumed(self, earlier: dict[str, Any]) -> int | None:
        """Steps of the whole run, if they are known, going on from the state they ask for: a longer
        run begins where the learning rate began to fall. Raises ConfigError."""
        if earlier["pictures"] != self._digest:
            raise ConfigError(
                "the pictures or their vectors have changed since the run began; give another run"
            )
        self._restore("state")
        planned: int | None = earlier["steps"]
        if planned is None:
            steps, done = self.options.steps, self.trainer.step
            if steps is not None and plateau(steps) <= done > 0:
                raise ConfigError(f"the run has done {done} steps already; give more than {steps}")
            return steps
        if _length(asdict(self.options)) == _length(earlier["options"]):
            return planned
        (now, unit), (before, other) = (
            _length(asdict(self.options)),
            _length(earlier["options"]),
        )
        if unit != other or now < before:
            raise ConfigError(f"the run was begun for {before:g} {other}; give as many, or more")
        if self.trainer.step > plateau(planned):
            if not self.folder.has("plateau"):
                raise TrainingError(
                    f"{self.folder.path} has no plateau.safetensors, where a longer run begins: "
                    "start another run from its checkpoint"
                )
            self._restore("plateau")
        return self.options.steps

    def _measure(self, steps: int, seconds: float) -> None:
        """Fix the number of steps, once the rate is known. All processes come here together."""
        budget, trainer, planned = self.options.budget, self.trainer, 0
        if budget is None:
            return
        if steps >= MEASURE[0] and seconds >= MEASURE[1] * budget:
            left = budget * (1 - RESERVE - SHARE) - self._elapsed()
            planned = trainer.step + max(1, int(left / (seconds / steps)))
        if self.world.size > 1:  # the first decides for all
            agreed = torch.tensor(planned, device=trainer.device)
            torch.distributed.broadcast(agreed, 0)
            planned = int(agreed)
        if planned:
            self.steps = planned
            self.folder.log(f"{seconds / steps:.4f} s a step: {planned} steps")
            self._write_config()

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._begun

    # what is left behind -------------------------------------------------------------------------

    def _look(self, mean: Tensor) -> float:
        """The mean loss, written down. Raises TrainingError when it is no number."""
        loss, step = float(mean), self.trainer.step
        rate = self.recipe.rate(step - 1, self.steps or ENDLESS)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {step} (learning rate {rate:.2g}); the run keeps its "
                "last good state: try a smaller lr in another run"
            )
        seen, seconds = step * self.recipe.batch, round(self._elapsed(), 3)
        said = {"step": step, "pictures": seen, "loss": loss, "lr": rate, "seconds": seconds}
        self.folder.note(said)
        return loss

    def _progress(self, loss: float) -> Progress:
        trainer = self.trainer
        pace = self._trained / max(1, trainer.step)
        left = (self.steps - trainer.step) * pace if self.steps else None
        return Progress(trainer.step, self.steps, loss, self.recipe.batch / pace, left)

    def _draw(self, last: bool) -> Iterator[Progress]:
        """A grid from the average, unless grids have had their share of the time."""
        if self.world.rank or (not last and self._grids > SHARE * self._elapsed()):
            return
        begun, trainer = time.monotonic(), self.trainer
        count = min(GRID, len(self.pictures))
        places = torch.arange(count) * len(self.pictures) // count
        under = self._set.conditions
        self._sampled.net.load_state_dict(trainer.average.weights)
        drawn = sample(
            self._sampled,
            count,
            condition=None if under is None else under[places.to(under.device)],
            steps=PASSES,
        )
        path = self.folder.grid(trainer.step, tiled(drawn))
        self._grids += time.monotonic() - begun
        yield Progress(trainer.step, self.steps, grid=path)

    def _save(self, turned: bool = False) -> None:
        """State, checkpoint and plot. turned: the learning rate falls from here on."""
        self._saved = time.monotonic()
        if self.world.rank or not self.trainer.step:
            return
        path, weights = self.folder.path / "checkpoint.safetensors", self.trainer.average.weights
        checkpoint.save(path, self.config, weights, self.about())
        about = {"step": self.trainer.step, "seconds": self._elapsed(), "trained": self._trained}
        state = self.trainer.state()
        # after the checkpoint: a run whose state is at its end is finished
        for name in ("plateau", "state") if turned else ("state",):
            self.folder.save(name, state, about)
        self.folder.plot()

    def about(self) -> dict[str, Any]:
        """What a checkpoint of this run tells of itself."""
        before = self._start.about.get("seen", 0) if self._start else 0
        told: dict[str, Any] = {
            "data": [Path(path).name for path in self.options.data],
            "pictures": len(self.pictures),
            "side": self.side,
            "seen": before + self.trainer.step * self.recipe.batch,
            "step": self.trainer.step,
            "seed": self.options.seed,
            "recipe": asdict(self.recipe),
            "seconds": round(self._trained),
        }
        if self.encoder and self.config.shape.condition == "vector":
            told["encoder"] = self.encoder
        if self.config.shape.condition == "class":
            told["classes"] = self.classes
        return told

    def _restore(self, name: str) -> None:
        """Go on from a saved state, if there is one, else from the beginning."""
        found = self.folder.load(name)
        if found is None:
            self.folder.forget_after(self.trainer.step)
            return
        state, about = found
        try:
            self.trainer.restore(state, int(about["step"]))
            self._before, self._trained = float(about["seconds"]), float(about["trained"])
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{name}.safetensors is of no run: {error}") from error
        self.folder.forget_after(self.trainer.step)

    def _write_config(self) -> None:
        document = {
            "options": asdict(self.options),
            "config": self.config.to_json(),
            "recipe": asdict(self.recipe),
            "steps": self.steps,
            "pictures": self._digest,
        }
        self.folder.write_config(document)


def train(data: Sequence[str | Path], run: str | Path, **options: Any) -> Iterator[Progress]:
    """Train on folders and zips, into a run folder; options as `Options` has them.

    It yields its progress; a loop that breaks off leaves a run that the same call goes on with.
    """
    yield from Run(Options(tuple(map(str, data)), str(run), **options)).go()


def _same(options: Options, earlier: dict[str, Any]) -> None:
    """Raises ConfigError when the folder's run was another one."""
    wanted = json.loads(json.dumps(asdict(options)))
    was = earlier["options"] | {"preset": earlier["config"]["preset"]}
    wanted["preset"] = wanted["preset"] or was["preset"]
    differing = [k for k in wanted if k not in LIKE and wanted[k] != was.get(k)]
    if differing:
        raise ConfigError(
            f"{options.run} holds a run with other {', '.join(differing)}; give another run, or "
            "the same options to go on with it"
        )


def _length(options: dict[str, Any]) -> tuple[float, str]:
    if options["steps"]:
        return options["steps"], "steps"
    return options["minutes"] or 60.0, "minutes"


def _read(options: Options, size: int) -> tuple[Pictures, Tensor | None, dict[str, str] | None]:
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
    if name not in RECIPES:
        raise ConfigError(
            f"nothing is known of how to train {name!r}, of {', '.join(RECIPES)} only"
        )
    said = {key: getattr(options, key) for key in ("batch", "lr", "drop")}
    return replace(RECIPES[name], **{k: v for k, v in said.items() if v is not None})


def digest(pictures: Pictures, conditions: Tensor | None) -> str:
    """Of all that is trained on, in hexadecimal."""
    said = hashlib.sha256(os.fsencode("\n".join(pictures.names)))
    for tensor in (pictures.images, conditions):
        if tensor is not None:
            said.update(tensor.reshape(-1).numpy().data)
    return said.hexdigest()[:16]
