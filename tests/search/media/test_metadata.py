"""Metadata: read from damaged files too, plain values, and never an error."""

import io
import json
import struct
from dataclasses import asdict

import pytest
from hypothesis import given, settings, strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from search.errors import PictureError
from search.media import images, metadata
from search.media.rules import Limits

BASE, GPS = ExifTags.Base, ExifTags.GPS
WRITERS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif_of(base=None, details=None, place=None):
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    for tag, value in (details or {}).items():
        exif.get_ifd(ExifTags.IFD.Exif)[tag] = value
    for tag, value in (place or {}).items():
        exif.get_ifd(ExifTags.IFD.GPSInfo)[tag] = value
    return exif


def read(data):
    opened = images.identify(data, Limits())
    size = images.upright_size(opened)
    return metadata.read(opened, images.render(opened), size, len(data))


def jpeg(exif=b"", size=(30, 20)):
    return encoded(Image.new("RGB", size, RED), "JPEG", exif=exif)


def place(latitude, longitude, north="N", east="E"):
    """Where a picture with these entries is."""
    entries = {
        GPS.GPSLatitudeRef: north,
        GPS.GPSLatitude: latitude,
        GPS.GPSLongitudeRef: east,
        GPS.GPSLongitude: longitude,
    }
    facts = read(jpeg(exif_of(place=entries)))
    return facts.latitude, facts.longitude


@pytest.mark.parametrize(
    "kind, type",
    [
        ("JPEG", "jpeg"),
        ("MPO", "jpeg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("TIFF", "tiff"),
        ("BMP", "bmp"),
        ("HEIF", "heif"),
        ("AVIF", "avif"),
    ],
)
def test_type_size_and_weight_are_always_known(kind, type):
    options = {"save_all": True, "append_images": [Image.new("RGB", (30, 20))]}
    data = encoded(Image.new("RGB", (30, 20)), kind, **(options if kind == "MPO" else {}))
    facts = read(data)
    assert (facts.type, facts.width, facts.height, facts.bytes) == (type, 30, 20, len(data))


@pytest.mark.parametrize("kind", WRITERS)
def test_width_and_height_are_of_the_upright_picture(kind):
    exif = exif_of({BASE.Orientation: 6}).tobytes()
    facts = read(encoded(Image.new("RGB", (30, 20)), kind, exif=exif))
    assert (facts.width, facts.height) == (20, 30)


def test_width_and_height_are_of_the_original_also_when_it_was_scaled():
    facts = read(jpeg(size=(3000, 2000)))
    assert (facts.width, facts.height) == (3000, 2000)


@pytest.mark.parametrize("kind", WRITERS)
def test_exif_is_read_from_every_format_that_holds_it(kind):
    exif = exif_of(
        {BASE.Make: "Canon", BASE.Model: "EOS R5", BASE.Artist: "Ansel"},
        {BASE.DateTimeOriginal: "2024:02:29 23:59:58", BASE.ExposureTime: IFDRational(1, 250)},
        {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: (47.0, 30.0, 0.0),
            GPS.GPSLongitudeRef: "W",
            GPS.GPSLongitude: (8.0, 15.0, 36.0),
        },
    )
    facts = read(encoded(Image.new("RGB", (30, 20)), kind, exif=exif.tobytes()))
    assert facts.taken == "2024-02-29T23:59:58"
    assert facts.camera == "Canon EOS R5"
    assert (facts.latitude, facts.longitude) == (47.5, -8.26)
    assert facts.exif["Artist"] == "Ansel"
    assert facts.exif["ExposureTime"] == 0.004


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"))
def test_a_picture_without_exif_has_no_date_place_or_camera(kind):
    facts = read(encoded(Image.new("RGB", (30, 20)), kind))
    assert (facts.taken, facts.camera, facts.latitude, facts.longitude) == (None,) * 4


def test_facts_may_be_read_before_the_pixels_are():
    data = jpeg(exif_of({BASE.Artist: "Ansel"}))
    opened = images.identify(data, Limits())
    early = metadata.read(opened, Image.new("RGB", (30, 20), (254, 0, 0)), (30, 20), len(data))
    assert early == read(data)


@pytest.mark.parametrize(
    "make, model, camera",
    [
        ("Canon", "Canon EOS R5", "Canon EOS R5"),
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("Apple", None, "Apple"),
        (None, "X100", "X100"),
        (" NIKON\0junk", "D850 ", "NIKON D850"),
        ("\0", "", None),
    ],
)
def test_the_camera_names_its_maker_once(make, model, camera):
    base = {tag: v for tag, v in ((BASE.Make, make), (BASE.Model, model)) if v is not None}
    assert read(jpeg(exif_of(base))).camera == camera


@pytest.mark.parametrize(
    "written, date",
    [
        ({BASE.DateTimeOriginal: "2020:01:02 03:04:05"}, "2020-01-02T03:04:05"),
        ({BASE.DateTimeDigitized: "2020:01:02 03:04:05"}, "2020-01-02T03:04:05"),
        (
            {
                BASE.DateTimeOriginal: "    :  :     :  :  ",
                BASE.DateTimeDigitized: "2021:01:02 03:04:05",
            },
            "2021-01-02T03:04:05",
        ),
        ({BASE.DateTimeOriginal: "0000:00:00 00:00:00"}, None),
        ({BASE.DateTimeOriginal: "2021:02:29 00:00:00"}, None),
        ({BASE.DateTimeOriginal: "yesterday"}, None),
    ],
)
def test_taken_is_the_first_real_date(written, date):
    assert read(jpeg(exif_of(details=written))).taken == date


def test_a_date_of_change_is_the_last_resort():
    base = {BASE.DateTime: "2022:01:01 00:00:00"}
    assert read(jpeg(exif_of(base))).taken == "2022-01-01T00:00:00"
    details = {BASE.DateTimeOriginal: "2020:01:01 00:00:00"}
    assert read(jpeg(exif_of(base, details))).taken == "2020-01-01T00:00:00"


def test_south_and_west_are_negative():
    assert place((33.0, 51.0, 36.0), (151.0, 12.0, 0.0), "S", "E") == (-33.86, 151.2)
    assert place((33.0, 51.0, 36.0), (151.0, 12.0, 0.0), "N", "W") == (33.86, -151.2)


@pytest.mark.parametrize(
    "parts",
    [
        (IFDRational(0, 0), IFDRational(0, 0), IFDRational(0, 0)),
        (IFDRational(47, 1), IFDRational(1, 0), IFDRational(0, 1)),
        (181.0, 0.0, 0.0),
        (180.0, 0.0, 1.0),
        (47.0, 30.0),
    ],
)
def test_a_place_that_is_no_number_or_not_on_earth_is_none(parts):
    assert place((10.0, 0.0, 0.0), parts) == (10.0, None)
    assert place(parts, (10.0, 0.0, 0.0)) == (None, 10.0)


def test_latitude_ends_at_the_pole():
    assert place((90.0, 0.0, 0.0), (180.0, 0.0, 0.0)) == (90, 180)
    assert place((90.0, 0.0, 1.0), (90.0, 0.0, 1.0))[0] is None


def test_exif_values_are_plain():
    exif = exif_of(
        {
            BASE.ImageDescription: "  a\x07 caption\0 with a tail ",
            BASE.Artist: "x" * 1000,
            BASE.Make: "Zürich 北京".encode(),
            BASE.Model: "Zürich".encode("latin-1"),
            BASE.XResolution: IFDRational(72, 1),
            BASE.YResolution: IFDRational(1, 0),
            0xEEEE: 7,
        },
        {BASE.ExifVersion: b"0232", BASE.MakerNote: b"\0" * 40, BASE.ISOSpeedRatings: 400},
    )
    values = read(jpeg(exif)).exif
    assert values == {
        "ImageDescription": "a caption",
        "Artist": "x" * 200,
        "Make": "Zürich 北京",
        "Model": "Zürich",
        "XResolution": 72.0,
        "61166": 7,
        "ISOSpeedRatings": 400,
        "ExifOffset": values["ExifOffset"],
    }
    assert isinstance(values["ISOSpeedRatings"], int)


def test_one_broken_directory_leaves_the_others():
    exif = exif_of({BASE.Make: "Canon"}, place={GPS.GPSLatitude: (1.0, 2.0, 3.0)}).tobytes()
    pointer = struct.pack("<HHI", ExifTags.IFD.GPSInfo, 4, 1)
    if exif[6:8] == b"MM":
        pointer = struct.pack(">HHI", ExifTags.IFD.GPSInfo, 4, 1)
    assert pointer in exif
    at = exif.index(pointer) + 8
    facts = read(jpeg(exif[:at] + b"\x7f" * 4 + exif[at + 4 :]))
    assert (facts.camera, facts.latitude) == ("Canon", None)


def test_what_comes_before_the_damage_is_read():
    exif = exif_of({BASE.Make: "Canon of Tokyo", BASE.Software: "not all of this"}).tobytes()
    facts = read(jpeg(exif[:-6]))
    assert facts.camera == "Canon of Tokyo"
    assert "Software" not in facts.exif


def test_the_palette_is_the_main_colours_most_frequent_first():
    picture = Image.new("RGB", (480, 240), BLUE)
    picture.paste(RED, (120, 0, 480, 240))
    assert metadata.palette(picture) == {"#ff0000": 0.75, "#0000ff": 0.25}
    assert metadata.palette(Image.new("RGB", (1, 1), (1, 2, 3))) == {"#010203": 1.0}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(1, 80), st.integers(1, 80), st.randoms(use_true_random=False))
def test_a_palette_has_one_to_five_different_colours(width, height, random):
    colours = metadata.palette(
        Image.frombytes("RGB", (width, height), random.randbytes(width * height * 3))
    )
    assert 1 <= len(colours) <= 5 and len(set(colours)) == len(colours)
    assert all(len(c) == 7 and int(c[1:], 16) >= 0 and c[0] == "#" for c in colours)


FULL = exif_of(
    {
        BASE.Make: "Canon",
        BASE.Model: "R5",
        BASE.XResolution: 72.0,
        BASE.DateTime: "2020:01:01 00:00:00",
    },
    {BASE.ExposureTime: 0.5, BASE.ISOSpeedRatings: 100, BASE.UserComment: b"hi", BASE.FNumber: 2.8},
    {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (1.0, 2.0, 3.0), GPS.GPSAltitude: 4.0},
).tobytes()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.integers(6, len(FULL) - 1), st.integers(0, 255)), max_size=12),
    cut=st.integers(6, len(FULL)),
    kind=st.sampled_from(("JPEG", "PNG", "WEBP")),
)
def test_damaged_exif_never_fails_and_gives_plain_facts(edits, cut, kind):
    damaged = bytearray(FULL)
    for where, byte in edits:
        damaged[where] = byte
    picture = Image.new("RGB", (8, 6))
    opened = Image.open(io.BytesIO(encoded(picture, kind)))
    opened.info["exif"] = bytes(damaged[:cut])  # no writer would take it
    facts = metadata.read(opened, picture, (8, 6), 1)
    assert json.loads(json.dumps(asdict(facts), allow_nan=False))["type"] == kind.lower()


WHOLE = {kind: encoded(Image.new("RGB", (24, 16), BLUE), kind, exif=FULL) for kind in WRITERS}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=9
    )
)
def test_facts_of_a_damaged_file_never_fail(kind, edits):
    data = bytearray(WHOLE[kind])
    for where, byte in edits:
        data[int(where * len(data))] = byte
    try:
        opened = images.identify(bytes(data), Limits(pixels=2**16))
    except PictureError:
        return
    facts = metadata.read(opened, Image.new("RGB", (24, 16)), (24, 16), len(data))
    json.dumps(asdict(facts), allow_nan=False)
