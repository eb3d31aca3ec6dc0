"""Local features: points of a picture with a descriptor each, by which copies are found and proven.

Points and descriptors are SIFT (D. G. Lowe, "Distinctive image features from scale-invariant
keypoints", IJCV 2004) of OpenCV; descriptors are compared as RootSIFT (R. Arandjelovic and
A. Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012).

There are two kinds. Compact features are stored for every picture, at most 4 KB: few points, spread
over the picture, each with a code of 128 bits: the signs of a fixed projection of its RootSIFT
descriptor, as in H. Jegou, M. Douze and C. Schmid, "Hamming embedding and weak geometric
consistency", ECCV 2008. Those of a frame of a film have more points, at most 9 KB, so that it can
be looked at closely without decoding the film. Dense features are of a query, or of a hit that is
looked at closely: more points with whole descriptors. `scripts/train/local_features.py` makes the
projection.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

BITS = 128
"""Bits of a code."""
COMPACT_COUNT, FRAME_COUNT, DENSE_COUNT = 160, 400, 1000
"""Points of a picture at most. The index has the first `COMPACT_COUNT` of a frame."""
MOST_COMPACT, MOST_FRAME, MOST_DENSE = 240, 1000, 1200
"""Points that are described, of which those are chosen: the strongest. Describing takes longest."""
COMPACT_SIDE, FRAME_SIDE, DENSE_SIDE, QUERY_SIDE = 256, 400, 512, 400
"""Most pixels of the long side of the picture in which they are found. A query that is smaller than
the last one is enlarged to it."""
CONTRAST, DENSE_CONTRAST = 0.03, 0.015
"""Least contrast of a point."""
EDGE = 12.0
"""Greatest ratio of the curvatures of a point: edges are no points."""
CELLS = 4
"""Cells of a picture from side to side that share the points."""
PIXELS_SIDE = 256
"""Most pixels of the long side of the small picture that goes with dense features."""
POINT = np.dtype([("x", "<u2"), ("y", "<u2"), ("size", "u1"), ("angle", "u1"), ("code", "u1", 16)])
"""A stored point. x, y: shares of width and height, of 65535. size: see `_pack_sizes`. angle: of
256 a turn."""
HEAD, DENSE_HEAD = struct.Struct("<HH"), struct.Struct("<HHHHH")
"""Width and height of the picture in which points were found; dense: count, width and height of the
small picture as well."""
PROJECTION = Path(__file__).with_name("local_features.npz")
MIRRORED_BINS = (8 - np.arange(8)) % 8
Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LocalFeatures:
    """Points of a picture of width x height pixels.

    points: (n, 4) float32, each x, y and size (diameter) in pixels, and angle in degrees. codes:
    (n, 16) uint8, the signs of the projected descriptors. descriptors: (n, 128) uint8 SIFT; None
    for compact features. pixels: (h, w, 3) uint8 RGB, the picture itself, small; None for compact
    features.
    """

    width: int
    height: int
    points: Floats
    codes: Codes
    descriptors: Codes | None = None
    pixels: Codes | None = None

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def directions(self) -> Floats:
        """The descriptors as RootSIFT, (n, 128) of unit length."""
        if self.descriptors is None:
            raise ValueError("compact features have no descriptors")
        return normalize_descriptors(self.descriptors)

    def cut(self, count: int) -> LocalFeatures:
        """Return compact features of the first points alone. count: how many at most."""
        return LocalFeatures(self.width, self.height, self.points[:count], self.codes[:count])

    def mirror(self) -> LocalFeatures:
        """Return the dense features of the picture mirrored left to right.

        A mirrored patch has the rows of its grid in reverse, and its gradients turned over.
        """
        if self.descriptors is None:
            raise ValueError("compact features cannot be mirrored: their codes mix all bins")
        points = self.points.copy()
        points[:, 0] = self.width - points[:, 0]
        points[:, 3] = (180 - points[:, 3]) % 360
        bins = self.descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
        descriptors = np.ascontiguousarray(bins[..., MIRRORED_BINS]).reshape(-1, 128)
        pixels = None if self.pixels is None else np.ascontiguousarray(self.pixels[:, ::-1])
        codes = project(descriptors)
        return LocalFeatures(self.width, self.height, points, codes, descriptors, pixels)


def extract(normalized: Image, kind: str) -> bytes:
    """Return features of a normalized picture, packed. kind: `compact`, `frame` for compact ones of
    a frame of a film, `dense`, or `query` for dense ones of a picture that is enlarged if it is
    small."""
    if kind in ("compact", "frame"):
        return extract_compact(normalized, kind == "frame")
    return extract_dense(normalized, kind == "query")


def extract_compact(normalized: Image, is_frame: bool = False) -> bytes:
    """Return the compact features of a normalized picture, packed; a few bytes if it has none."""
    side, contrast, most, count = COMPACT_SIDE, CONTRAST, MOST_COMPACT, COMPACT_COUNT
    if is_frame:
        side, contrast, most, count = FRAME_SIDE, DENSE_CONTRAST, MOST_FRAME, FRAME_COUNT
    grey = _scale(normalized, side, enlarge=False)
    points, responses, descriptors = _detect(grey, contrast, most)
    chosen = spread(points, responses, grey.shape, count)
    codes = project(descriptors[chosen])
    height, width = grey.shape
    return pack(LocalFeatures(width, height, points[chosen], codes))


def extract_dense(normalized: Image, is_query: bool) -> bytes:
    """Return the dense features of a normalized picture, packed. is_query: enlarge a small one."""
    side = QUERY_SIDE if is_query else DENSE_SIDE
    large = max(normalized.size) > side
    grey = _scale(normalized, DENSE_SIDE if large else side, enlarge=is_query)
    points, responses, descriptors = _detect(grey, DENSE_CONTRAST, MOST_DENSE)
    chosen = spread(points, responses, grey.shape, DENSE_COUNT)
    points, descriptors = points[chosen], np.ascontiguousarray(descriptors[chosen])
    small = normalized.copy()
    small.thumbnail((PIXELS_SIDE, PIXELS_SIDE), reducing_gap=2.0)
    head = DENSE_HEAD.pack(*grey.shape[::-1], len(points), *small.size)
    parts = (points.astype("<f4").tobytes(), descriptors.tobytes(), small.tobytes())
    return b"".join((head, *parts))


def pack(features: LocalFeatures) -> bytes:
    """Return compact features as bytes."""
    rows = np.zeros(len(features), POINT)
    width, height = max(features.width, 1), max(features.height, 1)
    x, y, size, angle = features.points.T
    rows["x"] = np.clip(np.round(x / width * 65535), 0, 65535)
    rows["y"] = np.clip(np.round(y / height * 65535), 0, 65535)
    rows["size"] = _pack_sizes(size)
    rows["angle"] = np.round(angle / 360 * 256).astype(np.int64) % 256
    rows["code"] = features.codes
    return HEAD.pack(features.width, features.height) + rows.tobytes()


def unpack(data: bytes) -> LocalFeatures:
    """Return what `pack` wrote. Raises ValueError for other bytes."""
    if len(data) < HEAD.size or (len(data) - HEAD.size) % POINT.itemsize:
        raise ValueError("these bytes are no local features")
    width, height = HEAD.unpack_from(data)
    rows = np.frombuffer(data, POINT, offset=HEAD.size)
    return LocalFeatures(width, height, unpack_points(rows, width, height), rows["code"].copy())


def unpack_points(rows: npt.NDArray[Any], width: Any, height: Any) -> Floats:
    """Return the (n, 4) points of stored ones. width, height: of their pictures, in pixels."""
    x, y = rows["x"] / np.float32(65535) * width, rows["y"] / np.float32(65535) * height
    size = 2.0 ** (rows["size"].astype(np.float32) / 24)
    angle = rows["angle"].astype(np.float32) * np.float32(360 / 256)
    points: Floats = np.stack([x, y, size, angle], axis=1).astype(np.float32)
    return points


def unpack_dense(data: bytes) -> LocalFeatures:
    """Return what `extract_dense` wrote. Raises ValueError for other bytes."""
    if len(data) < DENSE_HEAD.size:
        raise ValueError("these bytes are no local features")
    width, height, count, small_width, small_height = DENSE_HEAD.unpack_from(data)
    middle = DENSE_HEAD.size + 16 * count
    end = middle + 128 * count
    if len(data) != end + 3 * small_width * small_height:
        raise ValueError("these bytes are no local features")
    points = np.frombuffer(data[DENSE_HEAD.size : middle], "<f4").reshape(count, 4)
    descriptors = np.frombuffer(data[middle:end], np.uint8).reshape(count, 128)
    pixels = np.frombuffer(data[end:], np.uint8).reshape(small_height, small_width, 3)
    codes = project(descriptors)
    return LocalFeatures(width, height, points.astype(np.float32), codes, descriptors, pixels)


def normalize_descriptors(descriptors: Codes) -> Floats:
    """Return SIFT descriptors (n, 128) as RootSIFT, unit length."""
    values = descriptors.astype(np.float32)
    root: Floats = np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1e-9))
    return root


def project(descriptors: Codes) -> Codes:
    """Return the codes (n, 16) of SIFT descriptors (n, 128)."""
    learned = _load_projection()
    values = (normalize_descriptors(descriptors) - learned.mean) @ learned.matrix
    return np.packbits(values > learned.thresholds, axis=1)


def count_words() -> int:
    """Return how many words there are."""
    return len(_load_projection().first) * len(_load_projection().second)


def find_words(codes: Codes, count: int = 1) -> npt.NDArray[np.int64]:
    """Return the nearest words of codes, (n, count), the nearest first.

    A word is a pair of centroids, one of the first and one of the second half of a code: an
    inverted multi-index (A. Babenko and V. Lempitsky, CVPR 2012).
    """
    if not len(codes):
        return np.zeros((0, count), np.int64)
    learned = _load_projection()
    signs = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
    if count == 1:
        halves = zip((learned.first, learned.second), np.hsplit(signs, 2), strict=True)
        first, second = (_measure(half, centroids).argmin(1) for centroids, half in halves)
        words_of_all: npt.NDArray[np.int64] = first * len(learned.second) + second
        return words_of_all[:, None]
    wide = min(len(learned.first), count)
    sums, words = [], []
    for centroids, half in zip((learned.first, learned.second), np.hsplit(signs, 2), strict=True):
        distances = _measure(half, centroids)
        order = np.argpartition(distances, wide - 1, 1)[:, :wide]
        sums.append(np.take_along_axis(distances, order, 1))
        words.append(order)
    total = (sums[0][:, :, None] + sums[1][:, None]).reshape(len(codes), -1)
    pairs = words[0][:, :, None] * len(learned.second) + words[1][:, None]
    best = np.argpartition(total, count - 1, 1)[:, :count]
    best = np.take_along_axis(best, np.argsort(np.take_along_axis(total, best, 1), 1), 1)
    chosen: npt.NDArray[np.int64] = np.take_along_axis(pairs.reshape(len(codes), -1), best, 1)
    return chosen


def _measure(half: Floats, centroids: Floats) -> Floats:
    """Return the squared distances (n, k) of halves of codes to centroids, but for a constant."""
    distances: Floats = (centroids**2).sum(1) - 2 * (half @ centroids.T)
    return distances


def spread(
    points: Floats, responses: Floats, shape: tuple[int, int], count: int
) -> npt.NDArray[np.int64]:
    """Choose points so that each part of a picture has its share: the best of each cell in turn.

    shape: height and width. Returns at most `count` positions in `points`, the best first.
    """
    height, width = shape
    column = np.minimum((points[:, 0] * CELLS / width).astype(np.int64), CELLS - 1)
    row = np.minimum((points[:, 1] * CELLS / height).astype(np.int64), CELLS - 1)
    cell = row * CELLS + column
    worth = responses * points[:, 2] ** 0.4  # large points survive more edits
    order = np.lexsort((-worth, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    rank = np.empty(len(points), np.int64)
    rank[order] = np.arange(len(points)) - np.repeat(
        starts, np.diff(np.append(starts, len(points)))
    )
    return np.lexsort((-worth, rank))[:count]


def _pack_sizes(sizes: Floats) -> npt.NDArray[np.uint8]:
    """Return diameters from 1 to 1500 pixels as steps of a 24th of an octave."""
    return np.clip(np.round(24 * np.log2(np.maximum(sizes, 1))), 0, 255).astype(np.uint8)


def _scale(normalized: Image, side: int, enlarge: bool) -> npt.NDArray[np.uint8]:
    """Return the grey pixels (h, w) of a picture whose long side has at most `side` pixels."""
    from PIL.Image import Resampling

    factor = side / max(normalized.size)
    if not enlarge:
        factor = min(1.0, factor)
    width, height = (max(1, round(one * factor)) for one in normalized.size)
    grey = normalized.convert("L")
    if (width, height) != normalized.size:
        grey = grey.resize((width, height), Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(grey)


def _detect(
    grey: npt.NDArray[np.uint8], contrast: float, most: int
) -> tuple[Floats, Floats, Codes]:
    """Return the strongest points (n, 4), their responses (n,) and SIFT descriptors (n, 128) uint8.

    A few more than `most` come if several are equally strong.
    """
    import cv2  # slow to import, and not every process needs it

    sift = cv2.SIFT.create(most, 3, contrast, EDGE, 1.6)
    keypoints, described = sift.detectAndCompute(grey, None)
    if not keypoints:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.uint8)
    rows = np.array([(*k.pt, k.size, k.angle, k.response) for k in keypoints], np.float32)
    return rows[:, :4], rows[:, 4], described.astype(np.uint8)


class Learned(NamedTuple):
    """What the training script makes. mean: (128,) of RootSIFT descriptors. matrix: (128, 128).
    thresholds: (128,) of projected values. first, second: (k, 64), centroids of halves of codes."""

    mean: Floats
    matrix: Floats
    thresholds: Floats
    first: Floats
    second: Floats


@lru_cache(maxsize=1)
def _load_projection() -> Learned:
    with np.load(PROJECTION, allow_pickle=False) as file:
        return Learned(*(file[name].astype(np.float32) for name in Learned._fields))
