"""Compare the listing of a folder with the catalog, before any file is opened."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from search.catalog.writes import CatalogFile
from search.indexing.scan import FolderListing, excluded
from search.records.indexing import Skip
from search.types import FileEntry


class Suspect(NamedTuple):
    """A file of the same size and date as before whose content may have changed nevertheless.

    old_path: where it was, if it seems to have moved to the path of its entry.
    """

    file: CatalogFile
    entry: FileEntry
    old_path: str | None = None


@dataclass
class Plan:
    """What a sync has to do. Paths are relative to the root.

    unchanged: count of files. refresh: files of them, by id, whose ctime the catalog must store.
    suspects: files to probe. moves: file ids and their new entries. read: new and changed files.
    vanished: files of the catalog that are not listed, by path. before: other files of the catalog
    that are not plainly unchanged, by path. hidden: count of files in folders
    that cannot be read; they stay. skipped: these folders, files that still have no usable picture,
    and pages of a site that were not read.
    """

    unchanged: int = 0
    refresh: list[tuple[int, FileEntry]] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    moves: list[tuple[int, FileEntry]] = field(default_factory=list)
    read: list[FileEntry] = field(default_factory=list)
    vanished: dict[str, CatalogFile] = field(default_factory=dict)
    before: dict[str, CatalogFile] = field(default_factory=dict)
    hidden: int = 0
    skipped: list[Skip] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Return whether the catalog agrees with the folder. `diff` made the plan just now."""
        work = self.refresh, self.suspects, self.moves, self.read, self.vanished
        return not (any(work) or self.hidden)


def diff(
    known: Iterable[tuple[str, CatalogFile]],
    listing: FolderListing,
    rule: str,
    force: Sequence[str] = (),
    now: float = 0.0,
) -> Plan:
    """Return the plan of a sync, by the sizes, times and inodes of files.

    known: files of the catalog with their paths; of those that are unchanged nothing is kept. The
    listing loses their entries. rule: the present limits and codecs; files that were
    skipped under another rule are read again. force: globs of files that are read again in any
    case. now: in seconds since 1970; slow files are tried again when it is time. A new path with
    the size, date and inode of a file that vanished is that file, moved. A file of the same size
    and date with another ctime or inode is a suspect.
    """
    plan = Plan(skipped=[*listing.unreadable, *listing.notes])
    unreadable = tuple(f"{skip.path}/" if skip.path else "" for skip in listing.unreadable)
    vanished_paths: dict[tuple[int, int, int], str] = {}
    entries = listing.entries
    for path, file in known:
        listed = entries.get(path)
        if listed is None:
            if unreadable and path.startswith(unreadable):
                plan.hidden += file.picture is not None
                continue
            plan.vanished[path] = file
            if file.picture is not None:
                vanished_paths[file.inode, file.size, file.mtime_ns] = path
        elif (
            file[1:4] == listed[1:4]  # size, mtime_ns, inode
            and file.ctime_ns == listed.ctime_ns
            and file.picture is not None
            and file.reason is None
            and not (force and excluded(path, force))
        ):
            plan.unchanged += 1
            del entries[path]
        else:
            plan.before[path] = file
    for path, entry in entries.items():
        before = plan.before.get(path)
        if force and excluded(path, force):
            plan.read.append(entry)
        elif before is None:
            old = vanished_paths.pop((entry.inode, entry.size, entry.mtime_ns), None)
            if old is None:
                plan.read.append(entry)
                continue
            file = plan.vanished.pop(old)
            if file.probe is None or file.ctime_ns == entry.ctime_ns:
                plan.moves.append((file.id, entry))
            else:
                plan.suspects.append(Suspect(file, entry, old))
        elif (before.size, before.mtime_ns) != (entry.size, entry.mtime_ns):
            plan.read.append(entry)
        elif before.picture is None and before.reason is None:
            plan.read.append(entry)  # its picture was lost
        elif before.inode != entry.inode or before.ctime_ns not in (None, entry.ctime_ns):
            if before.probe is None:
                plan.read.append(entry)
            else:
                plan.suspects.append(Suspect(before, entry))
        elif before.reason is not None and before.rule != rule:
            plan.read.append(entry)  # it may be readable under the present rule
        elif before.reason is not None and before.retry_at is not None and before.retry_at <= now:
            plan.read.append(entry)
        elif before.reason is not None:
            plan.skipped.append(_list_again(path, before))
        else:
            plan.unchanged += 1
            if before.ctime_ns is None and entry.ctime_ns:
                plan.refresh.append((before.id, entry))
    return plan


def _list_again(path: str, file: CatalogFile) -> Skip:
    """Return a file that was skipped before, with when it is tried again."""
    reason = file.reason or ""
    if file.retry_at is not None:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(file.retry_at))
        reason += f"; tried again after {when}, or by `index --force`"
    return Skip(path, reason, file.skip_code or "not_a_picture")
