"""Suggestions while a query is typed, on each database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from helpers.pictures import identity, paint
from helpers.serving import serving
from sqlalchemy import update

from search import Engine, QueryError
from search.catalog.schema import pictures

Open = Callable[..., Engine]


@pytest.fixture
def engine(library: Open, tmp_path: Path) -> Engine:
    engine = library()
    for folder, seeds in (
        ("Canon trip", (1, 2)),
        ("other/Cancún 2023", (3,)),
        ("other/dogs", (4,)),
    ):
        for seed in seeds:
            paint(tmp_path / folder / f"{seed}.jpg", seed)
    for folder in ("Canon trip", "other"):
        engine.sync(tmp_path / folder)
    reader, catalog = engine.library.reader, engine.library.catalog
    for seed, tag in ((1, "candle"), (2, "candle"), (3, "Candy floss"), (4, "海滩")):
        catalog.tag(reader.resolve(identity(seed)), [tag])
    with catalog.database.write() as c:
        for seed, date in (
            (1, "2023-05-01T00:00:00"),
            (2, "2023-06-01T00:00:00"),
            (3, "2024-01-02T00:00:00"),
        ):
            values = {"camera": "Canon EOS R6" if seed < 3 else "Leica Q2", "taken": date}
            c.execute(update(pictures).where(pictures.c.id == identity(seed)).values(values))
    return engine


def suggest(engine: Engine, text: str) -> dict[str, list[tuple[str, int | None]]]:
    """Return what is inserted and counted, by kind, without words and fields."""
    kinds: dict[str, list[tuple[str, int | None]]] = {}
    for one in engine.suggest(text):
        if one.kind not in ("word", "field"):
            kinds.setdefault(one.kind, []).append((one.insert, one.count))
    return kinds


@pytest.mark.catalogs("sqlite", "postgresql")
def test_names_that_begin_with_what_is_typed_are_suggested(engine: Engine) -> None:
    assert suggest(engine, "can") == {
        "tag": [("tag:candle", 2), ('tag:"Candy floss"', 1)],
        "folder": [('folder:"Canon trip"', 2), ('folder:"Cancún 2023"', 1)],
        "camera": [('camera:"Canon EOS R6"', 2)],
    }
    assert suggest(engine, "-tag:cand") == {"tag": [("-tag:candle", 2), ('-tag:"Candy floss"', 1)]}
    assert suggest(engine, "海")["tag"] == [("tag:海滩", 1)]
    assert suggest(engine, "20")["date"] == [("date:2023", 2), ("date:2024", 1)]
    assert suggest(engine, "2023-0")["date"] == [("date:2023-05", 1), ("date:2023-06", 1)]
    assert suggest(engine, "r6") == {"camera": [('camera:"Canon EOS R6"', 2)]}
    assert suggest(engine, "shape:p") == {
        "value": [("shape:portrait", None), ("shape:panorama", None)]
    }
    assert suggest(engine, "") == {} and suggest(engine, "\udcff\0") == {}
    fields = [one.insert for one in engine.suggest("cam") if one.kind == "field"]
    assert fields == ["camera:"]
    words = [one.insert for one in engine.suggest("do") if one.kind == "word"]
    assert "dog" in words


@pytest.mark.catalogs("sqlite", "postgresql")
def test_what_is_inserted_finds_the_counted_pictures(engine: Engine) -> None:
    for typed in ("can", "20", "2023-0", "海", "leica"):
        for one in engine.suggest(typed):
            if one.count is not None:
                assert len(engine.search(line=one.insert)) == one.count, one


@pytest.mark.catalogs("sqlite", "postgresql")
def test_relative_dates_are_suggested_with_their_pictures(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("values", "selection"):
        monkeypatch.setattr(f"search.querying.{name}.find_today", lambda: date(2023, 6, 15))
    named = suggest(engine, "date:last m")["date"]
    assert named == [('date:"last month"', 1)]
    assert suggest(engine, "month")["date"] == [('date:"this month"', 1), ('date:"last month"', 1)]
    assert suggest(engine, "-last_m")["date"] == [('-date:"last month"', 1)]
    assert suggest(engine, "tod") == {}  # no picture of today
    assert suggest(engine, "date:tod")["date"] == [("date:today", 0)]
    assert suggest(engine, "date:14d")["date"] == [("date:14d", 1), ('date:"last 14 days"', 1)]
    assert suggest(engine, "30 d")["date"] == [('date:"last 30 days"', 1)]
    assert suggest(engine, "上")["date"] == [("date:上个月", 1), ("date:上月", 1)]
    assert ("date:最近2个月", 2) in suggest(engine, "date:最近2")["date"]
    assert suggest(engine, "date:99999d") == {} and suggest(engine, "date:last 0") == {}
    for typed in ("date:last", "date:this", "date:14d", "date:2", "最近30"):
        for one in engine.suggest(typed):
            if one.kind == "date":
                assert len(engine.search(line=one.insert)) == one.count, one


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_user_of_one_folder_is_told_nothing_of_others(engine: Engine, tmp_path: Path) -> None:
    part = engine.within([str(tmp_path / "other")])
    assert suggest(part, "can") == {
        "tag": [('tag:"Candy floss"', 1)],
        "folder": [('folder:"Cancún 2023"', 1)],
    }
    assert suggest(part, "20")["date"] == [("date:2024", 1)]
    assert suggest(engine.within(["/none"]), "can") == {}


def test_the_server_suggests_the_same(engine: Engine) -> None:
    with serving(engine) as client:
        answer = client.get("/api/v1/suggest", params={"q": "can", "limit": 1}).json()
        shown = [(one["insert"], one["count"]) for one in answer["suggestions"]]
        assert shown[:2] == [("tag:candle", 2), ('folder:"Canon trip"', 2)]
        assert client.get("/api/v1/suggest", params={"q": "x" * 201}).status_code == 422
    with pytest.raises(QueryError, match="limit"):
        engine.suggest("a", 0)
