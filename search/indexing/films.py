"""Reads films: their frames become pictures, and what they say becomes words of the nearest frame.

A film is hashed first: one that the catalog has under another path is not decoded. Its parts are
decoded beside each other. Each batch of frames is one transaction, and a last one completes the
film; a sync that was interrupted reads it again, and embeds what has no vector yet.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from search.catalog.catalog import Catalog
from search.catalog.films import Films, join_words
from search.catalog.writes import FilmFile, Root
from search.files import shown
from search.indexing import kinds
from search.indexing.commit import Committer, SyncCounts
from search.indexing.extract import BATCH, Executor
from search.media.content import is_low_content
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.films import GRID, MOST_SECONDS, PART_SECONDS, Grid, is_near_equal
from search.media.object_urls import join_place
from search.media.rules import FilmSpan
from search.records.hits import format_time
from search.records.indexing import Progress, Skip
from search.types import FileEntry

MOST_WORDS = 20_000
"""Characters of the words of a frame."""
MOST_FAILED = 3
"""Parts that fail one after the other, until the film is given up."""
THINNED = "from {} on, not every scene is indexed: its pictures take too long to decode"
NO_FRAMES = "no picture in it can be decoded"


class FilmReader:
    """Reads films into the catalog. Its caller holds the write lock."""

    def __init__(
        self, catalog: Catalog, decoders: Executor, committers: Sequence[Committer]
    ) -> None:
        """decoders: an `Executor` with a `rule`. committers: of the library's own space first."""
        self._catalog, self._decoders = catalog, decoders
        self._committer, *self._others = committers
        self._steps = [one.preprocessing for one in committers]

    def read(self, counts: SyncCounts, entry: FileEntry, force: bool) -> Iterator[str]:
        """Read one film; yield its path while it goes on. force: decode a known film too."""
        path = join_place(counts.root.path, entry.path)
        (_, inspected), *_ = self._decoders.load([(0, DecodeRequest(path, film=True))], None)
        if isinstance(inspected, DecodeFailure):
            self._skip(counts, entry, inspected)
            return
        film = FilmFile(inspected.id, inspected.probe)
        if not force and (copied := self._catalog.copy_film(counts.root, entry, film)):
            counts.add_picture(entry, *copied)
            return
        content = inspected.film
        words = list(content.words) if content else []
        duration = content.duration if content else None
        frames, failures = dict[float, str](), list[DecodeFailure]()
        for batch in self._read_frames(path, inspected, words, failures, counts, entry):
            self._commit(counts, entry, batch)
            frames |= {one.time: one.id for one in batch if one.time is not None}
            yield entry.path
        if not frames:
            failure = failures[0] if failures else DecodeFailure(NO_FRAMES, False, code="no_video")
            self._skip(counts, entry, failure)
            return
        if any(one.again and not one.slow for one in failures):
            return  # it is left incomplete, so that the next sync reads it again
        texts = join_words(sorted(frames), words, MOST_WORDS)
        film = FilmFile(film.content, film.probe, duration)
        completed = self._catalog.complete_film(counts.root, entry, film, frames, texts)
        counts.add_picture(entry, *completed)

    def _skip(self, counts: SyncCounts, entry: FileEntry, failure: DecodeFailure) -> None:
        rule = getattr(self._decoders, "rule", "")
        self._committer.commit_files(counts, [(entry, failure)], rule)

    def _commit(
        self, counts: SyncCounts, entry: FileEntry, batch: Sequence[DecodedPicture]
    ) -> None:
        self._committer.commit_frames(counts, entry, batch)
        for place, committer in enumerate(self._others, 1):
            committer.commit_vectors(counts, [(entry, one) for one in batch], place)

    def _read_frames(
        self,
        path: str,
        film: DecodedPicture,
        words: list[tuple[float, str]],
        failures: list[DecodeFailure],
        counts: SyncCounts,
        entry: FileEntry,
    ) -> Iterator[list[DecodedPicture]]:
        """Yield batches of frames. Blank ones are left out, unless there is nothing else.

        words, failures: get the words of all parts, and what went wrong in some.
        """
        batch, blank, before = list[DecodedPicture](), list[DecodedPicture](), None
        has_content = is_thinned = False
        for start, part in self._read_parts(path, film):
            if isinstance(part, DecodeFailure):
                failures.append(part)
                reason = f"what is at {format_time(start)} could not be read: {part.reason}"
                counts.skips.append(Skip(entry.path, reason, part.code))
                continue
            if part.film is None:
                continue
            if part.film.is_thinned and not is_thinned:
                is_thinned = True
                reason = THINNED.format(format_time(start))
                counts.skips.append(Skip(entry.path, reason, "film_thinned"))
            words += part.film.words
            for frame in part.film.frames:
                grid = _read_grid(frame)
                if before is not None and grid is not None and is_near_equal(before, grid):
                    continue  # across the border of two parts
                before = grid
                if frame.pixels is not None and is_low_content(frame.pixels):
                    blank = blank or [frame]
                    continue
                batch.append(frame)
                if len(batch) == BATCH:
                    has_content = True
                    yield batch
                    batch = []
        if batch or (blank and not has_content):
            yield batch or blank

    def _read_parts(
        self, path: str, film: DecodedPicture
    ) -> Iterator[tuple[float, DecodedPicture | DecodeFailure]]:
        """Yield the start of each part of a film with its frames, until the film ends."""
        probe = film.probe.hex() if film.probe else ""
        starts = np.arange(0, MOST_SECONDS, PART_SECONDS).tolist()
        duration = film.film.duration if film.film else None
        if duration is not None:  # one more, since some say too little
            starts = starts[: int(duration // PART_SECONDS) + 2]
        spans = {start: FilmSpan(film.id, probe, start, start + PART_SECONDS) for start in starts}
        prefetch = 2 * getattr(self._decoders, "workers", 2)
        failed = 0
        for start, part in self._load_parts(path, spans.items(), prefetch):
            yield start, part
            span = spans[start]
            while (resume := _get_resume(part)) is not None:  # the time of a request was over
                span = replace(span, resume=resume)
                ((_, part),) = self._load_parts(path, [(start, span)], 1)
                yield resume, part
            failed = failed + 1 if isinstance(part, DecodeFailure) else 0
            if failed == MOST_FAILED:
                return  # what is left would fail as well
            if isinstance(part, DecodedPicture) and part.film and part.film.has_ended:
                return

    def _load_parts(
        self, path: str, spans: Iterable[tuple[float, FilmSpan]], prefetch: int
    ) -> Iterator[tuple[float, DecodedPicture | DecodeFailure]]:
        """Yield what was read of each part, by its start."""
        sources = (
            (start, DecodeRequest(path, film=span, features="compact")) for start, span in spans
        )
        return iter(self._decoders.load(sources, self._steps, prefetch=prefetch))


def _get_resume(part: DecodedPicture | DecodeFailure) -> float | None:
    if isinstance(part, DecodeFailure) or part.film is None:
        return None
    return part.film.resume


def _read_grid(frame: DecodedPicture) -> Grid | None:
    if frame.grid is None:
        return None
    return np.frombuffer(frame.grid, "<i2").reshape(GRID[1], GRID[0]).astype(np.int16)


class SubtitleReader:
    """Reads files of subtitles beside films (`film.srt`, `film.en.ass`). Its caller holds the write
    lock.

    skips: files that could not be read, by whole paths.
    """

    def __init__(self, catalog: Catalog, decoders: Executor) -> None:
        self._decoders, self._films = decoders, Films(catalog.database)
        self.skips = list[Skip]()

    def read(
        self,
        root: Root,
        within: str,
        listed: Mapping[str, FileEntry],
        unreadable: Collection[Skip] = (),
    ) -> Iterator[Progress]:
        """Read the new and changed subtitles of a root, or of its subfolder `within`.

        listed: sidecars by relative path. Those that are gone count no longer. unreadable: folders
        whose sidecars are not known.
        """
        by_folder = dict[str, list[FileEntry]]()
        for path, entry in sorted(listed.items()):
            if kinds.is_subtitle_name(path):
                by_folder.setdefault(path.rpartition("/")[0], []).append(entry)
        unknown = tuple(f"{skip.path}/" if skip.path else "" for skip in unreadable)
        inside = f"{within}/" if within else ""
        for file_id, (path, state) in self._films.subtitle_states(root).items():
            if not path.startswith(inside) or (unknown and path.startswith(unknown)):
                continue
            beside = [
                one
                for one in by_folder.get(path.rpartition("/")[0], ())
                if _belongs(one.path, path)
            ]
            now = "\n".join(f"{one.size} {one.mtime_ns} {shown(one.path)}" for one in beside)
            if now == state:
                continue
            words = list[tuple[float, str]]()
            is_final = True
            for entry in beside:
                place = join_place(root.path, entry.path)
                ending = os.path.splitext(entry.path)[1].lower()
                request = DecodeRequest(place, subtitles=ending)
                (_, result), *_ = self._decoders.load([(0, request)], None)
                if isinstance(result, DecodeFailure):
                    reason = f"the subtitles are not read: {result.reason}"
                    self.skips.append(Skip(place, reason, result.code))
                    is_final &= not result.again
                else:
                    words += result.words
            if is_final:
                texts = join_words(self._films.times(file_id), words, MOST_WORDS)
                self._films.write_subtitles(file_id, now, texts)
            yield Progress("index", 0, 0, path)


def _belongs(subtitles: str, film: str) -> bool:
    """Whether subtitles are of a film, by their names: the same, or with a language behind it."""
    stem, own = os.path.splitext(subtitles)[0].lower(), os.path.splitext(film)[0].lower()
    return stem == own or stem.startswith(f"{own}.")
