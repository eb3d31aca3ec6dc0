"""The models of one library: the one asked for, the one it answers with, those in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from search.embedders.base import Embedder, Pixels, Vectors
from search.embedders.registry import check_name, open_embedder
from search.errors import ModelError
from search.recording import Model

if TYPE_CHECKING:
    from search.runtime import Runtime


class Models:
    """Opens embedders and runs them on the inference thread. Threads may share it."""

    def __init__(
        self,
        asked: str | None,
        device: str,
        runtime: Callable[[], Runtime],
        say: Callable[[str], None],
    ) -> None:
        """asked: a name of the user's, None or `auto` for the library's own. say: takes the line
        that tells which model a new library gets. Raises ModelError for what is no name."""
        self.asked = None if asked in (None, "auto") else check_name(asked)
        self.opened: dict[str, Embedder] = {}
        self._device, self._runtime, self._say = device, runtime, say
        self._opening = threading.RLock()

    def choose(self, serving: Model | None) -> Embedder:
        """What a sync of a library that answers with `serving` is to embed with."""
        name = self.asked or (serving.name if serving else check_name("auto"))
        embedder = self.open(name)
        if serving is None and self.asked is None:
            self._say(f"model: {name}, which comes with lookalike; {embedder.terms}")
        return embedder

    def at_once(self, serving: Model | None) -> Embedder:
        """What one picture of a library that answers with `serving` is to embed with."""
        if serving is None:
            return self.open(self.asked or check_name("auto"))
        self.refuse_other(serving)
        return self.fitting(serving)

    def open(self, name: str) -> Embedder:
        """The embedder of that name. Raises ModelError."""
        with self._opening:
            if name not in self.opened:
                self.opened[name] = open_embedder(name, self._device)
            return self.opened[name]

    def fitting(self, model: Model) -> Embedder:
        """The embedder that a model's vectors came from."""
        opened = self.open(model.name)
        if opened.fingerprint != model.fingerprint:
            raise ModelError(
                f"the library was indexed with other weights of {model.name}; index its "
                "folders again (vectors are made anew, nothing else)"
            )
        return opened

    def refuse_other(self, model: Model) -> None:
        """Raises ModelError when another model was asked for than the library's."""
        if self.asked not in (None, model.name):
            raise ModelError(
                f"this library answers with {model.name} and has no vectors of {self.asked}; run "
                f"`lookalike --model {self.asked} index FOLDER` to change it, or leave --model out"
            )

    def embed(self, embedder: Embedder, pixels: Sequence[Pixels]) -> Vectors:
        """Vectors of many, in pieces between which a query may go first."""
        step = embedder.batch
        parts = [
            self._runtime().submit(partial(embedder.embed, pixels[i : i + step]))
            for i in range(0, len(pixels), step)
        ]
        empty: Vectors = np.empty((0, embedder.dim), np.float32)
        return np.concatenate([empty, *(part.result() for part in parts)])
