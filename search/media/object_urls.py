"""URLs of object storage and of web sites, and how places are joined and compared.

A place is the absolute path of a folder, or the URL of a bucket or of a prefix in it, or of a web
site or of a part of it, without a slash at its end. The keys below it are kept as they are:
`s3://bucket/a` and the key `/b` are `s3://bucket/a//b`. A picture that a site shows from elsewhere
has its whole URL as its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from search.errors import InputError
from search.files import find_shown
from search.media.urls import parse_url, shorten_url

SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
WEB = frozenset(("http", "https", "data"))
LOCAL = frozenset(
    "file local reference dir zip tar libarchive git github jupyter generic simplecache"
    " filecache blockcache cached asynclocal".split()
)
"""Schemes of fsspec that name files of this machine, or wrap other file systems."""
ODD_SEGMENT = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
SITE = re.compile(r"https?://", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_object_url(text: str) -> bool:
    """Whether a text is meant as a URL of object storage, such as `s3://bucket/prefix`."""
    match = SCHEME.match(text)
    return match is not None and match[1].lower() not in WEB


def is_site_url(text: str) -> bool:
    """Whether a text is meant as the URL of a web site or of something on it."""
    return SITE.match(text) is not None


def is_remote(place: str) -> bool:
    """Whether a place is no path of this machine: object storage, or a web site."""
    return is_site_url(place) or is_object_url(place)


def scheme_of(url: str) -> str:
    """Return the scheme of a URL of object storage in lower case."""
    match = SCHEME.match(url)
    return match[1].lower() if match else ""


def parse_object_url(text: str) -> str:
    """Return the URL of a bucket, or of a prefix in it, in its normal form.

    Raises InputError for a URL with a name or password, which would be stored, for a scheme that
    names files of this machine, and for prefixes that no other program takes as they are.
    """
    scheme, rest = scheme_of(text), text.partition("://")[2].rstrip("/")
    authority = rest.partition("/")[0]
    if "@" in authority:
        raise InputError(
            f"{scheme}://...@{authority.rpartition('@')[2]}: give it without a name and password; "
            "credentials come from the environment or the configuration of the storage, such as "
            "AWS_PROFILE"
        )
    shown = f"{scheme}://{rest[:200]}"
    if scheme in LOCAL or "::" in rest:
        raise InputError(
            f"{shown}: it names no object storage; give the path of a folder, or s3://BUCKET/PREFIX"
        )
    if not authority or CONTROL.search(rest) or ODD_SEGMENT.search(rest):
        raise InputError(
            f"{shown}: give a bucket, and a prefix without empty parts, `.` and `..`, such as "
            "s3://bucket/pictures"
        )
    return f"{scheme}://{rest}"


def parse_site_url(text: str) -> str:
    """Return the URL of a web site, or of a part of it, in its normal form.

    Raises InputError for a URL with a name or password, or with a query.
    """
    url = parse_url(text.strip())
    if url.query:
        raise InputError(
            f"{shorten_url(text)}: give the address of a site or of a part of it, without `?` and "
            "what follows"
        )
    return str(url.copy_with(query=None)).rstrip("/")


def parse_remote(text: str) -> str:
    """Return the normal form of a URL for which `is_remote` holds. Raises InputError."""
    return parse_site_url(text) if is_site_url(text) else parse_object_url(text)


def join_place(place: str, path: str) -> str:
    """Return the path or URL of a file. path: relative to the place, with `/`."""
    if is_site_url(place):
        return path if is_site_url(path) else f"{place}/{path}" if path else place
    return f"{place}/{path}" if is_object_url(place) else os.path.join(place, path)


def relative_url(url: str, site: str) -> str:
    """Return the path of a picture of a site, as `join_place` takes it. url: of the picture."""
    within = relative_place(url, site)
    return url if not within or is_site_url(within) else within


def relative_place(place: str, folder: str) -> str | None:
    """Return a place relative to a folder that contains it, "" for the folder; otherwise None."""
    if is_remote(place) or is_remote(folder):
        if place == folder:
            return ""
        return place[len(folder) + 1 :] if place.startswith(f"{folder}/") else None
    if not Path(place).is_relative_to(folder):
        return None
    within = str(Path(place).relative_to(folder))
    return "" if within == "." else within


def resolve_place(path: str | os.PathLike[str]) -> str:
    """Return the URL of object storage or of a site in its normal form, or a path without links
    and `~`. A path may be as `shown` returns it.

    Raises InputError for a URL that cannot be used.
    """
    text = os.fspath(path)
    if is_remote(text):
        return parse_remote(text)
    return os.path.realpath(find_shown(os.path.expanduser(text)))
