"""The frames of a film that are pictures of the library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search.files import shown


@dataclass(frozen=True)
class Moment:
    """A frame. id: of its picture. time: in seconds from the start."""

    id: str
    time: float


@dataclass(frozen=True)
class FilmFrames:
    """The frames of a film, in the order of time; none for a picture that is a file of its own.

    duration: of the film in seconds, None if it is not known.
    """

    path: str
    duration: float | None
    frames: tuple[Moment, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `frames --json` prints it."""
        frames = [asdict(one) for one in self.frames]
        return {"path": shown(self.path), "duration": self.duration, "frames": frames}
