"""PNG files as bytes: without the chunks that stop the decoder, and completed when the end is cut.

Whatever is not needed for pixels may be too large or damaged: image generators write megabytes of
text, editors write wrong checksums. Browsers show such pictures.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = frozenset((b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT"))
"""Ancillary chunks that say something about pixels, colours or the time of the picture."""
TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
EXIF_TEXT = b"Raw profile type exif\0"  # how older programs store EXIF
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


class Chunk(NamedTuple):
    """A chunk. start, end: where it lies in the file, in bytes. is_whole: its body is all there."""

    name: bytes
    start: int
    end: int
    is_whole: bool

    def body(self, data: bytes) -> memoryview:
        """Return the content, which may be cut."""
        return memoryview(data)[self.start + 8 : self.end - 4 if self.is_whole else self.end]


def list_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a file up to IEND, or to where it is cut."""
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 12 + length
        name = data[start + 4 : start + 8]
        yield Chunk(name, start, min(end, len(data)), end <= len(data))
        if name == b"IEND":
            return
        start = end


def remove_needless(data: bytes) -> bytes:
    """Return the file without ancillary chunks that are not needed, damaged or too large."""
    parts, last = [data[: len(SIGNATURE)]], len(SIGNATURE)
    for chunk in list_chunks(data):
        if chunk.is_whole and chunk.name[0] & 0x20 and not _is_usable(chunk, data):
            parts.append(data[last : chunk.start])
            last = chunk.end
    return b"".join((*parts, data[last:])) if last > len(SIGNATURE) else data


def _is_usable(chunk: Chunk, data: bytes) -> bool:
    """Whether an ancillary chunk is needed, intact and of bearable size."""
    body = chunk.body(data)
    if chunk.name in TEXTS:
        if bytes(body[: len(EXIF_TEXT)]) != EXIF_TEXT:
            return False
    elif chunk.name not in NEEDED:
        return False
    (checksum,) = struct.unpack_from(">I", data, chunk.end - 4)
    if zlib.crc32(data[chunk.start + 4 : chunk.end - 4]) != checksum:
        return False
    if chunk.name in (b"iCCP", b"zTXt"):  # a name, a zero, the method, then compressed
        packed = bytes(body).partition(b"\0")[2]
        return packed[:1] == b"\0" and _can_inflate(packed[1:])
    return True


def _can_inflate(packed: bytes) -> bool:
    """Whether Pillow inflates this: it refuses what gets too large."""
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(packed, PngImagePlugin.MAX_TEXT_CHUNK)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail


def complete_rows(data: bytes, most_bytes: int) -> tuple[bytes, float] | None:
    """Complete a file that is cut within its pixels: missing rows repeat the last one.

    most_bytes: of all pixels. Also returns the share of rows that are missing, 0 to 1. Returns None
    for files that are not cut, and for interlaced ones, whose rows come in seven passes.
    """
    chunks = list(list_chunks(data))
    if not chunks or chunks[0].name != b"IHDR" or chunks[-1].name == b"IEND":
        return None
    head = bytes(chunks[0].body(data))
    if len(head) != 13:
        return None
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", head)
    stride = 1 + (width * CHANNELS.get(color, 4) * depth + 7) // 8
    if interlace or not height or stride * height > most_bytes:
        return None
    inflater, rows = zlib.decompressobj(), b""
    packed = b"".join(c.body(data) for c in chunks if c.name == b"IDAT")
    try:
        rows = inflater.decompress(packed, stride * height)
    except zlib.error:
        return None
    there = len(rows) // stride
    before = list(itertools.takewhile(lambda c: c.name != b"IDAT", chunks))
    missing = (b"\2" + bytes(stride - 1)) * (height - there)  # filter 2: as the row above
    parts = [data[c.start : c.end] for c in before]
    body = zlib.compress(rows[: there * stride] + missing, 1)
    parts += [write_chunk(b"IDAT", body), write_chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(parts), 1 - there / height


def write_chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
