"""The grammar of conditions, and its errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from search.errors import (
    ConditionError,
    ConditionValueError,
    QueryError,
    UnknownFieldError,
)
from search.querying.conditions import MAX_DEPTH, And, Comparison, Condition, Not, Or
from search.querying.fields import FIELDS
from search.querying.parser import parse_condition

TEXTS = st.text(min_size=1, max_size=20).filter(
    lambda text: text.strip() == text and "\0" not in text and text.isprintable()
)
COMPARISONS = st.one_of(
    st.builds(Comparison, st.sampled_from(["path", "name", "camera"]), st.just("="), TEXTS),
    st.builds(
        Comparison,
        st.sampled_from(["width", "height"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.integers(0, 99999).map(str),
    ),
    st.sampled_from([Comparison(*one) for one in (("has", "=", "gps"), ("type", "!=", "png"))]),
)


def join(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(several.map(And), several.map(Or), inner.map(Not))


CONDITIONS = st.recursive(COMPARISONS, join, max_leaves=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(CONDITIONS)
def test_a_condition_is_parsed_from_its_text(condition: Condition) -> None:
    assert parse_condition(str(condition)) == condition


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="()\"'\\=<>!: notadrype12,.*#", max_size=60),
        st.lists(
            st.sampled_from([*FIELDS, "=", "<", ">=", "and", "or", "not", "(", ")", '"', "1", "*"])
        ).map(" ".join),
    )
)
def test_any_text_is_a_condition_or_a_query_error(text: str) -> None:
    try:
        condition = parse_condition(text)
    except QueryError as error:
        assert str(error)
    else:
        assert parse_condition(str(condition)) == condition


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from([*FIELDS]), st.text(max_size=30))
def test_any_value_is_one_or_a_query_error(name: str, value: str) -> None:
    try:
        Comparison(name, "=", value)
    except QueryError as error:
        str(error).encode()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("type=JPG", Comparison("type", "=", "JPG")),
        ("colour=red", Comparison("color", "=", "red")),
        ("Width >= 1000", Comparison("width", ">=", "1000")),
        ("type:jpeg", Comparison("type", "=", "jpeg")),
        ('name="a \\"b\\" \\\\ c"', Comparison("name", "=", 'a "b" \\ c')),
        ("tag='it is'", Comparison("tag", "=", "it is")),
        ("tag=and AND NOT tag=not", And(
            (Comparison("tag", "=", "and"), Not(Comparison("tag", "=", "not"))))),
        ("width>1 or width>2 and width>3", Or((
            Comparison("width", ">", "1"),
            And((Comparison("width", ">", "2"), Comparison("width", ">", "3"))),
        ))),
        ("(width>1 or width>2) and width>3", And((
            Or((Comparison("width", ">", "1"), Comparison("width", ">", "2"))),
            Comparison("width", ">", "3"),
        ))),
    ],
)  # fmt: skip
def test_texts_and_their_trees(text: str, tree: Condition) -> None:
    assert parse_condition(text) == tree


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("widht>3", UnknownFieldError, "did you mean width?"),
        ("colors=red", UnknownFieldError, "did you mean color?"),
        ("type=jpge", ConditionValueError, "did you mean jpeg?"),
        ("shape=wide", ConditionValueError, "landscape, portrait, square, panorama"),
        ("type<jpeg", ConditionValueError, "type takes = !="),
        ("width=wide", ConditionValueError, "width>=1000"),
        ("date=2024-02-30", ConditionValueError, "a year, a month"),
        ("date>=tomorrow", ConditionValueError, "date>=2024-05"),
        ("date>=99999y", ConditionValueError, "last month"),
        ("date=9000y", ConditionValueError, "last month"),
        ("date=last_0_days", ConditionValueError, "last month"),
        ("size<2XB", ConditionValueError, "size<2MB"),
        ("ratio=16:0", ConditionValueError, "ratio=16:9"),
        ("color=reddish", ConditionValueError, "did you mean red?"),
        ("near=91,0,1km", ConditionValueError, "near=48.85,2.35,10km"),
        ("near=nan,0,1km", ConditionValueError, "near=48.85,2.35,10km"),
        ('tag=" "', ConditionValueError, "tag=beach"),
        ("has=wings", ConditionValueError, "gps or text or tags or copies"),
        ("type=jpeg width>3", ConditionError, "put `and` or `or` between"),
        ("(type=jpeg", ConditionError, "ends too early"),
        ("type=jpeg)", ConditionError, "from ')' on"),
        ("beach", ConditionError, "FIELD=VALUE"),
        ("", ConditionError, "empty"),
        ("width>1 and " * 5000 + "width>1", ConditionError, "10000 characters"),
    ],
)
def test_errors_say_what_is_valid(text: str, error: type[QueryError], part: str) -> None:
    with pytest.raises(error) as caught:
        parse_condition(text)
    assert part in str(caught.value)
    assert caught.value.code.startswith("condition_")


def test_every_field_takes_its_example() -> None:
    for name, field in FIELDS.items():
        assert parse_condition(field.example).field == name


def test_deep_and_wide_conditions_are_refused() -> None:
    assert parse_condition("(" * 4000 + "width>1" + ")" * 4000) == Comparison("width", ">", "1")
    with pytest.raises(ConditionError, match="levels"):
        parse_condition("not " * (MAX_DEPTH + 1) + "width>1")
    with pytest.raises(ConditionError, match="levels"):
        parse_condition("not (width>1 or (" * MAX_DEPTH + "width>1" + "))" * MAX_DEPTH)
    with pytest.raises(ConditionError, match="comparisons"):
        parse_condition(" or ".join(["width>1"] * 300))


def test_each_value_of_has_and_is_is_a_condition() -> None:
    from search.querying.fields import HAS, IS

    for name, flags in (("has", HAS), ("is", IS)):
        for value in flags:
            assert str(parse_condition(f"{name}={value}")) == f"{name}={value}"
        with pytest.raises(ConditionError, match=f"takes {' or '.join(flags)}"):
            parse_condition(f"{name}=nothing")
