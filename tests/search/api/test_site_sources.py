"""Web sites over HTTP and on the command line: a real one on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from helpers.pictures import identity, jpeg
from helpers.serving import problem, serving
from helpers.web_site import WebSite, serve_site
from typer.testing import CliRunner

from search import Engine
from search.cli.app import app
from search.media.decoder_pool import DecoderPool

SETTINGS = {"allow_hosts": "127.0.0.1", "site_delay": 0.0}


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serve_site() as one:
        one.files |= {
            "/": '<title>Birds</title><img src="1.jpg" alt="a heron"><a href="/two">2</a>',
            "/two": '<img src="2.jpg">',
            "/1.jpg": jpeg(1),
            "/2.jpg": jpeg(2),
        }
        yield one


@pytest.fixture
def engine(library: Callable[..., Engine]) -> Iterator[Engine]:
    one = library(**SETTINGS)
    with DecoderPool(1, objects=one.library.stores) as pool:
        one.library.decoders = pool
        yield one
    one.library.stores.close()


def run_job(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """Index a place over HTTP, and return the job when it is over."""
    started = client.post("/api/v1/index", json=body)
    assert started.status_code == 202, started.text
    while True:
        job: dict[str, Any] = client.get(started.headers["Location"]).json()
        if job["state"] not in ("waiting", "queued", "running"):
            return job
        time.sleep(0.05)


def test_a_site_is_indexed_and_shown(engine: Engine, site: WebSite) -> None:
    with serving(engine) as client:
        answer = client.post("/api/v1/index", json={"path": site.url})
        assert problem(answer, 403)["code"] == "folder_not_allowed" and site.paths() == []
        answer = client.post("/api/v1/index", json={"path": "/tmp", "pages": 3})
        assert answer.status_code in (400, 403)
    with serving(engine, allow=[site.url]) as client:
        report = run_job(client, path=f"{site.url}/", pages=5, delay=0)["report"]
        assert report["added"] == 2
        (root,) = client.get("/api/v1/status").json()["roots"]
        assert root["path"] == site.url and root["state"] == "online"
        query = {"terms": [{"text": "heron"}], "k": 1}
        (hit,) = client.post("/api/v1/search", json=query).json()["hits"]
        assert hit["source"] == f"{site.url}/" and hit["path"] == f"{site.url}/1.jpg"
        path = f"/api/v1/images/{identity(1)}"
        assert client.get(path).json()["page"] == f"{site.url}/"
        sources = client.get(f"{path}/sources").json()
        assert sources["pages"][0]["text"] == "a heron" and sources["engines"] == []
        assert client.get(f"{path}/file").content == jpeg(1)
        site.dropping = True
        assert problem(client.get(f"{path}/preview"), 503)["code"] == "source_unavailable"
        assert client.get(f"{path}/thumbnail").status_code == 200
        assert client.get(f"{path}/sources").json()["problem"]
        assert client.post("/api/v1/search", json=query).status_code == 200
        site.dropping = False
        assert run_job(client, path=site.url)["report"]["unchanged"] == 2
        answer = client.delete("/api/v1/folders", params={"path": site.url})
        assert answer.status_code == 204 and not engine.status().roots


def test_the_command_line_takes_sites(site: WebSite, tmp_path: Any, monkeypatch: Any) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"LOOKALIKE_{name.upper()}", str(value))
    home = ["--home", str(tmp_path / "home"), "--model", "mini"]

    def run(*words: str, code: int = 0) -> Any:
        result = CliRunner().invoke(app, [*home, *words])
        assert result.exit_code == code, result.output
        return result

    report = json.loads(run("index", f"{site.url}/", "--pages", "9", "--json").stdout)
    assert report["added"] == 2
    hits = json.loads(run("search", "--text", "heron", "--json").stdout)["hits"]
    assert hits[0]["source"] == f"{site.url}/"
    assert f"on {site.url}/" in run("search", "--text", "heron").stdout
    assert "a heron" in run("sources", identity(1)).stdout
    assert json.loads(run("sources", f"id:{identity(1)}", "--json").stdout)["pages"]
    assert site.url in run("status").stdout
    assert run("check").exit_code == 0
    assert "2 files forgotten" in run("forget", site.url).stdout
    site.files["/robots.txt"] = b"User-agent: *\nDisallow: /"
    assert run("index", site.url, code=1)
    run("index", site.url, "--watch", code=2)
