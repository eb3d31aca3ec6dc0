"""Libraries to interrupt or damage, and what has to hold afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from helpers.libraries import close_library, open_library
from helpers.old_catalogs import write_old_catalog
from helpers.pictures import identity, jpeg, paint
from operations import REFUSED, UPLOADS, operate

from search import Engine
from search.indexing.extract import BATCH

OPERATIONS = ("index", "forget", "keep", "migrate", "snapshot")
FIRST, NEW = range(40), range(100, 176)  # pictures that are indexed before, and new ones


class World:
    """A library with its folder of pictures, before an operation. Every try begins with it.

    stays: pictures (seeds) that must be found at any time. ids: of the pictures that there are in
    the end. new: how many vectors the operation computes.
    """

    def __init__(self, place: Path, operation: str, version: int = 0) -> None:
        """place: an empty folder. version: of an older catalog, for `migrate`."""
        self.operation, self.folder = operation, place / "pictures"
        self.home, self.log, self._base = place / "home", place / "computed", place / "base"
        for seed in FIRST:
            paint(self.folder / "ab"[seed % 2] / f"{seed}.jpg", seed)
        engine = open_library(self.home)
        engine.sync(self.folder)
        close_library(engine)
        stays = list(FIRST)
        if operation == "index":
            for seed in NEW:
                paint(self.folder / "b" / f"{seed}.jpg", seed)
            paint(self.folder / "a" / "copy.jpg", NEW[0])
            (self.folder / "a" / "2.jpg").rename(self.folder / "b" / "moved.jpg")
            (self.folder / "a" / "4.jpg").unlink()
            stays.remove(4)
        elif operation == "forget":
            stays = [seed for seed in stays if seed % 2]
        elif operation == "snapshot":
            shutil.rmtree(self.home / "index")
        elif operation == "migrate":
            (self.home / "catalog.sqlite").rename(place / "new.sqlite")
            write_old_catalog(place / "new.sqlite", self.home / "catalog.sqlite", version)
        self.stays = stays
        uploads = list(UPLOADS) if operation == "keep" else []
        self.new = {"index": len(NEW), "keep": len(uploads)}.get(operation, 0)
        seeds = [*stays, *uploads, *(NEW if operation == "index" else ())]
        self.ids = {identity(seed) for seed in seeds}
        self.originals = self._read_originals()
        self.home.rename(self._base)

    def _read_originals(self) -> dict[Path, tuple[bytes, int]]:
        paths = sorted(self.folder.rglob("*.jpg"))
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}

    def reset(self) -> None:
        """Put the library back to where it began."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self._base, self.home)
        self.log.unlink(missing_ok=True)

    def start(self, fault: str, moment: int, operation: str = "") -> subprocess.Popen[str]:
        """Start the operation in a process of its own. moment: 0 for no fault."""
        script = Path(__file__).with_name("operations.py")
        words = [self.home, self.log, operation or self.operation, fault, moment, self.folder]
        command = [sys.executable, script, *map(str, words)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)

    @cached_property
    def events(self) -> int:
        """How many events the operation has; it is run once without a fault."""
        self.reset()
        with self.start("kill", 0) as process:
            out, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{self.operation} fails without a fault: {errors}")
        return int(out)

    def judge(self) -> list[str]:
        """Open the library, check it, search, finish the operation, and compare with the end.

        Returns what does not hold.
        """
        for partial in self.home.rglob("*.part"):  # as if some time had passed
            os.utime(partial, (0, 0))
        engine = open_library(self.home, lock_seconds=5)
        try:
            embedder = engine.library.models.opened["mini"]
            wrong = [f"check: {one}" for one in engine.check().problems if "gone since" not in one]
            wrong += self._compare(engine)
            embedder.computed = 0  # type: ignore[attr-defined]
            if self.operation in OPERATIONS:
                operate(engine, self.operation, self.folder)
            if self.operation != "forget":
                engine.sync(self.folder)
            computed = embedder.computed  # type: ignore[attr-defined]
            before = len(self.log.read_text().split()) if self.log.exists() else 0
            if before + computed > self.new + BATCH:
                wrong.append(f"{before} + {computed} vectors computed for {self.new}")
            check = engine.check(deep=True)
            wrong += [f"check in the end: {one}" for one in check.problems]
            wrong += self._compare(engine)
            wrong += self._compare_end(engine)
        finally:
            close_library(engine)
        return wrong

    def _compare(self, engine: Engine) -> list[str]:
        """Compare what must hold at any time after `check`."""
        wrong = []
        status = engine.status()
        if status.pictures != status.embedded:
            wrong.append(f"{status.pictures} pictures, {status.embedded} vectors")
        space = engine.library.catalog.find_own_space()
        if space is None:
            return [*wrong, "no model is chosen"]
        replica = engine.library.indexes.replica(space)
        store = replica.refresh()
        indexed = len(engine.library.runtime.run(store.ids))
        if indexed != status.pictures:
            wrong.append(f"{status.pictures} pictures, {indexed} in the index")
        for seed in (self.stays[0], self.stays[len(self.stays) // 2], self.stays[-1]):
            hit = engine.search(image=jpeg(seed), k=1)[0]
            if hit.id != identity(seed) or hit.score < 0.99:
                wrong.append(f"a search does not return picture {seed}: {hit}")
        if self._read_originals() != self.originals:
            wrong.append("an original was written")
        return wrong

    def _compare_end(self, engine: Engine) -> list[str]:
        """Compare what must hold once the operation has come to its end."""
        wrong = []
        rows = list(engine.library.reader.iterate_files())
        ids = {picture_id for picture_id, _, _ in rows}
        if ids != self.ids or engine.status().pictures != len(self.ids):
            wrong.append(f"{len(ids)} pictures in the end, not {len(self.ids)}")
        for picture_id, _, path in rows:
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != picture_id:
                wrong.append(f"{path} is not the file of its picture")
        with sqlite3.connect(self.home / "catalog.sqlite") as connection:
            known = {row[0] for row in connection.execute("SELECT id FROM pictures")}
        connection.close()
        thumbnails = {path.stem for path in (self.home / "thumbnails").rglob("*.webp")}
        if missing := ids - thumbnails:
            wrong.append(f"{len(missing)} thumbnails are missing")
        if strays := thumbnails - known:
            wrong.append(f"{len(strays)} thumbnails of no picture")
        if parts := [str(path) for path in self.home.rglob("*.part")]:
            wrong.append(f"incomplete files are left: {parts}")
        return wrong


def read_refusal(process: subprocess.Popen[str], codes: set[str]) -> list[str]:
    """Wait for a process that may refuse with one of some codes. Returns what is wrong with it."""
    _, errors = process.communicate()
    code = errors.rpartition("\n")[0].rpartition("\n")[2].partition(":")[0]
    if process.returncode == REFUSED and code in codes or process.returncode == 0:
        return []
    return [f"exit {process.returncode}, {errors.strip()[-2000:]}"]
