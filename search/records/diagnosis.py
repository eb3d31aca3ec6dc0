"""What `lookalike doctor` finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from search.files import shown

Condition = Literal["ok", "missing", "wrong"]


@dataclass(frozen=True)
class Finding:
    """What was found of one part.

    condition: `missing` for what is optional, `wrong` for what must be mended. remedy: what to do;
    None if there is nothing to do.
    """

    part: str
    condition: Condition
    message: str
    remedy: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    findings: Sequence[Finding]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing must be mended."""
        return all(one.condition != "wrong" for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `doctor --json` prints it."""
        findings = [
            asdict(one)
            | {"message": shown(one.message), "remedy": one.remedy and shown(one.remedy)}
            for one in self.findings
        ]
        return {"healthy": self.is_healthy, "findings": findings}
