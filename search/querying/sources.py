"""Where a picture comes from: all that the catalog, its files and the system say of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from ipaddress import ip_address
from typing import BinaryIO
from urllib.parse import urlsplit

from search.catalog.reads import CatalogReader
from search.errors import RemoteError
from search.files import shown
from search.media.addresses import is_public
from search.media.content_credentials import read_content_credentials
from search.media.credits import read_credits
from search.media.download_marks import read_download
from search.media.object_urls import is_remote, is_site_url, join_place
from search.media.open_file import FilePlace
from search.records.pictures import Picture
from search.records.sources import ContentCredentials, Credit, Download, Sources

MOST_BYTES = 32 * 2**20
"""Bytes of a file in which credits are looked for."""
MOST_SIDECAR = 2**20
MOST_FILES = 100  # whose downloads are looked up
LOCAL_NAMES = (".local", ".lan", ".internal", ".home", ".localhost", ".home.arpa", ".intranet")


class SourceReader:
    """Tells where pictures come from. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        open_file: Callable[[FilePlace], BinaryIO | None],
        read_mark: Callable[[str], Download | None] = read_download,
    ) -> None:
        """open_file: opens a file that is as it was indexed. read_mark: where a file was downloaded
        from."""
        self._reader, self._open_file, self._read_mark = reader, open_file, read_mark

    def read(self, picture: Picture) -> Sources:
        """Return where a picture comes from. If its file cannot be read, `problem` says why."""
        row_id = self._reader.resolve(picture.id)
        places = self._reader.places(row_id)[:MOST_FILES]
        local = [place for place in places if not is_remote(place.root)]
        downloads = [self._read_mark(join_place(one.root, one.path)) for one in local]
        credits, credentials, problem = self._read_file(places)
        for place in local:
            credits += self._read_sidecar(place)
        for name, tag in (("creator", "Artist"), ("copyright", "Copyright")):
            value = picture.metadata.exif.get(tag)
            if value and (name, str(value).strip()) not in {(c.name, c.value) for c in credits}:
                credits.append(Credit(name, str(value).strip()))
        pages = self._reader.mentions(row_id)
        marks = [one for one in downloads if one is not None]
        urls = [
            *(path for path in picture.paths if is_site_url(path)),
            *([picture.source_url] if picture.source_url else []),
            *(one.url for one in marks if one.url),
        ]
        return Sources(
            picture.id,
            picture.paths,
            tuple(pages),
            tuple(marks),
            tuple(dict.fromkeys(credits)),
            credentials,
            picture.source_url,
            picture.original_name,
            picture.metadata.camera,
            next((url for url in urls if is_public_url(url)), None),
            problem,
        )

    def _read_file(
        self, places: Sequence[FilePlace]
    ) -> tuple[list[Credit], ContentCredentials | None, str | None]:
        """Read the first file that is there; also return why none was."""
        problem = "no file of it is as it was indexed; index its folder again"
        for place in places:
            try:
                if (file := self._open_file(place)) is not None:
                    with closing(file):
                        data = file.read(MOST_BYTES)
                    return list(read_credits(data)), read_content_credentials(data), None
            except (OSError, RemoteError) as error:
                problem = f"its file cannot be read: {error}"
        return [], None, shown(problem)

    @staticmethod
    def _read_sidecar(place: FilePlace) -> tuple[Credit, ...]:
        full = join_place(place.root, place.path)
        for name in (f"{full}.xmp", f"{os.path.splitext(full)[0]}.xmp"):
            try:
                if not os.path.isfile(name) or os.path.islink(name):
                    continue
                with open(name, "rb") as file:
                    return read_credits(file.read(MOST_SIDECAR), "sidecar")
            except OSError:
                continue
        return ()


def is_public_url(url: str) -> bool:
    """Return whether a URL seems to be one that everybody may fetch. No name is resolved."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or parts.username:
        return False
    try:
        return is_public(ip_address(host))
    except ValueError:
        return "." in host and not host.endswith(LOCAL_NAMES)
