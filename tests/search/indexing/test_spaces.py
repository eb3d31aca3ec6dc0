"""A library that serves two models: every change reaches both, and their scores never mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.libraries import close_library, open_library, parts
from helpers.pictures import identity, jpeg, paint
from helpers.serving import problem, serving
from safetensors import safe_open
from safetensors.numpy import save_file
from sqlalchemy import update

from search import (
    EmptyError,
    Engine,
    Hits,
    InputError,
    ModelError,
    NotFoundError,
    Query,
    QueryError,
)
from search.catalog import schema
from search.catalog.writes import FEATURE_SPACE, Space
from search.embedders import mini
from search.embedders.mini import Mini
from search.generation import library_pictures
from search.media.decoder_pool import DecoderPool
from search.querying.query import Term
from search.vectors.faiss.replica import IndexReplica

Open = Callable[..., Engine]
OWN, OTHER = "mini", "mini-1"


def fill(folder: Path, seeds: range) -> None:
    for seed in seeds:
        paint(folder / f"{seed}.jpg", seed)


def scores(hits: Hits) -> list[tuple[str, float]]:
    return [(hit.id, pytest.approx(hit.score, abs=2e-3)) for hit in hits]


def embedded(engine: Engine) -> dict[str, int]:
    """Vectors by the name of the model."""
    return {space.name: space.embedded for space in engine.status().spaces}


def space_of(engine: Engine, name: str) -> Space:
    (space,) = [one for one in engine.library.reader.spaces() if one.name == name]
    return space


def snapshots(engine: Engine) -> set[str]:
    """The fingerprints of saved indexes."""
    return {path.stem.partition("-")[2] for path in (engine.home / "index").glob("*.faiss")}


def disturb(path: Path, seed: int) -> None:
    """Write weights of `mini` with noise."""
    with safe_open(str(Mini().path), "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        noise = np.random.default_rng(seed).normal(size=tensors[mini.HEAD].shape)
        head = tensors[mini.HEAD] + noise.astype(tensors[mini.HEAD].dtype)
        save_file(tensors | {mini.HEAD: head}, path, file.metadata())


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a third model."""
    path = tmp_path_factory.mktemp("weights") / "third.safetensors"
    disturb(path, 0)
    return f"mini:{path}"


@pytest.fixture
def both(library: Open, folder: Path) -> Engine:
    """A library of ten pictures that serves `mini`, and `mini-1` beside it."""
    fill(folder, range(10))
    library().sync(folder)
    engine = library(model=OTHER)
    report = engine.sync(folder, beside=True)
    assert (report.unchanged, report.embedded, report.skipped) == (10, 10, ())
    close_library(engine)
    return library()


def test_each_model_answers_as_in_a_library_of_its_own(
    both: Engine, library: Open, folder: Path, tmp_path: Path
) -> None:
    queries: list[dict[str, Any]] = [
        {"image": jpeg(3)},
        {"image": f"id:{identity(4)}"},
        {"image": [jpeg(1), f"id:{identity(2)}"], "min_score": 0.2},
        {"text": "7"},  # by the name of a file
    ]
    for name in (OWN, OTHER):
        alone = library(tmp_path / name, model=name)
        alone.sync(folder)
        opened = library(model=name)
        for query in queries:
            expected = alone.search(**query)
            for hits in (both.search(**query, model=name), opened.search(**query)):
                assert hits.model == name and len(hits) > 0
                assert scores(hits) == [(hit.id, hit.score) for hit in expected]
    own, other = (both.search(image=jpeg(3), model=name) for name in (OWN, OTHER))
    assert scores(own) != [(hit.id, hit.score) for hit in other]
    assert both.search(image=jpeg(3)).model == OWN == both.status().model
    vector = Term(vector=tuple(both.library.reader.load_vectors(space_of(both, OTHER), [1])[1][0]))
    assert both.search(Query((vector,), model=OTHER))[0].id == identity(0)


def test_a_word_uses_the_labels_of_the_model_that_is_asked(both: Engine) -> None:
    """`mini` knows words; `mini-1` knows none, and must not borrow those of `mini`."""
    known = "dog"
    assert both.search(text=known, model=OWN).understood[0].words == (known,)
    answer = both.search(text=known, model=OTHER)
    assert answer.understood[0].unknown == (known,) and answer.hits == ()
    assert both.words("").model == OWN


def test_status_lists_the_models(both: Engine, library: Open) -> None:
    status = both.status()
    assert (status.model, status.embedded) == (OWN, 10)
    assert [one.name for one in status.spaces] == [OWN, OTHER]
    assert [one.fingerprint for one in status.spaces] == [
        status.fingerprint,
        Mini(version=OTHER).fingerprint,
    ]
    assert embedded(both) == {OWN: 10, OTHER: 10}
    by_print = both.search(image=jpeg(3), model=status.spaces[1].fingerprint)
    assert by_print.model == OTHER


def test_changes_of_the_folder_reach_both_and_each_log_is_followed(
    both: Engine, library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas = {name: both.library.indexes.replica(space_of(both, name)) for name in (OWN, OTHER)}
    decoded = list[Any]()
    submit = DecoderPool.submit

    def count(pool: DecoderPool, source: Any, *more: Any) -> Any:
        decoded.append(source)
        return submit(pool, source, *more)

    fill(folder, range(10, 14))
    note = "other bytes, same image"
    paint(folder / "copy.jpg", 3, note)
    paint(folder / "twin.jpg", 13, note)
    (folder / "0.jpg").unlink()
    writer = library()
    monkeypatch.setattr(DecoderPool, "submit", count)
    report = writer.sync(folder)
    assert (report.added, report.removed, report.embedded) == (6, 1, 8)
    assert len(decoded) == 6  # one decode has the pixels of both models
    assert embedded(writer) == {OWN: 15, OTHER: 15}
    for name, replica in replicas.items():
        space, runtime = space_of(both, name), both.library.runtime
        store = replica.refresh()
        ids = runtime.run(lambda store=store: store.ids().tolist())
        expected = [n for rows, _ in both.library.reader.iterate_vectors(space) for n in rows]
        assert ids == expected and len(ids) == 15
        assert replica.refresh().cursor == both.library.reader.sequence(space)
        hits = both.search(image=jpeg(13), model=name, k=100)
        assert {hit.id for hit in hits[:2]} == {
            identity(13),
            identity(13, "other bytes, same image"),
        }
        assert len(hits) == 15 and identity(0) not in {hit.id for hit in hits}
    paint(folder / "back.jpg", 0)
    assert library().sync(folder).embedded == 0  # it came back with its vectors
    for name in (OWN, OTHER):
        assert both.search(image=jpeg(0), model=name)[0].id == identity(0)
    assert library().sync(folder).embedded == 0


def test_an_interrupted_run_goes_on_and_answers_with_what_it_has(
    library: Open, folder: Path
) -> None:
    fill(folder, range(40))
    library().sync(folder)
    run = library(model=OTHER).index(folder, beside=True)
    while next(run).phase != "embed":
        pass
    run.close()
    engine = library()
    assert engine.status().model == OWN and embedded(engine) == {OWN: 40, OTHER: 32}
    assert len(engine.search(image=jpeg(3), k=100, model=OTHER)) == 32
    assert len(engine.search(image=jpeg(3), k=100)) == 40
    row_id = engine.library.reader.list_unembedded(space_of(engine, OTHER))[0][0]
    with pytest.raises(NotFoundError, match="no vector"):
        engine.search(
            image=f"id:{engine.library.reader.picture_ids([row_id])[row_id]}", model=OTHER
        )
    assert "8 pictures have no vector of mini-1; index their folders again" in (
        engine.check().problems
    )
    fill(folder, range(40, 42))
    report = engine.sync(folder)  # of the library's own model
    assert (report.added, report.embedded) == (2, 8 + 2 + 2)
    assert embedded(engine) == {OWN: 42, OTHER: 42} and engine.check().problems == ()


def test_a_space_without_vectors_says_so(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    library().sync(folder)
    engine = library(model=OTHER)
    monkeypatch.setattr(DecoderPool, "load", lambda *_, **__: iter(()))
    engine.sync(folder, beside=True)
    monkeypatch.undo()
    assert embedded(library()) == {OWN: 2, OTHER: 0}
    with pytest.raises(QueryError, match="answers with mini and mini-1 and has no vectors of x"):
        library().search(image=jpeg(0), model="x")
    with pytest.raises(EmptyError, match="no pictures with a vector of mini-1"):
        library(model=OTHER).search(image=jpeg(0))


@pytest.mark.parametrize("keep", [False, True])
def test_changing_to_a_model_beside_is_quick(
    both: Engine, library: Open, folder: Path, keep: bool
) -> None:
    """keep: the own model was indexed with `beside` as well, so it stays too."""
    if keep:
        library(model=OWN).sync(folder, beside=True)
        assert both.status().model == OWN
    expected = scores(both.search(image=jpeg(3), model=OTHER))
    computed = parts()[2].computed
    report = library(model=OTHER).sync(folder)
    assert (report.unchanged, report.embedded) == (10, 0)
    status = both.status()
    assert status.model == OTHER and parts()[2].computed == computed
    names = {OTHER, OWN} if keep else {OTHER}
    assert {space.name for space in status.spaces} == names
    assert [(hit.id, hit.score) for hit in both.search(image=jpeg(3))] == expected
    assert snapshots(both) == {space.fingerprint for space in status.spaces}
    if keep:
        assert both.search(image=jpeg(3), model=OWN).model == OWN
        assert library(model=OWN).sync(folder).embedded == 0
        assert both.status().model == OWN and embedded(both) == {OWN: 10, OTHER: 10}
        return
    with pytest.raises(ModelError, match="lookalike --model mini index FOLDER"):
        library(model=OWN).search(image=jpeg(3))


def test_changing_to_a_third_model_keeps_those_beside(
    both: Engine, library: Open, folder: Path, third: str
) -> None:
    report = library(model=third).sync(folder)
    assert report.embedded == 10 and embedded(both) == {third: 10, OTHER: 10}
    assert both.search(image=jpeg(3), model=OTHER)[0].id == identity(3)


def test_forget_takes_out_a_model(both: Engine, library: Open, folder: Path) -> None:
    assert len(both.search(image=jpeg(0), model=OTHER, k=100)) == 10
    before = space_of(both, OTHER)
    with pytest.raises(InputError, match="library's own model"):
        both.forget_model(OWN)
    with pytest.raises(NotFoundError, match="no model ViT-B-32 serves .* these do: mini-1"):
        both.forget_model("ViT-B-32")
    assert library().forget_model(OTHER) == 10
    assert embedded(both) == {OWN: 10} and snapshots(both) == {both.status().fingerprint}
    with pytest.raises(QueryError, match="has no vectors of mini-1.* --beside"):
        both.search(image=jpeg(0), model=OTHER)
    with both.library.database.read() as c:
        for table in (schema.vectors, schema.changes, schema.labels):
            spaces = set(c.scalars(table.select().with_only_columns(table.c.space)))
            assert spaces - {FEATURE_SPACE.id} == {space_of(both, OWN).id}
    (folder / "0.jpg").unlink()
    library().sync(folder)
    library(model=OTHER).sync(folder, beside=True)
    assert space_of(both, OTHER).id != before.id
    hits = both.search(image=jpeg(0), model=OTHER, k=9)  # its open index was another space's
    assert len(hits) == 9 and identity(0) not in {hit.id for hit in hits}
    assert both.check().problems == ()


def test_a_model_may_be_forgotten_by_another_spelling_of_its_name(
    library: Open, folder: Path, third: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder, range(2))
    library().sync(folder)
    library(model=third).sync(folder, beside=True)
    monkeypatch.chdir(Path(third.partition(":")[2]).parent)
    assert library().forget_model("mini:third.safetensors") == 2


def test_check_covers_both(both: Engine, library: Open, folder: Path) -> None:
    space = space_of(both, OTHER)
    with both.library.database.write() as c:
        one = (schema.vectors.c.space == space.id) & (schema.vectors.c.picture == 4)
        c.execute(update(schema.vectors).where(one).values(data=b"\0" * 2 * space.dim))
    next((both.home / "index").glob(f"*{space.fingerprint}.faiss")).write_bytes(b"damaged")
    report = both.check()
    assert report.problems == ()
    assert report.repaired == (
        "1 damaged vectors of mini-1 were deleted",
        "1 pictures were embedded again",
        "the index of mini-1 was missing or damaged; rebuilt from the catalog",
    )
    assert library().sync(folder).embedded == 0
    assert both.check().problems == () and both.check().repaired == ()


def test_a_restart_reads_both_indexes_as_they_were_saved(both: Engine, library: Open) -> None:
    spaces = both.library.reader.spaces()
    assert snapshots(both) == {space.fingerprint for space in spaces} and len(spaces) == 2
    for space in spaces:
        replica = IndexReplica(both.library.reader, space, both.home / "index")
        assert not replica.rebuilt and replica.index.count == 10
    again = library(index="ivf")
    again.tend()
    assert all(again.library.indexes.status(space)["kind"] == "ivf" for space in spaces)
    assert again.search(image=jpeg(3), model=OTHER)[0].id == identity(3)


def test_an_upload_gets_vectors_of_the_other_model_at_the_next_sync(
    both: Engine, library: Open, folder: Path
) -> None:
    uploader = library(model=OTHER)
    assert uploader.keep(jpeg(50)).id == identity(50)
    assert embedded(both) == {OWN: 11, OTHER: 10}
    assert both.search(image=jpeg(50))[0].id == identity(50)
    assert both.search(image=jpeg(50), model=OTHER)[0].id != identity(50)
    assert both.sync(folder).embedded == 1
    assert both.search(image=jpeg(50), model=OTHER)[0].id == identity(50)


def test_a_query_over_http_says_which_model(both: Engine, tmp_path: Path) -> None:
    query = {"terms": [{"image": f"id:{identity(3)}"}], "k": 2}
    with serving(both) as client:
        for name in (OWN, OTHER):
            answer = client.post("/api/v1/search", json={**query, "model": name}).json()
            assert answer["model"] == answer["query"]["model"] == name
            assert answer["hits"][0]["id"] == identity(3)
        answer = client.post("/api/v1/search", json=query).json()
        assert answer["model"] == OWN and "model" not in answer["query"]
        secret = tmp_path / "weights.safetensors"
        secret.write_bytes(b"x")
        for unknown in ("ViT-B-32", f"mini:{secret}"):  # a file that it names is not opened
            refused = client.post("/api/v1/search", json={**query, "model": unknown})
            document = problem(refused, 400, "answers with mini and mini-1")
            assert document["code"] == "query_invalid"
        problem(client.post("/api/v1/search", json={**query, "model": 5}), 422, "model")
        status = client.get("/api/v1/status").json()
        assert [one["name"] for one in status["spaces"]] == [OWN, OTHER]
    assert f"mini:{secret}" not in both.library.models.opened


def test_what_cannot_be_beside_is_refused(library: Open, folder: Path) -> None:
    fill(folder, range(2))
    with pytest.raises(InputError, match="index FOLDER. first"):
        library(model=OTHER).sync(folder, beside=True)
    library().keep(jpeg(9))  # its model is provisional
    with pytest.raises(InputError, match="index FOLDER. first"):
        library(model=OTHER).sync(folder, beside=True)
    library().sync(folder)
    with pytest.raises(InputError, match="--model NAME index FOLDER --beside"):
        library().sync(folder, beside=True)
    with pytest.raises(NotFoundError):
        library(model=OTHER).sync(folder / "missing", beside=True)
    assert [space.name for space in library().status().spaces] == [OWN]


def test_a_model_whose_weights_are_gone_does_not_stop_a_sync(
    library: Open, folder: Path, third: str, tmp_path: Path
) -> None:
    weights = tmp_path / "moved.safetensors"
    weights.write_bytes(Path(third.partition(":")[2]).read_bytes())
    fill(folder, range(2))
    library().sync(folder)
    library(model=f"mini:{weights}").sync(folder, beside=True)
    weights.unlink()
    fill(folder, range(2, 4))
    lines = list[str]()
    engine = library(say=lines.append)
    assert engine.sync(folder).embedded == 2
    assert embedded(engine) == {OWN: 4, f"mini:{weights}": 2}
    assert len(lines) == 1 and lines[0].startswith(f"model: no new vectors of mini:{weights}: ")
    assert len(engine.search(image=f"id:{identity(0)}", model=f"mini:{weights}", k=9)) == 2
    assert library(model=third).sync(folder, beside=True).embedded == 2  # the same weights again
    assert embedded(engine) == {OWN: 4, third: 4}


def test_new_weights_of_a_model_beside_replace_its_vectors(
    library: Open, folder: Path, third: str, tmp_path: Path
) -> None:
    weights, name = tmp_path / "weights.safetensors", f"mini:{tmp_path / 'weights.safetensors'}"
    weights.write_bytes(Path(third.partition(":")[2]).read_bytes())
    fill(folder, range(3))
    library().sync(folder)
    library(model=name).sync(folder, beside=True)
    before = space_of(library(), name)
    disturb(weights, 1)
    lines = list[str]()
    engine = library(say=lines.append)
    report = engine.sync(folder)
    assert lines == [f"model: {name} has new weights: all pictures get new vectors"]
    assert report.embedded == 3 and embedded(engine) == {OWN: 3, name: 3}
    assert before.id not in {one.id for one in engine.library.reader.spaces()}


def test_strangers_and_neighbours_come_from_the_model_that_was_requested(
    both: Engine, library: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library_pictures, "MIN_STRANGERS", 5)
    engine = library(model=OTHER)
    pictures = engine.library.generator.pictures
    embedder = pictures.open_embedder()
    assert embedder.name == OTHER
    space = space_of(both, OTHER)
    stored = engine.library.reader.load_vectors(space, range(1, 11))[1]
    strangers = pictures.stranger_vectors(embedder)
    assert sorted(map(tuple, strangers.tolist())) == sorted(map(tuple, stored.tolist()))
    query = engine.library.reader.load_vectors(space, [4])[1][0]
    hits = pictures.find_neighbours(query)
    expected = {hit.id: hit.score for hit in both.search(vector=query.tolist(), model=OTHER)}
    assert all(hit.score == expected[hit.id] for hit in hits)


def test_the_model_that_was_requested_encodes(both: Engine, library: Open) -> None:
    other = library(model=OTHER)
    assert other.encoder() == f"{OTHER} {Mini(version=OTHER).fingerprint}"
    assert both.encoder().startswith(f"{OWN} ")
    pixels = [np.zeros((30, 40, 3), np.uint8)]
    assert float(other.encode(pixels)[0] @ both.encode(pixels)[0]) < 0.9


def test_a_query_has_its_model_only_once(both: Engine) -> None:
    query = Query.of(jpeg(3), model=OTHER)
    assert both.search(query).model == OTHER
    with pytest.raises(QueryError, match="nothing beside it"):
        both.search(query, model=OTHER)
    assert query.to_json()["model"] == OTHER and "model" not in Query.of(jpeg(3)).to_json()
    assert Query.from_json({"model": OTHER}, [jpeg(3)]) == query


def test_a_home_of_one_model_is_unchanged(tmp_path: Path, folder: Path) -> None:
    fill(folder, range(2))
    engine = open_library(tmp_path / "home")
    engine.sync(folder)
    assert embedded(engine) == {OWN: 2} and engine.search(image=jpeg(0), model=OWN).model == OWN
    close_library(engine)
