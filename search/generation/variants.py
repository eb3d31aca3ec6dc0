"""Variants of a picture: more pictures like it, made by the diffusion model.

A start picture is noised and denoised under the vector of the query. The start is the query itself
or, on request, one of the library's nearest other pictures. An acceptance test compares each result
with the query and with the start.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
from PIL import Image, ImageOps

from diffusion import CheckpointError, Config, ConfigError, Denoiser, load
from diffusion.model.checkpoint import read_description, shipped_path
from diffusion.sampling.canvas import Canvas, make_canvas
from diffusion.sampling.variants import (
    PURE_NOISE,
    VariantSettings,
    denoise_states,
    is_pure_noise,
    nearest_regime,
    resolve_settings,
)
from search.embedders.base import Embedder
from search.embedders.json_cache import JsonCache, file_hash
from search.embedders.models import Models
from search.errors import BusyError, InputError, ModelError, NeighbourError, QueryError
from search.generation.acceptance import Acceptance, least_similarity
from search.generation.library_pictures import LibraryPictures
from search.media.source_kinds import ImageSource
from search.records.hits import Hit
from search.records.variants import (
    MOST_VARIANTS,
    SIGMAS,
    VARIANT_SIZES,
    VARIANT_STARTS,
    Variant,
    VariantProgress,
    Variants,
    VariantSource,
)
from search.runtime import Runtime, torch
from search.types import Vectors

T = TypeVar("T")
BATCH = 4  # candidates that go through the network together: one pass takes under 100 ms
CANDIDATES_PER_VARIANT = 3  # at most
PREVIEW_STEPS = 3  # denoising steps between two previews
MAX_WAITING = 16  # requests in the queue
POLL_SECONDS = 0.2  # between two looks at the queue
NO_CONTENT_SIGMA = 20.0  # from here on, a model without vectors cannot tell one query from another

NEIGHBOUR_SIGMA = {"pixels": 1.5, "latent": 3.0}
"""Noise level of variants that start from neighbours, for models of each space.

For `latent` it was chosen by eye, from sheets of clothes, beaches, buildings, buses and animals at
sigma 1.5 to 5. At 2 and below, a result is its neighbour with another texture. At 3, details and
forms are new and shapes are whole, but layout and main colours stay those of the neighbour. From 4
on shapes fall apart, without more of the query in them. A guidance of 3 makes colours too strong.
"""


class VariantOptions(TypedDict, total=False):
    """Options of the variants of a picture.

    n: number of variants, 1 to 64. regime: `near`, `same` (default) or `concept`. sigma: noise
    level instead of a regime, from 0; 80 and more is pure noise. guidance: 0 to 20, 1 is none.
    steps: of denoising, 1 to 1000. seed: of the first candidate, 64 bits. size: pixels of the long
    side, 64 to 512. start: `picture` (default), or `neighbours` to start from the library's nearest
    other pictures; these are variants of the `concept`, at `NEIGHBOUR_SIGMA` or a sigma between 0
    and 80.
    """

    n: int
    regime: str | None
    sigma: float | None
    guidance: float | None
    steps: int | None
    seed: int
    size: int
    start: str


@dataclass(frozen=True)
class VariantRequest:
    """Checked options. regime: names the acceptance test; None accepts every candidate. start:
    `picture` or `neighbours`."""

    n: int
    settings: VariantSettings
    seed: int
    size: int
    regime: str | None
    start: str = "picture"

    @classmethod
    def of(
        cls,
        n: int = 4,
        regime: str | None = None,
        sigma: float | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        seed: int = 0,
        size: int = 256,
        start: str = "picture",
        space: str = "latent",
    ) -> VariantRequest:
        """Check options. space: of the diffusion model, `pixels` or `latent`. Raises QueryError."""
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
            regime, sigma = None, NEIGHBOUR_SIGMA[space]
        try:
            chosen = resolve_settings(regime, sigma, guidance, steps, space)
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
            regime = nearest_regime(chosen.sigma, space)
        return cls(n, chosen, seed, size, regime if n > 1 else None, start)


@dataclass(frozen=True)
class Start:
    """What candidates start from. canvas: of the picture that is noised. neighbour: that picture
    in the size of the variants, and source: where it is from; None when it is the query."""

    canvas: Canvas
    neighbour: Image.Image | None = None
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
        self,
        models: Models,
        runtime: Runtime,
        pictures: LibraryPictures,
        notes: JsonCache,
        checkpoint: Path | None,
        device: str,
    ) -> None:
        """checkpoint: weights of the diffusion model; None for the shipped ones."""
        self._models, self._runtime, self.pictures = models, runtime, pictures
        self._notes, self._device = notes, device
        self._checkpoint = shipped_path("photo") if checkpoint is None else checkpoint.expanduser()
        self._queue, self._opening = Queue(), threading.Lock()
        self._opened: list[tuple[Denoiser, Embedder | None]] = []  # at most one

    def with_pictures(self, pictures: LibraryPictures) -> VariantGenerator:
        """Return a generator that shares the model and the queue, and works with other pictures."""
        other = copy(self)
        other.pictures = pictures
        return other

    def generate(
        self, image: ImageSource, request: VariantRequest, patient: bool = False
    ) -> Generator[VariantProgress, None, None]:
        """Make variants of a picture; the last progress carries them. patient: wait in a queue of
        any length. Raises LookalikeError."""
        start_time = time.monotonic()
        with self._queue.place(patient) as wait_for_turn:
            total = request.n * request.settings.steps
            yield VariantProgress(0, total)
            while not wait_for_turn():
                yield VariantProgress(0, total)
            yield from self._generate(self.pictures.load(image), request, start_time)

    def _generate(
        self, picture: Image.Image, request: VariantRequest, start_time: float
    ) -> Generator[VariantProgress, None, None]:
        size = scaled(*picture.size, request.size)
        model, encoder = self.open_model()
        if encoder is None and request.settings.sigma >= NO_CONTENT_SIGMA:
            raise QueryError(
                f"sigma {request.settings.sigma:g}: nothing of the picture is left under so much "
                "noise, and these weights were trained without vectors of pictures; give a sigma "
                f"below {NO_CONTENT_SIGMA:g}, or other weights"
            )
        if encoder is None and request.start == "neighbours":
            raise QueryError(
                "these weights were trained without vectors of pictures, so a neighbour cannot "
                "become more like the query; start from `picture`, or give other weights"
            )
        original = picture.resize(size, Image.Resampling.LANCZOS)
        embedder = self.pictures.open_embedder()
        query = self._embed(embedder, [picture])[0]
        condition = None
        if encoder is not None:
            condition = torch.from_numpy(self._embed(encoder, [seen_by(model, picture)])[0])
        test = self._make_test(embedder, query, request, original)
        find_start: Callable[[int], Start]
        if request.start == "neighbours":
            hits = self.pictures.find_neighbours(query)
            find_start = partial(self._open_neighbour, model, hits, size, {})
        else:
            start = Start(self._run_in_pieces(make_canvas(model, original)))
            find_start = partial(_same_start, start)
        accepted, rejected = list[Variant](), list[tuple[float, Variant]]()
        tried, done, steps = 0, 0, request.settings.steps
        limit = request.n * CANDIDATES_PER_VARIANT if request.regime else request.n
        sigma = min(request.settings.sigma, PURE_NOISE, model.schedule.sigma_max)
        detail = not is_pure_noise(model, request.settings.sigma)
        while len(accepted) < request.n and tried < limit:
            lacking = min(request.n - len(accepted), limit - tried)
            count = min(lacking, self._runtime.portion(BATCH))
            seeds = range(request.seed + tried, request.seed + tried + count)
            total = (tried + request.n - len(accepted)) * steps
            starts = [find_start(seed) for seed in seeds]
            noised = x = torch.stack([start.canvas.x for start in starts])
            for step, last, x in self._denoise(model, noised, seeds, request.settings, condition):
                done += count
                if step % PREVIEW_STEPS == 0 and not last:
                    pairs = zip(starts, x, strict=True)
                    previews = [start.canvas.preview(one) for start, one in pairs]
                    shown = (*(v.picture for v in accepted), *previews)
                    yield VariantProgress(done, max(done, total), shown)
            candidates = [
                self._run_in_pieces(start.canvas.render(one, detail))
                for start, one in zip(starts, x, strict=True)
            ]
            shown = (*(v.picture for v in accepted), *candidates)
            yield VariantProgress(done, max(done, total), shown)
            similarities = np.clip(self._embed(embedder, candidates) @ query, -1.0, 1.0)
            rows = zip(seeds, starts, candidates, similarities.tolist(), strict=True)
            for seed, start, one, similarity in rows:
                distance = 0.0
                if request.regime is not None:
                    distance = test.distance(similarity, one, start.neighbour)
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
        model: Denoiser,
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
                opened[number] = self._load_neighbour(model, hits[number], size)
            if (start := opened[number]) is not None:
                return start
        raise NeighbourError(
            "none of the nearest pictures can be read; run `lookalike index` on their folders "
            "again, or start from `picture`"
        )

    def _load_neighbour(self, model: Denoiser, hit: Hit, size: tuple[int, int]) -> Start | None:
        """Crop and scale a neighbour to the shape and size of the variants. None if it is gone, has
        changed since it was indexed, or cannot be decoded."""
        try:
            picture = self.pictures.load(f"id:{hit.id}")
        except InputError:
            return None
        neighbour = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        canvas = self._run_in_pieces(make_canvas(model, neighbour))
        return Start(canvas, neighbour, VariantSource(hit.id, hit.path))

    def _denoise(
        self,
        model: Denoiser,
        start: torch.Tensor,
        seeds: Sequence[int],
        chosen: VariantSettings,
        condition: torch.Tensor | None,
    ) -> Iterator[tuple[int, bool, torch.Tensor]]:
        """Yield each step, whether it is the last, and the expected result, (B, C, h, w). Each step
        is one piece of work. start: (B, C, h, w), one for each seed."""
        if condition is not None:
            condition = condition.expand(len(seeds), *condition.shape)
        path = denoise_states(model, start, seeds, chosen, condition)

        def take_step() -> tuple[int, bool, torch.Tensor] | None:
            with torch.inference_mode():
                state = next(path, None)
                if state is None:
                    return None
                last = state.step == state.steps
                return state.step, last, (state.x if last else state.x0).float()

        while (step := self._runtime.run(take_step)) is not None:
            yield step

    def _run_in_pieces(self, work: Iterator[T | None]) -> T:
        """Return the last item of an iterator. Each item is one piece for the inference thread."""
        last = self._runtime.run_in_pieces(work)
        if last is None:
            raise ModelError("no variants can be made: the model gave no picture")
        return last

    @property
    def space(self) -> str:
        """`pixels` or `latent`: what the diffusion model works on."""
        try:
            return Config.from_json(read_description(self._checkpoint)["config"]).space
        except CheckpointError:
            return "latent"  # the error is raised where the model is opened

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of the diffusion weights and of the library's model: variants
        depend on them and on the request. Raises ModelError."""
        try:
            weights = file_hash(self._checkpoint, self._notes)
        except OSError as error:
            raise ModelError(f"no variants can be made: {error}; give other weights") from error
        return {"weights": weights, "model": self.pictures.open_embedder().fingerprint}

    def _embed(self, embedder: Embedder, pictures: Sequence[Image.Image]) -> Vectors:
        return self._models.embed(embedder, [embedder.preprocessing(p) for p in pictures])

    def open_model(self) -> tuple[Denoiser, Embedder | None]:
        """Return the diffusion model, and the encoder of the vectors that it was trained on. They
        are opened when they are first used."""
        with self._opening:
            if not self._opened:
                try:
                    self._opened.append(self._load_model())
                except (CheckpointError, ModelError) as error:
                    raise ModelError(f"no variants can be made: {error}") from error
            return self._opened[0]

    def _load_model(self) -> tuple[Denoiser, Embedder | None]:
        path = self._checkpoint
        named, encoder, fingerprint = read_description(path).get("encoder"), None, None
        if named is not None:
            fingerprint = str(named["fingerprint"])
            encoder = self._models.open_version(str(named.get("name", "mini")), fingerprint)
        model = self._runtime.run(lambda: load(path, self._device, fingerprint))
        return model, encoder if model.config.shape.condition == "vector" else None

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


def seen_by(model: Denoiser, picture: Image.Image) -> Image.Image:
    """Scale a picture like those whose vectors the model was trained on: no larger, and square if
    they were as small as what it makes."""
    side = model.about.get("side", model.config.size)
    if side <= model.config.size:
        return ImageOps.fit(picture, (model.config.size,) * 2, Image.Resampling.LANCZOS)
    share = min(1.0, side / min(picture.size))
    return picture.resize(
        scaled(*picture.size, round(share * max(picture.size))), Image.Resampling.LANCZOS
    )


def scaled(width: int, height: int, long: int) -> tuple[int, int]:
    """Return width and height for a long side of so many pixels, in the same proportions."""
    scale = long / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
