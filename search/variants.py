"""More like this: the bridge to `diffusion`. A picture is noised and denoised under its vector; the
results are tested for acceptance."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
from PIL import Image, ImageOps

from diffusion import CheckpointError, Config, ConfigError, Denoiser, load
from diffusion.model.checkpoint import describe, shipped
from diffusion.sampling.canvas import Canvas, make_canvas
from diffusion.sampling.variants import Dial, dial, states
from search.acceptance import Acceptance, least_similarity
from search.embedders.base import Embedder, Pixels, Preparation, Vectors
from search.embedders.notes import Notes, file_hash
from search.errors import BusyError, ModelError, PictureError, QueryError
from search.images import fitted, render
from search.loader import Failure, Loaded, Loader, Source
from search.lookup import Lookup
from search.models import Models
from search.query import Picture, Term
from search.recording import Model
from search.records import (
    MOST_VARIANTS,
    VARIANT_SIZES,
    Variant,
    VariantProgress,
    Variants,
)
from search.runtime import Runtime, torch
from search.searcher import located

T = TypeVar("T")
GROUP = 4  # candidates that go through the network together: a pass of them takes under 100 ms
TRIES = 3  # candidates for each variant that is wanted, at most
SHOWN = 3  # steps from one look at the pictures to the next
WAITING = 16  # jobs in the queue
TICK = 0.2  # seconds between two looks at the queue
RECENT = 100_000  # pictures that came last, of which those are drawn
ENOUGH, SOME = 200, 1000  # pictures that make a library its own measure of strangers; taken at most
BLIND = 20.0  # sigma from which a model without vectors has nothing to go by
NEAR, SAME = 1.1, 9.0  # sigmas up to which a regime accepts, where none was named


class Asked(TypedDict, total=False):
    """What variants are asked for: n of them, 1 to 64; regime (`near`, `same`, `concept`; `same`
    where nothing is said) or sigma, from 0, where 80 and more is pure noise; guidance, 0 to 20,
    1 is none; steps, 1 to 1000; seed of the first candidate, 64 bits; size of the long side, 64 to
    512 pixels."""

    n: int
    regime: str | None
    sigma: float | None
    guidance: float | None
    steps: int | None
    seed: int
    size: int


@dataclass(frozen=True)
class Wanted:
    """The same, checked. regime: that by which variants are accepted; None accepts all."""

    n: int
    dial: Dial
    seed: int
    size: int
    regime: str | None

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
        space: str = "latent",
    ) -> Wanted:
        """space: of the model that makes them. Raises QueryError."""
        if not 1 <= n <= MOST_VARIANTS:
            raise QueryError(f"n is {n}; give 1 to {MOST_VARIANTS}")
        if not 0 <= seed <= 2**64 - TRIES * n:
            raise QueryError(f"seed {seed}: give a whole number of 64 bits, from 0")
        least, most = VARIANT_SIZES
        if not least <= size <= most:
            raise QueryError(f"size is {size}; give {least} to {most} pixels")
        try:
            chosen = dial(regime, sigma, guidance, steps, space)
        except ConfigError as error:
            raise QueryError(str(error)) from error
        if regime is None:
            at = chosen.sigma
            regime = "near" if at <= NEAR else "same" if at <= SAME else "concept"
        return cls(n, chosen, seed, size, regime if n > 1 else None)


class Queue:
    """One at a time, in the order they came. Threads may share it."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._change = threading.Condition()

    @contextmanager
    def place(self, patient: bool) -> Iterator[Callable[[], bool]]:
        """Within, there is a place in the queue; what comes back waits a moment, and tells whether
        it is the first. Raises BusyError where the queue is long, unless patient."""
        ticket = object()
        with self._change:
            if len(self._line) > WAITING and not patient:
                raise BusyError(f"{WAITING} others are waiting for variants; try again later")
            self._line.append(ticket)

        def first() -> bool:
            with self._change:
                return self._change.wait_for(lambda: self._line[0] is ticket, TICK)

        try:
            yield first
        finally:
            with self._change:
                self._line.remove(ticket)
                self._change.notify_all()


class Studio:
    """Makes variants, for one library. Threads may share it: their work is done one by one, a
    network pass at a time in the inference thread, where searches go first."""

    def __init__(
        self,
        models: Models,
        lookup: Lookup,
        loader: Loader,
        runtime: Runtime,
        serving: Callable[[], Model | None],
        content: Callable[[str], bytes],
        notes: Notes,
        checkpoint: Path | None,
        device: str,
    ) -> None:
        """serving: the library's model. content: of a URL or `id:ID`. checkpoint: other weights
        than those in the package."""
        self._models, self._lookup, self._loader = models, lookup, loader
        self._runtime, self._serving, self._content = runtime, serving, content
        self._notes, self._device = notes, device
        self._checkpoint = shipped("photo") if checkpoint is None else checkpoint.expanduser()
        self._queue, self._opening = Queue(), threading.Lock()
        self._opened: tuple[Denoiser, Embedder | None] | None = None
        self._known: tuple[tuple[str, int], Vectors] | None = None

    def vary(
        self, image: Picture, wanted: Wanted, patient: bool = False
    ) -> Generator[VariantProgress, None, None]:
        """Variants of a picture, while they are made. patient: waits in any queue. Raises
        LookalikeError."""
        begun = time.monotonic()
        with self._queue.place(patient) as first:
            total = wanted.n * wanted.dial.steps
            yield VariantProgress(0, total)
            while not first():
                yield VariantProgress(0, total)
            yield from self._vary(self.picture(image), wanted, begun)

    def _vary(
        self, picture: Image.Image, wanted: Wanted, begun: float
    ) -> Generator[VariantProgress, None, None]:
        size = scaled(*picture.size, wanted.size)
        model, encoder = self._model()
        if encoder is None and wanted.dial.sigma >= BLIND:
            raise QueryError(
                f"sigma {wanted.dial.sigma:g}: nothing of the picture is left under so much noise, "
                "and these weights were trained without vectors of pictures; give a sigma below "
                f"{BLIND:g}, or other weights"
            )
        original = picture.resize(size, Image.Resampling.LANCZOS)
        canvas = self._in_pieces(make_canvas(model, original))
        embedder = self._models.at_once(self._serving())
        query = self._embed(embedder, [picture])[0]
        condition = None
        if encoder is not None:
            condition = torch.from_numpy(self._embed(encoder, [seen_by(model, picture)])[0])
        test = self._acceptance(embedder, query, wanted, original)
        passed, others = list[Variant](), list[tuple[float, Variant]]()
        drawn, done, steps = 0, 0, wanted.dial.steps
        most = wanted.n * TRIES if wanted.regime else wanted.n
        sigma = min(wanted.dial.sigma, model.noise.highest)
        detail = sigma < model.noise.highest
        while len(passed) < wanted.n and drawn < most:
            short = min(wanted.n - len(passed), most - drawn)
            count = min(short, self._runtime.portion(GROUP))
            seeds = range(wanted.seed + drawn, wanted.seed + drawn + count)
            total = (drawn + wanted.n - len(passed)) * steps
            found = canvas.x.expand(count, *canvas.x.shape)
            for step, last, found in self._walk(model, canvas, seeds, wanted.dial, condition):
                done += count
                if step % SHOWN == 0 and not last:
                    pictures = (*(v.picture for v in passed), *map(canvas.preview, found))
                    yield VariantProgress(done, max(done, total), pictures)
            made = [self._in_pieces(canvas.render(one, detail)) for one in found]
            pictures = (*(v.picture for v in passed), *made)
            yield VariantProgress(done, max(done, total), pictures)
            likenesses = np.clip(self._embed(embedder, made) @ query, -1.0, 1.0)
            for seed, one, likeness in zip(seeds, made, likenesses.tolist(), strict=True):
                distance = test.distance(likeness, one) if wanted.regime else 0.0
                variant = Variant(one, seed, sigma, likeness, accepted=distance == 0)
                if variant.accepted:
                    passed.append(variant)
                else:
                    others.append((distance, variant))
            drawn += count
        others.sort(key=lambda rejected: rejected[0])
        chosen = (*passed, *(variant for _, variant in others))[: wanted.n]
        result = Variants(chosen, time.monotonic() - begun, drawn, len(passed))
        done = max(done, drawn * steps)
        yield VariantProgress(done, done, tuple(v.picture for v in chosen), result)

    def _walk(
        self,
        model: Denoiser,
        canvas: Canvas,
        seeds: Sequence[int],
        chosen: Dial,
        condition: torch.Tensor | None,
    ) -> Iterator[tuple[int, bool, torch.Tensor]]:
        """Each step, whether it is the last, and what is expected after it, (B, C, h, w); one piece
        of work a step."""
        walk = states(model, canvas.x, seeds, chosen, condition)

        def piece() -> tuple[int, bool, torch.Tensor] | None:
            with torch.inference_mode():
                state = next(walk, None)
                if state is None:
                    return None
                last = state.step == state.steps
                return state.step, last, (state.x if last else state.x0).float()

        while (step := self._runtime.run(piece)) is not None:
            yield step

    def _in_pieces(self, work: Iterator[T | None]) -> T:
        """The last item of some work, each item a piece for the inference thread."""

        def piece() -> tuple[T | None] | None:
            with torch.inference_mode():
                try:
                    return (next(work),)
                except StopIteration:
                    return None

        last: T | None = None
        while (found := self._runtime.run(piece)) is not None:
            last = found[0]
        if last is None:
            raise ModelError("no variants can be made: the model gave no picture")
        return last

    @property
    def space(self) -> str:
        """`pixels` or `latent`: what the model works on."""
        try:
            return Config.of(describe(self._checkpoint)["config"]).space
        except CheckpointError:
            return "latent"  # the error is raised where the model is opened

    def marks(self) -> dict[str, str]:
        """What the same variants depend on beside what is asked: the weights, and the library's
        model. Raises ModelError."""
        try:
            weights = file_hash(self._checkpoint, self._notes)
        except OSError as error:
            raise ModelError(f"no variants can be made: {error}; give other weights") from error
        return {"weights": weights, "model": self._models.at_once(self._serving()).fingerprint}

    def picture(self, image: Picture, urgent: bool = True) -> Image.Image:
        """What `search` takes for a picture -> RGB, upright, as it is embedded. urgent: decoded
        before others. Raises InputError."""
        if isinstance(image, Image.Image):
            try:
                return render(image.copy())
            except OSError as error:
                raise PictureError(f"the picture cannot be decoded: {error}") from error
        term, path, data, name = Term(image=image), None, None, "the picture"
        if isinstance(image, bytes):
            data = image
        elif isinstance(image, str) and (term.address or term.identity):
            name, data = image, self._content(image)
        else:
            path = name = located(image)
        source = Source(path, data, facts=False)
        width, height = fitted(*(self._load(source, None, name, urgent).size or (1, 1)))
        pixels = self._load(source, Preparation(height, "squash", width), name, urgent).pixels
        if pixels is None:
            raise PictureError(f"{name} could not be decoded; try again")
        return Image.fromarray(pixels)

    def _load(
        self, source: Source, preparation: Preparation | None, name: str, urgent: bool
    ) -> Loaded:
        result = self._loader.submit(source, preparation, urgent).result()
        if isinstance(result, Failure):
            raise result.error(f"{name}: {result.reason}")
        return result

    def _embed(self, embedder: Embedder, pictures: Sequence[Image.Image]) -> Vectors:
        return self._models.embed(embedder, [embedder.preparation(p) for p in pictures])

    def _model(self) -> tuple[Denoiser, Embedder | None]:
        """The diffusion model, and the encoder whose vectors it was trained on."""
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = self._open()
                except (CheckpointError, ModelError) as error:
                    raise ModelError(f"no variants can be made: {error}") from error
            return self._opened

    def _open(self) -> tuple[Denoiser, Embedder | None]:
        place = self._checkpoint
        named, encoder, print_ = describe(place).get("encoder"), None, None
        if named is not None:
            print_ = str(named["fingerprint"])
            encoder = self._models.matching(str(named.get("name", "mini")), print_)
        model = self._runtime.run(lambda: load(place, self._device, print_))
        return model, encoder if model.config.shape.condition == "vector" else None

    def _acceptance(
        self, embedder: Embedder, query: Vectors, wanted: Wanted, original: Image.Image
    ) -> Acceptance:
        """The test of the variants of a query. At sigma 0 the picture itself is asked for."""
        if wanted.regime is None:
            return Acceptance()
        least = least_similarity(query, self._strangers(embedder), wanted.regime)
        return Acceptance(least, original if wanted.dial.sigma else None)

    def _strangers(self, embedder: Embedder) -> Vectors:
        """(n, dim) vectors of pictures of the library, or of the samples while it is small."""
        model = self._serving()
        large = model is not None and self._lookup.count(model)["embedded"] >= ENOUGH
        key = (embedder.fingerprint, self._lookup.sequence(model) if model and large else 0)
        if self._known is None or self._known[0] != key:
            some = self._some(model) if model and large else None
            if some is None or len(some) < ENOUGH:
                text = f"vectors of the samples by {embedder.fingerprint}"
                rows = self._notes.recall(text, lambda: self._samples(embedder).tolist())
                some = np.array(rows, np.float32)
            self._known = key, some
        return self._known[1]

    def _some(self, model: Model) -> Vectors:
        """Vectors of pictures of the library, at random but always the same."""
        numbers = np.random.default_rng(0).permutation(self._lookup.newest(0, RECENT))
        return self._lookup.present(model, numbers[: 4 * SOME].tolist())[1][:SOME]

    def _samples(self, embedder: Embedder) -> Vectors:
        paths = sorted(Path(str(files("search"))).glob("samples/*/*.jpg"))
        sources = [(path, Source(str(path), facts=False)) for path in paths]
        loaded = self._loader.load(sources, embedder.preparation)
        pixels: list[Pixels] = [
            result.pixels
            for _, result in loaded
            if isinstance(result, Loaded) and result.pixels is not None
        ]
        return self._models.embed(embedder, pixels).round(4)


def seen_by(model: Denoiser, picture: Image.Image) -> Image.Image:
    """A picture like those whose vectors the model was trained on: no larger, and square where
    they were as small as what it makes."""
    side = model.about.get("side", model.config.size)
    if side <= model.config.size:
        return ImageOps.fit(picture, (model.config.size,) * 2, Image.Resampling.LANCZOS)
    share = min(1.0, side / min(picture.size))
    return picture.resize(
        scaled(*picture.size, round(share * max(picture.size))), Image.Resampling.LANCZOS
    )


def scaled(width: int, height: int, long: int) -> tuple[int, int]:
    """Width and height of a shape, with a long side of so many pixels."""
    scale = long / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
