"""Tables in CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def write_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as CSV in UTF-8 with a byte order mark, as spreadsheets read it.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([_disarm(one) for one in row] for row in rows)
    return out.getvalue().encode("utf-8-sig", "replace")


def _disarm(value: Any) -> Any:
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula else value
