"""Dates that count from today, in English and Chinese: `30d`, `last month`, `最近30天`.

Nothing here knows the time: whoever parses says which day is today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType

MOST_UNITS = 10_000
"""Days, weeks, months or years back at most."""
_UNITS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("d", "day", "days", "天", "日"), "day"),
        **dict.fromkeys(("w", "week", "weeks", "周", "星期", "礼拜"), "week"),
        **dict.fromkeys(("m", "month", "months", "个月", "月"), "month"),
        **dict.fromkeys(("y", "year", "years", "年"), "year"),
    }
)
_NAMES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("today", "今天"), ("day", 0)),
        **dict.fromkeys(("yesterday", "昨天"), ("day", 1)),
        **dict.fromkeys(("this week", "本周", "这周"), ("week", 0)),
        **dict.fromkeys(("last week", "上周"), ("week", 1)),
        **dict.fromkeys(("this month", "本月", "这个月"), ("month", 0)),
        **dict.fromkeys(("last month", "上个月", "上月"), ("month", 1)),
        **dict.fromkeys(("this year", "今年"), ("year", 0)),
        **dict.fromkeys(("last year", "去年"), ("year", 1)),
    }
)
"""Name -> unit, and how many of them ago."""
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_AGO = re.compile(rf"(last |past |最近|过去)?(\d{{1,5}}) ?({_UNIT})(?: ago|前)?", re.ASCII)

_BEGUN = re.compile(r"(last |past |最近|过去)?(\d{1,5}) ?(\D*)", re.ASCII)


def parse_relative(text: str, today: date) -> tuple[date, date] | None:
    """Return the first day of a period and the day after it; None if the text names none.

    `today`, `this week` (from Monday on) and so on are whole periods. `30d` is the day 30 days
    ago, so `date>=30d` is that day and after it. `last 30 days` is from that day to today. Raises
    ValueError and OverflowError for a day that is too long ago.
    """
    name = " ".join(text.casefold().replace("_", " ").split())
    if name in _NAMES:
        unit, ago = _NAMES[name]
        return _begin(unit, today, ago), _begin(unit, today, ago - 1)
    match = _AGO.fullmatch(name)
    if match is None:
        return None
    lasting, number, unit = match[1], int(match[2]), _UNITS[match[3]]
    if number > MOST_UNITS or (lasting and not number):
        raise ValueError(text)
    start = _go_back(unit, today, number)
    return start, (today if lasting else start) + timedelta(days=1)


def complete_relative(typed: str) -> list[str]:
    """Return relative dates that begin with what is typed, or of which a word does, in the language
    that it is typed in: "last" gives `last week`, `last month` and `last year`."""
    start = " ".join(typed.casefold().replace("_", " ").split())
    is_chinese = not start.isascii()
    names = [one for one in _NAMES if one.isascii() != is_chinese]
    names = [one for one in names if any(w.startswith(start) for w in (one, *one.split()))]
    match = _BEGUN.fullmatch(start)
    if match is None:
        return names
    number, unit = match[2], match[3]
    if is_chinese:
        periods = [f"最近{number}{one}" for one in ("天", "周", "个月", "年")]
    else:
        words = ("day", "week", "month", "year")
        periods = [f"last {number} {one}{'s' * (int(number) != 1)}" for one in words]
    units = ("天", "周", "个月", "年") if is_chinese else ("day", "week", "month", "year")
    chosen = [one for one, word in zip(periods, units, strict=True) if word.startswith(unit)]
    if unit and not match[1] and _AGO.fullmatch(start):  # such as `30d`: that day
        chosen.insert(0, start)
    return names + chosen


def _begin(unit: str, today: date, ago: int) -> date:
    """Return the first day of a day, week, month or year. ago: 0 for the present one, -1 for the
    next."""
    if unit == "day":
        return today - timedelta(days=ago)
    if unit == "week":
        return today - timedelta(days=today.weekday() + 7 * ago)
    first = today.replace(day=1) if unit == "month" else today.replace(month=1, day=1)
    return _go_back(unit, first, ago)


def _go_back(unit: str, day: date, number: int) -> date:
    """Return the day so many units before another; the last of a month that is shorter."""
    if unit in ("day", "week"):
        return day - timedelta(days=number * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 - number * (12 if unit == "year" else 1)
    first = date(months // 12, months % 12 + 1, 1)
    following = date((months + 1) // 12, (months + 1) % 12 + 1, 1)
    return first.replace(day=min(day.day, (following - first).days))
