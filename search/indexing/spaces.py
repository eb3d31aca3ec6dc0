"""The spaces that a sync writes vectors of: the library's own, and those that serve beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.embedders.base import Embedder
from search.embedders.models import Models, find_space
from search.errors import InputError, ModelError
from search.records.indexing import Progress


class SyncSpaces:
    """Opens the embedders of the next sync."""

    def __init__(
        self, catalog: Catalog, reader: CatalogReader, models: Models, beside: bool
    ) -> None:
        """beside: the requested model gets vectors beside the library's own, which stays.

        Raises InputError when no model was requested, or the library has none of its own.
        """
        self._catalog, self._reader, self._models = catalog, reader, models
        self._own = catalog.find_chosen_space()
        self._added = models.requested if beside else None
        self._requested = None if beside else models.requested
        if not beside:
            return
        if self._added is None:
            raise InputError(
                "which model shall serve beside the library's own? Run `lookalike --model NAME "
                "index FOLDER --beside`"
            )
        if self._own is None:
            raise InputError(
                "the library has no model of its own yet; run `lookalike index FOLDER` first"
            )

    def fetch(self) -> Iterator[Progress]:
        """Fetch the weights that are missing. Raises ModelError for what was requested."""
        yield from self._models.fetch(self._own, self._requested)
        if self._added:
            yield from self._models.fetch_name(self._added)
        for space in self._reader.spaces():
            if space.beside:
                with suppress(ModelError):  # `open` reports it
                    yield from self._models.fetch_name(space.name)

    def open(self) -> tuple[Embedder, list[Embedder]]:
        """Return the embedder of the library's model, and those of the spaces beside it.

        A space whose weights are gone is left out, and the user is told. The caller holds the write
        lock. Raises ModelError for what was requested.
        """
        serving = self._reader.spaces()
        own = self._models.choose(self._own, self._requested, True, serving)
        others = {}
        if self._added:
            added = self._models.open_like(self._added, serving)
            others[added.fingerprint] = added
            if added.fingerprint == own.fingerprint:
                self._serve(own)
            elif not find_space(serving, added.fingerprint):
                line = f"model: {own.name} stays; all pictures get vectors of {added.name} too"
                self._models.say(line)
        for space in self._reader.spaces():
            if space.beside and (embedder := self._open(space)):
                others.setdefault(embedder.fingerprint, embedder)
        others.pop(own.fingerprint, None)
        return own, list(others.values())

    def _serve(self, embedder: Embedder) -> None:
        """Let the space of an embedder serve beside the library's own, or after it."""
        space = self._catalog.space(embedder.name, embedder.fingerprint, embedder.dim)
        self._catalog.serve_beside(space)

    def _open(self, space: Space) -> Embedder | None:
        """Return the embedder of a space. If the model has new weights, they replace the space."""
        with suppress(ModelError):
            return self._models.open_for(space)
        try:
            embedder = self._models.open(space.name)
        except ModelError as error:
            self._models.say(f"model: no new vectors of {space.name}: {error}")
            return None
        self._models.say(f"model: {space.name} has new weights: all pictures get new vectors")
        self._serve(embedder)
        self._catalog.drop_beside(space)
        return embedder
