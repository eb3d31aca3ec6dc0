"""The server that runs for a library, which `search` and `status` ask instead of loading a model.

`lookalike serve` writes its address and a token to `server.json` in the library's folder, readable
by its user alone, and holds `server.lock` while it runs. A command works by itself if no process
holds that lock, if the server has another version or other settings, or if it gives no answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import LookalikeError
from search.files import find_shown
from search.records.hits import Evidence, Hit, Hits, PagePicture
from search.records.inbox import InboxFailure, InboxStatus
from search.records.status import RootStatus, SpaceStatus, Status
from search.records.texts import TextStatus
from search.records.words import Understood

if TYPE_CHECKING:
    from search.querying.query import Query
    from search.settings import Settings

FILE, LOCK = "server.json", "server.lock"
LOCK_SECONDS = 1.0  # a server waits so long for commands that test the lock
ANSWER_SECONDS = 60.0
OTHER_SETTINGS = {
    "home",
    "log_json",
    "checkpoint",
    "workers",
    "ocr_seconds",
    "token",
    "token_file",
    "upload_bytes",
    "upload_files",
    "lock_seconds",
    "inbox",
    "inbox_move",
}
"""Settings that change no answer of `search` and `status`."""


@contextmanager
def publish(settings: Settings, token: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that publishes the address of this process's server, until the block ends.

    token: what the server takes from commands of its user. If another server of the library is
    published, or the folder cannot be written to, nothing is published.
    """
    from filelock import FileLock, Timeout

    home = settings.home.expanduser().resolve()
    lock = FileLock(home / LOCK, thread_local=False)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=LOCK_SECONDS)

    def write(address: str) -> None:
        document = {"address": address, "token": token, **_identify(settings)}
        with suppress(OSError):
            (home / FILE).unlink(missing_ok=True)
            number = os.open(home / FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(number, "w") as file:
                json.dump(document, file)

    try:
        yield write if lock.is_locked else lambda _: None
    finally:
        if lock.is_locked:
            with suppress(OSError):
                (home / FILE).unlink(missing_ok=True)
            lock.release()


def _identify(settings: Settings) -> dict[str, Any]:
    """Return what a command and a server must agree on to give the same answers."""
    options = settings.model_dump(mode="json", exclude=OTHER_SETTINGS)
    options["catalog"] = settings.catalog_location
    return {"version": version("lookalike"), "settings": options}


def is_serving(settings: Settings) -> bool:
    """Return whether a server has the library of these settings open."""
    lock = settings.home.expanduser().resolve() / LOCK
    return lock.exists() and _is_locked(lock)


@dataclass(frozen=True)
class RunningServer:
    """A server that answers for a library. Its methods return None when there is no answer."""

    address: str
    token: str
    max_bytes: int

    @classmethod
    def find(cls, settings: Settings, with_settings: bool = True) -> RunningServer | None:
        """Find the server that gives the answers which a command with these settings would give.

        with_settings: False for the library's server whatever its settings.
        """
        home = settings.home.expanduser().resolve()
        try:
            document = json.loads((home / FILE).read_text())
            same = {name: document[name] for name in ("version", "settings")} == _identify(settings)
            if (with_settings and not same) or not _is_locked(home / LOCK):
                return None
            return cls(str(document["address"]), str(document["token"]), settings.upload_bytes)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def search(self, query: Query) -> Hits | None:
        """Answer a query. Its files are sent along; errors are left to the command itself."""
        from search.querying.query import Query

        try:
            terms = [replace(term, image=self._read(term.image)) for term in query.terms]
            mask = self._read(query.mask)
            sent = replace(query, terms=tuple(terms), mask=mask)
            files = [term.image for term in terms if isinstance(term.image, bytes)]
            document = sent.to_json()
            if (
                Query.from_json(document, files, mask) != sent
            ):  # a crop in more digits than JSON has
                return None
            answer = self._ask("POST", "/api/v1/search", *_encode(document, files, mask))
            return None if answer is None else _hits(answer, query)
        except (OSError, ValueError, LookupError, TypeError, LookalikeError):
            return None

    def status(self) -> Status | None:
        """The library at a glance."""
        try:
            answer = self._ask("GET", "/api/v1/status")
            if answer is None:
                return None
            roots = tuple(RootStatus(**root) for root in answer["roots"])
            spaces = tuple(SpaceStatus(**space) for space in answer["spaces"])
            texts = TextStatus(**answer["texts"])
            records = {"roots": roots, "spaces": spaces, "texts": texts}
            return Status(**answer | records | {"inbox": _inbox(answer["inbox"])})
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def make_link(self) -> str | None:
        """Return a URL that opens the page once, logged in."""
        try:
            answer = self._ask("POST", "/api/v1/login/links")
            return None if answer is None else f"{self.address}{answer['path']}"
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _read(self, image: Any) -> Any:
        """Return the bytes of a picture file, and anything else as it is. Raises OSError."""
        from search.querying.query import is_url

        if not isinstance(image, str) or image.startswith("id:") or is_url(image):
            return image
        path = Path(os.path.expanduser(image))
        if not path.is_file() or path.stat().st_size > self.max_bytes:
            raise OSError("not a file that can be sent")
        return path.read_bytes()

    def _ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = ""
    ) -> dict[str, Any] | None:
        """Send a request, and return the JSON of its answer, or None for an error.

        kind: the type of the body. Raises OSError and ValueError.
        """
        from http.client import HTTPConnection, HTTPException

        place = self.address.removeprefix("http://")
        headers = {"Authorization": f"Bearer {self.token}"} | (
            {"Content-Type": kind} if kind else {}
        )
        connection = HTTPConnection(place, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
            return answer if response.status == 200 else None
        except HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()


def _inbox(document: dict[str, Any] | None) -> InboxStatus | None:
    """Build the status of the inbox from the JSON of an answer."""
    if document is None:
        return None
    failed = tuple(InboxFailure(**one) for one in document["failed"])
    return InboxStatus(**{**document, "failed": failed})


def _is_locked(path: Path) -> bool:
    """Whether another process holds a lock."""
    try:
        import fcntl
    except ImportError:  # Windows
        from filelock import FileLock, Timeout

        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
    # As FileLock does here, whose import takes longer than the request.
    with open(path) as file:  # reading is enough, and the folder may be write-protected
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _encode(
    query: dict[str, Any], files: list[bytes], mask: bytes | None = None
) -> tuple[bytes, str]:
    """Return the body of a search and its type: JSON, or multipart if there are files."""
    text = json.dumps(query).encode()
    if not files and mask is None:
        return text, "application/json"
    boundary = os.urandom(16).hex()
    parts = [(b'name="query"', text)] + [(b'name="image"; filename="image"', one) for one in files]
    if mask is not None:
        parts.append((b'name="mask"; filename="mask"', mask))
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"
        % (boundary.encode(), name, data)
        for name, data in parts
    )
    return body + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


def _hits(answer: dict[str, Any], query: Query) -> Hits:
    """Build hits from the JSON of an answer, under the query as the user gave it."""
    understood = [
        {name: _freeze(value) for name, value in one.items() if name != "advice"}
        for one in answer["understood"]
    ]
    document = query.to_json()
    if "restored" in answer["query"]:
        document["restored"] = answer["query"]["restored"]
    return Hits(
        hits=tuple(_hit(hit) for hit in answer["hits"]),
        model=answer["model"],
        query=document,
        took_ms=answer["took_ms"],
        understood=tuple(Understood(**one) for one in understood),
        low_content=answer["low_content"],
        pages=tuple(PagePicture(**one) for one in answer["pages"]),
    )


def _hit(document: dict[str, Any]) -> Hit:
    evidence = document.pop("evidence")
    fields = {name: _freeze(value) for name, value in document.items()}
    # the bytes of a path that is not UTF-8, which `--print0` passes on
    fields |= {"path": find_shown(fields["path"]), "paths": tuple(map(find_shown, fields["paths"]))}
    return Hit(**fields, evidence=evidence and Evidence.from_json(evidence))


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
