"""Torch, FAISS and the one thread that runs them.

`torch` and `faiss` are imported when they are first taken from this module, and from nowhere else:
it sees to it that both use the OpenMP pool that comes with torch. Two pools compete for the cores.
A search by id needs no torch, whose import takes longer than all the rest of it.
"""

from __future__ import annotations

import ctypes
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from search.errors import DeviceMemoryError, LibraryError

if TYPE_CHECKING:
    import faiss
    import torch

__all__ = ["Runtime", "faiss", "flops", "torch"]

T = TypeVar("T")
PATIENCE = 0.25  # seconds that other work waits for urgent work to come
RECENT = 5.0  # seconds since somebody asked
SHARE = 0.25  # of the time that other work gets while urgent work never ends
CREDIT = 0.1  # seconds that one kind of work may owe the other

LITTLE_MEMORY = re.compile(r"out of memory|can't allocate memory", re.IGNORECASE)
"""What errors of torch say if a device has too little memory."""

Piece = Callable[[], None]
_inference = threading.local()  # `threads`: size of the OpenMP pool, on an inference thread


def __getattr__(name: str) -> Any:
    if name == "torch":
        torch = import_module("torch")
        if threads := getattr(_inference, "threads", None):
            torch.set_num_threads(threads)
        return torch
    if name == "faiss":
        _load_openmp()
        return import_module("faiss")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_openmp() -> None:
    """Load torch's OpenMP library, so that faiss uses it, or torch itself where it has no such
    file."""
    spec = find_spec("torch")
    for folder in spec.submodule_search_locations or () if spec else ():
        library = Path(folder, "lib", "libgomp.so.1")
        if library.exists():
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            return
    import_module("torch")


class FairShare:
    """How long other work was passed over, so that urgent work cannot keep it from its share.

    Both are guaranteed theirs: while both wait, other work gets `SHARE` of the time, and urgent
    work the rest, but for the piece at work.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self.clock, self._debt = clock, 0.0

    @property
    def is_due(self) -> bool:
        """Whether other work goes before urgent work now."""
        return self._debt > CREDIT

    def pass_over(self, seconds: float) -> None:
        """Count time that urgent work took while other work waited."""
        self._debt += seconds * SHARE / (1 - SHARE)

    def repay(self, seconds: float) -> None:
        """Count time of other work."""
        self._debt = max(-CREDIT, self._debt - seconds)


class Runtime:
    """The inference thread: embedding and index work, one piece at a time, urgent pieces first."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        """threads: size of the OpenMP pool. clock: seconds, for the shares of the two kinds."""
        self._threads, self._closed, self._urgent = threads, False, False
        self._coming, self._urgent_since, self._other_until = 0, -math.inf, -math.inf
        self._queries, self._others = deque[Piece](), deque[Piece]()  # urgent work, and all other
        self._share, self._since = FairShare(clock), 0.0
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def has_other_work(self) -> bool:
        """Whether work that is not urgent waits or is done, or was done in the last second."""
        return bool(self._others) or time.monotonic() - self._other_until < 1

    def submit(self, work: Callable[[], T], urgent: bool = False) -> Future[T]:
        """Queue a piece of work; urgent pieces go before the others, and wait for the one at work:
        what is long is handed over in pieces of at most 100 ms or so, or breathes as often."""
        future: Future[T] = Future()

        def piece() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(explain_error(error))

        with self._change:
            if self._closed:
                raise LibraryError("the library was closed; open it again")
            (self._queries if urgent else self._others).append(piece)
            self._change.notify()
        return future

    def run(self, work: Callable[[], T], urgent: bool = False) -> T:
        """Queue a piece of work and wait for its result. The inference thread does it at once."""
        if threading.current_thread() is self._thread:
            return work()  # what is wrong is explained where this piece was submitted
        return self.submit(work, urgent).result()

    def run_in_pieces(self, work: Iterator[T | None], urgent: bool = False) -> T | None:
        """Run an iterator of torch work without gradients, each item as a piece; return the last
        item, None without any."""
        import torch

        def take_item() -> tuple[T | None] | None:
            with torch.inference_mode():
                try:
                    return (next(work),)
                except StopIteration:
                    return None

        last: T | None = None
        while (item := self.run(take_item, urgent)) is not None:
            last = item[0]
        return last

    def breathe(self) -> None:
        """Do the urgent pieces that wait, unless they owe this one time. A long piece calls this
        between its parts."""
        if self._urgent:  # an urgent one lets nobody go first
            return
        now = self._share.clock()
        self._share.repay(now - self._since)
        while not self._share.is_due:
            with self._change:
                if not self._queries:
                    break
                piece = self._queries.popleft()
            self._do(piece, urgent=True)
            later = self._share.clock()
            self._share.pass_over(later - now)
            now = later
        self._since = now

    @contextmanager
    def expect_urgent(self) -> Iterator[None]:
        """Within, urgent work is soon to come: no other piece is begun, but for one now and then,
        so that the urgent one need not wait for it."""
        self._urgent_since = time.monotonic()
        with self._change:
            self._coming += 1
        try:
            yield
        finally:
            with self._change:
                self._coming -= 1
                self._change.notify()

    def portion(self, most: int) -> int:
        """How many of a row of like things to do in one piece: a quarter of `most` while people
        are asking, who then wait less."""
        return most if time.monotonic() - self._urgent_since > RECENT else max(1, most // 4)

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _take(self) -> tuple[Piece, bool] | None:
        """Wait for the next piece; return it and whether it is urgent, or None at the end."""
        with self._change:
            self._change.wait_for(lambda: self._queries or self._others or self._closed)
            if self._coming and not self._share.is_due:
                before = self._share.clock()
                self._change.wait_for(lambda: self._queries or not self._coming, PATIENCE)
                if self._others:
                    self._share.pass_over(self._share.clock() - before)
            if self._queries and not (self._others and self._share.is_due):
                return self._queries.popleft(), True
            return (self._others.popleft(), False) if self._others else None

    def _run(self) -> None:
        _inference.threads = self._threads
        while turn := self._take():
            piece, urgent = turn
            self._since = self._share.clock()
            if not urgent:
                self._other_until = math.inf
            self._do(piece, urgent)
            seconds = self._share.clock() - self._since  # or since the piece breathed
            if not urgent:
                self._share.repay(seconds)
                self._other_until = time.monotonic()
            elif self._others:
                self._share.pass_over(seconds)

    def _do(self, piece: Piece, urgent: bool) -> None:
        self._urgent = urgent
        try:
            piece()
        finally:
            self._urgent = False


def explain_error(error: BaseException) -> BaseException:
    """Return a DeviceMemoryError for an error of torch that says so, else the error itself."""
    # torch has an error for CUDA alone; on a Mac and on a CPU it is a RuntimeError
    if not isinstance(error, RuntimeError) or not LITTLE_MEMORY.search(str(error)):
        return error
    explained = DeviceMemoryError(
        "the device has too little memory for the model: close other programs that use it, or "
        "choose a smaller model, or give --device cpu (LOOKALIKE_DEVICE)"
    )
    explained.__cause__ = error
    return explained


def flops(call: Callable[[], torch.Tensor]) -> tuple[int, torch.Tensor]:
    """Run a call; return its floating point operations, and its result without a gradient."""
    torch = __getattr__("torch")
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # no fused kernels then
        returned = call()
    return counter.get_total_flops(), returned.detach()
