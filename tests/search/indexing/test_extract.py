"""Extraction needs an executor and no catalog; the committer needs no executor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.libraries import Counted, parts
from helpers.pictures import identity, jpeg, paint

from search.catalog.catalog import Catalog
from search.catalog.database import Database
from search.catalog.reads import CatalogReader
from search.catalog.writes import SeenContent, Space
from search.embedders.base import Embedder
from search.indexing.commit import Committer, SyncCounts
from search.indexing.extract import extract_again, extract_files
from search.indexing.scan import scan
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest
from search.media.preprocessing import Preprocessing
from search.media.thumbnails import DiskThumbnails
from search.types import Pixels, Vectors


class OneByOne:
    """An executor that decodes in a pool, one picture at a time, and notes the sources."""

    def __init__(self) -> None:
        self.sources: list[DecodeRequest] = []

    def load(
        self,
        sources: Iterable[tuple[Any, DecodeRequest]],
        preprocessing: Preprocessing | Sequence[Preprocessing] | None,
        prefetch: int = 64,
    ) -> Iterator[tuple[Any, DecodedPicture | DecodeFailure]]:
        for key, source in sources:
            self.sources.append(source)
            yield key, parts()[0].submit(source, preprocessing).result()


class Constant:
    """An analyzer that gives every picture the same vector."""

    def __init__(self, low_content: bool = False) -> None:
        self.analyzed, self.content = 0, SeenContent(low_content=low_content)

    def analyze(
        self, embedder: Embedder, pixels: Sequence[Pixels]
    ) -> list[tuple[Vectors, SeenContent]]:
        self.analyzed += len(pixels)
        return [(np.eye(1, embedder.dim, dtype=np.float32)[0], self.content) for _ in pixels]

    def can_answer(self, space: Space) -> bool:
        return True


def test_files_come_in_order_and_known_ones_are_only_hashed(folder: Path) -> None:
    for seed in range(5):
        paint(folder / f"{seed}.jpg", seed)
    (folder / "no.jpg").write_bytes(b"no picture")
    entries = sorted(scan(folder).entries.values())
    executor, preprocessing = OneByOne(), Counted().preprocessing
    known = {len(jpeg(2)): {identity(2)}}
    extracted = list(extract_files(str(folder), entries, known, executor, preprocessing))
    assert [entry for entry, _ in extracted] == entries
    assert executor.sources[2].known == {identity(2)}
    for seed, (_, picture) in enumerate(extracted[:5]):
        assert isinstance(picture, DecodedPicture) and picture.id == identity(seed)
        assert (picture.pixels is None) == (picture.metadata is None) == (seed == 2)
    assert isinstance(extracted[5][1], DecodeFailure)


def test_pictures_are_extracted_again_from_a_file_that_exists(folder: Path) -> None:
    paths = [(7, ("/not/there.jpg", str(paint(folder / "1.jpg", 1)))), (9, ("/nowhere.jpg",))]
    extracted = list(extract_again(paths, {7}, set(), OneByOne(), Counted().preprocessing))
    assert [key for key, _ in extracted] == paths
    first, second = (picture for _, picture in extracted)
    assert isinstance(first, DecodedPicture) and first.id == identity(1) and first.metadata
    assert isinstance(second, DecodeFailure)


def test_a_batch_is_embedded_once_per_image_and_committed(folder: Path, tmp_path: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 1, "other bytes, same image")
    paint(folder / "c.jpg", 2)
    (folder / "no.jpg").write_bytes(b"no picture")
    embedder, analyzer = Counted(), Constant()
    database = Database(tmp_path / "catalog.sqlite")
    catalog, reader = Catalog(database), CatalogReader(database)
    space = catalog.space(embedder.name, embedder.fingerprint, embedder.dim)
    root = catalog.add_root(str(folder), 0, ())
    committer = Committer(
        catalog, DiskThumbnails(tmp_path / "thumbnails"), analyzer, embedder, space
    )
    counts = SyncCounts(root, {}, [])
    entries = sorted(scan(folder).entries.values())
    batch = list(extract_files(str(folder), entries, {}, OneByOne(), embedder.preprocessing))
    committer.commit_files(counts, batch, "rule")
    assert (analyzer.analyzed, counts.embedded, counts.added) == (2, 2, 3)
    assert [skip.path for skip in counts.skips] == ["no.jpg"]
    assert reader.count(space) == {"pictures": 3, "files": 3, "embedded": 3}
    committer.commit_files(SyncCounts(root, catalog.files(root), []), batch, "rule")
    assert analyzer.analyzed == 2  # every image has a vector
    database.close()


def test_a_second_space_gets_its_vectors_from_the_same_batch(folder: Path, tmp_path: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "b.jpg", 1, "other bytes, same image")
    paint(folder / "c.jpg", 2)
    embedder, analyzer = Counted(), Constant(low_content=True)
    database = Database(tmp_path / "catalog.sqlite")
    catalog, reader = Catalog(database), CatalogReader(database)
    first, second = (catalog.space(name, name, embedder.dim) for name in ("one", "two"))
    root, thumbnails = catalog.add_root(str(folder), 0, ()), DiskThumbnails(tmp_path / "thumbnails")
    own = Committer(catalog, thumbnails, Constant(), embedder, first)
    other = Committer(catalog, thumbnails, analyzer, embedder, second, beside=True)
    counts, entries = SyncCounts(root, {}, []), sorted(scan(folder).entries.values())
    preprocessings = [own.preprocessing, other.preprocessing]
    batch = list(extract_files(str(folder), entries, {}, OneByOne(), preprocessings))
    own.commit_files(counts, batch, "rule")
    for _ in range(2):
        other.commit_vectors(counts, batch, 1)
        assert (analyzer.analyzed, counts.embedded) == (2, 4)
    assert reader.count(second)["embedded"] == 3
    shown = reader.describe(reader.newest(0, 3)).values()
    assert not any(one.low_content for one in shown)  # the own model says which are blank
    database.close()
