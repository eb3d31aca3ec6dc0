"""Text in pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search.records.indexing import Skip


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture.

    confidence: that it is read right, 0 to 1. box: its four corners from the upper left one on
    clockwise, as the text runs; x and y are shares of the width and height of the upright picture.
    """

    text: str
    confidence: float
    box: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `text --json` prints it."""
        return asdict(self) | {"box": [list(corner) for corner in self.box]}


@dataclass(frozen=True)
class PictureText:
    """What is written in a picture: its lines, from top to bottom.

    model: fingerprint of what read it; None if it was not read yet. failed: why it could not be
    read, a key of `SKIP_CODES`.
    """

    lines: tuple[TextLine, ...] = ()
    model: str | None = None
    failed: str | None = None

    @property
    def text(self) -> str:
        """The lines, separated by newlines."""
        return "\n".join(line.text for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/{id}/text` answers."""
        lines = [line.to_json() for line in self.lines]
        return {"lines": lines, "model": self.model, "failed": self.failed}


@dataclass(frozen=True)
class TextReport:
    """What one run of reading text did. read: pictures; with_text: of them, those with text.
    characters: in all. pending: pictures that are still to be read."""

    read: int = 0
    with_text: int = 0
    characters: int = 0
    pending: int = 0
    skipped: tuple[Skip, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as in `index --json`."""
        skipped = [skip.to_json() for skip in self.skipped]
        return {**asdict(self), "skipped": skipped, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class TextProgress:
    """Progress of reading text: `done` of `total` pictures. report: set in the last one."""

    done: int
    total: int
    path: str | None = None
    report: TextReport | None = None


@dataclass(frozen=True)
class TextStatus:
    """How far the text in pictures is read.

    enabled: by the setting `ocr`. installed: the extra `ocr` is; install: the command that installs
    it, None if it is or if that is nobody's business. read: pictures, of which with_text have text
    and failed could not be read. pending: pictures that are still to be read.
    """

    enabled: bool = True
    installed: bool = True
    install: str | None = None
    read: int = 0
    with_text: int = 0
    failed: int = 0
    pending: int = 0
