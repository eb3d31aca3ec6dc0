"""Restoration of pictures of a query: the diffusion models remove noise and paint masked parts.

What a picture suffers from is estimated blindly (`search.media.degradation`). Noise is removed by
one pass of the model on pixels at the estimated level; it works on tiles, so on pictures of any
size. Masked parts are painted by the model of the variants. `scripts/bench diffusion-helps` chose
the limits, and measures what restoration does to searches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from diffusion import Denoiser, load
from diffusion.data import to_bytes, to_unit
from diffusion.model.checkpoint import shipped_path
from diffusion.sampling.canvas import pad_by_mirror
from diffusion.sampling.restoration import denoise_tiles, paint_states
from search.errors import MaskError, ModelError, PictureError
from search.generation.generators.own import OwnGenerator, scaled
from search.media.degradation import estimate_degradation
from search.media.rules import Crop
from search.media.source_kinds import ImageSource
from search.media.sources import PictureResolver, ResolvedPicture
from search.querying.query import Query
from search.records.hits import Hits, PagePicture
from search.records.restoration import Action, Degradation, Restoration, RestoredPicture
from search.runtime import Runtime, torch
from search.types import Pixels

T = TypeVar("T")
LEAST_NOISE, LEAST_NOISE_SIDE = 16.0, 108
"""Noise, 0 to 255, from which a picture is denoised, and the least short side for which it holds.
Fine texture of smaller pictures looks like noise, so that their limit is higher in proportion."""
CLIPPED_NOISE = 1.15
"""What the estimate is multiplied by: black and white hide a part of strong noise."""
DARK, BRIGHT, MOST_GAIN = 80.0, 220.0, 8.0
"""Light below which a picture is brightened, light that it then has, and the greatest factor."""
PAINT_SIDE = 256
"""Pixels of the long side at which masked parts are painted."""
CHECKED_TERMS = 4
"""Pictures of a query that are restored at most."""


class Searches(Protocol):
    """Answers queries."""

    def search(self, query: Query) -> Hits: ...


def least_noise(short: int) -> float:
    """Return the noise, 0 to 255, from which a picture is denoised. short: of its sides."""
    return LEAST_NOISE * max(1.0, LEAST_NOISE_SIDE / short)


def choose_actions(degradation: Degradation) -> tuple[tuple[Action, ...], float, float]:
    """Return what to do about a picture, the factor of its brightness, and the noise, 0 to 255,
    to remove after that."""
    applied: list[Action] = []
    gain = 1.0
    if degradation.light < DARK:
        gain = min(MOST_GAIN, BRIGHT / max(degradation.light, 1.0))
        applied.append("brighten")
    noise = degradation.noise * gain
    if noise >= least_noise(degradation.short):
        applied.append("denoise")
    return tuple(applied), gain, noise * CLIPPED_NOISE


def restore_pixels(
    model: Denoiser | None, pixels: Pixels, actions: tuple[Action, ...], gain: float, noise: float
) -> Iterator[Pixels | None]:
    """Brighten and denoise a picture, (H, W, 3): yields None after each piece of work, last the
    picture. model: None if it is not to be denoised. actions, gain, noise: as `choose_actions`
    returns them."""
    values = pixels.astype(np.float32) * gain
    if model is None or "denoise" not in actions:
        yield values.round().clip(0, 255).astype(np.uint8)
        return
    # what the gain pushes beyond white is kept for the model: clipped noise has another mean
    x = torch.from_numpy(values).permute(2, 0, 1) / 127.5 - 1
    for x_0 in denoise_tiles(model, x, noise / 127.5):
        yield None if x_0 is None else to_bytes(x_0[None])[0].permute(1, 2, 0).numpy()


def paint_pixels(
    model: Denoiser, pixels: Pixels, hidden: np.ndarray, seed: int = 0
) -> Iterator[Pixels | None]:
    """Paint the hidden part of a picture, (H, W, 3); the rest stays as it is. hidden: (H, W) bool.
    Yields None after each piece of work, last the picture."""
    height, width = hidden.shape
    size = scaled(width, height, min(PAINT_SIDE, max(width, height)))
    # the encoder sees beyond the border of the mask, so that the colour there should be neutral
    filled = pixels.copy()
    filled[hidden] = pixels[~hidden].mean(axis=0)
    small = pad_by_mirror(
        Image.fromarray(filled).resize(size, Image.Resampling.LANCZOS), model.config.multiple
    )
    mask = Image.fromarray(hidden.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    mask = pad_by_mirror(mask, model.config.multiple)
    x = to_unit(torch.from_numpy(np.array(small)).permute(2, 0, 1)[None])
    for stage in model.encode_stages(x.to(next(model.parameters()).device)):
        x = stage
        yield None
    unknown = torch.from_numpy(np.array(mask) > 0)[None, None].float()
    cell = unknown.shape[-1] // x.shape[-1]
    unknown = torch.nn.functional.max_pool2d(unknown, cell)[0] > 0
    x_0 = x[0]
    for state in paint_states(model, x_0.float(), unknown, seed):
        x_0 = state
        yield None
    decoded = x_0[None]
    for stage in model.decode_stages(decoded):
        decoded = stage
        yield None
    painted = to_bytes(decoded[0].cpu()).permute(1, 2, 0).contiguous().numpy()
    crop = Image.fromarray(painted).crop((0, 0, *size))
    large = np.asarray(crop.resize((width, height), Image.Resampling.BICUBIC))
    yield np.where(hidden[..., None], large, pixels)


class PictureRestorer:
    """Restores pictures of queries. Threads may share it: each pass is a piece of work for the
    inference thread."""

    def __init__(
        self,
        resolver: PictureResolver,
        runtime: Runtime,
        device: str,
        get_painter: Callable[[], OwnGenerator],
    ) -> None:
        """get_painter: returns the generator whose model paints."""
        self._resolver, self._runtime, self._device = resolver, runtime, device
        self._get_painter = get_painter
        self._opening, self._opened = threading.Lock(), list[Denoiser]()  # at most one

    def with_resolver(self, resolver: PictureResolver) -> PictureRestorer:
        """Return a restorer that shares the model, and reads pictures by another resolver."""
        other = copy(self)
        other._resolver = resolver
        return other

    def search(self, query: Query, searches: Searches) -> Hits:
        """Answer a query with its pictures restored; `query.restored` of the answer says what was
        done. At most `CHECKED_TERMS` pictures are restored. Raises LookalikeError."""
        begin = time.perf_counter()
        terms, done, pages = list(query.terms), list[Restoration](), list[PagePicture]()
        for i, term in enumerate(terms):
            if term.image is None or term.weight <= 0 or len(done) == CHECKED_TERMS:
                continue
            image = self._resolver.read_file(term.image)
            resolved = self._resolver.resolve(image, crop=term.crop, with_image=True)
            restored = self._restore(resolved, term.crop, query.mask, i)
            done.append(restored.restoration)
            terms[i] = replace(term, image=image)
            if restored.restoration.applied:
                terms[i] = replace(term, image=restored.picture, crop=None)
                if (fetched := resolved.fetched) and fetched.page:  # pixels do not tell where from
                    pages.append(PagePicture(i, fetched.page, fetched.url))
        took = 1000 * (time.perf_counter() - begin)
        plain = replace(query, terms=tuple(terms), restore=False, mask=None)
        hits = searches.search(plain)
        took_ms = dict(hits.took_ms)
        for stage in ("decode", "total"):
            took_ms[stage] = round(took_ms[stage] + took, 3)
        document = query.to_json() | {"restored": [one.to_json() for one in done]}
        pages = sorted((*pages, *hits.pages), key=lambda one: one.term)
        return replace(hits, query=document, took_ms=took_ms, pages=tuple(pages))

    def restore(
        self,
        image: ImageSource,
        crop: Crop | None = None,
        mask: ImageSource | None = None,
        term: int = 0,
        estimate_only: bool = False,
    ) -> RestoredPicture:
        """Estimate what a picture suffers from, and restore it if that is worthwhile.

        image: as a search takes it. crop: the part to restore. mask: a picture of the same size,
        white where the picture is to be painted. term: place of the picture in its query.
        estimate_only: return what would be done, and the picture unchanged. Raises MaskError for a
        mask that does not fit, and LookalikeError for a picture that cannot be read.
        """
        resolved = self._resolver.resolve(image, crop=crop, with_image=True)
        return self._restore(resolved, crop, mask, term, estimate_only)

    def _restore(
        self,
        resolved: ResolvedPicture,
        crop: Crop | None,
        mask: ImageSource | None,
        term: int,
        estimate_only: bool = False,
    ) -> RestoredPicture:
        """See `restore`. resolved: the picture, or its part under the crop."""
        picture = resolved.image
        if picture is None:
            raise PictureError("the picture could not be decoded; try again")
        hidden = None if mask is None else self._read_mask(mask, crop, picture)
        pixels = np.asarray(picture)
        degradation = estimate_degradation(pixels, hidden)
        actions, gain, noise = choose_actions(degradation)
        painter = self._get_painter()
        if not estimate_only:
            if actions:
                model = self._open_model() if "denoise" in actions else None
                pixels = self._run(restore_pixels(model, pixels, actions, gain, noise))
            if hidden is not None:
                pixels = self._run(paint_pixels(painter.open_model()[0], pixels, hidden))
        if hidden is not None:
            actions = (*actions, "paint")
        restoration = Restoration(term, degradation, actions, gain)
        restored = Image.fromarray(pixels) if actions else picture
        return RestoredPicture(restored, restoration, resolved.size, painter.is_readable)

    def _read_mask(self, mask: ImageSource, crop: Crop | None, picture: Image.Image) -> np.ndarray:
        """Return where a picture is hidden, (H, W). Raises MaskError."""
        mask_image = self._resolver.resolve(mask, crop=crop, with_image=True).image
        if mask_image is None:
            raise PictureError("the mask could not be decoded; try again")
        differences = (a - b for a, b in zip(mask_image.size, picture.size, strict=True))
        if any(abs(one) > 1 for one in differences):
            raise MaskError(
                f"the mask has {mask_image.width} x {mask_image.height} pixels and the picture "
                f"{picture.width} x {picture.height}; give a mask of the size of the picture, "
                "white where it is to be painted"
            )
        hidden = np.asarray(mask_image.convert("L").resize(picture.size)) > 127
        if hidden.all():
            raise MaskError("the mask is white everywhere; make the part black that should stay")
        if not hidden.any():
            raise MaskError("nothing in the mask is white; make the part white that should change")
        return hidden

    def _open_model(self) -> Denoiser:
        with self._opening:
            if not self._opened:
                path = shipped_path("ddpm")
                self._opened.append(self._runtime.run(lambda: load(path, self._device)))
            return self._opened[0]

    def _run(self, work: Iterator[T | None]) -> T:
        """Return the last item of an iterator. Each item is one urgent piece of work."""
        last = self._runtime.run_in_pieces(work, urgent=True)
        if last is None:
            raise ModelError("the picture cannot be restored: the model gave nothing; try again")
        return last
