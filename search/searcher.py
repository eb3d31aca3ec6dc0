"""A query -> hits: decode its pictures, embed them, search, score again from the catalog."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from os import fspath

import numpy as np
from PIL import Image

from search.embedders.base import Embedder, Pixels, TextEmbedder, Vectors
from search.errors import EmptyError, InputError, NotFoundError, PictureError, QueryError
from search.images import render
from search.loader import Failure, Loader, Source
from search.lookup import Described, Lookup, rescore
from search.query import Picture, Query, Term, combine
from search.recording import Model
from search.records import Hit, Hits
from search.runtime import Runtime
from search.vectors.live import LiveIndex


class Searcher:
    """Answers queries under one model. Threads may share it."""

    def __init__(
        self,
        lookup: Lookup,
        loader: Loader,
        runtime: Runtime,
        embedder: Callable[[], Embedder],
        model: Model,
        live: Callable[[], LiveIndex],
        content: Callable[[str], bytes],
    ) -> None:
        """embedder: loads the model; not called for queries that need none. live: opens the index;
        on the inference thread alone. content: of a URL or `id:ID`."""
        self._lookup, self._loader, self._runtime = lookup, loader, runtime
        self._embedder, self.model, self._live = embedder, model, live
        self._content = content

    def answer(self, query: Query) -> Hits:
        """Best first. Raises LookalikeError for what cannot be answered."""
        with self._runtime.ahead():
            found, took = self._found(query)
        begun = time.perf_counter()
        hits = [
            self._hit(described, score)
            for described, score in found
            if query.min_score is None or score >= query.min_score
        ]
        took["search"] += time.perf_counter() - begun
        took |= {"verify": 0.0, "total": sum(took.values())}
        rounded = {name: round(1000 * seconds, 3) for name, seconds in took.items()}
        return Hits(tuple(hits), self.model.name, query.to_json(), rounded)

    def _found(self, query: Query) -> tuple[list[tuple[Described, float]], dict[str, float]]:
        """Pictures with scores, best first, and the seconds that each stage took."""
        clock = [time.perf_counter()]
        if any(term.text is not None for term in query.terms):
            _wordy(self._embedder())  # before any picture is decoded for nothing
        asked = [self._decoded(term) for term in query.terms]
        pixels = [prepared for prepared, _ in asked]
        wanted = any(
            p is not None or t.text is not None for t, p in zip(query.terms, pixels, strict=True)
        )
        embedder = self._embedder() if wanted else None
        own = {identity for _, identity in asked}
        clock.append(time.perf_counter())

        def find() -> list[tuple[Described, float]]:
            vectors = self._vectors(query.terms, pixels, embedder)
            vector = combine(vectors, [t.weight for t in query.terms])
            clock.append(time.perf_counter())
            return self._nearest(vector, query.k, own)

        # one piece of work, since each may have to wait for one of somebody else's
        found = self._runtime.run(find, urgent=True)
        clock.append(time.perf_counter())
        stages = zip(("decode", "embed", "search"), clock, clock[1:], strict=False)
        return found, {name: end - begin for name, begin, end in stages}

    def _nearest(
        self, vector: Vectors, k: int, own: Collection[str | None]
    ) -> list[tuple[Described, float]]:
        """Pictures with scores from the catalog's vectors, best first; of equals, those whose ids
        are in `own` come first. On the inference thread."""
        index = self._live().refresh()
        if not len(index):
            raise EmptyError("the library holds no pictures: run `lookalike index FOLDER` first")
        numbers = index.search(vector, k).tolist()
        present, stored = self._lookup.present(self.model, numbers)
        scores = dict(zip(present, rescore(vector, stored).tolist(), strict=True))
        best = sorted(present, key=lambda n: (-scores[n], n))[:k]
        described = self._lookup.describe(best)
        ranked = sorted(described, key=lambda n: (-scores[n], described[n].id not in own, n))
        return [(described[n], scores[n]) for n in ranked]

    @staticmethod
    def _hit(described: Described, score: float) -> Hit:
        return Hit(
            id=described.id,
            path=described.there(),
            paths=described.paths,
            score=score,
            kind=None,
            probability=None,
            width=described.width,
            height=described.height,
            tags=described.tags,
        )

    def _vectors(
        self, terms: Sequence[Term], pixels: Sequence[Pixels | None], embedder: Embedder | None
    ) -> Vectors:
        """(n, dim) unit vectors of the terms; `pixels` of those that are to be embedded. On the
        inference thread."""
        rows = np.empty((len(terms), self.model.dim), np.float32)
        fresh = [p for p in pixels if p is not None]
        embedded = iter(embedder.embed(fresh)) if embedder and fresh else iter(())
        texts = [term.text for term in terms if term.text is not None]
        spoken = iter(_wordy(embedder).embed_text(texts)) if embedder and texts else iter(())
        for i, (term, prepared) in enumerate(zip(terms, pixels, strict=True)):
            if prepared is not None:
                rows[i] = next(embedded)
            elif term.text is not None:
                rows[i] = next(spoken)
            elif term.identity is not None:
                rows[i] = self._stored(term.identity)
            else:
                rows[i] = self._given(term.vector or ())
        return rows

    def _stored(self, identity: str) -> Vectors:
        present, stored = self._lookup.present(self.model, [self._lookup.resolve(identity)])
        if not present:
            raise NotFoundError(f"picture {identity} has no vector yet; index its folder again")
        row: Vectors = stored[0]
        return row

    def _given(self, values: Sequence[float]) -> Vectors:
        row = np.asarray(values, np.float64)
        largest = float(np.abs(row).max(initial=0.0))
        if row.shape != (self.model.dim,) or not largest:
            raise QueryError(
                f"a vector of length {len(row)} for {self.model.name}, whose vectors have length "
                f"{self.model.dim} and are not all zero"
            )
        row /= largest  # so that no square is beyond what a number holds
        unit: Vectors = (row / np.linalg.norm(row)).astype(np.float32)
        return unit

    def _decoded(self, term: Term) -> tuple[Pixels | None, str | None]:
        """The prepared picture of a term that is to be embedded, and its id where it has one."""
        if term.image is None or (term.identity is not None and term.crop is None):
            return None, None
        preparation = self._embedder().preparation
        if isinstance(term.image, Image.Image):
            try:
                given = term.image.copy()  # it stays the caller's
            except OSError as error:
                raise PictureError(f"the picture cannot be decoded: {error}") from error
            return preparation(render(given, term.crop)), None
        path, data, name = None, None, "the picture"
        if isinstance(term.image, bytes):
            data = term.image
        elif isinstance(term.image, str) and (term.address or term.identity):
            name = term.image
            data = self._content(name)
        else:
            path = name = located(term.image)
        source = Source(path, data, crop=term.crop, facts=False)
        result = self._loader.submit(source, preparation, urgent=True).result()
        if isinstance(result, Failure):
            raise result.error(f"{name}: {result.reason}")
        if result.pixels is None:
            raise PictureError(f"{name} could not be decoded; try again")
        return result.pixels, result.id


def _wordy(embedder: Embedder) -> TextEmbedder:
    """The embedder, for texts. Raises QueryError where it has no text side."""
    if isinstance(embedder, TextEmbedder):
        return embedder
    raise QueryError(
        f"texts need a CLIP model, and this library's is {embedder.name}; run "
        "`lookalike --model ViT-B-32 index FOLDER` to change it, or give a picture"
    )


def located(image: Picture) -> str:
    """A query file's absolute path, if it is there. Raises InputError and NotFoundError."""
    given = fspath(image)  # type: ignore[arg-type]
    full = os.path.abspath(os.path.expanduser(given))
    if os.path.isdir(full):
        raise InputError(f"{full} is a folder; give a picture (`lookalike index` takes folders)")
    if not os.path.exists(full):
        raise NotFoundError(f"{full} is not there; give a picture file, `id:ID` or `-`")
    return full
