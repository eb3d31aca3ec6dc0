"""The facade as Python sees it."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.project import SAMPLES
from PIL import Image

from search import (
    Engine,
    Hits,
    InputError,
    LibraryError,
    NotFoundError,
    PictureError,
    Query,
    QueryError,
    Term,
)

HAT = SAMPLES / "hat" / "03.jpg"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine.open(home=tmp_path_factory.mktemp("home")) as engine:
        engine.sync(SAMPLES)
        yield engine


def test_progress_ends_with_the_report(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "hat", tmp_path / "hat")
    with Engine.open(home=tmp_path / "home") as engine:
        *progress, last = engine.index(tmp_path / "hat")
    assert last.phase == "finish" and last.report is not None and last.report.added == 11
    assert all(p.report is None for p in progress)
    assert [p.done for p in progress if p.phase == "index"] == [11]


def test_every_way_to_give_a_picture_finds_it(engine: Engine) -> None:
    path = SAMPLES / "skirt" / "04.jpg"
    with Image.open(path) as picture:
        picture.load()
        sources = [path, str(path), path.read_bytes(), picture]
        answers = [engine.search(image=one, k=5) for one in sources]
    for hits in answers:
        assert hits[0].path == str(path) and hits[0].score >= 0.999
        assert [h.id for h in hits] == [h.id for h in answers[0]]
        assert [h.score for h in hits] == pytest.approx([h.score for h in answers[0]], abs=1e-5)
    by_query = engine.search(Query((Term(image=path),), k=5))
    assert [h.score for h in by_query] == pytest.approx([h.score for h in answers[0]], abs=1e-6)


def test_a_given_picture_is_not_changed(engine: Engine) -> None:
    picture = Image.new("RGBA", (900, 700), (10, 20, 30, 40))
    before = picture.tobytes()
    engine.search(image=picture)
    assert picture.size == (900, 700) and picture.tobytes() == before


def test_small_and_compressed_copies_find_their_originals_first(engine: Engine) -> None:
    paths = sorted(SAMPLES.glob("*/*.jpg"))[:100]
    right = 0
    for path in paths:
        with Image.open(path) as picture:
            half = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
        data = io.BytesIO()
        half.save(data, "JPEG", quality=30)
        right += engine.search(image=data.getvalue(), k=1)[0].path == str(path)
    assert right >= 97


def test_scores_are_cosines_of_the_stored_vectors(engine: Engine) -> None:
    first = engine.search(image=SAMPLES / "hat" / "01.jpg", k=110)
    assert len(first) == 110
    assert all(-1 <= hit.score <= 1 for hit in first)
    ids = [hit.id for hit in first]
    assert len(set(ids)) == 110
    back = {h.id: h.score for h in engine.search(image=f"id:{ids[50]}", k=110)}
    assert back[ids[0]] == pytest.approx(first[50].score, abs=2e-3)


def test_a_vector_is_a_query(engine: Engine) -> None:
    vector = np.random.default_rng(0).normal(size=512)
    one, two = engine.search(vector=vector, k=3), engine.search(vector=vector * 7, k=3)
    assert [h.score for h in one] == pytest.approx([h.score for h in two], abs=1e-6)
    with pytest.raises(QueryError, match="512"):
        engine.search(vector=[1.0, 2.0])
    with pytest.raises(QueryError, match="512"):
        engine.search(vector=[0.0] * 512)


def test_weights_pull_and_push(engine: Engine) -> None:
    hat, shoe = SAMPLES / "hat" / "01.jpg", SAMPLES / "shoes" / "01.jpg"
    pulled = engine.search(Query((Term(image=hat), Term(image=shoe, weight=0.2)), k=110))
    pushed = engine.search(Query((Term(image=hat), Term(image=shoe, weight=-0.2)), k=110))
    score = {
        name: next(h.score for h in hits if h.path == str(shoe))
        for name, hits in (("pulled", pulled), ("pushed", pushed))
    }
    assert score["pulled"] > score["pushed"]


def test_what_cannot_be_searched_by_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(PictureError, match="text.jpg: not a picture"):
        engine.search(image=tmp_path / "text.jpg")
    with pytest.raises(PictureError, match="empty"):
        engine.search(image=b"")
    with pytest.raises(NotFoundError):
        engine.search(image=tmp_path / "nothing.jpg")
    with pytest.raises(InputError, match="folder"):
        engine.search(image=tmp_path)
    with pytest.raises(PictureError, match="not within"):
        engine.search(image=SAMPLES / "hat" / "01.jpg", crop=(0, 0, 5000, 1))


def test_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    with Engine.open(home=tmp_path) as engine:
        with pytest.raises(LibraryError, match="lookalike index FOLDER"):
            engine.search(image=SAMPLES / "hat" / "01.jpg")
        assert engine.status().model is None and engine.status().pictures == 0
        assert engine.check().problems == ()


def test_settings_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "here"))
    monkeypatch.setenv("LOOKALIKE_WORKERS", "3")
    with Engine.open() as engine:
        assert engine.home == tmp_path / "here" and engine.settings.workers == 3
    monkeypatch.setenv("LOOKALIKE_WORKERS", "none")
    with pytest.raises(InputError, match="LOOKALIKE_WORKERS"):
        Engine.open()


def test_a_closed_library_says_so(tmp_path: Path) -> None:
    engine = Engine.open(tmp_path / "home", model="mini")
    picture = SAMPLES / "hat" / "01.jpg"
    engine.keep(picture.read_bytes())
    engine.close()
    for use in (lambda: engine.keep(b"a picture"), lambda: engine.search(image=str(picture))):
        with pytest.raises(LibraryError, match="open it again"):
            use()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_is_told_to_open_the_library_again(engine: Engine) -> None:
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_search_in_child, args=(engine, HAT, send))
        child.start()
    assert receive.poll(60)
    assert "open the library again" in receive.recv()
    child.join()


def _search_in_child(engine: Engine, path: Path, send: Any) -> None:
    try:
        engine.search(image=str(path))
    except LibraryError as error:
        send.send(str(error))
    else:
        send.send("no error")


def test_a_slice_of_hits_is_an_answer_too(engine: Engine) -> None:
    hits = engine.search(image=HAT, k=5)
    assert isinstance(hits[1:3], Hits) and list(hits[1:3]) == list(hits)[1:3]
    assert hits[1:3].query == hits.query and hits[:0].to_json()["hits"] == []


def test_hits_show_as_a_contact_sheet(engine: Engine) -> None:
    hits = engine.search(image=HAT, k=3)
    page = hits._repr_html_()
    assert page.count("<figure") == 3 and page.count("data:image/webp;base64,") == 3
    assert all(f"{hit.score:.3f}" in page for hit in hits)
    strange = replace(hits[0], id="0" * 64, path="/a/<b>&.jpg")
    page = replace(hits, hits=(strange,))._repr_html_()
    assert "<b>" not in page and "data:image" not in page


def test_a_hit_opens_as_an_upright_picture(tmp_path: Path, engine: Engine) -> None:
    hit = engine.search(image=HAT, k=1)[0]
    picture = hit.open()
    assert picture.mode == "RGB" and picture.size == (hit.width, hit.height)
    with pytest.raises(NotFoundError, match="index its folder again"):
        replace(hit, path=str(tmp_path / "gone.jpg")).open()
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(PictureError, match="not a picture"):
        replace(hit, path=str(text)).open()
