"""Make the projection that turns local descriptors into codes of 128 bits.

    .venv/bin/python scripts/train/local_features.py PICTURES.zip ... -o FILE.npz

The principal components of RootSIFT descriptors, turned by a random rotation, so that each bit has
about the same variance; a bit is 1 for half of the descriptors. The words of the index are pairs of
centroids of the two halves of the codes. Prints the share of equal bits of
two descriptors of the same point (of a picture and its half) and of two of other points.
"""

from __future__ import annotations

import argparse
import io
import random
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from search.media.local_features import BITS, normalize_descriptors

CENTROIDS = 128
"""Of each half of the codes: their pairs are the 16,384 words of the index."""


def load_pictures(paths: list[Path], count: int, seed: int) -> list[np.ndarray]:
    """Return the grey pixels of a sample of the pictures of zips."""
    pictures = []
    for path in paths:
        with zipfile.ZipFile(path) as file:
            names = sorted(one for one in file.namelist() if one.endswith((".webp", ".jpg")))
            for name in random.Random(seed).sample(names, min(count // len(paths), len(names))):
                pictures.append(np.asarray(Image.open(io.BytesIO(file.read(name))).convert("L")))
    return pictures


def describe(pictures: list[np.ndarray], each: int) -> np.ndarray:
    """Return the descriptors of the strongest points of each picture, (n, 128) uint8."""
    sift = cv2.SIFT.create(each, 3, 0.03, 12.0, 1.6)
    described = (sift.detectAndCompute(one, None)[1] for one in pictures)
    return np.concatenate([one for one in described if one is not None]).astype(np.uint8)


def pair(pictures: list[np.ndarray], each: int) -> tuple[np.ndarray, np.ndarray]:
    """Return descriptors of the same points of pictures, and of the pictures at .6 of their size
    and turned by 20 degrees."""
    sift, first, second = cv2.SIFT.create(each, 3, 0.03, 12.0, 1.6), [], []
    for grey in pictures:
        height, width = grey.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 0.6)
        small = cv2.warpAffine(grey, matrix, (width, height))
        points, described = sift.detectAndCompute(grey, None)
        others, other_described = sift.detectAndCompute(small, None)
        if not points or not others:
            continue
        moved = np.array([one.pt for one in points]) @ matrix[:, :2].T + matrix[:, 2]
        places = np.array([one.pt for one in others])
        distance = np.hypot(*(moved[:, None] - places[None]).transpose(2, 0, 1))
        sizes = np.array([one.size for one in points])[:, None] * 0.6
        ratio = np.array([one.size for one in others])[None] / sizes
        near = np.argwhere((distance < 1.5) & (np.abs(np.log2(ratio)) < 0.4))
        first.append(described[near[:, 0]])
        second.append(other_described[near[:, 1]])
    return np.concatenate(first), np.concatenate(second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zips", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=1500, help="pictures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures = load_pictures(options.zips, options.n, options.seed)
    held_out = pictures[: len(pictures) // 10]
    rows = normalize_descriptors(describe(pictures[len(held_out) :], 150))
    mean = rows.mean(0)
    _, components = np.linalg.eigh(np.cov((rows - mean).T))
    rotation = np.linalg.qr(np.random.default_rng(options.seed).normal(size=(BITS, BITS)))[0]
    matrix = (components[:, ::-1][:, :BITS] @ rotation).astype(np.float16)
    thresholds = np.median((rows - mean) @ matrix.astype(np.float32), axis=0)
    arrays = {"mean": mean.astype(np.float16), "matrix": matrix}
    arrays["thresholds"] = thresholds.astype(np.float32)

    def encode_rows(rows: np.ndarray) -> np.ndarray:
        return (rows - mean) @ matrix.astype(np.float32) > thresholds

    def encode(descriptors: np.ndarray) -> np.ndarray:
        return encode_rows(normalize_descriptors(descriptors))

    signs = encode_rows(rows).astype(np.float32) * 2 - 1
    for name, half in zip(("first", "second"), np.hsplit(signs, 2), strict=True):
        cv2.setRNGSeed(options.seed)
        stop = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0)
        centroids = cv2.kmeans(half, CENTROIDS, None, stop, 1, cv2.KMEANS_PP_CENTERS)[2]
        arrays[name] = centroids.astype(np.float16)
    np.savez(options.output, **arrays)

    first, second = (encode(one) for one in pair(held_out, 150))
    other = second[np.random.default_rng(options.seed).permutation(len(second))]
    same, strange = ((first != one).sum(1) for one in (second, other))
    print(f"{len(rows)} descriptors of {len(pictures)} pictures, seed {options.seed}")
    for name, one in (("same point", same), ("other points", strange)):
        quantiles = np.percentile(one, [1, 10, 50, 90, 99]).round().astype(int)
        print(f"bits that differ, {name} (n = {len(one)}): 1/10/50/90/99 % {quantiles.tolist()}")


if __name__ == "__main__":
    main()
