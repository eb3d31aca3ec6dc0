"""Remove folders and models from a library. The user's files stay as they are."""

from __future__ import annotations

import os

from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.writes import Root
from search.embedders.models import Models
from search.errors import InputError, NotFoundError
from search.files import absolute_path, find_shown
from search.media.object_urls import is_remote, parse_remote, relative_place
from search.media.thumbnails import Thumbnails
from search.vectors.base import StoreManager


def forget(
    catalog: Catalog,
    thumbnails: Thumbnails,
    path: str | os.PathLike[str],
    annotations: bool = False,
) -> int:
    """Remove a root, a part of a root, or all roots below a folder; return the count of files.

    path: of a disk, or a URL of object storage or a site. If the library does not have it, the path
    that its links lead to is tried. annotations: forget what people said of the pictures too. The
    caller holds the write lock. Raises NotFoundError if the library has neither.
    """
    text = os.fspath(path)
    place = parse_remote(text) if is_remote(text) else find_shown(absolute_path(text))
    roots = catalog.roots()

    def touches(root: Root) -> bool:
        inner, outer = relative_place(root.path, place), relative_place(place, root.path)
        return inner is not None or outer is not None

    if not is_remote(place) and not any(touches(root) for root in roots):
        place = os.path.realpath(place)
    count, has_dropped = 0, False
    for root in roots:
        if not touches(root):
            continue
        within = relative_place(place, root.path) or ""
        while file_ids := catalog.file_ids(root, within):
            count += len(file_ids)
            picture_ids = catalog.purge(catalog.remove_files(file_ids))
            for picture_id in picture_ids:
                thumbnails.delete(picture_id)
            if annotations:
                catalog.forget_annotations(picture_ids)
        if not within:
            catalog.drop_root(root)
            has_dropped = True
    if not count and not has_dropped:
        names = ", ".join(root.path for root in roots) or "none yet"
        raise NotFoundError(f"{place} is not in the library; its folders: {names}")
    return count


def forget_model(
    catalog: Catalog, reader: CatalogReader, models: Models, indexes: StoreManager, name: str
) -> int:
    """Delete the vectors of a model that serves beside the library's own; return their count.

    name: of the model, or its fingerprint. The caller holds the write lock. Raises NotFoundError
    for a model that does not serve, and InputError for the library's own.
    """
    serving = reader.spaces()
    space = models.find_space(serving[1:], name)
    if space is None and models.find_space(serving, name):
        raise InputError(
            f"{name} is the library's own model; `lookalike --model NAME index FOLDER` changes it"
        )
    if space is None:
        names = ", ".join(one.name for one in serving[1:]) or "none yet"
        raise NotFoundError(f"no model {name} serves beside the library's own; these do: {names}")
    count = catalog.drop_beside(space)
    indexes.save(serving[0])  # deletes what is saved of spaces that serve no longer
    return count
