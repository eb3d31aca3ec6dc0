"""Whether two pictures show the same: matching points, a robust transform, and equal pixels.

A transform takes pixels of the query to pixels of the hit, both as their dense features see them.
It is a similarity unless a homography explains clearly more points, since a homography fits any
four. Homographies are estimated by MAGSAC++ (D. Barath et al., "MAGSAC++, a fast, reliable and
accurate robust estimator", CVPR 2020) of OpenCV. A transform counts only if it is one that a person
could have made, and if the points that agree with it are neither on a line nor all alike, as those
of stripes are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from search.media.colors import measure_distance, to_lab
from search.media.local_features import Codes, Floats, LocalFeatures

Pairs = npt.NDArray[np.int64]
"""(n, 2) positions: of a point of the query, and of one of the hit."""
Matrix = npt.NDArray[np.float64]
RATIO = 0.85
"""Greatest distance of the nearest descriptor as a share of that of the second nearest."""
MOST_BITS = 36
TOLERANCE = 3.0
"""Pixels that a point may be off. The first guess, by one pair alone, may be off by so many times
more:"""
LOOSE = 3.5
MOST_SCALE, MOST_ANISOTROPY, MOST_PERSPECTIVE = 16.0, 4.0, 4.0
SAME_BITS = 12
"""Codes that differ in at most so many bits are of points that look the same."""
LEAST_WIDTH = 0.06
"""Least width of a cloud of points, as a share of its length."""
MOST_PARTS, LEAST_PART = 3, 15
"""Parts of a picture that may have moved each in its own way, and points that a further part needs.
What moves before a camera can have more points than the rest: the part with the most equal blocks
is where the pictures lie on each other."""
BLOCK = 12
"""Pixels of a side of the blocks in which two pictures are compared."""
LEAST_CONTRAST = 4.0
"""Standard deviation of grey levels from which on a block shows anything."""
WHOLE_SIDE = 96
"""Pixels of the long side at which the ways to lay one whole picture on another are compared."""
NEAR = 0.25
"""Share of the width of a hit by which things may move between two frames, and still tell that the
frames are near in time."""
EQUAL = 0.6
"""Correlation of two blocks from which on they show the same."""


@dataclass(frozen=True)
class Alignment:
    """How a query lies on a hit.

    matrix: (3, 3), from pixels of the query to those of the hit; it turns the query over if
    mirrored. inliers: distinct points that agree. agreement: share of the blocks with content that
    show the same, 0 to 1. blocks: how many there are. color_distance: mean CIEDE2000 of what lies
    on each other. matches: points that look the same, and lie within `NEAR` of where the matrix
    takes them, as those of what moved do.
    """

    matrix: Matrix
    mirrored: bool
    inliers: int
    agreement: float
    blocks: int
    color_distance: float
    matches: int = 0


def match_codes(query: Codes, hit: Codes) -> Pairs:
    """Return the nearest point of the query for each point of a hit whose code is near enough."""
    if not len(query) or not len(hit):
        return np.zeros((0, 2), np.int64)
    first = np.ascontiguousarray(query).view(np.uint64)
    second = np.ascontiguousarray(hit).view(np.uint64)
    bits = np.bitwise_count(first[:, None, 0] ^ second[None, :, 0])
    bits = bits + np.bitwise_count(first[:, None, 1] ^ second[None, :, 1])
    best = bits.argmin(0)
    near = np.flatnonzero(bits[best, np.arange(len(hit))] <= MOST_BITS)
    return np.stack([best[near], near], axis=1)


def match_points(query: LocalFeatures, hit: LocalFeatures) -> Pairs:
    """Return pairs of points that look the same: by descriptors, or by codes if the features of the
    hit are compact."""
    if hit.descriptors is None:
        return match_codes(query.codes, hit.codes)
    return match_descriptors(query, hit)


def match_descriptors(query: LocalFeatures, hit: LocalFeatures) -> Pairs:
    """Return pairs of points that are nearest to each other, and clearly nearer than others."""
    if query.descriptors is None or hit.descriptors is None or min(len(query), len(hit)) < 2:
        return np.zeros((0, 2), np.int64)
    cosines = query.directions @ hit.directions.T
    best = cosines.argmax(1)
    rows = np.arange(len(query))
    mutual = cosines.argmax(0)[best] == rows
    nearest = cosines[rows, best]
    second = np.partition(cosines, -2, axis=1)[:, -2]
    distinct = 2 - 2 * nearest < RATIO**2 * (2 - 2 * second)
    chosen = np.flatnonzero(mutual & distinct)
    return np.stack([chosen, best[chosen]], axis=1)


def find_consensus(query: Floats, hit: Floats, tolerance: float) -> npt.NDArray[np.bool_]:
    """Return which of some pairs agree with the similarity that one of them defines: that with the
    most distinct points.

    query, hit: (n, 4) points of each pair, with size and angle. tolerance: in pixels of the hit.
    """
    if len(query) < 2:
        return np.ones(len(query), bool)
    scale = hit[:, 2] / query[:, 2]
    turn = np.deg2rad(hit[:, 3] - query[:, 3])
    factor = scale * np.exp(1j * turn)
    q, h = query[:, 0] + 1j * query[:, 1], hit[:, 0] + 1j * hit[:, 1]
    error = factor[:, None] * (q[None] - q[:, None]) + (h[:, None] - h[None])
    slack = tolerance**2 * np.clip(scale, 0.25, 4)[:, None]
    ratio = np.log2(scale)
    direction = np.exp(1j * turn)
    twist = np.outer(direction.real, direction.real) + np.outer(direction.imag, direction.imag)
    agrees: npt.NDArray[np.bool_] = error.real**2 + error.imag**2 < slack
    agrees &= (np.abs(ratio[:, None] - ratio[None]) < 0.6) & (twist > np.cos(np.deg2rad(25)))
    best: npt.NDArray[np.bool_] = agrees[0]
    most = -1
    for row in np.argsort(-agrees.sum(1), kind="stable")[:3]:
        count = count_distinct(query[agrees[row]], hit[agrees[row]])
        if count > most:
            best, most = agrees[row], count
    return best


def count_distinct(query: Floats, hit: Floats, codes: Codes | None = None) -> int:
    """Return how many of some pairs are of different points, in the query and in the hit.

    codes: of the points of the query; points that look the same count once.
    """
    count = min(_count_places(query), _count_places(hit))
    if codes is not None and count:
        count = min(count, _count_different(codes))
    return count


def _count_places(points: Floats) -> int:
    """Return how many points are left if those within about four pixels of another count once."""
    cells = np.round(points[:, :2] / 4).astype(np.int64)
    return len(set((cells[:, 0] * 65536 + cells[:, 1]).tolist()))


def _count_different(codes: Codes) -> int:
    """Return how many codes are left if those that look like an earlier one are taken out."""
    words = np.ascontiguousarray(codes).view(np.uint64)
    bits = np.bitwise_count(words[:, None] ^ words[None]).sum(2)
    left = np.ones(len(codes), bool)
    for i in range(len(codes)):
        if left[i]:
            left[i + 1 :] &= bits[i, i + 1 :] > SAME_BITS
    return int(left.sum())


def align(query: LocalFeatures, hit: LocalFeatures, mirrored: bool = False) -> Alignment | None:
    """Return how a query lies on a hit; None if nothing tells.

    query: its dense features. hit: dense ones too, or compact ones with pixels. mirrored: `query`
    is the mirrored one; the matrix is of the query itself.
    """
    every = pairs = match_points(query, hit)
    best, pairs = _align_part(query, hit, pairs, mirrored)
    for _ in range(MOST_PARTS - 1):
        if best is None or len(pairs) < LEAST_PART:
            break
        part, pairs = _align_part(query, hit, pairs, mirrored)
        if part is None or part.inliers < LEAST_PART:
            break
        if part.agreement * part.blocks > best.agreement * best.blocks:
            best = part
    return None if best is None else replace(best, matches=_count_near(query, hit, every, best))


def _count_near(query: LocalFeatures, hit: LocalFeatures, pairs: Pairs, best: Alignment) -> int:
    """Return how many pairs of points are within `NEAR` of where an alignment takes them."""
    points = np.column_stack([query.points[pairs[:, 0], :2], np.ones(len(pairs))])
    if best.mirrored:
        points[:, 0] = query.width - points[:, 0]
    moved = points @ best.matrix.T
    error = moved[:, :2] / moved[:, 2:] - hit.points[pairs[:, 1], :2]
    return int((np.hypot(*error.T) < NEAR * hit.width).sum())


def _align_part(
    query: LocalFeatures, hit: LocalFeatures, pairs: Pairs, mirrored: bool
) -> tuple[Alignment | None, Pairs]:
    """Return how most of some pairs of points lie, if anything tells, and the other pairs."""
    best, most, rest = None, 0, pairs
    if len(pairs) < 4:
        return None, rest
    for matrix, agree in _estimate(query.points[pairs[:, 0]], hit.points[pairs[:, 1]]):
        own, other = query.points[pairs[agree, 0]], hit.points[pairs[agree, 1]]
        count = count_distinct(own, other, query.codes[pairs[agree, 0]])
        usable = is_plausible(matrix, query, hit) and not (_is_line(own) or _is_line(other))
        if usable and count > 1.2 * most:
            best, most, rest = matrix, count, np.delete(pairs, agree, axis=0)
    if best is None:
        return None, rest
    return measure(query, hit, best, most, mirrored), rest


def align_whole(query: LocalFeatures, hit: LocalFeatures) -> Alignment:
    """Return how a whole query lies best on a whole hit, if it is turned by quarters or mirrored,
    by their pixels alone. For pictures with few points."""
    small = _shrink(query, WHOLE_SIDE), _shrink(hit, WHOLE_SIDE)
    ways = list(product(range(4), (False, True)))
    matrices = [_fit_whole(query, hit, *way) for way in ways]
    scores = [_compare(*small, matrix)[0] for matrix in matrices]
    best = max(range(len(ways)), key=scores.__getitem__)
    agreement, blocks, distance = _compare(query, hit, matrices[best])
    return Alignment(matrices[best], ways[best][1], 0, agreement, blocks, distance)


def _shrink(features: LocalFeatures, side: int) -> LocalFeatures:
    """Return the same with a smaller picture."""
    if features.pixels is None or max(features.pixels.shape[:2]) <= side:
        return features
    height, width = features.pixels.shape[:2]
    factor = side / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    pixels = cv2.resize(features.pixels, size, interpolation=cv2.INTER_AREA)
    return replace(features, pixels=pixels.astype(np.uint8))


def _fit_whole(query: LocalFeatures, hit: LocalFeatures, turns: int, mirrored: bool) -> Matrix:
    """Return the affine transform of the whole query onto the whole hit."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    target = np.roll(corners, -turns, axis=0)
    source = corners * (1, 1)
    if mirrored:
        source = np.stack([1 - source[:, 0], source[:, 1]], axis=1)
    own = (source * (query.width, query.height)).astype(np.float32)
    other = (target * (hit.width, hit.height)).astype(np.float32)
    return np.vstack([cv2.getAffineTransform(own[:3], other[:3]), (0, 0, 1)])


def _estimate(query: Floats, hit: Floats) -> list[tuple[Matrix, npt.NDArray[np.int64]]]:
    """Return transforms of pairs of points with the positions of the pairs that agree: those that
    need the most evidence last."""
    estimates = list[tuple[Matrix, npt.NDArray[np.int64]]]()
    consensus = np.flatnonzero(find_consensus(query, hit, LOOSE * TOLERANCE))
    own, other = query[:, :2].astype(np.float64), hit[:, :2].astype(np.float64)
    scale = float(np.median(hit[consensus, 2] / query[consensus, 2])) if len(consensus) else 1.0
    tolerance = TOLERANCE * min(max(scale, 1.0), 4.0)
    for chosen in (consensus, np.arange(len(query))):
        if len(chosen) < 4:
            continue
        similarity, mask = cv2.estimateAffinePartial2D(
            own[chosen], other[chosen], method=cv2.RANSAC, ransacReprojThreshold=tolerance
        )
        if similarity is not None:
            whole = np.vstack([similarity, (0, 0, 1)]).astype(np.float64)
            estimates.append((whole, chosen[mask.ravel() > 0]))
        if len(chosen) >= 8:
            homography, mask = cv2.findHomography(
                own[chosen], other[chosen], cv2.USAC_MAGSAC, tolerance, None, 2000, 0.999
            )
            if homography is not None:
                estimates.append((homography.astype(np.float64), chosen[mask.ravel() > 0]))
    return estimates


def is_plausible(matrix: Matrix, query: LocalFeatures, hit: LocalFeatures) -> bool:
    """Return whether a person could have made a transform: no side turned over, squeezed, or drawn
    to a point, and neither picture a speck in the other."""
    if not np.isfinite(matrix).all():
        return False
    corners = np.array([(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], np.float64)
    corners *= (query.width, query.height, 1)
    moved = corners @ matrix.T
    depth = moved[:, 2] / matrix[2, 2] if matrix[2, 2] else moved[:, 2]
    if depth.min() <= 0 or depth.max() > MOST_PERSPECTIVE * depth.min():
        return False
    center = np.array([query.width / 2, query.height / 2, 1.0])
    x, y, w = matrix @ center
    jacobian = (matrix[:2, :2] - np.outer((x / w, y / w), matrix[2, :2])) / w
    if np.linalg.det(jacobian) <= 0:
        return False
    large, small = np.linalg.svd(jacobian, compute_uv=False)
    if large > MOST_ANISOTROPY * small:
        return False
    return bool(1 / MOST_SCALE <= (large * small) ** 0.5 <= MOST_SCALE)


def _is_line(points: Floats) -> bool:
    """Return whether points lie on a line, or all in one place."""
    if len(points) < 3:
        return True
    spreads = np.linalg.svd(points[:, :2] - points[:, :2].mean(0), compute_uv=False)
    spreads /= len(points) ** 0.5
    return bool(spreads[1] < max(2.0, LEAST_WIDTH * spreads[0]))


def measure(
    query: LocalFeatures, hit: LocalFeatures, matrix: Matrix, inliers: int, mirrored: bool
) -> Alignment:
    """Compare the pixels of a query with those of a hit that it lies on.

    mirrored: `query` is mirrored, and so is what `matrix` takes; the alignment has the matrix of
    the query itself.
    """
    agreement, blocks, distance = _compare(query, hit, matrix)
    if mirrored:
        matrix = matrix @ np.array([[-1, 0, query.width], [0, 1, 0], [0, 0, 1]], np.float64)
    return Alignment(matrix, mirrored, inliers, agreement, blocks, distance)


def _compare(query: LocalFeatures, hit: LocalFeatures, matrix: Matrix) -> tuple[float, int, float]:
    """Return the share of blocks that agree, how many have content, and the distance of colors."""
    if query.pixels is None or hit.pixels is None:
        return 0.0, 0, 0.0
    small = [
        np.diag((one.pixels.shape[1] / one.width, one.pixels.shape[0] / one.height, 1.0))
        for one in (query, hit)
        if one.pixels is not None
    ]
    onto: Matrix = small[1] @ matrix @ invert(small[0])
    first, second = query.pixels, hit.pixels
    scale = abs(np.linalg.det(onto[:2, :2])) ** 0.5
    if scale > 1:  # the hit has more pixels, so it is brought to the query
        first, second, onto, scale = second, first, invert(onto), 1 / scale
    # the first has more detail than the second shows: take it out, then bring it to the second
    height, width = first.shape[:2]
    reduced = (max(8, round(width * scale)), max(8, round(height * scale)))
    shrunk = cv2.resize(first, reduced, interpolation=cv2.INTER_AREA) if scale < 0.9 else first
    back = np.diag((width / shrunk.shape[1], height / shrunk.shape[0], 1.0))
    size = (second.shape[1], second.shape[0])
    warped = cv2.warpPerspective(shrunk, onto @ back, size, flags=cv2.INTER_LINEAR)
    ones = np.full(shrunk.shape[:2], 255, np.uint8)
    inside = cv2.warpPerspective(ones, onto @ back, size, flags=cv2.INTER_NEAREST) > 0
    return _compare_blocks(warped.astype(np.uint8), second, inside)


def _compare_blocks(
    first: Codes, second: Codes, inside: npt.NDArray[np.bool_]
) -> tuple[float, int, float]:
    """Compare two pictures (h, w, 3) where both are `inside`. Returns as `_compare`."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return 0.0, 0, 0.0
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    first, second, inside = first[box], second[box], inside[box]
    block = max(6, min(BLOCK, min(inside.shape) // 4))
    height, width = (side // block for side in inside.shape)
    if not height or not width:
        return 0.0, 0, 0.0

    def split(one: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        whole = one[: height * block, : width * block]
        parts = whole.reshape(height, block, width, block).swapaxes(1, 2)
        return parts.reshape(height * width, block * block)

    greys = [
        split(cv2.GaussianBlur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float32))
        for one in (np.ascontiguousarray(first), np.ascontiguousarray(second))
    ]
    whole = split(inside.astype(np.float32)).min(1) > 0
    a, b = (one - one.mean(1, keepdims=True) for one in greys)
    deviations = [np.sqrt((one**2).mean(1)) for one in (a, b)]
    shows = whole & (np.minimum(*deviations) > LEAST_CONTRAST)
    if not shows.any():
        return 0.0, 0, 0.0
    product_ = (a * b).mean(1) / np.maximum(deviations[0] * deviations[1], 1e-6)
    agreement = float((product_[shows] > EQUAL).mean())
    means = []
    for one in (first, second):
        color = np.stack([split(one[..., i].astype(np.float32)).mean(1) for i in range(3)], 1)
        means.append(to_lab(color[shows]))
    return agreement, int(shows.sum()), float(measure_distance(*means).mean())


def invert(matrix: Matrix) -> Matrix:
    """Return the transform back."""
    inverse: Matrix = np.linalg.inv(matrix).astype(np.float64)
    return inverse


def outline(matrix: Matrix, source: LocalFeatures, target: LocalFeatures) -> Matrix:
    """Return the corners of a picture in another one, (4, 2), from its upper left one clockwise, as
    shares of the other's width and height. They may be outside of 0 to 1.

    matrix: from pixels of `source` to those of `target`.
    """
    corners = np.array([(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], np.float64)
    moved = (corners * (source.width, source.height, 1)) @ matrix.T
    shares: Matrix = moved[:, :2] / moved[:, 2:] / (target.width, target.height)
    return shares


def measure_overlap(corners: Matrix) -> float:
    """Return the share of the unit square that a convex outline (4, 2) covers, 0 to 1."""
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    area, _ = cv2.intersectConvexConvex(corners.astype(np.float32), square)
    return float(min(1.0, max(0.0, area)))
