"""Devices: which one to use, who else trains with this process, and what is fast on a processor."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from diffusion.errors import ConfigError, TrainingError
from diffusion.model.precision import supports_bf16
from diffusion.training.options import PRECISIONS

REPEATS = 2  # timed calls of each setting, after one that warms up


@contextmanager
def explain_memory() -> Iterator[None]:
    """Within, an error of a GPU that has too little memory becomes a TrainingError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            "the GPU has too little memory: give a smaller --batch, --size or --preset, share a "
            "batch between passes by --accumulate, or close other programs that use it"
        ) from error


@dataclass(frozen=True)
class World:
    """This process among those that train together (torchrun starts them)."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str) -> World:
        """Connect to the other processes, if there are any."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not torch.distributed.is_initialized():
            backend = "nccl" if device.startswith("cuda") else "gloo"
            torch.distributed.init_process_group(backend)
            # Gloo's threads must end while the interpreter still runs: otherwise the process
            # sometimes aborts after its work is done. NCCL waits for the others here, so that a
            # process that fails could not end.
            if backend == "gloo":
                atexit.register(cls.leave)
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())

    @staticmethod
    def leave() -> None:
        """Disconnect from the other processes, if this one is connected."""
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process do something before the others, such as write a cache that they
        then read."""
        if self.rank:
            torch.distributed.barrier()
        yield
        if self.size > 1 and not self.rank:
            torch.distributed.barrier()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a number of all processes, on its device. Every process must call it."""
        if self.size > 1:
            torch.distributed.all_reduce(value)  # changes it
            value = value / self.size
        return value

    def agree(self, value: int, device: torch.device) -> int:
        """The largest of the values of all processes. Every process must call it."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, device=device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return int(shared)


def choose_device(device: str) -> str:
    """The device to use: `auto` is cuda, xpu, mps or cpu, the first that is there; `cuda` and `xpu`
    are this process' own; others must be there. Raises ConfigError."""
    own = os.environ.get("LOCAL_RANK", "0")
    present = {"cpu"}
    default = "cpu"
    if torch.backends.mps.is_available():
        present.add("mps")
        default = "mps"
    for kind in ("xpu", "cuda"):
        backend = getattr(torch, kind)
        count = backend.device_count() if backend.is_available() else 0
        present |= {f"{kind}:{i}" for i in range(count)}
        default = f"{kind}:{own}" if count else default
    chosen = {"auto": default, "cuda": f"cuda:{own}", "xpu": f"xpu:{own}"}.get(device, device)
    if chosen not in present:
        raise ConfigError(
            f"device {device}: there is no such device here; give auto, or one of "
            f"{', '.join(sorted(present))}"
        )
    return chosen


@dataclass(frozen=True)
class Speed:
    """How a training computes. bf16: products in bfloat16 by autocast; weights and their averages
    stay in float32. threads: of the processor; 0 leaves them as they are."""

    bf16: bool
    threads: int = 0


def default_speed(device: torch.device) -> Speed:
    """Bfloat16 on GPUs with instructions for it, and float32 elsewhere."""
    return Speed(device.type != "cpu" and supports_bf16(device))


def choose_speed(precision: str, device: torch.device, work: Callable[[bool], object]) -> Speed:
    """The precision and the number of threads for a device.

    precision: `fp32`, `bf16`, or `auto`: bfloat16 on GPUs with instructions for it, and on a
    processor whatever is fastest there, by timing with all threads and with one. work: a forward
    and a backward pass on a few examples, called with whether it uses bfloat16. Raises ConfigError.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return Speed(precision == "bf16")
    if device.type != "cpu":
        return default_speed(device)
    threads = torch.get_num_threads()
    kinds = (False, True) if supports_bf16(device) else (False,)
    counts = (threads, 1) if threads > 1 else (threads,)
    settings = [Speed(bf16, count) for count in counts for bf16 in kinds]
    if len(settings) == 1:
        return settings[0]
    try:
        return min(settings, key=lambda one: measure_seconds(one, work))
    finally:
        torch.set_num_threads(threads)


def measure_seconds(speed: Speed, work: Callable[[bool], object]) -> float:
    """The shortest of some calls of `work` under a setting, in seconds."""
    torch.set_num_threads(speed.threads)
    work(speed.bf16)
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work(speed.bf16)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
