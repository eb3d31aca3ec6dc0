"""Our diffusion model as a generator. See `Generator`."""

from __future__ import annotations

import threading
from collections.abc import Generator as Iterates, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps

from diffusion import CheckpointError, Config, Denoiser, load
from diffusion.model.checkpoint import read_description, shipped_path
from diffusion.sampling.canvas import Canvas, make_canvas
from diffusion.sampling.variants import (
    PURE_NOISE,
    REGIMES,
    VariantSettings,
    denoise_states,
    is_pure_noise,
)
from search.embedders.base import Embedder
from search.embedders.json_cache import JsonCache, file_hash
from search.embedders.models import Models
from search.errors import ModelError, QueryError
from search.generation.generators.base import GeneratorState
from search.records.indexing import Progress
from search.records.variants import OWN_GENERATOR
from search.runtime import Runtime, torch

T = TypeVar("T")
BATCH = 4  # candidates that go through the network together: one pass takes under 100 ms
PREVIEW_STEPS = 3  # denoising steps between two previews
NO_CONTENT_SIGMA = 20.0  # from here on, a model without vectors cannot tell one query from another
SHIPPED_LICENSE = "apache-2.0"
RECENT_STARTS = 16  # pictures whose canvases are kept for the next batch of the request

NEIGHBOUR_SIGMA = {"pixels": 1.5, "latent": 3.0}
"""Noise level of variants that start from neighbours, for models of each space.

For `latent` it was chosen by eye, from sheets of clothes, beaches, buildings, buses and animals at
sigma 1.5 to 5. At 2 and below, a result is its neighbour with another texture. At 3, details and
forms are new and shapes are whole, but layout and main colours stay those of the neighbour. From 4
on shapes fall apart, without more of the query in them. A guidance of 3 makes colours too strong.
"""


class OwnGenerator:
    """Makes variants by a checkpoint of the `diffusion` package, under the vector of the query."""

    name, batch = OWN_GENERATOR, BATCH

    def __init__(
        self,
        models: Models,
        runtime: Runtime,
        notes: JsonCache,
        checkpoint: Path | None,
        device: str,
    ) -> None:
        """checkpoint: weights of the diffusion model; None for the shipped ones."""
        self._models, self._runtime = models, runtime
        self._notes, self._device = notes, device
        self._is_shipped = checkpoint is None
        self._checkpoint = shipped_path("photo") if checkpoint is None else checkpoint.expanduser()
        self._opening = threading.Lock()
        self._opened: list[tuple[Denoiser, Embedder | None]] = []  # at most one
        self._canvases: list[tuple[Image.Image, Canvas]] = []
        self._condition: tuple[Image.Image, torch.Tensor] | None = None

    @property
    def regimes(self) -> Mapping[str, VariantSettings]:
        return REGIMES[self._space]

    @property
    def neighbour_sigma(self) -> float:
        return NEIGHBOUR_SIGMA[self._space]

    @property
    def _space(self) -> str:
        """`pixels` or `latent`: what the diffusion model works on."""
        try:
            return self._read_config().space
        except CheckpointError:
            return "latent"  # the error is raised where the model is opened

    def _read_config(self) -> Config:
        return Config.from_json(read_description(self._checkpoint)["config"])

    @property
    def fingerprint(self) -> str:
        try:
            return file_hash(self._checkpoint, self._notes)
        except OSError as error:
            raise ModelError(
                f"the diffusion model cannot be read: {error}; give other weights"
            ) from error

    @property
    def license(self) -> str:
        """See `Generator`. A checkpoint may name its license in its JSON."""
        if self._is_shipped:
            return SHIPPED_LICENSE
        try:
            return str(read_description(self._checkpoint).get("license", "unknown"))
        except CheckpointError:
            return "unknown"

    @property
    def native_size(self) -> int | None:
        try:
            return self._read_config().size
        except CheckpointError:
            return None

    @property
    def is_readable(self) -> bool:
        """Whether the weights are a checkpoint, as far as its description tells."""
        return self.native_size is not None

    def fetch(self) -> Iterator[Progress]:
        """See `Generator`. The weights are in the package, or in a file of the user."""
        return iter(())

    def check(self, dial: VariantSettings, neighbours: bool) -> None:
        """See `Generator`. Weights without vectors of pictures have nothing else to go by."""
        _, encoder = self.open_model()
        if encoder is None and dial.sigma >= NO_CONTENT_SIGMA:
            raise QueryError(
                f"sigma {dial.sigma:g}: nothing of the picture is left under so much "
                "noise, and these weights were trained without vectors of pictures; give a sigma "
                f"below {NO_CONTENT_SIGMA:g}, or other weights"
            )
        if encoder is None and neighbours:
            raise QueryError(
                "these weights were trained without vectors of pictures, so a neighbour cannot "
                "become more like the query; start from `picture`, or give other weights"
            )

    def vary(
        self,
        picture: Image.Image,
        dial: VariantSettings,
        seeds: Sequence[int],
        starts: Sequence[Image.Image],
    ) -> Iterates[GeneratorState, None, None]:
        """See `Generator`. Each state is one network pass."""
        model, encoder = self.open_model()
        condition = None if encoder is None else self._embed(model, encoder, picture)
        canvases = [self._open_canvas(model, start) for start in starts]
        sigma = min(dial.sigma, PURE_NOISE, model.schedule.sigma_max)
        x = noised = torch.stack([canvas.x for canvas in canvases])
        for step, last, x in self._denoise(model, noised, seeds, dial, condition):
            previews: tuple[Image.Image, ...] = ()
            if step % PREVIEW_STEPS == 0 and not last:
                pairs = zip(canvases, x, strict=True)
                previews = tuple(canvas.preview(one) for canvas, one in pairs)
            yield GeneratorState(step, sigma, previews)
        detail = not is_pure_noise(model, dial.sigma)
        candidates = tuple(
            self._run_in_pieces(canvas.render(one, detail))
            for canvas, one in zip(canvases, x, strict=True)
        )
        yield GeneratorState(dial.steps, sigma, candidates, True)

    def close(self) -> None:
        """See `Generator`."""
        with self._opening:
            self._opened.clear()
            self._canvases, self._condition = [], None

    def _embed(self, model: Denoiser, encoder: Embedder, picture: Image.Image) -> torch.Tensor:
        """Return the vector of a picture, (D,). That of the last picture is kept."""
        if self._condition is None or self._condition[0] is not picture:
            pixels = encoder.preprocessing(seen_by(model, picture))
            vector = torch.from_numpy(self._models.embed(encoder, [pixels])[0])
            self._condition = picture, vector
        return self._condition[1]

    def _open_canvas(self, model: Denoiser, start: Image.Image) -> Canvas:
        """Return the canvas of a picture. Those of the last pictures are kept."""
        for known, canvas in self._canvases:
            if known is start:
                return canvas
        canvas = self._run_in_pieces(make_canvas(model, start))
        self._canvases = [*self._canvases[1 - RECENT_STARTS :], (start, canvas)]
        return canvas

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
            raise ModelError("the diffusion model returned no picture; give other weights")
        return last

    def open_model(self) -> tuple[Denoiser, Embedder | None]:
        """Return the diffusion model, and the encoder of the vectors that it was trained on. They
        are opened when they are first used."""
        with self._opening:
            if not self._opened:
                try:
                    self._opened.append(self._load_model())
                except (CheckpointError, ModelError) as error:
                    raise ModelError(f"the diffusion model cannot be opened: {error}") from error
            return self._opened[0]

    def _load_model(self) -> tuple[Denoiser, Embedder | None]:
        path = self._checkpoint
        named, encoder, fingerprint = read_description(path).get("encoder"), None, None
        if named is not None:
            fingerprint = str(named["fingerprint"])
            encoder = self._models.open_version(str(named.get("name", "mini")), fingerprint)
        model = self._runtime.run(lambda: load(path, self._device, fingerprint))
        return model, encoder if model.config.shape.condition == "vector" else None


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
