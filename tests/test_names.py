"""Names that `mini` finds by: the table, its words, what it does not know; the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from conftest import close_library, open_library
from safetensors.numpy import save_file
from serving import problem, serving
from typer.testing import CliRunner

import search
from search import Engine, ModelError, Query, QueryError, Term
from search.cli import app
from search.embedders.base import TextEmbedder
from search.embedders.mini import Mini
from search.embedders.names import RELIABLE, Names, plain

SAMPLES = Path(search.__file__).parent / "samples"
ENTRIES = [
    (["sports car", "sport car"], 0.9, True),
    (["crane"], 0.8, True),
    (["crane (bird)", "heron's cousin"], 0.7, True),
    (["rubbish"], RELIABLE - 0.1, True),
    (["lady beetle", "ladybird"], 1.0, True),
    (["sneakers"], RELIABLE, False),
]


@pytest.fixture
def table(tmp_path: Path) -> Names:
    path = tmp_path / "names.safetensors"
    vectors = np.eye(len(ENTRIES), 8, dtype=np.float16)
    save_file({"vectors": vectors}, path, {"names": json.dumps(ENTRIES), "fingerprint": "f"})
    return Names(path, "f")


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("sports car", 0),
        ("Sport  Car!", 0),
        ("a photo of a sports-car", 0),
        ("some SPORTS CARS", 0),
        ("ladybirds", 4),
        ("the lady beetle", 4),
        ("sneaker", 5),
        ("heron's cousin", 2),
    ],
)
def test_a_name_is_found_however_it_is_written(table: Names, said: str, row: int) -> None:
    assert table.embed([said])[0].tolist() == np.eye(len(ENTRIES), 8)[row].tolist()


def test_a_word_of_two_things_lies_between_them(table: Names) -> None:
    (vector,) = table.embed(["cranes"])
    assert vector == pytest.approx(np.eye(8)[[1, 2]].sum(0) / 2**0.5, abs=1e-6)


@pytest.mark.parametrize("said", ["sunset", "car", "sports car at night", "帽子", "!", "photo of"])
def test_what_it_does_not_know_needs_a_clip_model(table: Names, said: str) -> None:
    with pytest.raises(QueryError, match=r"not among.*it knows 5.*CLIP.*--model ViT-B-32 index"):
        table.embed(["crane", said])


def test_what_it_finds_badly_is_said_to_be_so(table: Names) -> None:
    with pytest.raises(QueryError, match=r"not find reliably.*4 were right.*CLIP"):
        table.embed(["rubbish"])
    assert "rubbish" not in table.known() and "sneakers" in table.known()


def test_a_slip_is_told_what_is_near(table: Names) -> None:
    with pytest.raises(QueryError, match="such as sneakers"):
        table.embed(["snekers"])


def test_a_table_of_other_weights_is_refused(table: Names, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="other weights"):
        Names(tmp_path / "names.safetensors", "g")
    (tmp_path / "names.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be used"):
        Names(tmp_path / "names.safetensors", "f")
    with pytest.raises(ModelError, match="reinstall"):
        Names(tmp_path / "nothing.safetensors", "f")


def test_names_are_compared_plainly() -> None:
    assert plain(" The  T-Shirts_(clothing) ") == "t shirts"
    assert plain("photos of a dog") == "dog" and plain("an") == "an"


# the table in the package -----------------------------------------------------------------------


def test_the_shipped_names_are_of_the_shipped_weights() -> None:
    mini = Mini()
    assert isinstance(mini, TextEmbedder)
    names = mini.names()
    assert len(names.known()) >= 100
    vectors = mini.embed_text(names.known())
    assert vectors.shape == (len(names.known()), mini.dim) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)
    assert mini.embed_text([]).shape == (0, mini.dim)
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert cosines.max() < 0.9  # no two are the same thing


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of the sample pictures under `mini`."""
    engine = open_library(tmp_path_factory.mktemp("home"), model="mini")
    engine.sync(SAMPLES)
    yield engine
    close_library(engine)


def test_sneakers_find_shoes(clothes: Engine) -> None:
    hits = clothes.search(text="sneakers", k=5)
    assert sum("shoes" in hit.path for hit in hits) >= 3
    away = clothes.search(Query((Term(text="sneakers", weight=-1),), k=5))
    assert not any("shoes" in hit.path for hit in away)


def test_every_way_of_asking_gives_the_same(
    clothes: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [(hit.id, hit.score) for hit in clothes.search(text="sneakers", k=7)]
    with serving(clothes) as client:
        said = {"terms": [{"text": "sneakers"}], "k": 7}
        answer = client.post("/api/v1/search", json=said).json()
        problem(client.post("/api/v1/search", json={"terms": [{"text": "a dream"}]}), 400, "CLIP")
    monkeypatch.setattr("search.engine.Engine.open", lambda **_: nullcontext(clothes))
    done = CliRunner().invoke(app, ["search", "--text", "sneakers", "-k", "7", "--json"])
    for hits in (answer["hits"], json.loads(done.stdout)["hits"]):
        assert [hit["id"] for hit in hits] == [identity for identity, _ in wanted]
        assert [hit["score"] for hit in hits] == pytest.approx([s for _, s in wanted], abs=1e-5)
