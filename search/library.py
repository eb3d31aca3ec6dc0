"""What a library is made of: its parts, opened when they are first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from search.catalog.catalog import Catalog
from search.catalog.database import Database
from search.catalog.reads import Lookup
from search.embedders.models import Models
from search.embedders.notes import Notes
from search.errors import EmptyError, LibraryError
from search.indexing.uploads import Keeper
from search.lock import Pen
from search.media.images import Limits
from search.media.loader import Failure, Loaded, Loader, Source
from search.media.preprocessing import Preparation
from search.media.thumbnails import Thumbnails
from search.querying.browse import Album
from search.settings import Settings
from search.vectors.faiss.manager import Shelf

if TYPE_CHECKING:
    from search.generation.variants import VariantGenerator
    from search.media.fetch import Fetcher
    from search.querying.pipeline import Searcher
    from search.runtime import Runtime

T = TypeVar("T")
CATALOG = "catalog.sqlite"


class Library:
    """The parts of one library. Threads may share it."""

    def __init__(self, settings: Settings, say: Callable[[str], None] = lambda _: None) -> None:
        """say: takes the rare line for the user, as when another writer is waited for."""
        self.settings, self._say = settings, say
        self.home = settings.home.expanduser().resolve()
        notes = self.home / "models"
        self._models = Models(settings.model, settings.device, notes, lambda: self._runtime, say)
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"cannot make the library's folder {self.home}: {error.strerror}; "
                "give another --home"
            ) from error
        self._database = Database(self.home / CATALOG)
        self._catalog, self._lookup = Catalog(self._database), Lookup(self._database)
        self._thumbnails = Thumbnails(self.home / "thumbnails")
        self._catalog.keep_in(kept := self.home / "kept")
        self._keeper = Keeper(self._catalog, self._thumbnails, kept)
        self._album = Album(
            self._lookup, self._thumbnails, self._load, self._catalog.serving, self._models.shown
        )
        self._pen = Pen(self.home, settings.lock_seconds, say)
        self._shelf = Shelf(
            self._lookup, lambda: self._runtime, self.home / "index", settings.index
        )
        self._opening = threading.RLock()

    def close(self) -> None:
        """End the decoding processes and the inference thread."""
        if "_loader" in self.__dict__:
            self._loader.close()
        if "_runtime" in self.__dict__:
            self._runtime.close()
        self._database.close()

    def _content(self, name: str) -> bytes:
        """What a URL or `id:ID` stands for."""
        if name.startswith("id:"):
            return self._album.content(name[3:])
        return self._fetcher.fetch(name)

    def _load(self, source: Source, preparation: Preparation | None = None) -> Loaded:
        loaded = self._loader.submit(source, preparation, urgent=True).result()
        if isinstance(loaded, Failure):
            raise loaded.error(f"the picture: {loaded.reason}")
        return loaded

    @cached_property
    def _loader(self) -> Loader:
        s = self.settings
        limits = Limits(s.max_pixels, s.max_bytes, s.decode_seconds, s.decode_memory)
        return self._once("_loader", lambda: Loader(s.workers, limits))

    @cached_property
    def _runtime(self) -> Runtime:
        from search.runtime import Runtime

        return self._once("_runtime", lambda: Runtime(self.settings.threads))

    def _once(self, name: str, make: Callable[[], T]) -> T:
        """One part for all threads, whoever comes first."""
        with self._opening:
            if name not in self.__dict__:
                self.__dict__[name] = make()
            part: T = self.__dict__[name]
            return part

    @cached_property
    def _fetcher(self) -> Fetcher:
        from search.media.fetch import Fetcher

        return Fetcher(self.settings.fetch_bytes, self.settings.fetch_seconds)

    @cached_property
    def _generator(self) -> VariantGenerator:
        from search.generation.library_pictures import LibraryPictures
        from search.generation.variants import VariantGenerator

        notes, s = Notes(self.home / "models"), self.settings
        needs = (self._models, self._lookup, self._loader, self._content, self._catalog.serving)
        pictures = LibraryPictures(*needs, lambda query: self._searcher().answer(query), notes)
        parts = (self._models, self._runtime, pictures, notes, s.checkpoint, s.device)
        return self._once("_generator", lambda: VariantGenerator(*parts))

    def _searcher(self) -> Searcher:
        from search.querying.pipeline import Searcher

        model = self._catalog.serving()
        if model is None:
            raise EmptyError(
                f"the library in {self.home} is empty: run `lookalike index FOLDER` first"
            )
        self._models.refuse_other(model)
        self._loader.warm()

        embedder, content = partial(self._models.fitting, model), self._content
        live = partial(self._shelf.live, model)
        return Searcher(self._lookup, self._loader, self._runtime, embedder, model, live, content)
