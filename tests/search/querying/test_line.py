"""The query on one line: what it means, and that nothing but QueryError comes of odd ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.pictures import paint
from hypothesis import example, given, strategies as st

from search import QueryError
from search.errors import ConditionError
from search.querying.line import MAX_LINE, QueryLine, parse_line

Line = tuple[list[tuple[str, float]], list[str]]


def read(line: str, files: bool = False) -> Line:
    """Return the terms (text or picture, weight) and the conditions of a line."""
    parsed = parse_line(line, files)
    terms = [(str(one.text or one.image), one.weight) for one in parsed.terms]
    return terms, [str(one) for one in parsed.where]


@pytest.mark.parametrize(
    ("line", "terms", "where"),
    [
        ("red car", [("red car", 1)], []),
        ("2:beach - people", [("beach", 2), ("people", -1)], []),
        (
            "beach + 0.5:old house - 3:people",
            [("beach", 1), ("old house", 0.5), ("people", -3)],
            [],
        ),
        ('"black + white"', [('"black + white"', 1)], []),
        ("black-and-white rock-n-roll", [("black-and-white rock-n-roll", 1)], []),
        ("beach -people", [("beach", 1)], ["not words=people"]),
        ('-"old house" beach', [("beach", 1)], ['not words="old house"']),
        ("beach type:jpeg width>=1000", [("beach", 1)], ["type=jpeg", "width>=1000"]),
        ("-type=png tag:x", [], ["not type=png", "tag=x"]),
        ('tag:"two words" boat', [("boat", 1)], ['tag="two words"']),
        ("chapter:one 12:30", [("chapter:one", 1), ("30", 12)], []),
        ("id:abcdef + sea", [("id:abcdef", 1), ("sea", 1)], []),
        ("https://example.org/a.jpg - sea", [("https://example.org/a.jpg", 1), ("sea", -1)], []),
        ('beach "', [("beach", 1)], []),
        ("海滩 -人", [("海滩", 1)], ["not words=人"]),
        ("", [], []),
        ("+ - +", [], []),
    ],
)
def test_a_line_is_read_as_it_is_meant(
    line: str, terms: list[tuple[str, float]], where: list[str]
) -> None:
    assert read(line) == (terms, where)


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("hat year:2023", "date=2023"),
        ("year>=2023", "date>=2023"),
        ("month:2023-05", "date=2023-05"),
        ("-day:2023-05-02", "not date=2023-05-02"),
    ],
)
def test_parts_of_a_date_are_dates(line: str, where: str) -> None:
    (condition,) = parse_line(line).where
    assert str(condition) == where


def test_a_field_that_is_misspelled_is_named() -> None:
    for line, near in (("colr:red", "color"), ("typ:jpeg", "type"), ("years:2023", "year")):
        with pytest.raises(ConditionError, match=f"did you mean {near}?") as caught:
            parse_line(line)
        assert caught.value.code == "condition_field_unknown"
    with pytest.raises(ConditionError, match="such as date>=2024-05"):
        parse_line("month:may")
    for line in ("note:this", "time:12:30", '"typ:jpeg"', "data:1"):
        assert not parse_line(line).where


def test_only_here_a_term_names_a_file(folder: Path) -> None:
    paint(folder / "pool.jpg", 1)
    paint(folder / "my pool.jpg", 2)
    line = f'sea {folder}/pool.jpg - "{folder}/my pool.jpg"'
    pictures = [("sea", 1), (f"{folder}/pool.jpg", 1), (f"{folder}/my pool.jpg", -1)]
    assert read(line, files=True) == (pictures, [])
    assert all(term.image is None for term in parse_line(line).terms)
    assert read(str(folder), files=True) == ([(str(folder), 1)], [])  # a folder is no picture


@pytest.mark.parametrize("line", ["0:beach", "colour_of=red", "width=wide", "x" * (MAX_LINE + 1)])
def test_what_cannot_be_answered_is_refused(line: str) -> None:
    with pytest.raises(QueryError):
        parse_line(line)


PIECES = st.sampled_from(
    [
        "beach",
        "+",
        "-",
        "--",
        "-x",
        "2:",
        "0.5:",
        "10:x",
        '"',
        '"a - b"',
        'tag:"q r"',
        "type:png",
        "id:abcdef",
        "https://e.org/a",
        "a:b",
        "\\",
        '\\"',
        "-tag:z",
        "海滩",
        "é",
        "\0",
        "\udcff",
        "=",
        "<",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=9).map(" ".join)))
@example('"a\\"b" - "')
def test_any_line_is_read_or_refused_and_written_again(line: str) -> None:
    try:
        parsed = parse_line(line, files=True)
    except QueryError:
        return
    assert isinstance(parsed, QueryLine)
    assert parse_line(str(parsed), files=True) == parsed
