"""What a person sees of folders: how many pictures one has, and which files a sync leaves out."""

from __future__ import annotations

import os
from pathlib import Path

from search.catalog.catalog import Catalog
from search.catalog.writes import Root
from search.indexing import kinds
from search.indexing.scan import scan
from search.media.object_urls import is_remote
from search.records.indexing import Skip
from search.records.status import FolderGlance, LeftOut, LeftOutFile

MOST_ENTRIES = 1000  # of a folder that are looked at


def look_at_folder(folder: Path) -> FolderGlance | None:
    """Count the pictures directly in a folder, by their names; None if it cannot be listed.

    Looks at 1,000 entries at most, so that a long list of folders is quick.
    """
    pictures = 0
    has_more = False
    try:
        with os.scandir(folder) as entries:
            for place, entry in enumerate(entries):
                if place == MOST_ENTRIES:
                    has_more = True
                    break
                pictures += kinds.is_picture_name(entry.name)
    except OSError:
        return None
    is_left_out = kinds.is_system_folder(folder.name, folder.parent.name)
    return FolderGlance(pictures, has_more, is_left_out)


def list_left_out(catalog: Catalog, root: Root, default_excludes: bool, most: int) -> LeftOut:
    """List the files of a root that cannot be found by search.

    Pictures that could not be read come from the catalog, files of other kinds from the folder as
    it is now; a root that is offline, in object storage, or a site, lists none of these. most:
    files of each.
    """
    skipped, others = list[Skip](), list[LeftOutFile]()
    for path, reason, code in catalog.skipped_files(root, most + 1):
        skipped.append(Skip(os.path.join(root.path, path), reason, code))

    def add(kind: str, path: str) -> None:
        if len(others) <= most:
            others.append(LeftOutFile(os.path.join(root.path, path), kind))

    if not is_remote(root.path) and os.path.isdir(root.path):
        try:
            options = (root.exclude, root.follow_links, default_excludes)
            scan(Path(root.path), "", *options, on_left_out=add)
        except OSError as error:
            reason = error.strerror or str(error)
            skipped.append(Skip(root.path, reason, "folder_unreadable"))
    has_more = len(skipped) > most or len(others) > most
    return LeftOut(tuple(skipped[:most]), tuple(others[:most]), has_more)
