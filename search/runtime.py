"""Torch, FAISS and the one thread that runs them.

This module alone imports torch and then faiss: in that order both use the OpenMP pool that torch
brings, in the other order there are two pools that fight over the cores. Waiting threads sleep
(`OMP_WAIT_POLICY`), so that decoding gets the cores while nothing is embedded.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from search.errors import LibraryError

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # isort: skip
import faiss  # isort: skip

__all__ = ["Runtime", "faiss", "torch"]

T = TypeVar("T")


class Runtime:
    """The inference thread: embedding and index work, one piece at a time, urgent pieces first."""

    def __init__(self, threads: int) -> None:
        """threads: size of the OpenMP pool."""
        self._threads, self._closed = threads, False
        self._door = threading.Lock()  # nothing is queued behind the end
        self._order = itertools.count()
        self._work: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]]
        self._work = queue.PriorityQueue()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], urgent: bool = False) -> Future[T]:
        """Queue a piece of work; urgent pieces go before the others, and wait for the one at work:
        what is long is handed over in pieces of at most 100 ms or so."""
        future: Future[T] = Future()

        def piece() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        with self._door:
            if self._closed:
                raise LibraryError("the library was closed; open it again")
            self._work.put((0 if urgent else 1, next(self._order), piece))
        return future

    def run(self, work: Callable[[], T], urgent: bool = False) -> T:
        """Queue a piece of work and wait for its result."""
        return self.submit(work, urgent).result()

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._door:
            self._closed = True
            self._work.put((2, next(self._order), None))
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        faiss.omp_set_num_threads(self._threads)
        while True:
            piece = self._work.get()[2]
            if piece is None:
                return
            piece()
