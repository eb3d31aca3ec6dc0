"""Shapes of requests and answers, for OpenAPI and for checking requests.

An answer that is one of `search.records` has that record's shape. Here are the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.api.problems import CODES
from search.querying.query import QueryJson
from search.records.annotations import MOST_CAPTION, MOST_TAG, Album, Change, Origin
from search.records.browsing import FolderCount, Month, PlaceGroup
from search.records.captions import CaptionReport
from search.records.duplicates import CompareReport, FileOfPicture, Replacement
from search.records.hits import Hits
from search.records.indexing import IndexReport
from search.records.pictures import Label, Metadata
from search.records.saved import SavedSearch
from search.records.sources import By
from search.records.texts import TextReport
from search.records.tokens import Role
from search.records.variants import AugmentReport, GeneratorInfo, VariantSource
from search.records.words import Understood

MOST_CHANGED = 10_000
"""Most pictures of a request."""
CHANGES = {one.name for one in fields(Change)}

Where = Annotated[
    list[str],
    Query(max_length=64, description="Conditions that all hold, such as `type=jpeg`; repeatable."),
]

# answers -----------------------------------------------------------------------------------------


class FieldProblemJson(BaseModel):
    """A field of a request that is wrong, and why."""

    field: str
    message: str


class ProblemJson(BaseModel):
    """An error, as RFC 9457 defines it."""

    type: str
    title: str
    status: int
    code: str = Field(
        description="Stable name of the problem, for programs.",
        json_schema_extra={"enum": [*CODES]},
    )
    detail: str
    errors: list[FieldProblemJson] | None = Field(None, description="With 422: the wrong fields.")
    job: str | None = Field(None, description="With 429: the job that is at the folder.")


@dataclass(frozen=True)
class UnderstoodJson(Understood):
    """How a text of a query was read. advice: what to do, where there is an `advice_code`."""

    advice: str | None = None


@dataclass(frozen=True)
class AnswerJson(Hits):
    """The answer to a query: hits, best first, and the milliseconds of each stage.

    query: as it was understood. low_content: a picture of the query is blank.
    pages: web pages that URLs of the query led to, and the picture of each that was taken. alike:
    how many hits come before the first that is less alike; null if none stands out.
    """

    understood: tuple[UnderstoodJson, ...] = ()
    alike: int | None = None


@dataclass(frozen=True)
class SavedAnswerJson(AnswerJson):
    """The answer of a saved search. newest: what `POST /searches/{name}/seen` takes."""

    newest: int = 0


class SavedSearchesJson(BaseModel):
    """The saved searches, by name."""

    searches: list[SavedSearch]


class SeenJson(BaseModel):
    """A body for `POST /searches/{name}/seen`. newest: of the answer that was seen."""

    model_config = ConfigDict(extra="forbid", strict=True)

    newest: Annotated[int, Field(ge=0, lt=2**63)]


class AlbumNameJson(BaseModel):
    """An album that a picture is in."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ImageJson(Metadata):
    """A picture of the library, and what can be read off it.

    tags: what people and files call it; tag_origins: who gave each. rating: 0 to 5 stars. hidden:
    it is in no list and in no answer, unless hidden pictures are asked for. labels: what the model
    sees in it, most probable first. original_name, source_url: of an upload, the name of its file
    and the URL that it was fetched from. page: a web page that shows it. has_text: whether text was
    read in it; null if it was not read yet. time: of a frame, in seconds from the start of the film
    that its file is; null for other pictures.
    """

    id: str
    path: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    tag_origins: dict[str, Origin]
    favourite: bool
    rating: int | None
    rating_origin: Origin | None
    hidden: bool
    caption: str | None
    caption_origin: Origin | None
    albums: list[AlbumNameJson]
    labels: tuple[Label, ...]
    low_content: bool
    original_name: str | None
    source_url: str | None
    page: str | None
    has_text: bool | None
    time: float | None


class MomentJson(BaseModel):
    """A frame of a film. id: of its picture. time: in seconds from the start."""

    id: str
    time: float


class FramesJson(BaseModel):
    """The frames of a film, in the order of time. duration: in seconds, null if not known."""

    path: str
    duration: float | None
    frames: list[MomentJson]


class MentionJson(BaseModel):
    """A page that shows the picture. text: what it says of it."""

    page: str
    title: str
    text: str


class DownloadJson(BaseModel):
    """Where a browser saved a file from. by: what keeps it, such as `user.xdg.origin.url`."""

    path: str
    url: str | None
    referrer: str | None
    by: str


class CreditJson(BaseModel):
    """What a file says of its origin. by: the file itself, or its sidecar."""

    name: str
    value: str
    by: By


class ContentCredentialsJson(BaseModel):
    """A C2PA manifest. verified: always false, since signatures are not checked."""

    generator: str | None
    title: str | None
    format: str | None
    actions: list[str]
    verified: bool


class SearchEngineJson(BaseModel):
    """A public search engine, and the address that searches for the picture by its public URL."""

    name: str
    url: str


class SourcesJson(BaseModel):
    """Where a picture comes from.

    public_url: that everybody may fetch, as far as can be told. engines: none without one; hint:
    what to do then. problem: why its file was not read.
    """

    id: str
    paths: list[str]
    pages: list[MentionJson]
    downloads: list[DownloadJson]
    credits: list[CreditJson]
    content_credentials: ContentCredentialsJson | None
    source_url: str | None
    original_name: str | None
    camera: str | None
    public_url: str | None
    engines: list[SearchEngineJson]
    hint: str | None
    problem: str | None


class TextLineJson(BaseModel):
    """A line of text. box: x and y of its four corners, clockwise from the upper left one of the
    text, as shares of the width and height of the upright picture."""

    text: str
    confidence: float
    box: list[list[float]]


class TextJson(BaseModel):
    """What is written in a picture, from top to bottom.

    model: fingerprint of what read it; null if it was not read yet. failed: why it could not be
    read, as a code of skipped files.
    """

    id: str
    lines: list[TextLineJson]
    model: str | None
    failed: str | None


class PageJson(BaseModel):
    """A page of the library's pictures. next: the cursor of the page after it."""

    page: int
    pages: int
    total: int
    next: str | None
    images: list[ImageJson]


class TagJson(BaseModel):
    """A tag of the library. count: how many pictures have it; origins: the same by origin."""

    tag: str
    count: int
    origins: dict[Origin, int]


class TagsJson(BaseModel):
    """Tags, the most frequent first."""

    tags: list[TagJson]


class RenamedJson(BaseModel):
    """How many pictures had a tag that was renamed."""

    pictures: int


class AlbumsJson(BaseModel):
    """The albums, by name."""

    albums: list[Album]


class CollectionJson(BaseModel):
    """Indexed folders under a name. files: in them; pictures: those that lists show."""

    name: str
    folders: list[str]
    files: int
    pictures: int


class CollectionsJson(BaseModel):
    """The collections, by name."""

    collections: list[CollectionJson]


class UndoJson(BaseModel):
    """A body for `POST /images/batch` that brings back what was before. A change has no field that
    changes nothing."""

    changes: list[dict[str, Any]]


class ChangedJson(BaseModel):
    """How many pictures a change changed, and what undoes it."""

    changed: int
    undo: UndoJson


class SkippedJson(BaseModel):
    """A picture that could not be read, and why."""

    path: str
    reason: str
    code: str


class RemovedJson(BaseModel):
    """What was moved to the bin. removed: ids of the pictures whose files were all moved; files:
    how many. undo: what `POST /images/restore` takes; null if the bin of this system does not tell
    where files are."""

    removed: list[str]
    files: int
    failed: list[SkippedJson]
    undo: str | None


class RestoredJson(BaseModel):
    """Pictures that came back from the bin, and the files that did not."""

    restored: list[str]
    failed: list[SkippedJson]


class MonthsJson(BaseModel):
    """The months in which pictures were taken, newest first."""

    months: list[Month]


class PlacesJson(BaseModel):
    """Groups of pictures by place, largest first."""

    groups: list[PlaceGroup]


class FoldersJson(BaseModel):
    """The folders in a folder, by name."""

    folders: list[FolderCount]


class StartedJson(BaseModel):
    """The id of the job that was started."""

    job: str


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
    source: VariantSource | None


class VariantsJson(BaseModel):
    """Variants, and the seconds that they took."""

    variants: list[VariantJson]
    seconds: float


class RestorationJson(BaseModel):
    """noise: standard deviation of white noise, 0 to 255. blur: 0 (sharp) to 1. light: 99th
    percentile of the brightness, 0 to 255. short: pixels of the short side. jpeg: strength of the
    borders of JPEG blocks, from 1. gain: factor of the brightness. applied: what was done, in
    order; empty if the picture was left as it is."""

    noise: float
    blur: float
    light: float
    short: int
    jpeg: float
    gain: float
    applied: list[Literal["brighten", "denoise", "paint"]]


class RestoredPictureJson(BaseModel):
    """png: the restored picture in base64; null if it was left as it is, or for an estimate. width,
    height: pixels of the upright picture that it was made of, before a crop. paints: whether the
    server can paint over parts under a mask."""

    restored: RestorationJson
    png: str | None
    width: int
    height: int
    paints: bool


class VariantLimitsJson(BaseModel):
    """n: most variants of a request. sigma: least and most. regimes: the sigma of each. generators:
    what makes them, the default first."""

    n: int
    sigma: list[float] = Field(min_length=2, max_length=2)
    regimes: dict[str, float]
    generators: list[GeneratorInfo]


class ProgressJson(BaseModel):
    """Progress of a job: `done` of `total` files, or denoising steps of variants. pictures: small
    previews as `data:` URLs."""

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
    report: (
        IndexReport
        | AugmentReport
        | TextReport
        | CaptionReport
        | CompareReport
        | VariantsJson
        | None
    ) = Field(description="As `lookalike index --json` prints it, or as `POST /variants` answers.")
    error: str | None = Field(description="Why it failed.")
    code: str | None = Field(description="The code of the problem, if it failed.")


class JobsJson(BaseModel):
    """The jobs, newest first."""

    jobs: list[JobJson]


class StateJson(BaseModel):
    """Whether the server works."""

    status: str


class GrantJson(BaseModel):
    """What a token may do. collections: indexed folders that it is for; null for the whole
    library. has_login: whether the server asks for a token."""

    role: Role
    collections: list[str] | None
    has_login: bool


class FolderEntryJson(BaseModel):
    """A folder of this machine. pictures: directly in it, by their names; has_more: it has over
    1,000 entries, of which these are the first. is_hidden: a sync of the folder around it leaves it
    out, since its name begins with a dot; is_left_out: since it is no one's pictures. is_indexed:
    it is in the library, or in a folder that is."""

    name: str
    path: str
    pictures: int
    has_more: bool
    is_hidden: bool
    is_left_out: bool
    is_indexed: bool


class FolderJson(BaseModel):
    """A folder and its subfolders. path: empty for the list of folders that may be indexed. parent:
    what to list one step up; null for that list. has_more: it has over 1,000 subfolders."""

    path: str
    parent: str | None
    pictures: int
    folders: list[FolderEntryJson]
    has_more: bool


class AllowedJson(BaseModel):
    """A folder that is allowed now."""

    path: str


class LeftOutFileJson(BaseModel):
    """A file that is not read, and its kind."""

    path: str
    kind: str


class LeftOutJson(BaseModel):
    """Files that cannot be found by search. has_more: there are more than are listed."""

    skipped: list[SkippedJson]
    left_out: list[LeftOutFileJson]
    has_more: bool


class DesktopJson(BaseModel):
    """shows_files: whether the server can show a file in a file manager."""

    shows_files: bool


# requests ----------------------------------------------------------------------------------------


class AddressJson(BaseModel):
    """The URL of a picture."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str = Field(min_length=1, max_length=4096, description="Of the public internet.")


class KeptOptionsJson(BaseModel):
    """A picture to keep: by its `url`, unless its file comes with this."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: str | None = Field(
        None, min_length=1, max_length=4096, description="Of the public internet."
    )
    source: str | None = Field(
        None, min_length=1, max_length=4096, description="URL of the page that shows the picture."
    )
    name: str | None = Field(
        None, min_length=1, max_length=1000, description="Of the file; that of the upload or URL."
    )


Tag = Annotated[str, Field(min_length=1, max_length=MOST_TAG)]


class MarksJson(BaseModel):
    """Changes of one picture. A field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    favourite: bool = False
    rating: int | None = Field(
        None, ge=0, le=5, description="Stars; null for those that the file has."
    )
    hidden: bool = False
    caption: Annotated[str, Field(max_length=MOST_CAPTION)] | None = Field(
        None, description="null for that of the file."
    )

    def change(self) -> Change:
        """Return the change of the fields that were sent."""
        sent: dict[str, Any] = {n: getattr(self, n) for n in self.model_fields_set & CHANGES}
        for name in sent.keys() & {"add_tags", "remove_tags"}:
            sent[name] = tuple(sent[name])
        return Change(**sent)


class ChangeJson(MarksJson):
    """Changes of some pictures. A field that is left out stays as it is."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field(max_length=MOST_CHANGED)
    add_tags: list[Tag] = Field([], max_length=100)
    remove_tags: list[Tag] = Field([], max_length=100)
    album: Tag | None = Field(
        None, description="Id or name of an album to add them to; it is made if there is none."
    )
    remove_album: Tag | None = Field(None, description="Id or name, to take them out of.")


class BatchJson(ChangeJson):
    """Changes of some pictures, or several such changes, which are made in their order."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field([], max_length=MOST_CHANGED)
    changes: list[ChangeJson] = Field([], max_length=MOST_CHANGED)


class IdsJson(BaseModel):
    """Ids of pictures, or the beginnings of ids."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MOST_CHANGED)


class TableJson(IdsJson):
    """Pictures of a table."""

    scores: list[float | None] | None = Field(
        None,
        max_length=MOST_CHANGED,
        description="Of an answer, one for each id: then the table has the column `score`. In a "
        "form, the same as JSON.",
    )

    @model_validator(mode="after")
    def _check_scores(self) -> TableJson:
        if self.scores is not None and len(self.scores) != len(self.ids):
            raise ValueError(f"{len(self.scores)} scores for {len(self.ids)} ids; give one each")
        return self


class RemovalJson(BaseModel):
    """A removal to undo."""

    model_config = ConfigDict(extra="forbid", strict=True)

    undo: str = Field(min_length=1, max_length=64)


class FileJson(BaseModel):
    """A file of a picture, as the list of duplicates names it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=6, max_length=64)
    path: str = Field(min_length=1, max_length=8192)

    def file(self) -> FileOfPicture:
        """Return the file."""
        return FileOfPicture(self.id, self.path)


class ReplacementJson(BaseModel):
    """Files to move to the bin, and the one that is kept in their place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    keep: FileJson
    remove: list[FileJson] = Field(min_length=1, max_length=MOST_CHANGED)

    def replacement(self) -> Replacement:
        """Return the replacement."""
        return Replacement(self.keep.file(), tuple(one.file() for one in self.remove))


class DuplicatesRemovalJson(BaseModel):
    """Duplicates to remove: by `groups`, or all of a `kind`, with the options of the list."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    groups: list[ReplacementJson] | None = Field(None, min_length=1, max_length=MOST_CHANGED)
    kind: Literal["exact", "copy", "similar"] | None = None
    min_score: float | None = Field(None, description="Least cosine of any two of a group.")
    min_probability: float | None = Field(
        None,
        description="Least probability, 0 to 1, that one of a group is a copy of another; instead "
        "of `min_score`.",
    )
    where: list[str] = Field([], max_length=64)
    folder: str | None = Field(None, max_length=4096)
    between: list[Annotated[str, Field(max_length=4096)]] | None = Field(
        None, min_length=2, max_length=2
    )
    keep: str | None = Field(None, max_length=4096)

    @model_validator(mode="after")
    def _require_one(self) -> DuplicatesRemovalJson:
        if (self.groups is None) == (self.kind is None):
            raise ValueError("give groups, or a kind")
        if self.groups is not None and self.model_fields_set != {"groups"}:
            raise ValueError("groups stand alone; leave the other fields out")
        return self

    def options(self) -> dict[str, Any]:
        """Return the options of the list."""
        names = "min_score min_probability where folder between keep".split()
        return {name: getattr(self, name) for name in names}


class RenameJson(BaseModel):
    """A new name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Tag


class NewAlbumJson(RenameJson):
    """An album, and the ids of its pictures."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field([], max_length=MOST_CHANGED)


class CollectionFoldersJson(BaseModel):
    """Folders that a collection is to have, beside those that it has."""

    model_config = ConfigDict(extra="forbid", strict=True)

    folders: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        min_length=1, max_length=1000, description="As the status lists them."
    )


class IndexJson(BaseModel):
    """A folder to index."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute, from `~`, s3://BUCKET/PREFIX, or https://SITE/ of your own.",
    )
    exclude: list[Annotated[str, Field(max_length=1000)]] | None = Field(
        None,
        max_length=100,
        description="Globs of files to leave out, kept with the folder; null keeps those it has.",
    )
    pages: int | None = Field(
        None, ge=1, description="Of a web site: most pages; null for the setting `site_pages`."
    )
    delay: float | None = Field(
        None,
        ge=0,
        le=3600,
        description="Of a web site: seconds between two requests; null for `site_delay`.",
    )


class FolderPathJson(BaseModel):
    """A folder."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(
        min_length=1, max_length=4096, description="Absolute, from `~`, or https://SITE/."
    )


class FilePathJson(BaseModel):
    """A file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(
        min_length=1, max_length=4096, description="Absolute; as `GET /folders/left-out` lists it."
    )


class FolderOptionsJson(BaseModel):
    """When an indexed folder is synced by itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(min_length=1, max_length=4096, description="As the status lists it.")
    sync_hours: int | None = Field(
        ge=0, le=8760, description="Every so many hours; 0 for never, null as it changes."
    )


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
        None, description="Noise level instead of a regime: more noise, less likeness."
    )
    start: Literal["picture", "neighbours"] = Field(
        "picture",
        alias="from",
        description="The picture itself, or the library's nearest other pictures: variants of the "
        "concept.",
    )
    guidance: float | None = Field(None, description="How strictly to follow the picture.")
    steps: int | None = Field(None, description="Of denoising.")
    seed: int = Field(0, description="Of the first variant; the next ones count up from it.")
    size: int = Field(256, description="Pixels of the long side.")
    generator: str | None = Field(
        None, max_length=500, description="One that `GET /variants` lists; null for the first."
    )
    wait: bool = Field(True, description="False for a job instead of the answer.")


class RestoreOptionsJson(BaseModel):
    """Options of `POST /restored`."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    id: str | None = Field(None, max_length=100, description="Of a picture in the library.")
    url: str | None = Field(None, max_length=4096, description="Of the public internet.")
    crop: Annotated[list[float | str], Field(min_length=4, max_length=4)] | None = Field(
        None, description="x, y, w, h: pixels of the upright picture, or shares like `25%`."
    )
    estimate: bool = Field(False, description="Say what would be done, and make no picture.")


class AugmentJson(BaseModel):
    """A training set to make."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute, from `~`, s3://BUCKET/PREFIX, or https://SITE/ of your own.",
    )
    output: str = Field(min_length=1, max_length=4096, description="Where it is written.")
    n: int = Field(4, description="Variants of each picture.")
    regime: Literal["near", "same", "concept"] = Field("near", description="As for variants.")
    seed: int = 0
    generator: str | None = Field(None, max_length=500, description="As for variants.")


class CaptionsJson(BaseModel):
    """Pictures that a model is to caption."""

    model_config = ConfigDict(extra="forbid", strict=True)

    where: list[str] = Field([], max_length=64, description="Conditions that all hold.")
    model: str | None = Field(
        None,
        max_length=200,
        pattern=r"^[\w-]+(:[\w-]+)?$",
        description="A CoCa model of open_clip, as `ARCH` or `ARCH:TAG`; null for that of the "
        "setting `caption_model`, which alone may name a file.",
    )


class FacetsJson(BaseModel):
    """What to count."""

    model_config = ConfigDict(extra="forbid", strict=True)

    where: list[str] = Field([], max_length=64, description="Conditions that all hold.")
    fields: list[str] = Field([], max_length=64, description="Those to count; all by default.")
    ids: list[str] | None = Field(
        None, max_length=10_000, description="Count among these pictures, such as an answer's."
    )


class LoginJson(BaseModel):
    """What the page sends to get its cookie."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(max_length=4096)


class LinkJson(BaseModel):
    """A one-time link. path: what follows the server's address. urls: the same link for other
    machines of the network; none for a server of this machine alone. qr: an SVG of the first of
    them as a QR code, or null."""

    path: str
    urls: list[str]
    qr: str | None


class AnnotatedPictureJson(BaseModel):
    """What people say of a picture. paths: of its files, by which it is found if its id is not
    known."""

    id: str
    paths: list[str]
    tags: list[str]
    favourite: bool
    rating: int | None
    hidden: bool
    caption: str | None
    albums: list[AlbumNameJson]


class AnnotationsJson(BaseModel):
    """What people say of all pictures of a library, as `lookalike tag export` writes it."""

    version: int
    pictures: list[AnnotatedPictureJson]


class ImportedJson(BaseModel):
    """pictures: how many were changed. unknown: paths of those that the library does not have."""

    pictures: int
    unknown: list[str]


# OpenAPI -----------------------------------------------------------------------------------------

REFERENCE = "#/components/schemas/{model}"
BY_REFERENCE: tuple[type[BaseModel], ...] = (
    ProblemJson,
    QueryJson,
    VariantOptionsJson,
    RestoreOptionsJson,
    AddressJson,
    KeptOptionsJson,
    TableJson,
)
"""Shapes that no route's signature has, but `problems` and `multipart` refer to."""
STATUSES = {
    400: "What was wrong with the request",
    401: "No token",
    403: "Not allowed",
    404: "Not there",
    408: "Too slow",
    413: "Too large",
    415: "Not a picture",
    416: "No such part",
    422: "Wrong fields",
    429: "Too many",
    503: "Busy; Retry-After says for how long",
}


def complete_schemas(document: dict[str, Any]) -> None:
    """Add the shapes `BY_REFERENCE` to an OpenAPI document, and tell that answers are complete.

    FastAPI describes the errors of parameters in a shape of its own, which no answer has.
    """
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in content:
                del operation["responses"]["422"]
    for schema in schemas.values():
        if schema.get("additionalProperties") is not False:  # an answer, with all of its fields
            schema["required"] = list(schema["properties"])
    for shape in BY_REFERENCE:
        schema = shape.model_json_schema(ref_template=REFERENCE)
        schemas |= schema.pop("$defs", {})
        schemas[shape.__name__] = schema


def _refer(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=shape.__name__)}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for OpenAPI: these, and those that every route has."""
    content = {"application/problem+json": {"schema": _refer(ProblemJson)}}
    return {
        status: {"description": STATUSES[status], "content": content}
        for status in sorted({401, 403, 503, *statuses})
    }


def multipart(
    images: str, json: type[BaseModel], field: str | None = None, with_mask: bool = False
) -> dict[str, Any]:
    """Describe a body for OpenAPI: multipart with `image` files, or JSON alone.

    images: description of the files. field: the name of the multipart field that takes the JSON.
    with_mask: there may be a file `mask`.
    """
    file = {"type": "string", "format": "binary"}
    properties: dict[str, Any] = {
        "image": {"type": "array", "items": file, "description": images},
    }
    if with_mask:
        description = "Of the size of the picture, white where the picture is painted over."
        properties["mask"] = {**file, "description": description}
    form: dict[str, Any] = {"schema": {"type": "object", "properties": properties}}
    if field is not None:
        properties[field] = _refer(json)
        form["encoding"] = {field: {"contentType": "application/json"}}
    content = {"application/json": {"schema": _refer(json)}, "multipart/form-data": form}
    return {"requestBody": {"required": True, "content": content}}


def json_body(shape: type[BaseModel], *others: str) -> dict[str, Any]:
    """Describe a body for OpenAPI that is JSON of a shape. others: media types that have it too."""
    schema = _refer(shape)
    content = {kind: {"schema": schema} for kind in ("application/json", *others)}
    return {"requestBody": {"required": True, "content": content}}


def ids_body(shape: type[IdsJson] = IdsJson) -> dict[str, Any]:
    """Describe a body for OpenAPI: ids of pictures as JSON, or in a form."""
    return json_body(shape, "application/x-www-form-urlencoded")
