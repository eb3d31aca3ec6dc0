"""Which picture of a group of duplicates is kept: rules in an order, each for those that the ones
before it leave equal."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.errors import KeepRuleError
from search.media.object_urls import relative_place, resolve_place

DEFAULT_RULES = ("largest", "metadata", "oldest")
RULES = {
    "largest": "the most pixels, then the most bytes",
    "oldest": "the earliest date, then the earliest time of a file",
    "sharpest": "the most detail at the same size; decodes the pictures",
    "metadata": "the most tags, ratings, captions and EXIF values",
    "folder:PATH": "a file in this folder",
}
"""Rule -> what it prefers."""
_RULE = re.compile(r'\s*(?:"((?:[^"]|"")+)"\s*|([^,]*)),')


@dataclass(frozen=True)
class Candidate:
    """What rules compare of a picture. key: tells it from others, with a stable order. date: text
    of its date, or None. modified: nanoseconds, of its oldest file. facts: how much is known of it.
    """

    key: tuple[bool, int, str]
    id: str
    paths: tuple[str, ...]
    pixels: int
    bytes: int
    date: str | None
    modified: int
    facts: int
    is_paired: bool = False


@dataclass(frozen=True)
class KeepRules:
    """Rules in their order. They never leave two equal: of the same worth, files of the user come
    before those that the library keeps, then shorter paths, then the order of the paths."""

    rules: tuple[str, ...] = DEFAULT_RULES

    @classmethod
    def parse(cls, text: str | Sequence[str] | None) -> KeepRules:
        """Parse `largest,oldest,folder:PATH`, or a list of rules. In a text, a rule may stand in
        quotes, as a folder with a comma must. Raises KeepRuleError."""
        if text is None:
            return cls()
        texts = _split_rules(text) if isinstance(text, str) else list(text)
        rules = []
        for one in texts:
            name, colon, folder = one.lstrip().partition(":")
            name, folder = name.strip(), folder.lstrip()
            is_folder = name == "folder" and folder
            if not is_folder and (colon or name not in RULES):
                raise KeepRuleError(
                    f"there is no rule {one.strip()[:100]!r}; give some of "
                    f"{', '.join(RULES)}, with commas between them, and quotes around a rule with "
                    "a comma"
                )
            rules.append(f"folder:{resolve_place(folder)}" if is_folder else name)
        if len(set(rules)) < len(rules):
            raise KeepRuleError("a rule is given twice; give each once")
        return cls(tuple(rules))

    def choose(
        self, candidates: Sequence[Candidate], sharpness: Callable[[Sequence[str]], list[float]]
    ) -> Candidate:
        """Return the candidate that is kept.

        sharpness: measures pictures, by their ids. A picture with files that belong to it, such as
        the film of a live photo, comes before all rules: without it these files would be left over.
        """
        left = _best(candidates, [one.is_paired for one in candidates])
        for rule in self.rules:
            if len(left) == 1:
                break
            name, _, folder = rule.partition(":")
            if name == "sharpest":
                left = _best(left, sharpness([one.id for one in left]))
            elif name == "folder":
                left = _best(left, [any(is_in(p, folder) for p in one.paths) for one in left])
            elif name == "largest":
                left = _best(left, [(one.pixels, one.bytes) for one in left])
            elif name == "metadata":
                left = _best(left, [one.facts for one in left])
            else:  # the least text of a date and the least time
                earliest = min((one.date or "~", one.modified) for one in left)
                left = [one for one in left if (one.date or "~", one.modified) == earliest]
        return min(left, key=lambda one: one.key)


def is_in(path: str, folder: str) -> bool:
    """Return whether a path or URL is in a folder or below."""
    return relative_place(path, folder) is not None


def measure_sharpness(previews: Sequence[bytes]) -> list[float]:
    """Return how much detail pictures have: the variance of the Laplacian of their grey levels, at
    the size of the smallest of them.

    previews: JPEG files. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
    ICPR 2000.
    """
    import cv2
    import numpy as np

    flag = cv2.IMREAD_GRAYSCALE
    greys = [np.asarray(cv2.imdecode(np.frombuffer(one, np.uint8), flag)) for one in previews]
    least = min(max(grey.shape) for grey in greys)
    values = []
    for grey in greys:
        scale = least / max(grey.shape)
        size = tuple(max(1, math.floor(side * scale + 0.5)) for side in grey.shape[::-1])
        small = grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        values.append(float(cv2.Laplacian(small, cv2.CV_64F).var()))
    return values


def stem_of(path: str) -> tuple[str, str, str]:
    """Return folder, name without its ending, and ending of a path; the last two in lower case."""
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name.casefold())
    return folder, stem, ending


def _split_rules(text: str) -> list[str]:
    """Split a text at its commas but those in quotes. Two quotes in these are one."""
    parts = _RULE.findall(f"{text},")
    return [quoted.replace('""', '"') if quoted else plain.strip() for quoted, plain in parts]


def _best(candidates: Sequence[Candidate], values: Sequence[object]) -> list[Candidate]:
    """Return the candidates of the greatest value."""
    most = max(values)  # type: ignore[type-var]
    return [one for one, value in zip(candidates, values, strict=True) if value == most]
