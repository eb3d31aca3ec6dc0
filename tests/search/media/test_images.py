"""Any picture becomes upright RGB of a bounded size; anything else is a PictureError."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms, ImageDraw

from search.errors import PictureError, SizeError
from search.media import images
from search.media.content import is_low_content
from search.media.rules import Crop, Limits

LIMITS = Limits()
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
TURNED = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")
ALPHA = ("PNG", "WEBP", "TIFF", "HEIF", "AVIF")
T = Image.Transpose
STORED = {  # EXIF orientation -> how an upright picture lies in the file
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def rendered(data, crop=None, limits=LIMITS):
    return images.render(images.identify(data, limits), crop)


def quarters(width=60, height=40):
    """Four colours, so that every turn and every flip is another picture."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255, 0, 0
    pixels[: height // 2, width // 2 :] = 0, 255, 0
    pixels[height // 2 :, : width // 2] = 0, 0, 255
    return Image.fromarray(pixels)


def noise(width, height, seed=0):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def distance(one, other):
    """Mean absolute difference of two pictures of one size, in grey levels."""
    assert one.size == other.size
    a, b = (np.asarray(p.convert("RGB")).astype(float) for p in (one, other))
    return np.abs(a - b).mean()


def png(width, height, depth, colour, rows, *chunks):
    """A PNG as written by hand: colour type, scan lines, further chunks before the pixels."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    extra = b"".join(chunk(name, body) for name, body in chunks)
    pixels = chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + pixels + chunk(b"IEND", b"")


def tiff(pixels, photometric, sample_format=1, mark="<"):
    """An uncompressed TIFF of (height, width, samples) of any type, as written by hand."""
    height, width, samples = pixels.shape
    bits = pixels.dtype.itemsize * 8
    body = pixels.astype(pixels.dtype.newbyteorder(mark)).tobytes()
    long = struct.pack(f"{mark}{samples}H", *[bits] * samples)
    start = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, start if samples > 2 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, start + len(long)),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(body)),
        (339, 3, 1, sample_format),
    ]
    out = (b"II*\0" if mark == "<" else b"MM\0*") + struct.pack(f"{mark}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        code = "HH2x" if kind == 3 and count == 1 else "HI"
        code = {"HH2x": "HHIH2x", "HI": "HHII"}[code]
        out += struct.pack(mark + code, tag, kind, count, value)
    return out + struct.pack(f"{mark}I", 0) + long + body


RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))  # (64, 64), black to white
GREY = Image.fromarray(RAMP)
RGB = GREY.convert("RGB")
DEEP = RAMP.astype(np.uint16) * 257
UNIT = RAMP.astype(np.float32) / 255


def of_png16(channels):
    deep = np.repeat(DEEP[:, :, None], channels, axis=2).astype(">u2")
    return b"".join(b"\0" + row.tobytes() for row in deep)


def holed():
    values = UNIT.copy()
    values[0, :3] = np.nan, np.inf, -np.inf
    return values


def rle():
    """A run-length encoded BMP, 64 x 64, by hand: Pillow reads but does not write it."""
    rows = b"".join(b"".join(b"\1" + bytes([v]) for v in row) + b"\0\0" for row in RAMP[::-1])
    body, palette = rows[:-2] + b"\0\1", b"".join(bytes([v, v, v, 0]) for v in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 64, 64, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + head + palette + body


RAMPS = {
    "grey JPEG": encoded(GREY, "JPEG", quality=95),
    "CMYK JPEG": encoded(RGB.convert("CMYK"), "JPEG", quality=95),
    "progressive JPEG": encoded(RGB, "JPEG", quality=95, progressive=True),
    "grey PNG": encoded(GREY, "PNG"),
    "palette PNG": encoded(GREY.convert("P"), "PNG"),
    "16-bit grey PNG": encoded(Image.fromarray(DEEP), "PNG"),
    "16-bit RGB PNG": png(64, 64, 16, 2, of_png16(3)),
    "grey WebP": encoded(GREY, "WEBP", lossless=True),
    "palette GIF": encoded(GREY.convert("P"), "GIF"),
    "RLE BMP": rle(),
    "palette BMP": encoded(GREY.convert("P"), "BMP"),
    "grey TIFF": encoded(GREY, "TIFF"),
    "palette TIFF": encoded(GREY.convert("P"), "TIFF"),
    "YCbCr TIFF": encoded(RGB.convert("YCbCr"), "TIFF"),
    "CMYK TIFF": encoded(RGB.convert("CMYK"), "TIFF"),
    "LZW TIFF": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encoded(RGB, "TIFF", compression="jpeg", quality=95),
    "16-bit TIFF": tiff(DEEP[:, :, None], 1),
    "16-bit TIFF, big-endian": tiff(DEEP[:, :, None], 1, mark=">"),
    "16-bit RGB TIFF": tiff(np.repeat(DEEP[:, :, None], 3, axis=2), 2),
    "32-bit TIFF": tiff((DEEP.astype(np.int32) << 15)[:, :, None], 1, 2),
    "float TIFF to 1": tiff(UNIT[:, :, None], 1, 3),
    "float TIFF to 255": tiff(UNIT[:, :, None] * 255, 1, 3),
    "float TIFF to 65535": tiff(UNIT[:, :, None] * 65535, 1, 3),
    "float TIFF with holes": tiff(holed()[:, :, None], 1, 3),
    "grey HEIC": encoded(GREY, "HEIF", quality=95),
    "grey AVIF": encoded(GREY, "AVIF", quality=95),
}


@pytest.mark.parametrize("name", RAMPS)
def test_every_kind_of_pixel_becomes_the_same_rgb(name):
    result = rendered(RAMPS[name])
    assert result.mode == "RGB"
    assert distance(result, RGB) < 2


@pytest.mark.parametrize(
    "pixels, top", [(DEEP // 300, 65535), (UNIT * 200, 255), (UNIT * 50000, 65535)]
)
def test_a_dark_picture_stays_dark(pixels, top):
    data = tiff(pixels[:, :, None], 1, 3 if pixels.dtype == np.float32 else 1)
    expected = Image.fromarray((pixels / top * 255).astype(np.uint8))
    assert distance(rendered(data), expected) < 1


@pytest.mark.parametrize("kind", ("PNG", "TIFF", "BMP", "GIF"))
def test_one_bit_is_black_and_white(kind):
    step = GREY.point(lambda v: 255 if v >= 128 else 0).convert("1")
    assert distance(rendered(encoded(step, kind)), step) == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_to_rgb(kind):
    picture = quarters()
    result = rendered(encoded(picture, kind))
    assert result.mode == "RGB"
    assert distance(result, picture) < 8


@pytest.mark.parametrize("kind", ("MPO", "PNG", "WEBP", "GIF", "TIFF", "HEIF", "AVIF"))
def test_only_the_first_frame_counts(kind):
    first, second = quarters(), quarters().transpose(T.ROTATE_180)
    data = encoded(first, kind, save_all=True, append_images=[second])
    assert images.identify(data, LIMITS).n_frames == 2
    assert distance(rendered(data), first) < 8


@pytest.mark.parametrize("crop", (None, Crop(3, 2, 40, 30)), ids=("whole", "crop"))
@pytest.mark.parametrize("kind", (*TURNED, "TIFF LZW"))
@pytest.mark.parametrize("turn", STORED)
def test_a_turned_picture_is_turned_upright(turn, kind, crop):
    exif = Image.Exif()
    exif[images.ORIENTATION] = turn
    upright = quarters()
    stored = upright if STORED[turn] is None else upright.transpose(STORED[turn])
    options = {"compression": "tiff_lzw"} if kind == "TIFF LZW" else {}
    opened = images.identify(
        encoded(stored, kind.split()[0], exif=exif.tobytes(), **options), LIMITS
    )
    assert images.upright_size(opened) == upright.size
    expected = upright.crop((3, 2, 43, 32)) if crop else upright
    assert distance(images.render(opened, crop), expected) < 12


@pytest.mark.parametrize("turn", (6, 7))
def test_a_large_turned_jpeg_is_upright_when_scaled(turn):
    exif = Image.Exif()
    exif[images.ORIENTATION] = turn
    upright = quarters(1800, 1200)
    data = encoded(upright.transpose(STORED[turn]), "JPEG", exif=exif)
    assert distance(rendered(data), upright.resize((768, 512))) < 4
    crop = Crop(300, 0, 1500, 1200)
    expected = upright.crop((300, 0, 1800, 1200)).resize((640, 512))
    assert distance(rendered(data, crop), expected) < 4


@pytest.mark.parametrize("value", (0, 9, 4242))
def test_an_impossible_orientation_is_none(value):
    exif = Image.Exif()
    exif[images.ORIENTATION] = value
    opened = images.identify(encoded(quarters(), "JPEG", exif=exif), LIMITS)
    assert images.orientation(opened) == 1


def test_orientation_is_found_behind_the_pixels_of_a_png():
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    data = encoded(quarters().transpose(T.ROTATE_90), "PNG")
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    assert distance(rendered(data[:-12] + chunk + data[-12:]), quarters()) == 0


def veils():
    """Black under an alpha that rises from nothing to full: over white, it goes white to black."""
    veil = Image.merge("LA", (Image.new("L", (64, 64)), GREY))
    for kind in ALPHA:
        yield (
            kind,
            encoded(veil.convert("RGBA"), kind, **({} if kind == "TIFF" else {"quality": 95})),
        )
    yield "grey PNG", encoded(veil, "PNG")
    deep = np.stack([DEEP * 0] * 3 + [DEEP], axis=2).astype(">u2")
    yield "16-bit PNG", png(64, 64, 16, 6, b"".join(b"\0" + row.tobytes() for row in deep))
    palette = Image.frombytes("P", (64, 64), RAMP.tobytes())
    palette.putpalette([0] * 768)
    yield "palette PNG", encoded(palette, "PNG", transparency=bytes(range(256)))


def test_alpha_is_laid_over_white():
    expected = Image.fromarray(255 - RAMP)
    far = {name: distance(rendered(data), expected) for name, data in veils()}
    assert {name: d for name, d in far.items() if d > 2} == {}


@pytest.mark.parametrize("mode", ("1", "L", "P", "RGB"))
def test_a_transparent_colour_is_white(mode):
    black = Image.new(mode, (8, 8))
    transparent = (0, 0, 0) if mode == "RGB" else 0
    assert rendered(encoded(black, "PNG", transparency=transparent)).getpixel((4, 4)) == (255,) * 3
    if mode in ("L", "P"):
        assert rendered(encoded(black, "GIF", transparency=0)).getpixel((4, 4)) == (255,) * 3


def test_colours_under_full_transparency_do_not_bleed_when_scaled():
    pixels = np.zeros((1024, 1024, 4), np.uint8)
    pixels[:, :, 0] = 255  # red everywhere, but seen nowhere
    assert rendered(encoded(Image.fromarray(pixels), "PNG")).getextrema() == ((255, 255),) * 3


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_a_normalized_image_fits_keeps_its_shape_and_is_never_enlarged(width, height):
    w, h = images.scale_to_limits(width, height)
    assert 1 <= w <= width and 1 <= h <= height
    assert min(w, h) <= images.SHORT and max(w, h) <= images.LONG
    assert (w, h) == (width, height) or max(
        min(w, h) / images.SHORT, max(w, h) / images.LONG
    ) == pytest.approx(1)
    assert abs(w * height - h * width) <= max(width, height)  # half a pixel of rounding a side


@pytest.mark.parametrize("kind", sorted({*FORMATS} - {"HEIF"}))  # x265 writes no such shapes
@pytest.mark.parametrize(
    "size, expected",
    [((1, 1), (1, 1)), ((1, 10000), (1, 2048)), ((10000, 1), (2048, 1)), ((1100, 700), (805, 512))],
)
def test_normalized_images_of_extreme_shapes(kind, size, expected):
    picture = Image.new("RGB", size, (200, 100, 50))
    result = rendered(encoded(picture, kind))
    assert result.size == expected
    assert distance(result, Image.new("RGB", expected, (200, 100, 50))) < 4


def test_a_large_jpeg_is_never_decoded_whole():
    data = encoded(quarters(6000, 4000), "JPEG")
    opened = images.identify(data, LIMITS)
    result = images.render(opened)
    assert opened.size == (1500, 1000)  # a quarter: the smallest that need not be enlarged
    assert distance(result, quarters(768, 512)) < 3
    opened = images.identify(data, LIMITS)
    assert images.render(opened, Crop(0, 0, 3000, 2000)).size == (768, 512)
    assert opened.size == (3000, 2000)


def test_a_crop_is_cut_before_scaling():
    picture = noise(3000, 2000)
    crop = Crop(2101, 1203, 300, 200)
    assert (
        distance(rendered(encoded(picture, "PNG"), crop), picture.crop((2101, 1203, 2401, 1403)))
        == 0
    )
    jpeg = encoded(picture, "JPEG", quality=95)
    part = Image.open(io.BytesIO(jpeg)).crop((2101, 1203, 2401, 1403))
    assert distance(rendered(jpeg, crop), part) == 0


def test_a_crop_in_shares_is_the_one_in_pixels():
    data = encoded(noise(200, 100), "PNG")
    shares = Crop(0.25, 0.5, 0.5, 0.5, (True,) * 4)
    assert rendered(data, shares).tobytes() == rendered(data, Crop(50, 50, 100, 50)).tobytes()
    mixed = Crop(50, 0.5, 0.5, 50, (False, True, True, False))
    assert rendered(data, mixed).tobytes() == rendered(data, shares).tobytes()


@pytest.mark.parametrize(
    "box",
    [
        (-1, 0, 10, 10),
        (0, 0, 0, 10),
        (0, 0, 10, 0.5),
        (0, 0, 102, 50),
        (60, 0, 60, 10),
        (100, 0, 1, 10),
        (0, 50, 10, 1),
        (0, 0, float("nan"), 10),
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), 10),
    ],
)
def test_a_crop_beyond_the_picture_is_refused(box):
    with pytest.raises(PictureError, match="crop .* is not within the picture of 100 x 50"):
        rendered(encoded(noise(100, 50), "PNG"), Crop(*box))


def test_a_crop_may_end_a_rounding_beyond_the_edge():
    assert Crop(66.7, 0, 33.4, 50).box(100, 50) == (66.7, 0, 100, 50)


# What is not a picture


NONSENSE = {
    "empty": b"",
    "text": b"Not a picture, but text.\n" * 10,
    "zeros": bytes(1000),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n" + bytes(100),
    "PPM": b"P6 1 1 255 abc",  # Pillow could: not one of ours
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    **{f"head of {kind}": encoded(quarters(), kind)[:16] for kind in FORMATS},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_picture_is_refused(name):
    with pytest.raises(PictureError):
        images.identify(NONSENSE[name], LIMITS)


WHOLE = {
    **{kind: encoded(noise(90, 60), kind) for kind in FORMATS},
    "progressive JPEG": encoded(noise(90, 60), "JPEG", progressive=True),
    "scaled JPEG": encoded(noise(1040, 1040), "JPEG", quality=40),
    "RLE BMP": rle(),
    "LZW TIFF": encoded(noise(90, 60), "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encoded(noise(90, 60), "TIFF", compression="jpeg"),
    "lossless WebP": encoded(noise(90, 60), "WEBP", lossless=True),
    "16-bit PNG": png(
        40, 40, 16, 2, b"".join(b"\0" + noise(80, 1, y).tobytes() for y in range(40))
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_truncated_picture_is_refused_and_never_half_a_picture(name):
    data = WHOLE[name]
    whole = rendered(data).tobytes()
    for cut in range(0, len(data) * 7 // 8, len(data) // 24):
        with pytest.raises(PictureError):
            rendered(data[:cut])
    for cut in range(len(data) - 40, len(data)):
        try:
            assert rendered(data[:cut]).tobytes() == whole  # what was cut held no pixels
        except PictureError:
            pass


@pytest.mark.parametrize(
    "width, height", [(65535, 65535), (2**31 - 1, 2**31 - 1), (178_956_971, 1), (14000, 13000)]
)
def test_a_picture_that_claims_too_many_pixels_is_refused(width, height):
    with pytest.raises(PictureError, match="pixels|not a picture"):
        images.identify(png(width, height, 8, 2, b""), LIMITS)


def test_a_bomb_is_refused_before_it_is_decoded():
    bomb = png(20000, 20000, 1, 0, bytes(2501 * 20000))
    assert len(bomb) < 10**6
    with pytest.raises(PictureError, match="more pixels than the limit"):
        images.identify(bomb, LIMITS)


@pytest.mark.parametrize(("width", "height"), [(1, 178_000_000), (178_000_000, 1), (65_536, 1)])
def test_a_side_is_limited_since_each_row_costs_time(width, height):
    """346 KB of it took 11 s to decode."""
    with pytest.raises(SizeError, match="a side may have 65535 at most"):
        images.identify(png(width, height, 8, 0, b""), LIMITS)
    images.identify(png(min(width, 65_535), min(height, 65_535), 8, 0, b""), LIMITS)


def test_the_bytes_of_the_pixels_are_limited():
    images.identify(png(12_000, 12_000, 8, 6, b""), LIMITS)
    with pytest.raises(SizeError, match="decoded it has 1152000000 bytes"):
        images.identify(png(12_000, 12_000, 16, 6, b""), LIMITS)
    for mode, size in (("F", 4), ("I;16", 2), ("RGB", 3), ("CMYK", 4), ("L", 1)):
        out = io.BytesIO()
        Image.new(mode, (60, 40)).save(out, "TIFF")
        images.identify(out.getvalue(), Limits(decoded=2400 * size))
        with pytest.raises(SizeError, match=f"decoded it has {2400 * size} bytes"):
            images.identify(out.getvalue(), Limits(decoded=2400 * size - 1))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_limits_are_the_callers(kind):
    data = encoded(quarters(), kind)
    images.identify(data, Limits(pixels=2400, bytes=len(data)))
    with pytest.raises(PictureError, match="60 x 40 pixels, more than 2399"):
        images.identify(data, Limits(pixels=2399))
    with pytest.raises(PictureError, match=f"{len(data)} bytes, more than the limit"):
        images.identify(data, Limits(bytes=len(data) - 1))


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"))
@pytest.mark.parametrize(
    "junk", (b"junk", b"\xff" * 300, b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff")
)
def test_broken_metadata_does_no_harm(kind, junk):
    for name in ("icc_profile", "xmp", "exif"):
        if kind == "TIFF" and name == "exif" or kind == "AVIF" and name != "xmp":
            continue  # the writer itself refuses
        data = encoded(quarters(), kind, **{name: b"Exif\0\0" + junk if name == "exif" else junk})
        assert distance(rendered(data), quarters()) < 8


SMALL = {kind: encoded(noise(24, 16), kind) for kind in FORMATS}
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(edits=EDITS, head=st.booleans())
def test_damaged_bytes_raise_nothing_but_picture_error(kind, edits, head):
    data = bytearray(SMALL[kind])
    for where, byte in edits:
        data[int(where * (min(len(data), 200) if head else len(data)))] = byte
    try:
        opened = images.identify(bytes(data), Limits(pixels=2**16))
        images.upright_size(opened)
        result = images.render(opened)
    except PictureError:
        return
    assert result.mode == "RGB"


# Hashes and thumbnails


def test_the_content_hash_is_sha256():
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert images.content_hash(b"abc") == digest


def test_the_same_pixels_have_one_pixel_hash_in_every_lossless_format():
    picture = noise(700, 600)
    hashes = {
        images.pixel_hash(rendered(encoded(picture, kind, **options)))
        for kind, options in (("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}))
    }
    assert len(hashes) == 1


def test_the_pixel_hash_sees_pixels_and_shape_but_no_metadata():
    picture = noise(64, 48)
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    plain = encoded(picture, "JPEG")
    tagged = encoded(picture, "JPEG", exif=exif, comment=b"changed", xmp=b"<x/>")
    assert images.content_hash(plain) != images.content_hash(tagged)
    assert images.pixel_hash(rendered(plain)) == images.pixel_hash(rendered(tagged))
    other = picture.copy()
    other.putpixel((63, 47), (1, 2, 3))
    assert images.pixel_hash(other) != images.pixel_hash(picture)
    flat = Image.new("RGB", (6, 4))
    assert images.pixel_hash(flat) != images.pixel_hash(flat.transpose(T.ROTATE_90))


@pytest.mark.parametrize(
    "size, expected", [((768, 512), (256, 171)), ((1, 2048), (1, 256)), ((9, 5), (9, 5))]
)
def test_a_thumbnail_is_a_small_webp_of_the_same_shape(size, expected):
    normalized = quarters(*size)
    before = normalized.tobytes()
    small = Image.open(io.BytesIO(images.thumbnail(normalized)))
    assert (small.format, small.size) == ("WEBP", expected)
    assert normalized.tobytes() == before
    if size == (768, 512):
        assert distance(small, normalized.resize(expected)) < 4


def opened(data):
    return Image.open(io.BytesIO(data))


def swapped():
    """A profile like sRGB in which what is called red is green."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"rXYZ", b"wait"), (b"gXYZ", b"rXYZ"), (b"wait", b"gXYZ")):
        data = data.replace(old, new, 1)
    return data.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))


@pytest.mark.parametrize(
    "kind, mode", [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGBA")]
)
def test_what_is_shown_has_the_colours_that_the_profile_means(kind, mode):
    red = Image.new(mode, (40, 40), "red")
    for profile, expected in ((swapped(), 1), (b"broken", 0), (None, 0)):
        data = encoded(red, kind, icc_profile=profile)
        for shown in (images.thumbnail(rendered(data)), images.preview(opened(data))):
            picture = opened(shown)
            assert np.argmax(np.asarray(picture.convert("RGB"))[20, 20]) == expected
            assert "icc_profile" not in picture.info


def gray_profile():
    """A grey ICC profile (version 2) with linear light: its numbers are darker than sRGB's."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"gray\0" + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0),
        b"cprt": b"text\0\0\0\0none\0",
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def test_normalized_images_are_srgb():
    """Vectors and palettes are made of them."""
    red = encoded(Image.new("RGB", (40, 40), "red"), "PNG", icc_profile=swapped())
    assert np.argmax(np.asarray(rendered(red))[20, 20]) == 1
    grey = encoded(Image.new("L", (40, 40), 128), "JPEG", icc_profile=gray_profile())
    shown = np.asarray(rendered(grey))[20, 20]
    assert shown.tolist() == pytest.approx([188] * 3, abs=2)  # linear .5 is 188 of 255 in sRGB
    cmyk = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
    plain = np.asarray(rendered(encoded(cmyk, "JPEG", quality=95)))[20, 20]
    assert plain[0] > 250 and plain[1:].max() < 5


def test_a_profile_of_another_mode_is_ignored():
    red = encoded(Image.new("RGB", (40, 40), "red"), "PNG", icc_profile=gray_profile())
    assert np.asarray(rendered(red))[20, 20].tolist() == [255, 0, 0]


@pytest.mark.parametrize("colour", ["black", "white", (200, 30, 60)])
def test_a_picture_of_one_colour_has_low_content(colour):
    blank = Image.new("RGB", (192, 192), colour)
    assert is_low_content(np.asarray(blank))
    noisy = np.asarray(blank).astype(int) + np.random.default_rng(0).integers(-8, 9, (192, 192, 3))
    assert is_low_content(noisy.clip(0, 255).astype(np.uint8))
    marked = blank.copy()
    ImageDraw.Draw(marked).line((20, 20, 170, 150), fill=(90, 200, 10), width=2)
    assert not is_low_content(np.asarray(marked))
