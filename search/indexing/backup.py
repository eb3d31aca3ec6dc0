"""Backups of a library: one zip file with its catalog and the pictures that it keeps.

Index and thumbnails are not in it: they are made again from the catalog and the files.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from search import files
from search.catalog.database import CATALOG, Database
from search.catalog.schema import UPLOADS
from search.errors import InputError, LibraryError, NotFoundError, StorageError
from search.lock import hold_lock
from search.records.maintenance import BackupReport

MANIFEST = "lookalike.json"
FORMAT = 1
PARTS = (CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm", UPLOADS)
"""What a restore replaces in the library's folder."""


def write_backup(database: Database, home: Path, path: Path) -> BackupReport:
    """Write a backup while the library is in use.

    home: the library's folder. path: of the file, which is whole or as before. Raises InputError
    for a path where something other than a backup is, StorageError if the disk fails.
    """
    if os.path.lexists(path) and not _is_backup(path):
        raise InputError(f"{path} is there and is no backup; give another file")
    if path.resolve().is_relative_to(home / UPLOADS):
        raise InputError(f"{path} is among the pictures that are saved; give another file")
    count = 0
    try:
        with (
            files.open_partial(path) as partial,
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
        ):
            copy = Path(folder) / CATALOG
            database.copy_to(copy)
            with zipfile.ZipFile(partial, "x") as archive:
                archive.write(copy, CATALOG)
                times = {}
                for file, name in _list_uploads(home / UPLOADS):
                    try:  # one that is deleted meanwhile is not in later catalogs either
                        archive.write(file, f"{UPLOADS}/{name}")
                        times[name] = file.stat().st_mtime_ns
                    except FileNotFoundError:
                        continue
                    count += 1
                about = {"format": FORMAT, "version": version("lookalike"), "mtime_ns": times}
                archive.writestr(MANIFEST, json.dumps(about))
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space or give another file"
        ) from error
    return BackupReport(str(path), count, path.stat().st_size)


def restore_backup(
    path: Path, home: Path, replace: bool, lock_seconds: float, report: Callable[[str], None]
) -> BackupReport:
    """Make the library in `home` what a backup has.

    replace: a library that is there is moved to a folder `replaced-...` in `home`; otherwise it is
    an error. lock_seconds, report: as `hold_lock` takes them. Raises InputError for a file that is
    no backup, LibraryError for a damaged one; the library stays as it was then.
    """
    if not os.path.exists(path):
        raise NotFoundError(f"{path} is not there; give a file that `lookalike backup` wrote")
    if not _is_backup(path):
        raise InputError(f"{path} is no backup; give a file that `lookalike backup` wrote")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with hold_lock(home, lock_seconds, report):
            parts = [home / part for part in PARTS if os.path.lexists(home / part)]
            if parts and not replace:
                raise InputError(
                    f"there is a library in {home}; give --replace, which moves it aside, or "
                    "another --home"
                )
            with tempfile.TemporaryDirectory(prefix=".restore-", dir=home) as name:
                folder = Path(name)
                count = _extract(path, folder)
                if parts:
                    aside = home / time.strftime("replaced-%Y-%m-%d-%H%M%S")
                    aside.mkdir()
                    for part in parts:
                        os.replace(part, aside / part.name)
                for part in folder.iterdir():
                    os.replace(part, home / part.name)
    except OSError as error:
        raise StorageError(
            f"cannot restore to {home}: {error.strerror or error}; free some space or give another "
            "--home"
        ) from error
    return BackupReport(str(path), count, path.stat().st_size)


def _is_backup(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {CATALOG, MANIFEST} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _list_uploads(folder: Path) -> list[tuple[Path, str]]:
    """Return the kept files and their names relative to the folder, with `/`."""
    entries = list[tuple[Path, str]]()
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place) / name
            relative = file.relative_to(folder).as_posix()
            if file.is_file() and not file.is_symlink() and relative.isprintable():
                entries.append((file, relative))
    return sorted(entries)


def _extract(path: Path, folder: Path) -> int:
    """Extract a backup to a folder and check it; return the number of kept pictures.

    Raises LibraryError for a damaged backup.
    """
    count = 0
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(MANIFEST))
            if about["format"] > FORMAT:
                raise LibraryError(f"{path} was written by a newer lookalike; upgrade")
            _copy(archive, CATALOG, folder / CATALOG)
            for name in archive.namelist():
                parts = PurePosixPath(name).parts
                if parts[0] != UPLOADS or ".." in parts or name.endswith("/"):
                    continue
                target = folder.joinpath(*parts)
                _copy(archive, name, target)
                times = about["mtime_ns"].get("/".join(parts[1:]))
                if times is not None:  # by which the catalog knows the file
                    os.utime(target, ns=(times, times))
                count += 1
        with closing(sqlite3.connect(folder / CATALOG)) as connection:
            lines = [row[0] for row in connection.execute("PRAGMA quick_check")]
        database = Database(folder / CATALOG)  # runs its migrations
        database.close()
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, sqlite3.Error) as error:
        raise LibraryError(f"{path} is damaged ({error}); give another backup") from error
    if lines != ["ok"]:
        raise LibraryError(f"the catalog in {path} is damaged ({lines[0]}); give another backup")
    return count


def _copy(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    """Extract one file. zipfile compares its checksum."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
