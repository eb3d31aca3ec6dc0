"""Files of pictures over HTTP: to the bin and back, downloads, parts."""

from __future__ import annotations

import csv
import io
import os
import re
import resource
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.serving import files, problem, serving, until
from test_roles import OWN, bearer

from search import Engine
from search.api.auth import Access
from search.records.annotations import Change

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


def read_archive(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {one.filename: archive.read(one) for one in archive.infolist()}


def test_files_are_downloaded_as_an_archive(
    client: httpx.Client, folder: Path, engine: Engine
) -> None:
    paint(folder / "in" / "1.JPG", 4)
    paint(folder / "deep" / "er" / "1.jpg", 5)
    paint(folder / "missing.txt.jpg", 6)
    paint(folder / os.fsdecode(b"a\\caf\xc3\xa9 \xff:\n.jpg"), 7)
    engine.sync(folder)
    ids = [identity(seed) for seed in (1, 4, 5, 6, 7, 1)]
    answer = client.post(f"{IMAGES}/download", json={"ids": ids})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == "attachment; filename=lookalike.zip"
    assert "content-length" not in answer.headers
    names = ["1.jpg", "1 (2).JPG", "1 (3).jpg", "missing.txt.jpg", "a_café ___.jpg"]
    expected = dict(zip(names, map(jpeg, (1, 4, 5, 6, 7)), strict=True))
    assert read_archive(answer.content) == expected
    form = client.post(f"{IMAGES}/download", data={"ids": ids[:2]})
    assert read_archive(form.content) == {"1.jpg": jpeg(1), "1 (2).JPG": jpeg(4)}
    form = client.post(f"{IMAGES}/download", data={"ids": f"{ids[0][:9]}\r\n{ids[1]}"})
    assert len(read_archive(form.content)) == 2


def test_files_of_an_archive_have_the_date_of_their_files(
    client: httpx.Client, folder: Path, engine: Engine
) -> None:
    """Where a picture does not say when it was taken."""
    moment = datetime(2011, 5, 6, 7, 8, 10)
    os.utime(paint(folder / "9.jpg", 9), (moment.timestamp(),) * 2)
    engine.sync(folder)
    data = client.post(f"{IMAGES}/download", json={"ids": [identity(9)]}).content
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].date_time == moment.timetuple()[:6]


def test_an_archive_names_what_it_lacks(client: httpx.Client, folder: Path, tmp_path: Path) -> None:
    paint(folder / "1.jpg", 9)
    secret = paint(tmp_path / "secret.jpg", 10)
    (folder / "2.jpg").unlink()
    (folder / "2.jpg").symlink_to(secret)
    sent = {"ids": [identity(seed) for seed in (1, 2, 3)]}
    archived = read_archive(client.post(f"{IMAGES}/download", json=sent).content)
    missing = archived.pop("missing.txt").decode().splitlines()
    assert archived == {"3.jpg": jpeg(3)} and len(missing) == 2
    assert missing[0].startswith(f"{folder / '1.jpg'}: no file of picture")


def test_an_archive_has_limits(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    place, known = f"{IMAGES}/download", {"ids": [identity(1)]}
    for path in (place, f"{IMAGES}/csv"):
        problem(client.post(path, json={"ids": []}), 422)
        problem(client.post(path, json={"ids": ["a" * 65]}), 422)
        problem(client.post(path, json={"ids": ["0" * 64]}), 404)
        problem(client.post(path, json={**known, "more": 1}), 422)
        problem(client.post(path, json={"ids": ["abcdef"] * 10_001}), 422)
        problem(client.post(path, data={"more": "1"}), 422)
        problem(client.post(path, data={"ids": "abcdef " * 10_001}), 422)
        problem(client.post(path, files=files(jpeg(1))), 415)
        problem(client.post(path, content=b"x" * 2**21), 413)
        foreign = {"Origin": "https://example.org"}
        problem(client.post(path, data=known, headers=foreign), 403)
    monkeypatch.setattr("search.api.routers.downloads.MOST_BYTES", len(jpeg(1)) - 1)
    problem(client.post(place, json=known), 413, "select fewer")


def test_an_archive_is_not_held_in_memory_and_ends_with_the_connection(
    client: httpx.Client, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[io.BytesIO]()
    picture = engine.picture(identity(1))
    picture = replace(picture, metadata=replace(picture.metadata, bytes=2**33))

    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return bytes(size or 0)

    def open_original(_: str) -> tuple[Any, io.BytesIO]:
        opened.append(Endless())
        return picture, opened[-1]

    monkeypatch.setattr(engine.library.browser, "original", open_original)
    monkeypatch.setattr(engine.library.browser, "pictures", lambda _: [picture])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with client.stream("POST", f"{IMAGES}/download", json={"ids": [identity(1)]}) as answer:
        size = 0
        for part in answer.iter_raw():
            size += len(part)
            if size > 2**25:
                break
    until(lambda: opened[0].closed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**14  # KiB: 16 MiB


def test_pictures_are_listed_in_a_table(client: httpx.Client, folder: Path, engine: Engine) -> None:
    engine.tags.change([identity(1)], Change(add_tags=("=1+1", "b"), rating=3, caption="a, b"))
    answer = client.post(f"{IMAGES}/csv", json={"ids": [identity(2), identity(1)]})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [one["id"] for one in rows] == [identity(2), identity(1)]
    assert rows[1]["path"] == str(folder / "1.jpg") and rows[1]["width"] == "48"
    assert (rows[1]["tags"], rows[1]["rating"], rows[1]["caption"]) == ("'=1+1; b", "3", "a, b")


def test_a_table_of_an_answer_has_its_scores(client: httpx.Client) -> None:
    ids, place = [identity(2)[:20], identity(1)], f"{IMAGES}/csv"
    for answer in (
        client.post(place, json={"ids": ids, "scores": [0.5, None]}),
        client.post(place, data={"ids": " ".join(ids), "scores": "[0.5, null]"}),
    ):
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        scores = {row["id"]: row["score"] for row in rows}
        assert scores == {identity(2): "0.5", identity(1): ""}
    assert "score" not in client.post(place, json={"ids": ids}).text
    problem(client.post(place, json={"ids": ids, "scores": [1]}), 422, "1 scores for 2 ids")
    problem(client.post(place, data={"ids": ids[0], "scores": "nan("}), 422, "no JSON")
    problem(client.post(f"{IMAGES}/download", json={"ids": ids, "scores": [1, 1]}), 422)


def test_pictures_are_on_a_contact_sheet(client: httpx.Client, folder: Path) -> None:
    paint(folder / "<b>&.jpg", 4)
    client.app.state.context.engine.sync(folder)  # type: ignore[attr-defined]
    ids, place = [identity(4), identity(1)], f"{IMAGES}/sheet"
    for answer in (
        client.post(place, json={"ids": ids, "scores": [0.5, None]}),
        client.post(place, data={"ids": " ".join(ids), "scores": "[0.5, null]"}),
    ):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-disposition"] == "attachment; filename=lookalike.html"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.text.count('src="data:image/webp;base64,') == 2
        captions = re.findall("<figcaption>(.*?)</figcaption>", answer.text)
        assert captions == ["0.500 &lt;b&gt;&amp;.jpg", "1.jpg"]
        assert "<a " not in answer.text and "<b>" not in answer.text
    problem(client.post(place, json={"ids": ["0" * 64]}), 404)


def test_a_part_of_a_file_is_sent(client: httpx.Client, folder: Path) -> None:
    place, data = f"{IMAGES}/{identity(1)}/file", jpeg(1)
    whole = client.get(place)
    size, tag, date = len(data), whole.headers["etag"], whole.headers["last-modified"]
    assert whole.headers["accept-ranges"] == "bytes" and whole.content == data
    assert parsedate_to_datetime(date).timestamp() == int((folder / "1.jpg").stat().st_mtime)
    for value, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-", 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=5-{size + 5}", 5, size),
        ("Bytes = 5-9", 5, 10),
    ):
        for same in ({}, {"If-Range": tag}, {"If-Range": date}):
            answer = client.get(place, headers={"Range": value, **same})
            assert (answer.status_code, answer.content) == (206, data[start:stop]), value
            assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert answer.headers["content-length"] == str(stop - start)
            assert answer.headers["etag"] == tag
    for value in (
        "bytes=9-5",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=-",
        "bytes=a-",
        "bytes=٣-",
        "5",
    ):
        answer = client.get(place, headers={"Range": value.encode()})
        assert (answer.status_code, answer.content) == (200, data), value
    for other in ('"other"', f"W/{tag}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        answer = client.get(place, headers={"Range": "bytes=5-9", "If-Range": other})
        assert (answer.status_code, answer.content) == (200, data)
    for value in (f"bytes={size}-", "bytes=-0", f"bytes={10**50}-"):
        answer = client.get(place, headers={"Range": value})
        problem(answer, 416)
        assert answer.headers["content-range"] == f"bytes */{size}"
    answer = client.get(place, headers={"Range": f"bytes=-{size * 2}"})
    assert answer.content == data


@pytest.mark.parametrize("part", ["file", "thumbnail", "preview"])
def test_a_head_has_the_headers_of_the_answer(client: httpx.Client, part: str) -> None:
    place = f"{IMAGES}/{identity(1)}/{part}"
    answer, head = client.get(place), client.head(place)
    names = "content-length content-type etag cache-control content-security-policy".split()
    assert head.status_code == 200 and head.content == b""
    assert {name: head.headers[name] for name in names} == {
        name: answer.headers[name] for name in names
    }
    assert "private" in head.headers["cache-control"]
    same = {"If-None-Match": f'"x", {head.headers["etag"]}'}
    for method in ("GET", "HEAD"):
        known = client.request(method, place, headers=same)
        assert (known.status_code, known.content) == (304, b"")
        assert known.headers["etag"] == head.headers["etag"]
    assert client.head(f"{IMAGES}/{'0' * 64}/{part}").status_code == 404


def test_a_file_that_did_not_change_is_not_sent_again(client: httpx.Client) -> None:
    place = f"{IMAGES}/{identity(1)}/file"
    date = client.get(place).headers["last-modified"]
    assert client.get(place, headers={"If-Modified-Since": date}).status_code == 304
    old = "Thu, 01 Jan 1970 00:00:00 GMT"
    for text in (old, "no date", ""):
        assert client.get(place, headers={"If-Modified-Since": text}).content == jpeg(1)
    both = {"If-Modified-Since": date, "If-None-Match": '"other"'}
    assert client.get(place, headers=both).content == jpeg(1)
