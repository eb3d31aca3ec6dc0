"""What web sites answered when they were last listed, and which of their pages show a picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, insert, select

from search.catalog.annotations import apply_descriptions
from search.catalog.schema import files, mentions, places, sidecars, site_answers
from search.catalog.writes import Root, chunks
from search.records.annotations import Description
from search.records.sources import Mention

if TYPE_CHECKING:
    from search.catalog.database import Database


class StoredAnswer(NamedTuple):
    """What a URL answered. etag, modified: of its headers. digest: SHA-256 of its bytes. document:
    what a page contains, empty for a picture."""

    etag: str = ""
    modified: str = ""
    digest: str = ""
    document: str = ""


class SiteRecords:
    """Reads and writes what is kept of web sites. Writers hold the write lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def answers(self, root: Root) -> dict[str, StoredAnswer]:
        """Return what the URLs of a site answered, by URL."""
        query = select(site_answers).where(site_answers.c.root == root.id)
        with self._database.read() as c:
            return {row.url: StoredAnswer(*row[2:]) for row in c.execute(query)}

    def write_answers(self, root: Root, answers: Mapping[str, StoredAnswer]) -> None:
        """Replace what the URLs of a site answered."""
        before = self.answers(root)
        gone = [url for url in before if before[url] != answers.get(url)]
        new = [url for url in answers if before.get(url) != answers[url]]
        with self._database.write() as c:
            for part in chunks(gone, 500):
                where = site_answers.c.root == root.id, site_answers.c.url.in_(part)
                c.execute(delete(site_answers).where(*where))
            for part in chunks(new, 500):
                rows = [{"root": root.id, "url": url, **answers[url]._asdict()} for url in part]
                c.execute(insert(site_answers), rows)

    def write_mentions(
        self,
        root: Root,
        listed: Mapping[str, Sequence[Mention]],
        captions: Mapping[str, Description],
    ) -> None:
        """Replace which pages show the files of a site, and what these say of the pictures.

        listed, captions: by the path of the file. Files that are not listed stay as they are.
        """
        query = select(files.c.path, files.c.id).where(files.c.root == root.id)
        with self._database.read() as c:
            ids = {os.fsdecode(row.path): int(row.id) for row in c.execute(query)}
        known = {path: ids[path] for path in listed if path in ids}
        for part in chunks(known, 500):
            with self._database.write() as c:
                numbers = [known[path] for path in part]
                stored = dict[int, list[Mention]]()
                rows = select(mentions).where(mentions.c.file.in_(numbers))
                for row in c.execute(rows.order_by(mentions.c.file, mentions.c.rank)):
                    stored.setdefault(row.file, []).append(Mention(row.page, row.title, row.text))
                changed = [p for p in part if stored.get(known[p], []) != list(listed[p])]
                numbers = [known[path] for path in changed]
                c.execute(delete(mentions).where(mentions.c.file.in_(numbers)))
                new = [
                    {"file": known[path], "rank": rank, **one._asdict()}
                    for path in changed
                    for rank, one in enumerate(listed[path])
                ]
                if new:
                    c.execute(insert(mentions), new)
                states = select(sidecars.c.file, sidecars.c.state)
                states = states.where(sidecars.c.file.in_([known[path] for path in part]))
                before = {int(row.file): row.state for row in c.execute(states)}
                described = {
                    known[path]: (_state(captions[path]), captions[path])
                    for path in part
                    if captions.get(path)
                }
                differing = [
                    known[path]
                    for path in part
                    if before.get(known[path]) != (described.get(known[path]) or (None,))[0]
                ]
                c.execute(delete(sidecars).where(sidecars.c.file.in_(differing)))
                rows_new = [
                    {"file": n, "state": described[n][0], "document": described[n][1].to_json()}
                    for n in differing
                    if n in described
                ]
                if rows_new:
                    c.execute(insert(sidecars), rows_new)
                pictures = select(places.c.picture).where(places.c.file.in_(differing))
                apply_descriptions(c, set(c.scalars(pictures)))


def _state(description: Description) -> str:
    """Return what changes with what pages say of a picture."""
    text = repr(description.to_json()).encode("utf-8", "surrogateescape")
    return f"page {hashlib.sha256(text).hexdigest()[:16]}"
