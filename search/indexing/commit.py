"""From extracted pictures to the catalog: embed a batch, then write it in one transaction."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from search.catalog.catalog import Catalog
from search.catalog.films import Films
from search.catalog.writes import (
    CatalogFile,
    DecodedContent,
    ExtractedFile,
    FilmFile,
    Root,
    SeenContent,
    SkippedFile,
    Space,
)
from search.embedders.base import Embedder
from search.indexing.extract import Extracted
from search.media.content import is_low_content
from search.media.decoder_pool import DecodedPicture, DecodeFailure
from search.media.object_urls import is_remote, is_site_url, join_place
from search.media.thumbnails import Thumbnails
from search.records.indexing import IndexReport, Skip
from search.types import FileEntry, Pixels, Vectors

Analyzed = dict[str, tuple[Vectors, SeenContent]]
"""Vectors and labels by the hash of the normalized image."""
log = logging.getLogger(__name__)


class Analyzer(Protocol):
    """Runs an embedder. `search.embedders.models.Models` does it on the inference thread."""

    def analyze(
        self, embedder: Embedder, pixels: Sequence[Pixels]
    ) -> list[tuple[Vectors, SeenContent]]:
        """Return the (dim,) unit vector and the labels of each picture, in order."""
        ...

    def prepare(self, embedder: Embedder, count: int) -> None:
        """Make ready for so many pictures, in the background as far as that can be."""
        ...

    def can_answer(self, space: Space) -> bool:
        """Return whether queries can be embedded as the vectors of a space were."""
        ...


@dataclass
class SyncCounts:
    """What one sync of a folder did so far.

    known: files that the catalog had and that may have changed, by relative path. new_ids: picture
    ids of files under paths that the catalog did not have. skips: by relative paths; place_skips:
    by whole ones. left_out: files that are not read, by kind.
    """

    root: Root
    known: Mapping[str, CatalogFile]
    skips: list[Skip]
    place_skips: list[Skip] = field(default_factory=list)
    moved: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    new_ids: list[str] = field(default_factory=list)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def add_failure(self, entry: FileEntry, failure: DecodeFailure) -> bool:
        """Count a failure; return whether the catalog shall remember it with the file."""
        path = join_place(self.root.path, entry.path)
        if (failure.gone and not is_site_url(self.root.path)) or (
            failure.again and not is_remote(path) and not os.path.lexists(path)
        ):
            return False  # the file was deleted after the listing; the next sync sees that
        before = self.known.get(entry.path)
        log.info("skipped %s: %s", entry.path, failure.reason)
        self.skips.append(Skip(entry.path, failure.reason, failure.code))
        if failure.slow and before is not None and before.picture is not None:
            return (before.size, before.mtime_ns) != (entry.size, entry.mtime_ns)
        return failure.slow or not failure.again

    def add_picture(self, entry: FileEntry, picture_id: str, row_id: int | None) -> None:
        """Count a picture. row_id: of a picture that the catalog has."""
        before = self.known.get(entry.path)
        if before is None or before.picture is None:
            self.added += 1
            self.new_ids.append(picture_id)
        elif before.picture == row_id:
            self.unchanged += 1
        else:
            self.changed += 1

    def settle_moves(self, vanished: Mapping[str, CatalogFile], row_ids: Mapping[str, int]) -> None:
        """Count a file that vanished as moved if its picture has a new path, else as removed.

        row_ids: by the picture ids in `new_ids`.
        """
        new = Counter(row_ids[one] for one in self.new_ids if one in row_ids)
        old = Counter(file.picture for file in vanished.values() if file.picture is not None)
        moved = (new & old).total()
        self.moved += moved
        self.added -= moved
        self.removed += old.total() - moved

    def report(self, offline: int) -> IndexReport:
        """Return the report of the sync. offline: files in folders that cannot be read."""
        skips = (replace(s, path=join_place(self.root.path, s.path)) for s in self.skips)
        return IndexReport(
            added=self.added,
            changed=self.changed,
            moved=self.moved,
            removed=self.removed,
            unchanged=self.unchanged,
            offline=offline,
            embedded=self.embedded,
            skipped=tuple(sorted((*skips, *self.place_skips), key=lambda s: s.path)),
            left_out=dict(self.left_out),
        )


class Committer:
    """Embeds batches of extracted pictures and writes them. Its caller holds the write lock."""

    def __init__(
        self,
        catalog: Catalog,
        thumbnails: Thumbnails,
        analyzer: Analyzer,
        embedder: Embedder,
        space: Space,
        beside: bool = False,
    ) -> None:
        """space: of the embedder, in the catalog. beside: it is not that of the library's own
        model, so it leaves to that one what does not depend on a space."""
        self._catalog, self._thumbnails = catalog, thumbnails
        self._analyzer, self._embedder, self._beside = analyzer, embedder, beside
        self.space, self.preprocessing = space, embedder.preprocessing

    def prepare(self, count: int) -> None:
        """Make the embedder ready for so many pictures. Raises ModelError."""
        self._analyzer.prepare(self._embedder, count)

    def commit_files(
        self, counts: SyncCounts, batch: Sequence[tuple[FileEntry, Extracted]], rule: str
    ) -> None:
        """Write new and changed files, and embed each normalized image that has no vector.

        rule: the limits and codecs that skipped files were tried with.
        """
        analyzed = self._analyze_new(counts, [picture for _, picture in batch], 0)
        picture_ids = {one.id for _, one in batch if isinstance(one, DecodedPicture)}
        row_ids = self._catalog.row_ids(picture_ids)
        files: list[ExtractedFile | SkippedFile] = []
        for entry, picture in batch:
            if isinstance(picture, DecodeFailure):
                if counts.add_failure(entry, picture):
                    files.append(
                        SkippedFile(entry, picture.reason, rule, picture.slow, picture.code)
                    )
                continue
            counts.add_picture(entry, picture.id, row_ids.get(picture.id))
            if picture.thumbnail is not None:
                self._thumbnails.write(picture.id, picture.thumbnail)
            files.append(_describe_file(entry, picture, analyzed))
        self._catalog.record(counts.root, self.space, files)
        pictures = [(e, one) for e, one in batch if isinstance(one, DecodedPicture)]
        known = Films(self._catalog.database).choose_known({one.id for _, one in pictures})
        for entry, picture in pictures:
            frames = picture.film.frames if picture.film else ()
            if frames:
                self._commit_animation(counts, entry, picture, frames)
            elif picture.id in known and picture.pixel_hash is None:
                self._catalog.copy_film(counts.root, entry, FilmFile(picture.id, picture.probe))

    def _commit_animation(
        self,
        counts: SyncCounts,
        entry: FileEntry,
        picture: DecodedPicture,
        frames: Sequence[DecodedPicture],
    ) -> None:
        """Write the frames of an animation beside the picture that stands for all."""
        self.commit_frames(counts, entry, frames)
        places: dict[float | None, str] = {None: picture.id}
        places |= {one.time: one.id for one in frames}
        duration = picture.film.duration if picture.film else None
        film = FilmFile(picture.id, picture.probe, duration)
        self._catalog.complete_film(counts.root, entry, film, places, {})

    def commit_frames(
        self, counts: SyncCounts, entry: FileEntry, frames: Sequence[DecodedPicture]
    ) -> None:
        """Write some frames of a film, and embed each normalized image that has no vector."""
        analyzed = self._analyze_new(counts, frames, 0)
        for one in frames:
            if one.thumbnail is not None:
                self._thumbnails.write(one.id, one.thumbnail)
        described = [_describe_file(entry, one, analyzed) for one in frames]
        self._catalog.record_frames(counts.root, self.space, entry, described)

    def commit_vectors(
        self, counts: SyncCounts, batch: Sequence[tuple[FileEntry, Extracted]], place: int
    ) -> None:
        """Write vectors of a batch that another committer has written.

        place: of this space's preprocessing among those of the batch.
        """
        analyzed = self._analyze_new(counts, [picture for _, picture in batch], place)
        self._catalog.record_vectors(
            self.space,
            [
                _describe_file(entry, picture, analyzed)
                for entry, picture in batch
                if isinstance(picture, DecodedPicture)
            ],
        )

    def commit_again(
        self,
        counts: SyncCounts,
        batch: Mapping[int, DecodedPicture],
        unembedded: Mapping[int, object],
    ) -> None:
        """Write vectors and metadata of pictures of the catalog, by row id, in one transaction.

        unembedded: its keys are the row ids that need a vector.
        """
        pixels = {
            row_id: picture.pixels
            for row_id, picture in batch.items()
            if row_id in unembedded and picture.pixels is not None
        }
        decoded = {
            row_id: DecodedContent(
                one.pixel_hash, one.metadata, is_low_content(one.pixels), one.description
            )
            for row_id, one in batch.items()
            if one.pixel_hash and one.metadata and one.pixels is not None
        }
        for picture in batch.values():
            if picture.thumbnail is not None:
                self._thumbnails.write(picture.id, picture.thumbnail)
        features = {n: one.features for n, one in batch.items() if one.features is not None}
        analyzed = dict(zip(pixels, self._analyze(list(pixels.values())), strict=True))
        self._catalog.add_vectors(
            self.space,
            {row_id: vector for row_id, (vector, _) in analyzed.items()},
            {row_id: content for row_id, (_, content) in analyzed.items()},
            decoded,
            features,
        )
        counts.embedded += len(analyzed)

    def _analyze_new(
        self, counts: SyncCounts, pictures: Sequence[Extracted], place: int
    ) -> Analyzed:
        """Embed each normalized image that has no vector; return what was computed by its hash.

        place: of this space's preprocessing among those of the pictures.
        """
        pixels = {
            picture.pixel_hash: picture.prepared[place]
            for picture in pictures
            if isinstance(picture, DecodedPicture)
            and picture.pixel_hash
            and len(picture.prepared) > place
        }
        for pixel_hash in self._catalog.embedded_pixel_hashes(self.space, pixels):
            del pixels[pixel_hash]
        analyzed = dict(zip(pixels, self._analyze(list(pixels.values())), strict=True))
        counts.embedded += len(analyzed)
        return analyzed

    def _analyze(self, pixels: Sequence[Pixels]) -> list[tuple[Vectors, SeenContent]]:
        analyzed = self._analyzer.analyze(self._embedder, pixels)
        if not self._beside:
            return analyzed
        return [(vector, replace(content, low_content=None)) for vector, content in analyzed]


def _describe_file(entry: FileEntry, picture: DecodedPicture, analyzed: Analyzed) -> ExtractedFile:
    """Return the file of a picture, with its vector if that was computed."""
    decoded = picture.pixel_hash, picture.metadata
    file = ExtractedFile(
        entry, picture.id, *decoded, probe=picture.probe, description=picture.description
    )
    file = replace(file, features=picture.features, time=picture.time)
    if picture.pixel_hash not in analyzed:
        return file
    vector, content = analyzed[picture.pixel_hash]
    return replace(file, vector=vector, content=content)
