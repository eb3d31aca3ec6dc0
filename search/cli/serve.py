"""The command that serves the page and the HTTP API."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli import arguments, output
from search.cli.running_server import publish
from search.cli.session import find_server, open_engine
from search.errors import InputError

if TYPE_CHECKING:
    from search.api.server import Addresses


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
    page once, logged in; `lookalike link` prints another one. With `--host 0.0.0.0` it also tells
    the address for other machines of the network, and a terminal shows it as a QR code."""
    from search.api.server import serve as run_server

    token = secrets.token_hex(32)
    more = {"log_json": True} if log_json else {}
    with (
        open_engine(context, **more) as engine,
        publish(engine.settings, token) as publish_address,
    ):

        def announce(addresses: Addresses) -> None:
            publish_address(addresses.address)
            typer.echo(addresses.link)
            _show_phone_links(addresses)
            if no_token:
                output.note(
                    "no token: every user and program of this machine can search the library, see "
                    "its pictures, and have your folders indexed"
                )

        run_server(engine, host, port, allow or [], announce, token, no_token, watch)


def _show_phone_links(addresses: Addresses) -> None:
    """Print the links for other machines of the network, and the QR code if a terminal shows it:
    a log needs no picture of a link."""
    for link in addresses.others:
        output.note(f"on another machine of this network, once: {link}")
    if addresses.qr and sys.stdout.isatty():
        typer.echo(addresses.qr)
        typer.echo("Scan it with a phone of this network. The link logs in once.")


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
