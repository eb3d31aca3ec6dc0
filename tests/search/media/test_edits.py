"""Random edits of pictures."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from search.media.edits import edit_randomly, place_in_collage, place_on_page


def draw_noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(64, 64), (300, 40), (256, 340)])
def test_an_edited_picture_is_one(size: tuple[int, int]) -> None:
    original, other, rng = draw_noise(*size), draw_noise(50, 90, 1), random.Random(0)
    before = original.tobytes()
    for _ in range(60):
        edited = edit_randomly(original, rng, other)
        assert edited.mode == "RGB" and min(edited.size) >= 8 and max(edited.size) < 6000
    assert original.tobytes() == before


def test_a_page_holds_the_whole_picture() -> None:
    red = Image.new("RGB", (40, 30), (255, 0, 1))
    for seed in range(20):
        for place in (place_on_page, place_in_collage):
            page = place(red, random.Random(seed), Image.new("RGB", (10, 10)))
            assert page.width > red.width and page.height > red.height
            same = (np.asarray(page) == (255, 0, 1)).all(-1)
            assert same.sum() >= 40 * 30
