"""The parts of a library, opened when they are first needed.

Most parts are imported when they are opened: `lookalike status` needs the catalog alone, and all
imports of the others take longer than its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from search.catalog.catalog import Catalog
from search.catalog.database import CATALOG, open_database
from search.catalog.reads import CatalogReader
from search.catalog.schema import UPLOADS
from search.errors import InputError, LibraryError
from search.media.object_urls import is_object_url, is_remote, join_place, parse_object_url
from search.media.objects import ObjectStores
from search.media.open_file import FilePlace, open_file
from search.media.rules import Limits
from search.media.sites import PICTURES, PURPOSE, SiteReader
from search.media.thumbnails import DiskThumbnails, ObjectThumbnails, Thumbnails
from search.settings import Settings, split_list
from search.vectors.registry import StoreServer, open_stores

if TYPE_CHECKING:
    from search.catalog.captions import ModelCaptions
    from search.catalog.collections import Collections
    from search.catalog.jobs import JobBoard
    from search.catalog.saved_searches import SavedSearches
    from search.catalog.tagging import Albums, Tagging
    from search.catalog.texts import Texts
    from search.catalog.tokens import Tokens
    from search.catalog.writes import Space
    from search.embedders.models import Models
    from search.generation.restoration import PictureRestorer
    from search.generation.variants import VariantGenerator
    from search.indexing.removal import Remover
    from search.indexing.uploads import Uploads
    from search.lock import WriteLock
    from search.media.decoder_pool import DecoderPool
    from search.media.fetch import Fetcher
    from search.media.sources import PictureResolver
    from search.querying.browse import PictureBrowser
    from search.querying.difference import ThumbnailComparer
    from search.querying.duplicates import DuplicateFinder
    from search.querying.pipeline import LibrarySearch
    from search.querying.query import Query
    from search.querying.saved import SavedSearchRunner
    from search.querying.sources import SourceReader
    from search.records.hits import Hits
    from search.records.transient import TransientItems
    from search.runtime import Runtime
    from search.types import RowIds, Vectors
    from search.vectors.features.replica import FeatureReplica
    from search.vectors.pairs import PairFinder

REUSE_SECONDS = 60.0
"""For which a picture of a URL is used again: the page shows it, and searches by it."""
T = TypeVar("T")


class Library:
    """The parts of one library. Threads may share it.

    home: the library's folder. database, catalog, reader: what is indexed. models: embedders.
    decoders: decoding processes. resolver: turns what a user gives as a picture into pixels.
    indexes: vector stores. features: the index of local features. searches: answers queries.
    browser: shows single pictures. uploads: pictures that were sent; uploads_place: where they are.
    stores: object storage and web sites; objects: the URL of what the library keeps there, None for
    its folder. jobs: those of all servers. tokens: of their users. tags, albums: what people say of
    pictures. collections: roots under a name. texts: what is written in pictures; text_readers:
    processes that read it. captions: what a model said of pictures.
    generator: makes variants. restorer: restores pictures of queries. runtime: the inference
    thread.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str], None] = lambda _: None,
        one_shot: bool = False,
    ) -> None:
        """report: takes a line for the user, such as that another writer is waited for. one_shot:
        the process runs one command and ends.

        Raises LibraryError, and ModelError for a model name that cannot be.
        """
        self.settings, self.report, self._one_shot = settings, report, one_shot
        self.home = settings.home.expanduser().resolve()
        self._opening = threading.RLock()
        self._pairs: dict[int, PairFinder] = {}
        sites = SiteReader(
            lambda: self._make_fetcher(PURPOSE), settings.site_delay, settings.fetch_bytes
        )
        self.stores, self.objects = ObjectStores(settings.object_seconds, sites), None
        if settings.objects is not None:
            if not is_object_url(settings.objects):
                raise InputError(
                    f"setting objects: {settings.objects} is no URL of object storage; give one "
                    "such as s3://bucket/lookalike, or a --home on a disk"
                )
            self.objects = parse_object_url(settings.objects)
        if settings.model is not None:  # a name that cannot be is refused before a folder is made
            self.models  # noqa: B018
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"cannot make the library's folder {self.home}: {error.strerror}; "
                "give another --home"
            ) from error
        self.database = open_database(settings.catalog_address, self.home / CATALOG)
        if settings.catalog_address:  # without a catalog in it, nothing else tells what it is
            from search.indexing.kinds import NO_MEDIA

            with suppress(OSError):
                (self.home / NO_MEDIA).touch()
        self.catalog, self.reader = Catalog(self.database), CatalogReader(self.database)
        self.thumbnails: Thumbnails = DiskThumbnails(self.home / "thumbnails")
        if self.objects:
            self.thumbnails = ObjectThumbnails(self.stores, join_place(self.objects, "thumbnails"))
        self.uploads_place = join_place(self.objects or str(self.home), UPLOADS)
        self.catalog.set_uploads_folder(self.uploads_place)
        token = settings.store_token
        self.indexes = open_stores(
            settings.store,
            self.reader,
            lambda: self.runtime,
            self.home / "index",
            settings.index,
            server=StoreServer(
                token.get_secret_value() if token else None, settings.store_seconds, report
            ),
        )

    def close(self) -> None:
        """End the decoding processes and the inference thread, and close stores and database."""
        for name in ("decoders", "text_readers"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self.indexes.close()
        if "features" in self.__dict__:
            self.features.close()
        if "runtime" in self.__dict__:
            self.runtime.close()
        self.stores.close()
        self.database.close()

    @cached_property
    def jobs(self) -> JobBoard:
        from search.catalog.jobs import JobBoard

        return self._make_once("jobs", lambda: JobBoard(self.database))

    @cached_property
    def tokens(self) -> Tokens:
        from search.catalog.tokens import Tokens

        return self._make_once("tokens", lambda: Tokens(self.database))

    @cached_property
    def transient_items(self) -> TransientItems:
        from search.catalog.transient import CatalogItems
        from search.records.transient import MemoryItems

        def make() -> TransientItems:
            return CatalogItems(self.database) if self.database.is_shared else MemoryItems()

        return self._make_once("transient_items", make)

    @cached_property
    def tags(self) -> Tagging:
        from search.catalog.tagging import Tagging

        return Tagging(self.reader, self.catalog, self.write_lock.borrow)

    @cached_property
    def albums(self) -> Albums:
        from search.catalog.tagging import Albums

        return Albums(self.reader, self.catalog, self.write_lock.borrow)

    @cached_property
    def collections(self) -> Collections:
        from search.catalog.collections import Collections

        return Collections(self.reader, self.catalog, self.write_lock.borrow, self.uploads_place)

    @cached_property
    def texts(self) -> Texts:
        from search.catalog.texts import Texts

        return self._make_once("texts", lambda: Texts(self.database))

    @cached_property
    def captions(self) -> ModelCaptions:
        from search.catalog.captions import ModelCaptions

        return self._make_once("captions", lambda: ModelCaptions(self.database))

    @cached_property
    def models(self) -> Models:
        from search.embedders.models import Models

        s, cache = self.settings, self.home / "models"
        needs = (s.model, s.device, cache, lambda: self.runtime, self.report)
        parts = (*needs, s.backend, s.threads, self._one_shot)
        return self._make_once("models", lambda: Models(*parts))

    @cached_property
    def uploads(self) -> Uploads:
        from search.indexing.uploads import DiskUploads, ObjectUploads, UploadFolder, Uploads

        folders: list[UploadFolder] = [DiskUploads(self.home / UPLOADS)]
        if self.objects:
            folders.insert(0, ObjectUploads(self.stores, join_place(self.objects, UPLOADS)))
        catalog, thumbnails = self.catalog, self.thumbnails
        return self._make_once("uploads", lambda: Uploads(catalog, thumbnails, *folders))

    @cached_property
    def remover(self) -> Remover:
        from search.indexing.removal import Remover

        parts = (self.uploads, self.open_file, self.write_lock.borrow)
        return Remover(self.reader, self.catalog, *parts)

    @cached_property
    def resolver(self) -> PictureResolver:
        from search.media.sources import PictureResolver

        return self._make_once("resolver", lambda: PictureResolver(self))

    @cached_property
    def browser(self) -> PictureBrowser:
        from search.querying.browse import PictureBrowser

        needs = (self.reader, self.thumbnails, self.resolver, self.catalog, self.models)
        parts = (*needs, self.open_file)
        return self._make_once("browser", lambda: PictureBrowser(*parts))

    @cached_property
    def sources(self) -> SourceReader:
        return make_source_reader(self)

    @cached_property
    def write_lock(self) -> WriteLock:
        from search.lock import WriteLock

        parts = (self.database.hold_lock, self.settings.lock_seconds, self.report)
        return self._make_once("write_lock", lambda: WriteLock(*parts))

    @cached_property
    def features(self) -> FeatureReplica:
        from search.vectors.features.replica import FeatureReplica

        parts = (self.reader, self.home / "features", lambda: self.runtime)
        return self._make_once("features", lambda: FeatureReplica(*parts))

    @cached_property
    def searches(self) -> LibrarySearch:
        from search.querying.pipeline import LibrarySearch

        return self._make_once("searches", lambda: LibrarySearch(self))

    @cached_property
    def saved_searches(self) -> SavedSearches:
        from search.catalog.saved_searches import SavedSearches

        return self._make_once("saved_searches", lambda: SavedSearches(self.database))

    @cached_property
    def saved(self) -> SavedSearchRunner:
        return make_saved_search_runner(self)

    def find_pairs(self, space: Space) -> PairFinder:
        """Return the pairs of near vectors of a space; the same object for all callers."""
        from search.vectors.pairs import PairFinder

        def measure(left: RowIds, right: RowIds) -> Vectors:
            rows = [*left.tolist(), *right.tolist()]
            ids = self.reader.picture_ids(set(rows))
            names = [ids.get(row_id, "") for row_id in rows]
            return self.comparer.measure(names[: len(left)], names[len(left) :])

        with self._opening:
            if space.id not in self._pairs:
                parts = (self.reader, space, self.home / "index", measure, self.runtime.run)
                self._pairs[space.id] = PairFinder(*parts)
            return self._pairs[space.id]

    @cached_property
    def comparer(self) -> ThumbnailComparer:
        from search.querying.difference import ThumbnailComparer

        def read(picture_id: str) -> bytes:
            return self.thumbnails.read(picture_id) or self.browser.thumbnail(picture_id)

        return self._make_once("comparer", lambda: ThumbnailComparer(read))

    @cached_property
    def duplicates(self) -> DuplicateFinder:
        return self._make_once("duplicates", lambda: make_duplicate_finder(self))

    @cached_property
    def decoders(self) -> DecoderPool:
        from search.media.decoder_pool import DecoderPool

        s = self.settings
        limits = self._limits(s.decode_seconds)
        return self._make_once(
            "decoders",
            lambda: DecoderPool(
                s.workers, limits, query_seconds=s.query_seconds, objects=self.stores
            ),
        )

    @cached_property
    def text_readers(self) -> DecoderPool:
        from search.media.decoder_pool import DecoderPool

        limits, workers = self._limits(self.settings.ocr_seconds), self.settings.workers
        return self._make_once("text_readers", lambda: DecoderPool(workers, limits))

    def _limits(self, seconds: float) -> Limits:
        """Return what a picture may cost in a process. seconds: to decode it."""
        s = self.settings
        return Limits(
            pixels=s.max_pixels,
            bytes=s.max_bytes,
            seconds=seconds,
            memory=s.decode_memory,
            side=s.max_side,
            decoded=s.max_decoded,
        )

    def open_file(self, place: FilePlace) -> BinaryIO | None:
        """Open an indexed file or object, or return None when it is not as it was indexed.

        Raises RemoteError for object storage that gives no answer.
        """
        return self.stores.open(place) if is_remote(place.root) else open_file(place)

    def open_picture(self, place: FilePlace) -> BinaryIO | None:
        """As `open_file`, but a frame of a film is opened as a PNG."""
        if place.time is None:
            return self.open_file(place)
        from search.media.frames import open_frame

        return open_frame(place, self.open_file, self.decoders)

    @cached_property
    def runtime(self) -> Runtime:
        from search.runtime import Runtime

        return self._make_once("runtime", lambda: Runtime(self.settings.threads))

    def _make_once(self, name: str, make: Callable[[], T]) -> T:
        """One part for all threads, whoever comes first."""
        with self._opening:
            if name not in self.__dict__:
                self.__dict__[name] = make()
            part: T = self.__dict__[name]
            return part

    @cached_property
    def fetcher(self) -> Fetcher:
        return self._make_fetcher(reuse_seconds=REUSE_SECONDS)

    def _make_fetcher(self, purpose: str = PICTURES, reuse_seconds: float = 0.0) -> Fetcher:
        """Return what fetches URLs. purpose, reuse_seconds: as for `Fetcher`."""
        from search.media.addresses import AllowedHosts
        from search.media.fetch import Fetcher

        s = self.settings
        hosts = AllowedHosts.parse(split_list(s.allow_hosts))
        return Fetcher(
            s.fetch_bytes,
            s.fetch_seconds,
            allow_hosts=hosts,
            contact=s.contact,
            purpose=purpose,
            reuse_seconds=reuse_seconds,
        )

    @cached_property
    def generator(self) -> VariantGenerator:
        from search.embedders.json_cache import JsonCache
        from search.generation.generators.registry import Generators
        from search.generation.library_pictures import LibraryPictures
        from search.generation.variants import VariantGenerator

        notes, s = JsonCache(self.home / "models"), self.settings
        needs = (self.models, self.reader, self.decoders, self.resolver)
        pictures = LibraryPictures(*needs, self.searches, notes)
        shared = (self.models, self.runtime, notes, s.checkpoint, s.device, self.report)
        generators = Generators(split_list(s.generator), *shared)
        parts = (self.models, self.runtime, pictures, generators)
        return self._make_once("generator", lambda: VariantGenerator(*parts))

    @cached_property
    def restorer(self) -> PictureRestorer:
        return self._make_once("restorer", lambda: make_restorer(self))


def make_duplicate_finder(library: Library) -> DuplicateFinder:
    """Make what lists the duplicates among the pictures that a library shows."""
    from search.querying.duplicates import DuplicateFinder
    from search.querying.keeping import measure_sharpness

    def measure(picture_ids: Sequence[str]) -> list[float]:
        return measure_sharpness([library.browser.preview(one) for one in picture_ids])

    parts = (library.reader, library.catalog, library.models, library.find_pairs)
    return DuplicateFinder(*parts, measure)


def make_source_reader(library: Library) -> SourceReader:
    """Make what tells where the pictures that a library shows come from."""
    from search.querying.sources import SourceReader

    return SourceReader(library.reader, library.open_file)


def answer_query(library: Library, query: Query) -> Hits:
    """Answer a query; its pictures are restored before if it says so. Raises LookalikeError."""
    if query.restore:
        return library.restorer.search(query, library.searches)
    return library.searches.search(query)


def make_saved_search_runner(library: Library) -> SavedSearchRunner:
    """Make what saves searches, and runs them among the pictures that a library shows."""
    from search.querying.saved import SavedSearchRunner

    def answer(query: Query) -> Hits:
        return answer_query(library, query)

    def get_model() -> str:
        return library.models.choose_offline(library.reader.spaces()).name

    parts = (library.saved_searches, library.reader, answer, get_model)
    return SavedSearchRunner(*parts, library.settings.upload_bytes)


def make_restorer(library: Library) -> PictureRestorer:
    """Make what restores the pictures of a library's queries."""
    from search.generation.restoration import PictureRestorer

    parts = (library.resolver, library.runtime, library.settings.device)
    return PictureRestorer(*parts, lambda: library.generator.generators.own)


class LibraryView:
    """The parts of a library for users who may see some of its roots.

    What reads pictures is its own, over a `CollectionReader`. Everything else is that of the whole
    library, also when it is opened later.
    """

    def __init__(self, whole: Library, collections: Collection[str]) -> None:
        """collections: paths of the roots."""
        from search.catalog.scoped import CollectionReader

        self._whole = whole
        self.reader = CollectionReader(whole.database, collections)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    @cached_property
    def resolver(self) -> PictureResolver:
        from search.media.sources import PictureResolver

        return PictureResolver(cast(Library, self))

    @cached_property
    def browser(self) -> PictureBrowser:
        from search.querying.browse import PictureBrowser

        whole = self._whole
        needs = (self.reader, whole.thumbnails, self.resolver, whole.catalog, whole.models)
        return PictureBrowser(*needs, whole.open_file)

    @cached_property
    def tags(self) -> Tagging:
        from search.catalog.tagging import Tagging

        return Tagging(self.reader, self._whole.catalog, self._whole.write_lock.borrow)

    @cached_property
    def albums(self) -> Albums:
        from search.catalog.tagging import Albums

        return Albums(self.reader, self._whole.catalog, self._whole.write_lock.borrow)

    @cached_property
    def collections(self) -> Collections:
        from search.catalog.collections import Collections

        whole = self._whole
        parts = (whole.catalog, whole.write_lock.borrow, whole.uploads_place)
        return Collections(self.reader, *parts)

    @cached_property
    def remover(self) -> Remover:
        from search.indexing.removal import Remover

        whole = self._whole
        parts = (whole.uploads, whole.open_file, whole.write_lock.borrow)
        return Remover(self.reader, whole.catalog, *parts)

    @cached_property
    def duplicates(self) -> DuplicateFinder:
        return make_duplicate_finder(cast(Library, self))

    @cached_property
    def sources(self) -> SourceReader:
        return make_source_reader(cast(Library, self))

    @cached_property
    def searches(self) -> LibrarySearch:
        from search.querying.pipeline import LibrarySearch

        return LibrarySearch(cast(Library, self))

    @cached_property
    def saved(self) -> SavedSearchRunner:
        return make_saved_search_runner(cast(Library, self))

    @cached_property
    def generator(self) -> VariantGenerator:
        from search.embedders.json_cache import JsonCache
        from search.generation.library_pictures import LibraryPictures

        whole, notes = self._whole, JsonCache(self._whole.home / "models")
        needs = (whole.models, self.reader, whole.decoders, self.resolver)
        return whole.generator.with_pictures(LibraryPictures(*needs, self.searches, notes))

    @cached_property
    def restorer(self) -> PictureRestorer:
        return self._whole.restorer.with_resolver(self.resolver)
