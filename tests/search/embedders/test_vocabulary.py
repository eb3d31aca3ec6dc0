"""Words that `mini` searches by: the table, how texts are read, what is unknown; the same in every
interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import paint
from helpers.project import SAMPLES
from helpers.serving import problem, serving
from safetensors import safe_open
from safetensors.numpy import save_file
from sqlalchemy import event
from typer.testing import CliRunner

from search import Engine, ModelError, Query, QueryError, Term
from search.cli.app import app
from search.embedders.base import TextEmbedder
from search.embedders.mini import Mini
from search.embedders.vocabulary import LabelEmbedder, Vocabulary, normalize, split_words
from search.records.pictures import Label

WORDS = [  # names, classes, everyday
    (["dog", "狗", "小狗"], [151, 152], True),
    (["sports car", "sport car"], [817], False),
    (["crane (bird)", "heron's cousin"], [134], False),
    (["lady beetle", "ladybird"], [301], False),
    (["knife"], [], True),
    (["car", "汽车"], [817, 751], True),
    (["t-shirt", "T恤"], [610], True),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    entries = [
        {"names": names, "precision": 0.8, "everyday": everyday, "count": len(classes)}
        for names, classes, everyday in WORDS
    ]
    classes = [i for _, members, _ in WORDS for i in members]
    tensors = {
        "vectors": np.eye(len(WORDS), 8, dtype=np.float16),
        "classes": np.array(classes, np.int16),
    }
    about = {
        "words": json.dumps(entries),
        "classes": json.dumps([f"class {i}" for i in range(1000)]),
        "unusable": json.dumps({"car door": ["car"], "dog car": [], "狗尾草": ["dog"]}),
        "fingerprint": "f",
        "threshold": "0.5",
        "temperature": "1.0",
    }
    save_file(tensors, tmp_path / "words.safetensors", about)
    return tmp_path / "words.safetensors"


@pytest.fixture
def table(path: Path) -> Vocabulary:
    return Vocabulary(path, "f")


def read(table: Vocabulary, text: str) -> list[tuple[str, str | None]]:
    return [(part.text, part.word and part.word.names[0]) for part in table.split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog", [("dog", "dog")]),
        ("Dogs!", [("dogs", "dog")]),
        ("a photo of a sports-car", [("sports car", "sports car")]),
        ("knives", [("knives", "knife")]),
        ("ladybirds", [("ladybirds", "lady beetle")]),
        ("heron's cousin", [("heron cousin", "crane (bird)")]),
        ("dog and car", [("dog", "dog"), ("car", "car")]),
        ("a dog in Rome", [("dog", "dog"), ("rome", None)]),
        ("狗", [("狗", "dog")]),
        ("小狗和汽车", [("小狗", "dog"), ("汽车", "car")]),
        ("罗马的狗", [("罗马", None), ("狗", "dog")]),
        ("car doors", [("car doors", None)]),
        ("dog car", [("dog", "dog"), ("car", "car")]),
        ("狗尾草和狗", [("狗尾草", None), ("狗", "dog")]),
        ("红T恤", [("红", None), ("t恤", "t-shirt")]),
        ("狗尾", [("狗", "dog"), ("尾", None)]),
        ("the", []),
        ("!?", []),
    ],
)
def test_a_text_is_split_into_words(
    table: Vocabulary, text: str, expected: list[tuple[str, str | None]]
) -> None:
    assert read(table, text) == expected


def test_a_text_of_two_words_is_their_mean(table: Vocabulary) -> None:
    (vector,) = table.embed(["dog and car"])
    assert vector == pytest.approx(np.eye(8)[[0, 5]].sum(0) / 2**0.5, abs=1e-6)
    with pytest.raises(QueryError, match="no known word"):
        table.embed(["rome"])


def test_words_are_completed_and_slips_are_near(table: Vocabulary) -> None:
    assert [word.names[0] for word in table.complete("d")] == ["dog"]
    assert [word.names[0] for word in table.complete("汽")] == ["car"]
    assert len(table.complete("")) == len(WORDS) and len(table.complete("", 2)) == 2
    assert table.nearest("sprts car") == ["sports car"]
    assert table.nearest("car doors", "狗尾草") == ["car", "dog"]
    assert table.nearest("zzzz")  # something, where nothing is near


def test_labels_are_classes_and_everyday_words_above_the_threshold(table: Vocabulary) -> None:
    logits = np.zeros((2, 1000), np.float32)
    logits[0, [151, 152]] = 20  # two breeds, half each
    logits[1, 817] = 30
    breeds, car = table.labels(logits)
    assert [label.name for label in breeds] == ["class 151", "class 152"]
    assert table.summarize(breeds) == (Label("dog", 1.0), *breeds)
    assert table.summarize(car) == (Label("class 817", 1.0), Label("car", 1.0))
    (nothing,) = table.labels(np.zeros((1, 1000), np.float32))
    assert nothing == () and table.summarize(()) == ()


def test_a_table_of_other_weights_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="other weights"):
        Vocabulary(path, "g")
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot be used"):
        Vocabulary(path, "f")
    with pytest.raises(ModelError, match="reinstall"):
        Vocabulary(path.with_name("nothing.safetensors"), "f")


def test_texts_are_normalized() -> None:
    assert normalize(" The  T-Shirts_(clothing) ") == "the t shirts"
    assert [part.text for part in split_words("A photo of my Holiday")] == ["holiday"]


# the table in the package -----------------------------------------------------------------------


def test_the_shipped_words_belong_to_the_shipped_weights() -> None:
    mini = Mini()
    assert isinstance(mini, TextEmbedder) and isinstance(mini, LabelEmbedder)
    vocabulary = mini.vocabulary()
    assert vocabulary is not None and len(vocabulary.words) >= 500
    assert all(word.precision >= 0.5 for word in vocabulary.words)
    for text in (
        "dog",
        "狗",
        "car",
        "汽车",
        "shoe",
        "鞋",
        "church",
        "fruit",
        "bird",
        "beach",
    ):
        (part,) = vocabulary.split(text)
        assert part.word is not None, text
    for text in ("chain saw", "沙发"):  # no labelled picture could measure them
        (part,) = vocabulary.split(text)
        assert part.word is None and vocabulary.label_classes(text), text
    vectors = mini.embed_text(["dog", "狗", "shoes"])
    assert vectors.shape == (3, mini.dim) and (vectors[0] == vectors[1]).all()
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of the sample pictures, and one in a folder with a telling name, under `mini`."""
    place = tmp_path_factory.mktemp("words")
    engine = open_library(place / "home", model="mini")
    engine.sync(SAMPLES)
    for seed in range(3):
        paint(place / "photos" / "Zanzibar 2019" / f"{seed}.jpg", seed)
    engine.sync(place / "photos")
    yield engine
    close_library(engine)


@pytest.mark.parametrize("text", ["shoes", "shoe", "鞋子"])
def test_a_word_finds_what_it_means(clothes: Engine, text: str) -> None:
    hits = clothes.search(text=text, k=5)
    assert sum("/shoes/" in hit.path for hit in hits) >= 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    (understood,) = hits.understood
    assert understood.words and not understood.names and understood.advice is None


def test_a_search_away_from_a_word(clothes: Engine) -> None:
    away = clothes.search(Query((Term(text="shoes", weight=-1),), k=5))
    assert not any("/shoes/" in hit.path for hit in away)


def test_an_answer_has_as_many_hits_as_are_asked_for(clothes: Engine) -> None:
    assert len(clothes.search(text="shoe", k=40)) == 40


@pytest.mark.parametrize("k", [3, 30])
def test_the_labels_of_a_word_are_read_once(clothes: Engine, k: int) -> None:
    statements = list[str]()

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(clothes.library.database.engine, "before_cursor_execute", note)
    hits = clothes.search(text="shoe", k=k)
    event.remove(clothes.library.database.engine, "before_cursor_execute", note)
    assert len(hits) == k and sum("FROM labels" in one for one in statements) == 1


def test_an_unknown_word_is_looked_for_in_names(clothes: Engine) -> None:
    hits = clothes.search(text="zanzibar", k=10)
    assert len(hits) == 3 and all("Zanzibar" in hit.path for hit in hits)
    (understood,) = hits.understood
    assert understood.names == ("zanzibar",) and not understood.unknown
    assert understood.advice and "--model ViT-B-32" in understood.advice
    assert not clothes.search(text="anzibar")  # a word is matched from its beginning
    assert clothes.search(text="in zanzi")


def test_a_word_that_nobody_knows_is_no_error(clothes: Engine) -> None:
    hits = clothes.search(text="qwertz snekers")
    (understood,) = hits.understood
    assert not hits and understood.unknown == ("qwertz", "snekers")
    assert any("sneaker" in word for word in understood.suggestions)


def test_a_known_word_beside_an_unknown_one_is_searched_for(clothes: Engine) -> None:
    hits = clothes.search(text="shoes in qwertz", k=5)
    assert sum("/shoes/" in hit.path for hit in hits) >= 3
    (understood,) = hits.understood
    assert understood.words == ("shoe",) and understood.unknown == ("qwertz",)


def test_a_picture_beside_an_unknown_word_is_searched_for(clothes: Engine) -> None:
    photo = SAMPLES / "hat" / "01.jpg"
    hits = clothes.search(Query((Term(photo), Term(text="qwertz")), k=3))
    assert hits[0].path == str(photo) and hits[0].score > 0.99


def test_pictures_have_labels_apart_from_tags(clothes: Engine) -> None:
    hits = [clothes.picture(hit.id) for hit in clothes.search(text="shoe", k=6)]
    assert any(label.name == "shoe" for picture in hits for label in picture.labels)
    assert all(0 < label.score <= 1 for picture in hits for label in picture.labels)
    assert all(picture.tags == () for picture in hits)


def test_every_interface_gives_the_same(clothes: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = clothes.search(text="sneakers", k=7)
    with serving(clothes) as client:
        query = {"terms": [{"text": "sneakers"}], "k": 7}
        answer = client.post("/api/v1/search", json=query).json()
        unknown = client.post("/api/v1/search", json={"terms": [{"text": "qwertz"}]})
        listed = client.get("/api/v1/words", params={"prefix": "sne"}).json()
        problem(client.get("/api/v1/words", params={"limit": 0}), 422)
    assert unknown.status_code == 200 and unknown.json()["hits"] == []
    assert any(word["word"] == "sneakers" for word in listed["words"]) and listed["total"] > 500
    monkeypatch.setattr("search.engine.Engine.open", lambda **_: nullcontext(clothes))
    printed = run("search", "--text", "sneakers", "-k", "7", "--json")
    for hits in (answer["hits"], json.loads(printed)["hits"]):
        assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
        assert [hit["score"] for hit in hits] == pytest.approx([h.score for h in expected])
    assert json.loads(run("words", "sne", "--json"))["words"] == listed["words"]
    assert run("words", "sne").startswith("sneakers")


def run(*words: Any) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def unmeasured(path: Path) -> Vocabulary:
    """The table above, with three names that no picture could measure."""
    with safe_open(path, framework="numpy") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    entries = json.loads(about["words"])
    for entry in entries:
        if entry["names"][0] in ("dog", "sports car", "crane (bird)"):
            entry["precision"] = None
    save_file(tensors, path, about | {"words": json.dumps(entries)})
    return Vocabulary(path, "f")


def test_a_name_without_a_measured_precision_stands_for_labels(unmeasured: Vocabulary) -> None:
    assert "dog" not in [word.names[0] for word in unmeasured.words]
    assert unmeasured.complete("d") == []
    assert read(unmeasured, "dog and car") == [("dog", None), ("car", "car")]
    assert read(unmeasured, "sports cars") == [("sports cars", None)]  # a whole name, no car
    assert unmeasured.label_classes("狗") == ["class 151", "class 152"]
    assert unmeasured.label_classes("Dogs") == ["class 151", "class 152"]
    assert unmeasured.label_classes("car") == unmeasured.label_classes("rome") == []
    assert unmeasured.nearest("sports car") == ["car"]  # which means more
    (vector,) = unmeasured.embed(["car"])
    assert vector == pytest.approx(np.eye(8)[5])  # each word keeps its own vector
    logits = np.zeros((1, 1000), np.float32)
    logits[0, [151, 152]] = 20
    assert unmeasured.summarize(*unmeasured.labels(logits))[0] == Label("dog", 1.0)


def test_a_text_without_a_measured_word_finds_pictures_by_label(clothes: Engine) -> None:
    hits = clothes.search(text="bathing caps", k=10)
    (understood,) = hits.understood
    assert understood.labels == ("bathing caps",) and not understood.words
    assert understood.advice_code == "unknown_words" and not understood.unknown
    assert hits and all(
        hit.score == label.score >= 0.5
        for hit in hits
        for label in clothes.picture(hit.id).labels
        if label.name == "bathing cap"
    )
    every = clothes.search(text="shoe", k=200)
    labelled = {
        hit.id
        for hit in every
        if "bathing cap" in {label.name for label in clothes.picture(hit.id).labels}
    }
    assert {hit.id for hit in hits} == labelled
    nowhere = clothes.search(text="chain saw").understood[0]
    assert not nowhere.labels and nowhere.unknown == ("chain saw",)
