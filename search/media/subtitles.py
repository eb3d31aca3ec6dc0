"""Subtitles: texts of a film by their time, in its container or in files beside it. Needs the extra
`video`."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from search.errors import FilmError

if TYPE_CHECKING:
    import av

SUBTITLE_FORMATS = {".srt": "srt", ".ass": "ass", ".ssa": "ass", ".vtt": "webvtt"}
"""Endings of files of subtitles, and the demuxers that read them."""
MOST_WORDS = 2**20
"""Characters of subtitles of a part, or of a file of subtitles."""
MARKUP = re.compile(r"\{[^}]*\}|\\[Nnh]")
"""Marks of style in subtitles, and breaks of their lines."""


def read_subtitles(data: bytes, suffix: str) -> list[tuple[float, str]]:
    """Return the texts of a file of subtitles with their times in seconds.

    suffix: its ending, a key of `SUBTITLE_FORMATS`. Raises FilmError.
    """
    import av

    text = _decode_text(data)
    words, characters = list[tuple[float, str]](), 0
    options = {"protocol_whitelist": "none"}
    try:
        file = io.BytesIO(text.encode())
        demuxer = SUBTITLE_FORMATS[suffix]
        with av.open(file, "r", format=demuxer, options=options) as container:
            for packet in container.demux(container.streams.subtitles):
                if not packet.size or packet.pts is None or packet.time_base is None:
                    continue
                texts = read_texts(packet)
                characters += sum(map(len, texts))
                if characters > MOST_WORDS:
                    break
                words += [(float(packet.pts * packet.time_base), one) for one in texts]
    except MemoryError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise FilmError(f"not subtitles that can be read: {reason}", "not_a_film") from error
    return words


def _decode_text(data: bytes) -> str:
    """Return a text of an unknown encoding: UTF-8, UTF-16, else GB 18030 (common in China), else
    Windows-1252 (Western Europe)."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("cp1252", "replace")


def read_texts(packet: av.Packet[Any]) -> list[str]:
    """Return the texts of a packet of subtitles, without their marks; none for pictures."""
    try:
        decoded = packet.decode()
    except MemoryError:
        raise
    except Exception:  # a damaged one
        return []
    texts = []
    for one in decoded:
        value = getattr(one, "dialogue", None)
        if isinstance(value, bytes):
            text = " ".join(MARKUP.sub(" ", value.decode("utf-8", "replace")).split())
            if text:
                texts.append(text[:2000])
    return texts
