"""Requests of browser extensions: allowed with a token of their own, and only then."""

from __future__ import annotations

import json

import pytest
from helpers.pictures import identity, jpeg
from helpers.serving import files, problem, serving

from search import Engine
from search.api.auth import Access

OWN = "f" * 64
ORIGINS = "chrome-extension://abcdefghijklmnop", "moz-extension://1b2c3d4e-0000-4000-8000-abcdef"
PAGE = "https://example.org/birds"


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_extension_needs_a_token_of_its_own(engine: Engine, origin: str) -> None:
    access = Access(token=OWN, find_token=engine.find_token)
    sent = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    bearer = {"Authorization": f"Bearer {OWN}"}
    data = {"options": json.dumps({"source": f"{PAGE}#top"})}
    with serving(engine, access) as client:

        def keep(headers: dict[str, str]) -> object:
            return client.post("/api/v1/images", files=files(jpeg(1)), data=data, headers=headers)

        client.post("/api/v1/login", json={"token": OWN})
        assert client.get("/api/v1/status").is_success  # by the cookie
        for headers in (sent, {**sent, "Authorization": "Basic x"}, {**sent, "Authorization": ""}):
            problem(keep(headers), 403, "a token of its own")  # type: ignore[arg-type]
        problem(keep({**sent, "Authorization": "Bearer wrong"}), 401)  # type: ignore[arg-type]
        for other in ("https://evil.example", "null", "chrome-extension.evil.example"):
            problem(keep({**sent, **bearer, "Origin": other}), 403, "pages")  # type: ignore[arg-type]
        without = {"Sec-Fetch-Site": "cross-site", **bearer}
        problem(keep(without), 403, "pages of other sites")  # type: ignore[arg-type]
        answer = keep({**sent, **bearer})
        assert answer.status_code == 201, answer.text  # type: ignore[attr-defined]
        assert not any("access-control" in one for one in answer.headers)  # type: ignore[attr-defined]
        assert client.options("/api/v1/images", headers={**sent, **bearer}).status_code == 405
        login = client.post("/api/v1/login", json={"token": OWN}, headers=sent)
        problem(login, 403)
        wrong = client.get("/", headers={**sent, "Authorization": "Bearer wrong"})
        problem(wrong, 401)
    picture = engine.picture(identity(1))
    assert (picture.source_url, picture.original_name) == (PAGE, "a.jpg")


def test_a_server_without_a_token_answers_no_extension(engine: Engine) -> None:
    with serving(engine) as client:
        headers = {"Origin": ORIGINS[0], "Authorization": "Bearer x"}
        answer = client.get("/api/v1/status", headers=headers)
        problem(answer, 403, "without --no-token")


def test_the_source_of_a_kept_picture(engine: Engine) -> None:
    with serving(engine) as client:

        def keep(seed: int, **options: str) -> int:
            data = {"options": json.dumps(options)}
            answer = client.post("/api/v1/images", files=files(jpeg(seed)), data=data)
            return int(answer.status_code)

        assert keep(1) == 201 and engine.picture(identity(1)).source_url is None
        assert keep(1, source=PAGE) == 200  # it is added to what the library has
        assert engine.picture(identity(1)).source_url == PAGE
        assert keep(1, source="https://example.org/other") == 200
        assert engine.picture(identity(1)).source_url == PAGE  # and changes nothing that is there
        assert keep(2, name="x.jpg", source="https://me:secret@example.org/") == 201
        picture = engine.picture(identity(2))
        assert (picture.source_url, picture.original_name) == ("https://example.org/", "x.jpg")
        for source in ("javascript:alert(1)", "file:///etc/passwd", "data:image/png;base64,AA"):
            assert keep(3, source=source) == 400
        assert keep(3, url=PAGE) == 422 and keep(3, other="x") == 422
        problem(client.post("/api/v1/images", json={"source": PAGE}), 422)
