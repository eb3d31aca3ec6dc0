"""The command that serves the page and the HTTP API."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from search.cli import arguments
from search.cli.running_server import publish
from search.cli.session import open_engine


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address to listen on; others need LOOKALIKE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", help="Port; 0 takes any free one.")] = 8000,
    allow: Annotated[
        list[Path] | None,
        arguments.option(
            metavar="DIR",
            help="Folder that may be used over HTTP, with all in it. Repeatable.",
        ),
    ] = None,
) -> None:
    """Serve the page and the HTTP API, until Ctrl-C."""
    from search.api.server import serve as run_server

    token = secrets.token_hex(32)
    with open_engine(context) as engine, publish(engine.settings, token) as publish_address:

        def announce(address: str) -> None:
            publish_address(address)
            typer.echo(address)

        run_server(engine, host, port, allow or [], announce, token)
