"""A query and its terms; no I/O. Every interface builds the same `Query`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import fspath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.errors import FieldError, QueryError
from search.files import shown
from search.media.rules import Crop
from search.media.source_kinds import ImageSource, has_no_name, is_url as is_url, picture_id_of
from search.media.urls import is_address, normalize_url as normalize_url
from search.records.browsing import SORT_KEYS, Sort
from search.records.hits import KINDS, Hit, Kind

if TYPE_CHECKING:
    import numpy as np

    from search.querying.conditions import Condition

MAX_K = 10_000
MAX_TERMS = 64
MAX_ADDRESSES = 4
MAX_EXPAND = 100
MAX_FUSED = 4
"""Models that a query is compared under beside its own."""
MAX_WEIGHT = 10.0
"""Weight of such a model; the own one has 1."""
MAX_TEXT = 1000


@dataclass(frozen=True)
class Term:
    """One part of a query: exactly one of image, text and vector.

    weight: how much it counts; negative to search away from it. crop: of the image, cut before
    scaling. vector: under the library's model, any length but zero. text: what is to be seen, for
    a library whose model has a text side.
    """

    image: ImageSource | None = None
    vector: tuple[float, ...] | None = None
    weight: float = 1.0
    crop: Crop | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.image, self.text, self.vector)) != 1:
            raise QueryError("a term of a query is one of image, text and vector")
        if self.text is not None and not 1 <= len(self.text.strip()) <= MAX_TEXT:
            raise QueryError(f"a text of a query has 1 to {MAX_TEXT} characters")
        if self.text is not None and not self.text.isascii():
            _reject_surrogates(self.text)
        if self.crop and self.image is None:
            raise QueryError("a crop is of a picture; give its term an image")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise QueryError(f"weight {self.weight} of a term: give a finite number other than 0")
        if self.vector is not None and not all(map(math.isfinite, self.vector)):
            raise QueryError("a term's vector holds something that is not a finite number")

    @property
    def must_be_embedded(self) -> bool:
        """Whether no vector of the term is stored or given."""
        return self.vector is None and (self.picture_id is None or self.crop is not None)

    @property
    def is_searched_for(self) -> bool:
        """Whether it is a picture, and not one to search away from."""
        return self.image is not None and self.weight > 0

    @property
    def picture_id(self) -> str | None:
        """The id, where the image is `id:ID` or a hit."""
        return picture_id_of(self.image)

    @property
    def address(self) -> str | None:
        """The URL, where the image is one."""
        return self.image if isinstance(self.image, str) and is_address(self.image) else None

    def to_json(self, place: int) -> dict[str, Any]:
        """Return the JSON of the term. place: index among the pictures that are data."""
        payload: dict[str, Any] = {"weight": self.weight}
        if self.vector is not None:
            return {"vector": list(self.vector), **payload}
        if self.text is not None:
            return {"text": self.text, **payload}
        if self.crop:
            values = (self.crop.x, self.crop.y, self.crop.width, self.crop.height)
            pairs = zip(values, self.crop.shares, strict=True)
            payload["crop"] = [f"{v * 100:g}%" if share else v for v, share in pairs]
        if has_no_name(self.image):
            return {"image": place, **payload}
        if isinstance(self.image, Hit):
            return {"image": f"id:{self.image.id}", **payload}
        return {"image": shown(fspath(self.image)), **payload}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Query:
    """What to look for.

    terms: what the pictures look like, at most 64; without one, all pictures that hold the
    conditions are listed. where: conditions that all hold, as text or as trees
    (`search.querying.conditions`). k: hits at most, 1 to 10000. min_score: cosine below which there
    are no hits. model: whose vectors are compared, by name or fingerprint, of those that the
    library answers with; None for the library's own. sort: the order of the hits, which are the
    best ones in any order: a key of `records.SORT_KEYS`, with `-` for the reverse. None is best
    first, and newest first without terms. collapse: fold copies of a hit into it. kind:
    `identical` for pictures with the pixels
    of a picture of the query; `copy` for edited ones too, which are verified; `similar` for all
    that are verified, with their kind. offset: hits to leave out before the first. hidden: hidden
    pictures are found too. verify: compare the best hits with the pictures of the query point by
    point, look for other pictures that share points with them, and order the hits by what that
    shows. expand: nearest pictures of the library that are added to the query before it is
    answered, 0 to 100 (`search.querying.expansion`); scores are cosines with the sum then. 0 is the
    plain query. restore: brighten the dark pictures of the query and denoise the noisy ones before
    they are embedded (`search.generation.restoration`). mask: with restore, a picture of the size
    of the query's only picture; that is painted over where the mask is white. fuse: other models
    that the library answers with, at most 4, by name or fingerprint -> weight, above 0 and at most
    10. The pictures of the query are compared under them too, without `expand`, and a score is the
    weighted mean of the cosines, with weight 1 for `model`. A picture without a vector of such a
    model is compared under the others; one without a vector of `model` is not found.
    """

    terms: tuple[Term, ...]
    k: int = 10
    min_score: float | None = None
    model: str | None = None
    where: tuple[str | Condition, ...] = ()
    sort: str | None = None
    collapse: bool = False
    kind: Kind | None = None
    offset: int = 0
    hidden: bool = False
    verify: bool = False
    expand: int = 0
    restore: bool = False
    mask: ImageSource | None = None
    fuse: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.terms and not self.where:
            raise QueryError("a query needs at least one picture, text or condition")
        if len(self.terms) > MAX_TERMS:
            raise QueryError(
                f"the query has {len(self.terms)} terms (pictures, texts and vectors), and "
                f"{MAX_TERMS} is the most; leave some out"
            )
        if self.sort is not None and Sort.parse(self.sort).key == "score" and not self.terms:
            raise QueryError("sort by score needs a picture or a text; give another sort")
        if self.kind is not None and self.kind not in KINDS:
            raise QueryError(f"kind {self.kind}: give one of {', '.join(KINDS)}")
        if self.kind is not None and not self.has_picture:
            raise QueryError(f"kind {self.kind} needs a picture; give one")
        if self.verify and not self.has_picture:
            raise QueryError("verify needs a picture to compare with; give one")
        if not 0 <= self.expand <= MAX_EXPAND:
            raise QueryError(f"expand is {self.expand}; give 0 to {MAX_EXPAND} pictures")
        if self.expand and not self.terms:
            raise QueryError("expand needs a picture or a text; leave it out")
        if self.restore and not self.has_picture:
            raise QueryError("restore needs a picture to restore; give one, or leave it out")
        if self.restore and self.kind == "identical":
            raise QueryError(
                "kind identical compares pixels, which restore changes; leave one of them out"
            )
        if self.mask is not None and not self.restore:
            raise QueryError("a mask says what to paint over; give restore with it")
        if self.mask is not None and sum(term.is_searched_for for term in self.terms) != 1:
            raise QueryError("a mask goes with one picture to search for; give one")
        if not self.terms and self.min_score is not None:
            raise QueryError("min_score needs a picture or a text; leave it out")
        if not 1 <= self.k <= MAX_K:
            raise QueryError(f"k is {self.k}; give 1 to {MAX_K}")
        if not 0 <= self.offset <= MAX_K - self.k:
            raise QueryError(f"offset is {self.offset}; with k it is at most {MAX_K}")
        if self.min_score is not None and not -1 <= self.min_score <= 1:
            raise QueryError(f"min_score is {self.min_score}; give a cosine from -1 to 1")
        if self.fuse and not self.has_picture:
            raise QueryError("fuse compares pictures under other models; give a picture")
        if len(self.fuse) > MAX_FUSED:
            raise QueryError(f"fuse names {len(self.fuse)} models; give at most {MAX_FUSED}")
        if not all(0 < weight <= MAX_WEIGHT for weight in self.fuse.values()):
            raise QueryError(
                f"fuse {dict(self.fuse)}: give weights above 0, at most {MAX_WEIGHT:g}"
            )

    @property
    def has_picture(self) -> bool:
        """Whether a picture is searched for."""
        return any(term.is_searched_for for term in self.terms)

    @property
    def is_stored(self) -> bool:
        """Whether the vectors of all terms are stored or given, so that the search waits neither
        for a decoder nor for the model."""
        works = self.verify or self.kind or self.restore
        return not (works or any(one.must_be_embedded for one in self.terms))

    @property
    def verifies(self) -> bool:
        """Whether hits are compared with the pictures of the query."""
        return self.verify or self.kind in ("copy", "similar")

    @classmethod
    def of(
        cls,
        image: ImageSource | Sequence[ImageSource] | None = None,
        *,
        text: str | Sequence[str] | None = None,
        vector: Sequence[float] | None = None,
        crop: Crop | Sequence[float | str] | None = None,
        k: int = 10,
        min_score: float | None = None,
        model: str | None = None,
        where: str | Condition | Sequence[str | Condition] = (),
        sort: str | None = None,
        collapse: bool = False,
        kind: Kind | None = None,
        offset: int = 0,
        hidden: bool = False,
        line: str | None = None,
        verify: bool = False,
        expand: int = 0,
        restore: bool = False,
        mask: ImageSource | None = None,
        fuse: Mapping[str, float] | None = None,
    ) -> Query:
        """A query of pictures and texts, one or several, which add up; a crop belongs to the only
        picture. line: more terms and conditions, see `search.querying.line`; it may name files."""
        if image is None:
            images: list[ImageSource] = []
        elif isinstance(image, Sequence) and not isinstance(image, str | bytes):
            images = list(image)
        else:
            images = [image]
        if crop is not None and len(images) != 1:
            raise QueryError("a crop goes with one picture; build a Query of Terms for several")
        box = crop if isinstance(crop, Crop) or crop is None else parse_crop(crop)
        terms = [Term(image=one, crop=box) for one in images]
        terms += [Term(text=one) for one in ([text] if isinstance(text, str) else text or ())]
        if vector is not None:
            terms.append(Term(vector=tuple(float(v) for v in vector)))
        more_terms, conditions = read_line(line, files=True)
        conditions = (*list_conditions(where), *conditions)
        more = (conditions, sort, collapse, kind, offset, hidden, verify, expand, restore, mask)
        return cls((*terms, *more_terms), k, min_score, model, *more, dict(fuse or {}))

    @classmethod
    def from_json(
        cls,
        payload: str | bytes | dict[str, Any],
        files: Sequence[bytes] = (),
        mask: bytes | None = None,
    ) -> Query:
        """Parse a query strictly. payload: JSON text or object. files: uploads for `image: N`.
        mask: the uploaded one.

        Without `terms`, each file is a term. A path is no image here: who sends JSON may not be
        who owns the files. Raises FieldError for a wrong shape and QueryError for what cannot be
        answered.
        """
        request = QueryJson.read(payload)
        terms = request.terms
        if terms is None and (request.line is None or files):
            terms = [TermJson.model_validate({"image": i}) for i in range(len(files))]
        more_terms, conditions = read_line(request.line, files=False)
        parsed = (*(term.term(files) for term in terms or ()), *more_terms)
        if unused := set(range(len(files))) - {term.image for term in terms or ()}:
            raise QueryError(f"no term of the query names file {min(unused)}; give it one")
        if sum(term.address is not None for term in parsed) > MAX_ADDRESSES:
            raise QueryError(f"more than {MAX_ADDRESSES} URLs in one query; save the pictures")
        conditions = (*request.where, *conditions)
        more = (conditions, request.sort, request.collapse, request.kind, request.offset)
        last = (request.hidden, request.verify, request.expand, request.restore, mask)
        return cls(parsed, request.k, request.min_score, request.model, *more, *last, request.fuse)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of the query, the same in every interface."""
        terms, place = [], 0
        for term in self.terms:
            terms.append(term.to_json(place))
            place += has_no_name(term.image)
        document = {"terms": terms, "k": self.k, "min_score": self.min_score}
        optional = {
            "model": self.model,
            "where": [shown(str(one)) for one in self.where],
            "sort": self.sort,
            "collapse": self.collapse,
            "kind": self.kind,
            "offset": self.offset,
            "hidden": self.hidden,
            "verify": self.verify,
            "expand": self.expand,
            "restore": self.restore,
            "fuse": dict(self.fuse),
        }
        return document | {name: value for name, value in optional.items() if value}


def list_conditions(
    where: str | Condition | Sequence[str | Condition],
) -> tuple[str | Condition, ...]:
    """Return conditions, one or several, as a tuple."""
    if isinstance(where, str) or not isinstance(where, Sequence):
        return (where,)
    return tuple(where)


def read_line(
    line: str | None, files: bool
) -> tuple[tuple[Term, ...], tuple[str | Condition, ...]]:
    """Return the terms and the conditions of a query on one line; none for None.

    files: whether a term may name a file of this machine. Raises QueryError.
    """
    if line is None:
        return (), ()
    from search.querying.line import parse_line  # the grammar is slow to import, and few need it

    parsed = parse_line(line, files)
    return parsed.terms, parsed.where


def _reject_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError("a text of a query holds something that is no character") from None


def parse_crop(parts: str | Sequence[float | str]) -> Crop:
    """`X,Y,W,H` or four values; each is pixels, or a share such as `25%`.

    Raises QueryError for anything else.
    """
    values_text = parts.split(",") if isinstance(parts, str) else list(parts)
    values, shares = [], []
    try:
        for part in values_text:
            text = str(part).strip()
            shares.append(text.endswith("%"))
            values.append(float(text.rstrip("%")) / (100 if shares[-1] else 1))
        x, y, width, height = values
    except ValueError:
        raise QueryError(
            f"crop {parts!r}: give X,Y,W,H in pixels of the upright picture, or each as a share "
            "like 25%"
        ) from None
    if not all(map(math.isfinite, values)) or x < 0 or y < 0 or width <= 0 or height <= 0:
        raise QueryError(f"crop {parts!r}: X and Y begin at 0, W and H are above 0")
    return Crop(x, y, width, height, (shares[0], shares[1], shares[2], shares[3]))


class TermJson(BaseModel):
    """One part of a query: an image, a text or a vector, with its weight."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    image: Annotated[int, Field(ge=0)] | str | None = Field(
        None, description="An uploaded file by its place (0 is the first), `id:ID`, or a URL."
    )
    text: str | None = Field(
        None, description="What is to be seen; `/api/v1/words` lists the words of `mini`."
    )
    vector: list[float] | None = Field(
        None, max_length=65536, description="Under the library's model; any length but zero."
    )
    weight: float = Field(1.0, description="Negative to search away from it; not 0.")
    crop: Annotated[list[float | str], Field(min_length=4, max_length=4)] | None = Field(
        None, description="x, y, w, h: pixels of the upright picture, or shares like `25%`."
    )

    def term(self, files: Sequence[bytes]) -> Term:
        """Return the term. files: uploads for `image: N`. Raises QueryError."""
        image: ImageSource | None = None
        if isinstance(self.image, int):
            if self.image >= len(files):
                raise QueryError(
                    f"image {self.image}: there are {len(files)} uploaded files; 0 is the first"
                )
            image = files[self.image]
        elif self.image is not None:
            image = self.image if self.image.startswith("id:") else normalize_url(self.image)
            if image is None:  # it would be a path
                raise QueryError(
                    f"image {self.image[:100]!r}: give the number of an uploaded file, `id:ID` "
                    "or a URL"
                )
        crop = parse_crop(self.crop) if self.crop is not None else None
        vector = tuple(self.vector) if self.vector is not None else None
        return Term(image, vector, self.weight, crop, self.text)


class QueryJson(BaseModel):
    """A query as every interface spells it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    terms: Annotated[list[TermJson], Field(json_schema_extra={"maxItems": MAX_TERMS})] | None = (
        Field(None, description="They add up. Without it, each uploaded file is one.")
    )
    line: Annotated[str, Field(max_length=4096)] | None = Field(
        None,
        description="More terms and conditions on one line, such as `2:beach - people date:2024`.",
    )
    where: Annotated[list[str], Field(max_length=MAX_TERMS)] = Field(
        [], description="Conditions that all hold, such as `type=jpeg and width>=1000`."
    )
    k: int = Field(10, description=f"How many pictures, 1 to {MAX_K}.")
    min_score: float | None = Field(None, description="Cosine below which none are given.")
    model: Annotated[str, Field(max_length=MAX_TEXT)] | None = Field(
        None,
        description="Whose vectors are compared: a name or fingerprint of `spaces` in the status. "
        "Without it, the library's own model.",
    )
    kind: Literal["identical", "copy", "similar"] | None = Field(
        None,
        description="`identical`: only pictures with the pixels of a picture of the query; `copy`: "
        "edited ones too; `similar`: all, with the kind of each. The last two verify.",
    )
    collapse: bool = Field(False, description="Fold copies of a hit into it; `copies` has ids.")
    sort: str | None = Field(
        None,
        max_length=100,
        description=f"{', '.join(SORT_KEYS)}; `-` before it for the reverse order.",
    )
    offset: int = Field(0, description="Hits to leave out before the first.")
    hidden: bool = Field(False, description="Find hidden pictures too.")
    expand: int = Field(
        0,
        description=f"Nearest pictures of the library that are added to the query, 0 to "
        f"{MAX_EXPAND}. Scores are cosines with the sum.",
    )
    restore: bool = Field(
        False,
        description="Brighten the dark pictures of the query, and remove the noise of noisy ones; "
        "`query.restored` of the answer says what was done. An uploaded file `mask` also paints "
        "over the parts of the picture where the mask is white.",
    )
    fuse: dict[str, float] = Field(
        {},
        max_length=MAX_FUSED,
        description="Other models of `spaces` in the status and their weights, above 0 and at "
        f"most {MAX_WEIGHT:g}: the pictures of the query are compared under them too, and scores "
        "are weighted means.",
    )
    verify: bool = Field(
        False,
        description="Compare the best hits with the pictures of the query point by point, find "
        "others that share points with them, and order the hits by what that shows.",
    )

    @classmethod
    def read(cls, payload: str | bytes | dict[str, Any]) -> QueryJson:
        """Parse JSON. Raises QueryError for invalid JSON, and FieldError for wrong fields."""
        if isinstance(payload, str | bytes):
            try:
                payload = json.loads(payload)
            except (ValueError, RecursionError) as error:
                raise QueryError(f"the query is no JSON: {error}") from error
        try:
            return cls.model_validate(payload)
        except ValidationError as error:
            raise FieldError(
                [
                    (".".join(map(str, one["loc"])) or "query", one["msg"])
                    for one in error.errors(include_url=False, include_input=False)
                ]
            ) from error


def combine(vectors: np.ndarray[Any, Any], weights: Sequence[float]) -> np.ndarray[Any, Any]:
    """(n, dim) unit vectors, weighted and added, as one unit vector (dim,) float32.

    Raises QueryError when they cancel out.
    """
    import numpy as np  # slow to import, and a command that asks a server combines nothing

    shares = np.asarray(weights, np.float64)
    total = (shares / np.abs(shares).max()) @ np.asarray(vectors, np.float64)
    norm = float(np.linalg.norm(total))
    if norm < 1e-6:
        raise QueryError("the terms of the query cancel out; change their weights")
    unit: np.ndarray[Any, Any] = (total / norm).astype(np.float32)
    return unit
