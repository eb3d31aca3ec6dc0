"""What a listing means beside what the catalog knows, before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.catalog.writes import CatalogFile
from search.indexing.scan import FolderListing
from search.records import Skip
from search.types import FileEntry


@dataclass
class Plan:
    """read: new and changed files; vanished: known files that are not listed, by path; moves: known
    files (by id) and their new entries; hidden: files below folders that cannot be read, kept;
    skipped: files as broken as last time, and those folders. Paths are relative to the root."""

    unchanged: int = 0
    moves: list[tuple[int, FileEntry]] = field(default_factory=list)
    read: list[FileEntry] = field(default_factory=list)
    vanished: dict[str, CatalogFile] = field(default_factory=dict)
    hidden: int = 0
    skipped: list[Skip] = field(default_factory=list)


def diff(known: dict[str, CatalogFile], listing: FolderListing, rule: str) -> Plan:
    """Compare what the catalog knows with what the folder lists: by size, time and inode.

    A new name with the size, time and inode of a file that went is that file, moved.
    """
    plan = Plan(skipped=list(listing.unreadable))
    blind = tuple(f"{skip.path}/" if skip.path else "" for skip in listing.unreadable)
    gone: dict[tuple[int, int, int], str] = {}
    for path, file in known.items():
        if path in listing.entries:
            continue
        if blind and path.startswith(blind):
            plan.hidden += file.picture is not None
            continue
        plan.vanished[path] = file
        if file.picture is not None:
            gone[file.inode, file.size, file.mtime_ns] = path
    for path, entry in listing.entries.items():
        before = known.get(path)
        if before is None:
            old = gone.pop((entry.inode, entry.size, entry.mtime_ns), None)
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
            plan.read.append(entry)  # other limits or codecs: it may be readable now
        elif before.reason is not None:
            plan.skipped.append(Skip(path, before.reason))
        else:
            plan.unchanged += 1
    return plan
