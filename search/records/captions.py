"""Captions of pictures by a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from search.files import shown
from search.records.indexing import Skip


@dataclass(frozen=True)
class ModelCaption:
    """What a model said of a picture. text: empty for nothing. model: its fingerprint. failed: why
    the picture could not be read, a key of `SKIP_CODES`."""

    text: str
    model: str
    failed: str | None = None


@dataclass(frozen=True)
class CaptionModel:
    """A model that makes captions. name: ARCH:TAG, or ARCH:/path/to/weights. installed: its weights
    are here; others are fetched when they are first used. default: the setting `caption_model`
    names it."""

    name: str
    installed: bool
    default: bool = False


@dataclass(frozen=True)
class CaptionStatus:
    """Which pictures have captions, and what makes more.

    captioned: pictures with a caption of a person or a file. by_model: with one of a model.
    without: with none. models: those that make captions, the default first.
    """

    captioned: int
    by_model: int
    without: int
    models: tuple[CaptionModel, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `caption --status --json` prints it."""
        models = [asdict(one) | {"name": shown(one.name)} for one in self.models]
        return {**asdict(self), "models": models}


@dataclass(frozen=True)
class CaptionReport:
    """What one run of captioning did.

    model: its name. captioned: pictures that got a caption. empty: those of which it said nothing.
    pending: pictures, of those that were asked for, that are still to be captioned.
    """

    model: str
    captioned: int = 0
    empty: int = 0
    pending: int = 0
    skipped: tuple[Skip, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `caption --json` prints it."""
        skipped = [skip.to_json() for skip in self.skipped]
        return {**asdict(self), "skipped": skipped, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class CaptionProgress:
    """Progress of captioning: `done` of `total` pictures, or megabytes of a model that is fetched.
    report: set in the last one."""

    phase: Literal["fetch", "caption"]
    done: int
    total: int
    path: str | None = None
    report: CaptionReport | None = None
