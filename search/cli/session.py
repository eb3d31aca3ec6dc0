"""One run of the command: the library that it works on, and how Ctrl-C ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import typer

from search.cli import output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from search.cli.running_server import RunningServer
    from search.engine import Engine
    from search.settings import Settings


class Interrupted(BaseException):
    """Ctrl-C."""


def raise_interrupted(*_: object) -> NoReturn:
    """Handle SIGINT. Raises Interrupted."""
    raise Interrupted


def open_engine(context: typer.Context, **more: Any) -> Engine:
    """Open the library with the options before the command.

    more: as `Engine.open` takes it: other settings by name, and `one_shot`. Raises LookalikeError.
    """
    from search.engine import Engine

    return Engine.open(**read_options(context), **more, say=output.note)


def read_settings(context: typer.Context) -> Settings:
    """Return the settings of the library, which is not opened. Raises InputError."""
    from search.settings import Settings

    return Settings.load(**read_options(context))


def find_server(context: typer.Context, with_settings: bool = True) -> RunningServer | None:
    """Find the running server that would give the same answers as `open_engine`.

    with_settings: False for the library's server whatever its settings. Raises InputError for
    wrong settings.
    """
    from search.cli.running_server import RunningServer

    return RunningServer.find(read_settings(context), with_settings)


def read_options(context: typer.Context) -> dict[str, Any]:
    """Return the options before the command, as `Engine.open` takes them."""
    return {name: context.obj[name] for name in ("home", "model", "device")}


class Encoder:
    """The library's model, for `lookalike diffusion`; opened at its first use."""

    def __init__(self, context: typer.Context) -> None:
        self._context = context
        self._engine: Engine | None = None

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed (B, H, W, 3) uint8 pictures as (B, D) float32 vectors of unit length."""
        return self._open().encode(pictures)

    def __str__(self) -> str:
        return self._open().encoder()

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self._context)
            self._context.call_on_close(self._engine.close)
        return self._engine
