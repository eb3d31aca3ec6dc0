"""Ordered, bounded decoding in processes: each job becomes a decoded picture or a reason."""

from __future__ import annotations

import json
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from diffusion.errors import DiffusionError
from diffusion.media.images import Limits
from diffusion.media.process import COMMAND, DecoderProcess

T = TypeVar("T")
LIMITS = Limits()
TICK = 0.1  # seconds between looks at the deadlines
BATCH = 16  # jobs that a process gets at once: small pictures take less time than a message
AHEAD = 4  # batches for each process that are decoded before they are taken
PROCESSES = 32  # at most


@dataclass(frozen=True)
class Decoded:
    """A decoded picture. pixels: uint8. side: short side of the original in pixels. sides: short
    sides to which it was scaled for each of its windows."""

    pixels: np.ndarray
    side: int
    sides: tuple[int, ...] = ()


Read = Callable[[dict[str, Any], bytes], T]
"""Turns an answer of a process into a result. Raises ValueError, KeyError or TypeError for one that
makes no sense."""


class DecoderPool:
    """Decoding processes, started when needed. Use as a context manager.

    workers: how many, by default one for each processor. limits: what a picture may cost. command:
    what starts a process.
    """

    def __init__(
        self,
        workers: int | None = None,
        limits: Limits | None = None,
        command: tuple[str, ...] | None = None,
    ) -> None:
        self.workers = workers or min(os.cpu_count() or 1, PROCESSES)
        self.limits = limits or LIMITS
        start = command or COMMAND
        self._all = [DecoderProcess(self.limits, start) for _ in range(self.workers)]
        self._free: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        for process in self._all:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        self._closed = threading.Event()
        threading.Thread(target=self._enforce, name="deadlines", daemon=True).start()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is waiting, and end the processes."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.close()
        self._threads.shutdown()
        for process in self._all:
            process.stop()

    def decode(
        self, jobs: Sequence[dict[str, Any]], shape: tuple[int, ...]
    ) -> Iterator[Decoded | str]:
        """Decode pictures, in order.

        jobs: see `diffusion.media.worker`; with `size` or `windows`. shape: of the pixels of each.
        Yields the picture, or the reason why it cannot be decoded. Raises DiffusionError when no
        process can be started, which says nothing about a picture.
        """

        def read(header: dict[str, Any], blob: bytes) -> Decoded:
            pixels = np.frombuffer(blob, np.uint8).reshape(shape)
            return Decoded(pixels, int(header["side"]), tuple(map(int, header.get("sides", ()))))

        size = max(1, min(BATCH, math.ceil(len(jobs) / (AHEAD * self.workers))))
        batches = (jobs[i : i + size] for i in range(0, len(jobs), size))
        begun = (self._threads.submit(self._run, batch, read) for batch in batches)
        waiting = deque(islice(begun, AHEAD * self.workers))
        try:
            while waiting:
                answers = waiting.popleft().result()
                waiting.extend(islice(begun, 1))
                yield from answers
        finally:
            for future in waiting:
                future.cancel()

    def list_members(self, path: str) -> list[tuple[str, int, int]] | str:
        """Names, sizes in bytes and checksums of the members of a zip, or the reason why it cannot
        be read. Raises DiffusionError as `decode` does."""

        def read(_: dict[str, Any], blob: bytes) -> list[tuple[str, int, int]]:
            return [(str(name), int(size), int(crc)) for name, size, crc in json.loads(blob)]

        jobs = [{"path": path, "member": None}]
        (answer,) = self._threads.submit(self._run, jobs, read).result()
        return answer

    def _enforce(self) -> None:
        while not self._closed.wait(TICK):
            for process in self._all:
                process.enforce()

    def _run(self, jobs: Sequence[dict[str, Any]], read: Read[T]) -> list[T | str]:
        """Results of jobs. A job on which a process ended is tried once more, by another."""
        results, tries = list[T | str](), 0
        process = self._free.get()
        try:
            while len(results) < len(jobs):
                try:
                    for header, blob in process.run(jobs[len(results) :]):
                        failed = "error" in header
                        results.append(str(header["error"]) if failed else read(header, blob))
                        tries = 0
                except ChildProcessError as error:
                    raise DiffusionError(
                        f"no process that decodes pictures can be started: {error}; free some "
                        "memory, and try again"
                    ) from error
                except TimeoutError:
                    results.append(f"decoding took longer than {self.limits.seconds:g} s")
                except (EOFError, ValueError, KeyError, TypeError) as error:
                    process.stop()
                    tries += 1
                    if tries == 2:
                        results.append(f"the decoding process ended on it ({error})")
                        tries = 0
        finally:
            self._free.put(process)
        return results
