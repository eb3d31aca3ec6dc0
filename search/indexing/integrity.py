"""`check`: whether catalog, index, thumbnails and files agree. What is derived is mended."""

from __future__ import annotations

import os
from collections.abc import Iterator

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.writes import Model
from search.media.decoder_pool import DecodeFailure, DecoderPool, PictureSource
from search.media.thumbnails import Thumbnails
from search.records import CheckReport
from search.runtime import Runtime
from search.vectors.base import StoreManager, StoreReplica


class IntegrityChecker:
    """Looks at one library."""

    def __init__(
        self,
        catalog: Catalog,
        reader: CatalogReader,
        decoders: DecoderPool,
        thumbnails: Thumbnails,
    ) -> None:
        self._catalog, self._reader = catalog, reader
        self._decoders, self._thumbnails = decoders, thumbnails

    def check(self, indexes: StoreManager, runtime: Runtime, deep: bool) -> CheckReport:
        """Look at everything. Its caller holds the write lock. deep: as `files` has it."""
        model = self._catalog.serving()
        problems, repaired = list(self.catalog(model)), list[str]()
        if model:
            replica = runtime.run(lambda: indexes.replica(model))
            repaired += runtime.run(lambda: list(self.index(model, replica)))
            indexes.train(model)
            indexes.save(model)
        problems += self.files(deep, repaired)
        counts = self._reader.count(model)
        return CheckReport(counts["pictures"], counts["files"], tuple(problems), tuple(repaired))

    def catalog(self, model: Model | None) -> Iterator[str]:
        """What is wrong with the catalog itself."""
        yield from self._catalog.database.integrity()
        counts = self._reader.count(model)
        if model and counts["embedded"] < counts["pictures"]:
            lacking = counts["pictures"] - counts["embedded"]
            yield f"{lacking} pictures have no vector; index their folders again"
        if loose := self._reader.count_dangling():
            yield f"{loose} pictures have no file; index their folders again"

    def index(self, model: Model, replica: StoreReplica) -> Iterator[str]:
        """Compare the index with the catalog; a damaged one is made anew. On the inference
        thread."""
        wanted = [
            row_id for row_ids, _ in self._reader.iterate_vectors(model) for row_id in row_ids
        ]
        if replica.rebuilt and wanted:
            yield "the index was missing or damaged; rebuilt from the catalog"
        elif replica.refresh().ids().tolist() != sorted(wanted):
            replica.rebuild()
            yield "the index did not agree with the catalog; rebuilt"

    def files(self, deep: bool, repaired: list[str]) -> Iterator[str]:
        """What is wrong with originals; missing thumbnails are made again. deep: read every
        file and compare its content with what was indexed."""
        places = list(self._reader.iterate_files())
        offline = [
            r.path
            for r in self._catalog.roots()
            if r.state == "offline" or not os.path.isdir(r.path)
        ]
        yield from (f"{path}: offline" for path in offline)
        wanted = []
        for picture_id, _, path in places:
            if any(path.startswith(os.path.join(root, "")) for root in offline):
                continue
            if not os.path.exists(path):
                yield f"{path}: gone since it was indexed; index its folder again"
                continue
            thumbnail = self._thumbnails.has(picture_id)
            if deep or not thumbnail:
                source = PictureSource(path, known=(picture_id,) if thumbnail else ())
                wanted.append(((picture_id, path), source))
        made = set()
        for (picture_id, path), result in self._decoders.load(wanted, None):
            if isinstance(result, DecodeFailure):
                yield f"{path}: {result.reason}"
            elif result.id != picture_id:
                yield f"{path}: changed since it was indexed; index its folder again"
            elif result.thumbnail is not None:
                self._thumbnails.write(picture_id, result.thumbnail)
                made.add(picture_id)
        if made:
            repaired.append(f"{len(made)} missing thumbnails were made again")
