"""The HTTP API: access, answers, and bad input."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg
from helpers.project import ROOT, SAMPLES
from helpers.serving import files, problem, raw, serving, until
from PIL import Image

from search import Engine, Query
from search.api.auth import Access
from search.api.problems import CODES, STATUS
from search.api.server import serve
from search.errors import InputError, LookalikeError
from search.media.fetch import FetchedPicture

HAT = SAMPLES / "hat" / "03.jpg"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "photos"
    for kind in ("hat", "shoes"):
        shutil.copytree(SAMPLES / kind, folder / kind)
    return folder


@pytest.fixture(scope="module")
def shared(photos: Path) -> Iterator[Engine]:
    """An engine over 22 sample pictures, with small limits."""
    engine = open_library(photos.parent / "home", upload_bytes=400_000, upload_files=3)
    engine.sync(photos)
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def client(shared: Engine) -> Iterator[httpx.Client]:
    with serving(shared) as client:
        yield client


# searching -------------------------------------------------------------------------------------


def test_an_uploaded_file_finds_itself_first(client: httpx.Client, photos: Path) -> None:
    response = client.post("/api/v1/search", files=files(HAT.read_bytes()))
    assert response.status_code == 200
    answer = response.json()
    keys = {"query", "model", "took_ms", "understood", "low_content", "pages", "alike", "hits"}
    assert set(answer) == keys
    assert answer["hits"][0]["path"] == str(photos / "hat" / "03.jpg")
    assert len(answer["hits"]) == 10 and answer["hits"][0]["score"] >= 0.999
    assert answer["query"]["terms"] == [{"image": 0, "weight": 1.0}]


@pytest.mark.parametrize("terms", ["file", "two", "crop", "id", "vector"])
def test_http_and_python_give_the_same_answer(
    client: httpx.Client, shared: Engine, terms: str
) -> None:
    data = [HAT.read_bytes(), (SAMPLES / "shoes" / "02.jpg").read_bytes()]
    name = shared.search(image=data[0], k=1)[0].id
    terms_json, uploads = {
        "file": ([{"image": 0}], data[:1]),
        "two": ([{"image": 1, "weight": 2}, {"image": 0, "weight": -0.5}], data),
        "crop": ([{"image": 0, "crop": ["10%", 20, 200, "50%"]}], data[:1]),
        "id": ([{"image": f"id:{name[:12]}"}], []),
        "vector": ([{"vector": [1.0, *[0.0] * 767]}], []),
    }[terms]
    if terms == "vector":
        terms_json = [{"vector": [1.0] * shared.library.catalog.find_own_space().dim}]  # type: ignore[union-attr]
    query = {"terms": terms_json, "k": 7, "min_score": -1}
    if uploads:
        text = {"query": json.dumps(query)}
        response = client.post("/api/v1/search", files=files(*uploads), data=text)
    else:
        response = client.post("/api/v1/search", json=query)
    assert response.status_code == 200, response.text
    expected = shared.search(Query.from_json(query, uploads)).to_json()
    answer = response.json()
    assert answer["query"] == expected["query"]
    assert [h["id"] for h in answer["hits"]] == [h["id"] for h in expected["hits"]]
    scores = [h["score"] for h in expected["hits"]]
    assert [h["score"] for h in answer["hits"]] == pytest.approx(scores, abs=1e-5)
    assert len(scores) == 7


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("{", 400, "no JSON"),
        ({"terms": [{"image": 3}]}, 400, "0 is the first"),
        ({"terms": [{"image": "/etc/passwd"}]}, 400, "uploaded file"),
        ({"terms": [{"image": "id:abcdef0123"}, {"image": 0}]}, 404, "no picture"),
        ({"terms": [{"image": "id:nonsense"}, {"image": 0}]}, 400, "no id"),
        ({"terms": [{"image": 0, "crop": [0, 0, 9000, 9000]}]}, 400, "not within"),
        ({"terms": [{"image": 0, "crop": [0, 0, 0, 0]}]}, 400, "crop"),
        ({"terms": [{"image": 0, "crop": [0, 0, 1]}]}, 422, "crop"),
        ({"terms": [{"image": 0}, {"vector": [1, 2]}]}, 400, "length"),
        ({"terms": [{"image": 0}, {"image": 0, "weight": -1}]}, 400, "cancel"),
        ({"where": ["widht>3"]}, 400, "did you mean width?"),
        ({"where": "type=jpeg"}, 422, "where"),
        ({"expand": -1}, 400, "give 0 to 100"),
        ({"expand": 101}, 400, "give 0 to 100"),
        ({"expand": True}, 422, "expand"),
        ({"restore": 1}, 422, "restore"),
        ({"restore": True, "kind": "identical"}, 400, "leave one of them out"),
        ({"limit": 5}, 422, "limit"),
        ({"k": 0}, 400, "1 to 10000"),
        ({"k": "ten"}, 422, "k"),
        ('{"k": 1' + "0" * 400 + "}", 400, "1 to 10000"),
        ('{"k": 1' + "0" * 5000 + "}", 400, "no JSON"),
        ('{"\\ud800": 1}', 422, ""),
        ('{"terms": [{"image": 0}, {"image": "id:\\ud800"}]}', 400, "no id"),
        ('{"terms": [{"image": 0, "weight": 1' + "0" * 400 + "}]}", 422, "terms.0.weight"),
        ({"terms": [{"image": 0, "crop": ["1e400%", 0, 1, 1]}]}, 400, "crop"),
        ({"terms": [{"image": "https://a\ud800.org/"}, {"image": 0}]}, 400, "no address"),
        ({"terms": [{"image": 0}, {"image": "http://127.0.0.1:1/"}]}, 400, "public internet"),
        ({"terms": [{"image": 0}, {"image": "http://[::1]/a.jpg"}]}, 400, "public internet"),
        ({"terms": [{"image": 0}, {"image": "https://nothing.invalid/"}]}, 400, "no address"),
    ],
)
def test_a_bad_query_says_what_is_wrong(
    client: httpx.Client, query: Any, status: int, detail: str
) -> None:
    text = query if isinstance(query, str) else json.dumps(query)
    response = client.post("/api/v1/search", files=files(jpeg(1)), data={"query": text})
    document = problem(response, status, detail)
    if status == 422:
        assert detail in document["errors"][0]["field"]


def test_a_huge_vector_is_as_good_as_a_small_one(client: httpx.Client, shared: Engine) -> None:
    dim = shared.library.catalog.find_own_space().dim  # type: ignore[union-attr]
    responses = [
        client.post("/api/v1/search", json={"terms": [{"vector": [scale] * dim, "weight": weight}]})
        for scale, weight in ((1.0, 1.0), (1e300, 1.0), (1e-300, 1.0), (1.0, 1e300))
    ]
    for response in responses:
        assert response.status_code == 200, response.text
        scores = [hit["score"] for hit in response.json()["hits"]]
        expected = [hit["score"] for hit in responses[0].json()["hits"]]
        assert scores == pytest.approx(expected, abs=1e-6)


def whole(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 415),
        (b"hello", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (whole()[:200], 415),
        (jpeg(1)[:-200], 415),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 415),
        (b"x" * 500_000, 413),
    ],
)
def test_an_upload_that_is_no_picture_is_refused(
    client: httpx.Client, data: bytes, status: int
) -> None:
    problem(client.post("/api/v1/search", files=files(data)), status)
    assert client.post("/api/v1/search", files=files(jpeg(1))).status_code == 200


def test_a_picture_of_too_many_pixels_is_too_large(client: httpx.Client) -> None:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    problem(client.post("/api/v1/search", files=files(out.getvalue())), 413, "pixels")


def test_bodies_of_the_wrong_kind_are_refused(client: httpx.Client) -> None:
    post = client.post
    problem(post("/api/v1/search", files=files(*[jpeg(1)] * 4)), 413, "3 files")
    problem(post("/api/v1/search", files=files(*[jpeg(1)] * 9)), 413, "too many")
    problem(post("/api/v1/search"), 415)
    problem(post("/api/v1/search", content=jpeg(1)), 415)
    problem(post("/api/v1/search", data={"query": "{}"}), 415)
    problem(post("/api/v1/search", json={}), 400, "at least one")
    problem(post("/api/v1/search", json=[]), 422)
    problem(post("/api/v1/search", files=[*files(jpeg(1)), ("foo", (None, b"x"))]), 422, "foo")
    problem(post("/api/v1/search", files=[("image", (None, b"x"))]), 422, "is a file")
    twice = [*files(jpeg(1)), ("query", (None, b"{}")), ("query", (None, b"{}"))]
    problem(post("/api/v1/search", files=twice), 422, "twice")
    kind = {"Content-Type": "multipart/form-data"}
    problem(post("/api/v1/search", content=b"x", headers=kind), 400, "broken")
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(post("/api/v1/search", content=b"nonsense", headers=kind), 400, "broken")
    many = [*files(jpeg(1)), *(("query", (None, b"{}")) for _ in range(20))]
    problem(post("/api/v1/search", files=many), 400, "broken")
    kind = {"Content-Type": "application/json"}
    problem(post("/api/v1/search", content=b"\xff\xfe", headers=kind), 400, "no JSON")
    problem(client.get("/api/v1/search"), 405)
    problem(client.get("/api/v1/nothing"), 404, "is no address of this version; /docs")
    problem(client.get("/api/v1/../../etc/passwd"), 404)


def test_an_upload_that_is_cut_off_is_not_half_taken(client: httpx.Client) -> None:
    head = b"--x\r\nContent-Disposition: form-data; name=image; filename=a.jpg\r\n\r\n"
    part = head + jpeg(1) + b"\r\n"
    for kind in ("multipart/form-data; boundary=x", 'Multipart/Form-Data; charset=a; boundary="x"'):

        def post(body: bytes, kind: str = kind) -> httpx.Response:
            return client.post("/api/v1/search", content=body, headers={"Content-Type": kind})

        for body in (b"", head[:20], part[:-200], part, part + head, part + part[:-200]):
            problem(post(body), 400, "broken")
        assert post(part + b"--x--\r\n").status_code == 200
        assert post(part + b"--x--").status_code == 200


def test_a_body_without_a_length_ends_at_the_limit(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
        for _ in range(200):
            yield b"x" * 10_000

    for path, kind in (
        ("search", "multipart/form-data; boundary=x"),
        ("login", "application/json"),
        ("index", "application/json"),
    ):
        sent = client.post(f"/api/v1/{path}", content=endless(), headers={"Content-Type": kind})
        problem(sent, 413, "send less")


def test_a_browser_that_leaves_leaves_nothing_behind(client: httpx.Client) -> None:
    head = (
        b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 300000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        b"--x\r\nContent-Disposition: form-data; name=image; filename=a.jpg\r\n\r\n"
    )
    context = client.app.state.context  # type: ignore[attr-defined]
    for _ in range(5):
        connection = raw(client, head + b"x" * 100_000)
        until(lambda: context.bodies.held > 0)
        assert context.searches.held == 0  # only bodies that have come take a place
        connection.close()
        until(lambda: context.bodies.held == 0)
    assert client.post("/api/v1/search", files=files(jpeg(1))).status_code == 200


def test_too_many_searches_at_once_are_told_to_come_back(
    client: httpx.Client, shared: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = client.app.state.context.searches  # type: ignore[attr-defined]
    monkeypatch.setattr(turns, "_max", 0)
    response = client.post("/api/v1/search", files=files(jpeg(1)))
    problem(response, 503, "try again")
    assert int(response.headers["Retry-After"]) >= 1
    monkeypatch.undo()

    def broken(*_: Any) -> None:
        raise RuntimeError("a secret of the code")

    assert client.post("/api/v1/search", files=files(jpeg(1))).status_code == 200
    monkeypatch.setattr(shared, "search", broken)
    response = client.post("/api/v1/search", files=files(jpeg(1)))
    assert "secret" not in problem(response, 500)["detail"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert turns.held == 0


def subclasses(kind: type[LookalikeError]) -> set[type[LookalikeError]]:
    return {kind}.union(*(subclasses(one) for one in kind.__subclasses__()))


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = [kind for kind in subclasses(LookalikeError) if kind.__module__ == "search.errors"]
    codes = {kind.__dict__.get("code") for kind in kinds}
    assert len(codes) == len(kinds) >= len(STATUS) and codes <= set(CODES)


def test_problems_have_a_stable_code(shared: Engine, photos: Path) -> None:
    with serving(shared, allow=[photos.parent]) as client:
        post, get = client.post, client.get
        form = {"content-type": "multipart/form-data; boundary=x"}
        crop = {"terms": [{"image": 0, "crop": [9000, 0, 5, 5]}]}
        responses = {
            "not_a_picture": post("/api/v1/search", files=files(b"hello")),
            "too_large": post("/api/v1/search", files=files(*[jpeg(1)] * 4)),
            "unsupported_media_type": post("/api/v1/search", content=b"x"),
            "query_invalid": post("/api/v1/search", json={}),
            "crop_invalid": post(
                "/api/v1/search", files=files(jpeg(1)), data={"query": json.dumps(crop)}
            ),
            "fields_invalid": post("/api/v1/search", json=[]),
            "json_invalid": post(
                "/api/v1/images", content=b"{", headers={"content-type": "application/json"}
            ),
            "upload_broken": post("/api/v1/search", content=b"x", headers=form),
            "not_found": get(f"/api/v1/images/{'0' * 64}"),
            "route_not_found": get("/api/v1/nothing"),
            "method_not_allowed": get("/api/v1/search"),
            "not_allowed": get("/api/v1/status", headers={"Host": "other.test"}),
            "job_not_found": get("/api/v1/jobs/0"),
            "variant_expired": get("/api/v1/variants/0.png"),
            "path_not_absolute": post("/api/v1/index", json={"path": "photos"}),
            "folder_not_found": post("/api/v1/index", json={"path": f"{photos.parent}/nothing"}),
            "not_a_folder": post("/api/v1/index", json={"path": f"{photos}/hat/03.jpg"}),
            "folder_not_allowed": post("/api/v1/index", json={"path": "/etc"}),
        }
        for code, response in responses.items():
            assert response.json().get("code") == code, response.text


def test_the_documents_list_the_codes(client: httpx.Client) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    rows = dict(line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `"))
    assert {name.strip(" `"): meaning.strip() for name, meaning in rows.items()} == CODES
    schema = client.get("/openapi.json").json()["components"]["schemas"]["ProblemJson"]
    assert "code" in schema["required"] and schema["properties"]["code"]["enum"] == list(CODES)


def test_an_empty_library_says_so(library: Callable[..., Engine]) -> None:
    with serving(library()) as client:
        problem(client.post("/api/v1/search", files=files(jpeg(1))), 404, "lookalike index")
        assert client.get("/api/v1/status").json()["pictures"] == 0
        assert client.get("/readyz").status_code == 200


def test_whether_it_is_ready_asks_no_folder(
    shared: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request reads the disk: a network disk may never answer."""
    with serving(shared) as client:
        monkeypatch.setattr(Engine, "status", lambda _: pytest.fail("of every folder"))
        assert client.get("/readyz").status_code == 200


# who may ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8000", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("example.org", 403),
        ("localhost.example.org", 403),
        ("127.0.0.1.example.org", 403),
        ("example.org:127.0.0.1", 403),
        ("192.168.1.5", 403),
        ("[::1].evil.com", 403),
        ("[::1]evil.com:80", 403),
        ("[::1", 403),
        ("[localhost]", 403),
        ("::1", 403),
        ("localhost@evil.com", 403),
        ("localhost:8000@evil.com", 403),
        ("evil.com@localhost", 403),
        ("127.0.0.1:80:80", 403),
        ("127.0.0.1/evil.com", 403),
        ("127.0.0.1 evil.com", 403),
        ("localhost,evil.com", 403),
        ("", 403),
    ],
)
def test_only_names_of_this_machine_are_answered(
    client: httpx.Client, host: str, status: int
) -> None:
    for path in ("/api/v1/status", "/healthz", "/"):
        response = client.get(path, headers={"Host": host})
        assert response.status_code == status
        if status == 403:
            problem(response, 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{own}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://example.org"}, 403),
        ({"Origin": "{tls}"}, 403),
        ({"Origin": "ftp://{host}"}, 403),
        ({"Origin": "{host}"}, 403),
        ({"Origin": "{own}/"}, 403),
        ({"Origin": "http://user@{host}"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1.example.org"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    own = str(client.base_url).rstrip("/")
    host = own.removeprefix("http://")
    known = {"own": own, "host": host, "tls": f"https://{host}"}
    request_headers = {name: value.format(**known) for name, value in headers.items()}
    sent = client.post("/api/v1/search", files=files(jpeg(1)), headers=request_headers)
    got = client.get("/api/v1/status", headers=request_headers)
    assert sent.status_code == got.status_code == status
    assert not [name for name in sent.headers if name.startswith("access-control")]
    preflight = client.options("/api/v1/search", headers={"Access-Control-Request-Method": "POST"})
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_every_answer_carries_the_headers_that_protect(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/api/v1/status", "/nothing", "/metrics"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "server" not in headers or "uvicorn" in headers["server"]


def test_with_a_token_nothing_is_told_without_it(shared: Engine) -> None:
    with serving(shared, Access(token="right ä")) as client:
        for path in ("/api/v1/status", "/docs", "/openapi.json", "/metrics", "/nothing"):
            response = client.get(path)
            problem(response, 401, "token")
            assert response.headers["WWW-Authenticate"] == "Bearer"
        problem(client.post("/api/v1/search", files=files(jpeg(1))), 401)
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        for authorization in (
            "Bearer wrong",
            "Bearer",
            "Basic cmlnaHQ=",
            "right ä",
            "Bearer right",
        ):
            problem(
                client.get("/api/v1/status", headers={"Authorization": authorization.encode()}), 401
            )
        problem(client.get("/api/v1/status", headers={"Authorization": b"Bearer \xff"}), 401)
        problem(client.post("/api/v1/login", json={"token": "x" * 5000}), 422)
        problem(client.post("/api/v1/login", content=b"x" * 500_000), 413)
        kind = {"Content-Type": "application/json"}
        half = client.post("/api/v1/login", content=b'{"token": "\\ud800"}', headers=kind)
        assert half.status_code in (401, 422)
        for encoding in ("latin-1", "utf-8"):
            headers = {"Authorization": "Bearer right ä".encode(encoding)}
            assert client.get("/api/v1/status", headers=headers).status_code == 200


def test_the_page_logs_in_to_a_cookie_that_scripts_cannot_see(shared: Engine) -> None:
    now = [1000.0]
    access = Access(token="right", clock=lambda: now[0])
    with serving(shared, access) as client:
        problem(client.post("/api/v1/login", json={"token": "wrong"}), 401)
        problem(client.post("/api/v1/login", json={"tokn": "right"}), 422)
        problem(client.post("/api/v1/login", content=b"{"), 422)
        assert not client.cookies
        response = client.post("/api/v1/login", json={"token": "right"})
        assert response.status_code == 204
        cookie_header = response.headers["Set-Cookie"]
        assert (
            "HttpOnly" in cookie_header
            and "samesite=strict" in cookie_header.lower()
            and "right" not in cookie_header
        )
        value = client.cookies[access.cookie]
        assert client.get("/api/v1/status").status_code == 200
        ours = f"{access.cookie}={value}"
        for theirs in ('prefs={"dark":true}', "seen", "a=b c", "x=\u00e9", "a[0]=1", "lookalike=x"):
            for cookies in (f"{theirs}; {ours}", f"{ours}; {theirs}"):  # of other servers here
                with httpx.Client(base_url=client.base_url, trust_env=False) as other:
                    headers = {"Cookie": cookies.encode()}
                    assert other.get("/api/v1/status", headers=headers).status_code == 200
        for bad in (value[:-1] + ("0" if value[-1] != "0" else "1"), "9" + value, "x", "..", ""):
            with httpx.Client(base_url=client.base_url, trust_env=False) as other:
                problem(
                    other.get("/api/v1/status", headers={"Cookie": f"{access.cookie}={bad}"}), 401
                )
        now[0] += 31 * 86400
        problem(client.get("/api/v1/status"), 401)
        client.delete("/api/v1/login")
        assert not client.cookies
        assert Access(token="other").cookie != access.cookie


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_host_needs_a_token(shared: Engine, host: str) -> None:
    with pytest.raises(InputError, match="LOOKALIKE_TOKEN"):
        serve(shared, host, 0, [], print)


def test_a_name_of_others_is_not_this_server() -> None:
    outside = Access(host="pictures.lan", token="t", local=False)
    for good in ("pictures.lan:80", "192.168.1.5:8000", "localhost", "[fd00::1]:80"):
        assert outside.knows(good)
    for bad in ("example.org", "pictures.lan.example.org", "192.168.1.5.example.org", ""):
        assert not outside.knows(bad)


# the server itself -----------------------------------------------------------------------------


def test_status_is_what_the_command_says(client: httpx.Client, shared: Engine) -> None:
    assert client.get("/api/v1/status").json() == shared.status().to_json()


def test_openapi_is_complete_and_readable(client: httpx.Client) -> None:
    api = client.get("/openapi.json").json()
    assert "/api/v1/search" in api["paths"]
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            if path.startswith("/api/") and path != "/api/v1/login":
                assert {"401", "403"} <= set(operation["responses"]), (method, path)
    references = set(part.split('"')[0] for part in json.dumps(api).split("#/components/schemas/"))
    named = {name for name in references if name.isidentifier()}
    assert named <= set(api["components"]["schemas"])
    assert "TermJson" in named
    page = client.get("/docs")
    assert page.status_code == 200 and "/api/v1/search" in page.text
    assert re.findall(r"<(?:script|link|img)[^>]* (?:src|href)='([^']+)'", page.text) == [
        "/web/icon.svg",
        "/web/docs.css",
        "/web/docs.js",
    ]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.text.count("<form ") == sum(map(len, api["paths"].values()))


def test_metrics_count_by_route_and_not_by_name(client: httpx.Client) -> None:
    client.post("/api/v1/search", files=files(jpeg(1)))
    client.get("/some/path/nobody/has")
    text = client.get("/metrics").text
    assert 'route="/api/v1/search",status="200"' in text
    assert 'lookalike_search_seconds_count{stage="embed"}' in text
    assert "nobody" not in text


# pictures --------------------------------------------------------------------------------------


@pytest.fixture
def keeping(library: Callable[..., Engine], folder: Path) -> Iterator[tuple[httpx.Client, Engine]]:
    """A client of an engine of its own over one picture."""
    (folder / "a b'ü.jpg").write_bytes(jpeg(1))
    engine = library(upload_bytes=400_000)
    engine.sync(folder)
    with serving(engine) as client:
        yield client, engine


def test_an_uploaded_picture_is_kept_and_found(keeping: tuple[httpx.Client, Engine]) -> None:
    client, engine = keeping
    response = client.post("/api/v1/images", files=files(jpeg(2)))
    assert response.status_code == 201
    uploaded = response.json()
    assert uploaded == engine.picture(uploaded["id"]).to_json()
    assert Path(uploaded["path"]).is_relative_to(engine.home / "kept")
    assert response.headers["Location"] == f"/api/v1/images/{uploaded['id']}"
    hits = client.post("/api/v1/search", files=files(jpeg(2))).json()["hits"]
    assert hits[0]["id"] == uploaded["id"] and hits[0]["score"] >= 0.999
    assert client.get(f"{response.headers['Location']}/file").content == jpeg(2)
    again = client.post("/api/v1/images", files=files(jpeg(2)))
    assert again.json() == uploaded and again.status_code == 200
    assert uploaded["original_name"] == "a.jpg" and Path(uploaded["path"]).name == "a.jpg"


def test_an_upload_is_deleted_and_a_file_of_the_user_is_not(
    keeping: tuple[httpx.Client, Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, engine = keeping
    deleted = list[str]()

    def put_in_bin(path: str) -> None:
        deleted.append(path)
        Path(path).rename(tmp_path / "in the bin")

    monkeypatch.setattr("send2trash.send2trash", put_in_bin)
    path = client.post("/api/v1/images", files=files(jpeg(2))).json()["path"]
    response = client.delete(f"/api/v1/images/{identity(2)}")
    assert (response.status_code, response.content) == (204, b"") and deleted == [path]
    problem(client.get(f"/api/v1/images/{identity(2)}"), 404)
    problem(client.delete(f"/api/v1/images/{identity(2)}"), 404)
    refused = problem(client.delete(f"/api/v1/images/{identity(1)}"), 403, "file of your own")
    assert refused["code"] == "not_an_upload" and engine.status().pictures == 1
    problem(client.delete("/api/v1/images/nonsense"), 404)


def test_what_cannot_be_kept_is_refused(keeping: tuple[httpx.Client, Engine]) -> None:
    client, engine = keeping
    post = client.post
    problem(post("/api/v1/images", files=files(b"hello")), 415, "not a picture")
    problem(post("/api/v1/images", files=files(jpeg(2)[:-100])), 415)
    problem(post("/api/v1/images", files=files(b"x" * 500_000)), 413)
    problem(post("/api/v1/images", files=files(jpeg(2), jpeg(3))), 413, "more than 1")
    problem(post("/api/v1/images", files=[("picture", ("a", b"x"))]), 422, "picture")
    problem(post("/api/v1/images", data={"image": "x"}), 415)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(post("/api/v1/images", content=b"--x--\r\n", headers=kind), 422, "missing")
    assert engine.status().pictures == 1 and not (engine.home / "kept").exists()


def test_a_url_is_kept_and_shown(
    keeping: tuple[httpx.Client, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, engine = keeping
    url = {"url": "https://example.org/a.jpg"}
    monkeypatch.setattr(engine.library.fetcher, "fetch", lambda _: FetchedPicture(jpeg(3)))
    for shown in (
        client.post("/api/v1/images/preview", json=url),
        client.post("/api/v1/images/preview", files=files(jpeg(3))),
    ):
        assert shown.headers["Content-Type"] == "image/jpeg" and shown.status_code == 200
        assert Image.open(io.BytesIO(shown.content)).size == (48, 40)
    assert engine.status().pictures == 1
    assert client.post("/api/v1/images", json=url).json()["id"] == identity(3)
    monkeypatch.setattr(engine.library.fetcher, "fetch", lambda _: FetchedPicture(b"<html>"))
    for path in ("/api/v1/images", "/api/v1/images/preview"):
        problem(client.post(path, json=url), 415, "not a picture")
    monkeypatch.undo()
    for path in ("/api/v1/images", "/api/v1/images/preview"):
        problem(client.post(path, json={"url": "http://127.0.0.1/a.jpg"}), 400, "public internet")
        problem(client.post(path, json={"url": "/etc/passwd"}), 422, "http")
        problem(client.post(path, json={"url": 1}), 422, "url")
        problem(client.post(path, json={}), 422, "url")
        problem(client.post(path, json={**url, "more": 1}), 422, "more")
        kind = {"Content-Type": "application/json"}
        problem(client.post(path, content=b"{", headers=kind), 400, "no JSON")
        problem(client.post(path, content=b"x" * 300_000, headers=kind), 400, "no JSON")
        problem(client.post(path, files=files(jpeg(1), jpeg(2))), 413, "more than 1")


def test_pictures_are_listed_and_described(keeping: tuple[httpx.Client, Engine]) -> None:
    client, engine = keeping
    listing = client.get("/api/v1/images").json()
    assert listing == engine.pictures().to_json()
    assert (listing["total"], listing["pages"], len(listing["images"])) == (1, 1, 1)
    name = listing["images"][0]["id"]
    assert client.get(f"/api/v1/images/{name[:8]}").json() == listing["images"][0]
    assert client.get("/api/v1/images?page=2").json()["images"] == []
    for bad in ("0", "-1", "x", "9" * 30):
        problem(client.get(f"/api/v1/images?page={bad}"), 422, "page")
    problem(client.get("/api/v1/images?where=tipe%3Djpeg"), 400, "did you mean type?")
    for bad in ("0" * 64, "abcdef", "nonsense", "..", "%2e%2e%2fetc", "a" * 65, "%00"):
        for part in ("", "/thumbnail", "/preview", "/file"):
            problem(client.get(f"/api/v1/images/{bad}{part}"), 404)


def test_a_picture_comes_small_shown_and_whole(keeping: tuple[httpx.Client, Engine]) -> None:
    client, engine = keeping
    picture = engine.pictures().pictures[0]
    kinds = {"thumbnail": "image/webp", "preview": "image/jpeg", "file": "image/jpeg"}
    for part, media in kinds.items():
        response = client.get(f"/api/v1/images/{picture.id}/{part}")
        assert response.status_code == 200 and response.headers["content-type"] == media
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        with Image.open(io.BytesIO(response.content)) as opened:
            assert opened.size == (48, 40)
        tag = {"If-None-Match": response.headers["ETag"]}
        again = client.get(f"/api/v1/images/{picture.id}/{part}", headers=tag)
        assert (again.status_code, again.content) == (304, b"")
    assert response.content == jpeg(1)
    assert response.headers["Content-Disposition"] == (
        "inline; filename*=UTF-8''a%20b%27%C3%BC.jpg"
    )


def test_a_preview_that_the_browser_has_is_not_decoded_again(
    keeping: tuple[httpx.Client, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, engine = keeping
    picture = engine.pictures().pictures[0]
    url = f"/api/v1/images/{picture.id}/preview"
    tag = {"If-None-Match": client.get(url).headers["ETag"]}
    monkeypatch.setattr(Engine, "preview", lambda *_: pytest.fail("decoded again"))
    assert client.get(url, headers=tag).status_code == 304


def test_a_file_that_was_swapped_is_not_shown(
    keeping: tuple[httpx.Client, Engine], tmp_path: Path
) -> None:
    client, engine = keeping
    picture = engine.pictures().pictures[0]
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * len(jpeg(1)))
    path = Path(picture.path)
    path.unlink()
    path.symlink_to(secret)
    problem(client.get(f"/api/v1/images/{picture.id}/file"), 404, "index its folder again")
    problem(client.get(f"/api/v1/images/{picture.id}/preview"), 404, "index its folder again")
    assert client.get(f"/api/v1/images/{picture.id}/thumbnail").status_code == 200


def test_a_viewer_that_leaves_leaves_no_open_file(
    keeping: tuple[httpx.Client, Engine], folder: Path
) -> None:
    client, engine = keeping
    out = io.BytesIO()
    Image.effect_noise((3000, 3000), 90).save(out, "BMP")
    large = folder / "large.bmp"
    large.write_bytes(out.getvalue())
    engine.sync(folder)
    name = engine.pictures().pictures[0].id
    request = f"GET /api/v1/images/{name}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def opened() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(os.path.lexists(one) and os.readlink(one) == str(large) for one in links)

    connection = raw(client, request)
    until(opened)
    connection.close()
    until(lambda: not opened())
