"""Fits calibrations on edits of a library's own pictures, for which no labels are needed."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search.errors import LibraryError, LookalikeError
from search.media.edits import edit_randomly
from search.querying.calibration import (
    FEATURES,
    Array,
    Calibration,
    ScoredPair,
    calibration_error,
    fit,
    read_features,
)
from search.querying.pipeline import LibrarySearch, SearchParts
from search.querying.query import Query
from search.records.hits import Hit
from search.records.maintenance import CalibrationProgress, CalibrationReport

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)
LEAST = 30
"""Pictures that a library must have: fewer tell nothing of strangers."""
DEPTH = 10
"""Hits of a query among which its original and the most similar stranger are looked for."""
VERIFY_SECONDS = 600.0
"""For which the hits of a query are compared at most: all of them, however busy the machine is, so
that the same seed gives the same calibration."""
KEPT_OUT = 5
"""One in so many pictures is kept out of the first fit, and measures it."""


@dataclass(frozen=True)
class Pair:
    """A query and a hit. picture: place of the query's original among the sampled ones."""

    picture: int
    hit: Hit
    is_copy: bool


class LibraryCalibrator:
    """Fits what the scores of the library's own model mean on its pictures."""

    def __init__(self, parts: SearchParts) -> None:
        self._parts = parts
        self._search = LibrarySearch(parts, VERIFY_SECONDS)

    def calibrate(self, count: int, seed: int) -> Iterator[CalibrationProgress]:
        """Edit `count` pictures, search for them, and fit and store calibrations.

        Of each answer two hits count: the original, which is a copy, and the best other one, which
        is taken for a stranger unless it has the same pixels. So the probability holds where a
        query is as likely a copy as a stranger. The last progress has the report. Raises
        LibraryError for a library of fewer than 30 pictures, and LookalikeError.
        """
        begun, searcher = time.perf_counter(), self._search.open()
        ids = self._sample(count, seed)
        pairs, other = list[Pair](), None
        for place, picture_id in enumerate(ids):
            image = self._open(picture_id)
            if image is not None:
                rng = random.Random(f"{seed} {picture_id}")
                edited = edit_randomly(image, rng, other or image)
                pairs += self._search_for(place, picture_id, edited)
                other = image
            yield CalibrationProgress(place + 1, len(ids))
        fitted, errors = dict[str, Calibration](), dict[str, float]()
        usable = [one for one in pairs if one.hit.score is not None and not one.hit.low_content]
        for name, names in FEATURES.items():
            chosen = [one for one in usable if name != "verified" or one.hit.evidence is not None]
            is_copy = np.array([one.is_copy for one in chosen], bool)
            places = np.array([one.picture for one in chosen])
            scored = [ScoredPair(one.hit.score or 0.0, one.hit.evidence) for one in chosen]
            try:
                x = read_features(names, scored)
                fitted[name] = fit(names, x, is_copy)
                errors[name] = round(_measure(names, x, is_copy, places), 4)
            except ValueError:
                log.warning("no calibration by %s: its pairs are of one kind", name)
        if not fitted:
            raise LibraryError(
                "nothing could be fitted: no edited picture found its original; index the folders "
                "again, or use another model"
            )
        stored = {name: one.to_json() for name, one in fitted.items()}
        self._parts.catalog.set_calibration(searcher.space, stored)
        report = CalibrationReport(
            searcher.space.name,
            len({pair.picture for pair in pairs}),
            {name: one.pairs for name, one in fitted.items()},
            errors,
            round(time.perf_counter() - begun, 1),
        )
        yield CalibrationProgress(len(ids), len(ids), report)

    def _sample(self, count: int, seed: int) -> list[str]:
        """Return the ids of at most `count` random pictures. Raises LibraryError for too few."""
        reader = self._parts.reader
        row_ids = reader.newest(0, reader.count_listed())
        if len(row_ids) < LEAST:
            raise LibraryError(
                f"the library has {len(row_ids)} pictures, and a calibration needs {LEAST}; index "
                "more first"
            )
        chosen = random.Random(seed).sample(row_ids, min(count, len(row_ids)))
        summaries = reader.describe(chosen)
        return [one.id for one in summaries.values() if not one.low_content]

    def _open(self, picture_id: str) -> Image | None:
        """Return a picture of the library, at most 512 pixels on its short side; None if it cannot
        be read now."""
        try:
            image = f"id:{picture_id}"
            return self._parts.resolver.resolve(image, with_image=True, urgent=False).image
        except LookalikeError as error:
            log.info("left out of the calibration: %s", error)
            return None

    def _search_for(self, place: int, picture_id: str, edited: Image) -> list[Pair]:
        """Return the pairs of an edited picture: with its original, and the best stranger."""
        try:
            hits = self._search.search(Query.of(edited, k=DEPTH, verify=True))
        except LookalikeError as error:  # an edit may leave nothing to see
            log.info("left out of the calibration: %s", error)
            return []
        pixels = self._parts.reader.find_pixel_hash(picture_id)
        same = self._parts.reader.list_identical([pixels])
        identical = {one.id for one in self._parts.reader.describe(same).values()} | {picture_id}
        original = next((hit for hit in hits if hit.id in identical), None)
        stranger = next((hit for hit in hits if hit.id not in identical), None)
        pairs = [] if original is None else [Pair(place, original, True)]
        return pairs + ([] if stranger is None else [Pair(place, stranger, False)])


def _measure(names: Sequence[str], x: Array, is_copy: np.ndarray, places: np.ndarray) -> float:
    """Return the calibration error on pictures that the fit did not see."""
    kept_out = places % KEPT_OUT == 0
    predicted = fit(names, x[~kept_out], is_copy[~kept_out]).predict_all(x[kept_out])
    return calibration_error(predicted, is_copy[kept_out])
