"""Reads XMP files beside pictures (`photo.jpg.xmp`, `photo.xmp`), and descriptions in pictures that
an earlier version indexed. Nothing is embedded for it.

A batch is one transaction, so a sync that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.sidecars import Sidecars
from search.catalog.writes import Root
from search.files import shown
from search.indexing.extract import AHEAD, BATCH, Executor
from search.indexing.scan import SIDECAR
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.object_urls import is_object_url, join_place
from search.records.annotations import Description
from search.records.indexing import Progress, Skip
from search.types import FileEntry


class SidecarReader:
    """Reads what sidecars and pictures say. Its caller holds the write lock.

    skips: files that could not be read, by whole paths.
    """

    def __init__(self, catalog: Catalog, reader: CatalogReader, decoders: Executor) -> None:
        self._catalog, self._reader, self._decoders = catalog, reader, decoders
        self._sidecars = Sidecars(catalog)
        self.skips = list[Skip]()

    def read(
        self,
        root: Root,
        within: str,
        listed: Mapping[str, FileEntry],
        unreadable: Collection[Skip] = (),
    ) -> Iterator[Progress]:
        """Read the new and changed sidecars of a root, or of its subfolder `within`.

        listed: sidecars by relative path. Those that are gone count no longer. unreadable: folders
        whose sidecars are not known.
        """
        states = self._sidecars.states(root)
        described = {path: one for path, one in listed.items() if path.lower().endswith(SIDECAR)}
        if not described and not states:
            return
        unknown = tuple(f"{skip.path}/" if skip.path else "" for skip in unreadable)
        by_key = {path[: -len(SIDECAR)]: entry for path, entry in sorted(described.items())}
        changed = list[tuple[int, FileEntry]]()
        gone = set[int]()
        for block in self._catalog.iterate_files_of(root, within):
            for path, file in block:
                entry = by_key.get(path) or by_key.get(_stem(path))
                if entry is None:
                    if not path.startswith(unknown):
                        gone |= {file.id} & states.keys()
                elif file.picture is not None and states.get(file.id) != _state(entry):
                    changed.append((file.id, entry))
        self._sidecars.write({}, gone)
        is_remote = is_object_url(root.path)
        sources = (
            (
                (file_id, entry),
                DecodeRequest(
                    join_place(root.path, entry.path),
                    sidecar=True,
                    version=entry.mtime_ns if is_remote else None,
                ),
            )
            for file_id, entry in changed
        )
        batch = dict[int, tuple[str, Description]]()
        for done, ((file_id, entry), result) in enumerate(
            self._decoders.load(sources, None, prefetch=AHEAD), 1
        ):
            if isinstance(result, DecodeFailure):
                place = join_place(root.path, entry.path)
                self.skips.append(
                    Skip(place, f"the sidecar is not read: {result.reason}", result.code)
                )
            if not (isinstance(result, DecodeFailure) and result.again):
                batch[file_id] = _state(entry), _describe(result)
            if len(batch) == BATCH or done == len(changed):
                self._sidecars.write(batch)
                batch.clear()
                yield Progress("index", done, len(changed), entry.path)

    def read_embedded(self) -> Iterator[Progress]:
        """Read the descriptions in pictures that were indexed before these were read."""
        pending = self._reader.list_undescribed()
        ids = self._reader.picture_ids([row_id for row_id, _ in pending])
        sources = ((one, DecodeRequest(one[1][0], describe=True)) for one in pending)
        batch = dict[int, Description]()
        for done, ((row_id, paths), result) in enumerate(
            self._decoders.load(sources, None, prefetch=AHEAD), 1
        ):
            if isinstance(result, DecodedPicture):
                is_final = result.id == ids[row_id]  # else its folder is to be synced first
            else:
                is_final = not result.again
            if is_final:
                batch[row_id] = _describe(result)
            if batch and (len(batch) == BATCH or done == len(pending)):
                self._sidecars.set_embedded(batch)
                batch.clear()
                yield Progress("index", done, len(pending), paths[0])


def _describe(result: DecodedPicture | DecodeFailure) -> Description:
    described = result.description if isinstance(result, DecodedPicture) else None
    return described or Description()


def _state(entry: FileEntry) -> str:
    """Return what changes with a sidecar: its name, size, and time or ETag (`object_state`)."""
    return f"{entry.size} {entry.mtime_ns} {shown(entry.path)}"


def _stem(path: str) -> str:
    """Return a path without the ending of its name."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"
