"""Object storage over HTTP and on the command line, on a real S3 server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from helpers.object_storage import DENIED, Bucket
from helpers.pictures import identity, jpeg
from helpers.serving import problem, serving
from typer.testing import CliRunner

from search import Engine
from search.cli.app import app
from search.media.decoder_pool import DecoderPool


@pytest.fixture
def engine(library: Callable[..., Engine]) -> Iterator[Engine]:
    one = library()
    with DecoderPool(1, objects=one.library.stores) as pool:
        one.library.decoders = pool
        yield one
    one.library.stores.close()


def run_job(client: httpx.Client, path: str) -> dict[str, Any]:
    """Index a place over HTTP, and return the job when it is over."""
    started = client.post("/api/v1/index", json={"path": path})
    assert started.status_code == 202, started.text
    while True:
        job: dict[str, Any] = client.get(started.headers["Location"]).json()
        if job["state"] not in ("waiting", "running"):
            return job
        time.sleep(0.05)


def test_only_buckets_that_are_allowed_are_indexed(engine: Engine, bucket: Bucket) -> None:
    bucket.put("p/1.jpg", jpeg(1))
    bucket.server.requests.clear()
    with serving(engine) as client:
        for path in (bucket.url, f"{bucket.url}/p", "s3://other", "memory://x", "https://a.org/"):
            answer = client.post("/api/v1/index", json={"path": path})
            assert problem(answer, 403)["code"] == "folder_not_allowed"
        for path in ("file:///etc", "s3://key:word@bucket", "https://key:word@a.org/"):
            answer = client.post("/api/v1/index", json={"path": path})
            assert "word" not in problem(answer, 400)["detail"].replace("password", "")
        assert bucket.server.requests == []  # a refusal asks no storage
    with serving(engine, allow=[f"{bucket.url}/p"]) as client:
        answer = client.post("/api/v1/index", json={"path": f"{bucket.url}/pq"})
        assert problem(answer, 403)["code"] == "folder_not_allowed"
        assert run_job(client, f"{bucket.url}/p/")["report"]["added"] == 1
    with serving(engine) as client:  # it is indexed now
        assert run_job(client, f"{bucket.url}/p")["report"]["unchanged"] == 1


def test_the_original_comes_from_the_bucket(engine: Engine, bucket: Bucket) -> None:
    bucket.put("a/雪 1.jpg", jpeg(1))
    engine.sync(bucket.url)
    path = f"/api/v1/images/{identity(1)}"
    with serving(engine) as client:
        shown = client.get(path).json()
        assert shown["path"] == f"{bucket.url}/a/雪 1.jpg"
        answer = client.get(f"{path}/file")
        assert answer.content == jpeg(1) and answer.headers["content-type"] == "image/jpeg"
        assert client.get(f"{path}/preview").status_code == 200
        bucket.server.fault = lambda *_: DENIED
        assert problem(client.get(f"{path}/file"), 503)["code"] == "source_denied"
        assert client.get(f"{path}/thumbnail").status_code == 200
        answer = client.post("/api/v1/search", json={"terms": [{"text": "hat"}], "k": 1})
        assert answer.status_code == 200
        bucket.server.reset()
        bucket.put("a/雪 1.jpg", jpeg(2))
        assert problem(client.get(f"{path}/file"), 404)["code"] == "not_found"


def test_a_job_whose_bucket_denies_has_its_code(engine: Engine, bucket: Bucket) -> None:
    bucket.server.fault = lambda *_: DENIED
    with serving(engine, allow=[bucket.url]) as client:
        job = run_job(client, bucket.url)
    assert (job["state"], job["code"]) == ("failed", "source_denied")


def test_the_command_line_indexes_and_forgets_a_bucket(bucket: Bucket, home: Any) -> None:
    for seed in range(2):
        bucket.put(f"p/{seed}.jpg", jpeg(seed))

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["--home", str(home), *words])

    report = json.loads(run("--model", "mini", "index", f"{bucket.url}/p/", "--json").stdout)
    assert report["added"] == 2 and report["skipped"] == []
    assert bucket.url in run("status").output
    bucket.server.fault = lambda *_: DENIED
    report = json.loads(run("index", f"{bucket.url}/p", "--json").stdout)
    assert report["offline"] == 2 and report["skipped"][0]["code"] == "source_denied"
    result = run("index", f"{bucket.url}/p", "--watch")
    assert result.exit_code == 2 and "sends no notice of changes" in " ".join(result.output.split())
    assert json.loads(run("forget", f"{bucket.url}/p", "--json").stdout)["files"] == 2
