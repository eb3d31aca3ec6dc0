"""A run that lets a model caption the pictures of a library: which, and its commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from search.catalog.reads import CatalogReader
from search.indexing.originals import read_originals
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.descriptions import clean_caption
from search.media.open_file import FilePlace
from search.records.captions import CaptionProgress, CaptionReport, ModelCaption
from search.records.indexing import Skip

if TYPE_CHECKING:
    from search.catalog.captions import ModelCaptions
    from search.embedders.coca import CoCaCaptioner
    from search.embedders.models import Models
    from search.lock import WriteLock
    from search.media.decoder_pool import DecoderPool
    from search.types import Pixels

Loaded: TypeAlias = tuple[tuple[int, str], DecodedPicture | DecodeFailure]
COMMIT_COUNT, COMMIT_SECONDS = 64, 10.0  # after which what was made is committed
BATCH = 8  # pictures that are decoded, then captioned
PREFETCH = 16  # pictures that are decoded before they are captioned


class CaptionParts(Protocol):
    """The parts of a library that caption pictures."""

    @property
    def reader(self) -> CatalogReader: ...
    @property
    def captions(self) -> ModelCaptions: ...
    @property
    def models(self) -> Models: ...
    @property
    def decoders(self) -> DecoderPool: ...
    @property
    def write_lock(self) -> WriteLock: ...
    @property
    def open_picture(self) -> Callable[[FilePlace], BinaryIO | None]: ...


class CaptionRun:
    """One run: what it has made, and what of it is to be committed."""

    def __init__(
        self,
        parts: CaptionParts,
        name: str,
        choose: Callable[[Collection[int]], set[int]] = set,
    ) -> None:
        """name: of the model, as `coca.check_name` returns it. choose: which of some pictures the
        caller asks for."""
        self._parts, self._name, self._choose = parts, name, choose
        self._captions: dict[int, ModelCaption] = {}
        self._skipped: list[Skip] = []
        self._captioned = self._empty = 0
        self._start = self._committed = time.monotonic()

    def run(self) -> Generator[CaptionProgress, None, None]:
        """Yield the progress; the last one has the report. What was made stays if it is closed.

        Raises ModelError when there are no weights, and LookalikeError.
        """
        models = self._parts.models
        for step in models.fetch_name(self._name):
            yield CaptionProgress("fetch", step.done, step.total, step.path)
        captioner = models.open_captioner(self._name)
        self._model = captioner.fingerprint
        row_ids, done = self._list(), 0
        yield CaptionProgress("caption", 0, len(row_ids))
        requests = self._open(row_ids)
        loaded = self._parts.decoders.load(requests, captioner.preprocessing, PREFETCH)
        try:
            with closing(loaded):
                while part := list(islice(loaded, BATCH)):
                    path = part[-1][0][1]
                    self._caption(captioner, part)
                    done += len(part)
                    yield CaptionProgress("caption", done, max(done, len(row_ids)), path)
        finally:
            self._commit()
        counted = self._captioned, self._empty, len(self._list())
        seconds = time.monotonic() - self._start
        report = CaptionReport(captioner.name, *counted, tuple(self._skipped), seconds)
        yield CaptionProgress("caption", done, done, None, report)

    def _list(self) -> list[int]:
        """List pictures to caption, newest first."""
        with self._parts.write_lock.borrow():  # what is made must be committed
            missing = self._parts.captions.list_missing(self._model)
        chosen = self._choose(missing)
        return [row_id for row_id in missing if row_id in chosen]

    def _open(self, row_ids: list[int]) -> Iterator[tuple[tuple[int, str], DecodeRequest]]:
        """Yield what decodes the pictures that have a file as it was indexed."""
        parts = self._parts.reader, self._parts.open_picture
        most = self._parts.decoders.limits.bytes
        for row_id, path, data in read_originals(*parts, row_ids, most):
            yield (row_id, path), DecodeRequest(data=data, metadata=False)

    def _caption(self, captioner: CoCaCaptioner, part: Sequence[Loaded]) -> None:
        """Caption pictures, note those that cannot be read, and commit if it is time."""
        decoded: list[tuple[int, Pixels]] = []
        for (row_id, path), result in part:
            if isinstance(result, DecodeFailure):
                self._skipped.append(Skip(path, result.reason, result.code))
                if result.slow or not result.again:  # another try would cost as much
                    self._captions[row_id] = ModelCaption("", self._model, result.code)
            elif result.pixels is not None:
                decoded.append((row_id, result.pixels))
        texts = self._parts.models.caption(captioner, [pixels for _, pixels in decoded])
        for (row_id, _), output in zip(decoded, texts, strict=True):
            text = clean_caption(output) or ""
            self._captioned += bool(text)
            self._empty += not text
            self._captions[row_id] = ModelCaption(text, self._model)
        late = time.monotonic() - self._committed > COMMIT_SECONDS
        if late or len(self._captions) >= COMMIT_COUNT:
            self._commit()

    def _commit(self) -> None:
        """Write what was made to the catalog."""
        if self._captions:
            with self._parts.write_lock.borrow():
                self._parts.captions.record(self._captions)
            self._captions = {}
        self._committed = time.monotonic()
