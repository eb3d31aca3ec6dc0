"""Which of several backends runs a network on this machine: chosen by measurement, and cached.

Backends: `torch`, `onnxruntime` and `openvino`, whose vectors are those of torch to a cosine of
`exports.MIN_COSINE`. `auto` is the quickest. Only on a CPU: on another device torch runs
everything. A program that ends after a few pictures runs a small network by `numpy`, since
importing torch takes longer than that.

Vectors that were computed in bfloat16 differ a little, so they are a space of their own. A new
library has them where the processor has instructions for bfloat16. On another processor the same
library is searched and indexed in float32: the vectors agree to a cosine of
`exports.MIN_COSINE_BF16`.
"""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from search.embedders.inference import MOST
from search.embedders.json_cache import JsonCache
from search.embedders.measurements import (
    EXPORTED,
    Measurements,
    choose_quickest,
    is_bf16_quick,
    is_cpu,
)
from search.errors import ModelError
from search.extras import describe_install
from search.media.preprocessing import Preprocessing
from search.types import Pixels

if TYPE_CHECKING:
    from search.embedders.exports import Outputs
    from search.runtime import torch

PIECE = 0.1  # seconds between two pauses
ROUNDS = 3
FEW = 16  # pictures that numpy embeds before torch is imported
log = logging.getLogger(__name__)


class TorchNetwork(Protocol):
    """What an embedder has for other backends. All but `build_whole` belong to one thread.

    name, fingerprint, preprocessing: as `Embedder` has them. bf16: whether its vectors are of the
    space of bfloat16. torch_batch: pictures for one call of
    `run_torch`. measure_from: pictures of a run from which it pays to measure the backends, which
    takes some 20 s.
    """

    name: str
    fingerprint: str
    preprocessing: Preprocessing
    bf16: bool
    measure_from: int

    @property
    def torch_batch(self) -> int: ...

    def load_torch(self) -> object:
        """Read the network for torch, unless this was done before. Raises ModelError."""
        ...

    def run_torch(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return unit vectors (n, dim), and other outputs. Raises ModelError."""
        ...

    def build_whole(self) -> torch.nn.Module:
        """Read the network as a module of `exports.build_whole`. Raises ModelError."""
        ...


@runtime_checkable
class NumpyNetwork(Protocol):
    """A `TorchNetwork` that is small enough for numpy. All belongs to one thread."""

    def load_numpy(self) -> object:
        """Read the network for numpy, unless this was done before. Raises ModelError."""
        ...

    def run_numpy(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return what `run_torch` does, to a cosine of `exports.MIN_COSINE`. Raises ModelError."""
        ...


@runtime_checkable
class BackendEmbedder(Protocol):
    """An embedder whose network several backends can run."""

    runner: Runner


class Backends:
    """The backends of this machine, and what was measured of them. Threads may share it."""

    def __init__(
        self,
        setting: str = "auto",
        folder: Path | None = None,
        cache: JsonCache | None = None,
        threads: int = 1,
        run: Callable[[Callable[[], Any]], Any] = lambda work: work(),
        one_shot: bool = False,
    ) -> None:
        """setting: `auto` or the name of a backend. folder: of exported networks; None exports
        none. cache: of measurements. threads: that a network computes with. run: does a piece of
        work on the inference thread. one_shot: the process runs one command, so that no query
        waits while pictures are embedded."""
        self._one_shot = one_shot
        self.setting, self._folder, self._threads, self._run = setting, folder, threads, run
        self._measurements = Measurements(setting, cache or JsonCache(), threads)

    def prefers_bf16(self, device: str) -> bool:
        """Whether new libraries get vectors of bfloat16. device: that runs the network."""
        is_preferred = self.setting == "auto" and is_cpu(device) and is_bf16_quick(device)
        return self.setting == "torch-bf16" or is_preferred

    def choose(self, network: TorchNetwork, count: int) -> str:
        """Return the backend that runs `count` pictures, measured if that pays."""
        backend = self._choose_measured(network, count)
        few = self._one_shot and count <= FEW and "torch" not in sys.modules
        if backend == "torch" and self.setting == "auto" and few:
            return "numpy" if isinstance(network, NumpyNetwork) else "torch"
        return backend

    def _choose_measured(self, network: TorchNetwork, count: int) -> str:
        if not self._candidates() or self._folder is None:
            return "torch"
        record = self._measurements.read(network.fingerprint)
        if record is None and (self.setting in EXPORTED or count >= network.measure_from):
            record = self._measure(network)
            self._measurements.write(network.fingerprint, record)
        if record is None:
            return "torch"
        rates: dict[str, float] = record["rates"]
        if count < network.measure_from and "torch" not in sys.modules:
            # importing torch takes longer than so few pictures
            rates = {name: rate for name, rate in rates.items() if name != "torch"}
        return choose_quickest(rates) or "torch"

    def open(self, backend: str, network: TorchNetwork, breathe: Callable[[], None]) -> Session:
        """Open an exported network. Raises ModelError when its file is damaged."""
        from search.embedders import exports

        folder = self._place(network.fingerprint, backend)
        record = self._measurements.read(network.fingerprint) or {"rates": {}}
        try:
            bf16 = network.bf16 and is_bf16_quick()
            run = exports.open_export(backend, folder, self._threads, bf16)
        except Exception as error:  # whatever a damaged file raises
            shutil.rmtree(folder, ignore_errors=True)
            self._measurements.delete(network.fingerprint)
            raise ModelError(f"{folder} cannot be run by {backend}: {error}") from error
        rate = np.inf if self._one_shot else record["rates"].get(backend, 0.0)
        return Session(run, rate, breathe)

    def _candidates(self) -> tuple[str, ...]:
        """Return the exported backends that the setting allows. Raises ModelError for one that is
        not installed."""
        from search.embedders.exports import EXTRAS, list_missing

        if self.setting == "auto":
            return tuple(name for name in EXPORTED if not list_missing(name))
        if self.setting not in EXPORTED:
            return ()
        if missing := list_missing(self.setting):
            raise ModelError(
                f"the backend {self.setting} needs {' and '.join(missing)}; run "
                f"{describe_install(EXTRAS[self.setting])}, or set backend to auto"
            )
        return (self.setting,)

    def _measure(self, network: TorchNetwork) -> dict[str, Any]:
        """Export a network for each candidate, time all of them, and keep the quickest export.

        torch is timed too where the setting leaves the choice. Returns a record of `Measurements`.
        """
        from search.embedders import exports

        failures, sessions = dict[str, str](), dict[str, Session]()
        calls: dict[str, Callable[[Sequence[Pixels]], Outputs]] = {}
        batch = MOST
        if self.setting == "auto":
            self._run(network.load_torch)
            calls["torch"], batch = network.run_torch, min(MOST, network.torch_batch)
        shape, bf16 = network.preprocessing.shape, network.bf16 and is_bf16_quick()
        whole = network.build_whole()
        for name in self._candidates():
            folder = self._place(network.fingerprint, name)
            try:
                exports.export(name, whole, shape, folder, bf16)
                run = exports.open_export(name, folder, self._threads, bf16)
                sessions[name] = Session(run, 0.0, lambda: None)
                calls[name] = sessions[name].run_at_once
            except Exception as error:
                failures[name] = str(error)
                log.warning("%s %s", network.name, error)
        random = np.random.default_rng(0)
        pixels = list(random.integers(0, 256, (batch, *shape), dtype=np.uint8))
        seconds = time_calls(
            {name: partial(call, pixels) for name, call in calls.items()}, self._run
        )
        rates = {name: batch / spent for name, spent in seconds.items()}
        log.info("%s: pictures a second by backend: %s", network.name, rates)
        keep = choose_quickest({name: rates[name] for name in sessions})
        for name in sessions:
            if name != keep:
                shutil.rmtree(self._place(network.fingerprint, name), ignore_errors=True)
                failures[name] = "another backend is quicker"
        usable = {name: rate for name, rate in rates.items() if name in ("torch", keep)}
        return {"rates": usable, "failures": failures}

    def _place(self, fingerprint: str, backend: str) -> Path:
        return Path(self._folder or "") / f"{fingerprint}-{backend}"


class Session:
    """An exported network, which pauses so that a query may go first."""

    def __init__(self, run: Any, rate: float, breathe: Callable[[], None]) -> None:
        """run: of `exports.open_export`. rate: pictures a second, 0 if unknown; infinite for no
        pauses within a batch."""
        self._run, self._breathe = run, breathe
        self._step = int(max(1, min(MOST, rate * PIECE)))

    def run_at_once(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return the outputs for n pictures, without a pause."""
        outputs: Outputs = self._run(np.stack(pixels))
        return outputs

    def run(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return the outputs for n pictures, at least one."""
        parts = []
        for i in range(0, len(pixels), self._step):
            self._breathe()
            parts.append(self.run_at_once(pixels[i : i + self._step]))
        return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


class Runner:
    """Runs the network of one embedder by the backend that was chosen. One thread uses it."""

    def __init__(
        self, network: TorchNetwork, backends: Backends | None, breathe: Callable[[], None]
    ) -> None:
        """backends: None for torch alone."""
        self._network, self._backends, self._breathe = network, backends, breathe
        self._backend = ""
        self._session: Session | None = None

    @property
    def batch(self) -> int:
        """Pictures for one call of `run`."""
        return MOST if self._session else self._network.torch_batch

    def choose(self, count: int) -> str:
        """Return the backend for so many pictures; measure if that pays. From any thread."""
        if self._backends is None:
            return "torch"
        return self._backends.choose(self._network, count)

    def load(self, backend: str | None = None) -> object:
        """Make the network ready, and return it. backend: as `choose` returned it; None is the
        one that is loaded, or that of a single picture. Raises ModelError."""
        backend = backend or self._backend or self.choose(1)
        if backend != self._backend:
            self._backend, self._session = backend, None
            if backend in EXPORTED and self._backends is not None:
                try:
                    self._session = self._backends.open(backend, self._network, self._breathe)
                except ModelError as error:
                    log.warning("%s; torch runs it instead", error)
                    self._backend = "torch"
        if self._backend == "numpy" and isinstance(self._network, NumpyNetwork):
            return self._network.load_numpy()
        return self._session or self._network.load_torch()

    def run(self, pixels: Sequence[Pixels]) -> Outputs:
        """Return unit vectors (n, dim), and other outputs, for n pictures, at least one."""
        self.load()
        if self._backend == "numpy" and len(pixels) > FEW:
            self.load("torch")
        if self._backend == "numpy" and isinstance(self._network, NumpyNetwork):
            return self._network.run_numpy(pixels)
        return self._session.run(pixels) if self._session else self._network.run_torch(pixels)


def time_calls(
    calls: Mapping[str, Callable[[], object]], run: Callable[[Callable[[], Any]], Any]
) -> dict[str, float]:
    """Return the least seconds of each call, by its name. run: does a piece of work."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS + 1):  # in turns, so that other work on the machine counts alike
        for name, call in calls.items():
            start = time.perf_counter()
            run(call)
            best[name] = min(best[name], time.perf_counter() - start)
    return best
