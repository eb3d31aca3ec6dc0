"""List the pictures in a folder by their names, and wait for changes. No file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.media.images import SUFFIXES
from search.records import Skip
from search.types import FileEntry, file_state

ENDINGS = frozenset(suffix[1:] for suffix in SUFFIXES)


@dataclass
class FolderListing:
    """What a folder contains.

    entries: files of pictures by relative path. unreadable: folders that could not be listed, by
    relative path, "" for the root.
    """

    entries: dict[str, FileEntry] = field(default_factory=dict)
    unreadable: list[Skip] = field(default_factory=list)


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a relative path, or its last part, matches a glob.

    `*` also matches `/`. A glob that begins with `/` matches whole paths only.
    """
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(f"/{path}", p) if p[0] == "/" else fnmatchcase(path, p) or fnmatchcase(name, p)
        for p in patterns
    )


def scan(root: Path, within: str = "", exclude: Sequence[str] = ()) -> FolderListing:
    """List the pictures below `root`, or below its subfolder `within`.

    exclude: globs of what to leave out. Hidden files and folders are left out, and symbolic links
    are not followed. A subfolder that cannot be read is listed as unreadable. Raises OSError if the
    start itself cannot be listed.
    """
    listing = FolderListing()
    patterns = [p.rstrip("/") for p in exclude if p.rstrip("/")]
    folders = _list(root, within, patterns, listing)
    while folders:
        folder = folders.pop()
        try:
            folders += _list(root, folder, patterns, listing)
        except OSError as error:
            listing.unreadable.append(Skip(folder, error.strerror or str(error)))
    return listing


def _list(root: Path, folder: str, patterns: Sequence[str], listing: FolderListing) -> list[str]:
    """Add the pictures of one folder to the listing; return its subfolders."""
    folders = []
    before = f"{folder}/" if folder else ""
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            name = entry.name
            path = before + name
            if name.startswith(".") or (patterns and excluded(path, patterns)):
                continue
            _, dot, ending = name.rpartition(".")
            if dot and ending.lower() in ENDINGS and entry.is_file(follow_symlinks=False):
                _add_file(entry, path, listing)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
    return folders


def _add_file(entry: os.DirEntry[str], path: str, listing: FolderListing) -> None:
    """Add a file to the listing."""
    try:
        stat = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # deleted after the folder was listed
        return
    listing.entries[path] = FileEntry(path, *file_state(stat))


def watch(folders: Sequence[Path], but: Path) -> Iterator[Path]:
    """Wait for changes without end; yield each folder in which something changed.

    but: changes below this folder are ignored. Every folder is yielded once at the beginning, for
    changes before. Raises InputError if the system cannot watch the folders.
    """
    from watchfiles import watch as changes

    own = os.path.join(but, "")

    def is_relevant(_: object, path: str) -> bool:
        return not path.startswith(own)

    def start() -> Iterator[set[tuple[Any, str]]]:
        return changes(
            *folders,
            watch_filter=is_relevant,
            debounce=2000,
            step=200,
            rust_timeout=1000,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )

    batches, is_listening, has_begun = start(), False, False
    while True:
        try:
            batch = next(batches)
        except (OSError, UnicodeError, RuntimeError) as error:
            if has_begun and isinstance(error, RuntimeError):
                batches, is_listening = start(), False  # a changed name is not UTF-8
                continue
            raise InputError(
                f"these folders cannot be watched: {error}; leave --watch out"
            ) from error
        paths = [Path(path) for _, path in batch]
        for folder in folders:
            if not is_listening or any(path.is_relative_to(folder) for path in paths):
                yield folder
        is_listening = has_begun = True
