"""Many users of one server: what each role may do, and how a token ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from helpers.pictures import paint
from helpers.serving import files, problem, serving
from starlette.routing import BaseRoute, Route

from search import Engine, Progress, UnavailableError
from search.api.app import create_app
from search.api.auth import OPEN, PAGE, Access
from search.api.roles import GuardedRoute, make_router
from search.records.tokens import ROLES

OWN = "f" * 64  # the server's own token
DOCUMENT = "/openapi.json"  # FastAPI's own route, which holds no data and needs any token
WRITING = {
    ("POST", "/api/v1/annotations"),
    ("POST", "/api/v1/images"),
    ("DELETE", "/api/v1/images/{picture_id}"),
    ("POST", "/api/v1/index"),
    ("POST", "/api/v1/augment"),
    ("PUT", "/api/v1/searches/{name}"),
    ("PATCH", "/api/v1/searches/{name}"),
    ("PUT", "/api/v1/images/{picture_id}/tags/{tag:path}"),
    ("DELETE", "/api/v1/images/{picture_id}/tags/{tag:path}"),
    ("PATCH", "/api/v1/images/{picture_id}"),
    ("POST", "/api/v1/images/batch"),
    ("POST", "/api/v1/images/remove"),
    ("POST", "/api/v1/images/restore"),
    ("POST", "/api/v1/duplicates/remove"),
    ("PATCH", "/api/v1/tags/{tag:path}"),
    ("POST", "/api/v1/albums"),
    ("PATCH", "/api/v1/albums/{album}"),
    ("DELETE", "/api/v1/albums/{album}"),
    ("POST", "/api/v1/text"),
    ("GET", "/api/v1/captions"),
    ("POST", "/api/v1/captions"),
    ("GET", "/api/v1/folders"),
    ("GET", "/api/v1/folders/left-out"),
    ("PATCH", "/api/v1/folders"),
    ("DELETE", "/api/v1/folders"),
    ("PUT", "/api/v1/collections/{collection:path}"),
    ("PATCH", "/api/v1/collections/{collection:path}"),
    ("DELETE", "/api/v1/collections/{collection:path}"),
}
OWNERS = {
    ("POST", "/api/v1/login/links"),
    ("POST", "/api/v1/folders/allow"),
    ("GET", "/api/v1/desktop"),
    ("POST", "/api/v1/images/{picture_id}/reveal"),
    ("POST", "/api/v1/folders/reveal"),
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def access(engine: Engine) -> Access:
    return Access(token=OWN, find_token=engine.find_token)


@pytest.fixture
def client(engine: Engine, access: Access, folder: Path) -> Iterator[httpx.Client]:
    with serving(engine, access, allow=[folder]) as client:
        yield client


def walk(routes: Sequence[BaseRoute]) -> Iterator[BaseRoute]:
    """All routes, also those of the routers that an app includes."""
    for route in routes:
        router = getattr(route, "original_router", None)
        yield from [route] if router is None else walk(router.routes)


def list_routes(engine: Engine) -> list[tuple[str, GuardedRoute]]:
    routes = []
    for route in walk(create_app(engine).routes):
        if isinstance(route, Route) and not isinstance(route, APIRoute):
            assert route.path == DOCUMENT  # nothing comes past the declarations
            continue
        assert isinstance(route, GuardedRoute), route
        routes += [(method, route) for method in sorted(route.methods)]
    return routes


def test_each_route_declares_who_may_use_it(engine: Engine) -> None:
    routes = list_routes(engine)
    needs = {(method, route.path): route.needs.role for method, route in routes}
    assert len(needs) > 25 and set(needs.values()) == {"open", *ROLES}
    opened = {key for key, role in needs.items() if role == "open"}
    assert opened == OPEN | {("GET", f"{PAGE}{{name}}"), ("HEAD", f"{PAGE}{{name}}")}
    assert {key for key, role in needs.items() if role == "write"} == WRITING
    assert {key for key, role in needs.items() if role == "admin"} == OWNERS


def test_a_route_without_a_declaration_cannot_be_added() -> None:
    async def forgotten() -> None: ...

    with pytest.raises(TypeError, match="/new does not declare"):
        make_router().get("/new")(forgotten)
    APIRouter().get("/new")(forgotten)  # so the routes' own class refuses it


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_includes_and_no_more(
    engine: Engine, client: httpx.Client, role: str
) -> None:
    headers = bearer(engine.add_token("anna", role))  # type: ignore[arg-type]
    for method, route in list_routes(engine):
        if route.needs.role == "open":
            continue
        path = route.path.replace("{picture_id}", "0" * 64).replace("{name}", "a")
        path = path.replace("{number}", "0")
        answer = client.request(method, path.replace("{job_id}", "a"), headers=headers)
        is_enough = ROLES.index(role) >= ROLES.index(route.needs.role)  # type: ignore[arg-type]
        refused = answer.status_code == 403 and answer.json()["code"] == "role_missing"
        assert refused is not is_enough, (method, path, answer.text)
    assert client.get("/api/v1/login", headers=headers).json()["role"] == role


def test_a_body_is_not_read_that_may_not_be_sent(engine: Engine, client: httpx.Client) -> None:
    headers = bearer(engine.add_token("anna", "read"))
    answer = client.post("/api/v1/index", headers=headers, content=b"no JSON")
    document = problem(answer, 403, "the role write")
    assert document["code"] == "role_missing"


def test_a_reader_searches_and_a_writer_keeps(
    engine: Engine, client: httpx.Client, folder: Path
) -> None:
    reader, writer = bearer(engine.add_token("a", "read")), bearer(engine.add_token("b", "write"))
    picture = paint(folder / "a.jpg", 7).read_bytes()
    engine.sync(folder)
    (folder / "a.jpg").unlink()
    for headers in (reader, writer):
        assert client.post("/api/v1/search", files=files(picture), headers=headers).json()["hits"]
    problem(client.post("/api/v1/images", files=files(picture), headers=reader), 403)
    answer = client.post("/api/v1/images", files=files(picture), headers=writer)
    assert answer.status_code == 201
    place = f"/api/v1/images/{answer.json()['id']}"
    problem(client.delete(place, headers=reader), 403)
    assert client.get(place, headers=reader).status_code == 200
    problem(client.post("/api/v1/login/links", headers=writer), 403)
    assert client.post("/api/v1/login/links", headers=bearer(OWN)).status_code == 200


def test_the_servers_own_token_and_none_at_all_are_of_the_owner(
    engine: Engine, client: httpx.Client
) -> None:
    owner = {"role": "admin", "collections": None, "has_login": True}
    assert client.get("/api/v1/login", headers=bearer(OWN)).json() == owner
    with serving(engine) as free:
        assert free.get("/api/v1/login").json() == owner | {"has_login": False}


def test_a_revoked_token_ends_at_once_and_so_do_its_sessions(
    engine: Engine, client: httpx.Client, access: Access
) -> None:
    token, other = engine.add_token("anna", "write"), engine.add_token("bert", "read")
    assert client.post("/api/v1/login", json={"token": token}).status_code == 204
    session = client.cookies[access.cookie]
    assert token not in session
    cookie = {"Cookie": f"{access.cookie}={session}"}
    client.cookies.clear()
    assert client.get("/api/v1/login", headers=cookie).json()["role"] == "write"
    assert client.get("/api/v1/status", headers=bearer(token)).status_code == 200
    engine.revoke_token("anna")
    problem(client.get("/api/v1/status", headers=bearer(token)), 401)
    problem(client.get("/api/v1/status", headers=cookie), 401)
    assert client.get("/api/v1/status", headers=bearer(other)).status_code == 200
    assert engine.add_token("anna", "write") != token  # a new one brings no old session back
    problem(client.get("/api/v1/status", headers=cookie), 401)
    problem(client.get("/api/v1/status", headers=bearer(token)), 401)


def test_a_revoked_token_follows_no_job_any_more(engine: Engine, client: httpx.Client) -> None:
    go = threading.Event()

    def run() -> Iterator[Progress]:
        while not go.wait(0.05):
            yield Progress("index", 1, 2)

    job = client.app.state.context.jobs.start("index", "/a", "/a", run)  # type: ignore[attr-defined]
    headers = bearer(engine.add_token("anna", "read"))
    try:
        place = f"/api/v1/jobs/{job.id}/events"
        with client.stream("GET", place, headers=headers) as response:
            lines = response.iter_lines()
            assert next(lines)
            engine.revoke_token("anna")
            *_, last = lines  # the stream ends, and the job does not
        assert last == "" and not job.over
    finally:
        go.set()


def test_a_session_cannot_be_changed_to_another_token(
    engine: Engine, client: httpx.Client, access: Access
) -> None:
    reader, admin = engine.add_token("anna", "read"), engine.add_token("root", "admin")
    client.post("/api/v1/login", json={"token": reader})
    value = client.cookies[access.cookie]
    client.cookies.clear()
    digests = {token.name: token.digest for token in engine.tokens()}
    assert digests["anna"] in value
    forged = [value.replace(digests["anna"], digests["root"])]
    head, _, signature = value.rpartition(".")
    forged += [f"{head.rpartition('.')[0]}.{signature}", admin]
    for one in forged:
        problem(client.get("/api/v1/status", headers={"Cookie": f"{access.cookie}={one}"}), 401)


def test_a_link_of_the_owner_replaces_the_login_of_a_user(
    engine: Engine, client: httpx.Client, access: Access
) -> None:
    client.post("/api/v1/login", json={"token": engine.add_token("anna", "read")})
    assert client.get("/api/v1/login").json()["role"] == "read"
    assert client.get("/?login=used").status_code == 303  # anna is logged in anyway
    assert client.get("/api/v1/login").json()["role"] == "read"
    assert client.get(access.make_link()).status_code == 303
    assert client.get("/api/v1/login").json()["role"] == "admin"


def test_wrong_tokens_are_counted_and_lock_nobody_out(engine: Engine, client: httpx.Client) -> None:
    headers = bearer(engine.add_token("anna", "read"))
    for number in range(11):
        answer = client.get("/api/v1/status", headers=bearer(f"{number:064x}"))
        assert answer.status_code in (401, 429)
    problem(client.get("/api/v1/status", headers=bearer("0" * 64)), 429)
    assert client.get("/api/v1/status", headers=headers).status_code == 200


def test_a_catalog_that_does_not_answer_is_a_problem(engine: Engine) -> None:
    def fail(digest: str) -> None:
        raise UnavailableError("the database does not answer")

    with serving(engine, Access(token=OWN, find_token=fail)) as client:
        answer = client.get("/api/v1/login", headers=bearer("0" * 64))
        assert problem(answer, 503)["code"] == "catalog_unavailable"
        assert answer.headers["Retry-After"] and answer.headers["X-Content-Type-Options"]
        assert client.get("/api/v1/login", headers=bearer(OWN)).status_code == 200
