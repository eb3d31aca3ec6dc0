"""An opened picture -> an upright RGB picture within limits; its hashes; its thumbnail.

Pillow does the decoding; `search.media.reading` chooses what to decode. Nothing here trusts its
input, and all of it runs in the decoding processes of `search.media.decoder_pool`, where a crash or
a hang costs one picture.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from search.errors import PictureError, SizeError
from search.media import heif, png, raw, tiff
from search.media.content import choose_background
from search.media.rules import Crop, Limits

pillow_heif.register_heif_opener(thumbnails=False)

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .pjpeg .pjp .mpo .png .apng .webp .gif .tif .tiff .bmp .dib"
    " .heic .heif .hif .avif".split()
)
if raw.IS_INSTALLED:
    SUFFIXES |= raw.SUFFIXES
if find_spec("pillow_jxl"):  # a plugin of Pillow, which registers itself
    import_module("pillow_jxl")
    FORMATS, SUFFIXES = (*FORMATS, "JXL"), SUFFIXES | {".jxl"}
SHORT, LONG = 512, 2048
THUMBNAIL = 256
PREVIEW = 1600
ORIENTATION = tiff.ORIENTATION  # EXIF has the tags of TIFF
XMP = ("xmp", "XML:com.adobe.xmp")
KEPT_XMP = "xmp for descriptions"
"""Key in the `info` of a picture of its XMP, after `orientation`."""
SCALES = (8, 4, 2)  # at which a JPEG can be decoded without its full pixels
MOST_SCALED = 4  # times the limit: the most pixels of a JPEG that is decoded at such a scale
GREY_MODES = ("L", "LA", "La", "1", "I;16", "I;16B")


def content_hash(data: bytes) -> str:
    """SHA-256 of the bytes, hexadecimal: the id of the picture."""
    return hashlib.sha256(data).hexdigest()


def pixel_hash(normalized: Image.Image) -> str:
    """SHA-256 of size and pixels of an RGB picture: the same when only metadata differs."""
    head = f"{normalized.width}x{normalized.height}:".encode()
    return hashlib.sha256(head + normalized.tobytes()).hexdigest()


def identify(data: bytes, limits: Limits, page: int = 0) -> Image.Image:
    """Open a picture without decoding it.

    page: of the pages of a TIFF, from 0; thumbnails and reduced copies are not pages. Raises
    PictureError, SizeError beyond the limits.
    """
    if not data:
        raise PictureError("the file is empty")
    if len(data) > limits.bytes:
        raise SizeError(f"the file has {len(data)} bytes, more than the limit {limits.bytes}")
    if data.startswith(png.SIGNATURE):
        data = png.remove_needless(data)
    elif data.startswith(tiff.PREFIXES):
        pages = tiff.choose_pages(tiff.list_pages(data))
        data = tiff.with_first_page(data, pages[page]) if pages else data
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if picture.format == "HEIF":
                heif.restore_orientation(picture, data)
    except Image.DecompressionBombError:
        raise SizeError(f"it has more pixels than the limit {limits.pixels}") from None
    except MemoryError:
        raise
    except Exception as error:
        raise PictureError(
            "not a picture that can be read; JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC and AVIF can"
        ) from error
    width, height = picture.size
    scale = _scale_of_jpeg(width, height) if picture.format in ("JPEG", "MPO") else 1
    most = limits.pixels * (MOST_SCALED if scale > 1 else 1)
    if width * height > most:
        raise SizeError(f"it has {width} x {height} pixels, more than {most}")
    if max(width, height) > limits.side:
        raise SizeError(f"it has {width} x {height} pixels; a side may have {limits.side} at most")
    size = width * height * _pixel_bytes(picture) // scale**2
    if size > limits.decoded:
        raise SizeError(f"decoded it has {size} bytes, more than the limit {limits.decoded}")
    return picture


def _scale_of_jpeg(width: int, height: int) -> int:
    """Return by how much the sides can be divided when decoding."""
    least = scale_to_limits(width, height)
    return next((n for n in SCALES if width >= least[0] * n and height >= least[1] * n), 1)


def _pixel_bytes(picture: Image.Image) -> int:
    """Bytes of a pixel as the file has it. Pillow keeps 16 bits of a colour as 8."""
    tiles = getattr(picture, "tile", None)  # some formats have none
    arguments = tiles[0][3] if tiles else picture.mode
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else ""
    layout = f"{picture.mode} {arguments}"
    depth = next((bits for bits in (64, 32, 16) if f";{bits}" in layout), 8)
    if picture.mode in ("I", "F"):
        depth = max(depth, 32)
    return len(picture.getbands()) * depth // 8


def orientation(picture: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where there is none, it is nonsense or the codec sees to it.

    An orientation in XMP alone counts as none, as in browsers.
    """
    for name in XMP:  # Pillow would read it
        if (data := picture.info.pop(name, None)) is not None:
            picture.info[KEPT_XMP] = data
    if picture.format == "TIFF":  # Pillow turns it when it loads, and swaps its size before
        return 1
    try:
        with warnings.catch_warnings(action="ignore"):
            value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF is often broken and never essential
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height as the picture is meant to be seen; call before decoding."""
    width, height = picture.size
    return (height, width) if orientation(picture) >= 5 else (width, height)


def scale_to_limits(
    width: float, height: float, short: int = SHORT, long: int = LONG
) -> tuple[int, int]:
    """Return the size of a normalized image in pixels: never larger than the original.

    short, long: most pixels of the short and the long side.
    """
    scale = min(1.0, short / min(width, height), long / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def render(
    picture: Image.Image, crop: Crop | None = None, short: int = SHORT, long: int = LONG
) -> Image.Image:
    """Normalize an opened picture: upright sRGB, its present frame, scaled as `scale_to_limits`
    says. Transparent artwork is laid over white, or over black if it is white itself.

    A crop is cut before scaling. A picture of a file may be left decoded at a smaller size. Raises
    PictureError when the pixels cannot be decoded.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return _render(picture, crop, short, long)
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # codecs raise whatever they like
        raise PictureError(f"broken {picture.format or 'picture'}: {error}") from error


def _render(picture: Image.Image, crop: Crop | None, short: int, long: int) -> Image.Image:
    turn = orientation(picture)
    width, height = upright_size(picture)
    box = crop.box(width, height) if crop else (0.0, 0.0, float(width), float(height))
    target = scale_to_limits(box[2] - box[0], box[3] - box[1], short, long)
    if picture.format in ("JPEG", "MPO"):  # decode at 1/2, 1/4 or 1/8 where that is enough
        share = target[0] / (box[2] - box[0])
        picture.draft(None, (math.ceil(picture.width * share), math.ceil(picture.height * share)))
    if isinstance(picture, TiffImageFile):
        picture = tiff.load(picture)
    else:
        picture.load()
    profile, is_grey = picture.info.get("icc_profile"), picture.mode in GREY_MODES
    picture = _scalable(picture)
    if crop:
        picture = _upright(picture, turn)
        fx, fy = picture.width / width, picture.height / height
        box = (box[0] * fx, box[1] * fy, box[2] * fx, box[3] * fy)
    else:
        target = (target[1], target[0]) if turn >= 5 else target
        box = (0.0, 0.0, float(picture.width), float(picture.height))
    if crop or picture.size != target:
        picture = picture.resize(target, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    if not crop:
        picture = _upright(picture, turn)
    if picture.mode == "RGBA":
        alpha = picture.getchannel("A")
        colors = picture.getchannel("R") if is_grey else picture.convert("RGB")
        colors = _to_srgb(colors, profile)
        color = choose_background(np.asarray(colors), np.asarray(alpha))
        background = Image.new("RGB", picture.size, (color,) * 3)
        background.paste(colors, mask=alpha)
        return background
    return _to_srgb(picture, profile)


def _scalable(picture: Image.Image) -> Image.Image:
    """Any mode -> L, RGB, RGBA or CMYK."""
    if picture.mode in ("L", "RGB", "CMYK") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a channel, and not of a TIFF
        values = np.asarray(picture).astype(np.float32)
        most = float(values.max(where=np.isfinite(values), initial=0.0))
        values = np.nan_to_num(values, nan=0.0, posinf=most)
        tops = (65535.0,) if picture.mode.startswith("I") else (1.0, 255.0, 65535.0)
        top = next((t for t in tops if most <= t), most)
        return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _upright(picture: Image.Image, turn: int) -> Image.Image:
    if turn == 1:
        return picture
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    picture = picture.copy()
    picture.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(picture)


def thumbnail(normalized: Image.Image) -> bytes:
    """Encode a normalized image as WebP, long side at most 256 pixels."""
    small = normalized.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=78, method=1)
    return out.getvalue()


def preview(picture: Image.Image) -> bytes:
    """An opened picture -> JPEG that any browser shows, long side at most 1600, no metadata."""
    out = io.BytesIO()
    render(picture, short=PREVIEW, long=PREVIEW).save(out, "JPEG", quality=88)
    return out.getvalue()


def _to_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """L, RGB or CMYK under its profile -> RGB as a browser shows it. Without a profile that fits
    the mode and can be read, the numbers are taken for sRGB."""
    transform = _transform(profile, picture.mode) if isinstance(profile, bytes) else None
    if transform is not None:
        converted = ImageCms.applyTransform(picture, transform)
        if converted is not None:
            converted.info.pop("icc_profile", None)
            return converted
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None for sRGB, for a profile of another mode, and for a broken one."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        if "sRGB" in ImageCms.getProfileDescription(own):
            return None
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
