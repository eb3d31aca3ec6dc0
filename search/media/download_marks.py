"""Where a file was downloaded from, as the system recorded it.

Browsers write it beside the content: extended attributes of freedesktop.org on Linux, the attribute
of Spotlight on macOS, and the stream `Zone.Identifier` on Windows. Nothing is written.
"""

from __future__ import annotations

import ctypes
import os
import plistlib
import sys
from collections.abc import Callable
from typing import Any

from search.records.sources import Download

MOST_BYTES = 65_536
ORIGIN, REFERRER = "user.xdg.origin.url", "user.xdg.referrer.url"
WHERE_FROMS = "com.apple.metadata:kMDItemWhereFroms"
STREAM = "Zone.Identifier"
Read = Callable[[str, str], bytes | None]
"""Reads a mark of a file: path and name -> its bytes, None if there is none."""


def read_download(
    path: str, platform: str = sys.platform, read: Read | None = None
) -> Download | None:
    """Return where a file was downloaded from, None if it is not known.

    platform: as `sys.platform`. read: reads marks; None for what the platform has.
    """
    if platform == "darwin":
        data = (read or _read_mac_attribute)(path, WHERE_FROMS)
        urls = _parse_where_froms(data) if data else []
        if not urls:
            return None
        return Download(path, urls[0], urls[1] if len(urls) > 1 else None, WHERE_FROMS)
    if platform == "win32":
        data = (read or _read_stream)(path, STREAM)
        values = _parse_zone(data) if data else {}
        url, referrer = values.get("hosturl"), values.get("referrerurl")
        return Download(path, url, referrer, STREAM) if url or referrer else None
    attributes = read or _read_attribute
    url, referrer = (_decode(attributes(path, name)) for name in (ORIGIN, REFERRER))
    return Download(path, url, referrer, ORIGIN) if url or referrer else None


def _read_attribute(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)[:MOST_BYTES] if hasattr(os, "getxattr") else None
    except OSError:  # there is none, or the file system has no attributes
        return None


def _read_mac_attribute(path: str, name: str) -> bytes | None:
    """Call the C library: Python has these functions on Linux only."""
    try:
        library: Any = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(MOST_BYTES)
        size = library.getxattr(os.fsencode(path), name.encode(), buffer, MOST_BYTES, 0, 0)
    except (OSError, AttributeError):
        return None
    return buffer.raw[:size] if size > 0 else None


def _read_stream(path: str, name: str) -> bytes | None:
    try:
        with open(f"{path}:{name}", "rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return None


def _parse_where_froms(data: bytes) -> list[str]:
    """Return the URLs of a binary property list: of the file, then of its page."""
    try:
        values = plistlib.loads(data)
    except Exception:  # anybody may have written it
        return []
    texts = values if isinstance(values, list) else []
    return [url for one in texts[:10] if isinstance(one, str) and (url := _clean(one))]


def _parse_zone(data: bytes) -> dict[str, str]:
    """Return the values of an INI file by their names in lower case."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    values = {}
    for line in data.decode(encoding, "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and (url := _clean(value)):
            values[name.strip().lower()] = url
    return values


def _decode(data: bytes | None) -> str | None:
    return _clean(data.decode("utf-8", "replace")) if data else None


def _clean(text: str) -> str | None:
    """Return a URL, None for what is none, such as `about:internet`."""
    plain = "".join(c for c in text.strip("\0 \r\n\t") if c.isprintable())[:4096]
    return plain if plain.lower().startswith(("http://", "https://", "ftp://")) else None
