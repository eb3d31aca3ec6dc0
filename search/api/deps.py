"""What the routes share: the engine, limits on concurrent calls, and reading of bodies."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from email.message import Message as EmailMessage
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from search.api.auth import GRANT, OWNER, Access, Grant
from search.api.jobs import Jobs
from search.api.limits import SHARES, BodyBudget
from search.api.metrics import Metrics
from search.api.problems import Problem
from search.api.shares import Shares
from search.api.text_jobs import TextJobs
from search.api.variant_cache import VariantCache
from search.api.watcher import Watcher
from search.engine import Engine
from search.errors import FieldError
from search.querying.query import Query
from search.records.status import RootStatus

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)

MAX_JSON = 2**20  # bytes of a JSON body or field
MAX_VIEWS = 64  # sets of collections whose engine is kept open
TAIL = 1024  # last bytes of a multipart body, which hold its end mark


class Turns:
    """Runs a limited number of calls in threads at once. A limited number of others wait."""

    def __init__(self, running: int, waiting: int) -> None:
        self._limiter = anyio.CapacityLimiter(running)
        self._max, self.held = running + waiting, 0

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Hold a place. Raises Problem 503 if all places are held."""
        if self.held >= self._max:
            raise Problem(503, "too many requests at once; try again in a second", retry=1)
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def run(self, call: Callable[[], T]) -> T:
        """Wait for a turn and call in a thread."""
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)


@dataclass
class Connected:
    """followers: how many requests follow jobs. stopping: whether the server stops, so that they
    must end."""

    followers: int = 0
    stopping: bool = False


@dataclass
class Context:
    """The parts of one server, as a request may use them.

    engine: limited to what the request may see. allow: folders and URLs of object storage that may
    be indexed; None for the defaults of loopback. added: folders that the owner allowed since.
    watcher: what syncs folders as they change, if anything does. bodies: what is held of the bodies
    of requests. grant: what the request may do.
    """

    engine: Engine
    access: Access
    allow: Sequence[str | Path] | None = None
    metrics: Metrics = field(default_factory=Metrics)
    jobs: Jobs = field(default_factory=Jobs)
    added: list[str] = field(default_factory=list)
    connected: Connected = field(default_factory=Connected)
    grant: Grant = OWNER
    watcher: Watcher | None = None
    searches: Turns = field(default_factory=lambda: Turns(8, 32))
    looks: Turns = field(default_factory=lambda: Turns(8, 256))
    previews: Turns = field(default_factory=lambda: Turns(2, 64))

    def __post_init__(self) -> None:
        library = self.engine.library
        settings = self.engine.settings
        self._is_local = settings.catalog is None and settings.store == "faiss"
        self._quick_searches = Turns(1, 0)
        if not library.database.read_only:
            self.jobs = Jobs(board=library.jobs)
        self.variant_cache = VariantCache(library.transient_items)
        self.shares = Shares(library.transient_items)
        self.text_jobs = TextJobs(self.engine, self.jobs)
        self.bodies = BodyBudget(SHARES * self.engine.settings.upload_bytes)
        self._views = dict[frozenset[str], Engine]()

    def limit(self, grant: Grant) -> Context:
        """Return these parts as a request with this grant may use them."""
        limited = copy(self)
        limited.grant = grant
        if grant.collections is not None:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            if grant.collections not in self._views:
                self._views[grant.collections] = self.engine.within(grant.collections)
            limited.engine = self._views[grant.collections]
        return limited

    def allowed(self) -> list[str]:
        """Return the folders and URLs that may be indexed: without `--allow`, the user's home
        folder and the indexed folders."""
        if self.allow is not None:
            return [*map(str, self.allow), *self.added]
        home = os.path.realpath(os.path.expanduser("~"))
        roots = [root.path for root in self.engine.status().roots]
        return [*([home] if os.path.isabs(home) else []), *roots, *self.added]

    def choose_turns(self, query: Query) -> Turns:
        """Return what runs a search.

        One that needs neither a decoder nor the model waits for nothing in a library on this
        machine. More than one of these at once are slower: the threads take the interpreter from
        each other. While pictures are embedded they wait for that, and each pause serves all that
        wait.
        """
        is_quick = self._is_local and query.is_stored and not query.where
        is_alone = is_quick and not self.engine.library.runtime.has_other_work
        return self._quick_searches if is_alone else self.searches

    def is_watched(self, root: RootStatus) -> bool:
        """Return whether this server notices the changes of a folder now."""
        is_alive = self.watcher is not None and self.watcher.is_alive
        is_local = root.state == "online" and "://" not in root.path
        is_paused = root.sync_hours is not None or self.jobs.is_cancelled("index", root.path)
        return is_alive and is_local and not is_paused

    async def look(self, call: Callable[[], T]) -> T:
        """Run a short call in a thread, off the event loop."""
        async with self.looks.admit():
            return await self.looks.run(call)


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    grant: Grant | None = getattr(request.state, GRANT, None)
    return context if grant is None else context.limit(grant)  # None on open routes alone


Here = Annotated[Context, Depends(_context)]


@dataclass
class RequestBody:
    """The body of a request. files: the uploaded pictures, in order; names: of their files. json:
    the JSON, if any. mask: the file `mask`, if any."""

    files: list[bytes]
    json: bytes | str | None = None
    names: list[str] = field(default_factory=list)
    mask: bytes | None = None


async def read_body(
    request: Request, max_files: int, field: str | None, with_mask: bool = False
) -> RequestBody:
    """Read a body: multipart with `image` files and perhaps a field of JSON, or JSON alone.

    field: the name of the JSON field, if there may be one. with_mask: there may be a file `mask`.
    Raises Problem and FieldError for anything else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_multipart(request, max_files, field, with_mask)
    if kind == "application/json":
        return RequestBody([], await read_json(request))
    raise Problem(415, "send multipart/form-data or application/json")


def parse_json(shape: type[Shape], json: bytes | str) -> Shape:
    """Parse JSON as a model. Raises Problem 400 if it is no JSON, FieldError for another shape."""
    try:
        return shape.model_validate_json(json)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        if wrong[0]["type"] == "json_invalid":
            raise Problem(400, "the body is no JSON", code="json_invalid") from error
        raise FieldError([(".".join(map(str, one["loc"])), one["msg"]) for one in wrong]) from error


async def read_json(request: Request, most: int = MAX_JSON) -> bytes:
    """Read a body of JSON, at most 1 MiB by default. Raises Problem 413."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise Problem(413, f"the JSON has more than {most} bytes")
    return bytes(data)


async def _read_multipart(
    request: Request, max_files: int, field: str | None, with_mask: bool
) -> RequestBody:
    body, wrong = RequestBody([]), list[tuple[str, str]]()
    complete = Request(request.scope, require_end(request))
    try:
        form = await complete.form(max_files=max_files + 2, max_fields=8, max_part_size=MAX_JSON)
    except Problem:
        raise
    except HTTPException as error:
        large = "Too many files" in error.detail or "maximum size" in error.detail
        reason = f"the upload is broken: {error.detail}"
        if large:
            raise Problem(413, reason) from error
        raise Problem(400, reason, code="upload_broken") from error
    try:
        for name, value in form.multi_items():
            if name == "image" and isinstance(value, UploadFile):
                if len(body.files) == max_files:
                    raise Problem(413, f"more than {max_files} files in one request")
                body.files.append(await value.read())
                body.names.append(value.filename or "")
            elif with_mask and name == "mask" and isinstance(value, UploadFile) and not body.mask:
                body.mask = await value.read()
            elif name == "image" or (with_mask and name == "mask" and not body.mask):
                wrong.append((name, "is a file"))
            elif name == field and body.json is None:
                body.json = await value.read(MAX_JSON) if isinstance(value, UploadFile) else value
            else:
                wrong.append((name[:100], "is not a field of this request, or is there twice"))
    finally:
        await form.close()
    if wrong:
        raise FieldError(wrong)
    return body


def require_end(request: Request) -> Receive:
    """Receive a multipart body. Raises Problem 400 if it ends before its end mark.

    The parser would drop an incomplete part without an error, and leave its file open.
    """
    kind = EmailMessage()
    kind["Content-Type"] = request.headers.get("content-type", "")
    end = f"--{kind.get_param('boundary', '')}--".encode("latin-1", "replace")
    tail = bytearray()

    async def receive() -> Message:
        message = await request.receive()
        tail.extend(message.get("body", b"")[-TAIL:])
        del tail[:-TAIL]
        if message["type"] == "http.request" and not message.get("more_body") and end not in tail:
            reason = "the upload is broken: it ends before its last part does"
            raise Problem(400, reason, code="upload_broken")
        return message

    return receive
