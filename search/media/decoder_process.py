"""The parent's side of a decoding process: start it, send it requests, end it at a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, cast

import search
from search.media.decoder import receive, send
from search.media.rules import Limits

START = 60.0  # seconds until a process is up, however busy the machine
OUTSIDE = {s for s in signal.Signals if s.name in ("SIGKILL", "SIGTERM", "SIGXCPU")}
COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "search.media.decoder")


class KilledError(EOFError):
    """The process did not die, but was killed: for its memory, its time, or by hand."""


class DecoderProcess:
    """One decoding process, started when first needed and again after it died."""

    def __init__(self, limits: Limits, command: tuple[str, ...]) -> None:
        self._limits, self._command = limits, command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._due: float | None = None  # when to kill it; None while idle, or once it was

    def start(self) -> None:
        """Raises ChildProcessError when no process can be started."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        package = str(Path(search.__file__).resolve().parents[1])
        path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH")) if p)
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            self._process = process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one, "PYTHONPATH": path},
            )
            self._exchange(process, {"limits": asdict(self._limits)}, [], START)
        except (OSError, EOFError) as error:
            raise ChildProcessError(str(error)) from error

    def ask(
        self, job: dict[str, Any], blobs: list[bytes], seconds: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a job and wait for its answer, for so many seconds. Raises TimeoutError past the
        deadline, EOFError when the process died (KilledError by a signal from outside), and
        ChildProcessError when none can be started."""
        self.start()
        process = self._process
        if process is None:
            raise ChildProcessError("the loader was closed")
        return self._exchange(process, job, blobs, seconds)

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        header: dict[str, Any],
        blobs: list[bytes],
        seconds: float,
    ) -> tuple[dict[str, Any], list[bytes]]:
        with self._lock:
            self._due = time.monotonic() + seconds
        try:
            send(cast(BinaryIO, process.stdin), header, *blobs)
            return receive(cast(BinaryIO, process.stdout))
        except (OSError, EOFError, ValueError) as error:  # ValueError: `stop` closed the stream
            with self._lock:
                late = self._due is None
            killed = not late and _was_killed(process)
            self.stop()
            if late:
                raise TimeoutError from error
            raise (KilledError if killed else EOFError)(str(error)) from error
        finally:
            with self._lock:
                late, self._due = self._due is None, None
            if late:  # it may have been killed just after it answered
                self.stop()

    def enforce(self) -> None:
        """Kill the process if it is past its deadline."""
        with self._lock:
            if self._due is not None and time.monotonic() > self._due and self._process:
                self._process.kill()
                self._due = None

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    try:
                        stream.close()
                    except OSError:
                        pass  # what was not sent need not be
            process.wait()


def _was_killed(process: subprocess.Popen[bytes]) -> bool:
    """Whether a signal ended a process that a codec's own faults do not send."""
    try:
        return -process.wait(1) in OUTSIDE
    except subprocess.TimeoutExpired:
        return False
