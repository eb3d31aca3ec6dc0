"""Queries: valid values, errors, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, strategies as st

from search import Crop, FieldError, Query, QueryError, Term
from search.querying.query import MAX_K, MAX_TERMS, combine, parse_crop

finite = st.floats(-1e6, 1e6, allow_nan=False)


def test_several_pictures_make_several_terms() -> None:
    query = Query.of(["a.jpg", b"bytes", "id:abcdef"], k=3, min_score=0.5)
    assert [term.image for term in query.terms] == ["a.jpg", b"bytes", "id:abcdef"]
    assert query.to_json() == {
        "terms": [
            {"image": "a.jpg", "weight": 1.0},
            {"image": 0, "weight": 1.0},
            {"image": "id:abcdef", "weight": 1.0},
        ],
        "k": 3,
        "min_score": 0.5,
    }


def test_pictures_and_texts_add_up() -> None:
    query = Query.of("a.jpg", text=["sand", "sea"])
    assert [(term.image, term.text) for term in query.terms] == [
        ("a.jpg", None),
        (None, "sand"),
        (None, "sea"),
    ]
    assert query.to_json()["terms"][2] == {"text": "sea", "weight": 1.0}
    assert Query.of(text="sea").terms == (Term(text="sea"),)


def test_the_spelling_is_json() -> None:
    query = Query((Term(image="ä\udcff.jpg", crop=parse_crop("10%,0,50%,20")), Term(vector=(1.0,))))
    encoded = json.loads(json.dumps(query.to_json()))
    assert encoded["terms"][0] == {
        "image": "ä\\xff.jpg",
        "weight": 1.0,
        "crop": ["10%", 0, "50%", 20],
    }


@pytest.mark.parametrize("count", [MAX_TERMS + 1, 200])
@pytest.mark.parametrize(
    "build",
    [
        lambda n: Query((Term(image="a.jpg"),) * n),
        lambda n: Query.of(["a.jpg"] * n),
        lambda n: Query.of("a.jpg", text=["sea"] * (n - 1)),
        lambda n: Query.of(["a.jpg"] * (n - 2), line="sea - sand"),
        lambda n: Query.of(line="sea" + " + sea" * (n - 1)),
        lambda n: Query.from_json({"terms": [{"image": 0}] * n}, [b"file"]),
        lambda n: Query.from_json({}, [b"file"] * n),
        lambda n: Query.from_json({"line": "sea - sand"}, [b"file"] * (n - 2)),
    ],
)
def test_too_many_terms_are_refused_however_they_come(
    build: Callable[[int], Query], count: int
) -> None:
    assert len(build(MAX_TERMS).terms) == MAX_TERMS
    with pytest.raises(QueryError, match=f"has {count} terms .* {MAX_TERMS} is the most"):
        build(count)


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
def test_k_has_bounds(k: int) -> None:
    with pytest.raises(QueryError, match="1 to 10000"):
        Query.of("a.jpg", k=k)


@pytest.mark.parametrize("score", [1.01, -2, float("nan"), float("inf")])
def test_min_score_is_a_cosine(score: float) -> None:
    with pytest.raises(QueryError, match="cosine"):
        Query.of("a.jpg", min_score=score)


def test_a_query_needs_a_term() -> None:
    with pytest.raises(QueryError, match="at least one"):
        Query.of([])
    with pytest.raises(QueryError, match="one of"):
        Term()
    with pytest.raises(QueryError, match="one of"):
        Term(image="a.jpg", vector=(1.0,))


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_a_weight_is_a_number_that_counts(weight: float) -> None:
    with pytest.raises(QueryError, match="weight"):
        Term(image="a.jpg", weight=weight)


def test_a_crop_goes_with_one_picture() -> None:
    with pytest.raises(QueryError, match="one picture"):
        Query.of(["a.jpg", "b.jpg"], crop="0,0,1,1")
    assert Query.of("id:abcdef", crop="0,0,1,1").terms[0].crop is not None


@given(st.lists(st.tuples(st.floats(1, 1000), st.booleans()), min_size=4, max_size=4))
def test_a_crop_is_read_as_it_is_written(parts: list[tuple[float, bool]]) -> None:
    text = ",".join(f"{value}%" if share else str(value) for value, share in parts)
    crop = parse_crop(text)
    assert crop.shares == tuple(share for _, share in parts)
    expected = [value / 100 if share else value for value, share in parts]
    assert [crop.x, crop.y, crop.width, crop.height] == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,5", "0,0,5,-1", "-1,0,5,5", "nan,0,1,1"]
)
def test_a_crop_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="crop"):
        parse_crop(text)


def test_a_share_is_of_the_upright_picture() -> None:
    assert Crop(0.25, 10, 0.5, 20, (True, False, True, False)).box(400, 100) == (100, 10, 300, 30)


@given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=4))
def test_terms_combine_to_a_unit_vector_or_are_refused(rows: list[list[float]]) -> None:
    array = np.asarray(rows, np.float32)
    try:
        vector = combine(array, [1.0] * len(rows))
    except QueryError:
        assert np.linalg.norm(array.sum(0)) < 1e-2 * max(1.0, float(np.abs(array).max()))
    else:
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert vector.dtype == np.float32


def test_terms_that_cancel_out_are_refused() -> None:
    with pytest.raises(QueryError, match="cancel"):
        combine(np.array([[1.0, 0.0], [1.0, 0.0]]), [1.0, -1.0])


def test_json_spells_the_same_query_as_python() -> None:
    encoded = {
        "terms": [
            {"image": 1, "weight": 2, "crop": ["10%", 0, "50%", 20]},
            {"image": 0},
            {"image": "id:abcdef", "weight": -0.5},
            {"image": "https://example.org/a.jpg"},
            {"vector": [1, 0.5]},
            {"text": "海 beach", "weight": -2},
        ],
        "where": [],
        "k": 3,
        "min_score": 0.25,
        "kind": None,
        "collapse": False,
        "expand": 0,
        "restore": False,
        "verify": False,
    }
    expected = Query(
        (
            Term(image=b"two", weight=2, crop=parse_crop("10%,0,50%,20")),
            Term(image=b"one"),
            Term(image="id:abcdef", weight=-0.5),
            Term(image="https://example.org/a.jpg"),
            Term(vector=(1.0, 0.5)),
            Term(text="海 beach", weight=-2),
        ),
        k=3,
        min_score=0.25,
    )
    assert Query.from_json(encoded, [b"one", b"two"]) == expected
    assert Query.from_json(json.dumps(encoded), [b"one", b"two"]) == expected
    assert Query.from_json({}, [b"one", b"two"]) == Query.of([b"one", b"two"])


@pytest.mark.parametrize(
    ("encoded", "where"),
    [
        ({"tems": []}, "tems"),
        ({"k": "10"}, "k"),
        ({"k": 1.5}, "k"),
        ({"k": True}, "k"),
        ({"terms": {}}, "terms"),
        ({"terms": [{"image": 0, "wight": 1}]}, "terms.0.wight"),
        ({"terms": [{"image": 0, "weight": "1"}]}, "terms.0.weight"),
        ({"terms": [{"image": 0, "crop": [1, 2, 3]}]}, "terms.0.crop"),
        ({"terms": [{"image": -1}]}, "terms.0.image"),
        ({"terms": [{"vector": ["a"]}]}, "terms.0.vector.0"),
        ({"min_score": "high"}, "min_score"),
        ({"verify": 1}, "verify"),
        ([], "query"),
        ("7", "query"),
        ('{"k": 1e999}', "k"),
    ],
)
def test_json_of_the_wrong_shape_is_refused_by_field(encoded: object, where: str) -> None:
    with pytest.raises(FieldError) as caught:
        Query.from_json(encoded, [b"file"])  # type: ignore[arg-type]
    assert any(field.startswith(where) for field, _ in caught.value.fields)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        ("{", "no JSON"),
        (b"\xff", "no JSON"),
        ("[" * 100_000, "no JSON|query"),
        ({"terms": []}, "no term|at least one"),
        ({"terms": [{"image": 1}]}, "0 is the first"),
        ({"terms": [{"image": "/etc/passwd"}]}, "uploaded file"),
        ({"terms": [{"image": "file:///etc/passwd"}]}, "uploaded file"),
        ({"terms": [{"image": "ID:../etc/passwd"}]}, "uploaded file"),
        ({"terms": [{"image": "http//example.org"}]}, "uploaded file"),
        ({"terms": [{"image": 0}, *[{"image": "HTTP://a.org"}] * 5]}, "more than 4 URLs"),
        ({"terms": [{"image": 0}, {"text": " "}]}, "1 to 1000 characters"),
        ({"terms": [{"image": 0}, {"text": "a" * 1001}]}, "1 to 1000 characters"),
        ({"terms": [{"image": 0}, {"text": "\ud800"}]}, "no character"),
        ({"terms": [{"image": 0}, {"text": "sea", "crop": [0, 0, 5, 5]}]}, "crop is of a picture"),
        ({"terms": [{"image": 0, "text": "sea"}]}, "one of image, text and vector"),
        ({"terms": [{"image": 0, "vector": [1]}]}, "one of image, text and vector"),
        ({"terms": [{"image": 0, "weight": 0}]}, "weight"),
        ({"terms": [{"image": 0, "crop": [0, 0, 0, 5]}]}, "crop"),
        ({"terms": [{"image": 0, "crop": ["a", 0, 1, 5]}]}, "crop"),
        ({"terms": [{"image": "id:abcdef"}]}, "no term of the query names file 0"),
        ({"k": 0}, "1 to 10000"),
        ({"min_score": 2}, "cosine"),
        ({"expand": 101}, "give 0 to 100"),
        ({"terms": [{"image": 0, "weight": -1}], "restore": True}, "restore needs a picture"),
        ({"terms": [{"text": "sea"}, {"image": 0, "weight": -1}], "verify": True}, "verify needs"),
        ({"terms": [{"text": "sea"}, {"image": 0, "weight": -1}], "kind": "copy"}, "copy needs"),
    ],
)
def test_json_that_cannot_be_answered_says_why(encoded: object, why: str) -> None:
    with pytest.raises(QueryError, match=why) as caught:
        Query.from_json(encoded, [b"file"])  # type: ignore[arg-type]
    assert not isinstance(caught.value, FieldError) or why == "no JSON|query"


def test_huge_weights_are_as_good_as_small_ones() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert combine(rows, [3e300, 4e300]) == pytest.approx([0.6, 0.8])
    assert combine(rows, [3e-300, 4e-300]) == pytest.approx([0.6, 0.8])
