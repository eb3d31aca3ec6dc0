"""What a library is interrupted in, and the process that is interrupted.

python operations.py HOME LOG OPERATION FAULT MOMENT FOLDER

The process counts its events: statements that change the catalog, commits, and files of the library
that are opened for writing, renamed, deleted or made. At the event number MOMENT the fault begins:
`kill` ends the process by SIGKILL, with `full` the disk takes no more bytes, with `readonly` it
takes no change. It prints how many events there were. LOG gets a line for each vector it computes.
Exit status: 0 done, 3 refused with an error of the library.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.pictures import jpeg
from sqlalchemy import Engine as SqlEngine, event

from search import Engine
from search.embedders.mini import Mini
from search.errors import LookalikeError, NotFoundError

UPLOADS = range(900, 906)
REFUSED = 3  # exit status


def operate(engine: Engine, operation: str, folder: Path) -> None:
    """Run an operation to its end. A second run finishes what a first one left."""
    if operation in ("index", "index-a", "index-b"):
        engine.sync(folder / operation.removeprefix("index").removeprefix("-"))
    elif operation == "forget":
        try:
            engine.forget(folder / "a")
        except NotFoundError:
            pass  # an earlier run came to its end
    elif operation == "keep":
        for seed in UPLOADS:
            engine.keep(jpeg(seed))
    elif operation == "snapshot":
        engine.check()
    elif operation == "migrate":
        engine.status()
    else:
        raise SystemExit(f"no operation {operation}")


class Fault:
    """Counts events, and begins at one of them."""

    def __init__(self, home: Path, kind: str, moment: int) -> None:
        """moment: number of the event, from 1; 0 for no fault."""
        self._home, self._kind, self._moment = str(home), kind, moment
        self.events = 0

    def install(self) -> None:
        """Count from now on."""
        sys.addaudithook(self._see_file)
        event.listen(SqlEngine, "before_cursor_execute", self._see_statement)
        event.listen(SqlEngine, "commit", lambda _: self._count())

    def _count(self) -> bool:
        """Count an event. Returns whether the fault has begun."""
        self.events += 1
        if self._moment and self.events >= self._moment:
            if self._kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            return True
        return False

    def _see_file(self, name: str, args: tuple[Any, ...]) -> None:
        if name not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        if not isinstance(args[0], str | os.PathLike):
            return
        path = os.fspath(args[0])
        if isinstance(path, bytes) or not path.startswith(self._home):
            return
        if name == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if self._count():
            if self._kind == "readonly":
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
            if self._kind == "full" and name in ("open", "os.mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _see_statement(self, _: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN", "WITH")):
            return
        if self._count():
            pragma = "query_only=ON" if self._kind == "readonly" else "max_page_count=1"
            cursor.execute(f"PRAGMA {pragma}")  # SQLite refuses as it does on such a disk


def log_vectors(path: Path) -> None:
    """Write a line for each vector that is computed from now on."""
    log, embed = open(path, "ab", buffering=0), Mini.embed_with_labels

    def embed_logged(self: Mini, pixels: Any) -> Any:
        embedded = embed(self, pixels)
        log.write(b"1\n" * len(pixels))
        return embedded

    Mini.embed_with_labels = embed_logged  # type: ignore[method-assign]


def main() -> None:
    home, log, operation, kind, moment, folder = sys.argv[1:]
    log_vectors(Path(log))
    fault = Fault(Path(home), kind, int(moment))
    fault.install()
    status = 0
    try:
        with Engine.open(home, threads=1, workers=1, lock_seconds=60) as engine:
            operate(engine, operation, Path(folder))
    except LookalikeError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        status = REFUSED
    print(fault.events)
    sys.exit(status)


if __name__ == "__main__":
    main()
