"""Servers on one PostgreSQL catalog keep nothing that the others lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from helpers.pictures import jpeg
from helpers.serving import serving

from search import Engine
from search.api.auth import Access, EndedSessions, Links

pytestmark = pytest.mark.catalogs("postgresql")


@pytest.fixture
def servers(library: Callable[..., Engine]) -> Iterator[list[httpx.Client]]:
    """Clients of two servers, behind one name."""

    def make_access(engine: Engine) -> Access:
        items = engine.library.transient_items
        return Access(token="right", ended=EndedSessions(items), links=Links(items))

    engines = library(), library()
    first, second = (serving(engine, make_access(engine)) for engine in engines)
    with first as one, second as other:
        yield [one, other]


def test_any_server_takes_a_link_and_knows_a_logout(servers: list[httpx.Client]) -> None:
    first, second = servers
    bearer = {"Authorization": "Bearer right"}
    path = first.post("/api/v1/login/links", headers=bearer).json()["path"]
    opened = second.get(path)
    assert opened.status_code == 303 and second.cookies
    session = {"Cookie": "; ".join(f"{name}={value}" for name, value in second.cookies.items())}
    assert first.get("/api/v1/status", headers=session).status_code == 200
    first.cookies.clear()
    assert first.get(path).status_code == 200 and not first.cookies  # it was used
    assert second.delete("/api/v1/login").status_code == 204
    assert first.get("/api/v1/status", headers=session).status_code == 401


def test_any_server_has_a_shared_picture(servers: list[httpx.Client]) -> None:
    first, second = servers
    bearer = {"Authorization": "Bearer right"}
    files = {"image": ("a.jpg", jpeg(1), "image/jpeg")}
    place = first.post("/share", files=files, headers=bearer).headers["location"]
    path = place.replace("/?shared=", "/api/v1/shared/")
    assert second.get(path, headers=bearer).content == jpeg(1)
    assert first.get(path, headers=bearer).status_code == 404


def test_any_server_shows_a_variant(servers: list[httpx.Client]) -> None:
    first, second = servers
    name = first.app.state.context.variant_cache.add(b"png")  # type: ignore[attr-defined]
    answer = second.get(f"/api/v1/variants/{name}.png", headers={"Authorization": "Bearer right"})
    assert (answer.status_code, answer.content) == (200, b"png")
