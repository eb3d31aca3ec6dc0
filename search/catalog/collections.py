"""Collections of a library, as its users change and list them: roots under a name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from os import PathLike
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from search.catalog.schema import files, places, roots
from search.catalog.tags import clean_name, normalize_tag
from search.errors import CollectionError, InputError, NotFoundError
from search.media.object_urls import resolve_place
from search.records.collections import NamedCollection

if TYPE_CHECKING:
    from search.catalog.catalog import Catalog
    from search.catalog.reads import CatalogReader
    from search.catalog.tagging import Borrow

KIND = "name of a collection"
Folder = str | PathLike[str]


class Collections:
    """Names indexed folders, and lists the names. Threads may share it.

    A folder is in one collection at most. Names are the same in any case of letters. Methods that
    change something raise CollectionError for a user who sees a part of the library: everybody sees
    the names.
    """

    def __init__(
        self, reader: CatalogReader, catalog: Catalog, borrow: Borrow, uploads_place: str
    ) -> None:
        """uploads_place: where uploads are, which become a root with the first one."""
        self._reader, self._catalog, self._borrow = reader, catalog, borrow
        self._uploads_place = uploads_place

    def all(self) -> list[NamedCollection]:
        """Return the collections, by name, with the folders and pictures that are shown."""
        return [self._describe(name, ids) for name, ids in self._reader.list_collections().items()]

    def find(self, name: str) -> NamedCollection:
        """Return the collection with a name. Raises NotFoundError."""
        listed = self._reader.list_collections()
        stored = self._look_up(name, listed)
        return self._describe(stored, listed[stored])

    def find_folders(self, folder_or_name: Folder) -> list[str]:
        """Return the path of an indexed folder, or those of a collection. Raises NotFoundError."""
        place, listed = resolve_place(folder_or_name), self._reader.list_roots()
        if place == self._uploads_place or place in listed.values():
            return [place]
        named = self._reader.list_collections()
        try:
            ids = named[self._look_up(os.fspath(folder_or_name), named)]
        except (InputError, NotFoundError):
            raise NotFoundError(
                f"{place} is not an indexed folder, nor is {os.fspath(folder_or_name)} a "
                "collection; `lookalike status` lists those there are"
            ) from None
        return [listed[one] for one in ids]

    def add(self, name: str, folders: Sequence[Folder]) -> NamedCollection:
        """Put indexed folders into a collection, which is made if there is none of this name.

        folders: their paths or URLs. One that is in another collection leaves it. Raises
        NotFoundError for a folder that is not indexed.
        """
        self._require_whole()
        clean = clean_name(name, KIND)
        if not folders:
            raise InputError(f"no folder for the collection {clean}; name one that is indexed")
        ids = self._resolve(folders)
        with self._borrow(), self._catalog.database.write() as c:
            stored = self._find_name(clean, self._reader.list_collections()) or clean
            c.execute(update(roots).where(roots.c.id.in_(ids)).values(collection=stored))
        return self.find(stored)

    def rename(self, name: str, new: str) -> NamedCollection:
        """Give a collection another name. Raises NotFoundError, and InputError for a name that is
        taken. Saved searches that name it must be saved again."""
        self._require_whole()
        clean = clean_name(new, KIND)
        with self._borrow(), self._catalog.database.write() as c:
            listed = self._reader.list_collections()
            stored, other = self._look_up(name, listed), self._find_name(clean, listed)
            if other not in (None, stored):
                raise InputError(
                    f"there is a collection {other} already; give another name, or move the "
                    "folders with `lookalike collection add`"
                )
            where = roots.c.id.in_(listed[stored])
            c.execute(update(roots).where(where).values(collection=clean))
        return self.find(clean)

    def remove(self, name: str, folders: Sequence[Folder] = ()) -> None:
        """Take folders out of a collection, or all of them; the pictures stay in the library.

        Raises NotFoundError for a collection that there is not, and a folder that is not in it.
        """
        self._require_whole()
        with self._borrow(), self._catalog.database.write() as c:
            listed = self._reader.list_collections()
            stored = self._look_up(name, listed)
            ids = self._resolve(folders) if folders else listed[stored]
            if not set(ids) <= set(listed[stored]):
                raise NotFoundError(
                    f"not all of these folders are in the collection {stored}; `lookalike "
                    "collection list` shows which are"
                )
            c.execute(update(roots).where(roots.c.id.in_(ids)).values(collection=None))

    def _require_whole(self) -> None:
        if not self._reader.is_whole:
            raise CollectionError(
                "names of collections are for all users; ask for a token for the whole library"
            )

    def _resolve(self, folders: Sequence[Folder]) -> list[int]:
        """Return the ids of roots. Raises NotFoundError for what is none."""
        ids = {path: root for root, path in self._reader.list_roots().items()}
        resolved = list[int]()
        for folder in folders:
            place = resolve_place(folder)
            root = ids.get(place, ids.get(os.fspath(folder)))
            if root is None:
                raise NotFoundError(
                    f"{place} is not an indexed folder; index it first, and `lookalike status` "
                    "lists those there are"
                )
            resolved.append(root)
        return resolved

    def _find_name(self, name: str, listed: dict[str, list[int]]) -> str | None:
        """Return a name as it is stored; None if there is none."""
        form = normalize_tag(clean_name(name, KIND))
        return next((one for one in listed if normalize_tag(one) == form), None)

    def _look_up(self, name: str, listed: dict[str, list[int]]) -> str:
        """As `_find_name`. Raises NotFoundError, which names the nearest one."""
        if (stored := self._find_name(name, listed)) is not None:
            return stored
        near = get_close_matches(name, listed, 1, 0.5)
        advice = f"did you mean {near[0]}? " if near else ""
        raise NotFoundError(
            f"there is no collection {name[:100]}; {advice}`lookalike collection list` lists them"
        )

    def _describe(self, name: str, ids: Sequence[int]) -> NamedCollection:
        paths, counted = self._reader.list_roots(), self._reader.files_by_root()
        query = select(places.c.picture).join(files, files.c.id == places.c.file)
        query = self._reader.limit(query.where(files.c.root.in_(ids)), places.c.picture)
        with self._reader.database.read() as c:
            pictures = c.scalar(select(func.count()).select_from(query.distinct().subquery()))
        held = tuple(paths[one] for one in ids)
        return NamedCollection(name, held, sum(counted.get(one, 0) for one in ids), pictures or 0)
