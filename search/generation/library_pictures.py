"""The pictures and vectors of a library that the generator of variants works with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from search.catalog.reads import CatalogReader
from search.catalog.writes import Space
from search.embedders.base import Embedder
from search.embedders.json_cache import JsonCache
from search.embedders.models import Models, find_space
from search.errors import EmptyError, NeighbourError, PictureError
from search.media.decoder_pool import DecodedPicture, DecodeRequest, DecoderPool
from search.media.source_kinds import ImageSource
from search.media.sources import PictureResolver
from search.querying.pipeline import LibrarySearch
from search.querying.query import MAX_K, Query, Term
from search.records.hits import Hit
from search.types import Pixels, Vectors

MIN_STRANGERS, MAX_STRANGERS = 200, 1000
"""Vectors that a library needs to be its own sample of strangers, and vectors taken at most."""
NEWEST = 100_000  # the sample is drawn from so many of the newest pictures
MAX_NEIGHBOURS = 8
FIRST_K = 64  # hits of the first search for neighbours; near duplicates are among them
NEAR_DUPLICATE = 0.975
"""Cosine from which a hit counts as a near duplicate of the query, and not as another picture.

Measured with `mini` on 610 photographs: two different ones have at most 0.972. A copy by JPEG of
quality 50 has at least 0.986. Most copies of half the size or cropped to 90 % have 0.97 to 0.99.
"""


class LibraryPictures:
    """Loads pictures, finds neighbours, and draws a sample of strangers. Threads may share it."""

    def __init__(
        self,
        models: Models,
        reader: CatalogReader,
        decoders: DecoderPool,
        resolver: PictureResolver,
        searches: LibrarySearch,
        notes: JsonCache,
    ) -> None:
        """notes: keep the vectors of the sample pictures."""
        self._models, self._reader = models, reader
        self._decoders, self._resolver = decoders, resolver
        self._searches, self._notes = searches, notes
        self._strangers: tuple[tuple[str, int], Vectors] | None = None

    def open_embedder(self) -> Embedder:
        """The library's model. Raises ModelError."""
        return self._models.choose_offline(self._reader.spaces())

    def load(self, image: ImageSource, urgent: bool = True) -> Image.Image:
        """Load a picture, given as to `search`, as upright RGB in the size that models see.

        urgent: decode it before others. Raises InputError.
        """
        picture = self._resolver.resolve(image, with_image=True, urgent=urgent).image
        if picture is None:
            raise PictureError("the picture could not be decoded; try again")
        return picture

    def find_neighbours(self, query: Vectors) -> list[Hit]:
        """Find the nearest other pictures of the library, best first, 8 at most.

        query: (dim,) unit vector under the library's model. Near duplicates of the query (see
        `NEAR_DUPLICATE`) and blank pictures are left out. Raises NeighbourError if none is left.
        """
        term, k = Term(vector=tuple(query.tolist())), FIRST_K
        while True:
            try:
                hits = self._searches.search(Query((term,), k))
            except EmptyError as error:
                raise NeighbourError(
                    "the library is empty, so there is no neighbour to start from; run `lookalike "
                    "index FOLDER` first, or start from `picture`"
                ) from error
            others = [
                hit for hit in hits if (hit.score or 0.0) < NEAR_DUPLICATE and not hit.low_content
            ]
            if len(others) >= MAX_NEIGHBOURS or len(hits) < k or k == MAX_K:
                break
            k = min(4 * k, MAX_K)
        if not others:
            raise NeighbourError(
                "there is no neighbour to start from: the library has no other pictures than near "
                "duplicates of this one; index more pictures, or start from `picture`"
            )
        return others[:MAX_NEIGHBOURS]

    def stranger_vectors(self, embedder: Embedder) -> Vectors:
        """Return (n, dim) unit vectors of pictures that have nothing to do with a query.

        They are a sample of the library. While the library has fewer than 200 pictures, they are
        the sample pictures that come with the package.
        """
        space = find_space(self._reader.spaces(), embedder.fingerprint)
        large = space is not None and self._reader.count(space)["embedded"] >= MIN_STRANGERS
        key = (embedder.fingerprint, self._reader.sequence(space) if space and large else 0)
        if self._strangers is None or self._strangers[0] != key:
            vectors = self._draw_vectors(space) if space and large else None
            if vectors is None or len(vectors) < MIN_STRANGERS:
                text = f"vectors of the samples by {embedder.fingerprint}"
                rows = self._notes.get_or_compute(
                    text, lambda: self._embed_samples(embedder).tolist()
                )
                vectors = np.array(rows, np.float32)
            self._strangers = key, vectors
        return self._strangers[1]

    def _draw_vectors(self, space: Space) -> Vectors:
        """Return (n, dim) vectors of a random sample of the library, the same one at each call."""
        row_ids = np.random.default_rng(0).permutation(self._reader.newest(0, NEWEST))
        sample = row_ids[: 4 * MAX_STRANGERS].tolist()
        return self._reader.load_vectors(space, sample)[1][:MAX_STRANGERS]

    def _embed_samples(self, embedder: Embedder) -> Vectors:
        paths = sorted(Path(str(files("search"))).glob("samples/*/*.jpg"))
        sources = [(path, DecodeRequest(str(path), metadata=False)) for path in paths]
        loaded = self._decoders.load(sources, embedder.preprocessing)
        pixels: list[Pixels] = [
            result.pixels
            for _, result in loaded
            if isinstance(result, DecodedPicture) and result.pixels is not None
        ]
        return self._models.embed(embedder, pixels).round(4)
