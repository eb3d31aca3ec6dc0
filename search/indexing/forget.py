"""Take folders out of a library; the pictures themselves stay where they are."""

from __future__ import annotations

import os
from pathlib import Path

from search.catalog.catalog import Catalog
from search.errors import NotFoundError
from search.media.thumbnails import Thumbnails


def forget(catalog: Catalog, thumbnails: Thumbnails, path: str | os.PathLike[str]) -> int:
    """Take out a root, a part of one, or all roots below a folder; how many files that were.

    The path as it was entered goes before what it links to. The caller holds the write lock.
    Raises NotFoundError for a path that the library does not have.
    """
    place = Path(os.path.abspath(os.path.expanduser(path)))
    roots = catalog.roots()
    paths = [Path(root.path) for root in roots]
    if not any(p.is_relative_to(place) or place.is_relative_to(p) for p in paths):
        place = Path(os.path.realpath(place))
    count, dropped = 0, False
    for root in roots:
        if Path(root.path).is_relative_to(place):
            within = ""
        elif place.is_relative_to(root.path):
            within = str(place.relative_to(root.path))
        else:
            continue
        chosen = [
            file.id
            for name, file in catalog.files(root).items()
            if not within or name == within or name.startswith(within + "/")
        ]
        count += len(chosen)
        for picture_id in catalog.purge(catalog.remove_files(chosen)):
            thumbnails.delete(picture_id)
        if not within:
            catalog.drop_root(root)
            dropped = True
    if not count and not dropped:
        names = ", ".join(root.path for root in roots) or "none yet"
        raise NotFoundError(f"{place} is not in the library; its folders: {names}")
    return count
