"""`Engine`, the facade of a library.

Methods import what only they need: the imports of all take longer than `status` does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack, cast

from search.errors import (
    CollectionError,
    EmptyError,
    InputError,
    LibraryError,
    ModelError,
    NotFoundError,
    PictureError,
    QueryError,
    StorageError,
)
from search.files import absolute_path, delete_partials, find_shown
from search.library import Library, LibraryView, answer_query
from search.media.object_urls import is_remote, is_site_url, relative_place, resolve_place
from search.media.urls import is_address
from search.querying.conditions import Comparison
from search.querying.query import Query, list_conditions
from search.records.browsing import WORLD, Bounds, Facets, FolderCount, Month, Page, PlaceGroup
from search.records.films import FilmFrames
from search.records.indexing import IndexReport, Progress, add_counts
from search.records.pictures import KeptPicture, Picture
from search.records.status import FolderGlance, LeftOut, RootStatus, SpaceStatus, Status
from search.records.words import KnownWord, Suggestion, Words
from search.settings import Settings

if TYPE_CHECKING:
    from search.catalog.collections import Collections
    from search.catalog.tagging import Albums, Tagging
    from search.catalog.writes import Origins, Root, Space
    from search.embedders.base import Embedder
    from search.generation.variants import VariantOptions
    from search.indexing.annotation_files import AnnotationFiles, AnnotationReport
    from search.indexing.inbox import Inbox
    from search.indexing.ray import RayCluster
    from search.indexing.sync import FolderSync
    from search.indexing.texts import PictureTexts
    from search.media.rules import Crop
    from search.media.source_kinds import ImageSource
    from search.querying.conditions import Condition
    from search.records.captions import CaptionProgress, CaptionStatus
    from search.records.duplicates import (
        CompareProgress,
        DuplicateGroup,
        Duplicates,
        Replacement,
    )
    from search.records.hits import Hits, Kind
    from search.records.inbox import InboxReport, InboxStatus
    from search.records.maintenance import (
        BackupReport,
        CalibrationProgress,
        CheckReport,
        MoveProgress,
    )
    from search.records.removals import Removal, Restored
    from search.records.restoration import RestoredPicture
    from search.records.saved import SavedHits, SavedSearch
    from search.records.sources import Sources
    from search.records.tokens import Role, Token
    from search.records.variants import (
        AugmentProgress,
        GeneratorInfo,
        VariantProgress,
        Variants,
    )
    from search.types import Pixels, Vectors


MOST_SYNC_HOURS = 8760  # a year


class Engine:
    """A library of pictures: index folders, find pictures by picture. Threads may share it.

    Use as a context manager. The model is loaded when it is first needed.
    """

    def __init__(self, library: Library) -> None:
        """See `open`."""
        self._library, self._process = library, os.getpid()
        self._whole: Engine | None = None
        self.visible_roots: frozenset[str] | None = None
        """Paths of the indexed folders that it is limited to (see `within`); None for all."""

    @property
    def library(self) -> Library:
        """The parts. Raises LibraryError in a process that was forked after the engine was opened:
        threads, decoding processes and database connections do not survive a fork."""
        if os.getpid() != self._process:
            raise LibraryError(
                "this process was forked after the library was opened; open the library again in "
                "the new process, or start it with the `spawn` method"
            )
        return self._library

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
        settings by name; `say`, a function that takes the rare line for the user; and `one_shot`,
        True for a program that runs one command and ends: `mini` embeds a few pictures without
        torch, whose import takes longer, and an exported network pauses for no query. Raises
        LookalikeError.
        """
        report, one_shot = more.pop("say", lambda _: None), bool(more.pop("one_shot", False))
        settings = Settings.load(home=home, model=model, device=device, **more)
        return cls(Library(settings, report, one_shot))

    @property
    def home(self) -> Path:
        """The library's own folder."""
        return self.library.home

    @property
    def settings(self) -> Settings:
        """The settings that the library was opened with."""
        return self.library.settings

    def close(self) -> None:
        """End the decoding processes and the inference thread, and close the catalog."""
        self.library.close()

    def within(self, collections: Collection[str]) -> Engine:
        """Return this engine for users who may see some of the indexed folders.

        collections: their paths. It answers as if the library had nothing else: it searches, shows
        pictures, makes variants, and tells the status. It indexes only in these folders, and keeps
        and deletes uploads only if their folder is one of them; else CollectionError is raised. Its
        methods of maintenance are those of the whole library. It shares all parts with this engine,
        and needs no `close`.
        """
        view = Engine(cast("Library", LibraryView(self.library, collections)))
        view._whole, view.visible_roots = self, frozenset(collections)
        return view

    def is_within(self, place: str) -> bool:
        """Return whether a path or a URL is in a folder that this engine is limited to."""
        if self.visible_roots is None:
            return True
        return any(relative_place(place, one) is not None for one in self.visible_roots)

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
        force: bool | Sequence[str] = False,
        follow_links: bool | None = None,
        beside: bool = False,
        still: bool = False,
        ray: str | None = None,
        pages: int | None = None,
        delay: float | None = None,
    ) -> Iterator[Progress]:
        """Sync a folder with the library, and yield the progress; the last one has the report.

        path: of a folder; of a film, which is read with its subtitles; or the URL of a bucket or a
        prefix, such as `s3://bucket/prefix`, or of a web site of one's own, such as
        `https://site/`.
        exclude: globs to leave out, remembered with the folder. allow_empty: accept that a known
        folder is empty now. force: read files again even if they seem unchanged: all, or those
        that match one of some globs. follow_links: follow symbolic links, remembered with the
        folder; None does as before. beside: keep the library's model; from now on all pictures also
        get vectors of the model that the engine was opened with, until `forget_model`. still: leave
        files for the next sync that are being written. ray: address of a Ray cluster that decodes
        and embeds (`auto`, `HOST:PORT`), or `local` to start one here. pages: of a web site, at
        most. delay: seconds between two requests to it. Both are settings otherwise. Raises
        LookalikeError; pictures that were committed before stay.
        """
        from search.indexing.spaces import SyncSpaces

        place = resolve_place(path)
        if self._whole is not None:
            if not self.is_within(place):
                raise CollectionError(f"{place} is in no collection of this token")
            options = (exclude, allow_empty, force, follow_links, beside, still, ray, pages, delay)
            yield from self._whole.index(place, *options)
            return
        if not (is_remote(place) or os.path.exists(place)) and not any(
            relative_place(place, r.path) is not None for r in self.library.catalog.roots()
        ):
            raise NotFoundError(f"{place} is not there; give a folder of pictures")
        self._prepare_site(place, ray, pages, delay)
        models, catalog, reader = self.library.models, self.library.catalog, self.library.reader
        yield from SyncSpaces(catalog, reader, models, beside).fetch()
        with self.library.write_lock.hold(), ExitStack() as stack:
            if ray is None:
                self.library.decoders.warm(query=False)
            embedder, others = SyncSpaces(catalog, reader, models, beside).open()
            cluster = (
                stack.enter_context(self._open_cluster(ray, embedder, others)) if ray else None
            )
            indexer = self._folder_sync(embedder, others, cluster, pages)
            globs = ("*",) if force is True else tuple(force or ())
            run = indexer.sync(place, exclude, allow_empty, globs, follow_links, still)
            with closing(self.library.write_lock.lend_between(run)) as steps:
                for progress in steps:
                    if progress.report is not None:
                        for space in self.library.reader.spaces():
                            yield Progress("finish", 0, 0, progress.path)
                            self.library.indexes.train(space)
                            self.library.indexes.save(space)
                        self.library.features.save()
                    yield progress

    def _prepare_site(
        self, place: str, ray: str | None, pages: int | None, delay: float | None
    ) -> None:
        """Set the pace of a site. Raises InputError for options that its place does not take."""
        if not is_site_url(place):
            if pages is not None or delay is not None:
                raise InputError(
                    f"{place} is no web site, so it takes neither a number of pages nor a delay"
                )
            return
        if ray is not None:
            raise InputError("a web site is read by one machine; leave --ray out")
        if (pages is not None and pages < 1) or (delay is not None and not 0 <= delay <= 3600):
            raise InputError("give 1 page or more, and a delay of 0 to 3600 seconds")
        self.library.stores.sites.set_delay(place, delay)

    def _open_cluster(
        self, address: str, embedder: Embedder, others: Sequence[Embedder]
    ) -> RayCluster:
        from search.indexing.ray import RayCluster

        catalog = self.library.catalog

        def list_embedded(one: Embedder, hashes: Collection[str]) -> Collection[str]:
            space = catalog.space(one.name, one.fingerprint, one.dim)
            return catalog.embedded_pixel_hashes(space, hashes)

        parts = (self.library.decoders, self.library.models, (embedder, *others))
        return RayCluster(address, *parts, list_embedded, self.library.report)

    def _folder_sync(
        self,
        embedder: Embedder,
        others: Sequence[Embedder],
        cluster: RayCluster | None = None,
        pages: int | None = None,
    ) -> FolderSync:
        """Return a sync under the embedder of the library's model, and those beside it.

        cluster: decodes and embeds in place of the processes of this machine. pages: most of a
        site; None for the setting.
        """
        from search.indexing.scan_site import SiteLimits
        from search.indexing.sync import FolderSync

        s = self.settings
        limits = SiteLimits(pages or s.site_pages, s.site_seconds, s.fetch_bytes)
        return FolderSync(
            self.library.catalog,
            self.library.reader,
            cluster or self.library.decoders,
            self.library.thumbnails,
            cluster or self.library.models,
            embedder,
            self.library.home,
            self.settings.default_excludes,
            others,
            self.library.stores,
            self.library.objects,
            limits,
        )

    def _embed_missing(self) -> IndexReport:
        """Embed pictures without a vector, and return the report. The caller may write."""
        spaces = self.library.reader.spaces()
        embedder, *others = (self.library.models.open_for(space) for space in spaces)
        *_, last = self._folder_sync(embedder, others).embed_missing()
        return last.report or IndexReport()

    def sync(
        self,
        path: str | PathLike[str],
        exclude: Sequence[str] | None = None,
        allow_empty: bool = False,
        force: bool | Sequence[str] = False,
        follow_links: bool | None = None,
        beside: bool = False,
        ray: str | None = None,
        pages: int | None = None,
        delay: float | None = None,
    ) -> IndexReport:
        """Sync a folder to the end, as `index` does, and return the report."""
        options = (exclude, allow_empty, force, follow_links, beside)
        *_, last = self.index(path, *options, ray=ray, pages=pages, delay=delay)
        if last.report is None:
            raise LibraryError(f"indexing {path} ended early; run it again")
        return last.report

    def watch(
        self,
        paths: Sequence[str | PathLike[str]] | Callable[[], Sequence[Path]],
        stop: threading.Event | None = None,
    ) -> Iterator[Path]:
        """Wait for changes; yield each folder that needs a sync (`index` with `still`).

        paths: folders, or a function that lists them whenever it is called. stop: set it to end.
        """
        from search.indexing.watch import watch

        if callable(paths):
            return watch(paths, self.library.home, self.library.report, stop)
        folders = [Path(os.path.realpath(os.path.expanduser(path))) for path in paths]
        return watch(folders, self.library.home, self.library.report, stop)

    def tend(self) -> None:
        """Train the index again if the size of the library asks for another tier (setting `index`).

        `index` does this at its end. A server does it from time to time, since other processes may
        index. Searches go on meanwhile. Raises LookalikeError.
        """
        for space in self.library.reader.spaces():
            if self.library.indexes.train(space):
                with self.library.write_lock.borrow():
                    self.library.indexes.save(space)

    def forget(self, path: str | PathLike[str], annotations: bool = False) -> int:
        """Take a folder or file out of the library; return the number of files.

        annotations: forget what people said of the pictures too; otherwise they have it again when
        they come back. On disk only the library's thumbnails change. Raises NotFoundError for a
        path that is not in the library.
        """
        from search.indexing.forget import forget

        with self.library.write_lock.hold():
            return forget(self.library.catalog, self.library.thumbnails, path, annotations)

    def set_schedule(self, path: str | PathLike[str], hours: int | None) -> None:
        """Set how often a server syncs an indexed folder by itself.

        hours: 1 to 8760, counted from its start; 0 for never; None as the folder changes. Raises
        NotFoundError for a path that is not an indexed folder, and InputError for other hours.
        """
        if hours is not None and not 0 <= hours <= MOST_SYNC_HOURS:
            raise InputError(f"a schedule of {hours} hours; give 0 to {MOST_SYNC_HOURS}")
        self.library.catalog.set_schedule(self._find_root(path).path, hours)

    def left_out(self, path: str | PathLike[str], most: int = 1000) -> LeftOut:
        """List the files of an indexed folder that cannot be found by search, and why.

        most: files of each sort. Raises NotFoundError for a path that is not an indexed folder.
        """
        from search.indexing.glance import list_left_out

        root = self._find_root(path)
        return list_left_out(self.library.catalog, root, self.settings.default_excludes, most)

    @staticmethod
    def look_at_folder(path: str | PathLike[str]) -> FolderGlance | None:
        """Count the pictures directly in a folder; None if it cannot be listed."""
        from search.indexing.glance import look_at_folder

        return look_at_folder(Path(path))

    def _find_root(self, path: str | PathLike[str]) -> Root:
        place = resolve_place(path)
        for root in self.library.catalog.roots():
            if root.path in (place, os.fspath(path)) and self.is_within(root.path):
                return root
        raise NotFoundError(f"{place} is not an indexed folder; `lookalike status` lists them")

    def forget_model(self, name: str) -> int:
        """Delete the vectors of a model that serves beside the library's own; return their count.

        name: its name, or its fingerprint. Raises NotFoundError for a model that does not serve,
        and InputError for the library's own.
        """
        from search.indexing.forget import forget_model

        with self.library.write_lock.hold():
            catalog, reader, models = self.library.catalog, self.library.reader, self.library.models
            return forget_model(catalog, reader, models, self.library.indexes, name)

    def embed(
        self, paths: Sequence[str | PathLike[str]], out: str | PathLike[str]
    ) -> Iterator[Progress]:
        """Write vectors of folders and zips of pictures to a file, by the library's model.

        The library is not changed. The last progress has the report. Raises LookalikeError.
        """
        from search.indexing.export import export

        models, own = self.library.models, self.library.catalog.find_own_space()
        yield from models.fetch(own, models.requested)
        embedder = models.choose(own, models.requested)
        yield from export(
            [Path(path).expanduser() for path in paths],
            Path(out).expanduser(),
            self.library.decoders,
            embedder,
            lambda pixels: models.embed(embedder, pixels),
            self.library.settings.max_bytes,
        )

    def export_model(self, folder: str | PathLike[str]) -> Path:
        """Write the library's model to a new folder as `network.onnx`, with `model.json` that
        describes it; pictures (n, H, W, 3) uint8 -> unit vectors (n, dim). Returns the folder.
        Raises LookalikeError."""
        from search.embedders.exports import export_model

        path = Path(folder).expanduser()
        export_model(self.library.models.choose_offline(self.library.reader.spaces()), path)
        return path

    def encoder(self) -> str:
        """Return the name and the fingerprint of the library's model. Raises LookalikeError."""
        embedder = self.library.models.choose_offline(self.library.reader.spaces())
        return f"{embedder.name} {embedder.fingerprint}"

    def encode(self, pictures: Iterable[Pixels]) -> Vectors:
        """Embed pictures with the library's model.

        pictures: (height, width, 3) uint8 RGB each. Returns (n, dim) float32 unit vectors. Raises
        LookalikeError.
        """
        from PIL import Image

        embedder = self.library.models.choose_offline(self.library.reader.spaces())
        prepared = [embedder.preprocessing(Image.fromarray(picture)) for picture in pictures]
        return self.library.models.embed(embedder, prepared)

    # searching ---------------------------------------------------------------------------------

    def search(
        self,
        query: Query | ImageSource | None = None,
        *,
        image: ImageSource | Sequence[ImageSource] | None = None,
        text: str | Sequence[str] | None = None,
        vector: Sequence[float] | None = None,
        crop: Crop | Sequence[float | str] | None = None,
        k: int = 10,
        min_score: float | None = None,
        model: str | None = None,
        where: str | Condition | Sequence[str | Condition] = (),
        sort: str | None = None,
        collapse: bool = False,
        kind: Kind | None = None,
        offset: int = 0,
        hidden: bool = False,
        line: str | None = None,
        verify: bool = False,
        expand: int = 0,
        restore: bool = False,
        mask: ImageSource | None = None,
        fuse: Mapping[str, float] | None = None,
    ) -> Hits:
        """Find the pictures that look most like a query, best first.

        query: a Query, or a picture. Without a Query, the other arguments make one.

        image: a path, a URL, `id:ID`, the bytes of a file, a PIL picture, an array (H, W, 3) RGB
        or (H, W) grey of uint8, a file opened in binary mode, a hit, or a list of them that
        add up. text: what is to be seen, or a list; mini knows words (`words`). k: 1 to 10000.
        min_score: cosine in [-1, 1]. model: whose vectors are compared, by name or fingerprint;
        `status().spaces` lists them. where: conditions, such as "type=jpeg and width>=1000"; alone,
        it lists the pictures that hold them. sort, collapse, kind, offset, verify, expand,
        restore, mask, fuse: see `Query`.
        hidden: hidden pictures are found too. line: more terms and conditions, such as "2:beach -
        people date:2024" (`search.querying.line`). Raises LookalikeError.
        """
        more: dict[str, Any] = {"k": k, "min_score": min_score, "model": model, "where": where}
        more |= {"sort": sort, "collapse": collapse, "kind": kind, "offset": offset}
        more |= {"hidden": hidden, "line": line, "verify": verify, "expand": expand}
        more |= {"restore": restore}
        if not isinstance(query, Query):
            if query is not None and image is not None:
                raise QueryError("give one picture or a list of them, not both `query` and `image`")
            image = image if query is None else query
            query = Query.of(
                image, text=text, vector=vector, crop=crop, mask=mask, fuse=fuse, **more
            )
        elif (
            image is not None
            or mask is not None
            or fuse
            or (text, vector, crop) != (None,) * 3
            or (k, *(value for name, value in more.items() if name != "k" and value)) != (10,)
        ):
            raise QueryError(
                "a Query holds its own terms, k, conditions and so on; give nothing beside it"
            )
        return answer_query(self.library, query).with_thumbnails(self.library.thumbnails)

    def restore_picture(
        self,
        image: ImageSource,
        *,
        crop: Crop | Sequence[float | str] | None = None,
        mask: ImageSource | None = None,
        estimate_only: bool = False,
    ) -> RestoredPicture:
        """Restore a picture as `search(image, restore=True)` does before it embeds it.

        image, crop, mask: as `search` takes them. estimate_only: return what would be done, and the
        picture unchanged. The picture is upright RGB, its short side at most 512 pixels. Raises
        MaskError for a mask that does not fit, and LookalikeError as `search`.

        engine.restore_picture("dark.jpg").picture.save("bright.png")
        """
        from search.media.rules import Crop
        from search.querying.query import parse_crop

        box = crop if isinstance(crop, Crop) or crop is None else parse_crop(crop)
        return self.library.restorer.restore(image, box, mask, estimate_only=estimate_only)

    def save_search(self, name: str, query: Query, owner: str = "") -> SavedSearch:
        """Save a query under a name, with copies of its picture files. What is in the library now
        counts as seen.

        owner: digest of the token of a user of the server; each user has searches of their own.
        Raises InputError for a name that is taken, and LookalikeError for a picture that cannot be
        read.

        engine.save_search("logo", Query.of("logo.png", kind="copy"))
        """
        return self.library.saved.save(owner, name, query)

    def saved_searches(self, owner: str = "") -> list[SavedSearch]:
        """Return the saved searches of an owner, by name."""
        return self.library.saved_searches.all(owner)

    def saved_picture(self, name: str, number: int, owner: str = "") -> bytes:
        """Return a picture file of a saved search. number: as `image: N` of its query has it.
        Raises NotFoundError."""
        return self.library.saved_searches.picture(owner, name, number)

    def rename_saved_search(self, name: str, other: str, owner: str = "") -> None:
        """Give a saved search another name. Raises NotFoundError, and InputError for a name that is
        taken or cannot be."""
        self.library.saved_searches.rename(owner, name, other)

    def run_saved_search(self, name: str, since: str | None = None, owner: str = "") -> SavedHits:
        """Answer a saved search. Raises NotFoundError, and LookalikeError as `search`.

        since: `last` for only the pictures that came to the library since `mark_saved_search`; or a
        period, such as `7d` or `2024-05`, for those that came since its beginning.

        answer = engine.run_saved_search("logo", "last")
        """
        return self.library.saved.run(owner, name, since)

    def mark_saved_search(self, name: str, newest: int, owner: str = "") -> None:
        """Mark an answer of a saved search as seen. newest: `newest` of that answer. Raises
        NotFoundError."""
        self.library.saved_searches.mark(owner, name, newest)

    def delete_saved_search(self, name: str, owner: str = "") -> None:
        """Delete a saved search. Raises NotFoundError."""
        self.library.saved_searches.delete(owner, name)

    def words(self, prefix: str = "", limit: int = 50) -> Words:
        """Return the words that the library's model knows and that begin with a prefix.

        limit: most words, from 1. A model with a text tower takes any words, and lists none.
        Raises LookalikeError.
        """
        from search.embedders.base import TextEmbedder
        from search.embedders.vocabulary import LabelEmbedder

        if limit < 1:
            raise QueryError(f"limit is {limit}; give 1 or more")
        embedder = self.library.models.choose_offline(self.library.reader.spaces())
        if not isinstance(embedder, LabelEmbedder):
            return Words(embedder.name, any_words=isinstance(embedder, TextEmbedder))
        vocabulary = embedder.vocabulary()
        matches = vocabulary.complete(prefix, limit) if vocabulary else []
        return Words(
            embedder.name,
            words=tuple(KnownWord(w.names[0], w.names[1:], w.precision) for w in matches),
            total=len(vocabulary.words) if vocabulary else 0,
        )

    def suggest(self, text: str, limit: int = 5) -> tuple[Suggestion, ...]:
        """Return what a query may go on with: collections, tags, folders, words, labels, dates,
        cameras, lenses, albums, and fields of conditions with their values.

        text: what is typed of the last word, or of a value as in `tag:be`. limit: of each kind, 1
        to 50. Raises LookalikeError.
        """
        from search.querying.suggest import Suggester

        return Suggester(self.library.reader, self.words).suggest(text, limit)

    # duplicates --------------------------------------------------------------------------------

    def compare(self) -> Generator[CompareProgress]:
        """Compare the pictures that were not compared yet, for `duplicates`, and yield the
        progress. What was compared is kept if it is stopped. Raises EmptyError."""
        from search.records.duplicates import CompareProgress, CompareReport

        start, total = time.monotonic(), 0
        pairs = self.library.find_pairs(self._compared_space())
        for done, total in pairs.update():
            yield CompareProgress(done, total)
        report = CompareReport(total, len(pairs.pairs.left), time.monotonic() - start)
        yield CompareProgress(total, total, report)

    def count_comparisons(self) -> int:
        """Return how many pairs of pictures `compare` has to look at; 0 for an empty library."""
        if not self.library.reader.spaces():
            return 0
        pairs = self.library.find_pairs(self._compared_space())
        pending = pairs.count_pending()
        return pending * max(pending, len(pairs.pairs.rows))

    def _compared_space(self) -> Space:
        spaces = self.library.reader.spaces()
        if not spaces:
            raise EmptyError(
                f"the library in {self.home} is empty: run `lookalike index FOLDER` first"
            )
        return self.library.models.choose_space(spaces)

    def duplicates(
        self,
        kind: str | None = None,
        *,
        min_score: float | None = None,
        min_probability: float | None = None,
        where: str | Condition | Sequence[str | Condition] = (),
        folder: str | PathLike[str] | None = None,
        between: Sequence[str | PathLike[str]] | None = None,
        keep: str | Sequence[str] | None = None,
        sort: str = "bytes",
        page: int = 1,
        size: int = 100,
        follow: Callable[[Iterator[CompareProgress]], object] = list,
    ) -> Duplicates:
        """List groups of duplicates, and what `remove_duplicates` would keep of each.

        kind: `exact`, the same bytes or pixels; `copy`, the same picture, edited; `similar`,
        pictures much alike; None for all, each kind by itself. min_score: least cosine of any two
        pictures of a group, from 0.85. min_probability: instead of it, the least probability, 0 to
        1, that one is a copy of the other; needs a calibration of the model (`calibrate`). where:
        conditions. folder: only files in it. between: two folders; groups with files of both. keep:
        rules in their order, such as "largest,oldest,folder:PATH,sharpest,metadata". sort: "bytes"
        or "score". page: from 1. size: groups of a page, at most 1000. follow: takes the progress
        of `compare`, which is run first for what was not compared yet. Raises LookalikeError.

        for group in engine.duplicates("copy", folder="~/Pictures").groups: ...
        """
        from search.querying.duplicates import DuplicateQuery

        options = (kind, min_score, where, folder, between, keep, sort, page, size)
        query = DuplicateQuery.of(*options, min_probability=min_probability)
        space = self._compared_space()
        query = self.library.duplicates.set_least_score(query, space)
        if query.kind != "exact":
            follow(self.compare())
        return self.library.duplicates.find(query, space)

    def iterate_duplicates(
        self, kind: str | None = None, **options: Any
    ) -> Iterator[DuplicateGroup]:
        """Yield all groups that `duplicates` lists, with the same options but `page`."""
        listed = self.duplicates(kind, **options | {"size": 1000, "page": 1})
        yield from listed.groups
        for page in range(2, listed.pages + 1):
            yield from self.duplicates(kind, **options | {"size": 1000, "page": page}).groups

    def remove_duplicates(
        self,
        groups: Duplicates | Iterable[DuplicateGroup | Replacement],
        is_allowed: Callable[[str], bool] = lambda root: True,
    ) -> Removal:
        """Move to the system's bin what groups offer for removal, and take it out of the library.

        groups: as `duplicates` lists them, or files and what is kept in their place. Tags,
        captions, ratings and albums go to what is kept. A file that has changed since it was
        indexed stays, and so do all if the one that is kept has. is_allowed: as for `remove`.
        `undo_removal` brings all of it back. Raises InputError and NotFoundError.

        engine.remove_duplicates(engine.duplicates("exact"))
        """
        from search.records.duplicates import DuplicateGroup, Duplicates

        listed = groups.groups if isinstance(groups, Duplicates) else groups
        offered = [one.replacement if isinstance(one, DuplicateGroup) else one for one in listed]
        return self.library.remover.replace([one for one in offered if one], is_allowed)

    # generating -------------------------------------------------------------------------------

    def vary(
        self, image: ImageSource, **options: Unpack[VariantOptions]
    ) -> Iterator[VariantProgress]:
        """Make variants of a picture, and yield the progress; the last one has the result.

        image: as `search` takes it. Closing the iterator cancels. options: see
        `search.generation.variants.VariantOptions`. Wrong options raise
        LookalikeError at once.
        """
        generator = self.library.generator
        return generator.generate(image, generator.request(**options))

    def variants(self, image: ImageSource, **options: Unpack[VariantOptions]) -> Variants:
        """Make variants of a picture to the end, as `vary` does.

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
        generator: str | PathLike[str] | None = None,
    ) -> Iterator[AugmentProgress]:
        """Make a training set in `output`: n variants of each picture of a folder, as
        `search.generation.augment` lays them out. The last progress carries the report; files that
        are there already are not made again. generator: as for variants. Wrong arguments raise
        LookalikeError at once."""
        from search.generation.augment import Augmentation

        options = (Path(path), Path(output), n, regime, seed, generator)
        return Augmentation(self.library.generator, *options).run()

    def generator_names(self) -> list[str]:
        """List the names of the generators of the settings, the default one first."""
        return self.library.generator.generators.list_names()

    def generators(self) -> list[GeneratorInfo]:
        """List the generators of the settings, the default one first, with their licenses. For one
        on the hub that is not here yet, the hub is asked, for seconds at most."""
        return self.library.generator.generators.list_info()

    # pictures ----------------------------------------------------------------------------------

    def keep(
        self, picture: bytes | str, name: str | None = None, source: str | None = None
    ) -> KeptPicture:
        """Copy a picture (its bytes, or a URL) into the library's own folder, unchanged.

        name: of its file; None takes that of the URL. source: URL of the page that shows it; None
        takes the URL of the picture. It can be found at once, even while a folder is indexed. A
        picture that the library has is not stored twice. Raises LookalikeError.
        """
        from search.catalog.writes import Origins
        from search.indexing.uploads import check_source, describe_address
        from search.media.images import content_hash

        if not self.is_within(self.library.uploads_place):
            raise CollectionError(
                "uploads are kept in a folder that is in no collection of this token; ask for a "
                "token with the folder of uploads"
            )
        address = picture if isinstance(picture, str) and is_address(picture) else None
        origins = describe_address(address) if address else Origins()
        if source is not None:
            origins = replace(origins, source_url=check_source(source))
        origins = replace(origins, original_name=name or origins.original_name)
        data = self.library.resolver.read_content(picture)
        picture_id = content_hash(data)
        is_new = not self.library.browser.has_file(picture_id)
        if is_new:
            is_new = self._store_upload(data, picture_id, origins)
        if not is_new:
            with self.library.write_lock.borrow():
                row_id = self.library.reader.resolve(picture_id)
                self.library.catalog.set_origins(row_id, origins)
        return KeptPicture(**vars(self.picture(picture_id)), is_new=is_new)

    def _store_upload(self, data: bytes, picture_id: str, origins: Origins) -> bool:
        """Embed and store a picture. Returns False if another thread has stored it meanwhile."""
        from search.indexing.uploads import UploadContent
        from search.media.decoder_pool import DecodeRequest

        models, spaces = self.library.models, self.library.reader.spaces()
        embedder = models.choose_offline(spaces)  # refuses a model that does not serve
        if spaces:  # the other spaces get their vectors at the next sync
            embedder = models.open_for(spaces[0])
        request = DecodeRequest(data=data, features="compact")
        loaded = self.library.resolver.decode(request, embedder.preprocessing)
        if loaded.pixels is None:
            raise PictureError("the picture was not decoded; try again")
        pixels = [loaded.pixels]
        ((vector, content),) = self.library.runtime.run(
            lambda: models.analyze_batch(embedder, pixels), urgent=True
        )
        with self.library.write_lock.borrow():
            if self.library.browser.has_file(picture_id):
                return False
            serving = self.library.catalog.find_own_space()
            if serving and serving.fingerprint != embedder.fingerprint:
                raise ModelError(f"the library has changed to {serving.name} just now; try again")
            space = self.library.catalog.space(embedder.name, embedder.fingerprint, embedder.dim)
            if serving is None:
                self.library.catalog.serve(space, meanwhile=models.requested is None)
            upload = UploadContent(data, loaded, vector, content)
            self.library.uploads.keep(upload, space, origins)
        return True

    def take_inbox(self) -> InboxReport:
        """Keep the pictures of the inbox (setting `inbox`) that are new or have changed.

        Files that are being written are left for the next call. A server calls it when the folder
        changes. Raises InputError without an inbox that can be used, and LookalikeError.
        """

        def keep(data: bytes, name: str, source: str | None) -> bool:
            return self.keep(data, name, source).is_new

        if (folder := self.inbox_folder) is None:
            raise InputError("no inbox; name a folder: LOOKALIKE_INBOX=DIR, or serve --inbox DIR")
        return self._open_inbox(folder).take(keep)

    @property
    def inbox_folder(self) -> Path | None:
        """The inbox without links, None without one. Raises InputError for a folder that is in an
        indexed one, or in the library's own."""
        if self.settings.inbox is None:
            return None
        folder = Path(os.path.realpath(self.settings.inbox.expanduser()))
        if self.is_indexed(folder) or relative_place(str(folder), str(self.home)) is not None:
            raise InputError(
                f"the inbox {folder} is in an indexed folder or in the library's own; name another "
                "folder, or leave the inbox out: `lookalike serve` watches indexed folders anyway"
            )
        return folder

    def _open_inbox(self, folder: Path) -> Inbox:
        from search.indexing.inbox import Inbox

        s = self.settings
        return Inbox(folder, self.home / "inbox.json", s.max_bytes, s.inbox_move)

    def delete(self, identity: str) -> None:
        """Move the file of an upload to the system's bin, and take it out of the library.

        Raises NotUploadError for a picture that is a file of the user's, and as `picture`.
        """
        self.library.remover.remove_upload(identity)

    def remove(
        self, ids: Sequence[str], is_allowed: Callable[[str], bool] = lambda root: True
    ) -> Removal:
        """Move all files of pictures to the system's bin, and take them out of the library.

        ids: at most 10,000. is_allowed: whether files of an indexed folder may be moved, by its
        path. A file that has changed since it was indexed stays, and so does one without a bin.
        Raises NotFoundError for an unknown picture; nothing is moved then.

        engine.undo_removal(engine.remove([hit.id]).undo)
        """
        return self.library.remover.remove(ids, is_allowed)

    def undo_removal(
        self, undo: str, is_allowed: Callable[[str], bool] = lambda root: True
    ) -> Restored:
        """Move files back from the bin to where they were. undo: as `remove` returned it.

        is_allowed: as for `remove`. Raises NotFoundError after 30 days, and for a removal that was
        undone.
        """
        return self.library.remover.undo(undo, is_allowed)

    def picture(self, identity: str) -> Picture:
        """Return what is known of a picture.

        Raises QueryError for a text that is not an id, NotFoundError for an unknown picture.
        """
        return self.library.browser.picture(identity)

    def sources(self, identity: str) -> Sources:
        """Return where a picture comes from: files, pages that show it, downloads and credits, with
        addresses of public search engines. Nothing is sent to these. Raises as `picture`.

        engine.sources(engine.find_id("a.jpg")).pages
        """
        return self.library.sources.read(self.picture(identity))

    def frames(self, identity: str) -> FilmFrames:
        """Return the frames of the film that a picture is of, in the order of time; none for a
        picture that is a file of its own. Raises as `picture`."""
        return self.library.browser.frames(identity)

    def select(self, ids: Sequence[str]) -> list[Picture]:
        """Return what is known of pictures, each once, in the order of their ids.

        Raises as `picture`.
        """
        return self.library.browser.pictures(ids)

    def archive(self, pictures: Sequence[Picture]) -> Generator[bytes]:
        """Yield a ZIP archive with the original file of each picture, in pieces of about 1 MiB.

        A picture without a file that is as it was indexed is left out, and named in `missing.txt`.
        """
        from search.indexing.archive import stream_archive

        return stream_archive(self.library.browser.open_picture, pictures)

    @staticmethod
    def table(
        pictures: Iterable[Picture], scores: Mapping[str, float | None] | None = None
    ) -> bytes:
        """Return what is known of pictures as a table in CSV, with a row of names.

        scores: of an answer, by picture id; then the table has them as its last column.
        """
        from search.querying.tables import make_table

        return make_table(pictures, scores)

    def contact_sheet(
        self,
        pictures: Sequence[Picture],
        scores: Mapping[str, float | None] | None = None,
        is_linked: bool = True,
    ) -> Generator[bytes]:
        """Yield pictures with their thumbnails as one page of HTML, which needs nothing else to be
        shown, in pieces.

        scores: of an answer, by picture id. is_linked: whether a picture is a link to its file.

        Path("sheet.html").write_bytes(b"".join(engine.contact_sheet(engine.select(ids))))
        """
        from search.querying.tables import draw_contact_sheet

        return draw_contact_sheet(pictures, scores, is_linked, self.thumbnail)

    def pictures(
        self, page: int = 1, size: int = 100, hidden: bool = False, album: str | None = None
    ) -> Page:
        """Return a page of the pictures, newest first. See `browse`."""
        return self.browse(page=page, size=size, hidden=hidden, album=album)

    def find_id(self, path: str | PathLike[str]) -> str:
        """Return the id of the picture that a file holds: the SHA-256 of its bytes.

        Raises NotFoundError if the library does not have it, InputError if it cannot be read.
        """
        from search.media.images import content_hash

        try:
            picture_id = content_hash(Path(find_shown(os.fspath(path))).read_bytes())
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{path} cannot be read: {reason}; give a file or an id") from error
        try:
            self.library.reader.resolve(picture_id)
        except NotFoundError:
            raise NotFoundError(
                f"{path} is not in the library; index its folder first: lookalike index FOLDER"
            ) from None
        return picture_id

    @property
    def tags(self) -> Tagging:
        """Tags, favourites, ratings and captions of pictures.

        engine.tags.add([hits[0].id], ["beach"])
        engine.tags.change([hits[0].id], Change(favourite=True, rating=5))
        """
        return self.library.tags

    def export_annotations(self, target: str | PathLike[str]) -> AnnotationReport:
        """Write what people say of pictures: all of it to a file `*.json`, or tags, captions and
        ratings as XMP files into another path, a folder that mirrors those of the pictures.

        Sidecars of pictures in object storage are at `s3/BUCKET/KEY.xmp` in that folder: no bucket
        is written. Raises InputError for a folder whose files would be in an indexed folder and for
        a URL, StorageError.
        """
        return self._annotation_files().export(_local_path(target))

    def import_annotations(self, source: str | PathLike[str]) -> AnnotationReport:
        """Add what `export_annotations` wrote; what the library has stays. Raises InputError."""
        with self.library.write_lock.borrow():
            return self._annotation_files().load(_local_path(source))

    def dump_annotations(self) -> bytes:
        """Return what people say of pictures, as `export_annotations` writes it to a `*.json`."""
        return self._annotation_files().dump()

    def load_annotations(self, data: bytes) -> AnnotationReport:
        """Add what `dump_annotations` returned; what the library has stays. Raises InputError."""
        with self.library.write_lock.borrow():
            return self._annotation_files().load_json(data)

    def _annotation_files(self) -> AnnotationFiles:
        from search.indexing.annotation_files import AnnotationFiles

        return AnnotationFiles(self.library.catalog, self.library.reader)

    @property
    def collections(self) -> Collections:
        """Collections: one or several indexed folders under a name, which the condition
        `collection=NAME` selects.

        engine.collections.add("Family", ["~/Pictures"])
        engine.search("query.jpg", where="collection=Family")
        """
        return self.library.collections

    @property
    def albums(self) -> Albums:
        """Albums of pictures."""
        return self.library.albums

    def browse(
        self,
        where: str | Condition | Sequence[str | Condition] = (),
        sort: str | None = None,
        page: int = 1,
        size: int = 100,
        cursor: str | None = None,
        hidden: bool = False,
        album: str | None = None,
    ) -> Page:
        """Return a page of the pictures that hold conditions.

        sort: a key of `records.SORT_KEYS` but `score`, with `-` for the reverse; None for newest
        first. page: from 1. size: pictures of a page. cursor: `next` of the page before; it takes
        as long for any page. hidden: list the hidden pictures, which are on no other page. album:
        of an album, by its id or name; without conditions and sort in the order in which they were
        added. Raises QueryError, and NotFoundError for an unknown album.

        engine.browse(where="shape=landscape and date>=2024", sort="-date")
        """
        if page < 1 or size < 1:
            raise QueryError(f"page {page} of {size} pictures: both are 1 or more")
        conditions = list_conditions(where)
        if album is not None and (conditions or sort or cursor or hidden):
            name = self.albums.find(album).name
            conditions = (*conditions, Comparison("album", "=", name))
        elif album is not None:
            return self.library.browser.page_of(self.albums.pictures(album), page, size)
        return self.library.browser.page(page, size, conditions, sort, cursor, hidden)

    def facets(
        self,
        where: str | Condition | Sequence[str | Condition] = (),
        names: Sequence[str] = (),
        picture_ids: Sequence[str] | None = None,
    ) -> Facets:
        """Return how many pictures have each type, shape, year, month, camera, folder, collection,
        color, tag, label, album, rating, and value of `is` and `has`.

        names: of the facets, if not of all. picture_ids: count among these alone, such as those of
        an answer. Raises QueryError.
        """
        return self.library.browser.facets(list_conditions(where), names, picture_ids)

    def months(self, where: str | Condition | Sequence[str | Condition] = ()) -> tuple[Month, ...]:
        """Return how many pictures were taken in each month, newest first."""
        return self.library.browser.months(list_conditions(where))

    def places(
        self,
        bounds: Bounds = WORLD,
        cells: int = 16,
        where: str | Condition | Sequence[str | Condition] = (),
    ) -> tuple[PlaceGroup, ...]:
        """Return where pictures were taken, in groups by the cells of a grid, largest first.

        bounds: degrees. cells: from west to east, 1 to 64. Raises QueryError.

        engine.places(Bounds(-10, 36, 4, 44), where="date=2024")
        """
        return self.library.browser.places(list_conditions(where), bounds, cells)

    def folders(
        self,
        path: str | PathLike[str] | None = None,
        where: str | Condition | Sequence[str | Condition] = (),
    ) -> tuple[FolderCount, ...]:
        """Return the folders with pictures that are directly in a folder, with their counts.

        path: absolute; None for the indexed folders.
        """
        place = None if path is None else os.fspath(path)
        return self.library.browser.folders(list_conditions(where), place)

    def thumbnail(self, identity: str) -> bytes:
        """Return the WebP thumbnail, long side at most 256 pixels. Raises as `original`."""
        return self.library.browser.thumbnail(identity)

    def preview(self, picture: str | bytes) -> bytes:
        """Return a JPEG, long side at most 1600 pixels, of an id, a URL or a file's bytes.

        Raises as `original`.
        """
        from search.media.decoder_pool import DecodeRequest

        if isinstance(picture, str) and not is_address(picture):
            return self.library.browser.preview(picture)
        data = self.library.resolver.read_content(picture)
        return self.library.resolver.decode(DecodeRequest(data=data, preview=True)).preview or b""

    def original(self, identity: str) -> tuple[Picture, BinaryIO]:
        """Return a picture and its file, opened for reading.

        Raises as `picture`, and NotFoundError if every file of it has changed since.
        """
        return self.library.browser.original(identity)

    @property
    def texts(self) -> PictureTexts:
        """The text in pictures: `read` reads it, `of` tells what was read in a picture, `extract`
        reads one picture at once."""
        from search.indexing.texts import PictureTexts

        return PictureTexts(self.library)

    def caption(
        self,
        where: str | Condition | Sequence[str | Condition] = (),
        model: str | None = None,
    ) -> Generator[CaptionProgress]:
        """Let a model caption the pictures that have no caption of a person, a file or this model,
        newest first, and yield the progress; the last one has the report.

        where: only pictures that hold these conditions. model: a CoCa model of open_clip, `ARCH`,
        `ARCH:TAG` or `ARCH:/path/to/weights`; None for that of the setting `caption_model`. Its
        weights are fetched if they are not here. Closing the iterator cancels; what was made stays.
        The captions have the origin `model`, and one of a person or a file comes before them.
        Raises ModelError and QueryError at once, and LookalikeError.

        for progress in engine.caption("date>=2024"): ...
        """
        from search.embedders.coca import check_name
        from search.indexing.captions import CaptionRun
        from search.querying.selection import Selection

        name, library = check_name(model or self.settings.caption_model), self.library
        selection = Selection(
            library.reader, library.models, list_conditions(where), library.catalog.find_own_space()
        )
        return CaptionRun(library, name, selection.choose).run()

    def caption_status(self) -> CaptionStatus:
        """Return how many pictures have captions, and which models make more. Downloads nothing.

        Raises ModelError if the setting `caption_model` names no model that makes captions.
        """
        from search.embedders.coca import list_models
        from search.records.captions import CaptionStatus

        reader = self.library.reader
        counts = reader.count_captions()
        by_model = counts.pop("model", 0)
        captioned = sum(counts.values())
        without = max(0, reader.count(None)["pictures"] - captioned - by_model)
        models = tuple(list_models(self.settings.caption_model))
        return CaptionStatus(captioned, by_model, without, models)

    # maintenance --------------------------------------------------------------------------

    def ready(self) -> None:
        """Test that the catalog answers. Raises StorageError."""
        self.library.catalog.find_own_space()

    def status(self) -> Status:
        """Return the state of the library. Loads no model."""
        spaces = self.library.reader.spaces()
        space = spaces[0] if spaces else None
        counts, by_root = self.library.reader.count(space), self.library.reader.files_by_root()
        schedules = self.library.catalog.schedules()
        roots = tuple(
            RootStatus(
                root.path,
                "online" if root.state == "online" and _is_there(root.path) else "offline",
                by_root.get(root.id, 0),
                dict(root.left_out),
                root.exclude,
                schedules.get(root.path),
                root.collection,
            )
            for root in self.library.catalog.roots()
            if self.library.reader.sees(os.fsencode(root.path))
        )
        index = self.library.indexes.status(space)
        is_whole = self.visible_roots is None
        if not is_whole:
            index = index | {"generation": 0}  # it counts the changes of the whole library
        return Status(
            home=str(self.library.home) if is_whole else "",
            catalog=self.settings.catalog_location if is_whole else None,
            model=space.name if space else None,
            fingerprint=space.fingerprint if space else None,
            roots=roots,
            index=index,
            version=version("lookalike"),
            left_out=add_counts(root.left_out for root in roots),
            backend=self._describe_backend(space),
            spaces=tuple(
                SpaceStatus(one.name, one.fingerprint, self.library.reader.count(one)["embedded"])
                for one in spaces
            ),
            texts=self.texts.status(with_command=is_whole),
            inbox=self._describe_inbox() if is_whole else None,
            **counts,
        )

    def _describe_inbox(self) -> InboxStatus | None:
        if self.settings.inbox is None:
            return None
        folder = os.path.realpath(self.settings.inbox.expanduser())  # also one that is refused
        return self._open_inbox(Path(folder)).status()

    @staticmethod
    def resolve_place(path: str | PathLike[str]) -> str:
        """Return the absolute path of a folder without links, or the URL of object storage.

        Raises InputError for a URL that cannot be used.
        """
        return resolve_place(path)

    @staticmethod
    def is_site(path: str | PathLike[str]) -> bool:
        """Return whether a text is the URL of a web site."""
        return is_site_url(os.fspath(path))

    @staticmethod
    def is_film(path: str | PathLike[str]) -> bool:
        """Return whether a path is named as a film, which can be indexed alone."""
        from search.media.films import is_film_name

        return is_film_name(os.fspath(path))

    def is_indexed(self, path: str | PathLike[str]) -> bool:
        """Return whether a path or a URL is an indexed folder, or in one."""
        place = resolve_place(path)
        roots = self.library.catalog.roots()
        return any(relative_place(place, root.path) is not None for root in roots)

    def _describe_backend(self, space: Space | None) -> str | None:
        """Return what runs the model of a space."""
        from search.embedders.json_cache import JsonCache
        from search.embedders.measurements import Measurements

        s, cache = self.settings, JsonCache(self.home / "models")
        measurements = Measurements(s.backend, cache, s.threads)
        return measurements.describe(space.fingerprint, s.device) if space else None

    def add_token(
        self,
        name: str,
        role: Role = "read",
        collections: Sequence[str | PathLike[str]] | None = None,
    ) -> str:
        """Add a token for a user of the server, and return it. It is stored nowhere.

        name: of the token, such as the user's. role: `read`, `write` or `admin`; each includes
        those before it. collections: indexed folders that it is for, or names of collections, which
        stand for the folders that they have now; None for the whole library. Raises InputError, and
        NotFoundError for a folder that is not indexed.
        """
        places = None
        if collections is not None:
            listed = [self.collections.find_folders(one) for one in collections]
            places = [*dict.fromkeys(place for folders in listed for place in folders)]
        return self.library.tokens.add(name, role, places)

    def tokens(self) -> list[Token]:
        """Return the tokens of the users of the server, by name."""
        return self.library.tokens.all()

    def revoke_token(self, name: str) -> None:
        """Delete a token. It is refused from then on, and so are the sessions that it opened.

        Raises NotFoundError.
        """
        self.library.tokens.revoke(name)

    def find_token(self, digest: str) -> Token | None:
        """Return the token whose SHA-256 is `digest` (hexadecimal), or None. Raises
        LibraryError."""
        return self.library.tokens.find(digest)

    def backup(self, path: str | PathLike[str]) -> BackupReport:
        """Write the catalog and the kept pictures to a zip file, while the library is in use.

        An earlier backup at the path is replaced. Raises LookalikeError.
        """
        from search.indexing.backup import write_backup

        return write_backup(self.library.database, self.home, Path(absolute_path(path)))

    def calibrate(self, n: int = 200, seed: int = 0) -> Iterator[CalibrationProgress]:
        """Fit what scores of the library's own model mean: the probability of a copy.

        `n` of its pictures are edited and searched for. The last progress has the report; hits have
        a `probability` by it from then on. Raises LookalikeError.
        """
        from search.querying.calibrator import LibraryCalibrator

        if not 1 <= n <= 10_000:
            raise QueryError(f"n is {n}; give 1 to 10000")
        return LibraryCalibrator(self.library).calibrate(n, seed)

    def move(self, to: str) -> Iterator[MoveProgress]:
        """Copy the catalog to another database, which must be empty, and compare the two.

        to: the URL of a PostgreSQL database, or `sqlite:` for the file in the library's folder. The
        last progress has the report, which names the setting to use from then on. This engine goes
        on with its own catalog, which stays as it is. Nothing is left in the other database unless
        all is. Raises LookalikeError.
        """
        from search.indexing.move import move_catalog

        settings = self.settings
        return move_catalog(
            self.library.database, to, self.home, settings.lock_seconds, self.library.report
        )

    @staticmethod
    def restore(
        path: str | PathLike[str],
        home: str | PathLike[str] | None = None,
        replace: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> BackupReport:
        """Make the library in `home` what a backup has. No engine may have it open.

        replace: move a library that is there to a folder beside. Raises LookalikeError.
        """
        from search.indexing.backup import restore_backup

        settings = Settings.load(home=home)
        if settings.catalog_address:
            raise InputError(
                "a backup is restored to a file in the library's folder, and LOOKALIKE_CATALOG "
                "names a database; unset it, restore, then copy the catalog with `lookalike move "
                "--to URL`"
            )
        folder = settings.home.expanduser().resolve()
        seconds = settings.lock_seconds
        return restore_backup(Path(absolute_path(path)), folder, replace, seconds, say)

    @property
    def decode_failures(self) -> dict[str, int]:
        """How many pictures could not be decoded since the library was opened, by the code of the
        error; `retry` counts those that may be decoded another time, such as late ones."""
        decoders = self.library.__dict__.get("decoders")  # none is opened to count
        return dict(decoders.failures) if decoders else {}

    def check(self, deep: bool = False) -> CheckReport:
        """Test that catalog, index, thumbnails and files agree, and repair what is derived.

        deep: read every file again and compare its content. In a library that cannot be written,
        what would be repaired is a problem. Raises LookalikeError.
        """
        from search.indexing.integrity import IntegrityChecker

        checker = IntegrityChecker(
            self.library.catalog,
            self.library.reader,
            self.library.decoders,
            self.library.thumbnails,
            self._embed_missing,
            self.library.stores,
            self.library.features,
        )
        library = self.library
        if not library.database.read_only:
            try:
                with library.database.hold_lock(library.settings.lock_seconds, library.report):
                    delete_partials(self.home)
                    return checker.check(library.indexes, library.runtime, deep)
            except StorageError as error:
                library.report(f"nothing is repaired: {error}")
        return checker.check(library.indexes, library.runtime, deep, repair=False)


def _local_path(path: str | PathLike[str]) -> Path:
    """Return a path of this machine. Raises InputError for a URL."""
    if "://" in os.fspath(path):
        raise InputError(
            f"{os.fspath(path)} is a URL, and annotations are written to and read from files of "
            "this machine; give a path, and copy its files with a tool of the storage"
        )
    return Path(path)


def _is_there(place: str) -> bool:
    """Whether a folder is there. For object storage and sites, its state in the catalog counts."""
    return is_remote(place) or os.path.isdir(place)
