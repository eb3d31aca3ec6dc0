"""RAW photographs, read by the preview that the camera embedded. Needs the extra `raw`: rawpy."""

from __future__ import annotations

import io
from importlib.util import find_spec

from PIL import Image

from search.errors import PictureError
from search.media import tiff

IS_INSTALLED = find_spec("rawpy") is not None
SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef"
    " .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
SIGNATURES = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\0MRM")
CANON = ((4, b"ftypcrx "), (6, b"HEAPCCDR"), (8, b"CR\2\0"))  # offsets of further signatures
TURNS = {3: 3, 5: 8, 6: 6}
"""How LibRaw says that a photograph is turned -> EXIF orientation."""


def is_raw(data: bytes) -> bool:
    """Whether a file holds what a sensor saw: by its first bytes, or by an image in a TIFF."""
    if data.startswith(SIGNATURES) or any(data.startswith(text, at) for at, text in CANON):
        return True
    return data.startswith(tiff.PREFIXES) and any(p.is_sensor for p in tiff.list_pages(data))


def extract_preview(data: bytes) -> tuple[bytes, int]:
    """Return the embedded preview as a file, and the EXIF orientation of the photograph, 1 to 8.

    Raises PictureError when there is no preview.
    """
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as photograph:
            preview, turn = photograph.extract_thumb(), TURNS.get(photograph.sizes.flip, 1)
    except rawpy.LibRawError as error:
        raise PictureError(f"the RAW file has no preview that can be read: {error}") from error
    if preview.format == rawpy.ThumbFormat.JPEG:
        return bytes(preview.data), turn
    out = io.BytesIO()
    Image.fromarray(preview.data).save(out, "BMP")
    return out.getvalue(), turn
