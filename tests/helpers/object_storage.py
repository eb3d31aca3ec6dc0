"""A real S3 server on loopback (moto's), in which tests cause faults and count requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

Answer = tuple[int, str]
"""Status and S3 error code of a request that fails."""
DENIED: Answer = (403, "AccessDenied")
GONE: Answer = (404, "NoSuchBucket")


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        """Write nothing."""


class S3Server:
    """A server. requests: method, path and query of each. fault: takes these, and returns how the
    request fails, None if it does not; it may wait.
    watch: takes the environment of each."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.requests: list[tuple[str, str, str]] = []
        self.fault: Callable[[str, str, str], Answer | None] = lambda *_: None
        self.watch: Callable[[dict[str, Any]], object] = lambda _: None
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        raw = environ.get("RAW_URI") or environ["REQUEST_URI"]
        request = environ["REQUEST_METHOD"], unquote(raw.partition("?")[0]), raw.partition("?")[2]
        if request[1].startswith("/moto-api"):
            return self._app(environ, start)
        self.requests.append(request)
        self.watch(environ)
        fault = self.fault(*request)
        if fault is None:
            return self._app(environ, start)
        status, code = fault
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        body = b"" if request[0] == "HEAD" else body
        start(f"{status} fault", [("Content-Length", str(len(body)))])
        return [body]

    def count(self, method: str, query: str = "", path: str = "") -> int:
        """Count requests of a method with a text in their query and path."""
        return sum(m == method and query in q and path in p for m, p, q in self.requests)

    def hang(self, seconds: float = 60.0) -> None:
        """Wait in a fault, until the test ends."""
        self.released.wait(seconds)

    def reset(self) -> None:
        """Forget faults and counts."""
        self.released.set()
        self.released = threading.Event()
        self.fault, self.watch = (lambda *_: None), (lambda _: None)
        self.requests.clear()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Bucket:
    """A bucket of a test."""

    def __init__(self, server: S3Server, name: str) -> None:
        import boto3

        self.server, self.name, self.url = server, name, f"s3://{name}"
        self._client: Any = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1")
        self._client.create_bucket(Bucket=name)
        server.requests.clear()

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def fill(self, count: int, *data: bytes) -> None:
        """Add `count` objects `0000.jpg`, `0001.jpg`, ..., with some bytes in turn."""
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]  # a request for each would take long
        for i in range(count):
            backend.put_object(self.name, f"{i:04}.jpg", data[i % len(data)])

    def copy(self, key: str, to: str) -> None:
        self._client.copy_object(Bucket=self.name, Key=to, CopySource=f"{self.name}/{key}")

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._client.delete_object(Bucket=self.name, Key=key)

    def get(self, key: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def close(self) -> None:
        self._client.close()


@contextmanager
def environment(server: S3Server) -> Iterator[None]:
    """The environment in which programs find the server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.url,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        yield
