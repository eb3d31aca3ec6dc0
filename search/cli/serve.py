"""The command that serves the page and the HTTP API."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli import arguments, output
from search.cli.running_server import publish
from search.cli.session import find_server, open_engine
from search.errors import InputError

if TYPE_CHECKING:
    from search.api.server import Addresses

OPENED = "opened"
"""Empty file in the home of a library that was served."""
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


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
    inbox: Annotated[
        Path | None,
        arguments.option(
            metavar="DIR",
            help="Folder whose new pictures are copied into the library within seconds; its files "
            "stay (default: LOOKALIKE_INBOX).",
        ),
    ] = None,
    browser: Annotated[
        bool | None,
        typer.Option(
            "--browser/--no-browser",
            help="Open the page in the browser (default: at the first start, on a desktop).",
        ),
    ] = None,
) -> None:
    """Serve the page and the HTTP API, until Ctrl-C. On a desktop the first start of a library also
    opens the page in the browser. The address that is printed first opens the
    page once, logged in; `lookalike link` prints another one. With `--host 0.0.0.0` it also tells
    the address for other machines of the network, and a terminal shows it as a QR code."""
    from search.api.server import serve as run_server

    token = secrets.token_hex(32)
    more: dict[str, Any] = {"log_json": True} if log_json else {}
    if inbox is not None:
        more["inbox"] = inbox
    with (
        open_engine(context, **more) as engine,
        publish(engine.settings, token) as publish_address,
    ):
        is_first = _is_first_start(engine.home)

        def announce(addresses: Addresses) -> None:
            publish_address(addresses.address)
            typer.echo(addresses.link)
            if browser or (browser is None and is_first and sys.stdout.isatty() and has_desktop()):
                # a thread: some browsers return when they end
                threading.Thread(
                    target=webbrowser.open, args=(addresses.browser_link,), daemon=True
                ).start()
            _show_phone_links(addresses)
            if no_token:
                output.note(
                    "no token: every user and program of this machine can search the library, see "
                    "its pictures, and have your folders indexed"
                )

        run_server(engine, host, port, allow or [], announce, token, no_token, watch)


def _is_first_start(home: Path) -> bool:
    """Whether no server of this library was started before. Notes that one is."""
    try:
        (home / OPENED).touch(exist_ok=False)
    except OSError:  # it is there, or the home cannot be written
        return False
    return True


def has_desktop(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser can show a window: always on macOS and Windows, elsewhere if there is a
    display."""
    return platform in ("win32", "darwin") or any(environment.get(name) for name in DISPLAYS)


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
