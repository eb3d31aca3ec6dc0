"""Compare the listing of a folder with the catalog, before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.catalog.writes import CatalogFile
from search.indexing.scan import FolderListing
from search.records import Skip
from search.types import FileEntry


@dataclass
class Plan:
    """What a sync has to do. Paths are relative to the root.

    unchanged: count of files. moves: file ids and their new entries. read: new and changed files.
    vanished: files of the catalog that are not listed, by path. hidden: count of files in folders
    that cannot be read; they stay. skipped: these folders, and files that still have no usable
    picture.
    """

    unchanged: int = 0
    moves: list[tuple[int, FileEntry]] = field(default_factory=list)
    read: list[FileEntry] = field(default_factory=list)
    vanished: dict[str, CatalogFile] = field(default_factory=dict)
    hidden: int = 0
    skipped: list[Skip] = field(default_factory=list)


def diff(known: dict[str, CatalogFile], listing: FolderListing, rule: str) -> Plan:
    """Return the plan of a sync, by the sizes, times and inodes of files.

    known: files of the catalog, by path. rule: the present limits and codecs; files that were
    skipped under another rule are read again. A new path with the size, time and inode of a file
    that vanished is that file, moved.
    """
    plan = Plan(skipped=list(listing.unreadable))
    unreadable = tuple(f"{skip.path}/" if skip.path else "" for skip in listing.unreadable)
    vanished_paths: dict[tuple[int, int, int], str] = {}
    for path, file in known.items():
        if path in listing.entries:
            continue
        if unreadable and path.startswith(unreadable):
            plan.hidden += file.picture is not None
            continue
        plan.vanished[path] = file
        if file.picture is not None:
            vanished_paths[file.inode, file.size, file.mtime_ns] = path
    for path, entry in listing.entries.items():
        before = known.get(path)
        if before is None:
            old = vanished_paths.pop((entry.inode, entry.size, entry.mtime_ns), None)
            if old is None:
                plan.read.append(entry)
            else:
                plan.moves.append((plan.vanished.pop(old).id, entry))
        elif (before.size, before.mtime_ns, before.inode) != (
            entry.size,
            entry.mtime_ns,
            entry.inode,
        ):
            plan.read.append(entry)
        elif before.reason is not None and before.rule != rule:
            plan.read.append(entry)  # it may be readable under the present rule
        elif before.reason is not None:
            plan.skipped.append(Skip(path, before.reason))
        else:
            plan.unchanged += 1
    return plan
