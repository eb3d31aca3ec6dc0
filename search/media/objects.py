"""Object storage: lists, reads and writes objects by URL. fsspec does the work (extra `s3`).
Pictures of web sites, which have URLs too, are read by `search.media.sites`.

S3 is asked directly through s3fs, so that a listing comes page by page, and one request reads an
object and tells its version. Every other URL goes through fsspec's own interface.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from search.errors import (
    InputError,
    RemoteDeniedError,
    RemoteError,
    RemoteMissingError,
    SizeError,
)
from search.extras import describe_install
from search.media.object_urls import is_site_url, join_place, scheme_of
from search.media.open_file import FilePlace
from search.media.sites import SiteReader

T = TypeVar("T")
SECONDS = 60.0
"""Longest time for one request."""
MOST_FAILURES, PAUSE_SECONDS = 3, 30.0
"""After so many requests without an answer, a bucket is not asked again for so long."""
THREADS = 16  # for file systems that block
BUFFER = 4 * 2**20  # bytes of one request, where an object is read piece by piece
USERINFO = re.compile(r"//[^/@\s]*@")
S3_SCHEMES = frozenset(("s3", "s3a"))
DENIED = frozenset(("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"))
DENIED |= frozenset(("ProfileNotFound", "TokenRetrievalError", "SSOError"))
REJECTED = ("SignatureDoesNotMatch", "Forbidden", "AccessDenied", "403")
VERSIONS = ("ETag", "etag", "checksum", "md5Hash", "content_md5", "generation")
TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class ObjectInfo(NamedTuple):
    """An object. size: in bytes. version: changes with the content. is_content: equal versions
    mean equal content, also of two objects."""

    url: str
    size: int
    version: str
    is_content: bool


def object_state(info: ObjectInfo) -> tuple[int, int, int, int]:
    """Return what the catalog holds of a file: size, mtime_ns, inode and ctime_ns.

    The date of an object does not tell whether it changed, so a number of its version is in the
    place of `mtime_ns`. `inode` is 0 where a version stands for the content, so that an object
    under another key with the same version is the same one, moved.
    """
    inode = 0 if info.is_content else _number(info.url)
    return info.size, _number(info.version), inode, 0


def _number(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class _Backend(Protocol):
    """One kind of storage. Methods raise whatever its library raises."""

    def list(self, url: str) -> Iterator[ObjectInfo]: ...
    def stat(self, url: str) -> ObjectInfo: ...
    def read(
        self, url: str, start: int, end: int | None, most: int, version: str | None
    ) -> tuple[bytes, ObjectInfo | None]: ...
    def write(self, url: str, data: bytes) -> ObjectInfo: ...
    def delete(self, url: str) -> None: ...
    def close(self) -> None: ...


class ObjectStores:
    """All object storage that a library uses. Threads may share it.

    Credentials and addresses of servers come from the environment and the configuration files of
    the storage's own library alone. Methods raise RemoteError, and InputError for a URL whose
    library is not installed.
    """

    def __init__(self, seconds: float = SECONDS, sites: SiteReader | None = None) -> None:
        """seconds: longest time for one request. sites: reads pictures of web sites, which have
        URLs too."""
        self._sites = sites
        self._seconds, self._lock = seconds, threading.Lock()
        self._backends: dict[str, _Backend] = {}
        self._failures, self._paused = Counter[str](), dict[str, float]()

    def close(self) -> None:
        """Close all connections."""
        if self._sites is not None:
            self._sites.close()
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
        for backend in backends:
            backend.close()

    def list(self, url: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a URL, page by page."""
        pages = self._ask(url, lambda backend: backend.list(url))
        while (info := self._ask(url, lambda _: next(pages, None))) is not None:
            yield info

    def stat(self, url: str) -> ObjectInfo:
        """Return what the storage tells of an object. Raises RemoteMissingError."""
        return self._ask(url, lambda backend: backend.stat(url))

    @property
    def sites(self) -> SiteReader:
        """What reads web sites. Raises RemoteError where there is none."""
        if self._sites is None:
            raise RemoteError("web sites are not read here")
        return self._sites

    def read(self, url: str, most: int) -> tuple[bytes, ObjectInfo | None]:
        """Read an object in one request; return it with its version, None if it is not known.

        most: bytes. Raises SizeError for a larger object, which is not read.
        """
        if is_site_url(url):
            return self.sites.read(url, most), None
        return self._ask(url, lambda backend: backend.read(url, 0, None, most, None))

    def read_range(self, url: str, start: int, end: int, version: str | None = None) -> bytes:
        """Read the bytes from `start` to before `end`; fewer if the object ends before.

        version: the object must have it still; else RemoteError is raised.
        """
        return self._ask(
            url, lambda backend: backend.read(url, start, end, end - start, version)[0]
        )

    def write(self, url: str, data: bytes) -> ObjectInfo:
        """Write an object, whole or not at all."""
        return self._ask(url, lambda backend: backend.write(url, data))

    def delete(self, url: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._ask(url, lambda backend: backend.delete(url))
        except RemoteMissingError:
            pass

    def exists(self, url: str) -> bool:
        """Return whether there is an object."""
        try:
            self.stat(url)
        except RemoteMissingError:
            return False
        return True

    def open(self, place: FilePlace) -> BinaryIO | None:
        """Open an indexed object for reading, or None when it is not as it was indexed."""
        if is_site_url(place.root):
            return self.sites.open(place)
        url = join_place(place.root, place.path)
        try:
            info = self.stat(url)
        except RemoteMissingError:
            return None
        if object_state(info)[:2] != (place.size, place.mtime_ns):
            return None
        return io.BufferedReader(_ObjectFile(self, info), BUFFER)

    def _ask(self, url: str, call: Callable[[_Backend], T]) -> T:
        """Call a backend. Raises RemoteError for what goes wrong."""
        bucket = _bucket(url)
        if time.monotonic() < self._paused.get(bucket, 0.0):
            raise RemoteError(f"{bucket} gave no answer some times; try again in a minute")
        try:
            answer = call(self._backend(url))
        except (RemoteError, InputError):
            raise
        except Exception as error:
            translated = _translate(url, error, self._seconds)
            if type(translated) is RemoteError:
                with self._lock:
                    self._failures[bucket] += 1
                    if self._failures[bucket] >= MOST_FAILURES:
                        self._paused[bucket] = time.monotonic() + PAUSE_SECONDS
            raise translated from error
        if self._failures[bucket]:
            with self._lock:
                self._failures[bucket] = 0
        return answer

    def _backend(self, url: str) -> _Backend:
        scheme = scheme_of(url)
        with self._lock:
            if scheme not in self._backends:
                self._backends[scheme] = _open_backend(scheme, self._seconds)
            return self._backends[scheme]


class _ObjectFile(io.RawIOBase):
    """An object that is read by ranges, as long as it has the version that it was opened with."""

    def __init__(self, stores: ObjectStores, info: ObjectInfo) -> None:
        self._stores, self._info, self._place = stores, info, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._info.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        data = self._read(self._place + len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._read(self._info.size)

    def _read(self, end: int) -> bytes:
        end = min(end, self._info.size)
        if self._place >= end:
            return b""
        version = self._info.version
        data = self._stores.read_range(self._info.url, self._place, end, version)
        self._place += len(data)
        return data


class _S3:
    """S3 and what speaks its language, by s3fs."""

    def __init__(self, seconds: float) -> None:
        config = {
            "connect_timeout": min(10.0, seconds),
            "read_timeout": seconds,
            "retries": {"total_max_attempts": 2, "mode": "standard"},
        }
        s3fs, self._asyn = _load("s3fs", "s3"), import_module("fsspec.asyn")
        self._fs = s3fs.S3FileSystem(
            config_kwargs=config, use_listings_cache=False, skip_instance_cache=True
        )
        self._fs.retries, self._seconds = 2, seconds

    def list(self, url: str) -> Iterator[ObjectInfo]:
        bucket, prefix = _split(url)
        start, more = f"{scheme_of(url)}://{bucket}/", dict[str, str]()
        while True:
            page = self._sync(
                self._fs._call_s3,
                "list_objects_v2",
                Bucket=bucket,
                Prefix=f"{prefix}/" if prefix else "",
                **more,
            )
            for one in page.get("Contents", ()):
                yield ObjectInfo(start + one["Key"], one["Size"], one.get("ETag", ""), True)
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def stat(self, url: str) -> ObjectInfo:
        bucket, key = _split(url)
        head = self._sync(self._fs._call_s3, "head_object", Bucket=bucket, Key=key)
        return ObjectInfo(url, head["ContentLength"], head.get("ETag", ""), True)

    def read(
        self, url: str, start: int, end: int | None, most: int, version: str | None
    ) -> tuple[bytes, ObjectInfo | None]:
        bucket, key = _split(url)
        more = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        more |= {"IfMatch": version} if version else {}

        async def get() -> tuple[bytes, ObjectInfo | None]:
            out = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **more)
            try:
                if out["ContentLength"] > most:
                    raise SizeError(_describe_size(out["ContentLength"], most))
                data = await out["Body"].read()
            finally:
                out["Body"].close()
            return data, ObjectInfo(url, len(data), out.get("ETag", ""), True)

        answer: tuple[bytes, ObjectInfo | None] = self._sync(get)
        return answer

    def write(self, url: str, data: bytes) -> ObjectInfo:
        bucket, key = _split(url)
        out = self._sync(self._fs._call_s3, "put_object", Bucket=bucket, Key=key, Body=data)
        return ObjectInfo(url, len(data), out.get("ETag", ""), True)

    def delete(self, url: str) -> None:
        bucket, key = _split(url)
        self._sync(self._fs._call_s3, "delete_object", Bucket=bucket, Key=key)

    def close(self) -> None:
        if self._fs._s3 is not None:
            self._fs.close_session(self._fs.loop, self._fs._s3)

    def _sync(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._asyn.sync(self._fs.loop, call, *args, timeout=self._seconds, **kwargs)


class _Fsspec:
    """Any other storage that fsspec knows. Each request has a thread, which a deadline abandons."""

    def __init__(self, scheme: str, seconds: float) -> None:
        fsspec = _load("fsspec", "s3")
        try:
            self._class: Any = fsspec.get_filesystem_class(scheme)
        except (ValueError, ImportError) as error:
            raise InputError(
                f"{scheme}:// cannot be used: {error}; install the package that it names"
            ) from error
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    def list(self, url: str) -> Iterator[ObjectInfo]:
        fs, root = self._open(url)
        waiting, known_names = [root], {root.rstrip("/")}
        while waiting:
            folder = waiting.pop()
            for one in self._wait(partial(fs.ls, folder, detail=True)):
                name = one["name"].rstrip("/") if one["type"] == "directory" else one["name"]
                if name in known_names:  # the marker of the folder itself
                    continue
                if one["type"] == "directory":
                    known_names.add(name)
                    waiting.append(name)
                else:
                    yield self._describe(f"{url}/{name[len(root.rstrip('/')) + 1 :]}", one)

    def stat(self, url: str) -> ObjectInfo:
        fs, path = self._open(url)
        info = self._wait(lambda: fs.info(path))
        if info["type"] == "directory":
            raise FileNotFoundError(path)
        return self._describe(url, info)

    def read(
        self, url: str, start: int, end: int | None, most: int, version: str | None
    ) -> tuple[bytes, ObjectInfo | None]:
        fs, path = self._open(url)
        info = self.stat(url)
        if end is None and info.size > most:
            raise SizeError(_describe_size(info.size, most))
        if version is not None and info.version != version:
            raise RemoteError(f"{url} changed while it was read")
        last = info.size if end is None else min(end, info.size)
        if last <= start:
            return b"", info
        return self._wait(lambda: fs.cat_file(path, start=start, end=last)), info

    def write(self, url: str, data: bytes) -> ObjectInfo:
        fs, path = self._open(url)
        self._wait(lambda: fs.makedirs(path.rpartition("/")[0], exist_ok=True))
        self._wait(lambda: fs.pipe_file(path, data))
        return self.stat(url)

    def delete(self, url: str) -> None:
        fs, path = self._open(url)
        self._wait(lambda: fs.rm_file(path))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, url: str) -> tuple[Any, str]:
        """Return the file system of a URL, and the path in it."""
        bucket, key = _bucket(url), _split(url)[1]
        options = self._class._get_kwargs_from_urls(bucket)
        start = self._class._strip_protocol(bucket).rstrip("/")  # some keys would mean a protocol
        return self._class(use_listings_cache=False, **options), f"{start}/{key}" if key else start

    def _wait(self, call: Callable[[], T]) -> T:
        return self._threads.submit(call).result(self._seconds)

    @staticmethod
    def _describe(url: str, info: dict[str, Any]) -> ObjectInfo:
        content = next((str(info[name]) for name in VERSIONS if info.get(name)), "")
        date = next((_write_date(info[name]) for name in TIMES if info.get(name)), "")
        return ObjectInfo(url, int(info.get("size") or 0), content or date, bool(content))


def _write_date(date: object) -> str:
    """Write a date always in the same way: listings and single answers have different types."""
    seconds = date.timestamp() if isinstance(date, datetime) else date
    return f"{seconds:.6f}" if isinstance(seconds, int | float) else str(seconds)


def _open_backend(scheme: str, seconds: float) -> _Backend:
    return _S3(seconds) if scheme in S3_SCHEMES else _Fsspec(scheme, seconds)


def _load(module: str, extra: str) -> Any:
    """Import a package of an extra. Raises InputError with the command that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"object storage needs the package {module}; run {describe_install(extra)}"
        ) from error


def _split(url: str) -> tuple[str, str]:
    """Return bucket and key."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def _bucket(url: str) -> str:
    return f"{scheme_of(url)}://{_split(url)[0]}"


def _describe_size(size: int, most: int) -> str:
    return f"the file has {size} bytes, more than the limit {most}"


def _translate(url: str, error: Exception, seconds: float) -> RemoteError | InputError:
    """Return the error of this package for one of a storage's library."""
    name, text = type(error).__name__, USERINFO.sub("//", str(error))[:300]
    bucket = _bucket(url)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return RemoteMissingError(f"{url} is not there; check the bucket and the prefix")
    if isinstance(error, PermissionError) or name in DENIED or any(one in text for one in REJECTED):
        return RemoteDeniedError(
            f"{bucket} denies access: {text}; check the credentials in the environment (such as "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) and what they permit"
        )
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return RemoteError(f"{bucket} gave no answer in {seconds:g} s; try again later")
    return RemoteError(f"{bucket} cannot be used: {text or name}; try again later")
