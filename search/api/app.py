"""The HTTP API: the app's factory."""

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
from search.api.auth import HEADERS, Access, Gate
from search.api.deps import Context
from search.api.metrics import Counted
from search.api.routers import images, index, search, system, variants, web
from search.engine import Engine
from search.errors import LookalikeError
from search.querying.query import QueryJson

TEND = 30.0  # seconds
log = logging.getLogger("lookalike")


def create_app(
    engine: Engine, access: Access | None = None, allow: Sequence[Path] | None = None
) -> FastAPI:
    """The app over an engine, which its caller closes after it.

    access: who may ask (default: this machine, without a token). allow: folders that may be
    indexed; None for the user's home folder and those that are indexed already.
    """
    app = FastAPI(
        title="lookalike",
        version=version("lookalike"),
        description="Find the pictures that look like this one, in your own folders.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    access = access or Access()
    app.state.context = context = Context(engine, access, allow)
    for part in (search, images, variants, index, system, web):
        app.include_router(part.router)
    problems.install(app, HEADERS)
    app.add_middleware(Gate, access=access, most=engine.settings.upload_bytes)
    app.add_middleware(Counted, metrics=context.metrics)
    _describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Jobs end with the server; a run that is cut short goes on when it is started again."""
    context: Context = app.state.context
    over = threading.Event()
    threading.Thread(target=_tend, args=(context.engine, over), name="tend", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        context.stopping = True
        await anyio.to_thread.run_sync(context.jobs.close)


def _tend(engine: Engine, over: threading.Event) -> None:
    """Now and then see to the index: others may have added to the library."""
    while not over.wait(TEND):
        try:
            engine.tend()
        except LookalikeError as error:
            if not over.is_set():
                log.warning("the index was not brought up to size: %s", error)


def _describe(app: FastAPI) -> None:
    """Add the shapes that no route's signature has to the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        shapes = document["components"]["schemas"]
        wanted = QueryJson.model_json_schema(ref_template="#/components/schemas/{model}")
        shapes.update(wanted.pop("$defs"))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
