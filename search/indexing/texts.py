"""The text in the pictures of a library: what was read, and how far. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from search.catalog import counts
from search.catalog.reads import CatalogReader
from search.catalog.texts import Texts
from search.errors import LibraryError, ModelError
from search.extras import describe_install
from search.media import text_models
from search.media.open_file import FilePlace
from search.records.texts import PictureText, TextProgress, TextStatus
from search.settings import Settings

if TYPE_CHECKING:
    from search.lock import WriteLock
    from search.media.decoder_pool import DecoderPool
    from search.media.sources import PictureResolver


class TextParts(Protocol):
    """The parts of a library that read text. text_readers: processes for it alone."""

    settings: Settings

    @property
    def reader(self) -> CatalogReader: ...
    @property
    def texts(self) -> Texts: ...
    @property
    def write_lock(self) -> WriteLock: ...
    @property
    def resolver(self) -> PictureResolver: ...
    @property
    def text_readers(self) -> DecoderPool: ...
    @property
    def open_picture(self) -> Callable[[FilePlace], BinaryIO | None]: ...


def require_installed() -> None:
    """Raise ModelError, which says how to install the extra, if text cannot be read here."""
    if not text_models.is_installed():
        raise ModelError(
            "text in pictures cannot be read, since the extra `ocr` is not installed; install it "
            f"with {describe_install('ocr')}"
        )


class PictureTexts:
    """The text in pictures of a library. Threads may share it.

    for progress in engine.texts.read():
        print(progress.done, progress.total)
    engine.texts.of("9510f9aa1fd0").text
    """

    def __init__(self, parts: TextParts) -> None:
        self._parts = parts

    def of(self, identity: str) -> PictureText:
        """Return what is written in a picture of the library, as far as it was read.

        identity: an id or the beginning of one. Raises QueryError and NotFoundError.
        """
        row_id = self._parts.reader.resolve(identity)
        return self._parts.reader.texts_of([row_id]).get(row_id, PictureText())

    def extract(self, image: str | bytes) -> PictureText:
        """Read the text of one picture now, and record nothing.

        image: a path, a URL, `id:ID` or the bytes of a file. Raises InputError, and ModelError
        without the extra `ocr`.
        """
        require_installed()
        from search.indexing.text_run import read_one

        return read_one(self._parts, image)

    def status(self, with_command: bool = True) -> TextStatus:
        """Return how far the text is read. with_command: tell how to install the extra."""
        settings, reader = self._parts.settings, self._parts.reader
        number = reader.count_texts()
        read, installed = sum(number.values()), text_models.is_installed()
        return TextStatus(
            enabled=settings.ocr,
            installed=installed,
            install=describe_install("ocr").strip("`") if with_command and not installed else None,
            read=read,
            with_text=number.get(counts.WITH_TEXT, 0),
            failed=number.get(counts.UNREADABLE, 0),
            pending=max(0, reader.count(None)["pictures"] - read),
        )

    def read(self, workers: int = 1, again: bool = False) -> Generator[TextProgress, None, None]:
        """Read the pictures that were not read yet, newest first, and yield the progress.

        workers: pictures that are read at once. again: also pictures that another model read, or
        that could not be read. The last progress has the report. Closing the iterator cancels;
        what was read stays. A picture whose file is gone, or whose storage does not answer, is left
        for the next run. Raises ModelError without the extra `ocr`, and LibraryError.
        """
        require_installed()
        if not self._parts.settings.ocr:
            raise LibraryError("the setting `ocr` is off; set LOOKALIKE_OCR=true to read text")
        from search.indexing.text_run import TextRun

        return TextRun(self._parts, workers, again).run()
