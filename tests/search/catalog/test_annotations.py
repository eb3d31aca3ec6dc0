"""Tags, marks and albums: they follow pictures, and can be undone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, jpeg, paint
from sqlalchemy import inspect

from search import Engine, InputError, NotFoundError
from search.catalog import migrations, schema
from search.catalog.catalog import ORPHAN_SECONDS
from search.catalog.full_text import Phrase
from search.records.annotations import Annotations, Change

Open = Callable[..., Engine]
both = pytest.mark.catalogs("sqlite", "postgresql")
WORDS = Change(
    add_tags=("Beach", "été"),
    favourite=True,
    rating=4,
    hidden=False,
    caption="Two boats",
    album="Lisbon",
)


@pytest.fixture
def engine(library: Open, folder: Path) -> Engine:
    """A library of five pictures."""
    engine = library()
    for seed in range(5):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    return engine


def read(engine: Engine, seed: int) -> Annotations:
    return engine.picture(identity(seed)).annotations


def says_all(one: Annotations) -> bool:
    """Whether annotations are those of `WORDS`."""
    origins = one.rating_origin, one.caption_origin, *one.tags.values()
    values = tuple(one.tags), one.favourite, one.rating, one.hidden, one.caption
    expected = ("Beach", "été"), True, 4, False, "Two boats"
    names = [album.name for album in one.albums]
    return values == expected and set(origins) == {"person"} and names == ["Lisbon"]


def test_a_picture_has_what_a_person_says(engine: Engine) -> None:
    changed = engine.tags.change([identity(1)[:8], identity(2)], WORDS)
    assert changed.ids == (identity(1), identity(2))
    assert says_all(read(engine, 1)) and says_all(read(engine, 2))
    assert read(engine, 3) == Annotations()
    (hit,) = engine.search(image=jpeg(1), k=1)
    assert hit.tags == ("Beach", "été")


@both
def test_a_change_is_undone_for_each_picture(engine: Engine) -> None:
    ids = [identity(seed) for seed in (1, 2, 3)]
    engine.tags.change(ids[:1], Change(add_tags=("beach",), rating=2, album="Porto"))
    engine.tags.change(ids[1:2], WORDS)
    before = [read(engine, seed) for seed in (1, 2, 3)]
    later = Change(("BEACH", "sun"), ("été",), False, None, True, None, "Porto", "Lisbon")
    changed = engine.tags.change(ids, later)
    now = [read(engine, seed) for seed in (1, 2, 3)]
    assert [list(one.tags) for one in now] == [["beach", "sun"], ["Beach", "sun"], ["BEACH", "sun"]]
    assert [(one.rating, one.hidden, one.favourite) for one in now] == [(None, True, False)] * 3
    assert [[album.name for album in one.albums] for one in now] == [["Porto"]] * 3
    engine.tags.change_all(changed.undo)
    assert [read(engine, seed) for seed in (1, 2, 3)] == before
    assert engine.tags.change(ids, Change()).undo == ()


def test_a_wrong_change_changes_nothing(engine: Engine) -> None:
    wrong: list[tuple[list[str], Change, type[InputError]]] = [
        ([identity(1), "0" * 64], Change(favourite=True), NotFoundError),
        ([identity(1)], Change(favourite=True, rating=6), InputError),
        ([identity(1)], Change(favourite=True, rating=-1), InputError),
        ([identity(1)], Change(favourite=True, add_tags=(" ",)), InputError),
        ([identity(1)], Change(favourite=True, add_tags=("x" * 201,)), InputError),
        ([identity(1)], Change(add_tags=("A",), remove_tags=("a",)), InputError),
        ([identity(1)], Change(favourite=True, caption="x" * 10_001), InputError),
        ([identity(1)], Change(favourite=True, remove_album="none"), NotFoundError),
    ]
    for ids, change, error in wrong:
        with pytest.raises(error):
            engine.tags.change_all([(ids[:1], Change(add_tags=("first",))), (ids, change)])
        assert read(engine, 1) == Annotations(), change
    assert engine.albums.all() == []


def test_annotations_stay_through_moves_and_another_index(engine: Engine, folder: Path) -> None:
    engine.tags.change([identity(1)], WORDS)
    (folder / "sub").mkdir()
    (folder / "1.jpg").rename(folder / "sub" / "moved.jpg")
    engine.sync(folder)
    assert says_all(read(engine, 1))
    engine.sync(folder, force=True)
    assert says_all(read(engine, 1))


def test_a_picture_that_comes_back_has_its_annotations(engine: Engine, folder: Path) -> None:
    engine.tags.change([identity(1)], WORDS)
    shutil.move(folder / "1.jpg", folder.parent / "away.jpg")
    engine.sync(folder)
    assert engine.tags.all() == [] and engine.albums.all()[0].count == 0
    shutil.copy(folder.parent / "away.jpg", folder / "again.jpg")
    engine.sync(folder)
    assert says_all(read(engine, 1))


@both
def test_a_picture_that_left_the_catalog_is_remembered(engine: Engine, folder: Path) -> None:
    catalog = engine.library.catalog
    engine.tags.change([identity(1), identity(2)], WORDS)
    shutil.move(folder / "1.jpg", folder.parent / "away.jpg")
    engine.sync(folder)
    catalog._clock = lambda: ORPHAN_SECONDS + 4e9
    assert catalog.purge() == [identity(1)]
    assert engine.forget(folder) == 4  # forgetting a folder is no word about its pictures
    engine.albums.delete("Lisbon")
    shutil.move(folder.parent / "away.jpg", folder / "again.jpg")
    engine.sync(folder)
    assert says_all(read(engine, 1)) and says_all(read(engine, 2))
    assert [(one.name, one.count) for one in engine.albums.all()] == [("Lisbon", 2)]


def test_annotations_are_forgotten_on_request(engine: Engine, folder: Path) -> None:
    engine.tags.change([identity(1)], WORDS)
    engine.forget(folder, annotations=True)
    engine.sync(folder)
    assert read(engine, 1) == Annotations()


@both
def test_an_edited_picture_takes_over_what_a_person_said(engine: Engine, folder: Path) -> None:
    engine.tags.change([identity(1)], WORDS)
    engine.library.catalog.tag(engine.library.reader.resolve(identity(1)), ["camera"], "file")
    paint(folder / "1.jpg", 9)  # other bytes under the same path
    engine.sync(folder)
    assert says_all(read(engine, 9))  # without what the file said of the picture before
    paint(folder / "old.jpg", 1)
    engine.sync(folder)
    assert list(read(engine, 1).tags) == ["Beach", "camera", "été"]


def test_an_edited_picture_keeps_its_own_word(engine: Engine, folder: Path) -> None:
    engine.tags.change([identity(1)], WORDS)
    paint(folder / "other.jpg", 9)
    engine.sync(folder)
    own = Change(rating=1, caption="Mine", add_tags=("BEACH",))
    engine.tags.change([identity(9)], own)
    (folder / "other.jpg").unlink()
    engine.sync(folder)  # an orphan
    paint(folder / "1.jpg", 9)
    engine.sync(folder)
    one = read(engine, 9)
    assert (one.rating, one.caption, list(one.tags)) == (1, "Mine", ["BEACH", "été"])
    assert one.favourite and [album.name for album in one.albums] == ["Lisbon"]


@both
def test_tags_are_listed_by_count_and_completed(engine: Engine) -> None:
    engine.tags.add([identity(1), identity(2)], ["Beach"])
    engine.tags.add([identity(3)], ["beach", "Beachball", "sun"])
    tags = engine.library.catalog
    tags.tag(engine.library.reader.resolve(identity(4)), ["BEACH"], "file")
    listed = [(one.tag.casefold(), one.count, one.origins) for one in engine.tags.all("bea")]
    assert listed == [
        ("beach", 4, {"person": 3, "file": 1}),
        ("beachball", 1, {"person": 1}),
    ]
    assert [one.tag for one in engine.tags.all("SU")] == ["sun"]
    assert [one.tag.casefold() for one in engine.tags.all(limit=1)] == ["beach"]
    assert engine.tags.all("none") == []


def test_labels_of_the_model_are_listed_as_such(engine: Engine) -> None:
    catalog, reader = engine.library.catalog, engine.library.reader
    (space,) = reader.spaces()
    row_ids = [reader.resolve(identity(seed)) for seed in (1, 2, 3)]
    from search.catalog.writes import SeenContent
    from search.records.pictures import Label

    contents = dict.fromkeys(row_ids, SeenContent((Label("hat", 0.9), Label("cap", 0.3))))
    catalog.add_vectors(space, {}, contents)
    engine.tags.add([identity(1)], ["Hat"])
    (one,) = engine.tags.all("hat")
    assert (one.tag, one.origins) == ("Hat", {"person": 1, "model": 3})
    assert "cap" not in [other.tag for other in engine.tags.all()]
    assert list(read(engine, 2).tags) == []  # labels are no tags of pictures


@both
def test_a_tag_is_renamed_everywhere(engine: Engine) -> None:
    engine.tags.add([identity(1), identity(2)], ["beach"])
    engine.tags.add([identity(2)], ["Strand"])
    assert engine.tags.rename("BEACH", "strand") == 2
    assert [list(read(engine, n).tags) for n in (1, 2)] == [["strand"], ["Strand"]]
    assert engine.tags.rename("strand", "STRAND") == 2  # another spelling
    assert [list(read(engine, n).tags) for n in (1, 2)] == [["STRAND"]] * 2
    with pytest.raises(NotFoundError):
        engine.tags.rename("beach", "x")


@both
def test_albums(engine: Engine) -> None:
    ids = [identity(seed) for seed in (3, 1, 2)]
    album = engine.albums.create("Lisbon ", ids[:2])
    assert (album.name, album.count) == ("Lisbon", 2)
    engine.tags.change(ids[2:], Change(album="LISBON"))
    assert set(engine.albums.pictures("lisbon")[:2]) == set(ids[:2])
    assert engine.albums.pictures(album.id)[2] == ids[2]
    page = engine.pictures(album="Lisbon", page=2, size=2)
    assert (page.total, page.pages, [one.id for one in page.pictures]) == (3, 2, [ids[2]])
    with pytest.raises(InputError, match="already"):
        engine.albums.create("LISBON")
    engine.albums.create("Porto")
    with pytest.raises(InputError, match="already"):
        engine.albums.rename("porto", "lisbon")
    assert engine.albums.rename("Lisbon", "Lisboa").id == album.id
    assert [(one.name, one.count) for one in engine.albums.all()] == [("Lisboa", 3), ("Porto", 0)]
    engine.albums.delete("Lisboa")
    assert [one.name for one in engine.albums.all()] == ["Porto"]
    assert engine.status().pictures == 5
    for act in (engine.albums.delete, engine.albums.pictures, engine.albums.find):
        with pytest.raises(NotFoundError):
            act("Lisboa")


def test_one_request_makes_an_album_once(engine: Engine) -> None:
    changes = [((identity(seed),), Change(album="New")) for seed in (1, 2)]
    engine.tags.change_all(changes)
    assert [(one.name, one.count) for one in engine.albums.all()] == [("New", 2)]


@both
def test_hidden_pictures_are_shown_on_request_alone(engine: Engine, folder: Path) -> None:
    every = {identity(seed) for seed in range(5)}
    hidden = {identity(1), identity(3)}
    engine.tags.change(hidden, Change(hidden=True, add_tags=("secret",), album="Secret"))
    assert {hit.id for hit in engine.search(image=jpeg(1), k=5)} == every - hidden
    assert len(engine.search(image=jpeg(1), k=3)) == 3
    assert {hit.id for hit in engine.search(image=jpeg(1), k=5, hidden=True)} == every
    assert engine.search(image=f"id:{identity(1)}", k=1)[0].id not in hidden
    page, rest = engine.pictures(), engine.pictures(hidden=True)
    assert ({one.id for one in page.pictures}, page.total) == (every - hidden, 3)
    assert ({one.id for one in rest.pictures}, rest.total) == (hidden, 2)
    pages = [engine.pictures(page=n, size=1).pictures for n in (1, 2, 3, 4)]
    assert {one.id for part in pages for one in part} == every - hidden
    assert engine.tags.all() == [] and engine.albums.all()[0].count == 0
    reader = engine.library.reader
    assert reader.find_text([Phrase((("1",),))], 9) == []
    paint(folder / "9.jpg", 9)
    engine.sync(folder)  # what is shown follows the library
    assert {hit.id for hit in engine.search(image=jpeg(9))} == every - hidden | {identity(9)}
    engine.tags.change(hidden, Change(hidden=False))
    assert {hit.id for hit in engine.search(image=jpeg(9))} == every | {identity(9)}
    assert engine.picture(identity(1)).annotations.hidden is False


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@both
def test_a_migrated_catalog_has_the_same_tables_on_each_database(library: Open) -> None:
    engine = library()
    database = engine.library.database
    names = [*schema.metadata.tables]
    new = {name: _describe(database, name) for name in names}
    old = (
        "removed_tags marks album_pictures albums remembered embedded_descriptions sidecars"
        " removals"
    )
    with database.write() as c:
        for name in old.split():
            c.exec_driver_sql(f"DROP TABLE {name}")
        c.exec_driver_sql("DROP INDEX pictures_description_rule")
        for column in ("caption_origin", "description_rule"):
            c.exec_driver_sql(f"ALTER TABLE pictures DROP COLUMN {column}")
        migrations.add_annotations(c)
    assert {name: _describe(database, name) for name in names} == new


def _describe(database: object, table: str) -> object:
    one = inspect(database.engine)  # type: ignore[attr-defined]
    columns = {
        c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in one.get_columns(table)
    }
    indexes = {i["name"]: i["column_names"] for i in one.get_indexes(table)}
    keys = [(k["constrained_columns"], k["referred_table"]) for k in one.get_foreign_keys(table)]
    return columns, indexes, sorted(keys), one.get_pk_constraint(table)["constrained_columns"]
