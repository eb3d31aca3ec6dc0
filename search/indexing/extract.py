"""From files to extracted pictures: hash, normalized image, metadata, thumbnail, prepared pixels.

Nothing here reads or writes the catalog. An `Executor` does the work, so that other machines can
do it instead of local processes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeVar

from search.catalog.films import FramePlace
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.object_urls import is_object_url, is_site_url, join_place
from search.media.preprocessing import Preprocessing
from search.media.rules import FrameAt
from search.media.sites import number_of
from search.types import FileEntry

BATCH = 32
"""Pictures that one transaction commits."""
AHEAD = 3 * BATCH
"""Pictures that are decoded before they are taken."""
T = TypeVar("T")

Extracted = DecodedPicture | DecodeFailure
Paths = tuple[str, ...]
FrameRequest = tuple[str, FrameAt]
"""The path of a film, and the frame of it."""


class Executor(Protocol):
    """Decodes many pictures. `search.media.decoder_pool.DecoderPool` does it in local processes."""

    def load(
        self,
        sources: Iterable[tuple[T, DecodeRequest]],
        preprocessing: Preprocessing | Sequence[Preprocessing] | None,
        prefetch: int = 64,
    ) -> Iterator[tuple[T, Extracted]]:
        """Yield each key with its picture or failure, in the order of the sources.

        preprocessing: of the pixels, one or several; None for no pixels. prefetch: how many
        pictures may be decoded before they are taken.
        """
        ...


def extract_files(
    folder: str,
    entries: Sequence[FileEntry],
    known_ids: Mapping[int, Collection[str]],
    executor: Executor,
    preprocessing: Preprocessing | Sequence[Preprocessing],
) -> Iterator[tuple[FileEntry, Extracted]]:
    """Yield each file with its picture or failure, in order.

    folder: absolute path or URL that the entries are relative to. known_ids: ids of pictures that
    need no decoding, by file size in bytes; such a file yields only its id.
    """
    is_remote = is_object_url(folder)
    sources = (
        (
            entry,
            DecodeRequest(
                join_place(folder, entry.path),
                known=known_ids.get(entry.size, ()),
                features="compact",
                frames=True,
                version=entry.mtime_ns if is_remote else None,
            ),
        )
        for entry in entries
    )
    extracted = executor.load(sources, preprocessing, prefetch=AHEAD)
    return _note_content(extracted) if is_site_url(folder) else extracted


def _note_content(
    extracted: Iterable[tuple[FileEntry, Extracted]],
) -> Iterator[tuple[FileEntry, Extracted]]:
    """Yield files of a site with a number of their content in place of a date, which it lacks."""
    for entry, picture in extracted:
        if isinstance(picture, DecodedPicture):
            entry = FileEntry(entry.path, 0, number_of(picture.id), 0)
        yield entry, picture


def extract_again(
    pictures: Sequence[tuple[int, Paths]],
    with_metadata: Collection[int],
    with_features: Collection[int],
    executor: Executor,
    preprocessing: Preprocessing,
    frames: Mapping[int, FrameRequest] = MappingProxyType({}),
) -> Iterator[tuple[tuple[int, Paths], Extracted]]:
    """Yield pictures of the catalog with their decoded pictures or failures, in order.

    pictures: row ids and paths. with_metadata: row ids that need metadata and a thumbnail as well
    as pixels. with_features: row ids that need local features. frames: where those of them are
    that are frames of films, by row id.
    """
    sources = (
        (
            one,
            DecodeRequest(
                (place := frames.get(one[0], (_choose_path(one[1]), None)))[0],
                frame=place[1],
                metadata=one[0] in with_metadata,
                features="compact" if one[0] in with_features else None,
            ),
        )
        for one in pictures
    )
    return executor.load(sources, preprocessing, prefetch=AHEAD)


def request_frames(
    frame_places: Mapping[int, Sequence[FramePlace]], picture_ids: Mapping[int, str]
) -> dict[int, FrameRequest]:
    """Return how to decode frames, by row id. frame_places: where they are; a film that is there
    comes first."""
    chosen = {}
    for row_id, listed in frame_places.items():
        place = next((one for one in listed if os.path.exists(one.path)), listed[0])
        probe = None if place.probe is None else place.probe.hex()
        chosen[row_id] = place.path, FrameAt(picture_ids[row_id], place.time, probe)
    return chosen


def _choose_path(paths: Paths) -> str:
    """Return a path that exists, or the first one."""
    return next((path for path in paths if os.path.exists(path)), paths[0])
