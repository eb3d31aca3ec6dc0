"""The catalog of a library: spaces, roots and files; what is added, moved and deleted.

A picture is content. Its places say which files hold it. A picture without a place is an orphan.
It leaves every vector store at once, and the catalog after 30 days.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from search.catalog import counts, full_text
from search.catalog.annotations import apply_descriptions, delete_annotations, remember
from search.catalog.prepared import Prepared
from search.catalog.schema import (
    CALIBRATIONS,
    SCHEDULES,
    UPLOADS,
    changes,
    colors,
    files,
    labels,
    local_features,
    meta,
    pictures,
    places,
    remembered,
    roots,
    sidecars,
    spaces,
    texts,
    vectors,
)
from search.catalog.writes import (
    CHUNK,
    IS_PRESENT_RULE,
    CatalogFile,
    CatalogWriter,
    Root,
    Space,
    chunks,
    count_placed,
)
from search.media.object_urls import is_object_url

if TYPE_CHECKING:
    from search.types import FileEntry

ORPHAN_SECONDS = 30 * 86400.0
FILE_NAMES = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
FILES_BLOCK = 8192
"""Files that one transaction of a sync reads."""
PROVISIONAL = "meanwhile"
"""Key in `meta` of a space that serves until a folder is indexed, which chooses one."""

_PICTURE = select(func.min(places.c.picture)).where(places.c.file == files.c.id)
_FILES = (  # the columns after `path` are those of `CatalogFile`
    select(files.c.path, files.c.id, files.c.size, files.c.mtime_ns, files.c.inode)
    .add_columns(_PICTURE.scalar_subquery(), files.c.reason, files.c.rule)
    .add_columns(files.c.ctime_ns, files.c.probe, files.c.retry_at, files.c.skip_code)
    .where(files.c.root == bindparam("root"))
)
FILES = Prepared(
    _FILES.where(files.c.path > bindparam("last"), files.c.path < bindparam("end"))
    .order_by(files.c.path)
    .limit(bindparam("count"))
)
SKIPPED_FILES = Prepared(_FILES.where(files.c.reason.is_not(None)))
OWN = select(spaces).join(meta, meta.c.value == spaces.c.fingerprint).where(meta.c.key == "model")


class Catalog(CatalogWriter):
    """Changes and reads the catalog. Threads may share it; writers hold the write lock."""

    # spaces ------------------------------------------------------------------------------------

    def space(self, name: str, fingerprint: str, dim: int) -> Space:
        """Return the space of a fingerprint, and add or rename it. dim: length of its vectors."""
        values = {"name": name, "fingerprint": fingerprint, "dim": dim}
        same = spaces.c.fingerprint == fingerprint
        with self.database.write() as c:
            if not c.execute(update(spaces).where(same).values(values)).rowcount:
                c.execute(insert(spaces).values(values))
            return Space(*c.execute(select(spaces).where(same)).one())

    def find_own_space(self) -> Space | None:
        """Return the space of the library's own model, or None for a new library."""
        with self.database.read() as c:
            row = c.execute(OWN).first()
        return Space(*row) if row else None

    def find_chosen_space(self) -> Space | None:
        """As `find_own_space`, but None for a provisional space."""
        with self.database.read() as c:
            if c.execute(select(meta).where(meta.c.key == PROVISIONAL)).first():
                return None
        return self.find_own_space()

    def serve(self, space: Space, meanwhile: bool = False) -> None:
        """Make a space that of the library's own model.

        Spaces are deleted with their vectors, unless they serve beside it. meanwhile: the space is
        provisional, until a folder is indexed.
        """
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key.in_(("model", PROVISIONAL))))
            c.execute(insert(meta).values(key="model", value=space.fingerprint))
            if meanwhile:
                c.execute(insert(meta).values(key=PROVISIONAL, value=space.fingerprint))
            others = select(spaces.c.id).where(spaces.c.id != space.id, ~spaces.c.beside)
            self._delete_spaces(c, c.scalars(others).all())

    def serve_beside(self, space: Space) -> None:
        """Let a space serve beside the library's own, until `drop_beside`."""
        with self.database.write() as c:
            c.execute(update(spaces).where(spaces.c.id == space.id).values(beside=True))

    def drop_beside(self, space: Space) -> int:
        """End what `serve_beside` began; return the count of vectors that were deleted.

        The vectors of the library's own space stay until its model changes.
        """
        with self.database.write() as c:
            c.execute(update(spaces).where(spaces.c.id == space.id).values(beside=False))
            own = c.execute(OWN).first()
            return 0 if own and own.id == space.id else self._delete_spaces(c, [space.id])

    @staticmethod
    def _delete_spaces(c: Connection, ids: Sequence[int]) -> int:
        """Delete spaces; return the count of their vectors."""
        count = c.execute(delete(vectors).where(vectors.c.space.in_(ids))).rowcount
        for table in (changes, labels):
            c.execute(delete(table).where(table.c.space.in_(ids)))
        counts.forget(c, counts.EMBEDDED, ids)
        c.execute(delete(spaces).where(spaces.c.id.in_(ids)))
        return count

    # roots -------------------------------------------------------------------------------------

    def roots(self) -> list[Root]:
        """Return all indexed folders, sorted by path."""
        with self.database.read() as c:
            rows = c.execute(select(roots).order_by(roots.c.path)).all()
        return [_root(row) for row in rows]

    def add_root(
        self,
        path: str,
        device: int,
        exclude: Sequence[str],
        follow_links: bool = False,
        left_out: Mapping[str, int] | None = None,
        file_system: str | None = None,
    ) -> Root:
        """Add a folder, or update it, as online.

        device, file_system: where it is. exclude: globs. follow_links: whether links in it are
        followed. left_out: how many files of each kind are left out.
        """
        where, name = roots.c.path == os.fsencode(path), {"path": os.fsencode(path)}
        values: dict[str, Any] = {
            "device": device,
            "state": "online",
            "exclude": list(exclude),
            "follow_links": follow_links,
            "left_out": dict(left_out or {}),
            "file_system": file_system,
        }
        with self.database.write() as c:
            if not c.execute(update(roots).where(where).values(values)).rowcount:
                c.execute(insert(roots).values(values | name))
            return _root(c.execute(select(roots).where(where)).one())

    def adopt(self, root: Root, inner: Root, exclude: Sequence[str]) -> Root:
        """Move the files of `inner`, a root inside `root`, to `root`; return it with `exclude`."""
        prefix = os.fsencode(os.path.relpath(inner.path, root.path)) + b"/"
        query = select(files.c.id, files.c.path).where(files.c.root == inner.id)
        query = query.order_by(files.c.path).limit(CHUNK)
        with self.database.write() as c:
            while part := c.execute(query).all():
                rows = [{"key": row.id, "path": prefix + row.path, "root": root.id} for row in part]
                gained = count_placed(c, [row.id for row in part]).total()
                both = select(files.c.id).where(  # files that both roots have
                    files.c.root == root.id, files.c.path.in_([row["path"] for row in rows])
                )
                if doubled := c.scalars(both).all():
                    gained -= count_placed(c, doubled).total()
                    c.execute(delete(files).where(files.c.id.in_(doubled)))
                c.execute(update(files).where(files.c.id == bindparam("key")), rows)
                counts.change(c, counts.FILES, [root.id], gained)
            counts.forget(c, counts.FILES, [inner.id])
            c.execute(delete(roots).where(roots.c.id == inner.id))
            values = update(roots).where(roots.c.id == root.id).values(exclude=list(exclude))
            c.execute(values)
        return replace(root, exclude=tuple(exclude))

    def set_uploads_folder(self, folder: str | Path) -> None:
        """Record the folder of uploads, a path or a URL. If the library was moved, update the path
        of its root; between a disk and object storage nothing moves.

        In a database that many machines use, the first folder on a disk stays: that of another
        machine is no library that was moved.
        """
        path = os.fsencode(folder)
        value = quote_from_bytes(path)  # a path need not be UTF-8, and `meta` holds text
        with self.database.read() as c:
            before = c.scalar(select(meta.c.value).where(meta.c.key == UPLOADS))
        has_folder = before is not None and not is_object_url(os.fsdecode(path))
        is_elsewhere = self.database.is_shared and has_folder
        if before == value or self.database.read_only or is_elsewhere:
            return
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key == UPLOADS))
            c.execute(insert(meta).values(key=UPLOADS, value=value))
            root = c.execute(select(roots).where(roots.c.path == path)).first()
            old = unquote_to_bytes(before or "")
            is_moved = is_object_url(os.fsdecode(old)) == is_object_url(os.fsdecode(path))
            if before is not None and root is None and is_moved:
                c.execute(update(roots).where(roots.c.path == old).values(path=path))

    def set_keeps_lost(self, root: Root, keeps_lost: bool) -> None:
        """Set whether a root keeps files that vanished."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(keeps_lost=keeps_lost))

    def schedules(self) -> dict[str, int]:
        """Return how often roots are synced by a server, by path: in hours, 0 for never. A root
        that is not listed is synced as it changes."""
        with self.database.read() as c:
            value = c.scalar(select(meta.c.value).where(meta.c.key == SCHEDULES))
        stored: dict[str, int] = json.loads(value or "{}")
        return {os.fsdecode(unquote_to_bytes(path)): hours for path, hours in stored.items()}

    def set_schedule(self, path: str, hours: int | None) -> None:
        """Set how often a root is synced by a server; None as it changes."""
        known = {root.path for root in self.roots()}
        schedules = {one: each for one, each in self.schedules().items() if one in known}
        schedules.pop(path, None)
        if hours is not None:
            schedules[path] = hours
        stored = {quote_from_bytes(os.fsencode(one)): each for one, each in schedules.items()}
        with self.database.write() as c:
            c.execute(delete(meta).where(meta.c.key == SCHEDULES))
            c.execute(insert(meta).values(key=SCHEDULES, value=json.dumps(stored)))

    def set_calibration(self, space: Space, calibration: dict[str, Any]) -> None:
        """Store what was fitted on this library for the scores of a space."""
        with self.database.write() as c:
            value = c.scalar(select(meta.c.value).where(meta.c.key == CALIBRATIONS))
            stored = json.loads(value or "{}") | {space.fingerprint: calibration}
            c.execute(delete(meta).where(meta.c.key == CALIBRATIONS))
            c.execute(insert(meta).values(key=CALIBRATIONS, value=json.dumps(stored)))

    def skipped_files(self, root: Root, most: int) -> list[tuple[str, str, str]]:
        """Return path, reason and code of a root's skipped files, by path."""
        query = select(files.c.path, files.c.reason, files.c.skip_code)
        query = query.where(files.c.root == root.id, files.c.reason.is_not(None))
        query = query.order_by(files.c.path).limit(most)
        with self.database.read() as c:
            rows = c.execute(query).all()
        return [(os.fsdecode(row.path), row.reason, row.skip_code) for row in rows]

    def set_offline(self, root: Root) -> None:
        """Mark a root as offline."""
        with self.database.write() as c:
            c.execute(update(roots).where(roots.c.id == root.id).values(state="offline"))

    # reads of a sync ----------------------------------------------------------------------------

    def files(self, root: Root, within: str = "") -> dict[str, CatalogFile]:
        """Return the files of a root, or of its subfolder `within`, by relative path."""
        return {path: file for part in self.iterate_files_of(root, within) for path, file in part}

    def iterate_files_of(
        self, root: Root, within: str = ""
    ) -> Iterator[list[tuple[str, CatalogFile]]]:
        """Yield the files of a root, or of its subfolder `within`, in the order of their paths.

        They come in blocks of (relative path, file). Each block is a transaction of its own.
        """
        last, end = _folder_range(within)
        while True:
            with self.database.read_prepared() as fetch:
                rows = fetch(FILES, root=root.id, last=last, end=end, count=FILES_BLOCK)
            if rows:
                last = rows[-1][0]
                yield _list_files(rows)
            if len(rows) < FILES_BLOCK:
                return

    def skipped(self, root: Root) -> dict[str, CatalogFile]:
        """Return the skipped files of a root by relative path."""
        with self.database.read_prepared() as fetch:
            return dict(_list_files(fetch(SKIPPED_FILES, root=root.id)))

    def file_ids(self, root: Root, within: str = "", most: int = CHUNK) -> list[int]:
        """Return the ids of at most `most` files of a root, or of its file or subfolder `within`,
        in the order of their paths."""
        (first, end), path = _folder_range(within), files.c.path
        query = select(files.c.id).where(files.c.root == root.id).order_by(path).limit(most)
        with self.database.read() as c:  # two questions: one with OR would read all files
            alone = list(c.scalars(query.where(path == os.fsencode(within)))) if within else []
            return alone or list(c.scalars(query.where(path > first, path < end)))

    def files_of(self, root: Root, row_id: int) -> dict[int, str]:
        """Return the files of a root that hold a picture: relative path by file id."""
        query = select(files.c.id, files.c.path).join(places, places.c.file == files.c.id)
        query = query.where(files.c.root == root.id, places.c.picture == row_id)
        with self.database.read() as c:
            return {int(row.id): os.fsdecode(row.path) for row in c.execute(query)}

    def ids_by_size(self, space: Space, file_sizes: Collection[int]) -> dict[int, set[str]]:
        """Return the ids of pictures of some sizes in bytes that have a vector under the space."""
        query = select(pictures.c.bytes, pictures.c.id).where(_has_vector(space))
        sizes: dict[int, set[str]] = {}
        for size, picture_id in self._select_many(query, pictures.c.bytes, file_sizes):
            sizes.setdefault(size, set()).add(picture_id)
        return sizes

    def embedded_pixel_hashes(self, space: Space, pixel_hashes: Collection[str]) -> set[str]:
        """Return those hashes of normalized images that have a vector under the space.

        Pictures of an earlier decode rule do not count, since their pixels may differ now.
        """
        query = select(pictures.c.pixel_hash).where(_has_vector(space), IS_PRESENT_RULE)
        return {row[0] for row in self._select_many(query, pictures.c.pixel_hash, pixel_hashes)}

    def row_ids(self, ids: Collection[str]) -> dict[str, int]:
        """Return the row ids of picture ids. Unknown ids are left out."""
        query = select(pictures.c.id, pictures.c.row_id)
        return {row[0]: row[1] for row in self._select_many(query, pictures.c.id, ids)}

    def _select_many(self, query: Select[Any], column: Any, values: Collection[Any]) -> list[Any]:
        with self.database.read() as c:
            return [r for part in chunks(values) for r in c.execute(query.where(column.in_(part)))]

    # moves and removals ------------------------------------------------------------------------

    def move(self, moves: Sequence[tuple[int, FileEntry]]) -> None:
        """Change the paths of files, by file id. The new paths must be free."""
        if not moves:
            return
        rows = [
            {"key": key, "path": os.fsencode(entry.path), "ctime_ns": entry.ctime_ns}
            for key, entry in moves
        ]
        with self.database.write() as c:
            c.execute(update(files).where(files.c.id == bindparam("key")), rows)

    def refresh(self, entries: Sequence[tuple[int, FileEntry]]) -> None:
        """Update what the system keeps of files whose content is as before, by file id."""
        if not entries:
            return
        rows = [
            {"key": key, "inode": entry.inode, "ctime_ns": entry.ctime_ns} for key, entry in entries
        ]
        with self.database.write() as c:
            c.execute(update(files).where(files.c.id == bindparam("key")), rows)

    def mark_changed(self, file_ids: Collection[int]) -> None:
        """Let the next sync read files again, whatever their size and times are."""
        with self.database.write() as c:
            for part in chunks(file_ids):
                c.execute(update(files).where(files.c.id.in_(part)).values(size=-1))

    def remove_files(self, keys: Collection[int]) -> list[int]:
        """Delete files; return the row ids of pictures that lost their last file."""
        orphans = []
        with self.database.write() as c:
            for part in chunks(keys):
                held = set(c.scalars(select(places.c.picture).where(places.c.file.in_(part))))
                for root, number in count_placed(c, part).items():
                    counts.change(c, counts.FILES, [root], -number)
                has_sidecar = select(sidecars.c.file).where(sidecars.c.file.in_(part)).limit(1)
                described = held if c.scalar(has_sidecar) is not None else ()
                c.execute(delete(files).where(files.c.id.in_(part)))
                apply_descriptions(c, described)
                orphans += self._orphan(c, held)
        return orphans

    def orphan_dangling(self) -> int:
        """Make orphans of pictures that have no file; return their number."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        query = query.where(pictures.c.row_id.not_in(select(places.c.picture)))
        with self.database.write() as c:
            row_ids = list(c.scalars(query))
            return sum(len(self._orphan(c, part)) for part in chunks(row_ids))

    def drop_root(self, root: Root) -> None:
        """Delete a root that has no files."""
        with self.database.write() as c:
            counts.forget(c, counts.FILES, [root.id])
            c.execute(delete(roots).where(roots.c.id == root.id))
        if root.path in self.schedules():
            self.set_schedule(root.path, None)

    def repair_counts(self) -> int:
        """Count everything again; return how many of the kept counts were wrong."""
        with self.database.write() as c:
            return counts.repair(c)

    def forget_annotations(self, picture_ids: Collection[str]) -> None:
        """Delete what people said of pictures that left the catalog."""
        with self.database.write() as c:
            for part in chunks(picture_ids):
                c.execute(delete(remembered).where(remembered.c.id.in_(part)))

    def repair_texts(self) -> int:
        """Read the words of all pictures again; return how many had a wrong full text."""
        with self.database.write() as c:
            return full_text.repair(c)

    def purge(self, row_ids: Collection[int] | None = None) -> list[str]:
        """Delete these orphans, or all that are older than 30 days; return their picture ids.

        What people said of them is remembered until `forget_annotations`.
        """
        old = pictures.c.orphaned <= self._clock() - (ORPHAN_SECONDS if row_ids is None else 0)
        query = select(pictures.c.row_id, pictures.c.id).where(old)
        if row_ids is not None:
            return [
                one
                for part in chunks(row_ids)
                for one in self._purge(query.where(pictures.c.row_id.in_(part)))
            ]
        picture_ids = list[str]()
        while part := self._purge(query.order_by(pictures.c.orphaned).limit(CHUNK)):
            picture_ids += part
        return picture_ids

    def _purge(self, query: Select[Any]) -> list[str]:
        """Delete the orphans of a query in one transaction; return their picture ids."""
        with self.database.write() as c:
            rows = c.execute(query).all()
            if rows:
                row_ids = [row.row_id for row in rows]
                remember(c, row_ids)
                delete_annotations(c, row_ids)
                for table in (vectors, labels, colors, texts, local_features):
                    c.execute(delete(table).where(table.c.picture.in_(row_ids)))
                c.execute(delete(pictures).where(pictures.c.row_id.in_(row_ids)))
        return [row.id for row in rows]


def _has_vector(space: Space) -> ColumnElement[bool]:
    """Return the condition that a picture has a vector. A join would begin with all vectors."""
    v = vectors.c
    return select(v.picture).where(v.picture == pictures.c.row_id, v.space == space.id).exists()


def _list_files(rows: Sequence[Sequence[Any]]) -> list[tuple[str, CatalogFile]]:
    """Return rows of `_FILES` as relative paths and files."""
    # as `os.fsdecode`, which takes longer than the rest of a row
    return [(str(row[0], *FILE_NAMES), CatalogFile._make(row[1:])) for row in rows]


def _folder_range(within: str) -> tuple[bytes, bytes]:
    """Return paths between which are those of all files below a subfolder, "" for the root."""
    if not within:
        return b"", b"\xff" * 256  # names have at most 255 bytes
    folder = os.fsencode(os.path.join(within, ""))
    return folder, folder[:-1] + b"0"  # "0" comes after "/"


def _root(row: Any) -> Root:
    path, exclude = os.fsdecode(row.path), tuple(row.exclude)
    listing = bool(row.follow_links), dict(row.left_out)
    state = row.file_system, bool(row.keeps_lost)
    known = (int(row.id), path, row.device, row.state, exclude)
    return Root(*known, *listing, *state, collection=row.collection)
