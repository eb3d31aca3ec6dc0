"""How a phone of the same network opens the page: the server's addresses there, and a QR code."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

PROBES = ((socket.AF_INET, "10.255.255.255"), (socket.AF_INET6, "fd00::1"))
"""Private addresses to which a route is looked up. No packet is sent there."""
ANY = ("0.0.0.0", "::", "")
QUIET_MODULES = 2  # around a code: enough for phones, and it fits a terminal of 80 columns


def list_addresses(host: str, own: Iterable[str] | None = None) -> list[str]:
    """Return the addresses by which other machines of the network reach a server.

    host: that it listens on; the one of any interface stands for all of this machine. own:
    addresses of this machine; by default those that the system tells. Empty for loopback. IPv4
    comes first, since people can type it.
    """
    addresses = [host] if host not in ANY else iterate_own() if own is None else own
    usable = dict.fromkeys(one for one in addresses if _is_reachable(one, host))
    return sorted(usable, key=lambda one: ":" in one)


def make_url(address: str, port: int, path: str = "") -> str:
    """Return the URL of an address. path: begins with `/`, or is empty."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}{path}"


def draw_svg(text: str) -> str:
    """Draw a text as a QR code: an SVG document, black on white in both themes."""
    out = io.BytesIO()
    encode(text).save(out, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False)
    return out.getvalue().decode()


def draw_text(text: str) -> str:
    """Draw a text as a QR code for a terminal: half blocks, with the quiet zone that scanners
    need."""
    out = io.StringIO()
    encode(text).terminal(out, border=QUIET_MODULES, compact=True)
    return out.getvalue().rstrip("\n")


def encode(text: str) -> Any:
    """Return the QR code of a text; its `matrix` has rows of modules, 1 for dark."""
    import segno

    return segno.make(text, error="m", micro=False)


def _is_reachable(address: str, host: str) -> bool:
    """Whether other machines reach an address of this machine, and the server listens on it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address == host and address != "localhost"  # a name
    if host == "0.0.0.0" and ip.version == 6:
        return False
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)


def iterate_own() -> Iterator[str]:
    """Yield the addresses of this machine: those of its routes, then those of its name."""
    for family, target in PROBES:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            yield str(probe.getsockname()[0])
    with suppress(OSError):
        for *_, place in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM):
            yield str(place[0])
