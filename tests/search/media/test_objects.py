"""The contract of object storage, on a real S3 server and on fsspec's own storage in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from helpers.object_storage import DENIED, Bucket

from search.errors import (
    InputError,
    RemoteDeniedError,
    RemoteError,
    RemoteMissingError,
    SizeError,
)
from search.media.object_urls import (
    is_object_url,
    join_place,
    parse_object_url,
    relative_place,
)
from search.media.objects import MOST_FAILURES, ObjectStores, object_state
from search.media.open_file import FilePlace

ODD_KEYS = [
    "plain.jpg",
    "with space.jpg",
    "100%.jpg",
    "%2e%2e.jpg",
    "a+b&c=d?versionId=1#e.jpg",
    "雪 ñ.jpg",
    "deep/er/x.jpg",
    "a::b.jpg",
]
NEWLINE = "line\nbreak.jpg"  # the server of the tests has no such keys
SLASH_KEYS = ["two//slashes.jpg", "/begins.jpg", "dots/../up.jpg", "folder/"]
"""Keys that other storage than S3 does not have."""


@pytest.fixture
def stores() -> Iterator[ObjectStores]:
    one = ObjectStores(20.0)
    yield one
    one.close()


@pytest.fixture(params=["s3", "memory"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty place."""
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket').url}/base"
    return f"memory://{secrets.token_hex(4)}/base"


def test_what_was_written_is_listed_and_read(stores: ObjectStores, url: str) -> None:
    written, keys = {}, [*ODD_KEYS, *([NEWLINE] if url.startswith("memory") else [])]
    for number, key in enumerate(keys):
        info = stores.write(join_place(url, key), f"bytes {number}".encode())
        assert info.size == len(f"bytes {number}") and info.version
        written[info.url] = info
    listed = {info.url: info for info in stores.list(url)}
    assert {u: object_state(i) for u, i in listed.items()} == {
        u: object_state(i) for u, i in written.items()
    }
    for number, key in enumerate(keys):
        data, info = stores.read(join_place(url, key), 100)
        assert data == f"bytes {number}".encode() and info is not None
        assert object_state(info) == object_state(written[info.url])
        assert stores.stat(info.url).size == len(data)


def test_a_prefix_is_a_folder(stores: ObjectStores, url: str) -> None:
    stores.write(f"{url}/a/x.jpg", b"x")
    stores.write(f"{url}/ab.jpg", b"y")
    assert [info.url for info in stores.list(f"{url}/a")] == [f"{url}/a/x.jpg"]


def test_a_version_changes_with_the_content(stores: ObjectStores, url: str) -> None:
    first = stores.write(f"{url}/a.jpg", b"first")
    assert object_state(stores.stat(first.url)) == object_state(first)
    second = stores.write(f"{url}/a.jpg", b"other")
    assert object_state(second)[1] != object_state(first)[1]
    assert object_state(stores.stat(first.url)) == object_state(second)
    with pytest.raises(RemoteError):
        stores.read_range(first.url, 0, 2, first.version)


def test_a_range_is_read(stores: ObjectStores, url: str) -> None:
    stores.write(f"{url}/a", b"0123456789")
    assert stores.read_range(f"{url}/a", 2, 5) == b"234"
    assert stores.read_range(f"{url}/a", 8, 50) == b"89"


def test_an_object_above_the_limit_is_not_read(stores: ObjectStores, url: str) -> None:
    stores.write(f"{url}/a", b"0123456789")
    with pytest.raises(SizeError, match="10 bytes, more than the limit 9"):
        stores.read(f"{url}/a", 9)


def test_what_is_not_there_is_named(stores: ObjectStores, url: str) -> None:
    for call in (
        lambda: stores.stat(f"{url}/none"),
        lambda: stores.read(f"{url}/none", 10),
        lambda: stores.read_range(f"{url}/none", 0, 10),
    ):
        with pytest.raises(RemoteMissingError, match="none is not there"):
            call()
    assert not stores.exists(f"{url}/none")
    stores.delete(f"{url}/none")
    stores.write(f"{url}/a", b"a")
    stores.delete(f"{url}/a")
    assert not stores.exists(f"{url}/a")


def test_an_indexed_object_opens_while_it_is_as_it_was(stores: ObjectStores, url: str) -> None:
    data = bytes(range(256)) * 40
    info = stores.write(f"{url}/a.jpg", data)
    place = FilePlace(url, "a.jpg", *object_state(info)[:2])
    opened = stores.open(place)
    assert opened is not None
    with opened:
        assert opened.read(3) == data[:3] and opened.seek(-2, 2) and opened.read() == data[-2:]
        assert opened.seek(0) == 0 and opened.read() == data
    stores.write(f"{url}/a.jpg", b"other")
    assert stores.open(place) is None
    stores.delete(f"{url}/a.jpg")
    assert stores.open(place) is None


def test_keys_that_only_s3_has(stores: ObjectStores, bucket: Bucket) -> None:
    for key in SLASH_KEYS:
        bucket.put(f"base/{key}", key.encode())
    url = f"{bucket.url}/base"
    assert {info.url for info in stores.list(url)} == {f"{url}/{key}" for key in SLASH_KEYS}
    for key in SLASH_KEYS:
        assert stores.read(f"{url}/{key}", 100)[0] == key.encode()


def test_a_listing_comes_by_pages(stores: ObjectStores, bucket: Bucket) -> None:
    bucket.fill(1500, b"x")
    bucket.server.requests.clear()
    listing = stores.list(bucket.url)
    assert next(listing).url == f"{bucket.url}/0000.jpg"
    assert bucket.server.count("GET", "list-type=2") == 1
    assert 1 + sum(1 for _ in listing) == 1500
    assert bucket.server.count("GET", "list-type=2") == 2


def test_a_whole_object_is_read_by_one_request(stores: ObjectStores, bucket: Bucket) -> None:
    bucket.put("a.jpg", b"0123456789")
    stores.read(f"{bucket.url}/a.jpg", 100)
    bucket.server.requests.clear()
    stores.read(f"{bucket.url}/a.jpg", 100)
    assert [method for method, *_ in bucket.server.requests] == ["GET"]


def test_a_bucket_that_denies_says_so(stores: ObjectStores, bucket: Bucket) -> None:
    bucket.put("a.jpg", b"x")
    bucket.server.fault = lambda *_: DENIED
    calls: list[Callable[[], object]] = [
        lambda: list(stores.list(bucket.url)),
        lambda: stores.stat(f"{bucket.url}/a.jpg"),
        lambda: stores.read(f"{bucket.url}/a.jpg", 10),
        lambda: stores.write(f"{bucket.url}/b.jpg", b"x"),
    ]
    for call in calls * 2:
        with pytest.raises(RemoteDeniedError, match="denies access") as caught:
            call()
        assert "testing-secret" not in str(caught.value)


def test_a_bucket_that_is_not_there(stores: ObjectStores, bucket: Bucket) -> None:
    with pytest.raises(RemoteMissingError, match="s3://no-such-bucket/a is not there"):
        list(stores.list("s3://no-such-bucket/a"))


def test_a_server_that_hangs_has_a_deadline_and_is_not_asked_for_a_while(bucket: Bucket) -> None:
    bucket.put("a.jpg", b"x")
    stores = ObjectStores(0.3)
    bucket.server.fault = lambda *_: bucket.server.hang()  # type: ignore[func-returns-value]
    try:
        for _ in range(MOST_FAILURES):
            with pytest.raises(RemoteError, match="gave no answer in 0.3 s"):
                stores.read(f"{bucket.url}/a.jpg", 10)
        before = len(bucket.server.requests)
        with pytest.raises(RemoteError, match="try again in a minute"):
            stores.read(f"{bucket.url}/a.jpg", 10)
        assert len(bucket.server.requests) == before
    finally:
        bucket.server.reset()
        stores.close()


def test_a_server_that_is_away_says_where(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:word@127.0.0.1:9")
    stores = ObjectStores(20.0)
    try:
        with pytest.raises(RemoteError, match="s3://b cannot be used") as caught:
            list(stores.list("s3://b"))
        assert "word" not in str(caught.value)
    finally:
        stores.close()


@pytest.mark.parametrize(
    "text", ["s3://b", "S3://b/p", "gs://b/p", "az://c/p", "memory://a", "sftp://host/p"]
)
def test_urls_of_object_storage(text: str) -> None:
    assert is_object_url(text)
    parse_object_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://a/b",
        "data:image/png,x",
        "/home/a",
        "C:\\a",
        "~/a",
        "a://",
        "./s3://b",
        "simplecache::s3://b",
    ],
)
def test_texts_that_are_none(text: str) -> None:
    assert not is_object_url(text) or not text.partition("://")[2]


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc",
        "local:///etc",
        "s3://b::file:///etc",
        "reference://x",
        "s3://",
        "s3:///p",
        "s3://b//p",
        "s3://b/../p",
        "s3://b/./p",
        "s3://b/a\nb",
    ],
)
def test_urls_that_cannot_be_used(text: str) -> None:
    with pytest.raises(InputError):
        parse_object_url(text)


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="without a name and password") as caught:
        parse_object_url("s3://AKIAKEY:sesame@bucket/p")
    assert "sesame" not in str(caught.value) and "AKIAKEY" not in str(caught.value)


def test_a_scheme_that_fsspec_lacks_is_named(stores: ObjectStores) -> None:
    with pytest.raises(InputError, match="nosuch:// cannot be used"):
        list(stores.list("nosuch://b"))


def test_a_missing_package_names_its_extra(
    stores: ObjectStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(InputError, match="pip install .*s3fs"):
        list(stores.list("s3://b"))


def test_places_are_joined_and_compared() -> None:
    assert join_place("s3://b/p", "/x") == "s3://b/p//x"
    assert relative_place("s3://b/p//x", "s3://b/p") == "/x"
    assert relative_place("s3://b/pq", "s3://b/p") is None
    assert relative_place("s3://b/p", "s3://b/p") == ""
    assert relative_place("/a/b", "/a") == "b" and relative_place("/a", "/a") == ""
    assert relative_place("/a", "s3://b") is None and relative_place("s3://b", "/") is None
