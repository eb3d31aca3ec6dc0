"""Blind estimates of what a picture suffers from: noise, blur, darkness, size, JPEG blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from search.records.restoration import Degradation
from search.types import Pixels

Plane = npt.NDArray[np.float32]
"""(H, W)."""
PATCH = 6
"""Side of the patches whose covariance tells the noise."""
LEAST_PATCHES, MOST_PATCHES = 4 * PATCH**2, 20_000
BLOCK = 8  # of JPEG
BRIGHT = 0.99  # quantile of the brightness that counts as the light of a picture
CLIPPED = 0.02  # share of a patch's pixels that may be black or white


Mask = npt.NDArray[np.bool_]
"""(H, W)."""


def estimate_degradation(pixels: Pixels, hidden: Mask | None = None) -> Degradation:
    """Estimate what a picture suffers from. pixels: (H, W, 3). hidden: the part that says nothing
    of the rest, if there is one."""
    if hidden is not None:
        pixels = np.where(hidden[..., None], pixels[~hidden].mean(axis=0).astype(np.uint8), pixels)
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return Degradation(
        noise=estimate_noise(pixels, hidden),
        blur=measure_blur(luma),
        light=float(np.quantile(luma, BRIGHT)),
        short=min(pixels.shape[:2]),
        jpeg=measure_blocks(luma),
    )


def estimate_noise(pixels: Pixels, hidden: Mask | None = None) -> float:
    """Estimate the standard deviation of white noise in a picture, (H, W, 3), in 0 to 255. hidden:
    the part that is not looked at.

    The eigenvalues of the covariance of small patches are the noise's variance in all directions
    that the picture itself does not use: the largest ones are left out until the mean of the rest
    is their median (Chen, Zhu and Heng 2015, ICCV, algorithm 1). Each channel has its own estimate;
    the median of the three is returned. Patches with clipped pixels are left out, where others are
    left: black and white hide noise.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < 2 * PATCH:
        return 0.0
    step = max(1, round((height * width / MOST_PATCHES) ** 0.5))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.zeros((height, width), bool) if hidden is None else hidden, (PATCH, PATCH)
    )
    is_seen = windows[::step, ::step].reshape(-1, PATCH * PATCH).sum(axis=1) == 0
    estimates = []
    for channel in np.moveaxis(pixels, 2, 0):
        windows = np.lib.stride_tricks.sliding_window_view(channel, (PATCH, PATCH))
        patches = windows[::step, ::step].reshape(-1, PATCH * PATCH)
        if is_seen.sum() >= LEAST_PATCHES:
            patches = patches[is_seen]
        clipped = ((patches == 0) | (patches == 255)).mean(axis=1)
        whole = patches[clipped <= CLIPPED]
        # of a picture that is clipped nearly everywhere, all patches have to do
        chosen = whole if len(whole) >= LEAST_PATCHES else patches
        values = np.linalg.eigvalsh(np.cov(chosen.T.astype(np.float64)))
        estimates.append(_find_noise_variance(values) ** 0.5)
    return float(np.median(estimates))


def _find_noise_variance(values: npt.NDArray[np.float64]) -> float:
    """Return the mean of the smallest eigenvalues, (n,) ascending, as many as have as many values
    above their mean as below it."""
    for count in range(len(values), 0, -1):
        mean = float(values[:count].mean())
        if (values[:count] > mean).sum() == (values[:count] < mean).sum():
            return max(mean, 0.0)
    return max(float(values[0]), 0.0)


def measure_blur(luma: Plane) -> float:
    """Return how blurred a picture, (H, W), is: 0 to 1, the share of its steps that a further blur
    leaves as they are (Crete-Roffet et al. 2007, eq. 1 to 7; blurred over 9 pixels)."""
    shares = []
    for plane in (luma, luma.T):
        if plane.shape[0] < 10:
            return 0.0
        sums = np.cumsum(np.pad(plane, ((5, 4), (0, 0)), mode="edge"), axis=0, dtype=np.float64)
        blurred = (sums[9:] - sums[:-9]) / 9
        steps = np.abs(np.diff(plane, axis=0))
        lost = np.maximum(0, steps - np.abs(np.diff(blurred, axis=0)))
        total = float(steps.sum())
        shares.append(1 - float(lost.sum()) / total if total else 0.0)
    return max(shares)


def measure_blocks(luma: Plane) -> float:
    """Return how much stronger the steps at the borders of JPEG's blocks are than other steps.

    About 1 for a picture without blocks, or one that was scaled since.
    """
    ratios = []
    for plane in (luma, luma.T):
        steps = np.abs(np.diff(plane, axis=0)).mean(axis=1)
        at_border = np.arange(1, len(steps) + 1) % BLOCK == 0
        if at_border.sum() < 2:
            return 1.0
        inside = float(steps[~at_border].mean())
        ratios.append(float(steps[at_border].mean()) / inside if inside else 1.0)
    return max(1.0, sum(ratios) / 2)
