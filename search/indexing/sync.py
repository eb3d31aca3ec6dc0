"""Sync: make the catalog agree with a folder. Scan, diff, extract, commit; it yields its progress.

Each batch is one transaction, so an interrupted sync goes on where it stopped. Files that vanished
are removed last, since files that are read later may show that they moved.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from search.catalog.catalog import Catalog
from search.catalog.films import Films
from search.catalog.listings import Listings
from search.catalog.reads import CatalogReader
from search.catalog.schema import UPLOADS
from search.catalog.writes import CatalogFile, Root
from search.embedders.base import Embedder
from search.errors import InputError, NotFoundError, RemoteError, RemoteMissingError
from search.indexing.commit import Analyzer, Committer, SyncCounts
from search.indexing.diff import Plan, diff
from search.indexing.extract import (
    BATCH,
    Executor,
    Extracted,
    extract_again,
    extract_files,
    request_frames,
)
from search.indexing.file_system import is_same_file_system
from search.indexing.films import FilmReader, SubtitleReader
from search.indexing.folders import Folder, Folders, SiteFolder
from search.indexing.kinds import is_film_name
from search.indexing.scan import (
    ONLY,
    FolderListing,
    anchor_globs,
    excluded,
    film_glob,
    normalize_globs,
    scan,
)
from search.indexing.scan_site import SiteLimits
from search.indexing.sidecars import SidecarReader
from search.indexing.stillness import wait_until_still
from search.media.decoder_pool import DecodedPicture, DecodeFailure
from search.media.object_urls import is_site_url, relative_place, resolve_place
from search.media.objects import ObjectStores
from search.media.thumbnails import Thumbnails
from search.records.indexing import IndexReport, Progress, Skip
from search.types import FileEntry

MIN_LOST = 4
"""So many files must vanish at once before a disk may be missing. What is removed by mistake keeps
its vectors and tags for 30 days."""
MOST_TRIES = 3
"""A change of the model waits for a picture until decoding it took too long so many times."""
OLD_COLOURS = "its stored colours are those of an earlier version"
MANY_FRAMES = 1000
"""Frames of a film, for which a model is made ready; how many there are is not known before."""
NO_FEATURES = "a search that verifies cannot tell its copies"


class Decoders(Executor, Protocol):
    """Decodes pictures. rule: changes when a picture that failed may succeed."""

    @property
    def rule(self) -> str: ...


class FolderSync:
    """Syncs folders into one catalog. Its caller holds the write lock."""

    def __init__(
        self,
        catalog: Catalog,
        reader: CatalogReader,
        decoders: Decoders,
        thumbnails: Thumbnails,
        analyzer: Analyzer,
        embedder: Embedder,
        home: Path,
        default_excludes: bool = True,
        beside: Sequence[Embedder] = (),
        stores: ObjectStores | None = None,
        objects: str | None = None,
        limits: SiteLimits | None = None,
    ) -> None:
        """decoders: decode pictures. analyzer: runs the embedders. home: the library's own folder,
        which is not indexed. default_excludes: leave out system folders. beside: embedders of the
        spaces that serve beside that of the first embedder, from this sync on. stores: object
        storage. objects: the URL of what the library keeps there, which is not indexed either.
        limits: of web sites."""
        self._own = tuple(one for one in (str(home), objects) if one)
        self._folders = Folders(stores, self._own, default_excludes, catalog, limits)
        self._catalog, self._reader, self._decoders = catalog, reader, decoders
        self._listings, self._films = Listings(catalog.database), Films(catalog.database)
        self._thumbnails, self._analyzer = thumbnails, analyzer
        self._uploads = home / UPLOADS
        self._has_forced = self._still = False
        self._committer, *self._others = (
            Committer(
                catalog,
                thumbnails,
                analyzer,
                one,
                catalog.space(one.name, one.fingerprint, one.dim),
                beside=i > 0,
            )
            for i, one in enumerate((embedder, *beside))
        )
        self._space = self._committer.space

    def sync(
        self,
        path: str | Path,
        exclude: Sequence[str] | None = None,
        allow_empty: bool = False,
        force: Sequence[str] = (),
        follow_links: bool | None = None,
        still: bool = False,
    ) -> Generator[Progress, None, None]:
        """Make the catalog agree with a folder.

        exclude: globs of files to leave out, stored with the root; None keeps those of the root.
        allow_empty: accept that a root has lost most of its files, or is on another file system
        than before.
        force: globs of files that are read and decoded again even if they seem unchanged.
        follow_links: follow symbolic links, stored with the root; None keeps what the root has.
        still: wait for files that were changed in the last seconds, and leave those for the next
        sync that are still changing.
        The last progress carries the report. A picture that cannot be read is skipped. Raises
        InputError if the folder cannot be synced, NotFoundError if it does not exist.
        """
        start, reports = time.monotonic(), list[IndexReport]()
        self._still = still
        folders = [resolve_place(path)]
        for folder in folders:  # grows by roots inside the first folder that stay roots
            options = (None, None) if reports else (exclude, follow_links)
            for progress in self._sync(folder, *options, allow_empty, force):
                if progress.report is None:
                    yield progress
                else:
                    reports.append(progress.report)
            inner = [root.path for root in self._inner(folder)]
            folders += [path for path in inner if path not in folders]
            uploads = str(self._uploads)
            if folder == folders[-1] and uploads not in folders and self._has_lost_uploads():
                folders.append(uploads)
        if force and not self._has_forced:
            raise InputError(
                f"no picture in {folders[0]} matches {', '.join(force)}; give globs of names, or "
                "of paths relative to the indexed folder"
            )
        total = self._report(start, sum(reports[1:], reports[0]))
        yield Progress("finish", 1, 1, folders[0], total)

    def embed_missing(self) -> Generator[Progress, None, None]:
        """Embed the pictures that have no vector. The last progress carries the report."""
        counts = SyncCounts(Root(0, "", 0, "online", ()), {}, skips=[])
        for committer in (self._committer, *self._others):
            yield from self._update_pictures(counts, committer, force=False)
        yield Progress("finish", 1, 1, None, counts.report(0))

    def _has_lost_uploads(self) -> bool:
        """Return whether the folder of uploads has files that the catalog lacks: it was lost."""
        if not self._uploads.is_dir():
            return False
        root, _ = self._find_root(str(self._uploads))
        is_known = root is not None and root.path == str(self._uploads)
        entries = scan(self._uploads).entries
        for path, _ in self._iterate_files(root if is_known else None):
            entries.pop(path, None)
        return bool(entries)

    def _iterate_files(
        self, root: Root | None, within: str = ""
    ) -> Iterator[tuple[str, CatalogFile]]:
        """Return the files that the catalog has of a root, or of its subfolder `within`."""
        return chain.from_iterable(self._catalog.iterate_files_of(root, within) if root else ())

    def _inner(self, folder: str) -> list[Root]:
        """Return the roots below a folder."""
        return [root for root in self._catalog.roots() if relative_place(root.path, folder)]

    def _is_own(self, place: str) -> bool:
        """Whether a place is the library's own, or in it."""
        return any(relative_place(place, one) is not None for one in self._own)

    def _sync(
        self,
        full: str,
        exclude: Sequence[str] | None,
        follow_links: bool | None,
        allow_empty: bool,
        force: Sequence[str],
    ) -> Iterator[Progress]:
        """Sync one folder, without roots inside it that stay roots."""
        film = full if os.path.isfile(full) and is_film_name(full) else ""
        full = os.path.dirname(full) if film else full
        root, within = self._find_root(full)
        known_own = root is not None and self._is_own(root.path)
        is_lost = full == str(self._uploads) and self._has_lost_uploads()
        if self._is_own(full) and not known_own and not is_lost:
            raise InputError(f"{full} is the library's own folder; give a folder of pictures")
        if root and within and exclude is not None:
            raise InputError(f"{full} is a part of {root.path}; give --exclude with that one")
        if root and within and follow_links not in (None, root.follow_links):
            raise InputError(f"{full} is a part of {root.path}; give --follow-links with that one")
        if is_site_url(full):
            self._reject_part(full, root if within else None)
        yield Progress("scan", 0, 0, full)
        patterns = root.exclude if root and exclude is None else normalize_globs(exclude or ())
        is_limited = any(glob.startswith(ONLY) for glob in patterns)
        if film and not within and (root is None or is_limited):
            patterns = tuple(dict.fromkeys((*patterns, film_glob(os.path.basename(film)))))
        if follow_links is None:
            follow_links = root is not None and root.follow_links
        folder = self._folders.open(root.path if root else full, root)
        reasons = list[Skip]()
        options = (patterns, follow_links, reasons)
        listing, device = yield from self._list(folder, full, root, within, *options)
        if root and (
            listing is None
            or self._looks_offline(folder, listing, root, within, device, allow_empty)
        ):
            if not within:
                self._catalog.set_offline(root)
            files = self._iterate_files(root, within)
            pictures = sum(file.picture is not None for _, file in files)
            report = IndexReport(offline=pictures, skipped=tuple(reasons))
            yield Progress("finish", 0, 0, full, report)
            return
        if listing is not None and root is None and folder.is_remote and not listing.is_of_any():
            if isinstance(folder, SiteFolder):
                raise NotFoundError(
                    f"no picture is on {full}: {folder.page_count} pages were read, and none shows "
                    "one; give the address of a page that links to your pictures"
                )
            raise NotFoundError(f"no object is below {full}; check the bucket and the prefix")
        if listing is None and isinstance(folder, SiteFolder):
            raise NotFoundError(f"there is no page at {full} (status 404); check the address")
        if listing is None:
            raise NotFoundError(f"{full} is not there; give a folder of pictures")
        if not within:
            root = self._adopt(folder, device, patterns, follow_links, listing)
        elif root:
            for inner in self._inner(full):
                for path in _paths_inside(listing, root.path, inner):
                    del listing.entries[path]
        if root is None:
            raise NotFoundError(f"{full} is not there; give a folder of pictures")
        if force:
            self._has_forced |= any(excluded(path, force) for path in listing.entries)
        args = listing.left_out, bool(force), allow_empty
        digest = None if within or force else listing.digest()
        if digest and self._listings.is_stored(root, digest):
            plan = self._plan_unchanged(root, listing)
            yield from self._apply(folder, root, plan, *args, None)
            return
        mark = self._listings.begin(root) if digest else ""
        known = self._iterate_files(root, within)
        plan = diff(known, listing, self._decoders.rule, force, self._catalog.now())
        is_same = plan.is_empty()
        sidecars = (within, listing.sidecars, listing.unreadable)
        is_read = yield from self._apply(folder, root, plan, *args, sidecars)
        if digest and is_same and is_read:
            self._listings.store(root, mark, digest)

    def _reject_part(self, site: str, around: Root | None) -> None:
        """Raise InputError for a site that is a part of an indexed one, or has one in it: pictures
        may be anywhere, so their paths do not tell which part they are of."""
        if around:
            raise InputError(f"{site} is a part of {around.path}; index that one")
        if inner := [root.path for root in self._inner(site) if root.path != site]:
            raise InputError(
                f"{inner[0]} is indexed, and is a part of {site}; run `lookalike forget "
                f"{inner[0]}` first"
            )

    def _plan_unchanged(self, root: Root, listing: FolderListing) -> Plan:
        """Return the plan for a listing that agrees with the catalog: skipped files alone may have
        to be read again."""
        skipped = self._catalog.skipped(root)
        part = FolderListing(listing.select(skipped))
        plan = diff(skipped.items(), part, self._decoders.rule, now=self._catalog.now())
        plan.unchanged += len(listing) - len(skipped)
        return plan

    def _find_root(self, full: str) -> tuple[Root | None, str]:
        """Return the innermost root that contains a folder, and its path within ("" for it).

        The library's own folder is no part of a root around it.
        """
        roots = ((root, relative_place(full, root.path)) for root in self._catalog.roots())
        around = [(root, within) for root, within in roots if within is not None]
        if self._is_own(full):
            around = [(root, within) for root, within in around if self._is_own(root.path)]
        return max(around, key=lambda one: len(one[0].path), default=(None, ""))

    def _adopt(
        self,
        folder: Folder,
        device: int,
        exclude: Sequence[str],
        follow_links: bool,
        listing: FolderListing,
    ) -> Root:
        """Add a root as online; roots inside it become part of it, with their globs.

        An inner root that is offline or on another file system stays a root, and its files leave
        the listing. Raises InputError for an inner root in another collection.
        """
        around = next((one for one in self._catalog.roots() if one.path == folder.place), None)
        inside = [one for one in self._inner(folder.place) if not self._is_own(one.path)]
        for inner in inside:
            is_adopted = inner.device == device and _paths_inside(listing, folder.place, inner)
            if is_adopted and inner.collection not in (None, around and around.collection):
                raise InputError(
                    f"{inner.path} is in the collection {inner.collection}, which would lose it if "
                    f"it became a part of {folder.place}; take it out with `lookalike collection "
                    "remove`, or leave it out with --exclude"
                )
        options = exclude, follow_links, listing.left_out, folder.identify()
        root = self._catalog.add_root(folder.place, device, *options)
        for inner in inside:
            paths = _paths_inside(listing, root.path, inner)
            if paths and inner.device == device:
                within = relative_place(inner.path, folder.place) or ""
                globs = anchor_globs(within, inner.exclude)
                root = self._catalog.adopt(root, inner, (*root.exclude, *globs))
                paths = [path for path in paths if excluded(path, globs)]
            for path in paths:
                del listing.entries[path]
        return root

    def _list(
        self,
        folder: Folder,
        full: str,
        root: Root | None,
        within: str,
        exclude: Sequence[str],
        follow_links: bool,
        reasons: list[Skip],
    ) -> Generator[Progress, None, tuple[FolderListing | None, int]]:
        """Yield how many pictures are listed. Return the listing and the device of its file system;
        None for a root that is offline.

        reasons: gets the reason why it is, if that is known.
        """
        base = folder.place
        if os.path.isfile(full):
            raise InputError(f"{full} is a file and no film; give the folder it is in")

        is_sniffed = root is not None and folder.is_remote  # which costs a request for each file
        known = self._catalog.files(root, within) if root and is_sniffed else {}

        def is_known(entry: FileEntry) -> bool:
            file = known.get(entry.path)
            states = (entry.size, entry.mtime_ns)
            return bool(file and file.picture and (file.size, file.mtime_ns) == states)

        try:
            steps = folder.scan(within, exclude, follow_links, is_known)
            listing = yield from _show_steps(steps, full)
            return listing, folder.device(within)
        except RemoteError as error:
            if root is None:
                raise
            reasons.append(Skip(full, str(error), error.code))
            return None, 0
        except FileNotFoundError:
            if root and within and os.path.isdir(base):
                raise NotFoundError(
                    f"{full} is not there; index {base} to take out what was in it"
                ) from None
            if root and folder.is_remote:
                reasons.append(Skip(full, "it is not there", RemoteMissingError.code))
            return None, 0
        except OSError as error:
            if root:
                return None, 0
            raise InputError(
                f"{full} cannot be read: {error.strerror}; give yourself permission to list it"
            ) from error

    def _looks_offline(
        self,
        folder: Folder,
        listing: FolderListing,
        root: Root,
        within: str,
        device: int,
        allow_empty: bool,
    ) -> bool:
        """Return whether a root with files only seems empty.

        That is so if nothing is listed, or if another file system is in its place and has less than
        half of the known files. device: of the file system that was listed.
        """
        if allow_empty or not self._catalog.file_ids(root, within, 1):
            return False
        if not len(listing):
            return True
        if within:
            return False
        if root.file_system is None:
            if device == root.device:
                return False
        elif is_same_file_system(root.file_system, folder.identify() or "::"):
            return False
        known = unchanged = 0
        for path, file in self._iterate_files(root):
            entry = listing.entries.get(path)
            known += 1
            unchanged += bool(entry and entry[1:3] == (file.size, file.mtime_ns))
        return unchanged * 2 < known

    @staticmethod
    def _probe_suspects(folder: Folder, plan: Plan) -> None:
        """Probe the suspects of a plan: each becomes unchanged, moved, or a file to read."""
        for file, entry, old_path in plan.suspects:
            try:
                same = folder.probe(entry.path) == file.probe
            except OSError:
                same = False
            if not same:
                plan.read.append(entry)
                if old_path is not None:
                    plan.vanished[old_path] = file
            elif old_path is not None:
                plan.moves.append((file.id, entry))
            else:
                plan.unchanged += 1
                plan.refresh.append((file.id, entry))

    def _apply(
        self,
        folder: Folder,
        root: Root,
        plan: Plan,
        left_out: Mapping[str, int],
        force: bool,
        allow_empty: bool,
        sidecars: tuple[str, Mapping[str, FileEntry], Sequence[Skip]] | None,
    ) -> Generator[Progress, None, bool]:
        """Bring the catalog to the state of the folder; return whether all sidecars could be read.

        left_out: files by kind. force: decode known pictures again. allow_empty: accept that most
        files vanished. sidecars: the subfolder that was listed, its XMP files by path,
        and the folders in it that could not be read; None if all were read before.
        """
        self._probe_suspects(folder, plan)
        total_known = self._reader.files_by_root().get(root.id, 0) if plan.vanished else 0
        counts = SyncCounts(root, plan.before, skips=list(plan.skipped), moved=len(plan.moves))
        counts.unchanged, counts.left_out = plan.unchanged, left_out
        if self._still and not folder.is_remote:
            plan.read = wait_until_still(root.path, plan.read)
        for committer in self._others:
            if not committer.space.beside:
                self._catalog.serve_beside(committer.space)
        self._catalog.move(plan.moves)
        self._catalog.refresh(plan.refresh)
        if plan.read and self._catalog.find_chosen_space() is None:
            # the first folder chooses the library's model; uploads before it are few
            yield from self._update_pictures(counts, self._committer, force)
            self._catalog.serve(self._space)
        yield from self._read_files(counts, plan.read, force)
        for committer in (self._committer, *self._others):
            yield from self._update_pictures(counts, committer, force)
        reader = SidecarReader(self._catalog, self._reader, self._decoders)
        if isinstance(folder, SiteFolder):
            folder.record(root)
        elif sidecars is not None:
            yield from reader.read(root, *sidecars)
        yield from reader.read_embedded()
        if sidecars is not None:
            subtitles = SubtitleReader(self._catalog, self._decoders)
            yield from subtitles.read(root, *sidecars)
            reader.skips += subtitles.skips
        counts.place_skips += reader.skips
        row_ids = self._catalog.row_ids(counts.new_ids) if plan.vanished else {}
        vanished = dict(plan.vanished)
        lost = self._list_lost(folder, vanished, counts, row_ids)
        keeps_lost = bool(lost) and (
            root.keeps_lost or len(lost) >= MIN_LOST and 2 * len(lost) > total_known
        )
        if allow_empty or not keeps_lost:
            keeps_lost, lost = False, set()
        if keeps_lost != root.keeps_lost:
            self._catalog.set_keeps_lost(root, keeps_lost)
        for path in lost:  # so many at once may be on a disk that is missing
            del vanished[path]
        counts.settle_moves(vanished, row_ids)
        self._catalog.remove_files([file.id for file in vanished.values()])
        for picture_id in self._catalog.purge():
            self._thumbnails.delete(picture_id)
        serving = self._catalog.find_own_space()
        if serving and serving.id != self._space.id:
            slow = self._reader.list_postponed(self._catalog.now(), MOST_TRIES)
            unembedded = self._reader.list_unembedded(self._space)
            complete = all(row_id in slow for row_id, _ in unembedded)
            if complete or not self._analyzer.can_answer(serving):
                self._catalog.serve(self._space)
        total = len(plan.read)
        report = counts.report(plan.hidden + len(lost))
        yield Progress("finish", total, total, root.path, report)
        return not reader.skips

    @staticmethod
    def _list_lost(
        folder: Folder,
        vanished: dict[str, CatalogFile],
        counts: SyncCounts,
        row_ids: dict[str, int],
    ) -> set[str]:
        """Return the files that vanished from the disk with their pictures.

        Files that moved, and those that are there and left out now, are not lost. row_ids: of the
        pictures that were read, by their ids.
        """
        new = Counter(row_ids[one] for one in counts.new_ids if one in row_ids)
        lost = set[str]()
        for path, file in vanished.items():
            if file.picture is None or folder.exists(path):
                continue
            if new[file.picture]:
                new[file.picture] -= 1
            else:
                lost.add(path)
        return lost

    def _read_files(
        self, counts: SyncCounts, entries: Sequence[FileEntry], force: bool
    ) -> Iterator[Progress]:
        """Extract new and changed files, and commit them batch by batch.

        force: decode files of known pictures too.
        """
        films = [entry for entry in entries if is_film_name(entry.path)]
        total = len(entries)
        entries = [entry for entry in entries if not is_film_name(entry.path)] if films else entries
        sizes = set() if force else {entry.size for entry in entries}
        known_ids = self._catalog.ids_by_size(self._space, sizes)
        for committer in (self._committer, *self._others) if total else ():
            committer.prepare(len(entries) + MANY_FRAMES * len(films))
        preprocessings = [one.preprocessing for one in (self._committer, *self._others)]
        batch: list[tuple[FileEntry, Extracted]] = []
        extracted = extract_files(
            counts.root.path, entries, known_ids, self._decoders, preprocessings
        )
        for done, (entry, picture) in enumerate(extracted, 1):
            batch.append((entry, picture))
            if len(batch) == BATCH or done == len(entries):
                self._committer.commit_files(counts, batch, self._decoders.rule)
                for place, committer in enumerate(self._others, 1):
                    committer.commit_vectors(counts, [*batch, *_list_frames(batch)], place)
                batch.clear()
                yield Progress("index", done, total, entry.path)
        reader = FilmReader(self._catalog, self._decoders, (self._committer, *self._others))
        for done, film in enumerate(films, len(entries)):
            for path in reader.read(counts, film, force):
                yield Progress("index", done, total, path)
            yield Progress("index", done + 1, total, film.path)

    def _update_pictures(
        self, counts: SyncCounts, committer: Committer, force: bool
    ) -> Iterator[Progress]:
        """Decode again the pictures without a vector under the committer's space, and, for the
        library's own model, those of an earlier decode rule or without local features.

        One transaction writes a batch with all that is computed from its pixels, so an interrupted
        sync goes on where it stopped. force: also those that are to be tried later.
        """
        space = committer.space
        totals = self._reader.count(space)
        complete = totals["pictures"] == totals["embedded"]
        unembedded = {} if complete else dict(self._reader.list_unembedded(space))
        is_own = committer is self._committer
        outdated = dict(self._reader.list_outdated()) if is_own else {}
        unfeatured = dict(self._reader.list_unfeatured()) if is_own else {}
        pending = sorted({**outdated, **unfeatured, **unembedded}.items())
        if pending and not force:
            later = self._reader.list_postponed(self._catalog.now())
            reason = "decoding took too long; it is tried again later, or by `index --force`"
            counts.place_skips += [
                Skip(paths[0], reason, "decode_timeout") for n, paths in pending if n in later
            ]
            pending = [(row_id, paths) for row_id, paths in pending if row_id not in later]
        if unembedded and pending:
            committer.prepare(len(pending))
        picture_ids = self._reader.picture_ids([row_id for row_id, _ in pending])
        batch: dict[int, DecodedPicture] = {}
        features = {**outdated, **unfeatured}
        frame_places = self._films.list_places([row_id for row_id, _ in pending])
        frames = request_frames(frame_places, picture_ids)
        again = (outdated, features, self._decoders, committer.preprocessing, frames)
        extracted = extract_again(pending, *again)
        for done, ((row_id, paths), picture) in enumerate(extracted, 1):
            if isinstance(picture, DecodeFailure):
                if picture.slow:
                    self._catalog.postpone(row_id)
                state = OLD_COLOURS if row_id in outdated else NO_FEATURES
                if row_id in unembedded:
                    state = f"not yet under {space.name}"
                reason = f"{state}: {picture.reason}"
                counts.place_skips.append(Skip(paths[0], reason, picture.code))
            elif picture.id != picture_ids[row_id]:
                purpose = f" to have {space.name}" if row_id in unembedded else ""
                reason = f"changed since it was indexed; index its folder{purpose}"
                counts.place_skips.append(Skip(paths[0], reason, "file_changed"))
            else:
                batch[row_id] = picture
            if len(batch) == BATCH or done == len(pending):
                committer.commit_again(counts, batch, unembedded)
                batch.clear()
                yield Progress("embed", done, len(pending), paths[0])

    def _report(self, start: float, report: IndexReport) -> IndexReport:
        """Return a report with the count of pictures and the seconds since `start`."""
        pictures = self._reader.count(None)["pictures"]
        return replace(report, pictures=pictures, seconds=time.monotonic() - start)


def _show_steps(
    steps: Generator[int, None, FolderListing], path: str
) -> Generator[Progress, None, FolderListing]:
    """Yield how many pictures are listed so far, and return the listing."""
    while True:
        try:
            count = next(steps)
        except StopIteration as end:
            listing: FolderListing = end.value
            return listing
        yield Progress("scan", count, 0, path)


def _list_frames(
    batch: Sequence[tuple[FileEntry, Extracted]],
) -> Iterator[tuple[FileEntry, Extracted]]:
    """Yield the frames of the animations of a batch."""
    for entry, picture in batch:
        film = picture.film if isinstance(picture, DecodedPicture) else None
        yield from ((entry, frame) for frame in (film.frames if film else ()))


def _paths_inside(listing: FolderListing, folder: str, inner: Root) -> list[str]:
    """Return the listed paths of a folder that lie in a root inside it."""
    prefix = os.path.join(os.path.relpath(inner.path, folder), "")
    return [path for path in listing.entries if path.startswith(prefix)]
