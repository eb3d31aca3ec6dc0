"""Torch, FAISS and the one thread that runs them.

This module alone imports torch and then faiss. In that order both use the OpenMP pool that comes
with torch. In the other order there are two pools, which compete for the cores.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from search.errors import LibraryError

import torch  # isort: skip
import faiss  # isort: skip

__all__ = ["Runtime", "faiss", "flops", "torch"]

T = TypeVar("T")
PATIENCE = 0.25  # seconds that other work waits for urgent work to come
RECENT = 5.0  # seconds since somebody asked

Piece = tuple[int, int, Callable[[], None] | None]


class Runtime:
    """The inference thread: embedding and index work, one piece at a time, urgent pieces first."""

    def __init__(self, threads: int) -> None:
        """threads: size of the OpenMP pool."""
        self._threads, self._closed, self._urgent = threads, False, False
        self._coming, self._urgent_since = 0, -math.inf
        self._order, self._work = itertools.count(), list[Piece]()  # a heap
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

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
                future.set_exception(error)

        with self._change:
            if self._closed:
                raise LibraryError("the library was closed; open it again")
            self._put(0 if urgent else 1, piece)
        return future

    def run(self, work: Callable[[], T], urgent: bool = False) -> T:
        """Queue a piece of work and wait for its result. The inference thread does it at once."""
        if threading.current_thread() is self._thread:
            return work()
        return self.submit(work, urgent).result()

    def breathe(self) -> None:
        """Do the urgent pieces that wait. A long piece calls this between its parts."""
        while not self._urgent:  # an urgent one lets nobody go first
            with self._change:
                if not self._work or self._work[0][0]:
                    return
                _, _, piece = heapq.heappop(self._work)
            if piece is not None:
                self._do(piece, urgent=True)

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
            self._put(2, None)
        self._thread.join()

    def _put(self, rank: int, piece: Callable[[], None] | None) -> None:
        heapq.heappush(self._work, (rank, next(self._order), piece))
        self._change.notify()

    def _take(self) -> Piece:
        with self._change:
            while not self._work:
                self._change.wait()
            if self._coming:
                self._change.wait_for(lambda: not self._coming or not self._work[0][0], PATIENCE)
            return heapq.heappop(self._work)

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        faiss.omp_set_num_threads(self._threads)
        while True:
            rank, _, piece = self._take()
            if piece is None:
                return
            self._do(piece, urgent=not rank)

    def _do(self, piece: Callable[[], None], urgent: bool) -> None:
        self._urgent = urgent
        try:
            piece()
        finally:
            self._urgent = False


def flops(call: Callable[[], torch.Tensor]) -> tuple[int, torch.Tensor]:
    """Run a call; return its floating point operations, and its result without a gradient."""
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # no fused kernels then
        returned = call()
    return counter.get_total_flops(), returned.detach()
