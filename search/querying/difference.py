"""How far two pictures differ, by their thumbnails: what tells an edited picture from a look-alike
that its vector cannot tell apart, such as another page of text."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from search.errors import LookalikeError
from search.types import Vectors

SIDE = 64
"""Grey levels of a picture that are compared, SIDE x SIDE, whatever its shape."""
WORST = 20
"""Cells whose mean difference counts, of SIDE x SIDE: .5 %."""
REMEMBERED = 8192
"""Pictures whose grey levels are kept in memory, 4 KiB each."""
COARSE = 16
"""Grey levels that are compared first, COARSE x COARSE. Each picture is read once for these."""
COARSE_REMEMBERED = 1_000_000
"""Pictures whose coarse grey levels are kept in memory, some .4 KB each."""
LEAST_CORRELATION = 0.9
"""Correlation of coarse grey levels below which two pictures are another: edits have .96 and more,
one in 300 pairs of alike strangers has .9."""
PART = 512  # pairs that are compared at once, 8 MiB for each side
Grid = npt.NDArray[np.uint8]


class ThumbnailComparer:
    """Measures how far pictures differ. Threads may share it.

    The grey levels of two pictures, mirrored if that is nearer, are brought to the same mean and
    spread. Their difference is the mean of the `WORST` cells, in standard deviations of the grey
    levels: 0 for equal pictures, some .1 after another compression or size, above .4 for other
    chats in the same layout, more for other pages of text and other photographs
    (`scripts/bench duplicates`).
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """read: returns the thumbnail of a picture by its id. It may raise LookalikeError."""
        self._read, self._lock = read, threading.Lock()
        self._grids = OrderedDict[str, Grid | None]()
        self._coarse = OrderedDict[int, bytes]()

    def measure(self, left: Sequence[str], right: Sequence[str]) -> Vectors:
        """Return the differences of pairs, (n,): infinite where the coarse grey levels are others
        already, NaN where a picture cannot be read.

        left, right: ids of the pictures of each pair.
        """
        differences = np.full(len(left), np.nan, np.float32)
        for start in range(0, len(left), PART):
            pairs = list(zip(left[start : start + PART], right[start : start + PART], strict=True))
            coarse = [(self._load_coarse(one), self._load_coarse(other)) for one, other in pairs]
            known = [i for i, (a, b) in enumerate(coarse) if a and b]
            if not known:
                continue
            one, other = (
                np.frombuffer(b"".join(coarse[i][side] for i in known), np.uint8) for side in (0, 1)
            )
            shape = len(known), COARSE, COARSE
            correlation, _ = _align(one.reshape(shape), other.reshape(shape))
            differences[start + np.array(known)] = np.inf
            near = np.array(known)[correlation.mean(axis=1) >= LEAST_CORRELATION].tolist()
            grids = {i: (self._load(pairs[i][0]), self._load(pairs[i][1])) for i in near}
            whole = [i for i, (a, b) in grids.items() if a is not None and b is not None]
            if whole:
                sides = (np.stack([grids[i][side] for i in whole]) for side in (0, 1))  # type: ignore[misc]
                differences[start + np.array(whole)] = measure_difference(*sides)
        return differences

    def _load_coarse(self, picture_id: str) -> bytes:
        """Return the coarse grey levels of a picture; empty if it cannot be read."""
        key = int(picture_id[:16] or "0", 16)  # a shorter key takes half of the memory
        with self._lock:
            if (levels := self._coarse.get(key)) is not None:
                return levels
        grid = self._load(picture_id)
        levels = b"" if grid is None else _shrink(grid).tobytes()
        with self._lock:
            self._coarse[key] = levels
            while len(self._coarse) > COARSE_REMEMBERED:
                self._coarse.popitem(last=False)
        return levels

    def _load(self, picture_id: str) -> Grid | None:
        with self._lock:
            if picture_id in self._grids:
                self._grids.move_to_end(picture_id)
                return self._grids[picture_id]
        try:
            grid: Grid | None = read_levels(self._read(picture_id))
        except (LookalikeError, OSError):  # its file is away, and there is no thumbnail
            grid = None
        with self._lock:
            self._grids[picture_id] = grid
            while len(self._grids) > REMEMBERED:
                self._grids.popitem(last=False)
        return grid


def read_levels(thumbnail: bytes) -> Grid:
    """Return the grey levels of a thumbnail, (SIDE, SIDE). Raises OSError for another file.

    The filter is smooth: boxes of thumbnails of two sizes hold other parts of an edge, by which the
    half size of a picture differs from it as much as another page of text does.
    """
    with Image.open(io.BytesIO(thumbnail)) as picture:
        return np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.HAMMING))


def measure_difference(left: Grid, right: Grid) -> Vectors:
    """Return the differences of grey levels, (n, SIDE, SIDE) each. See `ThumbnailComparer`."""
    _, apart = _align(left, right)
    worst = np.partition(apart, -WORST, axis=1)[:, -WORST:]
    differences: Vectors = worst.mean(axis=1).astype(np.float32)
    return differences


def _align(left: Grid, right: Grid) -> tuple[Vectors, Vectors]:
    """Return for grids, (n, side, side) each, the products and the distances of their standardized
    grey levels, (n, cells), with the right one mirrored if that is nearer."""
    own, other, mirrored = (_standardize(one) for one in (left, right, right[:, :, ::-1]))
    is_mirrored = (own * mirrored).sum(1) > (own * other).sum(1)
    nearest = np.where(is_mirrored[:, None], mirrored, other)
    return own * nearest, np.abs(own - nearest)


def _shrink(grid: Grid) -> Grid:
    """Return the means of the cells of a grid, (COARSE, COARSE)."""
    size = SIDE // COARSE
    means = grid.reshape(COARSE, size, COARSE, size).mean(axis=(1, 3))
    coarse: Grid = (means + 0.5).astype(np.uint8)
    return coarse


def _standardize(grids: Grid) -> Vectors:
    """Return grids as (n, cells) with mean 0 and standard deviation 1; 0 for one grey level."""
    rows = grids.reshape(len(grids), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(rows.std(axis=1, keepdims=True), 1e-3)
    return rows
