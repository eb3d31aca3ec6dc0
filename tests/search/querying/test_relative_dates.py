"""Dates that count from today: their periods, and that answers follow the day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from search import Engine
from search.querying import selection, values
from search.querying.line import parse_line
from search.querying.relative_dates import parse_relative

TODAY = date(2024, 3, 31)  # a Sunday


@pytest.mark.parametrize(
    ("texts", "first", "after"),
    [
        ("today 今天 0d", "2024-03-31", "2024-04-01"),
        ("yesterday 昨天 1d 1天前 1_day_ago", "2024-03-30", "2024-03-31"),
        ("this_week 本周 这周", "2024-03-25", "2024-04-01"),
        ("last_week 上周 LAST_WEEK", "2024-03-18", "2024-03-25"),
        ("this_month 本月", "2024-03-01", "2024-04-01"),
        ("last_month 上个月 上月", "2024-02-01", "2024-03-01"),
        ("this_year 今年", "2024-01-01", "2025-01-01"),
        ("last_year 去年", "2023-01-01", "2024-01-01"),
        ("30d 30天 30_days 30days", "2024-03-01", "2024-03-02"),
        ("2w 2周 2星期", "2024-03-17", "2024-03-18"),
        ("1m 1个月", "2024-02-29", "2024-03-01"),  # the last day of a shorter month
        ("13m", "2023-02-28", "2023-03-01"),
        ("1y 1年", "2023-03-31", "2023-04-01"),
        ("last_30_days past_30_days 最近30天 过去30天", "2024-03-01", "2024-04-01"),
        ("last_2_months 最近2个月", "2024-01-31", "2024-04-01"),
    ],
)
def test_periods_in_both_languages(texts: str, first: str, after: str) -> None:
    for text in texts.split():
        period = parse_relative(text.replace("_", " "), TODAY)
        assert period == (date.fromisoformat(first), date.fromisoformat(after)), text


def test_the_months_around_a_new_year() -> None:
    assert parse_relative("last month", date(2024, 1, 15)) == (date(2023, 12, 1), date(2024, 1, 1))
    assert parse_relative("this month", date(2023, 12, 31)) == (date(2023, 12, 1), date(2024, 1, 1))
    assert parse_relative("12m", date(2024, 12, 1)) == (date(2023, 12, 1), date(2023, 12, 2))


@pytest.mark.parametrize("text", ["tomorrow", "30", "d", "-3d", "last", "3 x", "2024-05", ""])
def test_other_texts_are_none(text: str) -> None:
    assert parse_relative(text, TODAY) is None


def test_answers_follow_the_day(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 20):
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = (
            f"2024:03:{day:02} 10:00:00"
        )
        Image.new("RGB", (64, 48), (day * 10, 90, 30)).save(folder / f"{day}.jpg", exif=exif)
    engine.sync(folder)

    def list_names(today: date, where: str) -> list[str]:
        for module in (values, selection):
            monkeypatch.setattr(module, "find_today", lambda: today)
        paths = [one.path for one in engine.browse(where, sort="name").pictures]
        hits = {hit.path for hit in engine.search(image=folder / "1.jpg", where=where)}
        assert hits == set(paths)
        return [Path(path).stem for path in paths]

    for _ in range(2):  # the second time from memory
        assert list_names(TODAY, "date>=30d") == ["1", "20"]
    assert list_names(date(2024, 4, 1), "date>=30d") == ["20"]
    assert list_names(TODAY, "date=今天") == []
    assert list_names(date(2024, 4, 7), "date=上个月 and date<3w") == ["1"]
    (condition,) = parse_line("boat date:last_month").where
    assert list_names(date(2024, 4, 30), str(condition)) == ["1", "20"]
