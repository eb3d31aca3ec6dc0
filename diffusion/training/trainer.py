"""Training: algorithm 1 of Ho et al. 2020 for any noise, target and condition.

All random numbers of a step follow from the seed and the number of the step. So a run that was
stopped and resumed ends as one that was not. Several GPUs each take a part of the same batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diffusion.errors import ConfigError, TrainingError
from diffusion.model.checkpoint import upgrade_keys
from diffusion.model.denoiser import Denoiser
from diffusion.training.devices import Speed, World, default_speed
from diffusion.training.draws import Draws
from diffusion.training.ema import Average
from diffusion.training.recipe import Recipe
from diffusion.training.sets import TrainingSet


@dataclass(frozen=True)
class Batch:
    """What a step learns from: x0 (B, C, H, W), sigma (B,) float64, eps as x0, and the conditions
    as `UNet.forward` has them."""

    x0: Tensor
    sigma: Tensor
    eps: Tensor
    condition: Tensor | None
    size: Tensor | None
    augmentation: Tensor | None

    def part(self, rows: slice) -> Batch:
        """Some of its examples."""

        def some(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[rows]

        return Batch(
            self.x0[rows],
            self.sigma[rows],
            self.eps[rows],
            some(self.condition),
            some(self.size),
            some(self.augmentation),
        )


class Trainer:
    """A model, its optimiser and its average, one step at a time."""

    def __init__(
        self,
        model: Denoiser,
        sets: Sequence[TrainingSet],
        recipe: Recipe,
        seed: int,
        world: World,
        compiled: bool = False,
        speed: Speed | None = None,
        accumulate: int = 1,
    ) -> None:
        """model: on its device. sets: what to train on; the steps take turns among them, and a
        batch of each has as many places as one of the first. seed: of everything random. speed: by
        default `default_speed`. accumulate: passes that share a batch,
        for batches that do not fit in memory at once. Raises ConfigError."""
        if recipe.batch < world.size:
            raise ConfigError(f"a batch of {recipe.batch} is too small for {world.size} processes")
        if not 1 <= accumulate <= max(1, recipe.batch // world.size):
            raise ConfigError(
                f"accumulate {accumulate}: give 1 to {max(1, recipe.batch // world.size)}, at most "
                "the pictures of a batch"
            )
        self.model, self.recipe, self._seed, self.world = model, recipe, seed, world
        self.device = next(model.parameters()).device
        self.speed, self._accumulate = speed or default_speed(self.device), accumulate
        self.sets = list(sets)
        self.step = 0
        self.averages = [Average(model.net, kind) for kind in recipe.averages]
        self.optimiser = torch.optim.AdamW(
            model.net.parameters(),
            lr=recipe.lr,
            betas=(0.9, 0.99),
            weight_decay=recipe.decay,
            fused=True,
        )
        loss: nn.Module = _Loss(model)
        if compiled:
            loss = torch.compile(loss)  # type: ignore[assignment]
        self._loss = DistributedDataParallel(loss) if world.size > 1 else loss

    @property
    def average(self) -> Average:
        """The average that samples are drawn from."""
        return self.averages[0]

    def batch(self, step: int) -> Batch:
        """What step `step` learns from: the part of this process."""
        recipe, own = self.recipe, self.sets[step % len(self.sets)]
        total = self._batch_size(own)
        # Metal has no float64: there the numbers are drawn on the processor
        source = "cpu" if self.device.type == "mps" else self.device
        generator = torch.Generator(source).manual_seed(_mix_seed(self._seed, step))
        rank, size = self.world.rank, self.world.size
        part = slice(rank * total // size, (rank + 1) * total // size)
        draws = Draws(generator, total, part)
        sigma = self.model.schedule.draw_sigmas(draws.uniform())
        dropped = draws.uniform() < recipe.drop
        channels, height, width = own.shape
        eps = draws.normal(height, width, channels).permute(0, 3, 1, 2)  # channels last
        order = self._order(own, step // len(self.sets), total)[part]
        if own.device.type == "cuda":  # pinned, so that the copy does not wait for the GPU
            order = order.pin_memory().to(own.device, non_blocking=True)
        else:
            order = order.to(own.device)
        examples = own.take(order, draws)
        x0 = examples.x0.to(self.device, non_blocking=True)
        labels, width = examples.augmentation, self.model.config.shape.augmentation
        if width and labels is None:  # a network with labels, trained on pictures as they are
            labels = torch.zeros(len(x0), width)
        return Batch(
            x0.contiguous(memory_format=torch.channels_last),
            sigma,
            eps.to(self.device),
            self._drop(examples.condition, dropped.to(self.device)),
            None if examples.size is None else examples.size.to(self.device),
            None if labels is None else labels.to(self.device),
        )

    def _batch_size(self, of: TrainingSet) -> int:
        (_, height, width), (_, other_height, other_width) = self.sets[0].shape, of.shape
        return max(1, self.recipe.batch * height * width // (other_height * other_width))

    def _drop(self, condition: Tensor | None, dropped: Tensor) -> Tensor | None:
        """The conditions of a batch, replaced by the empty condition where they are dropped."""
        shape = self.model.config.shape
        if shape.condition == "none":
            return None
        empty = torch.tensor(-1) if shape.condition == "class" else torch.zeros(shape.width)
        empty = empty.to(self.device).expand(len(dropped), *empty.shape)
        if condition is None:
            return empty
        condition = condition.to(self.device)
        where = dropped.view(-1, *[1] * (condition.ndim - 1))
        return torch.where(where, empty.to(condition.dtype), condition)

    def _order(self, own: TrainingSet, step: int, batch: int) -> Tensor:
        """(B,) places: every picture once an epoch, each epoch shuffled anew."""
        count = len(own)
        first = step * batch
        at = torch.arange(first, first + batch)
        epochs = range(int(at[0]) // count, int(at[-1]) // count + 1)
        shuffled = torch.cat([_shuffle(count, self._seed, epoch) for epoch in epochs])
        return shuffled[at - epochs.start * count]

    def advance(self, steps: int) -> Tensor:
        """Do the next of `steps` steps. Returns its loss over the batch of all processes, a number
        on the device; NaN when the loss or the gradient is not finite."""
        torch.manual_seed(_mix_seed(self._seed + 1, self.step))  # for dropout
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step, steps)
        batch = self.batch(self.step)
        self.optimiser.zero_grad(set_to_none=False)
        total, count = torch.zeros((), device=self.device), len(batch.x0)
        # gradients are averaged over processes, whose parts of a batch may differ by an example
        share = count * self.world.size / self._batch_size(self.sets[self.step % len(self.sets)])
        edges = [i * count // self._accumulate for i in range(self._accumulate + 1)]
        for first, last in zip(edges, edges[1:], strict=False):
            part = batch if last - first == count else batch.part(slice(first, last))
            with self._shared_gradient(last == count):
                loss = self._forward(part, self.speed.bf16) * (share * (last - first) / count)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.model.net.parameters(), self.recipe.clip)
        self.optimiser.step()
        for average in self.averages:
            average.update(self.model.net, self.step)
        self.step += 1
        return torch.where(norm.isfinite(), self.world.mean(total), math.nan)

    def _forward(self, batch: Batch, bf16: bool) -> Tensor:
        """The mean loss of a batch."""
        values = (getattr(batch, field.name) for field in fields(batch))
        with torch.autocast(self.device.type, torch.bfloat16, bf16):
            loss: Tensor = self._loss(*values)
        return loss

    def _shared_gradient(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Within, a gradient is only summed up here, unless it is the last of a step."""
        if last or not isinstance(self._loss, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._loss.no_sync()

    def try_pass(self, bf16: bool, rows: int = 8) -> None:
        """A forward and a backward pass on the first examples, to time it. Nothing is learned."""
        loss = self._forward(self.batch(0).part(slice(0, rows)), bf16)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.zero_grad(set_to_none=False)

    def is_finite(self) -> bool:
        """Whether all weights are finite."""
        return all(bool(w.isfinite().all()) for w in self.model.net.parameters())

    def state(self) -> dict[str, Tensor]:
        """All that a run resumes from, by name."""
        state = {
            f"{_prefix(i)}.{name}": weight
            for i, average in enumerate(self.averages)
            for name, weight in average.weights.items()
        }
        for name, parameter in self.model.net.named_parameters():
            state[f"net.{name}"] = parameter
            for key, value in self.optimiser.state[parameter].items():
                state[f"adam.{key}.{name}"] = value
        return state

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Resume from what `state` returned. Raises TrainingError when it is of another model."""
        self.step = step
        state = upgrade_keys(state)
        try:
            for i, average in enumerate(self.averages):
                for name, weight in average.weights.items():
                    _copy(state, f"{_prefix(i)}.{name}", weight)
            for name, parameter in self.model.net.named_parameters():
                _copy(state, f"net.{name}", parameter)
                moments = {  # in the layout of the parameter, which the fused optimiser relies on
                    key: _copy(state, f"adam.{key}.{name}", torch.empty_like(parameter))
                    for key in ("exp_avg", "exp_avg_sq")
                }
                steps = state[f"adam.step.{name}"].to(self.device)
                self.optimiser.state[parameter] = {"step": steps, **moments}
        except (KeyError, ValueError, RuntimeError) as error:
            raise TrainingError(
                f"the state of the run is of another model ({error}); give another run folder"
            ) from error

    def begin_from(self, weights: dict[str, Tensor]) -> None:
        """Take weights to start with. Raises TrainingError when they are of another network."""
        try:
            self.model.net.load_state_dict(weights)
        except RuntimeError as error:
            raise TrainingError(f"these weights are of another network: {error}") from error
        self.averages = [Average(self.model.net, kind) for kind in self.recipe.averages]


def _copy(state: dict[str, Tensor], name: str, to: Tensor) -> Tensor:
    """Copy a tensor of a state. Raises KeyError, or ValueError for another shape: torch would
    repeat a smaller one."""
    if state[name].shape != to.shape:
        raise ValueError(f"{name} is {tuple(state[name].shape)}, not {tuple(to.shape)}")
    return to.copy_(state[name])


def _prefix(number: int) -> str:
    """Of the names of an average in a state."""
    return f"ema{number or ''}"


class _Loss(nn.Module):
    """The mean loss of a batch, as a module that can be compiled and shared among GPUs."""

    def __init__(self, model: Denoiser) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        x0: Tensor,
        sigma: Tensor,
        eps: Tensor,
        condition: Tensor | None,
        size: Tensor | None,
        augmentation: Tensor | None,
    ) -> Tensor:
        return self.model.loss(x0, sigma, eps, condition, size, augmentation).mean()


def _mix_seed(seed: int, step: int) -> int:
    """A 63-bit seed for a step, unrelated to its neighbours'."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "big") >> 1


@lru_cache(maxsize=3)
def _shuffle(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(_mix_seed(seed, -1 - epoch))
    return torch.randperm(count, generator=generator)
