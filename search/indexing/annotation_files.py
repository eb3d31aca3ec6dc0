"""What people say of pictures as files: a JSON document, or XMP sidecars in a folder of their own.

The JSON has all of it. Sidecars have tags, captions and ratings, for other programs. They mirror
the paths of the pictures: `FOLDER/home/ada/a.jpg.xmp`, and `FOLDER/s3/bucket/a.jpg.xmp` for those
in object storage. The users' folders and buckets are never written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from sqlalchemy import select

from search import files
from search.catalog.annotations import PART, export_annotations, import_annotations
from search.catalog.catalog import Catalog
from search.catalog.reads import CatalogReader
from search.catalog.schema import pictures
from search.catalog.writes import chunks
from search.errors import InputError, NotFoundError, PictureError, StorageError
from search.files import shown
from search.media.descriptions import MOST_BYTES, clean_caption, clean_tags, parse_xmp
from search.media.object_urls import ODD_SEGMENT, is_remote, relative_place

VERSION = 1
JSON, XMP = ".json", ".xmp"
DOCUMENT = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
{properties}  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


@dataclass(frozen=True)
class AnnotationReport:
    """pictures: how many were exported or imported. unknown: paths of those that the library does
    not have, files that are no XMP, and objects whose key cannot be the path of a file."""

    pictures: int
    unknown: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `tag import --json` prints it."""
        return {"pictures": self.pictures, "unknown": [shown(one) for one in self.unknown]}


class AnnotationFiles:
    """Exports and imports what people say of pictures. The caller may write to the catalog."""

    def __init__(self, catalog: Catalog, reader: CatalogReader) -> None:
        self._catalog, self._reader = catalog, reader

    def export(self, target: Path) -> AnnotationReport:
        """Write a JSON file, or sidecars into any other path, which is a folder.

        Raises InputError for a folder whose sidecars would be in an indexed folder, StorageError if
        it cannot be written.
        """
        documents, unknown = list(self._list_documents()), list[str]()
        try:
            if target.suffix == JSON:
                files.write(target, _make_json(documents))
            else:
                unknown = self._write_sidecars(target, documents)
        except OSError as error:
            raise StorageError(
                f"cannot write {error.filename or target}: {error.strerror}; give another path"
            ) from error
        return AnnotationReport(len(documents), tuple(unknown))

    def dump(self) -> bytes:
        """Return the JSON document."""
        return _make_json(list(self._list_documents()))

    def load_json(self, data: bytes, source: str = "the document") -> AnnotationReport:
        """Add what a JSON document has, as `load`. source: its name. Raises InputError for another
        one."""
        unknown = list[str]()
        with _explain_errors(source):
            documents = self._match(json.loads(data), unknown)
            self._add(documents)
        return AnnotationReport(len(documents), tuple(sorted(unknown)))

    def load(self, source: Path) -> AnnotationReport:
        """Add what `export` wrote. What the library has already stays; texts and ratings in the
        files take the place of those it has.

        A picture is found by its id, else by its path. Raises InputError for what is no export.
        """
        if not source.is_dir():
            with _explain_errors(str(source)):
                data = source.read_bytes()
            return self.load_json(data, str(source))
        unknown = list[str]()
        with _explain_errors(str(source)):
            sidecars = dict(self._read_sidecars(source, unknown))
            row_ids = {_show_mirrored(p): one for p, one in self._rows_by_path().items()}
            documents = {row_ids[p]: one for p, one in sidecars.items() if p in row_ids}
            unknown += [path for path in sidecars if path not in row_ids]
            self._add(documents)
        return AnnotationReport(len(documents), tuple(sorted(unknown)))

    def _add(self, documents: Mapping[int, Any]) -> None:
        """Write what people say of pictures, by row id."""
        for part in chunks(documents, PART):
            with self._catalog.database.write() as c:
                import_annotations(c, {one: documents[one] for one in part}, self._catalog.now())

    def _list_documents(self) -> Iterator[dict[str, Any]]:
        """Yield what people say of each picture, with its id and paths."""
        query = select(pictures.c.row_id).where(pictures.c.orphaned.is_(None))
        with self._catalog.database.read() as c:
            row_ids = list(c.scalars(query.order_by(pictures.c.row_id)))
        for part in chunks(row_ids, PART):
            with self._catalog.database.read() as c:
                documents = export_annotations(c, part)
            for summary in self._reader.describe(part).values():
                if summary.id in documents:
                    paths = {"id": summary.id, "paths": list(summary.paths)}
                    yield paths | documents[summary.id]

    def _write_sidecars(self, target: Path, documents: list[dict[str, Any]]) -> list[str]:
        """Write the sidecars; return the paths of pictures that can have none."""
        folder = Path(files.absolute_path(target))
        roots = [root.path for root in self._catalog.roots() if not is_remote(root.path)]
        for root in roots:
            for place in (str(folder), _mirror(folder, root)):
                if any(relative_place(os.path.realpath(place), one) is not None for one in roots):
                    raise InputError(
                        f"{target} would put files into the indexed folder {root}; give a folder "
                        "of its own"
                    )
        unknown = []
        for document in documents:
            data = _make_xmp(document).encode("utf-8", "backslashreplace")
            for path in document["paths"]:
                sidecar = Path(_mirror(folder, path) + XMP)
                if is_remote(path) and ODD_SEGMENT.search(path.partition("://")[2]):
                    unknown.append(path)  # a key such as a/../b would lead elsewhere
                    continue
                sidecar.parent.mkdir(parents=True, exist_ok=True)
                files.write(sidecar, data)
        return unknown

    def _read_sidecars(
        self, folder: Path, unknown: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for sidecar in sorted(folder.rglob(f"*{XMP}")):
            path = os.sep + str(sidecar.relative_to(folder)).removesuffix(XMP)
            try:
                with open(sidecar, "rb") as file:
                    description = parse_xmp(file.read(MOST_BYTES + 1))
            except PictureError:
                unknown.append(str(sidecar))
                continue
            yield path, description.to_json()

    def _rows_by_path(self) -> dict[str, int]:
        ids = {path: one for one, _, path in self._reader.iterate_files()}
        row_ids = self._catalog.row_ids(set(ids.values()))
        return {path: row_ids[one] for path, one in ids.items() if one in row_ids}

    def _match(self, document: Mapping[str, Any], unknown: list[str]) -> dict[int, Any]:
        """Return the documents of an export by row id."""
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} is not known")
        by_path: dict[str, int] | None = None
        matched = dict[int, Any]()
        for one in document["pictures"]:
            try:
                row_id: int | None = self._reader.resolve(one["id"])
            except NotFoundError:
                by_path = self._rows_by_path() if by_path is None else by_path
                row_id = next((by_path[p] for p in one["paths"] if p in by_path), None)
            if row_id is None:
                unknown.append(str(next(iter(one["paths"]), one["id"])))
            else:
                matched[row_id] = one
        return matched


@contextmanager
def _explain_errors(source: str) -> Iterator[None]:
    """Raise InputError for errors of what is imported. source: its name."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{source} cannot be imported: {getattr(error, 'strerror', None) or error!r}; give "
            "what `lookalike tag export` wrote"
        ) from error


def _make_json(documents: list[dict[str, Any]]) -> bytes:
    document = {"version": VERSION, "pictures": documents}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace")


def _mirror(folder: Path, path: str) -> str:
    return os.path.join(folder, os.path.splitdrive(_show_mirrored(path))[1].lstrip(os.sep))


def _show_mirrored(path: str) -> str:
    """Return a path, or that of an object as a sidecar has it: `/s3/bucket/key`."""
    if not is_remote(path):
        return path
    scheme, _, rest = path.partition("://")
    return f"{os.sep}{scheme}{os.sep}{rest}"


def _make_xmp(document: Mapping[str, Any]) -> str:
    """Return an XMP document of tags, caption and rating."""
    tags = "".join(f"<rdf:li>{escape(one)}</rdf:li>" for one in clean_tags(document["tags"]))
    properties = f"   <dc:subject><rdf:Bag>{tags}</rdf:Bag></dc:subject>\n" if tags else ""
    caption = clean_caption(document["caption"] or "")
    if caption:
        item = f'<rdf:li xml:lang="x-default">{escape(caption)}</rdf:li>'
        properties += f"   <dc:description><rdf:Alt>{item}</rdf:Alt></dc:description>\n"
    if document["rating"] is not None:
        properties += f"   <xmp:Rating>{document['rating']}</xmp:Rating>\n"
    return DOCUMENT.format(properties=properties)
