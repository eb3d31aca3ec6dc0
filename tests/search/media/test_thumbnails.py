"""A thumbnail is whole, or it is none; those of no picture go."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.pictures import identity, paint

from search import Engine


@pytest.mark.parametrize("way", ["cut", "empty", "zeros", "noise", "longer"])
def test_a_broken_thumbnail_counts_as_none_and_is_made_again(
    engine: Engine, folder: Path, way: str
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    path = engine.library.thumbnails.path(identity(1))
    data = path.read_bytes()
    damaged = {
        "cut": data[:-1],
        "empty": b"",
        "zeros": bytes(len(data)),
        "noise": b"noise" * 50,
        "longer": data + b"x",
    }
    path.write_bytes(damaged[way])
    assert engine.library.thumbnails.read(identity(1)) is None
    assert engine.thumbnail(identity(1)) == data
    path.write_bytes(damaged[way])
    assert engine.check().repaired == ("1 missing or damaged thumbnails were made again",)
    assert path.read_bytes() == data


def test_check_deletes_thumbnails_of_no_picture_and_incomplete_files(
    engine: Engine, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 2)
    engine.sync(folder)
    thumbnails = engine.library.thumbnails
    data = thumbnails.path(identity(1)).read_bytes()
    (folder / "b.jpg").unlink()
    engine.sync(folder)  # the picture is remembered for some days, with its thumbnail
    thumbnails.write(identity(3), data)  # as a killed `forget` leaves it
    assert engine.check().repaired == ("1 thumbnails of no picture were deleted",)
    assert not thumbnails.has(identity(3))
    assert thumbnails.has(identity(1)) and thumbnails.has(identity(2))
    assert engine.check().repaired == ()
