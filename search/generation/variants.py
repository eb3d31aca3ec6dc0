"""Variants of a picture: more pictures like it, made by a generator.

A start picture is noised and denoised under what the query is of. The start is the query itself
or, on request, one of the library's nearest other pictures. An acceptance test compares each result
with the query and with the start, whatever the generator.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator as Iterates, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, TypedDict

import numpy as np
from PIL import Image, ImageOps

from diffusion import ConfigError
from diffusion.sampling.variants import VariantSettings, nearest_regime, resolve_settings
from search.embedders.base import Embedder
from search.embedders.models import Models
from search.errors import BusyError, InputError, NeighbourError, QueryError
from search.generation.acceptance import Acceptance, least_similarity
from search.generation.generators.base import Generator
from search.generation.generators.own import scaled
from search.generation.generators.registry import Generators
from search.generation.library_pictures import LibraryPictures
from search.media.source_kinds import ImageSource
from search.records.hits import Hit
from search.records.variants import (
    MOST_VARIANTS,
    OWN_GENERATOR,
    SIGMAS,
    VARIANT_SIZES,
    VARIANT_STARTS,
    Variant,
    VariantProgress,
    Variants,
    VariantSource,
)
from search.runtime import Runtime
from search.types import Vectors

CANDIDATES_PER_VARIANT = 3  # at most
MAX_WAITING = 16  # requests in the queue
POLL_SECONDS = 0.2  # between two looks at the queue


class VariantOptions(TypedDict, total=False):
    """Options of the variants of a picture.

    n: number of variants, 1 to 64. regime: `near`, `same` (default) or `concept`. sigma: noise
    level instead of a regime, from 0; 80 and more is pure noise. guidance: 0 to 20, 1 is none.
    steps: of denoising, 1 to 1000. seed: of the first candidate, 64 bits. size: pixels of the long
    side, 64 to 512. start: `picture` (default), or `neighbours` to start from the library's nearest
    other pictures; these are variants of the `concept`, at the generator's `neighbour_sigma` or a
    sigma between 0 and 80. generator: `lookalike`, the folder of a diffusers pipeline, or its name
    on the hub; None for that of the settings.
    """

    n: int
    regime: str | None
    sigma: float | None
    guidance: float | None
    steps: int | None
    seed: int
    size: int
    start: str
    generator: str | PathLike[str] | None


@dataclass(frozen=True)
class VariantRequest:
    """Checked options. regime: names the acceptance test; None accepts every candidate. start:
    `picture` or `neighbours`. generator: its full name."""

    n: int
    settings: VariantSettings
    seed: int
    size: int
    regime: str | None
    start: str = "picture"
    generator: str = OWN_GENERATOR

    @classmethod
    def of(
        cls,
        generator: Generator,
        n: int = 4,
        regime: str | None = None,
        sigma: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        size: int = 256,
        start: str = "picture",
    ) -> VariantRequest:
        """Check options for a generator. Raises QueryError."""
        if not 1 <= n <= MOST_VARIANTS:
            raise QueryError(f"n is {n}; give 1 to {MOST_VARIANTS}")
        if not 0 <= seed <= 2**64 - CANDIDATES_PER_VARIANT * n:
            raise QueryError(f"seed {seed}: give a whole number of 64 bits, from 0")
        least, most = VARIANT_SIZES
        if not least <= size <= most:
            raise QueryError(f"size is {size}; give {least} to {most} pixels")
        if start not in VARIANT_STARTS:
            raise QueryError(f"from is {start!r}; give one of {', '.join(VARIANT_STARTS)}")
        neighbours = start == "neighbours"
        if neighbours and regime in ("near", "same"):
            raise QueryError(
                f"regime {regime}: variants that start from neighbours are of the `concept`; leave "
                "the regime out, or give a sigma"
            )
        if neighbours and sigma is None and regime in (None, "concept"):
            regime, sigma = None, generator.neighbour_sigma
        try:
            chosen = resolve_settings(regime, sigma, guidance, steps, generator.regimes)
        except ConfigError as error:
            raise QueryError(str(error)) from error
        if neighbours and not SIGMAS[0] < chosen.sigma < SIGMAS[1]:
            raise QueryError(
                f"sigma {chosen.sigma:g}: a variant would be the neighbour itself at 0, and have "
                f"nothing of it from {SIGMAS[1]:g} on; give a sigma between them"
            )
        if neighbours:
            regime = "concept"
        if regime is None:
            regime = nearest_regime(chosen.sigma, generator.regimes)
        tested = regime if n > 1 else None
        return cls(n, chosen, seed, size, tested, start, generator.name)


@dataclass(frozen=True)
class Start:
    """What a candidate starts from. picture: in the size of the variants. source: where it is from,
    None when it is the query."""

    picture: Image.Image
    source: VariantSource | None = None


class Queue:
    """Lets one request work at a time, in the order of arrival. Threads may share it."""

    def __init__(self) -> None:
        self._tickets: deque[object] = deque()
        self._change = threading.Condition()

    @contextmanager
    def place(self, patient: bool) -> Iterator[Callable[[], bool]]:
        """Hold a place in the queue. Yields a function that waits a moment and returns whether
        this place is the first. Raises BusyError when the queue is full, unless patient."""
        ticket = object()
        with self._change:
            if len(self._tickets) > MAX_WAITING and not patient:
                raise BusyError(f"{MAX_WAITING} others are waiting for variants; try again later")
            self._tickets.append(ticket)

        def wait_for_turn() -> bool:
            with self._change:
                return self._change.wait_for(lambda: self._tickets[0] is ticket, POLL_SECONDS)

        try:
            yield wait_for_turn
        finally:
            with self._change:
                self._tickets.remove(ticket)
                self._change.notify_all()


class VariantGenerator:
    """Makes the variants for one library. Threads may share it: it works on one request at a time.
    Each network pass is a piece of work for the inference thread, where searches go first."""

    def __init__(
        self, models: Models, runtime: Runtime, pictures: LibraryPictures, generators: Generators
    ) -> None:
        self._models, self._runtime, self.pictures = models, runtime, pictures
        self.generators, self._queue = generators, Queue()

    def with_pictures(self, pictures: LibraryPictures) -> VariantGenerator:
        """Return a generator that shares the models and the queue, and works with other
        pictures."""
        other = copy(self)
        other.pictures = pictures
        return other

    def request(
        self, generator: str | PathLike[str] | None = None, **options: Any
    ) -> VariantRequest:
        """Check the options of a request: those of `VariantOptions`. Raises QueryError."""
        return VariantRequest.of(self.generators.open(generator), **options)

    def generate(
        self, image: ImageSource, request: VariantRequest, patient: bool = False
    ) -> Iterates[VariantProgress, None, None]:
        """Make variants of a picture; the last progress carries them. patient: wait in a queue of
        any length. Raises LookalikeError."""
        start_time = time.monotonic()
        with self._queue.place(patient) as wait_for_turn:
            total = request.n * request.settings.steps
            yield VariantProgress(0, total)
            while not wait_for_turn():
                yield VariantProgress(0, total)
            generator = self.generators.take(request.generator)
            for step in generator.fetch():
                yield VariantProgress(step.done, step.total, phase="fetch")
            yield from self._generate(generator, self.pictures.load(image), request, start_time)

    def _generate(
        self,
        generator: Generator,
        picture: Image.Image,
        request: VariantRequest,
        start_time: float,
    ) -> Iterates[VariantProgress, None, None]:
        size = scaled(*picture.size, request.size)
        generator.check(request.settings, request.start == "neighbours")
        original = picture.resize(size, Image.Resampling.LANCZOS)
        embedder = self.pictures.open_embedder()
        query = self._embed(embedder, [picture])[0]
        test = self._make_test(embedder, query, request, original)
        find_start: Callable[[int], Start]
        if request.start == "neighbours":
            hits = self.pictures.find_neighbours(query)
            find_start = partial(self._open_neighbour, hits, size, {})
        else:
            find_start = partial(_same_start, Start(original))
        accepted, rejected = list[Variant](), list[tuple[float, Variant]]()
        tried, done, steps = 0, 0, request.settings.steps
        limit = request.n * CANDIDATES_PER_VARIANT if request.regime else request.n
        while len(accepted) < request.n and tried < limit:
            lacking = min(request.n - len(accepted), limit - tried)
            count = min(lacking, self._runtime.portion(generator.batch))
            seeds = range(request.seed + tried, request.seed + tried + count)
            total = (tried + request.n - len(accepted)) * steps
            starts = [find_start(seed) for seed in seeds]
            shown = tuple(variant.picture for variant in accepted)
            candidates, sigma = tuple[Image.Image, ...](), 0.0
            pictures = [start.picture for start in starts]
            with closing(generator.vary(picture, request.settings, seeds, pictures)) as states:
                for state in states:
                    candidates, sigma = state.pictures, state.sigma
                    done = max(done, tried * steps + state.step * count)
                    if candidates:
                        shown = (*(variant.picture for variant in accepted), *candidates)
                    yield VariantProgress(done, max(done, total), shown)
            similarities = np.clip(self._embed(embedder, candidates) @ query, -1.0, 1.0)
            rows = zip(seeds, starts, candidates, similarities.tolist(), strict=True)
            for seed, start, one, similarity in rows:
                distance = 0.0
                if request.regime is not None:
                    neighbour = start.picture if start.source else None
                    distance = test.distance(similarity, one, neighbour)
                variant = Variant(one, seed, sigma, similarity, distance == 0, start.source)
                if variant.accepted:
                    accepted.append(variant)
                else:
                    rejected.append((distance, variant))
            tried += count
        rejected.sort(key=lambda pair: pair[0])
        chosen = (*accepted, *(variant for _, variant in rejected))[: request.n]
        result = Variants(chosen, time.monotonic() - start_time, tried, len(accepted))
        done = max(done, tried * steps)
        yield VariantProgress(done, done, tuple(v.picture for v in chosen), result)

    def _open_neighbour(
        self,
        hits: Sequence[Hit],
        size: tuple[int, int],
        opened: dict[int, Start | None],
        seed: int,
    ) -> Start:
        """Return the start of a seed: neighbour number `seed` modulo their count, or the next one
        that can be read. opened: what was opened before by number, None if it cannot be read."""
        for place in range(seed, seed + len(hits)):
            number = place % len(hits)
            if number not in opened:
                opened[number] = self._load_neighbour(hits[number], size)
            if (start := opened[number]) is not None:
                return start
        raise NeighbourError(
            "none of the nearest pictures can be read; run `lookalike index` on their folders "
            "again, or start from `picture`"
        )

    def _load_neighbour(self, hit: Hit, size: tuple[int, int]) -> Start | None:
        """Crop and scale a neighbour to the shape and size of the variants. None if it is gone, has
        changed since it was indexed, or cannot be decoded."""
        try:
            picture = self.pictures.load(f"id:{hit.id}")
        except InputError:
            return None
        neighbour = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        return Start(neighbour, VariantSource(hit.id, hit.path))

    def fingerprints(self, request: VariantRequest) -> dict[str, str]:
        """Return the fingerprints of the generator's weights and of the library's model: variants
        depend on them and on the request. Raises ModelError."""
        weights = self.generators.open(request.generator).fingerprint
        return {"weights": weights, "model": self.pictures.open_embedder().fingerprint}

    def _embed(self, embedder: Embedder, pictures: Sequence[Image.Image]) -> Vectors:
        return self._models.embed(embedder, [embedder.preprocessing(p) for p in pictures])

    def _make_test(
        self, embedder: Embedder, query: Vectors, request: VariantRequest, original: Image.Image
    ) -> Acceptance:
        """Return the acceptance test of a query's variants. At sigma 0 it accepts copies."""
        if request.regime is None:
            return Acceptance()
        strangers = self.pictures.stranger_vectors(embedder)
        least = least_similarity(query, strangers, request.regime)
        return Acceptance(least, original if request.settings.sigma else None)


def _same_start(start: Start, seed: int) -> Start:
    return start
