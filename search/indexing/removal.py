"""Moves the files of pictures to the bin, and takes them back. No file is ever deleted.

The bin is that of the system. Uploads in object storage have a prefix as a bin beside their own;
there is none for other objects.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from search.catalog.catalog import Catalog
from search.catalog.films import Films
from search.catalog.reads import CatalogReader
from search.catalog.removals import PictureFile, Removals
from search.catalog.tagging import Tagging
from search.catalog.writes import ExtractedFile
from search.errors import (
    CollectionError,
    InputError,
    NotFoundError,
    NotUploadError,
    RemoteError,
    StorageError,
)
from search.files import shown
from search.indexing.system_bin import move_back, move_to_bin
from search.indexing.uploads import ObjectUploads, Uploads
from search.media.object_urls import is_remote, is_site_url, join_place
from search.media.open_file import FilePlace
from search.records.annotations import Annotations, Change, Changed
from search.records.duplicates import Replacement
from search.records.indexing import Skip
from search.records.removals import Removal, Restored
from search.types import FileEntry, file_state

MOST_PICTURES = 10_000
"""Most pictures of one removal."""
Allow = Callable[[str], bool]
NOT_ALLOWED = "its folder is not allowed here; start the server with --allow DIR"
ON_SITE = "it is on a web site; delete it there, then index the site again"
CHANGED = "it is not as it was indexed; index its folder, then try again"
PART = 2**20  # bytes that are read at once
NO_CHANGE = Changed(())


class BinFile(NamedTuple):
    """A file that was moved. bin_path: where it is now, None if the bin does not tell."""

    file: PictureFile
    bin_path: str | None


class Remover:
    """Removes files of pictures, as far as a reader shows them. Threads may share it."""

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        uploads: Uploads,
        open_file: Callable[[FilePlace], BinaryIO | None],
        borrow: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """open_file: opens a file that is as it was indexed. borrow: holds the write lock."""
        self._reader, self._catalog, self._uploads = reader, catalog, uploads
        self._open_file, self._borrow = open_file, borrow
        self._removals, self._films = Removals(reader, catalog), Films(catalog.database)
        self._tagging = Tagging(reader, catalog, nullcontext)  # the lock is held already

    def remove(self, picture_ids: Iterable[str], is_allowed: Allow = lambda root: True) -> Removal:
        """Move all files of pictures to the bin, and take them out of the catalog.

        picture_ids: at most 10,000, or the beginnings of ids. is_allowed: whether files of a root
        may be moved, by its path. A file that has changed since it was indexed stays, and so does
        one that cannot be moved; the others are moved nevertheless. Raises InputError and
        NotFoundError.
        """
        row_ids = self._reader.resolve_all(list(picture_ids))
        if len(row_ids) > MOST_PICTURES:
            raise InputError(f"a removal has more than {MOST_PICTURES} pictures; split it")
        with self._borrow():
            listed = self._removals.list_files(row_ids.values())
            if film := next((one for one in listed if one.place.time is not None), None):
                raise InputError(
                    f"{shown(_path(film))} has other pictures beside this frame, and all would go "
                    "with the file; delete the file yourself, then index its folder again"
                )
            return self._remove(listed, is_allowed)

    def replace(
        self, replacements: Sequence[Replacement], is_allowed: Allow = lambda root: True
    ) -> Removal:
        """Move files to the bin that others are kept in place of.

        What people and files say of a picture that loses all its files goes to the one that is
        kept. Files stay if the one that is kept has not the content that was indexed any more, or
        is itself to be removed: the last file of a picture never goes. is_allowed: as for
        `remove`. `ids` of the answer are of the pictures that have no file any more. Raises
        InputError for files that are both kept and removed, and NotFoundError for unknown pictures.
        """
        named = [one for some in replacements for one in (some.keep, *some.remove)]
        row_ids = self._reader.resolve_all(list(dict.fromkeys(one.id for one in named)))
        if len(row_ids) > MOST_PICTURES:
            raise InputError(
                f"a removal has more than {MOST_PICTURES} pictures; remove fewer groups at once "
                "(`lookalike duplicates -n`)"
            )
        keepers = {shown(some.keep.path) for some in replacements}
        if both := keepers & {shown(one.path) for some in replacements for one in some.remove}:
            raise InputError(f"{min(both)} is to be kept and removed; give it once")
        with self._borrow():
            listed = self._removals.list_files(row_ids.values())
            by_name = {(one.picture_id, shown(_path(one))): one for one in listed}
            chosen, failed, heirs = dict[int, PictureFile](), list[Skip](), dict[str, str]()
            for some in replacements:
                keep = by_name.get((some.keep.id, shown(some.keep.path)))
                is_kept = keep is not None and self._has_content(keep)
                for one in some.remove:
                    file = by_name.get((one.id, shown(one.path)))
                    if file is None:
                        failed.append(Skip(one.path, "the library has no such file", "not_found"))
                    elif not is_kept:
                        reason = f"{shown(some.keep.path)} is to be kept, and {CHANGED}"
                        failed.append(Skip(one.path, reason, "file_changed"))
                    else:
                        chosen[file.id] = file
                        heirs.setdefault(one.id, some.keep.id)
            left = {one.picture_id for one in listed if one.id not in chosen}
            changes = self._inherit({k: v for k, v in heirs.items() if k not in left})
            removal = self._remove(list(chosen.values()), is_allowed, changes)
        gone = tuple(one for one in removal.ids if one not in left)
        return replace(removal, ids=gone, failed=(*failed, *removal.failed))

    def _has_content(self, file: PictureFile) -> bool:
        """Whether a file has the bytes that were indexed. Reads it whole."""
        try:
            opened = self._open_file(file.place)
            if opened is None:
                return False
            digest = hashlib.sha256()
            with opened:
                while part := opened.read(PART):
                    digest.update(part)
        except (OSError, RemoteError):
            return False
        content = self._films.contents([file.id]).get(file.id, file.picture_id)
        return digest.hexdigest() == content

    def _inherit(self, heirs: Mapping[str, str]) -> Changed:
        """Give what is said of pictures to others; return what undoes it. heirs: id -> id."""
        row_ids = self._reader.resolve_all([*heirs, *heirs.values()])
        annotations = self._reader.annotations(list(row_ids.values()))
        changes = list[tuple[tuple[str, ...], Change]]()
        for heir in dict.fromkeys(heirs.values()):
            others = [annotations[row_ids[one]] for one in heirs if heirs[one] == heir]
            for change in _list_inherited(annotations[row_ids[heir]], others):
                changes.append(((heir,), change))
        return self._tagging.change_all(changes) if changes else Changed(())

    def remove_upload(self, picture_id: str) -> None:
        """Move the files of an upload to the bin; other files of the picture stay.

        Raises NotUploadError if no file of the picture is an upload, StorageError if one cannot be
        moved.
        """
        row_id = self._reader.resolve(picture_id)
        with self._borrow():
            listed = self._removals.list_files([row_id])
            listed = [one for one in listed if one.place.root in self._uploads.folders]
            if not listed:
                raise NotUploadError(
                    "this picture is a file of your own and no upload; move it to the bin with "
                    "`lookalike remove`, or delete the file itself, then index its folder"
                )
            failed = self._remove(listed, lambda root: True).failed
        if failed:
            raise StorageError(f"{failed[0].path} stays: {failed[0].reason}")

    def _remove(
        self, listed: Sequence[PictureFile], is_allowed: Allow, changes: Changed = NO_CHANGE
    ) -> Removal:
        """changes: of other pictures, which are undone with the removal."""
        moved, failed = list[BinFile](), list[Skip]()
        on_disk = dict[str, PictureFile]()
        try:
            for file in listed:
                place = join_place(file.place.root, file.place.path)
                try:
                    if not is_allowed(file.place.root):
                        failed.append(Skip(place, NOT_ALLOWED, CollectionError.code))
                    elif is_site_url(file.place.root):
                        failed.append(Skip(place, ON_SITE, NotUploadError.code))
                    elif self._is_gone(file):
                        moved.append(BinFile(file, None))
                    elif not self._is_same(file):
                        failed.append(Skip(place, CHANGED, "file_changed"))
                    elif not is_remote(place):
                        on_disk[place] = file
                    else:
                        moved.append(BinFile(file, self._move_object(file)))
                except (OSError, RemoteError) as error:
                    code = getattr(error, "code", StorageError.code)
                    failed.append(Skip(place, f"it cannot be moved to the bin: {error}", code))
            result = move_to_bin(on_disk)
            moved += [
                BinFile(on_disk[place], bin_path) for place, bin_path in result.bin_paths.items()
            ]
            failed += [
                Skip(
                    place,
                    f"it cannot be moved to the bin: {reason}; if there is none for its disk, "
                    "delete the file yourself, then index its folder",
                    StorageError.code,
                )
                for place, reason in result.failed.items()
            ]
        finally:  # what was moved is recorded in any case
            self._catalog.remove_files([one.file.id for one in moved])
            entries = [
                _describe(one.file, one.bin_path) for one in moved if one.bin_path is not None
            ]
            undo_changes = changes.to_json()["undo"]["changes"]
            undo = self._removals.add(entries, undo_changes) if entries else None
        left = {one.path for one in failed}
        stay = {
            one.picture_id for one in listed if join_place(one.place.root, one.place.path) in left
        }
        gone = dict.fromkeys(one.picture_id for one in listed if one.picture_id not in stay)
        return Removal(tuple(gone), len(moved), tuple(failed), undo)

    def _is_gone(self, file: PictureFile) -> bool:
        """Whether an upload was deleted already: the library keeps its folder, so it is no disk
        that is missing."""
        folder = self._uploads.folders.get(file.place.root)
        return folder is not None and not folder.exists(file.place.path)

    def _is_same(self, file: PictureFile) -> bool:
        """Whether a file is as it was indexed. Raises RemoteError."""
        opened = self._open_file(file.place)
        if opened is not None:
            opened.close()
        return opened is not None

    def _move_object(self, file: PictureFile) -> str:
        """Move an object to where it can be taken back from, and return its URL there."""
        folder = self._uploads.folders.get(file.place.root)
        if isinstance(folder, ObjectUploads):
            return folder.move_to_bin(file.place.path)
        raise OSError("object storage has no bin; delete the object yourself")

    def undo(self, removal_id: str, is_allowed: Allow = lambda root: True) -> Restored:
        """Move the files of a removal back from the bin to where they were, and take them into the
        catalog.

        is_allowed: whether files of a root may be moved, by its path. A file whose path is taken,
        or that left the bin, is named; another try may follow. Raises NotFoundError for a removal
        that cannot be undone, also for one with files that the reader does not show.
        """
        with self._borrow():
            entries, changes = self._removals.find(removal_id)
            if not all(self._reader.sees(unquote_to_bytes(one["root"])) for one in entries):
                raise NotFoundError(f"there is no removal {removal_id} that could be undone")
            left, failed, restored = list[dict[str, Any]](), list[Skip](), list[str]()
            for one in entries:
                root, path, bin_path = (
                    os.fsdecode(unquote_to_bytes(one[name]))
                    for name in ("root", "path", "bin_path")
                )
                try:
                    if not is_allowed(root):
                        raise CollectionError(NOT_ALLOWED)
                    entry = self._move_back(root, path, bin_path, one)
                except (OSError, RemoteError, CollectionError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    if isinstance(error, FileExistsError):
                        reason = "another file is at its place"
                    reason = f"it cannot be taken back from the bin: {reason}"
                    code = getattr(error, "code", StorageError.code)
                    failed.append(Skip(join_place(root, path), reason, code))
                    left.append(one)
                    continue
                restored.append(one["picture"])
                self._record(root, entry, one)
            for one in changes:
                with suppress(NotFoundError):  # the picture has gone as well
                    self._tagging.change(one["ids"], _read_change(one))
            self._removals.keep(removal_id, left)
        return Restored(tuple(dict.fromkeys(restored)), tuple(failed))

    def _record(self, root_path: str, entry: FileEntry, one: dict[str, Any]) -> None:
        """Take a file into the catalog again. Without its folder or picture, a sync does it; so it
        does for a film, which has many."""
        if one.get("is_film"):
            return
        root = next((root for root in self._catalog.roots() if root.path == root_path), None)
        space = self._catalog.find_own_space()
        if root and space and self._catalog.row_ids([one["picture"]]):
            probe = bytes.fromhex(one["probe"]) if one["probe"] else None
            file = ExtractedFile(entry, one["picture"], probe=probe)
            self._catalog.record(root, space, [file])

    def _move_back(self, root: str, path: str, bin_path: str, one: dict[str, Any]) -> FileEntry:
        """Move a file back, and return it as it is there. Raises OSError and RemoteError."""
        if is_remote(root):
            folder = self._uploads.folders.get(root)
            if not isinstance(folder, ObjectUploads):
                raise OSError("its folder is no longer the library's")
            return folder.move_back(path, bin_path)
        if not os.path.isdir(root):
            raise OSError(f"{root} is not there")
        info = os.lstat(bin_path)
        if (info.st_size, info.st_mtime_ns) != (one["bin_size"], one["bin_mtime_ns"]):
            raise OSError("another file is in the bin at its place")
        full = join_place(root, path)
        move_back(bin_path, full)
        return FileEntry(path, *file_state(os.stat(full)))


def _path(file: PictureFile) -> str:
    return join_place(file.place.root, file.place.path)


def _list_inherited(own: Annotations, others: Sequence[Annotations]) -> list[Change]:
    """Return the changes that add to what is said of a picture what is said of others."""
    tags = dict.fromkeys(tag for one in others for tag in one.tags if tag not in own.tags)
    ratings = [one.rating for one in others if one.rating is not None]
    rating = max(ratings, default=None)
    captioned = (one.caption for one in others if one.caption_origin != "model")
    caption = next((one for one in captioned if one), None)
    has_caption = bool(own.caption) and own.caption_origin != "model"
    held = {one.id for one in own.albums}
    albums = dict.fromkeys(a.id for one in others for a in one.albums if a.id not in held)
    is_higher = rating is not None and (own.rating is None or rating > own.rating)
    change = Change(
        add_tags=tuple(tags),
        favourite=True if not own.favourite and any(one.favourite for one in others) else ...,
        rating=rating if is_higher else ...,
        caption=caption if caption and not has_caption else ...,
    )
    changes = [Change(album=one) for one in albums]
    return [change, *changes] if change != Change() else changes


def _read_change(document: Mapping[str, Any]) -> Change:
    """Return the change of an entry of `Changed.to_json`."""
    values = {name: value for name, value in document.items() if name != "ids"}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Change(**values | lists)


def _describe(file: PictureFile, bin_path: str) -> dict[str, Any]:
    """Return what `Remover.undo` needs, as JSON."""
    place, size, mtime_ns = file.place, 0, 0
    if not is_remote(bin_path):
        info = os.lstat(bin_path)
        size, mtime_ns = info.st_size, info.st_mtime_ns
    names = {"root": place.root, "path": place.path, "bin_path": bin_path}
    return {
        **{name: quote_from_bytes(os.fsencode(value)) for name, value in names.items()},
        "picture": file.picture_id,
        "is_film": place.time is not None,
        "probe": place.probe.hex() if place.probe else None,
        "bin_size": size,
        "bin_mtime_ns": mtime_ns,
    }
