"""Files as cameras, scanners and programs write them: each shows the picture that it means."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.project import ROOT
from helpers.tiffs import COLORS, WHITE_IS_0, TiffImage, write_tiff
from PIL import Image, ImageCms, ImageDraw, ImageOps

from search.errors import PictureError, SizeError
from search.media import images, png
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.images import Crop, Limits
from search.media.reading import ReadPicture, read_picture

LIMITS = Limits()
DRESS = Image.open(ROOT / "search/samples/dress/01.jpg").convert("RGB").resize((300, 400))
GREY = DRESS.convert("L")
LEVELS = np.asarray(GREY)
TURN_6 = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def read(data: bytes, crop: Crop | None = None) -> ReadPicture:
    return read_picture(data, LIMITS, crop)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, in grey levels."""
    assert one.size == other.size
    a, b = (np.asarray(p.convert("RGB")).astype(float) for p in (one, other))
    return float(np.abs(a - b).mean())


# PNG with what is not needed


def insert_chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """The dress as PNG, with a chunk before its pixels."""
    data = encode(DRESS, "PNG")
    chunk = png.write_chunk(name, body)
    if checksum is not None:
        chunk = chunk[:-4] + struct.pack(">I", checksum)
    return data[:33] + chunk + data[33:]


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LARGE = bytes(3 * 2**20)
CHUNKS = {
    "zTXt": (b"zTXt", b"workflow\0\0" + zlib.compress(LARGE), None),
    "iTXt": (b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LARGE), None),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * 2**21, None),
    "profile": (b"iCCP", b"large\0\0" + zlib.compress(PROFILE + LARGE), None),
    "profile of an unknown method": (b"iCCP", b"odd\0\7" + zlib.compress(PROFILE), None),
    "EXIF as text": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LARGE * 8), None),
    "checksum of text": (b"tEXt", b"a\0b", 1),
    "checksum of a profile": (b"iCCP", b"s\0\0" + zlib.compress(PROFILE), 1),
    "checksum of EXIF": (b"eXIf", b"MM\0*\0\0\0\x08\0\x01" + TURN_6, 1),
    "checksum of the pixels' size": (b"pHYs", bytes(9), 1),
    "a short pHYs": (b"pHYs", b"\0", None),
    "a short gamma": (b"gAMA", b"", None),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunks_that_are_not_needed_stop_no_png(name: str) -> None:
    result = read(insert_chunk(*CHUNKS[name]))
    assert distance(result.normalized, DRESS) == 0 and not result.is_truncated


def test_text_behind_the_pixels_stops_no_png() -> None:
    data, chunk = encode(DRESS, "PNG"), png.write_chunk(b"zTXt", CHUNKS["zTXt"][1])
    assert distance(read(data[:-12] + chunk + data[-12:]).normalized, DRESS) == 0


def test_a_png_without_needless_chunks_stays_as_it_is() -> None:
    data = encode(DRESS, "PNG", icc_profile=PROFILE)
    assert png.remove_needless(data) is data


# JPEG and PNG whose end is cut


JPEGS = {
    "baseline": encode(DRESS, "JPEG", quality=90),
    "small": encode(DRESS.resize((48, 40)), "JPEG", quality=90),
    "4:4:4": encode(DRESS, "JPEG", quality=90, subsampling=0),
    "grey": encode(GREY, "JPEG", quality=90),
    "CMYK": encode(DRESS.convert("CMYK"), "JPEG", quality=90),
    "restarts": encode(DRESS, "JPEG", quality=90, restart_marker_rows=1),
    "large": encode(DRESS.resize((1500, 2000)), "JPEG", quality=90),
    "progressive": encode(DRESS, "JPEG", quality=90, progressive=True),
    "grey progressive": encode(GREY, "JPEG", quality=90, progressive=True),
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_end_marker_is_whole(name: str) -> None:
    data = JPEGS[name]
    result, whole = read(data[:-2]), read(data)
    assert result.normalized.tobytes() == whole.normalized.tobytes()
    assert result.size == whole.size and not result.is_truncated
    assert read(data[:-1]).normalized.tobytes() == whole.normalized.tobytes()


@pytest.mark.parametrize("name", ["baseline", "4:4:4", "grey", "CMYK", "restarts", "large"])
def test_a_jpeg_that_lacks_little_is_read_and_marked(name: str) -> None:
    data = JPEGS[name]
    result, whole = read(data[:-50]), read(data).normalized
    assert result.is_truncated
    box = (0, 0, whole.width, int(whole.height * 0.94))
    assert distance(result.normalized.crop(box), whole.crop(box)) < 0.1
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(PictureError):
            read(data[: int(len(data) * share)])


@pytest.mark.parametrize("name", ["progressive", "grey progressive"])
def test_a_progressive_jpeg_that_is_cut_in_its_last_scan_is_read_and_marked(name: str) -> None:
    data = JPEGS[name]
    last = data.rindex(b"\xff\xda")
    for cut in ((last + len(data)) // 2, len(data) - 50):
        result = read(data[:cut])
        assert result.is_truncated
        assert distance(result.normalized, read(data).normalized) < 3
    for cut in (last - 1, last + 4, last // 2):
        with pytest.raises(PictureError):
            read(data[:cut])


def test_a_png_that_lacks_little_is_read_and_marked() -> None:
    for picture in (DRESS, GREY, DRESS.quantize(64), DRESS.convert("RGBA")):
        data = encode(picture, "PNG")
        result = read(data[: int(len(data) * 0.99)])
        assert result.is_truncated and result.size == DRESS.size
        box = (0, 0, 300, 380)
        assert distance(result.normalized.crop(box), picture.crop(box)) == 0
        for share in (0.9, 0.5, 0.1):
            with pytest.raises(PictureError):
                read(data[: int(len(data) * share)])
    whole = read(encode(DRESS, "PNG")[:-12])
    assert distance(whole.normalized, DRESS) == 0 and not whole.is_truncated


def test_the_metadata_of_a_truncated_picture_say_so() -> None:
    data = JPEGS["baseline"]
    with DecoderPool(1) as pool:
        cut, whole = (
            pool.submit(DecodeRequest(data=part)).result() for part in (data[:-400], data)
        )
    assert isinstance(cut, DecodedPicture) and cut.metadata and cut.metadata.truncated
    assert isinstance(whole, DecodedPicture) and whole.metadata and not whole.metadata.truncated


# Large photographs


def test_a_photograph_of_200_megapixels_is_decoded_at_a_smaller_scale(tmp_path: Path) -> None:
    size = (16320, 12240)
    path = tmp_path / "large.jpg"
    Image.linear_gradient("L").resize(size, Image.Resampling.NEAREST).save(path, quality=60)
    crop = DecodeRequest(str(path), crop=Crop(0, 6000, 12000, 6000), image=True)
    with DecoderPool(1) as pool:
        whole = pool.submit(DecodeRequest(str(path), image=True)).result()
        part = pool.submit(crop).result()
    assert isinstance(whole, DecodedPicture), whole
    assert whole.size == size and whole.image and whole.image.size == (683, 512)
    assert isinstance(part, DecodedPicture) and part.image and part.image.size == (1024, 512)
    with DecoderPool(1, Limits(pixels=size[0] * size[1] // 4 - 1)) as pool:
        failure = pool.submit(DecodeRequest(str(path))).result()
    assert isinstance(failure, DecodeFailure) and failure.error is SizeError


def test_the_limit_of_pixels_can_be_raised() -> None:
    data = encode(Image.new("1", (14000, 14000)), "PNG")
    for most, kind in ((178_956_970, DecodeFailure), (200_000_000, DecodedPicture)):
        with DecoderPool(1, Limits(pixels=most)) as pool:
            assert isinstance(pool.submit(DecodeRequest(data=data)).result(), kind)


# Orientation and profile


def test_heic_is_turned_by_exif_if_nothing_else_turns_it() -> None:
    lying = DRESS.transpose(Image.Transpose.ROTATE_90)
    upright = struct.pack(">HHIHH", images.ORIENTATION, 3, 1, 1, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + upright + bytes(4)
    data = encode(lying, "HEIF", quality=90, exif=exif)
    assert b"irot" not in data and data.count(upright) == 1
    result = read(data.replace(upright, upright[:8] + b"\0\6\0\0"))
    assert result.size == DRESS.size and distance(result.normalized, DRESS) < 6
    assert read(data).size == lying.size


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_in_xmp_alone_is_ignored(kind: str) -> None:
    if kind == "PNG":
        data = insert_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    elif kind == "TIFF":
        out = io.BytesIO()
        DRESS.save(out, "TIFF", tiffinfo={700: XMP})
        data = out.getvalue()
    else:
        data = encode(DRESS, kind, xmp=XMP, quality=95)
    assert XMP in data
    result = read(data)
    assert result.size == DRESS.size and distance(result.normalized, DRESS) < 6


# TIFF


def deep(bits: int = 16) -> np.ndarray:
    """The dress in grey, as samples of some bits in 16."""
    return (LEVELS.astype(np.uint16) * 257) >> (16 - bits)


def deep_colors(bits: int = 16) -> np.ndarray:
    return (np.asarray(DRESS).astype(np.uint16) * 257) >> (16 - bits)


UNIT = LEVELS.astype(np.float32) / 255
STRETCHED = ImageOps.autocontrast(GREY)
"""By the real range of the values, which has no end at 0 or at a usual depth."""
DEEP_GREY = {
    "16 bits": deep(),
    "16 bits signed": (deep() >> 1).astype(np.int16),
    "16 bits signed around 0": (deep().astype(np.int32) - 32768).astype(np.int16),
    "14 bits in 16": deep(14),
    "12 bits in 16": deep(12),
    "10 bits in 16": deep(10),
    "8 bits in 16 signed": LEVELS.astype(np.int16),
    "32 bits": deep().astype(np.uint32) * 65537,
    "32 bits signed": deep().astype(np.int32) * 32768,
    "8 bits in 32": LEVELS.astype(np.uint32),
    "12 bits in 32 signed": deep(12).astype(np.int32),
    "32 bits around 0": deep().astype(np.int32) - 32768,
    "32 bits far from 0": LEVELS.astype(np.int32) * 100 + 1_000_000,
    "float to 1": UNIT,
    "float to 4095": UNIT * 4095,
    "float to 1.5": UNIT * 1.5,
    "float around 0": UNIT * 2 - 1,
    "float far from 0": UNIT + 1000,
    "float of 64 bits": UNIT.astype(np.float64),
}


@pytest.mark.parametrize("mark", "<>")
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
@pytest.mark.parametrize("name", DEEP_GREY)
def test_grey_tiff_of_any_depth_has_its_brightness(name: str, deflate: bool, mark: str) -> None:
    pixels = DEEP_GREY[name]
    black_is_0 = write_tiff(TiffImage(pixels, deflate=deflate), mark=mark)
    has_depth = not name.endswith((" 0", " 1.5"))
    limit = 2 if has_depth else 7
    assert distance(read(black_is_0).normalized, GREY if has_depth else STRETCHED) < limit
    if pixels.dtype.kind == "u":
        inverted = np.iinfo(pixels.dtype).max - pixels
        if pixels.max() > 2**15:
            image = TiffImage(inverted, WHITE_IS_0, deflate=deflate)
            assert distance(read(write_tiff(image, mark=mark)).normalized, GREY) < 4


@pytest.mark.parametrize("mark", "<>")
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("bits", [16, 14, 12])
def test_colours_of_16_bits_are_right(bits: int, planar: bool, deflate: bool, mark: str) -> None:
    pixels = deep_colors(bits)
    data = write_tiff(TiffImage(pixels, COLORS, planar, deflate), mark=mark)
    coarse = planar and deflate and bits < 16  # only the high bytes can be read
    assert distance(read(data).normalized, DRESS) < (8 if coarse else 1)


COLORS_UNIT = np.asarray(DRESS).astype(np.float32) / 255
WIDE_COLORS = {
    "32 bits": deep_colors().astype(np.uint32) * 65537,
    "32 bits signed": deep_colors().astype(np.int32) * 32768,
    "8 bits in 32": np.asarray(DRESS).astype(np.uint32),
    "float to 1": COLORS_UNIT,
    "float to 65535": COLORS_UNIT * 65535,
    "float of 64 bits": COLORS_UNIT.astype(np.float64),
}


@pytest.mark.parametrize("mark", "<>")
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("name", WIDE_COLORS)
def test_colours_of_32_bits_are_right(name: str, planar: bool, deflate: bool, mark: str) -> None:
    data = write_tiff(TiffImage(WIDE_COLORS[name], COLORS, planar, deflate), mark=mark)
    assert distance(read(data).normalized, DRESS) < 1


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
def test_colours_of_32_bits_keep_their_transparency_and_turn(planar: bool) -> None:
    alpha = np.zeros((*COLORS_UNIT.shape[:2], 1), np.float32)
    pixels = np.dstack([COLORS_UNIT, alpha])
    clear = read(write_tiff(TiffImage(pixels, COLORS, planar, tags={338: 2})))
    assert np.ptp(np.asarray(clear.normalized)) == 0
    turned = read(write_tiff(TiffImage(COLORS_UNIT, COLORS, planar, tags={274: 3})))
    assert distance(turned.normalized, DRESS.rotate(180)) < 1
    for tag in range(2, 9):
        deep_turned = read(write_tiff(TiffImage(COLORS_UNIT, COLORS, planar, tags={274: tag})))
        plain = read(write_tiff(TiffImage(np.asarray(DRESS), COLORS, tags={274: tag})))
        assert distance(deep_turned.normalized, plain.normalized) < 1
        assert deep_turned.size == plain.size


def test_colours_of_32_bits_keep_to_the_limits_before_they_are_decoded() -> None:
    data = write_tiff(TiffImage(COLORS_UNIT, COLORS))
    with pytest.raises(SizeError):
        read_picture(data, Limits(decoded=COLORS_UNIT.nbytes - 1))


RAW_ROWS = {
    "BMP": encode(DRESS, "BMP"),
    "palette BMP": encode(DRESS.quantize(64), "BMP"),
    "TIFF of Pillow": encode(DRESS, "TIFF"),
    "16-bit TIFF of Pillow": encode(Image.fromarray(deep()), "TIFF"),
}


@pytest.mark.parametrize("name", RAW_ROWS)
def test_a_picture_of_plain_rows_that_lacks_few_of_them_is_read_and_marked(name: str) -> None:
    data = RAW_ROWS[name]
    whole, result = read(data), read(data[: int(len(data) * 0.97)])
    assert result.is_truncated and not whole.is_truncated and result.size == DRESS.size
    rows = np.abs(
        np.asarray(whole.normalized).astype(int) - np.asarray(result.normalized).astype(int)
    ).any(axis=(1, 2))
    assert 0 < rows.mean() < 0.05
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(PictureError):
            read(data[: int(len(data) * share)])


def test_a_single_plane_is_read_as_grey() -> None:
    for pixels in (deep(), LEVELS, UNIT):
        assert distance(read(write_tiff(TiffImage(pixels, planar=True))).normalized, GREY) < 2


def test_a_constant_tiff_is_blank_and_no_failure() -> None:
    for pixels in (np.full((9, 9), np.nan, np.float32), np.full((9, 9), 7, np.int32)):
        assert read(write_tiff(TiffImage(pixels))).size == (9, 9)


SMALL = np.asarray(DRESS.resize((75, 100)))
HALF = np.asarray(DRESS.resize((150, 200)))
FULL = TiffImage(np.asarray(DRESS), COLORS)
THUMBNAIL = TiffImage(SMALL, COLORS, tags={254: 1})


@pytest.mark.parametrize(
    "pages",
    [
        [THUMBNAIL, FULL],
        [TiffImage(SMALL, COLORS), FULL],
        [TiffImage(HALF, COLORS), FULL, TiffImage(SMALL, COLORS)],
        [TiffImage(HALF, COLORS, tags={254: 1}), FULL],
        [TiffImage(SMALL, COLORS, tags={254: 1}, below=[FULL])],
        [TiffImage(SMALL, COLORS, below=[THUMBNAIL, FULL])],
        [FULL, TiffImage(np.asarray(DRESS.rotate(180)), COLORS)],
        [TiffImage(LEVELS, tags={254: 4}), FULL],
    ],
)
@pytest.mark.parametrize("mark", "<>")
def test_the_full_picture_of_a_tiff_is_read_and_no_thumbnail(
    pages: list[TiffImage], mark: str
) -> None:
    result = read(write_tiff(*pages, mark=mark))
    assert result.size == DRESS.size and distance(result.normalized, DRESS) == 0


def test_a_tiff_whose_directories_form_a_ring_is_read() -> None:
    data = bytearray(write_tiff(FULL, THUMBNAIL))
    data[-4:] = data[4:8]
    assert read(bytes(data)).size == DRESS.size


# Blank first frames and pages


BLANK = Image.new("RGB", DRESS.size, "black")


@pytest.mark.parametrize("color", ["black", "white", "#3060a0"])
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_the_first_frame_with_content_is_read(kind: str, color: str) -> None:
    blank = Image.new("RGB", DRESS.size, color)
    others = [blank, DRESS, DRESS.rotate(180)]
    data = encode(blank, kind, save_all=True, append_images=others)
    assert distance(read(data).normalized, DRESS) < 12


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_a_picture_that_fades_in_a_bright_frame_is_read(kind: str) -> None:
    steps = [Image.blend(BLANK, DRESS, share) for share in (0, 0.1, 0.2, 0.4, 0.9, 1)]
    data = encode(steps[0], kind, save_all=True, append_images=steps[1:])
    assert np.asarray(read(data).normalized).std() > np.asarray(DRESS).std() * 0.5


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "HEIF"])
def test_a_first_frame_with_content_stays_and_a_blank_file_stays_blank(kind: str) -> None:
    data = encode(DRESS.rotate(180), kind, save_all=True, append_images=[DRESS])
    assert distance(read(data).normalized, DRESS.rotate(180)) < 12
    blank = encode(BLANK, kind, save_all=True, append_images=[BLANK.rotate(90)])
    assert np.asarray(read(blank).normalized).max() < 8


def test_an_animation_that_is_cut_gives_the_frames_before() -> None:
    data = encode(BLANK, "GIF", save_all=True, append_images=[DRESS, DRESS.rotate(180)])
    assert distance(read(data[:-2000]).normalized, DRESS) < 12


def test_a_crop_is_of_the_frame_with_content() -> None:
    data = encode(BLANK, "TIFF", save_all=True, append_images=[DRESS.resize((600, 800))])
    result = read(data, Crop(100, 100, 400, 400))
    expected = DRESS.resize((600, 800)).crop((100, 100, 500, 500))
    assert result.size == (600, 800) and distance(result.normalized, expected) < 1


# Transparent artwork


def draw(color: object, mode: str = "RGBA", circle: bool = True) -> Image.Image:
    """A drawing of one colour on transparency."""
    alpha = Image.new("L", (200, 200))
    shape = ImageDraw.Draw(alpha)
    if circle:
        shape.ellipse((30, 30, 150, 150), fill=255)
    else:
        shape.rectangle((60, 20, 180, 90), fill=255)
    base = Image.new(mode.rstrip("A"), alpha.size, color)  # type: ignore[arg-type]
    base.putalpha(alpha)
    return base


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("color", ["white", "#fafafa"])
def test_white_artwork_is_laid_over_black(kind: str, color: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    one, other = (
        read(encode(draw(color, circle=shape), kind, **options)).normalized
        for shape in (True, False)
    )
    for shown, at in ((one, (90, 90)), (other, (120, 50))):
        assert min(shown.getpixel(at)) > 240 and max(shown.getpixel((5, 195))) < 10
    assert distance(one, other) > 30


def test_white_grey_and_palette_artwork_is_laid_over_black() -> None:
    grey = draw(255, "LA")
    palette = Image.new("P", (200, 200))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    ImageDraw.Draw(palette).ellipse((30, 30, 150, 150), fill=1)
    for data in (encode(grey, "PNG"), encode(palette, "PNG", transparency=0)):
        shown = read(data).normalized
        assert shown.getpixel((90, 90)) == (255,) * 3 and shown.getpixel((5, 195)) == (0,) * 3


@pytest.mark.parametrize("color", ["black", "#c03020", "#c0c0c0"])
def test_other_artwork_is_laid_over_white(color: str) -> None:
    shown = read(encode(draw(color), "PNG")).normalized
    assert shown.getpixel((5, 195)) == (255,) * 3


def test_white_artwork_with_coloured_parts_shows_both_where_most_is_coloured() -> None:
    picture = draw("white")
    ImageDraw.Draw(picture).rectangle((30, 30, 150, 90), fill="#c03020")
    assert read(encode(picture, "PNG")).normalized.getpixel((5, 195)) == (255,) * 3


def test_the_profile_of_grey_artwork_counts() -> None:
    from test_images import gray_profile

    grey = draw(128, "LA")
    shown = read(encode(grey, "PNG", icc_profile=gray_profile())).normalized
    assert np.asarray(shown.getpixel((90, 90))) == pytest.approx([188] * 3, abs=2)
