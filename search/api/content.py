"""Bytes of pictures as answers: headers for caches, parts, and sending in pieces."""

from __future__ import annotations

from collections.abc import Generator
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO

import anyio
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from search.api.deps import Context

TYPES = {"heif": "image/heif", "avif": "image/avif", "tiff": "image/tiff", "bmp": "image/bmp"} | {
    name: f"image/{name}" for name in ("jpeg", "png", "webp", "gif")
}
FILMS = {
    **dict.fromkeys((".mp4", ".m4v"), "video/mp4"),
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    **dict.fromkeys((".mpeg", ".mpg"), "video/mpeg"),
    **dict.fromkeys((".mts", ".m2ts"), "video/mp2t"),
    ".gif": "image/gif",
    ".webp": "image/webp",
    **dict.fromkeys((".png", ".apng"), "image/png"),
}
"""Media types of files with many frames, by the endings of their names."""
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"
CHUNK = 2**18  # bytes


class FileResponse(Response):
    """A part of an open file, which is sent in pieces and closed in any case."""

    def __init__(
        self, here: Context, file: BinaryIO, part: range, headers: dict[str, str], status: int = 200
    ) -> None:
        """part: the bytes that are sent."""
        super().__init__(status_code=status, headers={**headers, "Content-Length": str(len(part))})
        self._here, self._file, self._start, self._left = here, file, part.start, len(part)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            if scope["method"] == "HEAD":
                self._left = 0
            if self._left and self._start:
                await self._here.look(lambda: self._file.seek(self._start))
            while self._left and not await _has_left(receive):
                size = min(CHUNK, self._left)
                data = await self._here.look(lambda size=size: self._file.read(size))  # type: ignore[misc]
                if not data:
                    break  # the file is shorter now: the connection ends before its Content-Length
                self._left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


class PiecesResponse(Response):
    """Pieces that are made while they are sent. What makes them ends with the connection."""

    def __init__(self, here: Context, pieces: Generator[bytes], headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._here, self._pieces = here, pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            while (data := await self._here.look(lambda: next(self._pieces, None))) is not None:
                if await _has_left(receive):
                    return
                if data:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._pieces.close()


def image_content(*types: str) -> dict[str, Any]:
    """Describe an answer for OpenAPI that is a picture of one of these media types."""
    return {
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in types}
    }


def cache_headers(
    request: Request, tag: str, media: str, modified: float | None = None
) -> tuple[dict[str, str], bool]:
    """Return the headers of a picture's bytes, and whether the browser has the bytes already.

    tag: identifies the bytes. media: their media type. modified: seconds since 1970.
    """
    tag = f'"{tag}"'
    headers = {
        "Content-Type": media,
        "Content-Security-Policy": SANDBOX,
        "Cache-Control": "private, max-age=3600",
        "ETag": tag,
    }
    if modified is not None:
        headers["Last-Modified"] = formatdate(modified, usegmt=True)
    known = request.headers.get("if-none-match")
    if known is not None:
        return headers, tag in known
    since = _parse_date(request.headers.get("if-modified-since"))
    return headers, modified is not None and since is not None and int(modified) <= since


def find_part(request: Request, size: int, headers: dict[str, str]) -> range | None:
    """Return the bytes that a request asks for; None for a part that there is not.

    headers: of the whole, which tell whether a part still belongs to what the client has
    (`If-Range`). Several parts in one request, and units other than bytes, count as no request for
    a part, as RFC 9110 allows.
    """
    whole, same = range(size), request.headers.get("if-range")
    unit, _, value = request.headers.get("range", "").partition("=")
    first, dash, last = value.strip().partition("-")
    is_part = unit.strip().lower() == "bytes" and dash and (first or last)
    is_number = all(one.isascii() and one.isdigit() for one in (first, last) if one)
    is_same = same is None or same in (headers["ETag"], headers.get("Last-Modified"))
    if not is_part or not is_number or not is_same or len(value) > 100:
        return whole
    if not first:
        return range(max(size - int(last), 0), size) if int(last) and size else None
    if last and int(last) < int(first):
        return whole
    stop = min(int(last) + 1, size) if last else size
    return range(int(first), stop) if int(first) < size else None


async def _has_left(receive: Receive) -> bool:
    """Return whether the client has left: what is sent to it then is dropped without an error."""
    with anyio.CancelScope() as scope:
        scope.cancel()  # so that nothing is waited for
        message = await receive()
        return bool(message["type"] == "http.disconnect")
    return False


def _parse_date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
