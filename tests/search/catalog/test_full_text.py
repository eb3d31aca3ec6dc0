"""The full text of pictures, on each database: what is found, by whom, and that it keeps up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.old_catalogs import write_old_catalog
from helpers.pictures import identity, jpeg, paint
from PIL import Image
from sqlalchemy import text, update

from search import Engine
from search.catalog import full_text
from search.catalog.database import Database
from search.catalog.full_text import Phrase, tokenize
from search.catalog.reads import CatalogReader
from search.catalog.schema import pictures
from search.catalog.scoped import CollectionReader
from search.catalog.writes import Origins

Open = Callable[..., Engine]


@pytest.fixture
def engine(library: Open, tmp_path: Path) -> Engine:
    """Four pictures: names, folders, a tag, a caption, Chinese; one is in two roots."""
    engine = library()
    for name, seed in (
        ("Holiday 2019/Rome_12.jpg", 1),
        ("Holiday 2019/café été.jpg", 2),
        ("海滩日落/IMG_0001.jpg", 3),
        ("DogPark/x.jpg", 4),
    ):
        paint(tmp_path / "first" / name, seed)
    paint(tmp_path / "second" / "secret plan.jpg", 1)
    for name in ("first", "second"):
        engine.sync(tmp_path / name)
    catalog = engine.library.catalog
    catalog.tag(engine.library.reader.resolve(identity(4)), ["Golden Hour"])
    with catalog.database.write() as c:
        row = pictures.c.id == identity(3)
        c.execute(update(pictures).where(row).values(caption="Two boats at the pier"))
    return engine


def find(reader: CatalogReader, *words: str, prefix: bool = False, join: str = "and") -> set[int]:
    """Return the seeds of the pictures that have words."""
    phrases = [phrase for word in words if (phrase := Phrase.of(word))]
    rows = reader.find_text(phrases, 10, "or" if join == "or" else "and", prefix)
    ids = reader.picture_ids(rows)
    return {seed for seed in range(1, 10) if identity(seed) in ids.values()}


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("IMG_2024-05.Final", ["img", "2024", "05", "final"]),
        ("Café ÉTÉ straße", ["cafe", "ete", "strasse"]),
        ("海滩beach2", ["海", "滩", "beach", "2"]),
        ("한국 ひらく", ["한", "국", "ひ", "ら", "く"]),
        ("\udcff\0 ' \" * : & |", []),
    ],
)
def test_a_text_is_split_into_tokens(value: str, tokens: list[str]) -> None:
    assert tokenize(value) == tokens


@pytest.mark.catalogs("sqlite", "postgresql")
def test_words_are_found_wherever_they_are(engine: Engine) -> None:
    reader = engine.library.reader
    assert find(reader, "holiday") == {1, 2}
    assert find(reader, "rome") == {1} and find(reader, "rome12") == {1}
    assert find(reader, "12rome") == set()  # the tokens of a word follow one another
    assert find(reader, "CAFE", "holiday") == {2} and find(reader, "été") == {2}
    assert (
        find(reader, "海滩") == {3} and find(reader, "日") == {3} and find(reader, "滩海") == set()
    )
    assert find(reader, "boats", "img") == {3} and find(reader, "golden hour", "dog") == {4}
    assert find(reader, "hour golden") == set() and find(reader, "first") == {1, 2, 3, 4}
    assert find(reader, "holi") == set() and find(reader, "holi", prefix=True) == {1, 2}
    assert find(reader, "golden ho", prefix=True) == {4}
    assert find(reader, "rome", "pier", join="or") == {1, 3} and find(reader, "jpg") == set()


@pytest.mark.catalogs("sqlite", "postgresql")
def test_the_names_in_other_roots_find_nothing(engine: Engine, tmp_path: Path) -> None:
    whole = engine.library.reader
    part = CollectionReader(whole.database, [str(tmp_path / "first")])
    other = CollectionReader(whole.database, [str(tmp_path / "second"), "/none"])
    assert find(whole, "secret") == {1} and find(whole, "secret", "rome") == {1}
    assert find(part, "secret") == set() and find(part, "secret", "rome") == set()
    assert find(part, "second") == set() and find(part, "rome", "secret", join="or") == {1}
    assert find(other, "secret", "plan") == {1} and find(other, "rome") == set()
    assert find(other, "golden") == set() and find(part, "golden") == {4}  # a tag of no file there
    assert find(CollectionReader(whole.database, ["/none"]), "rome") == set()


@pytest.mark.catalogs("sqlite", "postgresql")
def test_each_write_is_followed(engine: Engine, tmp_path: Path) -> None:
    reader, catalog, first = engine.library.reader, engine.library.catalog, tmp_path / "first"
    (first / "DogPark" / "x.jpg").rename(first / "DogPark" / "puppy.jpg")
    engine.sync(first)
    assert find(reader, "puppy") == {4} and find(reader, "x") == set()
    shutil.rmtree(first / "海滩日落")
    engine.sync(first)
    assert find(reader, "海滩") == set() and find(reader, "boats") == set()  # an orphan
    paint(first / "back.jpg", 3)
    engine.sync(first)
    assert find(reader, "boats") == {3} == find(reader, "back")
    engine.sync(tmp_path)  # takes both roots in
    assert find(reader, "secret", "second") == {1} and find(reader, "puppy", "first") == {4}
    engine.forget(tmp_path / "second")
    assert find(reader, "secret") == set() and find(reader, "rome") == {1}
    row_id = reader.resolve(identity(2))
    catalog.set_origins(row_id, Origins("Hamburg.png"))
    assert find(reader, "hamburg") == set()  # it is no upload
    engine.keep(jpeg(5), "Lisbon.jpg")
    assert find(reader, "lisbon") == {5}
    assert find(CollectionReader(reader.database, [str(tmp_path)]), "lisbon") == set()
    assert reader.list_wrong_texts() == [] and catalog.repair_texts() == 0


@pytest.mark.catalogs("sqlite", "postgresql")
def test_check_repairs_a_full_text_that_differs(engine: Engine) -> None:
    reader, database = engine.library.reader, engine.library.database
    with database.write() as c:
        c.execute(text("DELETE FROM search_texts WHERE tokens LIKE '%rome%'"))
        c.execute(text("UPDATE search_texts SET tokens = 'wrong' WHERE tokens LIKE '%golden%'"))
        stray = {"id": 999 * full_text.ROOTS}
        c.execute(text("INSERT INTO search_texts (id, tokens) VALUES (:id, 'stray')"), stray)
    assert find(reader, "rome") == set() and find(reader, "wrong") == {4}
    assert len(reader.list_wrong_texts()) == 3
    report = engine.check()
    assert "the full text of 3 pictures was wrong; made again" in report.repaired
    assert find(reader, "rome") == {1} and find(reader, "wrong") == set()
    assert engine.check().repaired == () and reader.list_wrong_texts() == []


def test_check_repairs_an_index_that_lost_its_words(library: Open, folder: Path) -> None:
    engine = library()
    paint(folder / "lighthouse.jpg", 1)
    engine.sync(folder)
    with engine.library.database.write() as c:
        for row in c.execute(text("SELECT id, tokens FROM search_texts")).all():
            sql = "INSERT INTO search_words (search_words, rowid, tokens) VALUES ('delete', :i, :t)"
            c.execute(text(sql), {"i": row.id, "t": row.tokens})
    assert find(engine.library.reader, "lighthouse") == set()
    assert engine.library.catalog.repair_texts() > 0
    assert find(engine.library.reader, "lighthouse") == {1}
    assert engine.library.catalog.repair_texts() == 0


def test_an_older_library_gets_its_full_text(library: Open, folder: Path, tmp_path: Path) -> None:
    engine = library()
    paint(folder / "lighthouse.jpg", 1)
    engine.sync(folder)
    write_old_catalog(engine.home / "catalog.sqlite", tmp_path / "old.sqlite", 18)
    database = Database(tmp_path / "old.sqlite")
    assert find(CatalogReader(database), "lighthouse") == {1}
    database.close()


@pytest.mark.catalogs("sqlite", "postgresql")
def test_odd_words_find_nothing_and_break_nothing(engine: Engine) -> None:
    reader = engine.library.reader
    for word in ("'", '"', "a'b", "NEAR(a b)", "AND", "x*", "%", "_", ":", "a:b", "\\", "😀", "\0"):
        find(reader, word), find(reader, word, prefix=True)
    assert find(reader, "ho%day") == set() and find(reader, "h_liday") == set()


@pytest.mark.catalogs("sqlite", "postgresql")
def test_colors_are_words_for_what_they_cover(library: Open, tmp_path: Path) -> None:
    engine = library()
    place = tmp_path / "pictures"
    place.mkdir()
    halves = Image.new("RGB", (64, 64), "#c82828")
    halves.paste("#1e2f78", (0, 0, 64, 32))
    for name, picture in (
        ("1.png", Image.new("RGB", (64, 64), "#c82828")),
        ("2.png", halves),
        ("3.png", Image.new("RGB", (64, 64), "#f2f2f2")),
    ):
        picture.save(place / name)
    engine.sync(place)
    reader = engine.library.reader

    def find_names(*words: str) -> set[str]:
        phrases = [phrase for word in words if (phrase := Phrase.of(word))]
        described = reader.describe(reader.find_text(phrases, 10))
        return {Path(one.paths[0]).name for one in described.values()}

    assert find_names("red") == find_names("红色") == find_names("红") == {"1.png", "2.png"}
    assert find_names("red", "blue") == {"2.png"} and find_names("white") == {"3.png"}
    assert find_names("green") == set()
    hits = engine.search(text="red")
    assert {Path(hit.path).name for hit in hits[:2]} == {"1.png", "2.png"}
