"""A run that reads the text in pictures of a library: which, by what processes, and its commits."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from search.indexing.originals import read_originals
from search.media import text_models
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.source_kinds import is_url, picture_id_of
from search.media.sources import find_file
from search.records.indexing import Skip
from search.records.texts import PictureText, TextProgress, TextReport

if TYPE_CHECKING:
    from search.indexing.texts import TextParts

BLOCK = 256  # pictures that one query lists
COMMIT_COUNT, COMMIT_SECONDS = 16, 10.0  # after which what was read is committed


def read_one(parts: TextParts, image: str | bytes) -> PictureText:
    """See `PictureTexts.extract`."""
    named = isinstance(image, str) and (picture_id_of(image) is not None or is_url(image))
    if isinstance(image, bytes) or named:
        data = parts.resolver.read_content(image)
        request = DecodeRequest(data=data, metadata=False, text=True)
    else:
        request = DecodeRequest(find_file(image), metadata=False, text=True)
    result = parts.text_readers.submit(request, urgent=True).result()
    if isinstance(result, DecodeFailure):
        raise result.error(f"the text could not be read: {result.reason}")
    return PictureText(result.text or (), text_models.fingerprint())


class TextRun:
    """One run: what it has read, and what of it is to be committed."""

    def __init__(self, parts: TextParts, workers: int, again: bool) -> None:
        self._parts, self._workers = parts, workers
        self._model = text_models.fingerprint()
        self._again = self._model if again else None
        self._read: dict[int, PictureText] = {}
        self._skipped: list[Skip] = []
        self._count = self._with_text = self._characters = 0
        self._start = self._committed = time.monotonic()

    def run(self) -> Generator[TextProgress, None, None]:
        """See `PictureTexts.read`."""
        before: int | None = None
        total, done = len(self._list(2**31)), 0
        yield TextProgress(0, total)
        try:
            while row_ids := self._list(BLOCK, before):
                before = row_ids[-1]
                results = self._parts.text_readers.load(self._open(row_ids), None, self._workers)
                for (row_id, path), result in results:
                    self._take(row_id, path, result)
                    done += 1
                    yield TextProgress(done, max(total, done), path)
        finally:
            self._commit()
        left = len(self._list(2**31))
        counted = (self._count, self._with_text, self._characters, left)
        seconds = time.monotonic() - self._start
        report = TextReport(*counted, tuple(self._skipped), seconds)
        yield TextProgress(done, done, None, report)

    def _list(self, count: int, before: int | None = None) -> list[int]:
        """List pictures to read. Waits for other writers, since what is read must be committed."""
        with self._parts.write_lock.borrow():
            return self._parts.texts.list_unread(count, before, self._again)

    def _open(self, row_ids: list[int]) -> Iterator[tuple[tuple[int, str], DecodeRequest]]:
        """Yield what reads the pictures that have a file as it was indexed."""
        most = self._parts.text_readers.limits.bytes
        parts = self._parts.reader, self._parts.open_picture
        for row_id, path, data in read_originals(*parts, row_ids, most):
            yield (row_id, path), DecodeRequest(data=data, metadata=False, text=True)

    def _take(self, row_id: int, path: str, result: DecodedPicture | DecodeFailure) -> None:
        """Note the answer of a process, and commit what was read if it is time."""
        if isinstance(result, DecodedPicture):
            one = PictureText(result.text or (), self._model)
            self._count += 1
            self._with_text += bool(one.lines)
            self._characters += sum(len(line.text) for line in one.lines)
            self._read[row_id] = one
        else:
            self._skipped.append(Skip(path, result.reason, result.code))
            if result.slow or not result.again:  # another try would cost as much
                self._read[row_id] = PictureText((), self._model, result.code)
        late = time.monotonic() - self._committed > COMMIT_SECONDS
        if late or len(self._read) >= COMMIT_COUNT:
            self._commit()

    def _commit(self) -> None:
        """Write what was read to the catalog."""
        if self._read:
            with self._parts.write_lock.borrow():
                self._parts.texts.record(self._read)
            self._read = {}
        self._committed = time.monotonic()
