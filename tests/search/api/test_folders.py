"""`/api/v1/folders`: what may be indexed, what was left out, schedules, and forgetting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.pictures import paint
from helpers.serving import events, problem, serving

from search import Engine, InputError, NotFoundError
from search.api.auth import Access
from search.api.jobs import Jobs
from search.api.schedule import SyncSchedule

TOKEN = "f" * 64
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(engine: Engine, folder: Path) -> Iterator[httpx.Client]:
    with serving(engine, Access(token=TOKEN, find_token=engine.find_token), allow=[folder]) as one:
        one.headers.update(BEARER)
        yield one


def list_names(client: httpx.Client, path: object) -> dict[str, dict[str, object]]:
    answer = client.get("/api/v1/folders", params={"path": str(path)})
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["folders"]}


def test_subfolders_are_listed_with_their_pictures(client: httpx.Client, folder: Path) -> None:
    for name in ("2024/a.jpg", "2024/b.PNG", "2024/notes.txt", ".hidden/c.jpg", "@eaDir/d.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "e.jpg").touch()
    start = client.get("/api/v1/folders").json()
    assert [one["path"] for one in start["folders"]] == [str(folder)] and start["parent"] is None
    listed = list_names(client, folder)
    assert list(listed) == ["2024", "@eaDir", ".hidden"]
    assert listed["2024"]["pictures"] == 2 and not listed["2024"]["is_left_out"]
    assert listed[".hidden"]["is_hidden"] and listed["@eaDir"]["is_left_out"]
    answer = client.get("/api/v1/folders", params={"path": str(folder)}).json()
    assert answer["parent"] == "" and answer["pictures"] == 1
    inner = client.get("/api/v1/folders", params={"path": str(folder / "2024")}).json()
    assert inner["parent"] == str(folder)


def test_nothing_outside_is_listed(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    """Neither by a path, nor by `..`, nor by a link; and the answer does not tell what exists."""
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (folder / "link").symlink_to(outside)
    assert "link" not in list_names(client, folder)
    paths = [outside, folder / "link", folder / "..", tmp_path / "nothing", "/", "/etc"]
    answers = [client.get("/api/v1/folders", params={"path": str(one)}) for one in paths]
    for answer in answers:
        assert problem(answer, 403)["code"] == "folder_not_allowed"
    assert len({answer.text for answer in answers}) == 1
    assert problem(client.get("/api/v1/folders?path=a"), 400)["code"] == "path_not_absolute"
    missing = client.get("/api/v1/folders", params={"path": str(folder / "no")})
    assert problem(missing, 404)["code"] == "folder_not_found"


def test_a_token_for_some_folders_lists_these_alone(engine: Engine, folder: Path) -> None:
    for name in ("ours", "theirs"):
        paint(folder / name / "a.jpg", 1)
        engine.sync(folder / name)
    token = engine.add_token("anna", "write", [folder / "ours"])
    headers = {"Authorization": f"Bearer {token}"}
    with serving(engine, Access(token=TOKEN, find_token=engine.find_token)) as client:
        client.headers.update(headers)
        start = client.get("/api/v1/folders").json()["folders"]
        assert [one["path"] for one in start] == [str(folder / "ours")]
        theirs = {"path": str(folder / "theirs")}
        problem(client.get("/api/v1/folders", params=theirs), 403)
        problem(client.get("/api/v1/folders/left-out", params=theirs), 404)
        problem(client.delete("/api/v1/folders", params=theirs), 404)
        problem(client.patch("/api/v1/folders", json={**theirs, "sync_hours": 0}), 404)
        problem(client.post("/api/v1/folders/allow", json=theirs), 403, "the role admin")
    assert len(engine.status().roots) == 2


def test_the_owner_allows_a_folder_and_indexes_it(
    client: httpx.Client, engine: Engine, tmp_path: Path
) -> None:
    other = paint(tmp_path / "other" / "a.jpg", 1).parent
    body = {"path": str(other)}
    problem(client.post("/api/v1/index", json=body), 403)
    assert client.post("/api/v1/folders/allow", json=body).json() == body
    assert list_names(client, "")[str(other)]["pictures"] == 1
    job = client.post("/api/v1/index", json=body).json()["job"]
    assert events(client, job)[-1]["event"] == "done"
    missing = client.post("/api/v1/folders/allow", json={"path": str(tmp_path / "no")})
    assert problem(missing, 404)["code"] == "folder_not_found"


@pytest.mark.parametrize(
    "access", [Access(), Access(token=TOKEN, host="0.0.0.0", local=False)], ids=["free", "network"]
)
def test_no_folder_is_allowed_where_nobody_is_the_owner_of_the_machine(
    engine: Engine, access: Access, tmp_path: Path
) -> None:
    with serving(engine, access, allow=[]) as client:
        body = {"path": str(tmp_path)}
        answer = client.post("/api/v1/folders/allow", json=body, headers=BEARER)
        assert problem(answer, 403, "--allow")["code"] == "not_allowed"


def test_what_is_left_out_is_listed(client: httpx.Client, engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    (folder / "broken.jpg").write_bytes(b"nothing")
    for name in ("b.psd", "c.cr3", "no/d.psd"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    report = engine.sync(folder, exclude=["no"])
    left = client.get("/api/v1/folders/left-out", params={"path": str(folder)}).json()
    assert [one["path"] for one in left["skipped"]] == [str(folder / "broken.jpg")]
    assert left["skipped"][0]["code"] == "not_a_picture" and left["skipped"][0]["reason"]
    kinds = {Path(one["path"]).name: one["kind"] for one in left["left_out"]}
    assert kinds == {"b.psd": "psd", "c.cr3": "raw"} and not left["has_more"]
    assert sorted(kinds.values()) == sorted(dict(report.left_out))
    few = engine.left_out(folder, 1)
    assert few.has_more and len(few.left_out) == 1


def test_excludes_are_kept_with_the_folder(
    client: httpx.Client, engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "private" / "b.jpg", 2)
    for body, count in (({"exclude": ["private"]}, 1), ({}, 1), ({"exclude": []}, 2)):
        job = client.post("/api/v1/index", json={"path": str(folder), **body}).json()["job"]
        assert events(client, job)[-1]["event"] == "done"
        (root,) = client.get("/api/v1/status").json()["roots"]
        assert root["files"] == count
    assert root["exclude"] == []


def test_a_folder_is_forgotten_but_its_files_stay(
    client: httpx.Client, engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    path = {"path": str(folder)}
    problem(client.delete("/api/v1/folders", params={"path": str(folder / "a.jpg")}), 404)
    assert client.delete("/api/v1/folders", params=path).status_code == 204
    assert engine.status().roots == () and (folder / "a.jpg").exists()
    problem(client.delete("/api/v1/folders", params=path), 404)


def test_a_schedule_is_kept_with_the_folder(
    client: httpx.Client, engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    for hours in (24, 0, None):
        body = {"path": str(folder), "sync_hours": hours}
        assert client.patch("/api/v1/folders", json=body).status_code == 204
        engine.sync(folder)
        (root,) = engine.status().roots
        assert root.sync_hours == hours
    problem(client.patch("/api/v1/folders", json={"path": str(folder), "sync_hours": -1}), 422)
    with pytest.raises(InputError, match="0 to 8760"):
        engine.set_schedule(folder, 9000)
    with pytest.raises(NotFoundError, match="not an indexed folder"):
        engine.set_schedule(folder / "no", 1)


def test_a_schedule_syncs_at_the_start_and_every_so_many_hours(
    engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    now = 1000.0
    jobs = Jobs()
    schedule = SyncSchedule(engine, jobs, lambda: now)
    try:
        assert schedule.start_due() == []
        engine.set_schedule(folder, 0)
        assert schedule.start_due() == []
        engine.set_schedule(folder, 6)
        assert schedule.start_due() == [str(folder)]
        now += 6 * 3600 - 1
        assert schedule.start_due() == []
    finally:
        jobs.close(60)
    now += 1
    assert SyncSchedule(engine, Jobs(), lambda: now).start_due() == [str(folder)]


def test_a_forgotten_folder_has_no_schedule(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b" / "b.jpg", 2)
    engine.sync(folder / "b")
    engine.set_schedule(folder / "b", 6)
    engine.forget(folder / "b")
    engine.sync(folder / "b")
    assert engine.status().roots[0].sync_hours is None
