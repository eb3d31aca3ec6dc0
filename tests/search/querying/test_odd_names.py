"""Files and folders whose names are not UTF-8, or hold what paths rarely do."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, paint
from helpers.serving import events, serving
from typer.testing import CliRunner

from search import Engine
from search.cli.app import app
from search.errors import InputError, NotFoundError
from search.files import shown
from search.querying.conditions import Comparison, quote
from search.querying.parser import parse_condition
from search.records.annotations import Change
from search.records.pictures import Picture

BOTH = pytest.mark.catalogs("sqlite", "postgresql")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode on this system")
ROOT = os.fsdecode(b"50% caf\xe9 [x]#;'\"\\ ")
NAMES = [
    b"plain.jpg",
    b"caf\xe9.jpg",
    rb"\xe9.jpg",
    "照片.jpg".encode("gbk"),
    b"d\xe9/in.jpg",
    b"d\n/in.jpg",
    b"d /in.jpg",
    b" -dash\t\r\n.jpg",
]
"""Names in the root; the number of a picture is its seed. The third has a backslash."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        paint(tmp_path / ROOT / os.fsdecode(name), seed)
    return tmp_path / ROOT


@pytest.fixture
def filled(library: Callable[..., Engine], root: Path) -> Engine:
    engine = library()
    engine.sync(root)
    return engine


def find(engine: Engine, condition: Comparison | str) -> list[str]:
    return [one.id for one in engine.browse(condition, "name").pictures]


def list_pictures(engine: Engine) -> list[Picture]:
    pictures = list(engine.browse((), "name").pictures)
    assert len(pictures) == len(NAMES)
    return pictures


@BOTH
def test_conditions_take_a_path_as_it_is_and_as_it_is_shown(filled: Engine) -> None:
    for one in list_pictures(filled):
        folder, name = os.path.split(one.path)
        mixed = r"\x" in name  # with a byte in its folder, so no text tells the two apart
        path = f"*/{name}" if mixed else one.path
        for field, value in (("path", path), ("name", name), ("name", name[:-4])):
            condition = Comparison(field, "=", value)
            assert one.id in find(filled, condition), (field, value)
            assert Comparison(field, "=", shown(value)) == condition
            assert parse_condition(str(condition)) == condition
            assert find(filled, str(condition)) == find(filled, condition)
        assert one.id in find(filled, Comparison("folder", "=", folder)), folder
        assert one.id in find(filled, f"folder={quote(shown(os.path.basename(folder)))}"), folder
    assert find(filled, r'name="\\xe9.jpg"') == [identity(2)]
    assert identity(1) not in find(filled, r'name="cof\\xe9.jpg"')
    assert find(filled, r'path="*caf\\xe9.j?g"') == [identity(1)]


@BOTH
def test_the_folder_tree_and_facets_lead_to_their_pictures(filled: Engine, root: Path) -> None:
    (top,) = filled.folders()
    assert top.path == str(root)
    folders = filled.folders(shown(str(root)))
    assert folders == filled.folders(root)
    assert len(folders) == 3
    facet = filled.facets(names=["folder"]).fields["folder"]
    assert {one.value for one in facet} == {one.path for one in folders}
    for one in (top, *folders):
        count = one.count
        assert len(find(filled, f"folder={quote(shown(one.path))}")) == count
    for entry in facet:
        assert len(find(filled, entry.where)) == entry.count == 1


def test_suggestions_of_folders_are_text_and_lead_to_their_pictures(filled: Engine) -> None:
    with serving(filled) as client:
        for typed, count in (("caf", len(NAMES)), ("folder:caf", len(NAMES)), ("in", 0)):
            answer = client.get("/api/v1/suggest", params={"q": typed})
            assert answer.status_code == 200, answer.text
            listed = [one for one in answer.json()["suggestions"] if one["kind"] == "folder"]
            assert [one["text"] for one in listed] == [shown(ROOT)] * bool(count)
            for one in listed:
                params = {"where": one["insert"]}
                assert client.get("/api/v1/images", params=params).json()["total"] == count


def test_a_folder_is_named_over_http_as_it_is_listed(filled: Engine, root: Path) -> None:
    text = shown(str(root))
    with serving(filled) as client:
        (listed,) = client.get("/api/v1/status").json()["roots"]
        assert listed["path"] == text
        for address in ("/api/v1/tree", "/api/v1/folders"):
            answer = client.get(address, params={"path": text})
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["folders"]) == 3
        params = {"kind": "exact", "folder": text}
        assert client.get("/api/v1/duplicates", params=params).status_code == 200
        answer = client.put("/api/v1/collections/Odd", json={"folders": [text]})
        assert answer.status_code == 200, answer.text
        answer = client.get("/api/v1/images", params={"where": "collection=Odd"})
        assert answer.json()["total"] == len(NAMES)
        answer = client.post("/api/v1/index", json={"path": text})
        assert answer.status_code == 202, answer.text
        assert events(client, answer.json()["job"])[-1]["event"] == "done"
        assert client.delete("/api/v1/folders", params={"path": text}).status_code == 204
        assert client.get("/api/v1/status").json()["roots"] == []


@BOTH
def test_names_that_are_not_utf_8_are_not_found(filled: Engine) -> None:
    name = os.fsdecode(b"caf\xe9")
    for call in (
        lambda: filled.run_saved_search(name),
        lambda: filled.rename_saved_search(name, "other"),
        lambda: filled.delete_saved_search(name),
        lambda: filled.revoke_token(name),
        lambda: filled.collections.find(name),
        lambda: filled.collections.rename(name, "other"),
        lambda: filled.albums.find(name),
        lambda: filled.browse((), album=name),
    ):
        with pytest.raises((NotFoundError, InputError)):
            call()
    assert filled.tags.all(name) == []
    assert filled.words(name).words == ()


def test_a_caption_that_is_not_utf_8_is_refused(filled: Engine) -> None:
    with pytest.raises(InputError, match="not UTF-8"):
        filled.tags.change([identity(0)], Change(caption=os.fsdecode(b"caf\xe9")))


def test_the_folder_of_a_library_need_not_be_utf_8(
    library: Callable[..., Engine], root: Path, tmp_path: Path
) -> None:
    home = tmp_path / os.fsdecode(b"caf\xe9\n")
    engine = library(home, index="ivf")
    engine.sync(root)
    assert engine.search(image=root / "plain.jpg", k=1)[0].id == identity(0)
    assert engine.check(deep=True).problems == ()
    json.dumps(engine.status().to_json(), ensure_ascii=False).encode()
    options = ["--home", str(home), "doctor", "--json"]
    printed = CliRunner().invoke(app, options).stdout_bytes
    assert any(shown(str(home)) in one["message"] for one in json.loads(printed)["findings"])
    engine.backup(tmp_path / os.fsdecode(b"\xe9.zip"))
