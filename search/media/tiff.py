"""TIFF: which of a file's images is the picture, and samples of more than 8 bits as brightness.

Pillow reads the first image, keeps the high byte of 16-bit colours, and has no notion of a range.
"""

from __future__ import annotations

import io
import struct
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin
from PIL.TiffImagePlugin import OPEN_INFO, ImageFileDirectory_v2, TiffImageFile

from search.types import Pixels

PREFIXES = tuple(TiffImagePlugin.PREFIXES)
MOST_PAGES = 1000  # that are looked at
REDUCED, MASK = 1, 4  # bits of the subfile type
SUBFILE, PHOTOMETRIC, SUB_IFDS, SAMPLE_FORMAT = 254, 262, 330, 339
SIGNED, LONG = 2, 4
ORIENTATION = 274
PARTS = {273, 279, 324, 325}  # offsets and sizes of strips and tiles
PLANE_TAGS = PARTS | {256, 257, 259, 266, 278, 317, 322, 323}  # that say how a plane is stored
SENSOR = (32803, 34892)  # photometric: a mosaic of colours, and linear light
DEPTHS = (1023, 4095, 16383, 65535)  # top values of 10, 12, 14 and 16 bits
INTEGER_TOPS = (255, *DEPTHS, 2**31 - 1, 2**32 - 1)
FLOAT_TOPS = (1, 255, *DEPTHS)
LITTLE, BIG = b"II", b"MM"
SWAPPED = "B" if sys.byteorder == "little" else "L"

GREY = {  # byte order, sample format, bits -> mode and raw mode: what Pillow can read of grey
    (LITTLE, 1, 16): ("I;16", "I;16"),
    (LITTLE, 2, 16): ("I", "I;16S"),
    (LITTLE, 1, 32): ("I", "I;32N" if sys.byteorder == "little" else "I;32"),
    (LITTLE, 2, 32): ("I", "I;32S"),
    (BIG, 1, 12): ("I;16", "I;12"),
    (BIG, 1, 16): ("I;16B", "I;16B"),
    (BIG, 2, 16): ("I", "I;16BS"),
    (BIG, 1, 32): ("I", "I;32B"),
    (BIG, 2, 32): ("I", "I;32BS"),
    (LITTLE, 3, 64): ("F", "F;64F"),
    (BIG, 3, 64): ("F", "F;64BF"),
}
for (mark, sample, depth), modes in GREY.items():
    for photometric in (0, 1):  # white or black is 0
        OPEN_INFO.setdefault((mark, photometric, (sample,), 1, (depth,), ()), modes)
WIDE = {(1, 32), (2, 32), (3, 32), (3, 64)}  # sample format, bits: colors that OpenCV reads
for mark in (LITTLE, BIG):
    for sample, depth in WIDE:
        for extra, mode in (((), "RGB"), ((0,), "RGBX"), ((1,), "RGBA"), ((2,), "RGBA")):
            bits = (depth,) * (3 + len(extra))
            # Pillow only opens them, by a raw mode that it does not have
            OPEN_INFO.setdefault((mark, 2, (sample,), 1, bits, extra), (mode, f"{mode};{depth}"))
NATIVE = {
    "I;16S": "I;16NS",
    "I;16BS": "I;16NS",
    "I;32B": "I;32N",
    "I;32BS": "I;32NS",
    "F;32F": "F;32NF",
    "F;32BF": "F;32NF",
    "F;64F": "F;64NF",
    "F;64BF": "F;64NF",
}
"""Raw modes in the byte order of this machine, in which libtiff returns samples."""


class Page(NamedTuple):
    """An image of a file. offset: of its directory in bytes. is_reduced: it is a thumbnail or a
    mask of another one. is_sensor: it is what the sensor of a camera saw."""

    offset: int
    width: int
    height: int
    is_reduced: bool
    is_sensor: bool


def list_pages(data: bytes) -> list[Page]:
    """List the images of a file, in order: each page, then the images below it.

    Images whose directory is broken are left out.
    """
    pages, waiting, offsets = list[Page](), [_first_offset(data)], set[int]()
    while waiting and len(offsets) < MOST_PAGES:
        offset = waiting.pop(0)
        if not 0 < offset < len(data) or offset in offsets:
            continue
        offsets.add(offset)
        directory = ImageFileDirectory_v2(data[:16] if _is_big(data) else data[:8])
        file = io.BytesIO(data)
        file.seek(offset)
        try:
            directory.load(file)
            width, height = int(directory[256]), int(directory[257])
            kind = int(directory.get(SUBFILE, 0))
            below = directory.get(SUB_IFDS, ())
        except Exception:  # a broken directory costs one image
            continue
        is_sensor = directory.get(PHOTOMETRIC) in SENSOR
        pages.append(Page(offset, width, height, bool(kind & (REDUCED | MASK)), is_sensor))
        below = below if isinstance(below, tuple) else (below,)
        waiting[:0] = [int(one) for one in below if isinstance(one, int)]
        waiting.append(int(directory.next or 0))
    return pages


def choose_pages(pages: list[Page]) -> list[Page]:
    """Return the images that are pages of their own: neither thumbnails nor reduced copies.

    An image of at most a quarter of the largest one's pixels counts as a reduced copy.
    """
    own = [page for page in pages if not page.is_reduced] or pages
    most = max((page.width * page.height for page in own), default=0)
    return [page for page in own if page.width * page.height * 4 > most]


def with_first_page(data: bytes, page: Page) -> bytes:
    """Return the file with a page as its first image."""
    if page.offset == _first_offset(data):
        return data
    mark = "<" if data[:2] == LITTLE else ">"
    if _is_big(data):
        return data[:8] + struct.pack(f"{mark}Q", page.offset) + data[16:]
    return data[:4] + struct.pack(f"{mark}I", page.offset) + data[8:]


def _is_big(data: bytes | bytearray) -> bool:
    """Whether a file is a BigTIFF."""
    return 43 in data[2:4]


def _first_offset(data: bytes) -> int:
    mark = "<" if data[:2] == LITTLE else ">"
    start, code = (8, "Q") if _is_big(data) else (4, "I")
    if len(data) < start + struct.calcsize(code):
        return 0
    return int(struct.unpack_from(mark + code, data, start)[0])


def load(picture: TiffImageFile) -> Image.Image:
    """Decode an opened file -> L or a colour mode, with samples of any depth scaled to 8 bits.

    A file that was decoded before is returned as it is. Raises what Pillow raises.
    """
    if not picture.tile:
        return picture
    if len(_bits(picture)) > 1 and max(_bits(picture)) > 16:
        return _load_wide_colors(picture)
    _mend_tiles(picture)
    if picture.mode.startswith(("I", "F")):
        picture.load()
        scaled = Image.fromarray(_scale_grey(picture))
        scaled.info.update(picture.info)
        return scaled
    if max(_bits(picture)) == 16:
        return _load_deep_colors(picture)
    picture.load()
    return picture


def _bits(picture: TiffImageFile) -> tuple[int, ...]:
    """Return the bits of each sample."""
    return tuple(picture.tag_v2.get(258, (1,)))


def pixel_bits(picture: TiffImageFile) -> int:
    """Return the bits of a pixel, or of one sample of it if the samples lie in planes."""
    bits = _bits(picture)
    return max(bits) if picture.tag_v2.get(284, 1) == 2 else sum(bits)


def _mend_tiles(picture: TiffImageFile, low: bool = False) -> None:
    """Correct how Pillow unpacks samples of more than 8 bits.

    low: read the low byte of 16-bit colours instead of the high one, where there is a way to.
    """
    tags, planes = picture.tag_v2, picture.tag_v2.get(284, 1) == 2
    order = "L" if tags.prefix == LITTLE else "B"
    for i, tile in enumerate(picture.tile):
        raw, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if tile.codec_name == "libtiff":
            raw = NATIVE.get(raw, raw)
            order = "N"
        elif planes and len(_bits(picture)) == 1:  # Pillow takes a letter of the raw mode
            key = (tags.get(262, 0), (*tags.get(SAMPLE_FORMAT, (1,)),), tags.get(266, 1))
            raw = OPEN_INFO[(tags.prefix, *key, _bits(picture), ())][1]
        elif planes and max(_bits(picture)) == 16:
            raw = f"{raw};16{order}"
        if low and raw.endswith(f";16{order}"):
            raw = raw[:-1] + (SWAPPED if order == "N" else "B" if order == "L" else "L")
        picture.tile[i] = tile._replace(args=(raw, *rest))


def _scale_grey(picture: TiffImageFile) -> Pixels:
    """Scale the decoded samples of a grey picture to 0 (black) ... 255 (white), (H, W)."""
    tags, values = picture.tag_v2, np.asarray(picture)
    bits, is_float = max(_bits(picture)), picture.mode == "F"
    is_signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    if bits == 32 and not is_signed and not is_float:
        values = values.view(np.uint32)
    grey = _scale(values, *_choose_range(values, bits, is_signed, is_float))
    return np.invert(grey) if tags.get(PHOTOMETRIC) == 0 else grey


def _scale(values: npt.NDArray[np.generic], least: float, top: float) -> Pixels:
    """Scale samples from least ... top to 0 ... 255."""
    scaled = (values.astype(np.float32) - least) * (255 / (top - least))
    levels: Pixels = (
        np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).clip(0, 255).astype(np.uint8)
    )
    return levels


def _choose_range(
    values: npt.NDArray[np.generic], bits: int, is_signed: bool, is_float: bool
) -> tuple[float, float]:
    """Return the values of black and white.

    They are those of a usual depth that the values fill to more than a quarter, else the real
    range of the values, of floats without the 0.1 % at each end.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0, 1
    low, high = float(finite.min()), float(finite.max())
    if bits < 16:
        return 0, 2**bits - 1
    if bits == 16 and low >= 0:
        if high <= 255:
            return 0, 255 if is_signed else 65535
        depths = (*DEPTHS[:-1], 32767) if is_signed else DEPTHS
        return 0, next(top for top in depths if high <= top)
    for top in FLOAT_TOPS if is_float else INTEGER_TOPS:
        if low >= 0 and high <= top and (high - low) * 4 > top:
            return 0, top
    if is_float:  # a few of them may be far away, as the sun is
        low, high = np.percentile(finite[:: 1 + finite.size // 2**20], (0.1, 99.9))
    low = 0 if 0 <= low * 4 < high else low  # black is likely 0
    return float(low), float(max(high, low + 1e-6))


def _load_deep_colors(picture: TiffImageFile) -> Image.Image:
    """Decode a picture of 16-bit colours. Fewer bits in 16, as of scanners, are scaled as such."""
    file = picture.fp
    picture.load()
    high = np.asarray(picture)
    top = next(top for top in DEPTHS if high.max(initial=0) <= top >> 8)
    if top == DEPTHS[-1] or not isinstance(file, io.BytesIO):
        return picture
    other = TiffImageFile(io.BytesIO(file.getvalue()))
    _mend_tiles(other, low=True)
    other.load()
    values = high.astype(np.uint16) << 8 | np.asarray(other)
    if values.max(initial=0) <= 255:  # nearly black in any depth
        return picture
    scaled = Image.fromarray((values * (255 / top)).clip(0, 255).astype(np.uint8), picture.mode)
    scaled.info.update(picture.info)
    return scaled


def _load_wide_colors(picture: TiffImageFile) -> Image.Image:
    """Decode a picture of colors with samples of 32 or 64 bits, which all have one range."""
    tags, samples = picture.tag_v2, len(_bits(picture))
    in_planes = tags.get(284, 1) == 2
    if in_planes:
        values = np.dstack([_read_plane(picture, plane, samples) for plane in range(samples)])
    else:
        values = _read_pixels(picture)
    sample_format = tags.get(SAMPLE_FORMAT, (1,))[0]
    if sample_format == 1:
        values = values.view(np.uint32)
    colors, is_float = values[..., :3], sample_format == 3
    pixels = _scale(colors, *_choose_range(colors, 32, sample_format == SIGNED, is_float))
    if picture.mode == "RGBA":
        opaque = 1.0 if is_float else float(np.iinfo(values.dtype).max)
        pixels = np.dstack([pixels, _scale(values[..., 3], 0, opaque)])
    scaled = Image.fromarray(np.ascontiguousarray(pixels))
    scaled.info.update(picture.info)
    if in_planes:  # OpenCV turns what it reads
        scaled.getexif()[ORIENTATION] = tags.get(ORIENTATION, 1)
    return ImageOps.exif_transpose(scaled)


def _file_bytes(picture: TiffImageFile) -> bytes:
    """Return the bytes of an opened file."""
    if not isinstance(picture.fp, io.BytesIO):
        raise ValueError("it was not opened from bytes")
    return picture.fp.getvalue()


def _read_pixels(picture: TiffImageFile) -> npt.NDArray[Any]:
    """Return the upright samples of a picture whose samples lie together, (H, W, samples)."""
    import cv2  # for few pictures, and slow to import

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    data = np.frombuffer(_file_bytes(picture), np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3:
        raise ValueError("its samples cannot be read")
    return np.ascontiguousarray(values[..., [2, 1, 0, 3][: values.shape[2]]])


def _read_plane(picture: TiffImageFile, plane: int, samples: int) -> npt.NDArray[Any]:
    """Return one sample of each pixel of a picture whose samples lie in planes, (H, W).

    Pillow reads the plane through a directory that describes it as a grey picture.
    """
    data = bytearray(_file_bytes(picture))
    if _is_big(data[:4]):
        raise ValueError("a BigTIFF whose samples of 32 bits lie in planes cannot be read")
    tags, mark = picture.tag_v2, "<" if picture.tag_v2.prefix == LITTLE else ">"
    entries = {258: (_bits(picture)[0],), 277: (1,), PHOTOMETRIC: (1,)}
    entries[SAMPLE_FORMAT] = tags.get(SAMPLE_FORMAT, (1,))[:1]
    for tag in PLANE_TAGS & set(tags):
        value = tags[tag] if isinstance(tags[tag], tuple) else (tags[tag],)
        each = len(value) // samples
        entries[tag] = value[plane * each : (plane + 1) * each] if tag in PARTS else value
    rows = b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"{mark}{len(values)}I", *values)
        if len(values) > 1:
            packed, place = struct.pack(f"{mark}I", len(data)), packed
            data += place
        rows += struct.pack(f"{mark}HHI", tag, LONG, len(values)) + packed
    page = Page(len(data), 0, 0, False, False)
    data += struct.pack(f"{mark}H", len(entries)) + rows + bytes(4)
    grey = TiffImageFile(io.BytesIO(with_first_page(bytes(data), page)))
    _mend_tiles(grey)
    grey.load()
    return np.asarray(grey)
