"""The share target: another app on the phone sends a picture, and the page takes it once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from helpers.pictures import jpeg
from helpers.serving import problem, serving

from search import Engine
from search.api.auth import Access
from search.api.shares import MAX_SHARES, SHARE_SECONDS, Shares
from search.records.transient import MemoryItems

TOKEN = "f" * 64
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FROM_APP = {"Origin": "null", "Sec-Fetch-Site": "none"}  # as Chromium sends it


@pytest.fixture
def client(engine: Engine) -> Iterator[httpx.Client]:
    with serving(engine, Access(token=TOKEN, find_token=engine.find_token)) as one:
        yield one


def share(client: httpx.Client, **headers: str) -> httpx.Response:
    image = [("image", ("photo.jpg", jpeg(1), "image/jpeg"))]
    return client.post("/share", files=image, data={"title": "a"}, headers={**BEARER, **headers})


def test_a_shared_picture_is_taken_once(client: httpx.Client) -> None:
    answer = share(client, **FROM_APP)
    assert answer.status_code == 303
    name = answer.headers["location"].removeprefix("/?shared=")
    picture = client.get(f"/api/v1/shared/{name}", headers=BEARER)
    assert picture.content == jpeg(1) and picture.headers["content-type"] == "image/jpeg"
    assert "sandbox" in picture.headers["content-security-policy"]
    problem(client.get(f"/api/v1/shared/{name}", headers=BEARER), 404, "share it again")


def test_a_shared_address_is_searched_by(client: httpx.Client) -> None:
    for data in ({"url": "https://a.example/b.jpg"}, {"text": "see https://a.example/b.jpg"}):
        files = {key: (None, value) for key, value in data.items()}
        answer = client.post("/share", files=files, headers=BEARER)
        assert answer.headers["location"] == "/?q=https%3A%2F%2Fa.example%2Fb.jpg"
    nothing = client.post("/share", files={"text": (None, "hello")}, headers=BEARER)
    problem(nothing, 400, "share a picture")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    ],
)
def test_a_page_of_another_site_cannot_share(client: httpx.Client, headers: dict[str, str]) -> None:
    problem(share(client, **headers), 403, "other sites")
    other = client.post("/api/v1/index", json={"path": "/"}, headers={**BEARER, **FROM_APP})
    problem(other, 403, "other sites")  # nor may an app send anything else


def test_a_share_belongs_to_who_sent_it(client: httpx.Client, engine: Engine) -> None:
    problem(client.post("/share", files={"text": (None, "a")}), 401)
    anna = {"Authorization": f"Bearer {engine.add_token('anna', 'read')}"}
    place = share(client, **anna).headers["location"].replace("/?shared=", "/api/v1/shared/")
    problem(client.get(place, headers=BEARER), 404)
    assert client.get(place, headers=anna).status_code == 200


def test_few_pictures_are_held_for_a_few_minutes() -> None:
    now = 0.0
    shares = Shares(MemoryItems(lambda: now))
    names = [shares.add(b"a", "image/png", None) for _ in range(MAX_SHARES + 1)]
    assert shares.take(names[0], None) is None and shares.take(names[1], None) is not None
    now = SHARE_SECONDS
    assert shares.take(names[2], None) is None


def test_the_page_can_be_installed(client: httpx.Client) -> None:
    manifest = client.get("/web/manifest.webmanifest")
    assert manifest.headers["content-type"] == "application/manifest+json"
    document = manifest.json()
    assert document["display"] == "standalone" and document["share_target"]["action"] == "/share"
    for icon in document["icons"]:
        picture = client.get(icon["src"])
        assert picture.headers["content-type"] == icon["type"]
        if icon["type"] == "image/png":
            side = int.from_bytes(picture.content[16:20], "big")
            assert icon["sizes"] == f"{side}x{side}"
    worker = client.get("/web/service-worker.js")
    assert worker.headers["service-worker-allowed"] == "/"
    policy = client.get("/").headers["content-security-policy"]
    assert "manifest-src 'self'" in policy and "worker-src 'self'" in policy
