"""A training from beginning to end: data, budget, the loop, the files that it leaves."""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffusion.errors import ConfigError, TrainingError
from diffusion.model import checkpoint
from diffusion.model.autoencoder import load_autoencoder
from diffusion.model.denoiser import Denoiser
from diffusion.model.presets import Config, preset
from diffusion.plots import tile_pictures
from diffusion.sampling.sample import MAX_GUIDANCE, sample
from diffusion.training import augment
from diffusion.training.devices import (
    Speed,
    World,
    choose_device,
    choose_speed,
    default_speed,
    explain_memory,
)
from diffusion.training.folder import Folder
from diffusion.training.inputs import OnProgress, read_inputs
from diffusion.training.options import Options, Progress
from diffusion.training.recipe import RECIPES, Recipe, plateau
from diffusion.training.trainer import Trainer
from diffusion.training.validation import Validation

GRID, PASSES = 16, 20  # pictures of a grid, and network passes for each
GRID_SHARE, VALIDATION_SHARE = 0.05, 0.03  # of a run's time, at most
GRID_SECONDS, GRID_GROWTH = 60.0, 0.1  # between two grids: seconds, and share of the time so far
RESERVE = 0.04  # of a budget: for writing files, and for a rate that was measured too high
MEASURE = (12, 0.03)  # the rate is known after these many steps and this share of the budget
SLOW = 0.25  # of a budget, after which the rate of any number of steps is taken
SAVE_SECONDS = 120.0
LOOK_SECONDS = 5.0
ENDLESS = 10**9
FREE = {
    *("minutes", "steps", "device", "compiled", "run", "precision"),
    *("accumulate", "snapshots", "guidance"),
}
"""Options that may differ when a run is resumed."""


class Run:
    """One training in one folder; `go` does it. Set `stop` to end it after the current step."""

    @explain_memory()
    def __init__(self, options: Options, on_progress: OnProgress | None = None) -> None:
        """Read the data, and the folder of an earlier start. on_progress: called with how many
        files of how many are read or encoded. Raises DiffusionError."""
        self._begun = self._saved = self._looked = time.monotonic()
        self.options, self.stop = options, False
        if not 0 <= options.guidance <= MAX_GUIDANCE:
            raise ConfigError(
                f"guidance {options.guidance}: give 0 to {MAX_GUIDANCE:g} (1 is none)"
            )
        device = choose_device(options.device)
        self.world = World.join(device)
        self.folder = Folder(options.run, writes=not self.world.rank)
        earlier = self.folder.config()
        if earlier:
            _check_options(options, earlier)
        elif self.folder.has("checkpoint") or self.folder.has("state"):
            raise ConfigError(
                f"{options.run} holds weights and no config.json, so it is not the folder of a "
                "run; give another run folder, and these weights with --from"
            )
        self._start = None
        if options.start:
            self._start = checkpoint.load(None if options.start == "shipped" else options.start)
        config = self._choose_config(earlier)
        self.recipe = _choose_recipe(options, config.preset)
        with self.world.first_alone():
            report = None if self.world.rank else on_progress
            self.inputs = read_inputs(options, config, self.recipe, device, report)
        self.config = self._set_condition(replace(config, latents=self.inputs.latents))
        torch.manual_seed(options.seed)
        model = Denoiser(self.config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainer = Trainer(
            model,
            [self.inputs.training],
            self.recipe,
            options.seed,
            self.world,
            device.startswith("cuda") if options.compiled is None else options.compiled,
            accumulate=options.accumulate,
        )
        self.trainer.speed = self._choose_speed(earlier or {})
        if self._start:
            self.trainer.begin_from(self._start.net.state_dict())
        self._sampled = copy.deepcopy(model).eval()
        if self.config.space == "latent":
            self._sampled.use_autoencoder(load_autoencoder(device))
        held_out = self.inputs.held_out
        self._validation = None if held_out is None else Validation(held_out)
        # seconds: of earlier starts, in steps, in grids, in validation
        self._before = self._trained = self._grids = self._validated = 0.0
        self._next_grid, self._saved_step = 0.0, -1  # seconds of the run; step of the last state
        self.steps = self._resume(earlier) if earlier else options.steps

    def go(self) -> Iterator[Progress]:
        """Train to the end. Raises TrainingError when the loss is not finite or the device has too
        little memory, and DiffusionError when the disk is full. The folder then holds the last good
        state."""
        trainer, threads = self.trainer, torch.get_num_threads()
        if self.steps is not None and trainer.step >= self.steps:
            message = (
                f"the run is finished after {self.steps} steps; give more minutes or steps to "
                "continue it"
            )
            yield Progress(trainer.step, self.steps, message=message, finished=True)
            return
        self._save()  # a lengthened run is back at its plateau
        self._write_config()
        self.folder.write_skipped(self.inputs.skipped)
        speed = trainer.speed
        self.folder.log(
            f"{self.inputs.count} pictures, {len(self.inputs.skipped)} skipped, "
            f"{'bf16' if speed.bf16 else 'fp32'}, "
            f"step {trainer.step} of {self.steps or '?'}"
        )
        if speed.threads:
            torch.set_num_threads(speed.threads)
        try:
            with explain_memory():
                yield from self._loop()
        except GeneratorExit:  # at a yield, between two steps
            if trainer.is_finite():
                self._save()
            raise
        finally:
            torch.set_num_threads(threads)
        finished = trainer.step == self.steps
        if not finished and self._saved_step != trainer.step and trainer.is_finite():
            self._save()  # the signal came while a grid was drawn
        if finished:
            self.folder.log(f"finished after {self._elapsed():.0f} s")
        yield Progress(trainer.step, self.steps, finished=finished)

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
        spent, known = 0.0, 1  # known: the step since which the number of steps is known
        if trainer.step == 0:
            yield from self._draw_grid()
        while not self._must_stop() and (self.steps is None or trainer.step < self.steps):
            begun = time.monotonic()
            total += trainer.advance(self.steps or ENDLESS)
            step = trainer.step
            if self.steps is None:
                total.item()  # waits for the GPU
            self._trained += time.monotonic() - begun
            if self.steps is None and step >= first:
                spent = self._trained if step == first else spent
                self._measure(step - first, self._trained - spent)
                known = step
            last = step == self.steps
            turned = self.steps is not None and step == max(plateau(self.steps), known)
            now = time.monotonic()
            save = last or turned or self.stop or now - self._saved > SAVE_SECONDS
            if step in self._snapshot_steps():  # before the state: a finished run has its last one
                for average in trainer.averages:
                    self.folder.save_snapshot(step, average)
            if save or step % every == 0 or now - self._looked > LOOK_SECONDS:
                self._looked = begun = time.monotonic()
                loss = self._check_loss(total / (step - looked))
                self._trained += time.monotonic() - begun
                measured = self._validate(last)
                self._note(loss, measured)
                total, looked = torch.zeros_like(total), step
                if save:
                    self._save(turned)
                yield self._progress(loss, measured)
            if last or self._elapsed() >= self._next_grid:
                yield from self._draw_grid(last)

    # what to train -------------------------------------------------------------------------------

    def _choose_config(self, earlier: dict[str, Any] | None) -> Config:
        """The model that the options ask for, without its condition. Raises ConfigError."""
        options = self.options
        known = earlier["config"]["preset"] if earlier else "tiny"
        config = self._start.config if self._start else preset(options.preset or known)
        if options.preset not in (None, config.preset):
            raise ConfigError(
                f"the weights to start from are of the preset {config.preset}, not "
                f"{options.preset}; leave the preset out, or do not start from them"
            )
        shape = config.shape
        if self._start and (options.channels or options.blocks or options.augment is not None):
            raise ConfigError(
                "the weights to start from have their own network; leave channels, blocks and "
                "augment out"
            )
        if options.channels:
            levels = len(options.channels)
            attention = shape.attention
            if levels != len(attention):
                attention = tuple(i > 0 for i in range(levels))
            shape = replace(shape, channels=options.channels, attention=attention)
        shape = replace(shape, blocks=options.blocks or shape.blocks)
        if options.augment:
            shape = replace(shape, augmentation=augment.LABELS)
        return replace(config, size=options.size or config.size, shape=shape)

    def _set_condition(self, config: Config) -> Config:
        """The model's configuration under the condition of the data. Raises ConfigError."""
        inputs = self.inputs
        self.encoder, self.classes, self.side = inputs.encoder, inputs.classes, inputs.side
        kind, width = inputs.condition, inputs.width
        if not self._start:
            return config.with_condition(kind, width)
        about, shape = self._start.about, config.shape
        same = (kind, width) == (shape.condition, shape.width)
        if kind == "class":
            same = same and inputs.classes == about.get("classes")
        if kind == "vector":
            same = same and inputs.encoder == about.get("encoder")
        if kind != "none" and not same:
            known = about.get("encoder") or about.get("classes") or ""
            raise ConfigError(
                f"the weights to start from are conditioned on {shape.condition} {known}, the data "
                f"on {kind} {inputs.encoder or ''}; make the vectors with that encoder, or give "
                "none"
            )
        self.encoder, self.classes = about.get("encoder"), about.get("classes", [])
        if kind == "none":  # the condition is learned no further
            self.side = about.get("side", config.size)
        return config

    def _choose_speed(self, earlier: dict[str, Any]) -> Speed:
        """Precision and threads. Where the options leave them open: those of an earlier start on
        such a device, else by timing in a single process."""
        trainer, precision = self.trainer, self.options.precision
        if precision == "auto" and earlier.get("device") == trainer.device.type:
            return Speed(**earlier["speed"])
        if precision == "auto" and self.world.size > 1:
            return default_speed(trainer.device)
        return choose_speed(precision, trainer.device, trainer.try_pass)

    def _resume(self, earlier: dict[str, Any]) -> int | None:
        """Restore the state of an earlier start. Returns the steps of the whole run, if they are
        known. A longer run begins where the learning rate began to fall. Raises ConfigError."""
        if earlier["pictures"] != self.inputs.digest:
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
        if self.options.minutes is None and self.options.steps is None:
            return planned
        now, unit = _read_length(asdict(self.options))
        before, other = _read_length(earlier["options"])
        if (now, unit) == (before, other):
            return planned
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

    def _must_stop(self) -> bool:
        """Whether to stop. All processes ask after the same steps, and get the same answer."""
        if self.world.size == 1:
            return self.stop
        if self.trainer.device.type != "cpu" and self.trainer.step % 20:
            return False
        self.stop = bool(self.world.agree(self.stop, self.trainer.device))
        return self.stop

    def _measure(self, steps: int, seconds: float) -> None:
        """Fix the number of steps, once the rate is known. All processes call it together."""
        budget, trainer, planned = self.options.budget, self.trainer, 0
        if budget is None:
            return
        enough = steps >= MEASURE[0] and seconds >= MEASURE[1] * budget
        slow = steps >= 1 and self._elapsed() > SLOW * budget
        if enough or slow:
            reserved = RESERVE + GRID_SHARE + (VALIDATION_SHARE if self._validation else 0)
            left = budget * (1 - reserved) - self._elapsed()
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

    def _check_loss(self, mean: Tensor) -> float:
        """The mean loss as a number. Raises TrainingError when it is not finite."""
        loss, step = float(mean), self.trainer.step
        if not math.isfinite(loss):
            rate = self.recipe.rate(step - 1, self.steps or ENDLESS)
            raise TrainingError(
                f"the loss is {loss} at step {step} (learning rate {rate:.2g}); the run keeps its "
                "last good state: try a smaller lr in another run"
            )
        return loss

    def _note(self, loss: float, validation: float | None) -> None:
        """Write the statistics of the steps since the last ones."""
        step = self.trainer.step
        statistics = {
            "step": step,
            "pictures": step * self.recipe.batch,
            "loss": loss,
            "lr": self.recipe.rate(step - 1, self.steps or ENDLESS),
            "seconds": round(self._elapsed(), 3),
        }
        if validation is not None:
            statistics["validation"] = validation
        self.folder.add_statistics(statistics)

    def _progress(self, loss: float, validation: float | None) -> Progress:
        trainer = self.trainer
        pace = self._trained / max(1, trainer.step)
        left = (self.steps - trainer.step) * pace if self.steps else None
        rate = self.recipe.batch / pace
        return Progress(trainer.step, self.steps, loss, validation, rate, left)

    def _validate(self, last: bool) -> float | None:
        """The loss on held-out pictures under the average, within its share of the time."""
        over = self._validated > VALIDATION_SHARE * self._elapsed()
        if self._validation is None or self.world.rank or (over and not last):
            return None
        begun = time.monotonic()
        self._sampled.net.load_state_dict(self.trainer.average.weights)
        loss = self._validation(self._sampled)
        self._validated += time.monotonic() - begun
        return loss

    def _draw_grid(self, last: bool = False) -> Iterator[Progress]:
        """A grid of samples from the average: always the same seeds, conditions and guidance."""
        begun, trainer = time.monotonic(), self.trainer
        if self.world.rank:
            return
        shown = self.inputs.held_out or self.inputs.training
        count = min(GRID, len(shown))
        places = torch.arange(count) * len(shown) // count
        conditions = shown.conditions
        if conditions is not None:
            conditions = conditions[places.to(conditions.device)].to(trainer.device)
        self._sampled.net.load_state_dict(trainer.average.weights)
        guidance = self.options.guidance if conditions is not None else 1.0
        pictures = sample(
            self._sampled, count, condition=conditions, steps=PASSES, guidance=guidance
        )
        path = self.folder.save_grid(trainer.step, tile_pictures(pictures))
        seconds = time.monotonic() - begun
        self._grids += seconds
        elapsed = self._elapsed()
        self._next_grid = elapsed + max(
            GRID_SECONDS, GRID_GROWTH * elapsed, self._grids / GRID_SHARE - elapsed
        )
        yield Progress(trainer.step, self.steps, grid=path)

    def _snapshot_steps(self) -> set[int]:
        """The steps after which snapshots are saved: evenly spread over the run, the last too."""
        count = min(self.options.snapshots, self.steps or 0)
        return {round((i + 1) * (self.steps or 0) / count) for i in range(count)}

    def _save(self, turned: bool = False) -> None:
        """Save state, checkpoint and plot. turned: the learning rate falls from here on."""
        self._saved, self._saved_step = time.monotonic(), self.trainer.step
        if self.world.rank or not self.trainer.step:
            return
        path, weights = self.folder.path / "checkpoint.safetensors", self.trainer.average.weights
        checkpoint.save(path, self.config, weights, self.about())
        about = {
            "step": self.trainer.step,
            "seconds": self._elapsed(),
            "trained": self._trained,
            "grids": self._grids,
            "validated": self._validated,
        }
        state = self.trainer.state()
        # after the checkpoint: a run whose state is at its end is finished
        for name in ("plateau", "state") if turned else ("state",):
            self.folder.save(name, state, about)
        self.folder.plot()

    def about(self) -> dict[str, Any]:
        """What a checkpoint of this run says of itself."""
        before = self._start.about.get("seen", 0) if self._start else 0
        about: dict[str, Any] = {
            "data": [Path(path).name for path in self.options.data],
            "pictures": len(self.inputs.training),
            "side": self.side,
            "seen": before + self.trainer.step * self.recipe.batch,
            "step": self.trainer.step,
            "seed": self.options.seed,
            "recipe": asdict(self.recipe),
            "seconds": round(self._trained),
        }
        if self.encoder and self.config.shape.condition == "vector":
            about["encoder"] = self.encoder
        if self.config.shape.condition == "class":
            about["classes"] = self.classes
        return about

    def _restore(self, name: str) -> None:
        """Restore a saved state. Without one the run begins anew."""
        saved = self.folder.load(name)
        if saved is None:
            self.folder.forget_after(self.trainer.step)
            return
        state, about = saved
        try:
            self.trainer.restore(state, int(about["step"]))
            self._before, self._trained = float(about["seconds"]), float(about["trained"])
            self._grids = float(about.get("grids", 0.0))
            self._validated = float(about.get("validated", 0.0))
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{name}.safetensors is not the state of a run: {error}") from error
        self._next_grid = self._before + GRID_SECONDS
        self.folder.forget_after(self.trainer.step)

    def _write_config(self) -> None:
        document = {
            "options": asdict(self.options),
            "config": self.config.to_json(),
            "recipe": asdict(self.recipe),
            "speed": asdict(self.trainer.speed),
            "device": self.trainer.device.type,
            "steps": self.steps,
            "pictures": self.inputs.digest,
        }
        self.folder.write_config(document)


def train(data: Sequence[str | Path], run: str | Path, **options: Any) -> Iterator[Progress]:
    """Train on folders and zips, into a run folder, and yield the progress.

    options: as `Options` has them. A loop that ends early leaves a run that the same call resumes.
    Raises DiffusionError.

        for progress in train(["pictures"], "runs/mine", minutes=30):
            print(progress.step, progress.loss)
    """
    yield from Run(Options(tuple(map(str, data)), str(run), **options)).go()


def _check_options(options: Options, earlier: dict[str, Any]) -> None:
    """Raises ConfigError when the folder holds another run."""
    now = json.loads(json.dumps(asdict(options)))
    before = earlier["options"] | {"preset": earlier["config"]["preset"]}
    now["preset"] = now["preset"] or before["preset"]
    defaults = json.loads(json.dumps(asdict(Options((), ""))))
    differing = [k for k in now if k not in FREE and now[k] != before.get(k, defaults[k])]
    if differing:
        raise ConfigError(
            f"{options.run} holds a run with other {', '.join(differing)}; give another run, or "
            "the same options to resume it"
        )


def _read_length(options: dict[str, Any]) -> tuple[float, str]:
    if options["steps"]:
        return options["steps"], "steps"
    return options["minutes"] or 60.0, "minutes"


def _choose_recipe(options: Options, name: str) -> Recipe:
    """The recipe of a preset, with what the options change. Raises ConfigError."""
    if name not in RECIPES:
        raise ConfigError(
            f"there is no recipe to train the preset {name!r}; give one of {', '.join(RECIPES)}"
        )
    keys = ("batch", "lr", "drop", "flip", "crop", "augment")
    changes = {key: value for key in keys if (value := getattr(options, key)) is not None}
    if options.ema:
        changes["averages"] = options.ema
    return replace(RECIPES[name], **changes)
