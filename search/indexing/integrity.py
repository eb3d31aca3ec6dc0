"""`check`: compare catalog, vector store, thumbnails and files; repair what is derived."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from search.catalog.catalog import Catalog
from search.catalog.films import Films
from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.errors import InputError, LookalikeError, RemoteError, StoreError
from search.indexing.kinds import is_film_name
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.local_features import unpack
from search.media.object_urls import is_object_url, is_site_url
from search.media.objects import ObjectStores
from search.media.rules import FrameAt
from search.media.thumbnails import Thumbnails
from search.records.indexing import IndexReport
from search.records.maintenance import CheckReport
from search.runtime import Runtime
from search.vectors.base import StoreManager, StoreReplica
from search.vectors.features.replica import BLOCK, FeatureReplica

log = logging.getLogger(__name__)


class IntegrityChecker:
    """Checks one library. Its caller holds the write lock."""

    def __init__(
        self,
        catalog: Catalog,
        reader: CatalogReader,
        decoders: DecoderPool,
        thumbnails: Thumbnails,
        embed_missing: Callable[[], IndexReport],
        stores: ObjectStores | None = None,
        features: FeatureReplica | None = None,
    ) -> None:
        """embed_missing: embeds pictures without a vector. Raises LookalikeError if it cannot.
        stores: object storage. features: the index of local features."""
        self._catalog, self._reader = catalog, reader
        self._decoders, self._thumbnails, self._stores = decoders, thumbnails, stores
        self._embed_missing, self._features = embed_missing, features
        self._films = Films(catalog.database)

    def check(
        self, indexes: StoreManager, runtime: Runtime, deep: bool, repair: bool = True
    ) -> CheckReport:
        """Check everything. deep: also read every file and compare its content.

        indexes: vector stores of the library. repair: whether to write. Returns problems, which the
        user must solve, and repairs.
        """
        if not repair:
            return self._check_only(indexes, runtime, deep)
        spaces = self._reader.spaces()
        repaired = [line for space in spaces for line in self.check_vectors(space)]
        if repaired:
            repaired += self.embed_again()
        if dangling := self._catalog.orphan_dangling():
            repaired.append(f"{dangling} pictures without a file were taken out")
        if wrong := self._catalog.repair_counts():
            repaired.append(f"{wrong} kept counts were wrong; counted again")
        if wrong := self._catalog.repair_texts():
            repaired.append(f"the full text of {wrong} pictures was wrong; made again")
        problems = list(self.check_catalog(spaces))
        for space in spaces:
            if away := _list_store_problems(indexes, space):
                problems += away  # each further call would say the same
                continue
            try:
                repaired += self.check_store(space, indexes.replica(space), runtime)
                if not (away := _list_store_problems(indexes, space)):
                    indexes.train(space)
                    indexes.save(space)
                    away = _list_store_problems(indexes, space)
            except StoreError as error:
                away = [str(error)]
            problems += away
        repaired += self.check_features()
        problems += self.check_files(deep, repaired)
        counts = self._reader.count(None)
        return CheckReport(counts["pictures"], counts["files"], tuple(problems), tuple(repaired))

    def _check_only(self, indexes: StoreManager, runtime: Runtime, deep: bool) -> CheckReport:
        """Check without writing."""
        spaces, advice = self._reader.spaces(), "make the library's folder writable, check again"
        problems = list(self.check_catalog(spaces))
        if dangling := self._reader.count_dangling():
            problems.append(f"{dangling} pictures have no file; {advice}")
        if wrong := self._reader.list_wrong_counts():
            problems.append(f"{wrong} kept counts are wrong; {advice}")
        if differing := self._reader.list_wrong_texts():
            problems.append(f"the full text of {len(differing)} pictures is wrong; {advice}")
        for space in spaces:
            if damaged := self._reader.list_damaged_vectors(space):
                problems.append(f"{len(damaged)} vectors of {space.name} are damaged; {advice}")
            try:
                replica = indexes.replica(space)
                lines = list(self.check_store(space, replica, runtime, damaged))
            except StoreError as error:
                problems.append(str(error))
            else:
                problems += [f"{line} in memory; {advice}" for line in lines]
                problems += _list_store_problems(indexes, space)
        if damaged := self._list_features()[1]:
            problems.append(f"the local features of {len(damaged)} pictures are damaged; {advice}")
        problems += self.check_files(deep, None)
        counts = self._reader.count(None)
        return CheckReport(counts["pictures"], counts["files"], tuple(problems), ())

    def check_catalog(self, spaces: Sequence[Space]) -> Iterator[str]:
        """Yield what is wrong with the catalog itself."""
        yield from self._catalog.database.integrity()
        for space in spaces:
            counts = self._reader.count(space)
            if missing := max(0, counts["pictures"] - counts["embedded"]):
                name = space.name
                yield f"{missing} pictures have no vector of {name}; index their folders again"

    def check_vectors(self, space: Space) -> Iterator[str]:
        """Delete damaged vectors, so that they are embedded again; yield the repairs."""
        if damaged := self._reader.list_damaged_vectors(space):
            self._catalog.delete_vectors(space, damaged)
            yield f"{len(damaged)} damaged vectors of {space.name} were deleted"

    def embed_again(self) -> Iterator[str]:
        """Embed the pictures whose vectors were deleted; yield the repairs.

        Those of files that are away stay without; the next sync of their folders embeds them.
        """
        try:
            report = self._embed_missing()
        except LookalikeError as error:
            log.warning("damaged vectors were not embedded again: %s", error)
            return
        if report.embedded:
            yield f"{report.embedded} pictures were embedded again"

    def check_store(
        self,
        space: Space,
        replica: StoreReplica,
        runtime: Runtime,
        damaged: Sequence[int] = (),
    ) -> Iterator[str]:
        """Compare a vector store with the catalog and rebuild a wrong one; yield the repairs.

        damaged: row ids whose vector a store leaves out.
        """
        expected = np.setdiff1d(self._reader.searchable_ids(space), damaged)
        store = replica.refresh()
        if not replica.is_intact():
            replica.rebuild()
        if replica.rebuilt and len(expected):
            yield f"the index of {space.name} was missing or damaged; rebuilt from the catalog"
        elif not np.array_equal(store.ids() if store.remote else runtime.run(store.ids), expected):
            replica.rebuild()
            yield f"the index of {space.name} did not agree with the catalog; rebuilt"

    def check_features(self) -> Iterator[str]:
        """Delete damaged local features, which the next sync computes again, and rebuild their
        index if it is damaged or does not agree with the catalog; yield the repairs."""
        sound, damaged = self._list_features()
        if damaged:
            self._catalog.delete_features(damaged)
            yield (
                f"the damaged local features of {len(damaged)} pictures were deleted; the next "
                "sync of their folders computes them again"
            )
        if self._features is None or not sound:
            return
        if not self._features.is_intact():
            self._features.rebuild()
            yield "the index of local features was damaged; rebuilt from the catalog"
            return
        if not np.array_equal(self._features.refresh().ids(), sound):
            self._features.rebuild()
            yield "the index of local features did not agree with the catalog; rebuilt"

    def _list_features(self) -> tuple[list[int], list[int]]:
        """Return the row ids, ascending, of pictures whose local features can be read, and of those
        whose cannot."""
        sound, damaged = list[int](), list[int]()
        for block in self._reader.iterate_features(BLOCK):
            for row_id, data in block:
                try:
                    unpack(data)
                except ValueError:
                    damaged.append(row_id)
                else:
                    sound.append(row_id)
        return sound, damaged

    def check_files(self, deep: bool, repaired: list[str] | None) -> Iterator[str]:
        """Yield what is wrong with the user's files. Create missing thumbnails, delete stray ones.

        deep: read every file and compare its content with the catalog. repaired: gets a line about
        the thumbnails; None to write nothing.
        """
        roots = self._catalog.roots()
        remote = [root.path for root in roots if is_object_url(root.path)]
        listed, away = self._list_objects(remote)
        offline = [
            *(
                r.path
                for r in roots
                if r.path not in remote and (r.state == "offline" or not _is_there(r.path))
            ),
            *away,
        ]
        for path in offline:
            yield f"{path}: offline" + (f": {away[path]}" if path in away else "")
        created, changed, done = set[str](), list[int](), 0
        for places in self._reader.iterate_file_blocks():
            yield from self._check_block(places, listed, offline, deep, repaired, created, changed)
            done += len(places)
            log.info("checked %d files", done)
        if repaired is None:
            if created:
                yield (
                    f"{len(created)} thumbnails are missing or damaged; make the library's folder "
                    "writable, check again"
                )
            return
        self._catalog.mark_changed(changed)  # a sync by size and date may see no difference
        if strays := self._thumbnails.delete_strays(self._reader.picture_ids_from):
            repaired.append(f"{strays} thumbnails of no picture were deleted")
        if created:
            repaired.append(f"{len(created)} missing or damaged thumbnails were made again")

    def _check_block(
        self,
        places: Sequence[tuple[str, int, str]],
        listed: Collection[str],
        offline: Sequence[str],
        deep: bool,
        repaired: list[str] | None,
        created: set[str],
        changed: list[int],
    ) -> Iterator[str]:
        """As `check_files`, for some (picture id, file id, path).

        listed: URLs of the objects that are there. created: gets the ids of pictures whose
        thumbnail was made. changed: gets the ids of files with other content.
        """
        away = tuple(os.path.join(root, "") for root in offline)
        whole = self._list_whole_thumbnails({picture_id for picture_id, _, _ in places})
        file_ids = {file_id for _, file_id, _ in places}
        frames, films = self._films.list_frames(file_ids), self._films.contents(file_ids)
        sources, hashed, gone = [], set[int](), set[int]()
        for picture_id, file_id, path in places:
            if away and path.startswith(away):
                continue
            is_gone = path not in listed if is_object_url(path) else not _is_there(path)
            if is_gone:
                if file_id not in gone:  # a film has many pictures
                    yield f"{path}: gone since it was indexed; index its folder again"
                gone.add(file_id)
                continue
            thumbnail = picture_id in whole
            time = frames.get((file_id, picture_id))
            if time is not None:
                is_film = file_id in films and is_film_name(path)
                if deep and is_film and file_id not in hashed:
                    hashed.add(file_id)
                    source = DecodeRequest(path, film=True)
                    sources.append(((films[file_id], file_id, path), source))
                if not thumbnail:
                    source = DecodeRequest(path, frame=FrameAt(picture_id, time, None))
                    sources.append(((picture_id, file_id, path), source))
            elif deep or not thumbnail:
                source = DecodeRequest(path, known=(picture_id,) if thumbnail else ())
                sources.append(((picture_id, file_id, path), source))
        for (picture_id, file_id, path), result in self._decoders.load(sources, None):
            if isinstance(result, DecodeFailure):
                yield f"{path}: {result.reason}"
            elif result.id != picture_id:
                changed.append(file_id)
                yield f"{path}: changed since it was indexed; index its folder again"
            elif result.thumbnail is not None:
                if repaired is not None:
                    self._thumbnails.write(picture_id, result.thumbnail)
                created.add(picture_id)

    def _list_objects(self, roots: Sequence[str]) -> tuple[set[str], dict[str, str]]:
        """Return the URLs of the objects below some roots, and why others cannot be listed."""
        listed, away = set[str](), dict[str, str]()
        for root in roots:
            try:
                if self._stores is None:
                    raise RemoteError("object storage is not open")
                listed |= {info.url for info in self._stores.list(root)}
            except (RemoteError, InputError) as error:
                away[root] = str(error)
        return listed, away

    def _list_whole_thumbnails(self, picture_ids: set[str]) -> set[str]:
        """Return those pictures whose thumbnail can be decoded."""
        sources = (
            (one, DecodeRequest(self._thumbnails.place(one), metadata=False))
            for one in sorted(picture_ids)
            if self._thumbnails.has(one)
        )
        decoded = self._decoders.load(sources, None)
        return {one for one, result in decoded if isinstance(result, DecodedPicture)}


def _is_there(path: str) -> bool:
    """Whether there is a file or a folder; what is on a web site is not asked for."""
    return is_site_url(path) or os.path.exists(path)


def _list_store_problems(indexes: StoreManager, space: Space) -> list[str]:
    """Return why a vector store does not answer, which something else does instead."""
    problem = indexes.status(space).get("problem")
    return [] if problem is None else [str(problem)]
