"""The command that serves the page and the HTTP API."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.running_server import publish
from search.cli.session import find_server, open_engine
from search.errors import InputError


def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address to listen on; others need LOOKALIKE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", help="Port; 0 takes any free one.")] = 8000,
    allow: Annotated[
        list[str] | None,
        arguments.option(
            parser=arguments.source,
            metavar="DIR",
            help="Folder, or s3://BUCKET/PREFIX, that may be used over HTTP, with all in it. "
            "Repeatable.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token",
            help="Ask for no token: every user and program of this machine can search the library, "
            "see its pictures, and have your folders indexed.",
        ),
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json", help="Log JSON lines to standard error, with one for each request."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Sync the indexed folders as they change.")
    ] = True,
) -> None:
    """Serve the page and the HTTP API, until Ctrl-C. The address that is printed first opens the
    page once, logged in; `lookalike link` prints another one."""
    from search.api.server import serve as run_server

    token = secrets.token_hex(32)
    more = {"log_json": True} if log_json else {}
    with (
        open_engine(context, **more) as engine,
        publish(engine.settings, token) as publish_address,
    ):

        def announce(address: str, link: str) -> None:
            publish_address(address)
            typer.echo(link)
            if no_token:
                output.note(
                    "no token: every user and program of this machine can search the library, see "
                    "its pictures, and have your folders indexed"
                )

        run_server(engine, host, port, allow or [], announce, token, no_token, watch)


def link(context: typer.Context) -> None:
    """Print a link that opens the page of the running server, logged in; it works once."""
    server = find_server(context, with_settings=False)
    address = server.make_link() if server else None
    if address is None:
        raise InputError(
            "no server of this library is running, or it gives no answer; start one with "
            "`lookalike serve`"
        )
    typer.echo(address)
