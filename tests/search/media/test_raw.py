"""RAW photographs are read by their preview where rawpy is installed."""

from __future__ import annotations

import io
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.project import ROOT
from helpers.tiffs import COLORS, TiffImage, write_tiff
from PIL import Image

from search.errors import PictureError
from search.media import raw
from search.media.images import ORIENTATION, Limits
from search.media.reading import ReadPicture, read_picture

SENSOR = 32803
DRESS = Image.open(ROOT / "search/samples/dress/01.jpg").convert("RGB").resize((300, 400))
MOSAIC = TiffImage(np.asarray(DRESS.convert("L")).astype(np.uint16) * 16, SENSOR)
TINY = np.asarray(DRESS.resize((30, 40)))
PHOTOGRAPH = write_tiff(TiffImage(TINY, COLORS, tags={254: 1}, below=[MOSAIC]))


class LibRawError(Exception):
    """What rawpy raises."""


def install_rawpy(monkeypatch: pytest.MonkeyPatch, preview: object = None, flip: int = 0) -> None:
    """Stand in for rawpy. preview: bytes of a JPEG, an array, or None for a file without one."""

    class Photograph:
        sizes = SimpleNamespace(flip=flip)

        def __enter__(self) -> Photograph:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def extract_thumb(self) -> SimpleNamespace:
            if preview is None:
                raise LibRawError("no thumbnail")
            kind = "jpeg" if isinstance(preview, bytes) else "bitmap"
            return SimpleNamespace(data=preview, format=kind)

    module = SimpleNamespace(
        imread=lambda _: Photograph(),
        LibRawError=LibRawError,
        ThumbFormat=SimpleNamespace(JPEG="jpeg", BITMAP="bitmap"),
    )
    monkeypatch.setitem(sys.modules, "rawpy", module)
    monkeypatch.setattr(raw, "IS_INSTALLED", True)


def encode(picture: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def read(data: bytes) -> ReadPicture:
    return read_picture(data, Limits())


def distance(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one).astype(float) - np.asarray(other)).mean())


def test_sensor_data_are_told_by_content() -> None:
    heads = [b"FUJIFILMCCD-RAW 0201", b"IIU\0\x18\0\0\0", b"II*\0\x10\0\0\0CR\2\0", b"IIRO\x08\0"]
    for head in (*heads, struct.pack(">I", 24) + b"ftypcrx \0\0\0\1", PHOTOGRAPH):
        assert raw.is_raw(head)
    plain = write_tiff(TiffImage(TINY, COLORS))
    heic = struct.pack(">I", 24) + b"ftypheic\0\0\0\0"
    for data in (plain, heic, encode(DRESS), b"", b"II*\0"):
        assert not raw.is_raw(data)


def test_the_preview_is_read_and_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    lying = DRESS.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    previews = [
        (encode(DRESS), 0),
        (encode(lying), 6),
        (encode(DRESS.transpose(Image.Transpose.ROTATE_270)), 5),
        (encode(DRESS.rotate(180)), 3),
        (encode(lying, exif=exif), 6),
        (np.asarray(DRESS), 0),
        (np.asarray(lying), 6),
    ]
    for preview, flip in previews:
        install_rawpy(monkeypatch, preview, flip)
        result = read(PHOTOGRAPH)
        assert result.size == DRESS.size and distance(result.normalized, DRESS) < 3
        assert result.opened.format == "RAW"


def test_a_photograph_without_preview_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install_rawpy(monkeypatch)
    with pytest.raises(PictureError, match="no preview"):
        read(PHOTOGRAPH)


def test_a_plain_tiff_is_not_read_as_a_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    install_rawpy(monkeypatch)
    assert read(write_tiff(TiffImage(np.asarray(DRESS), COLORS))).size == DRESS.size
