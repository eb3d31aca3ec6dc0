"""Sync: a folder -> the catalog. Scan, diff, load, embed, commit; it yields its progress.

Each batch is one small transaction, so an interrupted run goes on where it stopped. Removals come
last, when everything that could explain them as moves has been read.
"""

from __future__ import annotations

import glob
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.writes import (
    CatalogFile,
    DecodedContent,
    ExtractedFile,
    Model,
    Root,
    SeenContent,
    SkippedFile,
)
from search.errors import InputError, NotFoundError
from search.indexing.diff import Plan, diff
from search.indexing.scan import FolderListing, excluded, scan
from search.media.content import is_low_content
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecoderPool, PictureSource
from search.media.preprocessing import Preprocessing
from search.media.thumbnails import Thumbnails
from search.records import IndexReport, Progress, Skip
from search.types import FileEntry, Pixels, Vectors

BATCH = 32
OLD_COLOURS = "its stored colours are those of an earlier version"


class FolderSync:
    """Syncs folders into one catalog under one model. Its caller holds the write lock."""

    def __init__(
        self,
        catalog: Catalog,
        reader: CatalogReader,
        decoders: DecoderPool,
        thumbnails: Thumbnails,
        model: Model,
        preprocessing: Preprocessing,
        analyze: Callable[[Sequence[Pixels]], list[tuple[Vectors, SeenContent]]],
        home: Path,
        can_answer: Callable[[Model], bool] = lambda model: True,
    ) -> None:
        """analyze: prepared pictures -> the vector and content of each. can_answer: whether
        queries can still be embedded as a model's vectors were."""
        self._catalog, self._reader, self._decoders = catalog, reader, decoders
        self._thumbnails, self._model, self._preprocessing = thumbnails, model, preprocessing
        self._analyze, self._home, self._can_answer = analyze, home, can_answer

    def sync(
        self, path: str | Path, exclude: Sequence[str] | None = None, allow_empty: bool = False
    ) -> Generator[Progress, None, None]:
        """Make the catalog agree with a folder.

        exclude: globs to leave out, remembered with the root; None keeps the remembered ones.
        allow_empty: believe a root that lists nothing, or that another file system has taken.
        Raises InputError and NotFoundError for what cannot be synced; a picture that cannot be
        read is only skipped.
        """
        begun, reports = time.monotonic(), list[IndexReport]()
        places = [Path(os.path.realpath(os.path.expanduser(path)))]
        for place in places:  # which grow by roots of their own inside the first
            for progress in self._sync(place, exclude if not reports else None, allow_empty):
                if progress.report is None:
                    yield progress
                else:
                    reports.append(progress.report)
            places += [Path(r.path) for r in self._inner(place) if Path(r.path) not in places]
        total = self._report(begun, sum(reports[1:], reports[0]))
        yield Progress("finish", 1, 1, str(places[0]), total)

    def _inner(self, place: Path) -> list[Root]:
        """Roots below a folder."""
        inner = [r for r in self._catalog.roots() if Path(r.path).is_relative_to(place)]
        return [root for root in inner if root.path != str(place)]

    def _sync(
        self, full: Path, exclude: Sequence[str] | None, allow_empty: bool
    ) -> Iterator[Progress]:
        root, within = self._root(full)
        own = full.is_relative_to(self._home)
        if own and not (root and Path(root.path).is_relative_to(self._home)):  # see `keeper`
            raise InputError(f"{full} is the library's own folder; give a folder of pictures")
        if root and within and exclude is not None:
            raise InputError(f"{full} is a part of {root.path}; give --exclude with that one")
        yield Progress("scan", 0, 0, str(full))
        patterns = root.exclude if root and exclude is None else _globs(exclude or ())
        listing, device = self._list(full, root, within, patterns)
        known = self._catalog.files(root, within) if root else {}
        pictures = sum(file.picture is not None for file in known.values())
        if root and (
            listing is None or self._away(known, listing, root, within, device, allow_empty)
        ):
            if not within:
                self._catalog.set_offline(root)
            yield Progress("finish", 0, 0, str(full), IndexReport(offline=pictures))
            return
        if listing is None:
            raise NotFoundError(f"{full} is not there; give a folder of pictures")
        if not within:
            root, adopted = self._adopt(full, device, patterns, listing)
            if adopted:
                known = self._catalog.files(root)
        elif root:
            for inner in self._inner(full):
                for path in _inside(listing, root, inner):
                    del listing.entries[path]
        if root is None:
            raise NotFoundError(f"{full} is not there; give a folder of pictures")
        yield from self._apply(root, diff(known, listing, self._decoders.rule), known)

    def _root(self, full: Path) -> tuple[Root | None, str]:
        """The innermost root that a folder is or is in, with its place within."""
        around = [root for root in self._catalog.roots() if full.is_relative_to(root.path)]
        if not around:
            return None, ""
        root = max(around, key=lambda root: len(root.path))
        within = str(full.relative_to(root.path))
        return root, "" if within == "." else within

    def _adopt(
        self, full: Path, device: int, exclude: Sequence[str], listing: FolderListing
    ) -> tuple[Root, bool]:
        """Enter a root as online; roots inside it become part of it, with what they exclude.

        One that is away, or on a file system of its own, stays a root of its own, and what is
        listed in its place is not taken. Also tells whether any was adopted.
        """
        root, adopted = self._catalog.add_root(str(full), device, exclude), False
        for inner in self._inner(full):
            mine = _inside(listing, root, inner)
            if mine and inner.device == device:
                left = _below(str(Path(inner.path).relative_to(full)), inner.exclude)
                root, adopted = self._catalog.adopt(root, inner, (*root.exclude, *left)), True
                mine = [path for path in mine if excluded(path, left)]
            for path in mine:
                del listing.entries[path]
        return root, adopted

    def _list(
        self, full: Path, root: Root | None, within: str, exclude: Sequence[str]
    ) -> tuple[FolderListing | None, int]:
        """The listing, and the device; None for a root that is not there."""
        base = Path(root.path) if root else full
        if os.path.isfile(full):
            raise InputError(f"{full} is a file; give the folder it is in")
        try:
            return self._scan(base, within, exclude), os.stat(full).st_dev
        except FileNotFoundError:
            if root and within and os.path.isdir(base):
                raise NotFoundError(
                    f"{full} is not there; index {base} to take out what was in it"
                ) from None
            return None, 0
        except OSError as error:
            if root:
                return None, 0
            raise InputError(
                f"{full} cannot be read: {error.strerror}; give yourself permission to list it"
            ) from error

    def _scan(self, base: Path, within: str, exclude: Sequence[str]) -> FolderListing:
        """Scan, but for the library's own folder: thumbnails are no pictures of the user's."""
        if self._home.is_relative_to(base):
            own = "/" + glob.escape(str(self._home.relative_to(base)))
            return scan(base, within, (*exclude, own))
        return scan(base, within, exclude)

    @staticmethod
    def _away(
        known: dict[str, CatalogFile],
        listing: FolderListing,
        root: Root,
        within: str,
        device: int,
        allow_empty: bool,
    ) -> bool:
        """Whether the root only seems empty: nothing is listed where there were files, or another
        file system is in its place and holds few of them."""
        if allow_empty or not known:
            return False
        if not listing.entries:
            return True
        if within or device == root.device:
            return False
        there = sum(
            (e.size, e.mtime_ns) == (known[p].size, known[p].mtime_ns)
            for p, e in listing.entries.items()
            if p in known
        )
        return there * 2 < len(known)

    def _apply(self, root: Root, plan: Plan, known: dict[str, CatalogFile]) -> Iterator[Progress]:
        run = _Run(root, known, skips=list(plan.skipped), moved=len(plan.moves))
        run.unchanged = plan.unchanged
        self._catalog.move(plan.moves)
        if plan.read and self._catalog.chosen() is None:
            yield from self._fill(run)  # what was kept before: few
            self._catalog.serve(self._model)
        yield from self._read(run, plan.read)
        yield from self._fill(run)
        run.settle(plan.vanished, self._catalog.row_ids(run.new) if plan.vanished else {})
        self._catalog.remove_files([file.id for file in plan.vanished.values()])
        for picture_id in self._catalog.purge():
            self._thumbnails.delete(picture_id)
        serving = self._catalog.serving()
        if serving and serving.id != self._model.id:
            if not self._reader.list_unembedded(self._model) or not self._can_answer(serving):
                self._catalog.serve(self._model)
        total = len(plan.read)
        yield Progress("finish", total, total, root.path, run.report(plan.hidden))

    def _read(self, run: _Run, entries: Sequence[FileEntry]) -> Iterator[Progress]:
        """Load new and changed files and commit them batch by batch."""
        sizes = self._catalog.ids_by_size(self._model) if entries else {}
        sources = (
            (
                entry,
                PictureSource(
                    os.path.join(run.root.path, entry.path), known=sizes.get(entry.size, ())
                ),
            )
            for entry in entries
        )
        waiting: list[tuple[FileEntry, DecodedPicture | DecodeFailure]] = []
        loaded = self._decoders.load(sources, self._preprocessing, ahead=3 * BATCH)
        for done, (entry, result) in enumerate(loaded, 1):
            waiting.append((entry, result))
            if len(waiting) == BATCH or done == len(entries):
                self._commit(run, waiting)
                waiting.clear()
                yield Progress("index", done, len(entries), entry.path)

    def _commit(
        self, run: _Run, batch: Sequence[tuple[FileEntry, DecodedPicture | DecodeFailure]]
    ) -> None:
        """Embed what no vector is there for, once per rendition, and enter the batch."""
        fresh = {
            r.rendition: r.pixels
            for _, r in batch
            if isinstance(r, DecodedPicture) and r.rendition and r.pixels is not None
        }
        for rendition in self._catalog.embedded_renditions(self._model, fresh):
            del fresh[rendition]
        analyzed = dict(zip(fresh, self._analyze(list(fresh.values())), strict=True))
        run.embedded += len(analyzed)
        row_ids = self._catalog.row_ids({r.id for _, r in batch if isinstance(r, DecodedPicture)})
        found: list[ExtractedFile | SkippedFile] = []
        for entry, result in batch:
            if isinstance(result, DecodeFailure):
                if run.failed(entry, result):
                    found.append(SkippedFile(entry, result.reason, self._decoders.rule))
                continue
            run.loaded(entry, result.id, row_ids.get(result.id))
            if result.thumbnail is not None:
                self._thumbnails.write(result.id, result.thumbnail)
            item = ExtractedFile(entry, result.id, result.rendition, result.facts)
            if result.rendition in analyzed:
                vector, content = analyzed[result.rendition]
                item = replace(item, vector=vector, content=content)
            found.append(item)
        self._catalog.record(run.root, self._model, found)

    def _fill(self, run: _Run) -> Iterator[Progress]:
        """Decode again the pictures without a vector under the model, and those of an earlier
        decode rule. One transaction writes the vectors of a batch and all else that is computed
        from its pixels, so an interrupted run goes on where it stopped."""
        counts = self._reader.count(self._model)
        complete = counts["pictures"] == counts["embedded"]
        lacking = {} if complete else dict(self._reader.list_unembedded(self._model))
        outdated = dict(self._reader.list_outdated())
        pending = sorted({**outdated, **lacking}.items())
        picture_ids = self._reader.picture_ids([row_id for row_id, _ in pending])
        sources = (
            (item, PictureSource(_present(item[1]), facts=item[0] in outdated)) for item in pending
        )
        batch: dict[int, Pixels] = {}
        decoded: dict[int, DecodedContent] = {}
        loaded = self._decoders.load(sources, self._preprocessing, ahead=3 * BATCH)
        for done, ((row_id, paths), result) in enumerate(loaded, 1):
            if isinstance(result, DecodeFailure):
                old = f"not yet under {self._model.name}" if row_id in lacking else OLD_COLOURS
                run.skips.append(Skip(paths[0], f"{old}: {result.reason}"))
            elif result.id != picture_ids[row_id]:
                new = f" to have {self._model.name}" if row_id in lacking else ""
                reason = f"changed since it was indexed; index its folder{new}"
                run.skips.append(Skip(paths[0], reason))
            elif result.pixels is not None:
                if row_id in lacking:
                    batch[row_id] = result.pixels
                if result.rendition and result.facts:
                    flag = is_low_content(result.pixels)
                    decoded[row_id] = DecodedContent(result.rendition, result.facts, flag)
                if result.thumbnail is not None:
                    self._thumbnails.write(result.id, result.thumbnail)
            if BATCH in (len(batch), len(decoded)) or done == len(pending):
                analyzed = dict(zip(batch, self._analyze(list(batch.values())), strict=True))
                self._catalog.add_vectors(
                    self._model,
                    {row_id: vector for row_id, (vector, _) in analyzed.items()},
                    {row_id: content for row_id, (_, content) in analyzed.items()},
                    decoded,
                )
                run.embedded += len(batch)
                batch.clear()
                decoded.clear()
                yield Progress("embed", done, len(pending), paths[0])

    def _report(self, begun: float, report: IndexReport) -> IndexReport:
        pictures = self._reader.count(None)["pictures"]
        return replace(report, pictures=pictures, seconds=time.monotonic() - begun)


@dataclass
class _Run:
    """The counts of one sync. new: ids found under names that were not known."""

    root: Root
    known: dict[str, CatalogFile]
    skips: list[Skip]
    moved: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    new: list[str] = field(default_factory=list)

    def failed(self, entry: FileEntry, failure: DecodeFailure) -> bool:
        """Note a failure; whether it is to be remembered with the file."""
        if failure.again and not os.path.lexists(os.path.join(self.root.path, entry.path)):
            return False  # gone since the folder was listed: the next sync sees that
        self.skips.append(Skip(entry.path, failure.reason))
        return not failure.again

    def loaded(self, entry: FileEntry, picture_id: str, row_id: int | None) -> None:
        """Note a picture; `row_id`: what the catalog calls it, if it knows it."""
        before = self.known.get(entry.path)
        if before is None or before.picture is None:
            self.added += 1
            self.new.append(picture_id)
        elif before.picture == row_id:
            self.unchanged += 1
        else:
            self.changed += 1

    def settle(self, vanished: dict[str, CatalogFile], row_ids: dict[str, int]) -> None:
        """A file that vanished while its picture turned up under a new name has moved."""
        new = Counter(row_ids[picture_id] for picture_id in self.new if picture_id in row_ids)
        gone = Counter(file.picture for file in vanished.values() if file.picture is not None)
        moved = (new & gone).total()
        self.moved += moved
        self.added -= moved
        self.removed += gone.total() - moved

    def report(self, offline: int) -> IndexReport:
        skips = (Skip(os.path.join(self.root.path, s.path), s.reason) for s in self.skips)
        return IndexReport(
            added=self.added,
            changed=self.changed,
            moved=self.moved,
            removed=self.removed,
            unchanged=self.unchanged,
            offline=offline,
            embedded=self.embedded,
            skipped=tuple(sorted(skips, key=lambda s: s.path)),
        )


def _globs(patterns: Sequence[str]) -> tuple[str, ...]:
    """Globs as they are kept: no empty ones, no `./` before and no `/` at the end."""
    return tuple(bare for p in patterns if (bare := p.removeprefix("./").rstrip("/")))


def _inside(listing: FolderListing, root: Root, inner: Root) -> list[str]:
    """What is listed of a root in the place of another one, inside it."""
    place = os.path.join(os.path.relpath(inner.path, root.path), "")
    return [path for path in listing.entries if path.startswith(place)]


def _below(place: str, patterns: Sequence[str]) -> list[str]:
    """Globs of a root, as globs of one that it is a subfolder of."""
    start = f"/{glob.escape(place)}"
    anchored = [start + p for p in patterns if p[0] == "/"]
    loose = [start + more + p for p in patterns if p[0] != "/" for more in ("/", "/*/")]
    return [*anchored, *loose, *(f"{p}/*" for p in (*anchored, *loose))]


def _present(paths: Sequence[str]) -> str:
    """One of a picture's files that is there, if any is."""
    return next((p for p in paths if os.path.exists(p)), paths[0])
