"""XMP files beside pictures, and descriptions in pictures of an earlier version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.pictures import forbid, identity, paint
from sqlalchemy import update

from search import Engine
from search.catalog.schema import embedded_descriptions, pictures
from search.media.rules import DESCRIPTION_RULE


def write_xmp(path: Path, *tags: str, rating: int = 0) -> Path:
    items = "".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags)
    path.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" '
        f'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}">'
        f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return path


def tags_of(engine: Engine, seed: int) -> dict[str, str]:
    return dict(engine.picture(identity(seed)).annotations.tags)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_sidecar_is_read_followed_and_forgotten(engine: Engine, folder: Path) -> None:
    for name, seed in (("a.jpg", 1), ("in/b.jpg", 2), ("c.jpg", 3)):
        paint(folder / name, seed)
    first = write_xmp(folder / "a.jpg.xmp", "lake", rating=4)
    write_xmp(folder / "a.xmp", "other")  # that of the whole name comes first
    write_xmp(folder / "in" / "b.XMP", "hill")
    report = engine.sync(folder)
    assert report.skipped == () and report.left_out == {}
    assert tags_of(engine, 1) == {"lake": "file"} and tags_of(engine, 2) == {"hill": "file"}
    assert engine.picture(identity(1)).annotations.rating == 4 and tags_of(engine, 3) == {}
    engine.tags.add([identity(1)], ["mine"])
    write_xmp(first, "sea", "boat")  # it alone changes
    report = engine.sync(folder)
    assert (report.unchanged, report.changed, report.embedded) == (3, 0, 0)
    assert tags_of(engine, 1) == {"boat": "file", "mine": "person", "sea": "file"}
    assert engine.picture(identity(1)).annotations.rating is None
    paint(folder / "a.jpg", 4)  # another picture under the same name
    engine.sync(folder)
    assert tags_of(engine, 4) == {"boat": "file", "mine": "person", "sea": "file"}
    paint(folder / "copy.jpg", 2)
    (folder / "in" / "b.jpg").unlink()  # with the sidecar: what it said goes
    engine.sync(folder)
    assert tags_of(engine, 2) == {}
    first.unlink()
    engine.sync(folder)
    assert tags_of(engine, 4) == {"mine": "person", "other": "file"}
    (folder / "a.xmp").unlink()
    engine.sync(folder)
    assert tags_of(engine, 4) == {"mine": "person"}


def test_a_sidecar_is_read_once(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    write_xmp(folder / "a.xmp", "lake")
    engine.sync(folder)
    monkeypatch.setattr("search.catalog.sidecars.apply_descriptions", None)
    assert engine.sync(folder).unchanged == 1


@pytest.mark.parametrize(
    "data", [b"no XMP", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"x" * 2**23]
)
def test_a_sidecar_that_cannot_be_read_costs_nothing_else(
    engine: Engine, folder: Path, data: bytes
) -> None:
    paint(folder / "a.jpg", 1)
    (folder / "a.xmp").write_bytes(data)
    report = engine.sync(folder)
    assert [one.path for one in report.skipped] == [str(folder / "a.xmp")]
    assert "the sidecar is not read" in report.skipped[0].reason
    assert engine.status().pictures == 1 and engine.sync(folder).skipped == ()
    write_xmp(folder / "a.xmp", "lake")
    engine.sync(folder)
    assert tags_of(engine, 1) == {"lake": "file"}


def test_a_link_is_no_sidecar(engine: Engine, folder: Path, tmp_path: Path) -> None:
    paint(folder / "a.jpg", 1)
    os.symlink(write_xmp(tmp_path / "secret.xmp", "secret"), folder / "a.xmp")
    engine.sync(folder)
    assert tags_of(engine, 1) == {}


def test_a_folder_that_cannot_be_read_keeps_what_its_sidecars_say(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "in" / "a.jpg", 1)
    paint(folder / "b.jpg", 2)
    write_xmp(folder / "in" / "a.xmp", "lake")
    engine.sync(folder)
    forbid(monkeypatch, folder / "in")
    engine.sync(folder)
    assert tags_of(engine, 1) == {"lake": "file"}


def test_descriptions_in_pictures_are_read_once_without_embedding(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x9C9E] = "lake;hill".encode("utf-16-le")
    Image.new("RGB", (20, 20), "red").save(folder / "a.jpg", exif=exif)
    paint(folder / "b.jpg", 2)
    engine.sync(folder)
    picture_id = next(one.id for one in engine.pictures().pictures if one.id != identity(2))
    with engine.library.database.write() as c:  # as an earlier version left it
        c.execute(update(pictures).values(description_rule=0))
        c.execute(embedded_descriptions.delete())
    engine.tags.remove([picture_id], ["hill"])
    (folder / "b.jpg").unlink()
    report = engine.sync(folder, allow_empty=True)
    assert report.embedded == 0
    assert dict(engine.picture(picture_id).annotations.tags) == {"lake": "file"}
    assert engine.library.reader.list_undescribed() == []
    assert DESCRIPTION_RULE > 0
