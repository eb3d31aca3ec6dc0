"""Blind estimates of what pictures suffer from."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from helpers.project import SAMPLES
from PIL import Image, ImageFilter

from search.media.degradation import estimate_degradation


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    with Image.open(SAMPLES / "hat" / "01.jpg") as file:
        return file.convert("RGB")


def add_noise(picture: Image.Image, level: float) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, level, (picture.height, picture.width, 3))
    return (np.asarray(picture) + noise).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [20, 30, 40])
def test_noise_is_measured(picture: Image.Image, level: float) -> None:
    assert estimate_degradation(add_noise(picture, level)).noise == pytest.approx(level, rel=0.15)


def test_a_hidden_part_says_nothing_of_the_noise(picture: Image.Image) -> None:
    noisy = add_noise(picture, 30)
    hidden = np.zeros(noisy.shape[:2], bool)
    hidden[: len(hidden) // 2] = True
    covered = np.where(hidden[..., None], np.uint8(90), noisy)
    assert estimate_degradation(covered, hidden).noise == pytest.approx(30, rel=0.15)


def test_blur_darkness_size_and_blocks_are_told(picture: Image.Image) -> None:
    plain = estimate_degradation(np.asarray(picture))
    blurred = estimate_degradation(np.asarray(picture.filter(ImageFilter.GaussianBlur(4))))
    assert blurred.blur > plain.blur + 0.1 and blurred.noise <= plain.noise
    dark = estimate_degradation((np.asarray(picture) // 8).astype(np.uint8))
    assert dark.light < plain.light / 6
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=5)
    assert estimate_degradation(np.asarray(Image.open(out))).jpeg > plain.jpeg + 0.3
    assert estimate_degradation(np.asarray(picture.resize((30, 20)))).short == 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (8, 8), (12, 12), (40, 30)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_and_tiny_pictures_have_no_noise(shape: tuple[int, int], value: int) -> None:
    blank = np.full((*shape, 3), value, np.uint8)
    estimate = estimate_degradation(blank)
    assert estimate.noise == 0 and estimate.light == pytest.approx(value) and estimate.jpeg == 1
    assert 0 <= estimate.blur <= 1
