"""URLs as people give them: which texts are meant as one, and what they stand for."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from search.errors import InputError, SizeError

if TYPE_CHECKING:
    import httpx

NAME = re.compile(r"[A-Za-z0-9._:-]+")
NOT_IN_URLS = re.compile(r"[\\\x00-\x20\x7f]")
LONGEST = 4096  # characters of a URL
SHOWN = 100  # characters of it in a message
WITHOUT_SCHEME = re.compile(r"(?://[\w[]|www\.\w)\S*", re.IGNORECASE)
WITH_SCHEME = re.compile(r"https?://", re.IGNORECASE)
DATA = re.compile(r"data:(?P<type>[\w.+/-]*)(?P<options>(?:;[\w.+=-]+)*),", re.IGNORECASE)


def normalize_url(text: str) -> str | None:
    """Return the URL that a text stands for, or None if it is meant as something else.

    Spaces and line ends around it are dropped. `www.HOST` and `//HOST` get the scheme `https`.
    """
    text = text.strip()
    if WITH_SCHEME.match(text) or DATA.match(text):
        return text
    if WITHOUT_SCHEME.fullmatch(text):
        return f"https://{text.removeprefix('//')}"
    return None


def is_address(text: str) -> bool:
    """Whether a text is meant as a URL."""
    return normalize_url(text) is not None


def has_scheme(text: str) -> bool:
    """Whether a text is meant as a URL, and cannot be meant as the path of a file."""
    return is_address(text) and not WITHOUT_SCHEME.fullmatch(text.strip())


def shorten_url(url: str) -> str:
    """Return a URL for a message, without the picture that a `data:` URL holds."""
    return url if len(url) <= SHOWN else f"{url[:SHOWN]}..."


def remove_address(message: str, url: str) -> str:
    """Return a message without the URL that it begins with, for where that stands already."""
    return message.removeprefix(f"{url}: ")


def decode_data_url(url: str, most: int) -> bytes | None:
    """Return the bytes in a `data:` URL, or None for another URL.

    most: bytes of the picture. Raises InputError, SizeError.
    """
    match = DATA.match(url)
    if match is None:
        return None
    if len(url) > 3 * most + LONGEST:  # bytes may be written as three characters
        raise SizeError(f"{shorten_url(url)}: it is larger than {most} bytes")
    text = url[match.end() :]
    try:
        data = unquote_to_bytes(text)
        if "base64" in match["options"].lower().split(";"):
            data = base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"{shorten_url(url)}: it is cut off or broken: {error}; copy it again, or save the "
            "picture and give the file"
        ) from error
    if len(data) > most:
        raise SizeError(f"{shorten_url(url)}: it is larger than {most} bytes")
    return data


def parse_url(url: str) -> httpx.URL:
    """Parse an absolute http or https URL. Raises InputError for anything else."""
    import httpx  # only where a URL is fetched: it costs every command 0.1 s

    shown = url[:SHOWN]
    if len(url) > LONGEST:
        raise InputError(f"{shown}...: longer than {LONGEST} characters")
    if NOT_IN_URLS.search(url):
        raise InputError(
            f"{shown}: no address: it has a space, a backslash or a control character in it"
        )
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InputError(f"{shown}: no address: {error}") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise InputError(f"{shown}: give an address that begins with http:// or https://")
    if not NAME.fullmatch(host) or (parsed.port or 0) > 65535:
        raise InputError(f"{shown}: no address: check its name and port")
    if parsed.userinfo:
        raise InputError(f"{parsed.copy_with(userinfo=b'')}: give it without a name and password")
    return parsed.copy_with(fragment=None)


def join_url(base: httpx.URL, target: str) -> httpx.URL:
    """Parse a URL that may be relative to another. Raises InputError."""
    import httpx

    if NOT_IN_URLS.search(target):
        return parse_url(target)
    try:
        return parse_url(str(base.join(target)))
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise InputError(f"{target[:SHOWN]}: no address: {error}") from error
