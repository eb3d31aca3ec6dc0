"""Libraries of a CLIP model: texts, terms that add up, parity of the interfaces, changing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg, paint
from helpers.serving import serving
from typer.testing import CliRunner

from search import Engine, ModelError, Query, QueryError, Term
from search.cli.app import app
from search.embedders.base import TextEmbedder
from search.media.decoder_pool import DecodeRequest
from search.media.fetch import FetchedPicture

Open = Callable[..., Engine]
URL = "https://example.org/a.jpg"


@pytest.fixture(scope="module")
def engine(clip: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of eight pictures under a CLIP model."""
    place = tmp_path_factory.mktemp("text")
    for seed in range(8):
        paint(place / "photos" / f"{seed}.jpg", seed)
    engine = open_library(place / "home", model=clip)
    engine.sync(place / "photos")
    engine.library.fetcher = SimpleNamespace(fetch=lambda _: FetchedPicture(jpeg(5)))
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[httpx.Client]:
    with serving(engine) as client:
        yield client


def embedder(engine: Engine) -> TextEmbedder:
    (opened,) = [one for name, one in engine.library.models.opened.items() if name != "mini"]
    assert isinstance(opened, TextEmbedder)
    return opened


def photo(engine: Engine, seed: int) -> Path:
    return engine.home.parent / "photos" / f"{seed}.jpg"


# texts -----------------------------------------------------------------------------------------


def test_scores_of_a_text_are_cosines_with_the_stored_vectors(engine: Engine) -> None:
    hits = engine.search(text="a hat", k=8)
    words = embedder(engine).embed_text(["a hat"])[0]
    space = engine.library.catalog.find_own_space()
    assert space is not None
    for hit in hits:
        _, stored = engine.library.reader.load_vectors(
            space, [engine.library.reader.resolve(hit.id)]
        )
        assert hit.score == pytest.approx(float(stored[0] @ words), abs=1e-5)
    scores = [hit.score for hit in hits]
    assert len(scores) == 8 and scores == sorted(scores, reverse=True)
    assert hits.query["terms"] == [{"text": "a hat", "weight": 1.0}]


def test_texts_and_pictures_add_up_by_their_weights(engine: Engine) -> None:
    terms = (Term(jpeg(3), weight=0.5), Term(text="lamp", weight=2), Term(text="sea", weight=-1))
    hits = engine.search(Query(terms, k=8))
    one = embedder(engine)
    picture = engine.library.resolver.decode(
        DecodeRequest(data=jpeg(3), metadata=False), one.preprocessing
    ).pixels
    assert picture is not None
    rows = np.concatenate([one.embed([picture]), one.embed_text(["lamp", "sea"])])
    expected = engine.search(vector=(np.array([0.5, 2, -1]) @ rows).tolist(), k=8)
    assert [hit.id for hit in hits] == [hit.id for hit in expected]
    assert [h.score for h in hits] == pytest.approx([h.score for h in expected], abs=1e-5)


def test_a_model_without_a_text_side_searches_names(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "my hat.jpg", 1)
    paint(folder / "b.jpg", 2)
    library().sync(folder)
    monkeypatch.delattr("search.embedders.mini.Mini.embed_text")
    monkeypatch.delattr("search.embedders.mini.Mini.embed_with_labels")
    monkeypatch.delattr("helpers.libraries.Counted.embed_with_labels")
    hits = library().search(text="a hat")
    assert [hit.path for hit in hits] == [str(folder / "my hat.jpg")]
    assert "--model ViT-B-32" in (hits.understood[0].advice or "")
    assert library().words().words == ()


# the same everywhere ---------------------------------------------------------------------------

KINDS = ("file", "bytes", "url", "id", "text", "vector", "weights", "crop", "negative")


def ways(engine: Engine, kind: str) -> tuple[list[str], bytes, list[dict[str, Any]], Query]:
    """One query: command line, standard input, the terms of its JSON, Query. Picture 4 is the file
    that is uploaded."""
    path, address = str(photo(engine, 4)), f"id:{identity(2)}"
    vector = tuple(embedder(engine).embed_text(["green"])[0].astype(float).tolist())
    share = ["10%", "10%", "50%", "60%"]
    cut = Query.of(path, crop=share).terms[0].crop
    queries: dict[str, tuple[list[str], bytes, list[dict[str, Any]], Query]] = {
        "file": ([path], b"", [{"image": 0}], Query.of(path)),
        "bytes": (["-"], jpeg(4), [{"image": 0}], Query.of(jpeg(4))),
        "url": ([URL], b"", [{"image": URL}], Query.of(URL)),
        "id": ([address], b"", [{"image": address}], Query.of(address)),
        "text": (["--text", "帽子"], b"", [{"text": "帽子"}], Query.of(text="帽子")),
        "vector": ([], b"", [{"vector": vector}], Query.of(vector=vector)),
        "weights": (
            ["--weight", "2", path, "--text=red", "--weight=0.5", address],
            b"",
            [{"image": 0, "weight": 2}, {"text": "red", "weight": 0.5}, {"image": address}],
            Query((Term(path, weight=2), Term(text="red", weight=0.5), Term(address))),
        ),
        "crop": (
            [path, "--crop", ",".join(share)],
            b"",
            [{"image": 0, "crop": share}],
            Query((Term(path, crop=cut),)),
        ),
        "negative": (
            [address, "--not", path, "--not-text", "sea"],
            b"",
            [{"image": address}, {"image": 0, "weight": -1}, {"text": "sea", "weight": -1}],
            Query((Term(address), Term(path, weight=-1), Term(text="sea", weight=-1))),
        ),
    }
    return queries[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_command_line_http_and_python_agree(
    engine: Engine, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    words, stdin, terms, query = ways(engine, kind)
    by_python = engine.search(query).to_json()["hits"]
    assert len(by_python) == 8
    request: dict[str, Any] = {"json": {"terms": terms}}
    if any(term.get("image") == 0 for term in terms):
        request = {"files": {"image": jpeg(4)}, "data": {"query": json.dumps({"terms": terms})}}
    response = client.post("/api/v1/search", **request)
    assert response.status_code == 200, response.text
    answers = [response.json()["hits"]]
    if words:  # a vector has no words
        monkeypatch.setattr("search.engine.Engine.open", lambda **_: nullcontext(engine))
        done = CliRunner().invoke(app, ["search", *words, "--json"], input=stdin)
        assert done.exit_code == 0, done.output
        answers.append(json.loads(done.stdout)["hits"])
    for hits in answers:
        assert [hit["id"] for hit in hits] == [hit["id"] for hit in by_python]
        scores = [hit["score"] for hit in by_python]
        assert [hit["score"] for hit in hits] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "IMAGE"),
        (["--text", ""], "1 to 1000 characters"),
        (["--text"], "requires an argument"),
        (["a.jpg", "--weight", "0"], "above 0"),
        (["a.jpg", "--weight", "-1"], "above 0"),
        (["a.jpg", "--weight", "nan"], "above 0"),
        (["a.jpg", "--weight", "much"], "above 0"),
        (["a.jpg", "--not", "b.jpg", "--weight", "1", "--weight", "2"], "2 times --weight for 1"),
        (["--text", "sea", "--crop", "0,0,1,1"], "follows the IMAGE"),
    ],
)
def test_words_that_make_no_query_are_wrong_usage(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr("search.engine.Engine.open", lambda **_: nullcontext(engine))
    done = CliRunner().invoke(app, ["search", *words])
    text = f"{done.output} {done.exception}"
    assert message in " ".join(text.replace("│", " ").split())
    assert done.exit_code == 2 or isinstance(done.exception, QueryError)


# changing the model ----------------------------------------------------------------------------


def test_changing_to_clip_goes_on_where_it_stopped_while_mini_answers(
    library: Open, folder: Path, tmp_path: Path, clip: str
) -> None:
    """Indexing one of two roots moves the whole library to the new model."""
    for seed in range(40):
        paint((folder if seed < 30 else tmp_path / "more") / f"{seed}.jpg", seed)
    old = library()
    old.sync(folder)
    old.sync(tmp_path / "more")
    expected = [(hit.id, hit.score) for hit in old.search(image=jpeg(3), k=40)]
    lines: list[str] = []
    new = library(model=clip, say=lines.append)
    run = new.index(folder)
    while next(run).phase != "embed":
        pass
    run.close()
    (line,) = lines
    assert clip in line and "instead of mini, which answers until" in line
    assert [(hit.id, hit.score) for hit in old.search(image=jpeg(3), k=40)] == expected
    with pytest.raises(ModelError, match=f"lookalike --model {clip} index FOLDER"):
        new.search(image=jpeg(3))
    report = library(model=clip).sync(folder)
    assert report.embedded == 8 and report.pictures == 40
    after = library()
    assert after.status().model == clip and after.status().embedded == 40
    assert after.search(image=jpeg(35), k=1)[0].id == identity(35)
    assert len(after.search(text="a hat", k=40)) == 40
    with pytest.raises(ModelError, match="lookalike --model mini index FOLDER"):
        library(model="mini").search(image=jpeg(3))


def test_a_file_that_was_moved_is_the_same_model(
    library: Open, folder: Path, tmp_path: Path, clip: str
) -> None:
    arch, _, path = clip.partition(":")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(path).read_bytes())
    paint(folder / "a.jpg", 1)
    library(model=clip).sync(folder)
    again = library(model=f"{arch}:{moved}")
    assert again.search(image=jpeg(1))[0].score > 0.999
    assert again.sync(folder).embedded == 0
    assert library().status().model == f"{arch}:{moved}"
    assert library(model=clip).search(image=jpeg(1))[0].score > 0.999
