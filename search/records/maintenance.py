"""Reports of backups, moves, calibrations and checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from search.files import shown


@dataclass(frozen=True)
class BackupReport:
    """A backup. path: of its file. kept: number of pictures in it that the library keeps. bytes:
    size of the file."""

    path: str
    kept: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `backup --json` prints it."""
        return asdict(self) | {"path": shown(self.path)}


@dataclass(frozen=True)
class MoveReport:
    """A catalog that was copied. catalog: where it is now, without a password. setting: what to set
    from now on. rows: their count by table."""

    catalog: str
    setting: str
    rows: dict[str, int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `move --json` prints it."""
        return asdict(self) | {"catalog": shown(self.catalog)}


@dataclass(frozen=True)
class MoveProgress:
    """Progress of a move: `done` of `total` rows are copied or compared.

    table: of the rows. report: set in the last one.
    """

    done: int
    total: int
    table: str | None = None
    report: MoveReport | None = None


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration that was fitted on a library.

    model: whose scores it is for. pictures: how many were edited and searched for. pairs: of a
    query and a hit, by the evidence of the calibration. error: expected calibration error on the
    fifth of the pairs that were kept out of a first fit, by the evidence.
    """

    model: str
    pictures: int
    pairs: dict[str, int]
    error: dict[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `calibrate --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class CalibrationProgress:
    """Progress of a calibration: `done` of `total` pictures were searched for. report: set in the
    last one."""

    done: int
    total: int
    report: CalibrationReport | None = None


@dataclass(frozen=True)
class CheckReport:
    """Result of a check. problems: remain. repaired: derived data that was made again."""

    pictures: int
    files: int
    problems: tuple[str, ...]
    repaired: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `check --json` prints it."""
        problems, repaired = map(shown, self.problems), map(shown, self.repaired)
        return asdict(self) | {"problems": list(problems), "repaired": list(repaired)}
