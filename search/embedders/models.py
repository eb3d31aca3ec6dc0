"""The models of one library: the requested one, the one that answers, those in memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from search.catalog.writes import SeenContent, Space
from search.embedders import hub
from search.embedders.backends import BackendEmbedder, Backends
from search.embedders.base import Embedder, RuleEmbedder
from search.embedders.json_cache import JsonCache
from search.embedders.openclip_models import DEFAULT, DEFAULT_RECIPE
from search.embedders.registry import (
    check_name,
    has_bf16,
    missing_weights,
    open_embedder,
    spell_with_path,
)
from search.embedders.vocabulary import LabelEmbedder
from search.errors import ModelError
from search.media.content import is_low_content
from search.records.indexing import Progress
from search.records.pictures import Label
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.embedders.coca import CoCaCaptioner
    from search.runtime import Runtime

EARLIER = {"mini": ("mini-1",)}
"""Names -> earlier versions of their weights that ship too."""
ARCH = DEFAULT.partition(":")[0]
MB = 1_000_000
T = TypeVar("T")
log = logging.getLogger(__name__)


def find_space(spaces: Sequence[Space], key: str) -> Space | None:
    """Return the first space that has a key as its name or fingerprint."""
    return next((one for one in spaces if key in (one.name, one.fingerprint)), None)


def _has_fingerprint(embedder: Embedder, fingerprint: str) -> bool:
    """Whether an embedder has a fingerprint, or had it under an earlier decode rule."""
    earlier = embedder.earlier_fingerprints if isinstance(embedder, RuleEmbedder) else ()
    return fingerprint in (embedder.fingerprint, *earlier)


def describe_missing(name: str, serving: Sequence[Space]) -> str:
    """Return the message for a model that the library has no vectors of."""
    names = " and ".join(space.name for space in serving)
    return (
        f"this library answers with {names} and has no vectors of {name}; run `lookalike --model "
        f"{name} index FOLDER` to change its model, add --beside to keep both, or leave the model "
        "out"
    )


class Models:
    """Fetches weights, opens embedders and runs them on the inference thread.

    If no model is requested, a new library gets CLIP when its weights are in the cache or can be
    fetched, else `mini`. Threads may share it.
    """

    def __init__(
        self,
        requested: str | None,
        device: str,
        folder: Path,
        runtime: Callable[[], Runtime],
        say: Callable[[str], None],
        backend: str = "auto",
        threads: int = 1,
        one_shot: bool = False,
    ) -> None:
        """requested: a name that the user gave; None or `auto` for the library's own model. folder:
        for the cache of facts about weights, and for exported networks. backend, threads: as in
        the settings. say: takes the line that names the model of a new library; never the same
        line twice in a row. one_shot: as `Backends` takes it. Raises ModelError for an unknown
        name."""
        self.requested = None if requested in (None, "auto") else check_name(requested)
        self.opened: dict[str, Embedder] = {}
        self._device, self._cache = device, JsonCache(folder)
        self._runtime, self._take = runtime, say
        self._backends = Backends(
            backend, folder, self._cache, threads, lambda work: self._runtime().run(work), one_shot
        )
        self._last_line = ""
        self._opening = threading.RLock()
        self._fetch_error: str | None = None  # why a new library does not get CLIP

    def fetch(self, own: Space | None, requested: str | None) -> Iterator[Progress]:
        """Fetch the weights that the next sync needs.

        own: the space of the library's own model. requested: another model, if any. Raises
        ModelError when the weights of a known model cannot be fetched.
        """
        name = requested or (own.name if own else None)
        if name is not None:
            yield from self.fetch_name(name)
            return
        try:
            yield from self._fetch(DEFAULT_RECIPE.repo, DEFAULT_RECIPE.files)
            self._fetch_error = None
        except ConnectionError as error:
            self._fetch_error = str(error)

    def fetch_name(self, name: str) -> Iterator[Progress]:
        """Fetch the weights of a model, if they are missing. Raises ModelError."""
        if weights := missing_weights(name, self._cache):
            try:
                yield from self._fetch(*weights)
            except ConnectionError as error:
                raise ModelError(
                    f"the weights of {name} cannot be had: {error}; try again later, or give a "
                    f"file as {spell_with_path(name)}"
                ) from error

    @staticmethod
    def _fetch(repo: str, files: Sequence[str]) -> Iterator[Progress]:
        for done, total in hub.fetch(repo, files):
            yield Progress("fetch", done // MB, total // MB, repo)

    def choose(
        self,
        own: Space | None,
        requested: str | None,
        changes: bool = False,
        serving: Sequence[Space] = (),
    ) -> Embedder:
        """Return the embedder for the next sync, after `fetch`.

        own, requested: as `fetch` takes them. changes: tell the user when the library gets another
        model. serving: the spaces that the library answers with.
        """
        name = requested or (own.name if own else None)
        if name is None:
            return self._auto()
        embedder = self.open_like(name, [own, *serving] if own else serving)
        if changes and own and own.fingerprint != embedder.fingerprint:
            if own.name != embedder.name:
                new = f"instead of {own.name}, which answers until all pictures have vectors"
            elif self.can_answer(own):
                new = "has new weights: all pictures get new vectors; the old ones answer meanwhile"
            else:
                new = "has new weights: all pictures get new vectors, and can be found again then"
            self.say(f"model: {embedder.name} {new}")
        return embedder

    def say(self, line: str) -> None:
        """Tell the user a line, unless it is the line before."""
        if line != self._last_line:
            self._last_line = line
            self._take(line)

    def _auto(self) -> Embedder:
        """Return the embedder of a new library; tell the user which one, and why."""
        if hub.find_cached(DEFAULT_RECIPE.repo, DEFAULT_RECIPE.files):
            embedder, which, other = self.open(DEFAULT), "", "mini"
        else:
            reason = self._fetch_error or "its weights are not in the cache"
            embedder, other = self.open("mini"), ARCH
            which = f", which comes with lookalike (no {ARCH}: {reason})"
        self.say(
            f"model: {embedder.name}{which}; {embedder.terms}; "
            f"`lookalike --model {other} index FOLDER` changes it"
        )
        return embedder

    def choose_offline(self, serving: Sequence[Space]) -> Embedder:
        """Return the embedder for a single picture; fetch nothing.

        serving: the spaces that the library answers with. Raises ModelError.
        """
        if not serving:
            return self.choose(None, self.requested)
        return self.open_for(self.choose_space(serving))

    def open(self, name: str, bf16: bool | None = None) -> Embedder:
        """Return the embedder of a name. bf16: of the vectors of bfloat16; None does as for a new
        library. Raises ModelError."""
        bf16 = (self._prefers_bf16 if bf16 is None else bf16) and has_bf16(name)
        key = f"{name} in bfloat16" if bf16 else name
        with self._opening:
            if key not in self.opened:
                parts = (self._device, self._cache, self._breathe, self._backends, bf16)
                embedder = open_embedder(name, *parts)
                log.info("opened the model %s (%s) on %s", key, embedder.fingerprint, self._device)
                self.opened[key] = embedder
            return self.opened[key]

    @property
    def _prefers_bf16(self) -> bool:
        """Whether new libraries get vectors of bfloat16."""
        return self._backends.prefers_bf16(self._device)

    def open_like(self, name: str, spaces: Sequence[Space]) -> Embedder:
        """Return the embedder of a name; in the precision of the first of some spaces that is of
        it, unless the setting asks for `torch-bf16`. Raises ModelError."""
        if self._backends.setting == "torch-bf16":
            return self.open(name)
        pairs = ((one, space) for space in spaces for one in self._open_both(name))
        like = (one for one, space in pairs if _has_fingerprint(one, space.fingerprint))
        return next(like, None) or self.open(name)

    def _open_both(self, name: str) -> Iterator[Embedder]:
        """Yield the embedders of a name in the preferred and in the other precision. Raises
        ModelError."""
        for bf16 in (self._prefers_bf16, not self._prefers_bf16):
            yield self.open(name, bf16)

    def open_captioner(self, name: str) -> CoCaCaptioner:
        """Return what makes captions, after `fetch_name`. name: as `coca.check_name` returns it.

        It is not kept: its network is freed with it. Raises ModelError.
        """
        from search.embedders.coca import CoCaCaptioner

        return CoCaCaptioner(name, self._device, self._cache, self._breathe)

    def caption(self, captioner: CoCaCaptioner, pixels: Sequence[Pixels]) -> list[str]:
        """Make captions of pictures, in parts between which a query may go first."""
        if not pixels:
            return []
        runtime = self._runtime()
        runtime.run(captioner.load)
        step = runtime.portion(captioner.batch)
        parts = [
            runtime.submit(partial(captioner.caption, pixels[i : i + step]))
            for i in range(0, len(pixels), step)
        ]
        return [text for part in parts for text in part.result()]

    def _breathe(self) -> None:
        self._runtime().breathe()

    def open_for(self, space: Space) -> Embedder:
        """Return the embedder that computed the vectors of a space. Raises ModelError."""
        if self.requested not in (None, space.name):  # another spelling, or a file that moved
            with suppress(ModelError):
                return self.open_version(self.requested, space.fingerprint)
        return self.open_version(space.name, space.fingerprint)

    def open_version(self, name: str, fingerprint: str) -> Embedder:
        """Return the embedder of a name and fingerprint; earlier versions of `mini` also ship.

        An embedder also answers for its fingerprints under earlier decode rules.

        Raises ModelError when there is none.
        """
        for version in (name, *EARLIER.get(name, ())):
            for opened in self._open_both(version):
                if _has_fingerprint(opened, fingerprint):
                    return opened
        raise ModelError(
            f"the library was indexed with other weights of {name}; index its folders again "
            "(this computes new vectors and nothing else)"
        )

    def can_answer(self, space: Space) -> bool:
        """Whether queries can be embedded by the embedder of a space's vectors."""
        try:
            self.open_version(space.name, space.fingerprint)
        except ModelError:
            return False
        return True

    def choose_space(self, serving: Sequence[Space]) -> Space:
        """Return the space of the requested model; without one, that of the library's own.

        serving: the spaces that the library answers with, its own first. Raises ModelError when
        there is none of the requested model.
        """
        if self.requested is None:
            return serving[0]
        space = self.find_space(serving, self.requested)
        if space is None:
            raise ModelError(describe_missing(self.requested, serving))
        return space

    def find_space(self, spaces: Sequence[Space], name: str) -> Space | None:
        """Return the space of a model by its name in any spelling, or by its fingerprint.

        It may open a file that the name gives: the name comes from a user of this machine.
        """
        if space := find_space(spaces, name):
            return space
        with suppress(ModelError):  # weights that are not here cannot be the library's
            opened = self._open_both(check_name(name))
            matches = (find_space(spaces, one.fingerprint) for one in opened)
            return next((space for space in matches if space), None)
        return None

    def prepare(self, embedder: Embedder, count: int) -> None:
        """Choose the backend for so many pictures, and begin to load the network by it.

        A first long run measures the backends, once for a model and machine. Raises ModelError.
        """
        runtime = self._runtime()
        if not isinstance(embedder, BackendEmbedder):
            runtime.submit(embedder.load)
            return
        backend = embedder.runner.choose(count)
        runtime.submit(partial(embedder.runner.load, backend))

    def embed(self, embedder: Embedder, pixels: Sequence[Pixels]) -> Vectors:
        """Embed many pictures, in parts between which a query may go first.

        pixels: prepared pictures. Returns (n, dim) unit vectors.
        """
        empty: Vectors = np.empty((0, embedder.dim), np.float32)
        return np.concatenate([empty, *self._in_parts(embedder, embedder.embed, pixels)])

    def analyze(
        self, embedder: Embedder, pixels: Sequence[Pixels]
    ) -> list[tuple[Vectors, SeenContent]]:
        """Embed many pictures; return a vector (dim,) and labels for each."""
        parts = self._in_parts(embedder, partial(self.analyze_batch, embedder), pixels)
        return [one for part in parts for one in part]

    def summarize_labels(
        self, space: Space, labels: dict[int, tuple[Label, ...]]
    ) -> dict[int, tuple[Label, ...]]:
        """Turn stored labels into those that users see.

        labels: row id of a picture -> its stored labels.
        """
        if not labels:
            return {}
        try:
            embedder = self.open_version(space.name, space.fingerprint)
        except ModelError:  # labels of weights that are gone
            return labels
        vocabulary = embedder.vocabulary() if isinstance(embedder, LabelEmbedder) else None
        if vocabulary is None:
            return labels
        return {number: vocabulary.summarize(names) for number, names in labels.items()}

    @staticmethod
    def analyze_batch(
        embedder: Embedder, pixels: Sequence[Pixels]
    ) -> list[tuple[Vectors, SeenContent]]:
        """As `analyze`, in one part; call it on the inference thread."""
        names: list[tuple[Label, ...]] = [()] * len(pixels)
        if isinstance(embedder, LabelEmbedder):
            rows, names = embedder.embed_with_labels(pixels)
        else:
            rows = embedder.embed(pixels)
        flags = [is_low_content(one) for one in pixels]
        return [
            (row, SeenContent(() if flag else labels, flag))
            for row, labels, flag in zip(rows, names, flags, strict=True)
        ]

    def _in_parts(
        self,
        embedder: Embedder,
        run: Callable[[Sequence[Pixels]], T],
        pixels: Sequence[Pixels],
    ) -> list[T]:
        """Call `run` on parts of the pictures, each a task of the inference thread."""
        if not pixels:
            return []
        runtime = self._runtime()
        runtime.run(embedder.load)
        step = runtime.portion(embedder.batch)
        parts = [
            runtime.submit(partial(run, pixels[i : i + step])) for i in range(0, len(pixels), step)
        ]
        return [part.result() for part in parts]
