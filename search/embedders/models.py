"""The models of one library: the one asked for, the one it answers with, those in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from search.catalog.writes import Model, SeenContent
from search.embedders import hub
from search.embedders.base import Embedder
from search.embedders.notes import Notes
from search.embedders.registry import (
    check_name,
    missing_weights,
    open_embedder,
    spell_with_path,
)
from search.embedders.vocabulary import LabelEmbedder
from search.embedders.zoo import DEFAULT, DEFAULT_RECIPE
from search.errors import ModelError
from search.media.content import is_low_content
from search.records import Label, Progress
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.runtime import Runtime

EARLIER = {"mini": ("mini-1",)}
"""Names -> earlier versions of their weights that ship too."""
ARCH = DEFAULT.partition(":")[0]
MB = 1_000_000
T = TypeVar("T")


class Models:
    """Fetches weights, opens embedders and runs them on the inference thread.

    A new library of which no model is asked gets CLIP if its weights are in the cache or can be
    fetched, else `mini`. Threads may share it.
    """

    def __init__(
        self,
        asked: str | None,
        device: str,
        folder: Path,
        runtime: Callable[[], Runtime],
        say: Callable[[str], None],
    ) -> None:
        """asked: a name of the user's, None or `auto` for the library's own. folder: for notes
        about weights. say: takes the line that tells which model a new library gets, which is not
        told twice in a row. Raises ModelError for what is no name."""
        self.asked = None if asked in (None, "auto") else check_name(asked)
        self.opened: dict[str, Embedder] = {}
        self._device, self._notes = device, Notes(folder)
        self._runtime, self._take = runtime, say
        self._told = ""
        self._opening = threading.RLock()
        self._refused: str | None = None  # why a new library does not get CLIP

    def fetch(self, serving: Model | None) -> Iterator[Progress]:
        """Bring in the weights that a sync of a library that answers with `serving` needs.

        Raises ModelError where they cannot be had and the model was asked for by name.
        """
        name = self.asked or (serving.name if serving else None)
        if name is None:
            try:
                yield from self._fetch(DEFAULT_RECIPE.repo, DEFAULT_RECIPE.files)
                self._refused = None
            except ConnectionError as error:
                self._refused = str(error)
        elif weights := missing_weights(name, self._notes):
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

    def choose(self, serving: Model | None, changes: bool = False) -> Embedder:
        """What a sync of a library that answers with `serving` is to embed with, after `fetch`.
        changes: say so where the library will have another model then."""
        name = self.asked or (serving.name if serving else None)
        if name is None:
            return self._auto()
        embedder = self.open(name)
        if changes and serving and serving.fingerprint != embedder.fingerprint:
            if serving.name != embedder.name:
                new = f"instead of {serving.name}, which answers until all pictures have vectors"
            elif self.can_answer(serving):
                new = "has new weights: all pictures get new vectors; the old ones answer meanwhile"
            else:
                new = "has new weights: all pictures get new vectors, and can be found again then"
            self._say(f"model: {embedder.name} {new}")
        return embedder

    def _say(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._take(line)

    def _auto(self) -> Embedder:
        """The model of a new library; says which and why in one line."""
        if hub.cached(DEFAULT_RECIPE.repo, DEFAULT_RECIPE.files):
            embedder, which, other = self.open(DEFAULT), "", "mini"
        else:
            reason = self._refused or "its weights are not in the cache"
            embedder, other = self.open("mini"), ARCH
            which = f", which comes with lookalike (no {ARCH}: {reason})"
        self._say(
            f"model: {embedder.name}{which}; {embedder.terms}; "
            f"`lookalike --model {other} index FOLDER` changes it"
        )
        return embedder

    def at_once(self, serving: Model | None) -> Embedder:
        """What one picture of a library that answers with `serving` is to embed with; fetches
        nothing."""
        if serving is None:
            return self.choose(None)
        self.refuse_other(serving)
        return self.fitting(serving)

    def open(self, name: str) -> Embedder:
        """The embedder of that name. Raises ModelError."""
        with self._opening:
            if name not in self.opened:
                self.opened[name] = open_embedder(name, self._device, self._notes, self._breathe)
            return self.opened[name]

    def _breathe(self) -> None:
        self._runtime().breathe()

    def fitting(self, model: Model) -> Embedder:
        """The embedder that a model's vectors came from. Raises ModelError."""
        return self.matching(self.asked or model.name, model.fingerprint)

    def matching(self, name: str, fingerprint: str) -> Embedder:
        """The embedder of a name and fingerprint, of this version or an earlier one that ships.

        Raises ModelError when there is none.
        """
        for version in (name, *EARLIER.get(name, ())):
            opened = self.open(version)
            if opened.fingerprint == fingerprint:
                return opened
        raise ModelError(
            f"the library was indexed with other weights of {name}; index its folders again "
            "(vectors are made anew, nothing else)"
        )

    def can_answer(self, model: Model) -> bool:
        """Whether queries can be embedded as a model's vectors were."""
        try:
            self.matching(model.name, model.fingerprint)
        except ModelError:
            return False
        return True

    def refuse_other(self, model: Model) -> None:
        """Raises ModelError when another model was asked for than the library's."""
        if self.asked in (None, model.name):
            return
        try:
            same = self.open(self.asked).fingerprint == model.fingerprint
        except ModelError:  # weights that are not here cannot be the library's
            same = False
        if not same:
            raise ModelError(
                f"this library answers with {model.name} and has no vectors of {self.asked}; run "
                f"`lookalike --model {self.asked} index FOLDER` to change it, or leave --model out"
            )

    def embed(self, embedder: Embedder, pixels: Sequence[Pixels]) -> Vectors:
        """Vectors of many, in pieces between which a query may go first."""
        empty: Vectors = np.empty((0, embedder.dim), np.float32)
        return np.concatenate([empty, *self._in_parts(embedder, embedder.embed, pixels)])

    def analyze(
        self, embedder: Embedder, pixels: Sequence[Pixels]
    ) -> list[tuple[Vectors, SeenContent]]:
        """As `embed`, a row each, with what is seen in every picture."""
        parts = self._in_parts(embedder, partial(self.analyze_batch, embedder), pixels)
        return [one for part in parts for one in part]

    def shown(
        self, model: Model, labels: dict[int, tuple[Label, ...]]
    ) -> dict[int, tuple[Label, ...]]:
        """Labels as they are stored -> as people see them, by picture."""
        if not labels:
            return {}
        try:
            embedder = self.matching(model.name, model.fingerprint)
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
        """As `analyze`, on the inference thread itself."""
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
        """What `run` returns for parts of the pictures, each a task of the inference thread."""
        if not pixels:
            return []
        runtime = self._runtime()
        runtime.run(embedder.load)
        step = runtime.portion(embedder.batch)
        parts = [
            runtime.submit(partial(run, pixels[i : i + step])) for i in range(0, len(pixels), step)
        ]
        return [part.result() for part in parts]
