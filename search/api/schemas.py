"""What goes over HTTP, for OpenAPI and for checking what comes in."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search.api.problems import CODES


class ProblemJson(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str = Field(
        description="Stable name of the problem, for programs.",
        json_schema_extra={"enum": [*CODES]},
    )
    detail: str
    errors: list[dict[str, str]] | None = Field(None, description="With 422: field and message.")


class HitJson(BaseModel):
    """A picture that was found."""

    id: str
    path: str
    paths: list[str]
    score: float
    kind: str | None
    probability: float | None
    width: int
    height: int
    tags: list[str]
    source: str | None
    time: float | None
    low_content: bool = Field(description="Blank: its score says nothing of likeness.")


class UnderstoodJson(BaseModel):
    """How a text of a query was read."""

    text: str
    words: list[str] = Field(description="The known words in it.")
    names: list[str] = Field(description="Other words that are in names of files or folders.")
    unknown: list[str] = Field(description="Words that are in neither.")
    suggestions: list[str] = Field(description="Known words that are written alike or mean more.")
    advice: str | None = Field(
        description="What to do where a word is unknown, is in no picture, or was never measured."
    )
    advice_code: str | None = Field(
        description="unknown_words, word_in_no_picture or word_not_measured."
    )


class KnownWordJson(BaseModel):
    """A word to search by. precision: share of right pictures among the first ten; null where it
    was not measured."""

    word: str
    also: list[str]
    precision: float | None


class WordsJson(BaseModel):
    """Words of a model. any_words: it takes any, and lists none. total: how many it knows."""

    model: str
    words: list[KnownWordJson]
    total: int
    any_words: bool


class AnswerJson(BaseModel):
    """The answer to a query: hits, best first. low_content: a picture of the query is blank."""

    query: dict[str, Any]
    model: str
    took_ms: dict[str, float]
    understood: list[UnderstoodJson]
    low_content: bool
    hits: list[HitJson]


class LabelJson(BaseModel):
    """What the model sees in a picture. score: its probability."""

    name: str
    score: float


class ImageJson(BaseModel):
    """A picture of the library, and what was read off it."""

    id: str
    path: str
    paths: list[str]
    type: str
    width: int
    height: int
    bytes: int
    taken: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    palette: list[str]
    exif: dict[str, Any]
    tags: list[str] = Field(description="What people call it.")
    labels: list[LabelJson] = Field(description="What the model sees, most probable first.")
    low_content: bool


class AddressJson(BaseModel):
    """A picture that is to be fetched."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(min_length=1, max_length=4096, description="Of the public internet.")


class PageJson(BaseModel):
    """Some of the library's pictures, the last that came first."""

    page: int
    pages: int
    total: int
    images: list[ImageJson]


class RootJson(BaseModel):
    """An indexed folder."""

    path: str
    state: str
    files: int


class StatusJson(BaseModel):
    """The library at a glance."""

    home: str
    model: str | None
    fingerprint: str | None
    pictures: int
    embedded: int
    files: int
    roots: list[RootJson]
    index: dict[str, Any]
    version: str


class IndexJson(BaseModel):
    """A folder to index."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(min_length=1, max_length=4096, description="Absolute, or from `~`.")


class StartedJson(BaseModel):
    """The id of the job that was started."""

    job: str


class VariantOptionsJson(BaseModel):
    """Options of `POST /variants`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    id: str | None = Field(None, max_length=100, description="Of a picture in the library.")
    url: str | None = Field(None, max_length=4096, description="Of the public internet.")
    n: int = Field(4, description="How many.")
    regime: Literal["near", "same", "concept"] | None = Field(
        None, description="Near copies, the same subject (default), or the same concept."
    )
    sigma: float | None = Field(
        None, description="Noise to begin from, in place of a regime; the more the further away."
    )
    start: Literal["picture", "neighbours"] = Field(
        "picture",
        alias="from",
        description="The picture itself, or the library's nearest other pictures: variants of the "
        "concept.",
    )
    guidance: float | None = Field(None, description="How strictly to follow the picture.")
    steps: int | None = Field(None, description="Of denoising.")
    seed: int = Field(0, description="Of the first; those of the others follow.")
    size: int = Field(256, description="Pixels of the long side.")
    wait: bool = Field(True, description="False for a job instead of the answer.")


class VariantSourceJson(BaseModel):
    """The picture of the library that a variant started from."""

    id: str
    path: str


class VariantJson(BaseModel):
    """A variant. similarity: cosine to the query under the library's model. accepted: whether it
    passed the acceptance test; the best rejected ones fill the answer. source: null unless it
    started from a neighbour."""

    id: str
    url: str
    seed: int
    sigma: float
    similarity: float
    accepted: bool
    source: VariantSourceJson | None


class VariantsJson(BaseModel):
    """The answer, and the seconds that it took."""

    variants: list[VariantJson]
    seconds: float


class VariantLimitsJson(BaseModel):
    """n: most variants of a request. sigma: least and most. regimes: the sigma of each."""

    n: int
    sigma: tuple[float, float]
    regimes: dict[str, float]


class AugmentJson(BaseModel):
    """A training set to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(min_length=1, max_length=4096, description="Absolute, or from `~`.")
    output: str = Field(min_length=1, max_length=4096, description="Where it is written.")
    n: int = Field(4, description="Variants of each picture.")
    regime: Literal["near", "same", "concept"] = Field("near", description="As for variants.")
    seed: int = 0


class ProgressJson(BaseModel):
    """A moment of a job: `done` of `total` files, or passes of making variants. pictures: small
    ones on the way, as `data:` URLs."""

    phase: str
    done: int
    total: int
    path: str | None
    pictures: list[str]


class JobJson(BaseModel):
    """A job. created, finished: seconds since 1970."""

    id: str
    kind: str
    path: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    created: float
    finished: float | None
    progress: ProgressJson | None
    report: dict[str, Any] | None = Field(
        description="As `lookalike index --json` prints it, or as `POST /variants` answers."
    )
    error: str | None = Field(description="Why it failed.")
    code: str | None = Field(description="The code of the problem, if it failed.")


class JobsJson(BaseModel):
    """The jobs, the last one first."""

    jobs: list[JobJson]


class LoginJson(BaseModel):
    """What the page sends to get its cookie."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(max_length=4096)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI of the refusals that a route has beside those that all have."""
    content = {"application/problem+json": {"schema": ProblemJson.model_json_schema()}}
    says = {
        400: "What was wrong with the request",
        401: "No token",
        403: "Not allowed",
        404: "Not there",
        408: "Too slow",
        413: "Too large",
        415: "Not a picture",
        422: "Wrong fields",
        429: "Too many",
        503: "Busy; Retry-After says for how long",
    }
    return {
        status: {"description": says[status], "content": content}
        for status in sorted({401, 403, 503, *statuses})
    }


def upload(images: str, alone: type[BaseModel], text: str | None = None) -> dict[str, Any]:
    """OpenAPI of a multipart body with `image` files. images: said of them; alone: the JSON that
    may come instead; text: the name of the field that takes it beside files."""
    fields: dict[str, Any] = {
        "image": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": images,
        }
    }
    schema = alone.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    if text is not None:
        fields[text] = schema
    body: dict[str, Any] = {"application/json": {"schema": schema}}
    body["multipart/form-data"] = {"schema": {"type": "object", "properties": fields}}
    return {"requestBody": {"required": True, "content": body}}
