"""Training: algorithm 1 of Ho et al. 2020 for any noise, target and condition.

All that is random in a step follows from the seed and the step's number, so a run that was killed
and goes on ends where it would have ended. Several GPUs each take their part of the same batch.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from diffusion.errors import ConfigError, TrainingError
from diffusion.model.denoiser import Denoiser
from diffusion.training.ema import Average
from diffusion.training.recipe import Recipe
from diffusion.training.sets import Draws, TrainingSet


@dataclass(frozen=True)
class Batch:
    """What a step learns from: x0 (B, C, H, W), sigma (B,), eps as x0, condition, and size (B,)."""

    x0: Tensor
    sigma: Tensor
    eps: Tensor
    condition: Tensor | None
    size: Tensor | None


@dataclass(frozen=True)
class World:
    """This process among those that train together (torchrun sets them up)."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> World:
        """Meet the others, where there are any."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())


def pick(device: str) -> str:
    """`auto` -> what there is, `cuda` -> this process' own; `cpu` and `cuda:N` if it is there.

    Raises ConfigError.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    found = {"auto": own if count else "cpu", "cuda": own}.get(device, device)
    if found not in ("cpu", *(f"cuda:{i}" for i in range(count))):
        raise ConfigError(f"device {device}: there is no such device here; give cpu, or auto")
    return found


def halved(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32: a GPU; a processor by its own
    instructions for it, if torch is new enough to tell of them."""
    if device.type != "cpu":
        return True
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


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
    ) -> None:
        """model: on its device. sets: what to train on; the steps take turns among them, and a
        batch of each has as many places as one of the first. seed: of everything."""
        if recipe.batch < world.size:
            raise ConfigError(f"a batch of {recipe.batch} is too small for {world.size} processes")
        self.model, self.recipe, self._seed, self.world = model, recipe, seed, world
        self.device = next(model.parameters()).device
        self.halved = halved(self.device)
        self.sets = list(sets)
        self.step = 0
        self.average = Average(model.net, recipe.average)
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

    def batch(self, step: int) -> Batch:
        """What step `step` learns from: this process' part of it."""
        recipe, own = self.recipe, self.sets[step % len(self.sets)]
        total = self._batch_size(own)
        generator = torch.Generator(self.device).manual_seed(_mixed(self._seed, step))

        part = slice(
            *(r * total // self.world.size for r in (self.world.rank, self.world.rank + 1))
        )
        draws = Draws(generator, total, part)
        sigma, dropped = self.model.noise.draw(draws.uniform()), draws.uniform() < recipe.drop
        channels, height, width = own.shape
        eps = draws.normal(height, width, channels).permute(0, 3, 1, 2)  # as the network has it
        order = self._order(own, step // len(self.sets), total)[part]
        if own.device.type == "cuda":  # pinned, so that the GPU does not have to be waited for
            order = order.pin_memory().to(own.device, non_blocking=True)
        examples = own.take(order, draws)
        x0 = examples.x0.to(self.device, non_blocking=True)
        condition = self._dropped(examples.condition, dropped)
        size = None if examples.size is None else examples.size.to(self.device)
        x0 = x0.contiguous(memory_format=torch.channels_last)
        return Batch(x0, sigma, eps, condition, size)

    def _batch_size(self, of: TrainingSet) -> int:
        (_, height, width), (_, other_height, other_width) = self.sets[0].shape, of.shape
        return max(1, self.recipe.batch * height * width // (other_height * other_width))

    def _dropped(self, condition: Tensor | None, dropped: Tensor) -> Tensor | None:
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
        shuffled = torch.cat([_shuffled(count, self._seed, epoch) for epoch in epochs])
        return shuffled[at - epochs.start * count]

    def advance(self, steps: int) -> Tensor:
        """Do one step of `steps`; returns its loss, where it was computed: no number, when the
        gradient is none."""
        torch.manual_seed(_mixed(self._seed + 1, self.step))  # for dropout
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step, steps)
        batch = self.batch(self.step)
        self.optimiser.zero_grad(set_to_none=False)
        with torch.autocast(self.device.type, torch.bfloat16, self.halved):
            loss: Tensor = self._loss(batch.x0, batch.sigma, batch.eps, batch.condition, batch.size)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.net.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.average.update(self.model.net, self.step)
        self.step += 1
        return torch.where(norm.isfinite(), loss.detach(), math.nan)

    def sound(self) -> bool:
        """Whether all weights are numbers."""
        return all(bool(w.isfinite().all()) for w in self.model.net.parameters())

    def state(self) -> dict[str, Tensor]:
        """All that a run goes on from, by name."""
        kept = {f"ema.{name}": w for name, w in self.average.weights.items()}
        for name, parameter in self.model.net.named_parameters():
            kept[f"net.{name}"] = parameter
            for key, value in self.optimiser.state[parameter].items():
                kept[f"adam.{key}.{name}"] = value
        return kept

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Go on from what `state` gave. Raises TrainingError when it is of another model."""
        self.step = step
        try:
            for name, parameter in self.model.net.named_parameters():
                parameter.copy_(state[f"net.{name}"])
                self.average.weights[name].copy_(state[f"ema.{name}"])
                moments = {  # in the layout of the parameter, which the fused optimiser relies on
                    key: torch.empty_like(parameter).copy_(state[f"adam.{key}.{name}"])
                    for key in ("exp_avg", "exp_avg_sq")
                }
                steps = state[f"adam.step.{name}"].to(self.device)
                self.optimiser.state[parameter] = {"step": steps, **moments}
        except (KeyError, RuntimeError) as error:
            raise TrainingError(f"the run's state is of another model: {error}") from error

    def begin_from(self, weights: dict[str, Tensor]) -> None:
        """Take weights to start with. Raises TrainingError when they are of another network."""
        try:
            self.model.net.load_state_dict(weights)
        except RuntimeError as error:
            raise TrainingError(f"these weights are of another network: {error}") from error
        self.average = Average(self.model.net, self.recipe.average)


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
    ) -> Tensor:
        return self.model.loss(x0, sigma, eps, condition, size).mean()


def _mixed(seed: int, step: int) -> int:
    """A 63-bit seed for a step, unrelated to its neighbours'."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "big") >> 1


@lru_cache(maxsize=3)
def _shuffled(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(_mixed(seed, -1 - epoch))
    return torch.randperm(count, generator=generator)


def epochs(step: int, batch: int, count: int) -> Iterator[int]:
    """Epochs that end with step `step`."""
    yield from range(step * batch // count + 1, (step + 1) * batch // count + 1)
