"""The program of a decoding process: jobs in, decoded pictures out, over standard streams.

Started by `diffusion.media.process` as `python -P -m diffusion.media.worker`; it imports Pillow and
numpy and nothing else that is heavy. The first line of its input holds the limits, each later line
a list of jobs, as JSON. It answers each job with a line of JSON and as many bytes as its `bytes`
says. It is never pickle: an answer of a process that read a hostile file is not trusted.

A job has the `path` of a file; the `member` of a zip, or None; and one of
    size     -> the square of that side
    windows  -> arguments of `cut_windows`
    neither  -> a list of the members of the zip
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

from diffusion.errors import DataError
from diffusion.media.archive import Archive
from diffusion.media.images import Limits, crop_square, cut_windows, make_upright, open_picture
from diffusion.reading import read_bytes

try:
    import resource
except ImportError:  # not on Windows: there only the deadline holds
    resource = None  # type: ignore[assignment]

SPARE = 5.0  # seconds after the parent's deadline


class Worker:
    """Does jobs. It keeps the zip of the last job open."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._archive: tuple[str, Archive] | None = None

    def answer(self, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Do a job. When that fails, the reply has its reason as `error`."""
        try:
            return self._do(job)
        except DataError as error:
            return {"error": str(error)}, b""
        except MemoryError:
            return {"error": f"it needs more memory than the limit {self.limits.memory}"}, b""
        except ValueError as error:
            return {"error": str(error) or "ValueError"}, b""
        except OSError as error:
            return {"error": error.strerror or str(error)}, b""
        except Exception as error:  # codecs raise all kinds for broken files
            return {"error": f"{type(error).__name__}: {error}"}, b""

    def _do(self, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        path, member = job["path"], job["member"]
        if "size" not in job and "windows" not in job:
            return {}, json.dumps(self._open(path).list_members(self.limits)).encode()
        if member is None:
            data = read_bytes(path, self.limits.bytes)
        else:
            data = self._open(path).read(member, self.limits)
        picture = open_picture(data, self.limits.pixels)
        if "size" in job:
            side = min(picture.size)  # before it is decoded at a smaller size
            return {"side": side}, crop_square(picture, job["size"]).tobytes()
        picture = make_upright(picture)
        pixels, sides = cut_windows(picture, **job["windows"])
        return {"side": min(picture.size), "sides": sides}, pixels.tobytes()

    def _open(self, path: str) -> Archive:
        if self._archive is None or self._archive[0] != path:
            if self._archive is not None:
                self._archive[1].close()
                self._archive = None
            self._archive = path, Archive(path)
        return self._archive[1]


def reply(stream: BinaryIO, header: dict[str, Any], blob: bytes = b"") -> None:
    """Write one answer."""
    stream.write(json.dumps({**header, "bytes": len(blob)}).encode() + b"\n" + blob)
    stream.flush()


def limit(limits: Limits) -> None:
    """Cap this process's address space."""
    if resource is not None:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        except (ValueError, OSError):
            pass  # a system without this limit still has the deadline


def leave_with(parent: int) -> None:
    """End this process once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def set_alarm(seconds: float) -> None:
    """Let the system end this process after some seconds, or not (0), even inside a codec that
    lets no other thread run: its parent may be gone by then."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def main() -> None:
    """Do jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends this one
    jobs = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a codec prints must not end up among the replies
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    limits = Limits(**json.loads(jobs.readline()))
    limit(limits)
    worker = Worker(limits)
    reply(replies, {})
    for line in jobs:
        for job in json.loads(line):
            set_alarm(limits.seconds + SPARE)
            header, blob = worker.answer(job)
            set_alarm(0)
            reply(replies, header, blob)


if __name__ == "__main__":
    main()
