"""Export and import of what people say of pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, paint

from search import Engine, InputError
from search.records.annotations import Change

Open = Callable[..., Engine]
ODD = os.fsdecode(b"2 \xff.jpg")


@pytest.fixture
def source(engine: Engine, folder: Path) -> Engine:
    """A library in which a person spoke of two of three pictures."""
    paint(folder / "in" / "1.jpg", 1)
    paint(folder / ODD, 2)
    paint(folder / "3.jpg", 3)
    engine.sync(folder)
    change = Change(("a<b>&c", "\u00e9t\u00e9"), (), True, 4, True, "one\n<two>", "Lisbon")
    engine.tags.change([identity(1)], change)
    engine.tags.add([identity(2)], ["lake"])
    return engine


def test_json_brings_all_to_another_library(
    source: Engine, folder: Path, tmp_path: Path, library: Open
) -> None:
    target = tmp_path / "tags.json"
    assert source.export_annotations(target).pictures == 2
    other = library(tmp_path / "other")
    other.sync(folder)
    other.tags.change([identity(1)], Change(("own",), rating=1))
    report = other.import_annotations(target)
    assert (report.pictures, report.unknown) == (2, ())
    one, two = (other.picture(identity(seed)).annotations for seed in (1, 2))
    assert set(one.tags) == {"a<b>&c", "\u00e9t\u00e9", "own"} and set(two.tags) == {"lake"}
    assert (one.favourite, one.rating, one.hidden) == (True, 4, True)
    assert one.caption == "one\n<two>" and [album.name for album in one.albums] == ["Lisbon"]
    assert other.picture(identity(3)).annotations.tags == {}


def test_json_finds_pictures_by_path_and_names_the_others(
    source: Engine, folder: Path, tmp_path: Path, library: Open
) -> None:
    target = tmp_path / "tags.json"
    source.export_annotations(target)
    paint(folder / ODD, 7)
    (folder / "in" / "1.jpg").unlink()
    other = library(tmp_path / "other")
    other.sync(folder)
    report = other.import_annotations(target)
    assert (report.pictures, report.unknown) == (1, (str(folder / "in" / "1.jpg"),))
    assert set(other.picture(identity(7)).tags) == {"lake"}


def test_sidecars_bring_tags_captions_and_ratings(
    source: Engine, folder: Path, tmp_path: Path, library: Open
) -> None:
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*")}
    target = tmp_path / "sidecars"
    assert source.export_annotations(target).pictures == 2
    files = [one for one in target.rglob("*") if one.is_file()]
    mirrored = target / str(folder).lstrip("/")
    assert set(files) == {mirrored / "in" / "1.jpg.xmp", mirrored / f"{ODD}.xmp"}
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*")} == before
    (target / "broken.xmp").write_text("no XMP")
    other = library(tmp_path / "other")
    other.sync(folder)
    report = other.import_annotations(target)
    assert (report.pictures, report.unknown) == (2, (str(target / "broken.xmp"),))
    one = other.picture(identity(1)).annotations
    assert dict(one.tags) == {"a<b>&c": "person", "\u00e9t\u00e9": "person"}
    assert (one.rating, one.caption) == (4, "one\n<two>")
    assert dict(other.picture(identity(2)).annotations.tags) == {"lake": "person"}


def test_no_sidecar_comes_into_an_indexed_folder(
    source: Engine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(folder)
    for target in (Path("/"), folder, folder / "in" / "new", tmp_path / "link" / "new"):
        with pytest.raises(InputError, match="folder of its own"):
            source.export_annotations(target)
    assert len([one for one in folder.rglob("*") if one.is_file()]) == 3


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"version": 9, "pictures": []}), '{"version": 1}']
)
def test_what_is_no_export_is_refused(source: Engine, tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"\.json cannot be imported"):
        source.import_annotations(file)
    with pytest.raises(InputError, match="No such file"):
        source.import_annotations(tmp_path / "none.json")
