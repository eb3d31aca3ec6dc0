"""Kinds of files by name and first bytes, and folders that are no one's pictures."""

from __future__ import annotations

import os
import re
import stat

from search.media import films, raw
from search.media.films import is_film_name as is_film_name
from search.media.images import SUFFIXES
from search.media.subtitles import SUBTITLE_FORMATS

ENDINGS = frozenset(suffix[1:] for suffix in SUFFIXES)
NO_SUFFIX, LINK, OTHER, SYSTEM_FOLDER = "no_suffix", "link", "other", "system_folder"
KINDS: dict[str, frozenset[str]] = {
    "raw": frozenset(suffix[1:] for suffix in raw.SUFFIXES),
    "film": frozenset(suffix[1:] for suffix in films.SUFFIXES),
    "psd": frozenset(("psd", "psb")),
    "jxl": frozenset(("jxl",)),
    "svg": frozenset(("svg", "svgz")),
}
"""Kinds of files that are not read, and how their names end. RAW photographs and films are read
with their extras."""
NAMES = (*KINDS, NO_SUFFIX, LINK, OTHER, SYSTEM_FOLDER)
"""All kinds that are counted as left out, in the order in which they are shown."""

SUFFIX = re.compile(r"[a-z0-9_~+-]{1,12}")
# behind the ending of a picture stands a number, or what an address or a program appended
ODD = re.compile(rf"\.(?:{'|'.join(sorted(ENDINGS))})(?:[^a-z0-9.].*|\.\d+)$")
HEAD = 32  # bytes that tell a picture
BITMAP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"avif", b"avis"))

SYSTEM_FOLDERS = frozenset(
    "@eadir @recycle #recycle #snapshot $recycle.bin recycler recycled lost+found __macosx"
    " site-packages".split()
) | {"system volume information"}
"""Names, in lower case, of folders with bins, thumbnails and programs, on computers and NAS."""
DATA_ENDINGS = (".lrdata",)
BUNDLES = (".photoslibrary", ".photolibrary", ".aplibrary", ".migratedphotolibrary")
"""Endings of folders in which a program keeps photographs, and of these only..."""
BUNDLED = frozenset(("originals", "masters"))
"""... these folders are the user's."""
NO_MEDIA = ".nomedia"
HOME = frozenset(("catalog.sqlite", "thumbnails"))
"""What the folder of another library contains."""


def is_system_folder(name: str, parent: str) -> bool:
    """Whether a folder holds no pictures of the user, by its name and that of the one around it."""
    name, parent = name.lower(), parent.lower()
    if parent.endswith(BUNDLES):
        return name not in BUNDLED
    return name in SYSTEM_FOLDERS or name.endswith(DATA_ENDINGS)


def is_picture_name(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    stem, _, ending = name.lower().rpartition(".")
    return ending in ENDINGS and bool(stem)


def is_subtitle_name(name: str) -> bool:
    """Whether a name ends like that of subtitles beside a film; False without PyAV."""
    return films.IS_INSTALLED and name.lower().endswith(tuple(SUBTITLE_FORMATS))


def may_be_picture(name: str) -> bool:
    """Whether only its first bytes can tell what a file is: it has no suffix, or an odd one."""
    return not _suffix(name) or bool(ODD.search(name.lower()))


def name_kind(name: str) -> str:
    """Return the kind of a file that is not read, by its name."""
    suffix = _suffix(name)
    if not suffix:
        return NO_SUFFIX
    return next((kind for kind, endings in KINDS.items() if suffix in endings), OTHER)


def _suffix(name: str) -> str:
    """Return the suffix in lower case without the dot; "" for none, or for what cannot be one."""
    stem, dot, suffix = name.lower().rpartition(".")
    is_suffix = stem and dot and SUFFIX.fullmatch(suffix) and not suffix.isdecimal()
    return suffix if is_suffix else ""


def begins_as_picture(path: str) -> bool:
    """Whether a regular file begins as a picture does. Raises OSError if it cannot be read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        head = os.read(handle, HEAD) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)
    return is_picture_head(head)


def is_picture_head(head: bytes) -> bool:
    """Whether the first bytes of a file, `HEAD` of them, are those of a picture."""
    return (
        head.startswith(SIGNATURES)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4) and head[14:18] in BITMAP_HEADERS)
        or (head[4:8] == b"ftyp" and head[8:12] in BRANDS)
    )
