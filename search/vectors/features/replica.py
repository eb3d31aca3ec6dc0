"""The index of a library's local features: a snapshot on disk that follows the change log."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.catalog.reads import CatalogReader
from search.catalog.writes import FEATURE_SPACE, chunks
from search.errors import StorageError
from search.media.local_features import Codes, count_words
from search.types import RowIds
from search.vectors.faiss import snapshot
from search.vectors.faiss.snapshot import Array, Part, Snapshot, SnapshotError
from search.vectors.features.entries import CODE_BYTES, Matches, list_entries

if TYPE_CHECKING:
    from search.runtime import Runtime
    from search.vectors.features.index import FeatureIndex

log = logging.getLogger(__name__)
MOST_CHANGES, CHANGED_SHARE = 1000, 0.1
"""Pictures that may change, at least and as a share, before the snapshot is written again."""
BLOCK = 512
"""Pictures whose features are read at once."""
QUERY_BLOCK = 256
"""Codes that one piece of work on the inference thread looks up."""


class FeatureReplica:
    """Opens the index when it is first needed, and keeps it up to date. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        folder: Path,
        runtime: Callable[[], Runtime],
    ) -> None:
        """folder: of the snapshot. runtime: has the inference thread."""
        self._reader, self._folder, self._runtime = reader, folder, runtime
        self._index: FeatureIndex | None = None
        self._lock = threading.RLock()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def search(self, codes: Codes) -> Matches:
        """Return the nearest stored points of each code, (n, 16). Waits for the inference thread;
        builds the index if there is no snapshot."""
        index = self.refresh()
        run, parts = self._runtime().run, list[Matches]()
        for start in range(0, max(len(codes), 1), QUERY_BLOCK):
            block = codes[start : start + QUERY_BLOCK]
            matches = run(partial(index.search, block), urgent=True)
            parts.append(matches._replace(queries=matches.queries + start))
        return Matches(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def refresh(self) -> FeatureIndex:
        """Apply new entries of the change log; return the index."""
        with self._lock:
            index = self._index or self._load()
            if index is None or self._is_behind(index):
                index = self._build()
            self._index = index
            while True:
                cursor, changed = self._reader.changed_since(FEATURE_SPACE, index.cursor)
                if not changed:
                    return index
                present = dict[int, bytes]()
                for part in chunks(changed, BLOCK):
                    present |= self._reader.load_features(part)
                self._runtime().run(partial(index.apply, changed, present), urgent=True)
                index.cursor = cursor

    def save(self) -> None:
        """Build the snapshot again if it is missing or lacks much. Raises StorageError."""
        with self._lock:
            if self._reader.count_features() and not self._is_saved():
                self._index = self._build()

    def is_intact(self) -> bool:
        """Read the whole snapshot; return whether it is as it was written, or not there yet."""
        if not self._path.exists():
            return True
        try:
            snapshot.verify(self._path)
        except SnapshotError:
            return False
        return True

    def rebuild(self) -> None:
        """Build the index again from the catalog. Raises StorageError."""
        self.delete()
        with self._lock:
            self._index = self._build()

    def delete(self) -> None:
        """Delete the snapshot; the next search builds it again."""
        with self._lock:
            self._index = None
            with suppress(OSError):
                self._path.unlink()

    def close(self) -> None:
        """Forget the index; it is not used afterwards."""
        with self._lock:
            self._index = None
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None

    @property
    def _path(self) -> Path:
        name = snapshot.file_name(self._reader.library(), FEATURE_SPACE.fingerprint)
        return self._folder / name

    def _is_saved(self) -> bool:
        """Return whether the snapshot on disk is nearly as new as the catalog."""
        head = snapshot.read_head(self._path)
        try:
            cursor, stamp, count = (int(head[key]) for key in ("sequence", "stamp", "count"))
        except (KeyError, ValueError, TypeError):
            return False
        if self._reader.stamp(FEATURE_SPACE, cursor) != stamp:
            return False
        _, changed = self._reader.changed_since(FEATURE_SPACE, cursor)
        return len(changed) <= max(MOST_CHANGES, CHANGED_SHARE * count)

    def _is_behind(self, index: FeatureIndex) -> bool:
        """Return whether building the index again is better than applying what changed."""
        _, changed = self._reader.changed_since(FEATURE_SPACE, index.cursor)
        count = index.changed_count + len(changed)
        return count > max(MOST_CHANGES, CHANGED_SHARE * len(index.base_ids))

    def _load(self) -> FeatureIndex | None:
        """Return the index of the snapshot, or None if it cannot be used."""
        try:
            content = snapshot.read(self._path)
            index = _restore(content)
        except (SnapshotError, KeyError, ValueError, TypeError):
            return None
        stamp = self._reader.stamp(FEATURE_SPACE, index.cursor)
        return index if content.head.get("stamp") == stamp else None

    def _build(self) -> FeatureIndex:
        """Write a snapshot of all features of the catalog, and open it. It goes to a temporary
        folder if that of the library cannot be written."""
        cursor = self._reader.sequence(FEATURE_SPACE)
        try:
            return self._write(self._path, cursor)
        except StorageError:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="lookalike-features-")
            return self._write(Path(self._temporary.name) / self._path.name, cursor)

    def _write(self, path: Path, cursor: int) -> FeatureIndex:
        """Write a snapshot in two passes: the lengths of the lists, then their entries, in a file
        that is mapped. So memory holds one block of pictures. Raises StorageError."""
        sizes, row_ids = np.zeros(count_words(), np.int64), list[int]()
        for block in self._reader.iterate_features(BLOCK):
            sizes += np.bincount(list_entries(dict(block))[0], minlength=len(sizes))
            row_ids += [row_id for row_id, _ in block]
        total, starts = int(sizes.sum()), np.concatenate([[0], np.cumsum(sizes)[:-1]])
        stamp = self._reader.stamp(FEATURE_SPACE, cursor)
        head = {"kind": "features", "sequence": cursor, "stamp": stamp, "count": len(row_ids)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="building-", dir=path.parent) as folder:
                codes = _map_new(Path(folder, "codes"), np.uint8, (total, CODE_BYTES))
                ids = _map_new(Path(folder, "ids"), np.int64, (total,))
                counts = np.zeros_like(sizes)
                for block in self._reader.iterate_features(BLOCK):
                    words, own_ids, own_codes = list_entries(dict(block))
                    first = np.searchsorted(words, words)
                    place = counts[words] + np.arange(len(words)) - first
                    fits = place < sizes[words]  # others may have written meanwhile
                    rows = (starts[words] + place)[fits]
                    codes[rows], ids[rows] = own_codes[fits], own_ids[fits]
                    counts += np.bincount(words[fits], minlength=len(counts))
                parts = _make_parts(codes, ids, starts, counts, np.array(row_ids, np.int64))
                snapshot.write(path, head, parts)
                del codes, ids
        except OSError as error:
            raise StorageError(
                f"cannot build the index of local features in {path.parent}: {error.strerror}; "
                "free some space"
            ) from error
        log.info("built the index of the local features of %d pictures", len(row_ids))
        snapshot.delete_others(path.parent, {path})
        return _restore(snapshot.read(path))


def _map_new(path: Path, dtype: type, shape: tuple[int, ...]) -> Array:
    """Return a new array in a file; in memory if it is empty."""
    if not shape[0]:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "w+", shape=shape)


def _make_parts(
    codes: Array, ids: Array, starts: RowIds, counts: RowIds, row_ids: RowIds
) -> dict[str, Part]:
    """Return the arrays of a snapshot: for each word its codes, then their ids."""

    def pieces() -> Iterator[Array]:
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
            if count:
                yield np.array(codes[start : start + count])
                yield np.array(ids[start : start + count])

    size = int(counts.sum()) * (CODE_BYTES + ids.itemsize)
    return {
        "lists": Part("|u1", (size,), pieces()),
        "sizes": Part("<i8", counts.shape, (counts,)),
        "row_ids": Part("<i8", row_ids.shape, (row_ids,)),
    }


def _restore(content: Snapshot) -> FeatureIndex:
    """Return the index of a snapshot. Raises KeyError, ValueError or TypeError for another one."""
    # they load FAISS, which a sync that changes nothing can do without
    from search.vectors.faiss.ivf import map_lists
    from search.vectors.features.index import FeatureIndex

    sizes, row_ids = np.array(content.parts["sizes"]), np.array(content.parts["row_ids"])
    if len(sizes) != count_words() or content.head["kind"] != "features":
        raise ValueError("the snapshot has other words")
    if len(content.parts["lists"]) != int(sizes.sum()) * (CODE_BYTES + 8):
        raise ValueError("the arrays do not belong together")
    lists = map_lists(content, sizes, CODE_BYTES) if int(sizes.sum()) else None
    return FeatureIndex(lists, row_ids, int(content.head["sequence"]))
