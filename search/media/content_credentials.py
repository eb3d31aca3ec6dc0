"""C2PA manifests (Content Credentials) in pictures: who says that it made them.

A manifest is a tree of JUMBF boxes (ISO 19566-5) with a claim in CBOR (RFC 8949), in segments APP11
of a JPEG, the chunk `caBX` of a PNG, the chunk `C2PA` of a WebP, or a box `uuid` of HEIC and AVIF
(C2PA specification 2.1, appendix A). Only what it says is read: signatures and hashes are not
checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from search.media import png
from search.records.sources import ContentCredentials

UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
MOST_BOXES, MOST_DEPTH = 2_000, 16
MOST_ITEMS = 20_000  # of one CBOR document
MOST_TEXT = 500
CLAIMS = ("c2pa.claim", "c2pa.claim.v2")
ACTIONS = ("c2pa.actions", "c2pa.actions.v2")


def read_content_credentials(data: bytes) -> ContentCredentials | None:
    """Return what the C2PA manifest of a picture says, None if it has none.

    data: of the file. If the claim cannot be read, its values are None.
    """
    manifest = _extract(data)
    if not manifest:
        return None
    claims, actions = list[dict[Any, Any]](), list[str]()
    for label, content in _walk(manifest, 0, [MOST_BOXES]):
        name = label.split("__")[0]
        if name not in (*CLAIMS, *ACTIONS):
            continue
        try:
            value = _Cbor(content).read()
        except (ValueError, IndexError, struct.error, UnicodeDecodeError, RecursionError):
            continue
        if name in CLAIMS and isinstance(value, dict):
            claims.append(value)
        elif isinstance(value, dict) and isinstance(value.get("actions"), list):
            for one in value["actions"][:50]:
                if isinstance(one, dict) and (action := _text(one.get("action"))):
                    actions.append(action)
    if not claims and b"c2pa" not in manifest:
        return None  # JUMBF of another kind
    claim = claims[-1] if claims else {}  # the active manifest is the last one
    info = claim.get("claim_generator_info")
    info = info[0] if isinstance(info, list) and info else info
    named = ""
    if isinstance(info, dict):
        named = " ".join(filter(None, (_text(info.get("name")), _text(info.get("version")))))
    return ContentCredentials(
        named or _text(claim.get("claim_generator")),
        _text(claim.get("dc:title")),
        _text(claim.get("dc:format")),
        tuple(dict.fromkeys(actions)),
    )


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(c for c in value if c.isprintable())[:MOST_TEXT].strip() or None


def _extract(data: bytes) -> bytes:
    """Return the JUMBF boxes of a file."""
    if data.startswith(b"\xff\xd8"):
        return _extract_jpeg(data)
    if data.startswith(png.SIGNATURE):
        chunks = (one for one in png.list_chunks(data) if one.name == b"caBX")
        return b"".join(one.body(data) for one in chunks)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _extract_riff(data)
    if data[4:8] == b"ftyp":
        for kind, body in _iterate_boxes(data):
            if kind == b"uuid" and body[:16] == UUID:
                start = body.find(b"jumb", 16, 16 + 512)  # after the purpose and an offset
                return body[start - 4 :] if start >= 4 else b""
    return b""


def _extract_jpeg(data: bytes) -> bytes:
    """Join the boxes that are in several APP11 segments, by their number and order."""
    parts, at = dict[int, list[tuple[int, bytes]]](), 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        body = data[at + 4 : at + 2 + length]
        if data[at + 1] == 0xEB and body[:2] == b"JP" and len(body) > 16:
            number, order = struct.unpack_from(">HI", body, 2)
            # every segment repeats the head of the box, of 8 bytes
            parts.setdefault(number, []).append((order, body[8:]))
        at += 2 + max(2, length)
    joined = b""
    for pieces in parts.values():
        pieces.sort(key=lambda piece: piece[0])
        joined += pieces[0][1] + b"".join(piece[8:] for _, piece in pieces[1:])
    return joined


def _extract_riff(data: bytes) -> bytes:
    at = 12
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        if data[at : at + 4] == b"C2PA":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return b""


def _iterate_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the content of boxes that follow one another, as far as they are whole."""
    at, count = 0, 0
    while at + 8 <= len(data) and count < MOST_BOXES:
        size, head = struct.unpack_from(">I", data, at)[0], 8
        if size == 1 and at + 16 <= len(data):
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif size == 0:
            size = len(data) - at
        if size < head:
            return
        yield data[at + 4 : at + 8], data[at + head : at + size]
        at, count = at + size, count + 1


def _walk(data: bytes, depth: int, left: list[int]) -> Iterator[tuple[str, bytes]]:
    """Yield the label and the first content of each box that has no boxes with labels in it.

    left: how many boxes may be read still.
    """
    for kind, body in _iterate_boxes(data):
        left[0] -= 1
        if left[0] < 0 or depth > MOST_DEPTH:
            return
        if kind != b"jumb":
            continue
        label = ""
        for inner, content in _iterate_boxes(body):
            if inner == b"jumd":
                label = content[17:].split(b"\0")[0].decode("utf-8", "replace")[:200]
            elif inner == b"cbor":
                yield label, content
        yield from _walk(body, depth + 1, left)


class _Cbor:
    """Reads one CBOR document, with limits. Raises ValueError and IndexError for a broken one."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._left = data, 0, MOST_ITEMS

    def read(self, depth: int = 0) -> Any:
        """Return the next item."""
        self._left -= 1
        if depth > MOST_DEPTH or self._left < 0:
            raise ValueError("too deep, or too many items")
        first = self._data[self._at]
        self._at += 1
        major, info = first >> 5, first & 31
        if major == 7:
            return self._read_simple(info)
        if info == 31:
            return self._read_endless(major, depth)
        count = self._read_number(info)
        if major == 0:
            return count
        if major == 1:
            return -1 - count
        if major in (2, 3):
            return self._take(count, major)
        if major == 4:
            return [self.read(depth + 1) for _ in range(self._check(count))]
        if major == 5:
            pairs = range(self._check(count))
            return dict(self._read_pair(depth) for _ in pairs)
        return self.read(depth + 1)  # a tag, whose meaning is not needed

    def _read_pair(self, depth: int) -> tuple[Any, Any]:
        key = self.read(depth + 1)
        if not isinstance(key, str | int | bytes):
            raise ValueError("a key that is no text")
        return key, self.read(depth + 1)

    def _check(self, count: int) -> int:
        if count > self._left:
            raise ValueError("too many items")
        return count

    def _read_number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise ValueError("a number of unknown size")
        size = 1 << (info - 24)
        if self._at + size > len(self._data):
            raise ValueError("it is cut")
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    def _take(self, count: int, major: int) -> str | bytes:
        if count > len(self._data) - self._at:
            raise ValueError("it is cut")
        self._at += count
        part = self._data[self._at - count : self._at]
        return part.decode("utf-8", "replace") if major == 3 else part

    def _read_simple(self, info: int) -> Any:
        if info in (20, 21):
            return info == 21
        if info in (25, 26, 27):
            size = 1 << (info - 24)
            value = struct.unpack_from({2: ">e", 4: ">f", 8: ">d"}[size], self._data, self._at)[0]
            self._at += size
            return value
        if info == 24:
            self._at += 1
        return None

    def _read_endless(self, major: int, depth: int) -> Any:
        items = list[Any]()
        while self._data[self._at] != 0xFF:
            items.append(self._read_pair(depth) if major == 5 else self.read(depth + 1))
        self._at += 1
        if major == 5:
            return dict(items)
        if major in (2, 3):
            whole = [one for one in items if isinstance(one, str | bytes)]
            return "".join(map(str, whole)) if major == 3 else b""
        return items
