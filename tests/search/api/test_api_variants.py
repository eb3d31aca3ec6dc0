"""Variants and augmentation over HTTP: what is made, kept, queued, cancelled and refused."""

from __future__ import annotations

import base64
import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import jpeg
from helpers.project import SAMPLES
from helpers.serving import events, files, problem, raw, serving, until
from helpers.variants import HAT, ID, QUICK, Paced, ask
from PIL import Image

from search import Engine, Variant, Variants
from search.api.problems import Problem
from search.api.routers.variants import MAX_WAITING
from search.api.variant_cache import VariantCache
from search.generation.generators.own import NEIGHBOUR_SIGMA
from search.records.transient import MemoryItems
from search.records.variants import MOST_VARIANTS, REGIMES, SIGMAS


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants") / "photos"
    shutil.copytree(SAMPLES / "hat", folder / "hat")
    return folder


@pytest.fixture(scope="module")
def shared(photos: Path) -> Iterator[Engine]:
    """An engine over a dozen sample pictures, with small limits."""
    engine = open_library(photos.parent / "home", upload_bytes=400_000)
    engine.sync(photos)
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(shared: Engine, photos: Path) -> Iterator[httpx.Client]:
    with serving(shared, allow=[photos.parent]) as client:
        yield client


def pixels(client: httpx.Client, variant: dict[str, Any]) -> np.ndarray[Any, Any]:
    """A variant's picture, as it is fetched."""
    data = client.get(variant["url"])
    assert data.status_code == 200
    with Image.open(io.BytesIO(data.content)) as picture:
        return np.asarray(picture.convert("RGB"), np.int16)


# what is made ------------------------------------------------------------------------------------


def test_an_uploaded_picture_has_variants(client: httpx.Client) -> None:
    response = ask(client)
    assert response.status_code == 200, response.text
    variants = response.json()["variants"]
    assert len(variants) == 2
    for variant in variants:
        assert list(variant) == ["id", "url", "seed", "sigma", "similarity", "accepted", "source"]
        assert variant["seed"] >= 5 and variant["sigma"] == REGIMES["same"]
        assert -1 <= variant["similarity"] <= 1
        assert pixels(client, variant).shape == (64, 48, 3)  # the hat's shape
    picture = client.get(variants[0]["url"])
    assert picture.headers["content-type"] == "image/png"
    assert "sandbox" in picture.headers["content-security-policy"]
    assert "max-age=3600" in picture.headers["cache-control"]


def test_http_and_python_make_the_same(client: httpx.Client, shared: Engine) -> None:
    expected = shared.variants(HAT, **QUICK)
    for response in (
        ask(client),
        client.post("/api/v1/variants", json={"id": ID[:12], **QUICK}),
        client.post("/api/v1/variants", json={"id": f"id:{ID}", "regime": "same", **QUICK}),
    ):
        assert response.status_code == 200, response.text
        created = response.json()["variants"]
        assert [one["seed"] for one in created] == [one.seed for one in expected]
        likeness = [one.similarity for one in expected]
        assert [one["similarity"] for one in created] == pytest.approx(likeness, abs=0.02)
        for one, other in zip(created, expected, strict=True):
            picture = np.asarray(other.picture, np.int16)
            assert np.abs(pixels(client, one) - picture).max() <= 2


def test_variants_start_from_neighbours(client: httpx.Client, shared: Engine) -> None:
    """The same as in Python. Each variant names its neighbour."""
    expected = shared.variants(HAT, start="neighbours", **QUICK)
    response = ask(client, **{"from": "neighbours"})
    assert response.status_code == 200, response.text
    listed = response.json()["variants"]
    assert [one["source"] for one in listed] == [one.to_json()["source"] for one in expected]
    assert all(one["source"]["id"] != ID for one in listed)
    assert {one["sigma"] for one in listed} == {NEIGHBOUR_SIGMA["latent"]}
    assert [one["source"] for one in ask(client).json()["variants"]] == [None, None]


def test_the_dial_is_the_one_of_python(client: httpx.Client) -> None:
    dial = client.get("/api/v1/variants").json()
    generators = [{"name": "lookalike", "license": "apache-2.0", "native_size": 128}]
    limits = {"n": MOST_VARIANTS, "sigma": list(SIGMAS), "regimes": dict(REGIMES)}
    assert dial == {**limits, "generators": generators}
    created = ask(client, sigma=0.7, n=1).json()["variants"]
    assert [one["sigma"] for one in created] == [0.7]


@pytest.mark.parametrize("kind", ["dot", "line", "moving", "clear", "black"])
def test_odd_pictures_have_variants(client: httpx.Client, kind: str) -> None:
    out, blocks = io.BytesIO(), Image.open(io.BytesIO(jpeg(1)))
    if kind == "dot":
        Image.new("RGB", (1, 1), "red").save(out, "PNG")
    elif kind == "line":
        Image.new("RGB", (1, 10_000), "red").save(out, "PNG")
    elif kind == "moving":
        blocks.save(out, "GIF", save_all=True, append_images=[blocks.rotate(90)])
    elif kind == "clear":
        Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(out, "PNG")
    else:
        Image.new("RGB", (40, 30)).save(out, "PNG")
    response = ask(client, out.getvalue(), n=1, steps=1)
    assert response.status_code == 200, response.text
    assert max(pixels(client, response.json()["variants"][0]).shape) == 64


# jobs --------------------------------------------------------------------------------------------


def test_a_job_shows_pictures_on_the_way(client: httpx.Client) -> None:
    response = ask(client, steps=8, wait=False)
    assert response.status_code == 202
    name = response.json()["job"]
    assert response.headers["Location"] == f"/api/v1/jobs/{name}"
    *earlier, last = events(client, name)
    assert last["event"] == "done" and last["data"]["kind"] == "variants"
    assert last["data"]["progress"]["done"] == last["data"]["progress"]["total"]
    variants = last["data"]["report"]["variants"]
    assert len(variants) == 2 and pixels(client, variants[0]).shape == (64, 48, 3)
    done = [event["data"]["progress"]["done"] for event in earlier if event["data"]["progress"]]
    assert done == sorted(done)
    shown = [
        url for event in earlier for url in (event["data"]["progress"] or {}).get("pictures", ())
    ]
    for url in shown:
        kind, _, data = url.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert max(picture.size) <= 128
    assert client.get(f"/api/v1/jobs/{name}").json() == last["data"]


@pytest.fixture
def paced(shared: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paced]:
    paced = Paced(shared, monkeypatch)
    yield paced
    paced.release_all()


def test_one_request_at_a_time_and_no_endless_queue(client: httpx.Client, paced: Paced) -> None:
    names = [ask(client, wait=False).json()["job"] for _ in range(2)]
    until(lambda: paced.at_once == 1)
    names += [ask(client, wait=False).json()["job"] for _ in range(MAX_WAITING - 1)]
    refused = ask(client, wait=False)
    problem(refused, 429, "waiting")
    assert int(refused.headers["Retry-After"]) > 0
    problem(ask(client), 429)
    response = client.post("/api/v1/search", files=files(HAT.read_bytes()))  # searches go on
    assert response.json()["hits"][0]["id"] == ID
    for name in names[2:]:
        assert client.delete(f"/api/v1/jobs/{name}").json()["state"] == "cancelled"
    paced.go.release(10_000)
    assert [events(client, name)[-1]["event"] for name in names[:2]] == ["done", "done"]
    assert paced.most == 1


def test_a_cancelled_job_ends_and_keeps_nothing(
    client: httpx.Client, paced: Paced, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = list[bytes]()
    cache: VariantCache = client.app.state.context.variant_cache  # type: ignore[attr-defined]
    monkeypatch.setattr(cache, "add", added.append)
    name = ask(client, steps=30, wait=False).json()["job"]
    until(lambda: client.get(f"/api/v1/jobs/{name}").json()["progress"] is not None)
    assert client.delete(f"/api/v1/jobs/{name}").status_code == 202
    paced.go.release(1)
    last = events(client, name)[-1]
    assert last["event"] == "cancelled" and last["data"]["report"] is None
    until(lambda: paced.closed == 1)
    assert not added


@pytest.mark.parametrize("way", ["file", "id"])
def test_who_goes_away_cancels(client: httpx.Client, paced: Paced, way: str) -> None:
    options = {**QUICK, "steps": 1000}
    arguments: dict[str, Any] = {"json": {"id": ID, **options}}
    if way == "file":
        arguments = {"files": files(HAT.read_bytes()), "data": {"options": json.dumps(options)}}
    request = client.build_request("POST", "/api/v1/variants", **arguments)
    head = b"".join(b"%s: %s\r\n" % pair for pair in request.headers.raw)
    connection = raw(
        client, b"POST /api/v1/variants HTTP/1.1\r\n" + head + b"\r\n" + request.read()
    )
    until(lambda: paced.at_once == 1)
    job = client.get("/api/v1/jobs").json()["jobs"][0]
    assert job["kind"] == "variants" and job["state"] == "running"
    connection.close()
    paced.go.release(20)
    until(lambda: client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled")
    assert paced.closed == 1


def test_a_job_that_is_cancelled_by_another_is_told_so(client: httpx.Client, paced: Paced) -> None:
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(ask(client)))
    thread.start()
    until(lambda: paced.at_once == 1)
    client.delete(f"/api/v1/jobs/{client.get('/api/v1/jobs').json()['jobs'][0]['id']}")
    paced.go.release(1)
    thread.join()
    problem(answers[0], 503, "cancelled")


# what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"n": 0}, 400),
        ({"n": 1000}, 400),
        ({"n": -(10**30)}, 400),
        ({"n": "4"}, 422),
        ({"n": None}, 422),
        ({"sigma": -1}, 400),
        ({"sigma": "high"}, 422),
        ({"sigma": 1, "regime": "near"}, 400),
        ({"regime": "far"}, 422),
        ({"seed": -1}, 400),
        ({"seed": 2**64}, 400),
        ({"seed": 0.5}, 422),
        ({"steps": 0}, 400),
        ({"steps": 10**6}, 400),
        ({"guidance": -1}, 400),
        ({"guidance": 10**9}, 400),
        ({"size": 0}, 400),
        ({"size": 10**5}, 400),
        ({"wait": "no"}, 422),
        ({"strength": 0.5}, 422),
        ({"from": "elsewhere"}, 422),
        ({"start": "neighbours"}, 422),
        ({"from": "neighbours", "regime": "near"}, 400),
        ({"from": "neighbours", "sigma": 80}, 400),
        ({"id": ID}, 422),  # beside a file
        ({"url": "https://example.org/a.jpg"}, 422),
    ],
)
def test_bad_options_are_refused_at_once(
    client: httpx.Client, options: dict[str, Any], status: int, wait: bool
) -> None:
    before = client.get("/api/v1/jobs").json()
    problem(ask(client, **{"wait": wait, **options}), status)
    assert client.get("/api/v1/jobs").json() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"sigma": 1e400}', 422),
        (b'{"sigma": NaN}', 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"id": 7}', 422),
        (b'{"id": "nonsense"}', 400),
        (b'{"id": "\\ud800"}', 400),
        (b'{"id": "ffffffffff"}', 404),
        (b'{"id": "ffffffffff", "url": "https://example.org/"}', 422),
        (b'{"url": "/etc/passwd"}', 422),
        (b'{"url": "http://127.0.0.1:1/"}', 400),
        (b'{"url": "https://nothing.invalid/"}', 400),
    ],
)
def test_bad_json_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    kind = {"Content-Type": "application/json"}
    problem(client.post("/api/v1/variants", content=body, headers=kind), status)


def test_what_is_no_picture_is_refused(client: httpx.Client) -> None:
    problem(ask(client, b"hello"), 415, "picture")
    problem(ask(client, HAT.read_bytes()[:2000]), 415)
    problem(ask(client, b"\0" * 500_000), 413)
    two = client.post("/api/v1/variants", files=files(jpeg(1), jpeg(2)))
    problem(two, 413)
    last = events(client, ask(client, b"hello", wait=False).json()["job"])[-1]
    assert last["event"] == "failed" and "picture" in last["data"]["error"]
    assert last["data"]["code"] == "not_a_picture"


@pytest.mark.parametrize("name", ["0" * 32, "x", "..%2f..", "%00", "a.png"])
def test_what_was_never_made_is_not_there(client: httpx.Client, name: str) -> None:
    problem(client.get(f"/api/v1/variants/{name}.png"), 404)


# what is kept ------------------------------------------------------------------------------------


def test_pictures_are_kept_for_an_hour() -> None:
    now = [0.0]
    cache = VariantCache(MemoryItems(lambda: now[0]))
    first = cache.add(b"one")
    now[0] = 3599.0
    second = cache.add(b"two")
    assert cache.get(first) == b"one"
    now[0] = 3600.5
    with pytest.raises(Problem):
        cache.get(first)
    assert cache.get(second) == b"two"
    assert len({first, second, *(cache.add(b"") for _ in range(50))}) == 52
    assert len(first) == 32 and int(first, 16) >= 0


def test_of_too_many_pictures_the_oldest_go() -> None:
    cache = VariantCache(MemoryItems())
    names = [cache.add(b"x") for _ in range(1003)]
    for name in names[:3]:
        with pytest.raises(Problem):
            cache.get(name)
    assert all(cache.get(name) == b"x" for name in names[3:])


def test_kept_variants_are_the_pictures_that_were_made() -> None:
    picture = Image.open(io.BytesIO(jpeg(1)))
    cache = VariantCache(MemoryItems())
    answer = cache.add_all(Variants((Variant(picture, 3, 0.5, 0.9),), 1.25, 1, 1)).to_json()
    assert answer["seconds"] == 1.25
    (entry,) = answer["variants"]
    assert {name: entry[name] for name in ("seed", "sigma", "similarity")} == {
        "seed": 3,
        "sigma": 0.5,
        "similarity": 0.9,
    }
    assert entry["url"] == f"/api/v1/variants/{entry['id']}.png"
    with Image.open(io.BytesIO(cache.get(entry["id"]))) as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(picture))


# a training set ----------------------------------------------------------------------------------


def test_a_training_set_is_made(client: httpx.Client, photos: Path, tmp_path: Path) -> None:
    source, output = photos.parent / "two" / "hat", photos.parent / "set"
    source.mkdir(parents=True)
    for name in ("01.jpg", "03.jpg"):
        shutil.copy(photos / "hat" / name, source / name)
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    request = {"path": str(source.parent), "n": 1, "seed": 3, "output": str(output)}
    response = client.post("/api/v1/augment", json=request)
    assert response.status_code == 202, response.text
    *earlier, last = events(client, response.json()["job"])
    assert last["event"] == "done" and last["data"]["kind"] == "augment"
    assert last["data"]["report"]["made"] == 2 and last["data"]["report"]["pictures"] == 2
    done = [e["data"]["progress"]["done"] for e in (*earlier, last) if e["data"]["progress"]]
    assert done == sorted(done) and done[-1] == 2
    assert len(list((output / "hat").glob("*.png"))) == 2
    assert len((output / "metadata.jsonl").read_text().splitlines()) == 2
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    again = client.post("/api/v1/augment", json=request).json()["job"]
    assert events(client, again)[-1]["data"]["report"]["unchanged"] == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"path": "/etc"}, 403),
        ({"output": "/etc/set"}, 403),
        ({"output": "{photos}/../../elsewhere"}, 403),
        ({"output": "{photos}/hat/set"}, 400),
        ({"output": "{photos}"}, 400),
        ({"output": "set"}, 400),
        ({"path": "{photos}/../nothing"}, 404),
        ({"n": 0}, 400),
        ({"n": 1000}, 400),
        ({"seed": 2**64}, 400),
        ({"regime": "far"}, 422),
        ({"size": 64}, 422),
        ({"output": None}, 422),
    ],
)
def test_only_allowed_folders_are_read_and_written(
    client: httpx.Client, photos: Path, change: dict[str, Any], status: int
) -> None:
    body = {"path": str(photos), "output": str(photos.parent / "never"), **change}
    filled = {
        name: value.replace("{photos}", str(photos)) if isinstance(value, str) else value
        for name, value in body.items()
    }
    before = client.get("/api/v1/jobs").json()
    problem(client.post("/api/v1/augment", json=filled), status)
    assert client.get("/api/v1/jobs").json() == before
    assert not (photos.parent / "never").exists()


@pytest.mark.parametrize("name", ["/etc", "someone/pipeline", "", "lookalike+/etc"])
def test_a_client_takes_no_generator_but_those_of_the_server(
    client: httpx.Client, name: str
) -> None:
    """It could let the server read any folder, or download what it likes."""
    response = ask(client, generator=name)
    assert response.status_code == 400
    assert response.json()["code"] == "generator_unknown" and "lookalike" in response.text
    augment = {"path": "~", "output": "~/out", "generator": name}
    assert client.post("/api/v1/augment", json=augment).json()["code"] == "generator_unknown"


def test_the_generator_may_be_named(client: httpx.Client) -> None:
    plain, named = (ask(client, n=1, **more).json() for more in ({}, {"generator": "lookalike"}))
    assert [one["similarity"] for one in plain["variants"]] == [
        one["similarity"] for one in named["variants"]
    ]
