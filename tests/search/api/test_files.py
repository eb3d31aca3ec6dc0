"""Files of pictures over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import files, problem, serving
from test_roles import OWN, bearer

from search import Engine
from search.api.auth import Access

IMAGES = "/api/v1/images"


@pytest.fixture
def client(engine: Engine, folder: Path) -> Iterator[httpx.Client]:
    """A server whose library has pictures 1 to 3 in a folder."""
    for seed in range(1, 4):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    with serving(engine, Access(token=OWN, find_token=engine.find_token), allow=[folder]) as client:
        client.headers.update(bearer(OWN))
        yield client


def test_pictures_are_removed_and_restored(
    client: httpx.Client, folder: Path, bin_folder: Path, tmp_path: Path, engine: Engine
) -> None:
    paint(folder / "1.jpg", 8)  # changed
    sent = {"ids": [identity(seed) for seed in (1, 2)]}
    answer = client.post(f"{IMAGES}/remove", json=sent).json()
    assert answer["removed"] == [identity(2)] and answer["files"] == 1
    assert [(one["path"], one["code"]) for one in answer["failed"]] == [
        (str(folder / "1.jpg"), "file_changed")
    ]
    problem(client.get(f"{IMAGES}/{identity(2)}"), 404)
    assert [one.name for one in bin_folder.iterdir()] == ["2.jpg"]
    restored = client.post(f"{IMAGES}/restore", json={"undo": answer["undo"]}).json()
    assert restored == {"restored": [identity(2)], "failed": []}
    assert client.get(f"{IMAGES}/{identity(2)}/file").content == jpeg(2)
    problem(client.post(f"{IMAGES}/restore", json={"undo": answer["undo"]}), 404)
    problem(client.post(f"{IMAGES}/remove", json={"ids": ["0" * 64]}), 404)
    problem(client.post(f"{IMAGES}/remove", json={"ids": []}), 422)
    paint(tmp_path / "elsewhere" / "5.jpg", 5)
    engine.sync(tmp_path / "elsewhere")  # not below --allow
    client.post(IMAGES, files=files(jpeg(6)))  # an upload is the library's own
    sent = {"ids": [identity(5), identity(6)]}
    answer = client.post(f"{IMAGES}/remove", json=sent).json()
    assert answer["removed"] == [identity(6)]
    assert [one["code"] for one in answer["failed"]] == ["folder_not_allowed"]
    assert (tmp_path / "elsewhere" / "5.jpg").exists()
