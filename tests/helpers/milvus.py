"""Milvus for tests: Milvus Lite in a folder, as a server of its own, or a server that is given."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.vectors.milvus.connection import Connection

SERVER = os.environ.get("LOOKALIKE_TEST_MILVUS")
"""URL of a real server, beside Milvus Lite, that the shared suites also use."""
ADDRESSES = ("milvus-lite", "milvus-server") if SERVER else ("milvus-lite",)


def address_of(name: str, folder: Path) -> str:
    """The address of one of `ADDRESSES`. folder: for Milvus Lite."""
    return str(folder / "vectors.db") if name == "milvus-lite" else str(SERVER)


@contextmanager
def connect(address: str) -> Iterator[Connection]:
    connection = Connection(address, None, 20.0)
    try:
        yield connection
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class LiteProcess:
    """Milvus Lite as a server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
        command += ["--data-dir", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("Milvus Lite did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def hanging_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(64)
        yield int(one.getsockname()[1])
