"""The parent's side of a decoding process: start it, send it jobs, end it at a deadline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import diffusion
from diffusion.media.images import Limits

START = 60.0  # seconds until a process is up, however busy the machine
HEADER = 2**20  # most bytes of a line of an answer
BLOB = 2**30  # most bytes that may follow it
COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "diffusion.media.worker")


class DecoderProcess:
    """One decoding process, started when first needed and again after it ended."""

    def __init__(self, limits: Limits, command: tuple[str, ...]) -> None:
        self._limits, self._command = limits, command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._due: float | None = None  # when to kill it
        self._late = self._closed = False

    def run(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the answers to jobs, in order.

        Raises TimeoutError when one takes longer than the deadline, EOFError when the process
        ended, and ChildProcessError when none can be started. It then works no more on the others.
        """
        self._start()
        try:
            self._send(jobs)
            for _ in jobs:
                self._set_due(self._limits.seconds)
                yield self._receive()
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            late = self._end_deadline()
            code = self.stop()
            if late:
                raise TimeoutError from error
            raise EOFError(f"signal {-code}" if code < 0 else f"status {code}") from error
        except GeneratorExit:  # answers that nobody takes must not be those of the next jobs
            self.stop()
            raise
        if self._end_deadline():  # it may have been killed just after it answered
            self.stop()

    def enforce(self) -> None:
        """Kill the process if it is past its deadline."""
        with self._lock:
            if self._due is not None and time.monotonic() > self._due and self._process:
                self._process.kill()
                self._due, self._late = None, True

    def close(self) -> None:
        """End the process, for good."""
        self._closed = True
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def stop(self) -> int:
        """End the process, and wait for its end. Returns its exit status, 0 without a process."""
        with self._lock:
            process, self._process, self._due = self._process, None, None
        if process is None:
            return 0
        try:
            code = process.wait(0.5)  # it may have ended by itself
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                cast(Any, stream).close()
            except OSError:
                pass  # what was not sent need not be
        return code

    def _start(self) -> None:
        if self._process is not None:
            return
        package = str(Path(str(diffusion.__file__)).resolve().parents[1])
        path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH")) if p)
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            if self._closed:
                raise EOFError("the pool was closed")
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one, "PYTHONPATH": path},
            )
            with self._lock:
                self._process = process
            if self._closed:  # in the meantime
                raise EOFError("the pool was closed")
            self._set_due(START)
            self._send(asdict(self._limits))
            self._receive()
            self._end_deadline()
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self.stop()
            raise ChildProcessError(str(error)) from error

    def _send(self, message: object) -> None:
        stream = cast(Any, self._process).stdin
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        stream = cast(Any, self._process).stdout
        header = json.loads(stream.readline(HEADER))
        size = header["bytes"]
        if not 0 <= size <= BLOB:
            raise ValueError("a blob of impossible length")
        blob = stream.read(size)
        if len(blob) != size:
            raise EOFError("the stream ended")
        return header, blob

    def _set_due(self, seconds: float) -> None:
        with self._lock:  # if it was killed just after the last answer, this job is not late
            self._due, self._late = time.monotonic() + seconds, False

    def _end_deadline(self) -> bool:
        """Returns whether the process was killed at its deadline."""
        with self._lock:
            late, self._due, self._late = self._late, None, False
        return late
