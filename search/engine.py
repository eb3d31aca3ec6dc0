"""The facade: everything a caller does with a library goes through `Engine`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from PIL import Image

from search.embedders.base import TextEmbedder
from search.embedders.vocabulary import LabelEmbedder
from search.errors import (
    LibraryError,
    LookalikeError,
    ModelError,
    NotFoundError,
    PictureError,
    QueryError,
)
from search.indexing.forget import forget
from search.indexing.scan import watch
from search.indexing.sync import Indexer
from search.library import Library
from search.lock import writing
from search.media.images import Crop
from search.media.loader import Source
from search.querying.query import Picture as Given, Query, is_address
from search.records import (
    AugmentProgress,
    CheckReport,
    Hits,
    IndexReport,
    KnownWord,
    Page,
    Picture,
    Progress,
    RootStatus,
    Status,
    VariantProgress,
    Variants,
    Words,
)
from search.settings import Settings
from search.types import Pixels, Vectors

if TYPE_CHECKING:
    from search.generation.variants import VariantOptions


class Engine(Library):
    """A library of pictures: index folders, find pictures by picture. Threads may share it.

    Use as a context manager. The model is loaded when it is first needed.
    """

    @classmethod
    def open(
        cls,
        home: str | PathLike[str] | None = None,
        model: str | None = None,
        device: str | None = None,
        **more: Any,
    ) -> Engine:
        """Open the library in `home`, or make one there.

        model: for a new library, or to change to; None takes the library's own. more: other
        settings by name, and `say`. Raises LookalikeError.
        """
        say = more.pop("say", lambda _: None)
        return cls(Settings.load(home=home, model=model, device=device, **more), say)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # indexing ----------------------------------------------------------------------------------

    def index(
        self,
        path: str | PathLike[str],
        exclude: Sequence[str] | None = None,
        allow_empty: bool = False,
    ) -> Iterator[Progress]:
        """Make the library agree with a folder; the last progress carries the report.

        exclude: globs to leave out, remembered with the folder. allow_empty: believe a known
        folder that lists nothing. Raises LookalikeError; what was committed by then stays.
        """
        place = Path(os.path.realpath(os.path.expanduser(path)))
        if not os.path.exists(place) and not any(
            place.is_relative_to(r.path) for r in self._catalog.roots()
        ):
            raise NotFoundError(f"{place} is not there; give a folder of pictures")
        yield from self._models.fetch(self._catalog.chosen())
        with self._pen.hold():
            self._loader.warm()
            embedder = self._models.choose(self._catalog.chosen(), changes=True)
            model = self._catalog.model(embedder.name, embedder.fingerprint, embedder.dim)
            indexer = Indexer(
                self._catalog,
                self._lookup,
                self._loader,
                self._thumbnails,
                model,
                embedder.preparation,
                lambda pixels: self._models.analyze(embedder, pixels),
                self.home,
                self._models.can_answer,
            )
            with closing(self._pen.steps(indexer.sync(place, exclude, allow_empty))) as steps:
                for progress in steps:
                    if progress.report is not None and (serving := self._catalog.serving()):
                        yield Progress("finish", 0, 0, progress.path)
                        self._shelf.fit(serving)
                        self._shelf.save(serving)
                    yield progress

    def sync(
        self,
        path: str | PathLike[str],
        exclude: Sequence[str] | None = None,
        allow_empty: bool = False,
    ) -> IndexReport:
        """As `index`, to the end."""
        *_, last = self.index(path, exclude, allow_empty)
        if last.report is None:
            raise LibraryError(f"indexing {path} ended early; run it again")
        return last.report

    def watch(self, paths: Sequence[str | PathLike[str]]) -> Iterator[Path]:
        """Wait for changes, without end: yields each of the folders that wants a sync."""
        folders = [Path(os.path.realpath(os.path.expanduser(path))) for path in paths]
        return watch(folders, self.home)

    def tend(self) -> None:
        """Bring the index to the tier that suits the size of the library (setting `index`), where
        it is of another: done at the end of every `index`; a server that others index for does it
        from time to time. Searches go on meanwhile. Raises LookalikeError."""
        model = self._catalog.serving()
        if model is not None and self._shelf.fit(model):
            with self._pen.borrow():
                self._shelf.save(model)

    def forget(self, path: str | PathLike[str]) -> int:
        """Take a folder or file out of the library; returns how many files that were.

        Nothing on disk changes but the library's own thumbnails. Raises NotFoundError for a path
        that the library does not have.
        """
        with self._pen.hold():
            return forget(self._catalog, self._thumbnails, path)

    def embed(
        self, paths: Sequence[str | PathLike[str]], out: str | PathLike[str]
    ) -> Iterator[Progress]:
        """Write the vectors of folders and zips of pictures to a file, by the library's model; the
        library stays as it is. The last progress carries the report. Raises LookalikeError."""
        from search.indexing.export import export

        yield from self._models.fetch(self._catalog.serving())
        embedder = self._models.choose(self._catalog.serving())
        yield from export(
            [Path(path).expanduser() for path in paths],
            Path(out).expanduser(),
            self._loader,
            embedder,
            lambda pixels: self._models.embed(embedder, pixels),
            self.settings.max_bytes,
        )

    def encoder(self) -> str:
        """The library's model: its name, and the fingerprint of what its vectors depend on.

        Raises LookalikeError.
        """
        embedder = self._models.at_once(self._catalog.serving())
        return f"{embedder.name} {embedder.fingerprint}"

    def encode(self, pictures: Iterable[Pixels]) -> Vectors:
        """(n, height, width, 3) uint8 RGB -> (n, dim) float32 unit vectors by the library's model.

        Raises LookalikeError.
        """
        embedder = self._models.at_once(self._catalog.serving())
        prepared = [embedder.preparation(Image.fromarray(picture)) for picture in pictures]
        return self._models.embed(embedder, prepared)

    # searching ---------------------------------------------------------------------------------

    def search(
        self,
        query: Query | Given | None = None,
        *,
        image: Given | Sequence[Given] | None = None,
        text: str | Sequence[str] | None = None,
        vector: Sequence[float] | None = None,
        crop: Crop | Sequence[float | str] | None = None,
        k: int = 10,
        min_score: float | None = None,
    ) -> Hits:
        """The pictures most like the query's, best first: a Query, a picture, or what `Query.of`
        takes.

        image: a path, a URL, `id:ID`, the bytes of a file, a PIL picture, or a list of them that
        add up. text: what is to be seen, or a list; mini knows words (`words`). k: 1 to 10000.
        min_score: cosine in [-1, 1]. Raises LookalikeError.
        """
        if not isinstance(query, Query):
            if query is not None and image is not None:
                raise QueryError("give one picture or a list of them, not both `query` and `image`")
            image = image if query is None else query
            query = Query.of(image, text=text, vector=vector, crop=crop, k=k, min_score=min_score)
        elif (image, text, vector, crop, k, min_score) != (None, None, None, None, 10, None):
            raise QueryError("a Query holds its own terms, k and min_score; give nothing beside it")
        while True:  # once more, where the library's model has changed meanwhile
            searcher = self._searcher()
            try:
                hits = searcher.answer(query)
            except LookalikeError:
                if self._catalog.serving() == searcher.model:
                    raise
            else:
                if hits or self._catalog.serving() == searcher.model:
                    return hits

    def words(self, prefix: str = "", limit: int = 50) -> Words:
        """The words that the library's model can search by and that begin with a prefix.

        limit: how many at most, from 1. A model with a text tower takes any words, and lists none.
        Raises LookalikeError.
        """
        if limit < 1:
            raise QueryError(f"limit is {limit}; give 1 or more")
        embedder = self._models.at_once(self._catalog.serving())
        if not isinstance(embedder, LabelEmbedder):
            return Words(embedder.name, any_words=isinstance(embedder, TextEmbedder))
        vocabulary = embedder.vocabulary()
        found = vocabulary.complete(prefix, limit) if vocabulary else []
        return Words(
            embedder.name,
            words=tuple(KnownWord(w.names[0], w.names[1:], w.precision) for w in found),
            total=len(vocabulary.words) if vocabulary else 0,
        )

    # making more -------------------------------------------------------------------------------

    def vary(self, image: Given, **options: Unpack[VariantOptions]) -> Iterator[VariantProgress]:
        """Make variants of a picture, given as to `search`, and watch them appear.

        The last progress carries the result; closing the iterator cancels. options: see
        `search.generation.variants.VariantOptions`. Raises LookalikeError, for wrong options at
        once.
        """
        from search.generation.variants import VariantRequest

        request = VariantRequest.of(**options, space=self._generator.space)
        return self._generator.generate(image, request)

    def variants(self, image: Given, **options: Unpack[VariantOptions]) -> Variants:
        """Make variants of a picture: as `vary`, to the end.

        engine.variants("shirt.jpg", n=4, regime="same", seed=7)[0].picture.save("more.png")
        """
        *_, last = self.vary(image, **options)
        if last.result is None:
            raise LibraryError("the variants ended early; ask again")
        return last.result

    def augment(
        self,
        path: str | PathLike[str],
        *,
        output: str | PathLike[str],
        n: int = 4,
        regime: str = "near",
        seed: int = 0,
    ) -> Iterator[AugmentProgress]:
        """Make a training set in `output`: n variants of each picture of a folder, as
        `search.generation.augment` lays them out. The last progress carries the report; files that
        are there already are not made again. Wrong arguments raise LookalikeError at once."""
        from search.generation.augment import Augmentation

        return Augmentation(self._generator, Path(path), Path(output), n, regime, seed).run()

    # pictures ----------------------------------------------------------------------------------

    def keep(self, picture: bytes | str) -> Picture:
        """Keep a picture (its bytes, or a URL) in the library's own folder, with its bytes as they
        are: searchable at once, even while a folder is being indexed. Raises LookalikeError."""
        data = picture if isinstance(picture, bytes) else self._content(picture)
        embedder = self._models.at_once(self._catalog.serving())
        loaded = self._load(Source(data=data), embedder.preparation)
        if loaded.pixels is None:
            raise PictureError("the picture was not decoded; try again")
        pixels = [loaded.pixels]
        ((vector, content),) = self._runtime.run(
            lambda: self._models.analyze_batch(embedder, pixels), urgent=True
        )
        with self._pen.borrow():
            serving = self._catalog.serving()
            if serving and serving.fingerprint != embedder.fingerprint:
                raise ModelError(f"the library has changed to {serving.name} just now; try again")
            model = self._catalog.model(embedder.name, embedder.fingerprint, embedder.dim)
            if serving is None:
                self._catalog.serve(model, meanwhile=self._models.asked is None)
            self._keeper.keep(data, loaded, model, vector, content)
        return self.picture(loaded.id)

    def picture(self, identity: str) -> Picture:
        """What is known of a picture, by its id or the beginning of it.

        Raises QueryError for what is no id, NotFoundError where there is no such picture.
        """
        return self._album.picture(identity)

    def pictures(self, page: int = 1, size: int = 100) -> Page:
        """Some of the pictures, the last that came first. page: from 1."""
        return self._album.page(page, size)

    def thumbnail(self, identity: str) -> bytes:
        """WebP, long side at most 256; made again where it is missing. Raises as `original`."""
        return self._album.thumbnail(identity)

    def preview(self, picture: str | bytes) -> bytes:
        """JPEG, long side at most 1600; of an id, a URL or a file's bytes. Raises as `original`."""
        if isinstance(picture, str) and not is_address(picture):
            return self._album.preview(picture)
        data = picture if isinstance(picture, bytes) else self._content(picture)
        return self._load(Source(data=data, preview=True)).preview or b""

    def original(self, identity: str) -> tuple[Picture, BinaryIO]:
        """A picture and its file, opened for reading.

        Raises as `picture`, and NotFoundError where no file of it is as it was indexed.
        """
        return self._album.original(identity)

    # looking after it --------------------------------------------------------------------------

    def ready(self) -> None:
        """Raises StorageError where the catalog does not answer; costs next to nothing."""
        self._catalog.serving()

    def status(self) -> Status:
        """The library at a glance; loads no model."""
        model = self._catalog.serving()
        counts, by_root = self._lookup.count(model), self._lookup.files_by_root()
        roots = tuple(
            RootStatus(
                root.path,
                "online" if root.state == "online" and os.path.isdir(root.path) else "offline",
                by_root.get(root.id, 0),
            )
            for root in self._catalog.roots()
        )
        return Status(
            home=str(self.home),
            model=model.name if model else None,
            fingerprint=model.fingerprint if model else None,
            roots=roots,
            index=self._shelf.status(model),
            version=version("lookalike"),
            **counts,
        )

    def check(self, deep: bool = False) -> CheckReport:
        """Whether catalog, index, thumbnails and files agree; what is derived is mended.

        deep: read every file again and compare its content.
        """
        from search.indexing.integrity import Checker

        checker = Checker(self._catalog, self._lookup, self._loader, self._thumbnails)
        with writing(self.home, self.settings.lock_seconds, self._say):
            return checker.check(self._shelf, self._runtime, deep)
