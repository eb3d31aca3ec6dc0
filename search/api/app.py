"""The HTTP API: one app of all routes."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI

from search.api import problems
from search.api.auth import HEADERS, OPEN, Access, AccessControl
from search.api.deps import Context
from search.api.examples import add_examples
from search.api.request_log import RequestLog
from search.api.routers import (
    captions,
    collections,
    desktop,
    downloads,
    duplicates,
    films,
    folders,
    images,
    index,
    removal,
    saved,
    search,
    share,
    system,
    tags,
    texts,
    variants,
    web,
)
from search.api.schedule import SyncSchedule
from search.api.schemas import complete_schemas
from search.api.watcher import watch_folders, watch_inbox
from search.engine import Engine
from search.errors import LookalikeError

TEND_SECONDS = 30.0  # between two looks at the index
log = logging.getLogger(__name__)


def create_app(
    engine: Engine,
    access: Access | None = None,
    allow: Sequence[str | Path] | None = None,
    watch: bool = False,
) -> FastAPI:
    """Make the app of an engine. The caller closes the engine after the app.

    access: default is this machine, without a token. allow: folders and URLs of object
    storage that may be indexed; None for the user's home folder and the folders that are indexed
    already. watch: whether to sync the indexed folders as they change.
    """
    app = FastAPI(
        title="lookalike",
        version=version("lookalike"),
        description="Find the pictures that look like this one, in your own folders.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
    )
    access = access or Access()
    app.state.context = context = Context(engine, access, allow)
    app.state.schedule = SyncSchedule(engine, context.jobs)
    inbox = engine.inbox_folder
    context.watcher = watch_folders(engine, context.jobs) if watch else None
    watchers = [context.watcher] if context.watcher else []
    app.state.watchers = [*watchers, *([watch_inbox(engine, inbox)] if inbox else [])]
    searches = search, saved, duplicates
    pictures = removal, downloads, tags, images, texts, films, captions, variants
    for part in (*searches, *pictures, index, folders, collections, share, system, desktop, web):
        app.include_router(part.router)
    problems.install(app, HEADERS)
    max_bytes = engine.settings.upload_bytes
    app.add_middleware(AccessControl, access=access, max_bytes=max_bytes, budget=context.bodies)
    app.add_middleware(RequestLog, metrics=context.metrics)
    _complete_openapi(app, access)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Tend the index while the app runs; cancel its jobs when it ends."""
    context: Context = app.state.context
    ended = threading.Event()
    threading.Thread(target=_tend, args=(context.engine, ended), name="tend", daemon=True).start()
    app.state.schedule.start()
    for watcher in app.state.watchers:
        watcher.start()
    context.text_jobs.watch()
    try:
        yield
    finally:
        ended.set()
        context.text_jobs.close()
        app.state.schedule.stop()
        for watcher in app.state.watchers:
            watcher.stop()
        context.connected.stopping = True
        await anyio.to_thread.run_sync(context.jobs.close)


def _tend(engine: Engine, ended: threading.Event) -> None:
    """Tend the index from time to time: other processes may add to the library."""
    while not ended.wait(TEND_SECONDS):
        try:
            engine.tend()
        except LookalikeError as error:
            if not ended.is_set():
                log.warning("the index was not brought up to size: %s", error)


def _complete_openapi(app: FastAPI, access: Access) -> None:
    """Add to the OpenAPI document what no signature has: shapes, access control and examples."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = generate()
        complete_schemas(document)
        document["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": access.cookie},
        }
        none: list[dict[str, Any]] = [] if access.token else [{}]
        document["security"] = [{"token": []}, {"cookie": []}, *none]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                add_examples(operation)
                if (method.upper(), path) in OPEN:
                    operation["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]
