"""How far pictures differ by their thumbnails: edits little, look-alikes much."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from helpers.project import SAMPLES
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from search.errors import NotFoundError
from search.media.images import thumbnail
from search.querying.copies import likeness_of
from search.querying.difference import ThumbnailComparer

LIMIT = likeness_of("mini").difference
PICTURE = Image.open(SAMPLES / "hat" / "01.jpg").convert("RGB")


def save(picture: Image.Image, kind: str = "WEBP", **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def recompress(picture: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(save(picture, "JPEG", quality=quality))).convert("RGB")


def measure(one: Image.Image, other: Image.Image) -> float:
    """Return the difference of the thumbnails of two pictures."""
    data = {}
    for name, picture in (("a" * 64, one), ("b" * 64, other)):
        data[name] = thumbnail(picture)
    comparer = ThumbnailComparer(lambda name: data[name])
    (difference,) = comparer.measure(["a" * 64], ["b" * 64])
    (again,) = comparer.measure(["b" * 64], ["a" * 64])
    assert math.isclose(difference, again, abs_tol=1e-4) or difference == again == math.inf
    return float(difference)


EDITS = {
    "smaller": PICTURE.resize((PICTURE.width // 2, PICTURE.height // 2)),
    "recompressed": recompress(PICTURE, 40),
    "mirrored": ImageOps.mirror(PICTURE),
    "grey": ImageOps.grayscale(PICTURE).convert("RGB"),
    "brighter": ImageEnhance.Brightness(PICTURE).enhance(1.1),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_hardly_differ(name: str) -> None:
    assert measure(PICTURE, EDITS[name]) < LIMIT
    assert measure(PICTURE, PICTURE) == 0


@pytest.mark.parametrize("other", ["hat/02.jpg", "dress/01.jpg"])
def test_other_pictures_differ(other: str) -> None:
    assert measure(PICTURE, Image.open(SAMPLES / other).convert("RGB")) > 2 * LIMIT


def draw_page(seed: int) -> Image.Image:
    """Draw a page of lines whose words are of other lengths for each seed."""
    rng, page = np.random.default_rng(seed), Image.new("RGB", (540, 960), "white")
    draw = ImageDraw.Draw(page)
    for y in range(40, 920, 20):
        x = 30
        while x < 500:
            width = int(rng.integers(10, 70))
            draw.rectangle((x, y, min(x + width, 510), y + 9), fill="black")
            x += width + 8
    return page


@pytest.mark.parametrize("seed", range(8))
def test_half_the_size_of_a_small_picture_with_hard_edges_hardly_differs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (384, 256), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(30):
        corners = rng.integers(0, (384, 256), (3, 2)).flatten().tolist()
        draw.polygon(corners, tuple(rng.integers(0, 256, 3).tolist()))
    half = picture.resize((192, 128), Image.Resampling.LANCZOS)
    assert measure(picture, half) < LIMIT / 2


def test_pages_of_other_text_in_one_layout_differ() -> None:
    page = draw_page(0)
    assert measure(page, page.resize((270, 480))) < LIMIT
    assert all(measure(page, draw_page(seed)) > LIMIT for seed in range(1, 9))


def test_what_cannot_be_read_is_not_known() -> None:
    def read(picture_id: str) -> bytes:
        if picture_id.startswith("c"):
            raise NotFoundError("gone")
        return b"no picture" if picture_id.startswith("d") else save(PICTURE)

    names = [one * 64 for one in "abcd"]
    differences = ThumbnailComparer(read).measure([names[0]] * 3, names[1:])
    assert differences[0] == 0 and np.isnan(differences[1:]).all()
    assert len(ThumbnailComparer(read).measure([], [])) == 0


def test_pictures_without_content_are_no_copies_of_others() -> None:
    blank = Image.new("RGB", (100, 100), "white")
    assert measure(blank, PICTURE) > LIMIT
