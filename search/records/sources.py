"""Where a picture comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from search.files import shown

ENGINES = {
    "Google Lens": "https://lens.google.com/uploadbyurl?url=",
    "Bing": "https://www.bing.com/images/search?view=detailv2&iss=sbi&q=imgurl:",
    "Yandex": "https://yandex.com/images/search?rpt=imageview&url=",
    "TinEye": "https://tineye.com/search?url=",
}
"""Public search engines for pictures, and how an address begins that lets them search by a URL."""
NO_PUBLIC_URL = (
    "no public address of this picture is known, and lookalike sends nothing; save the file, open "
    "a search engine for pictures, and drop the file there"
)
By = Literal["file", "sidecar", "browser", "page"]
"""Who says something of the origin of a picture: its file, its sidecar, the browser that saved it,
or a page that shows it."""


class Mention(NamedTuple):
    """A page of a web site that shows a picture. page: its URL. title: of the page. text: what it
    says of the picture, a line for each of alternative text, title and caption."""

    page: str
    title: str = ""
    text: str = ""


@dataclass(frozen=True)
class Download:
    """Where the browser that saved a file says that it got it. path: of the file. url: of the
    picture. referrer: of the page. by: what keeps it, such as `user.xdg.origin.url`."""

    path: str
    url: str | None
    referrer: str | None
    by: str


@dataclass(frozen=True)
class Credit:
    """What a picture says of its origin. name: `creator`, `credit`, `source`, `copyright`,
    `rights_url`, `original_name`, or `derived_from`. by: `file` or `sidecar`."""

    name: str
    value: str
    by: By = "file"


@dataclass(frozen=True)
class ContentCredentials:
    """A C2PA manifest in a picture. Its signatures are not checked, so anybody may have written it.

    generator: the program that made it. title: of the picture. format: media type. actions: what
    was done, such as `c2pa.created`.
    """

    generator: str | None = None
    title: str | None = None
    format: str | None = None
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sources:
    """Where a picture comes from.

    id: of the picture. paths: all its files. pages: of web sites that show it. downloads: by the
    browser that saved a file. credits: in its files. content_credentials: None without a C2PA
    manifest. source_url, original_name: of an upload. camera: of its EXIF. public_url: a URL of it
    that everybody may fetch, as far as can be told; None if none is known. problem: why its file
    was not read; None if it was.
    """

    id: str
    paths: tuple[str, ...]
    pages: tuple[Mention, ...] = ()
    downloads: tuple[Download, ...] = ()
    credits: tuple[Credit, ...] = ()
    content_credentials: ContentCredentials | None = None
    source_url: str | None = None
    original_name: str | None = None
    camera: str | None = None
    public_url: str | None = None
    problem: str | None = None

    @property
    def engines(self) -> dict[str, str]:
        """Addresses at which public engines search for the picture, by name. Nothing is sent before
        somebody opens one; empty without a public URL."""
        if self.public_url is None:
            return {}
        return {name: start + quote(self.public_url, safe="") for name, start in ENGINES.items()}

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, as `/images/{id}/sources` answers."""
        credentials = self.content_credentials
        return {
            "id": self.id,
            "paths": [shown(path) for path in self.paths],
            "pages": [one._asdict() for one in self.pages],
            "downloads": [asdict(one) | {"path": shown(one.path)} for one in self.downloads],
            "credits": [asdict(one) for one in self.credits],
            "content_credentials": credentials
            and asdict(credentials) | {"actions": list(credentials.actions), "verified": False},
            "source_url": self.source_url,
            "original_name": self.original_name,
            "camera": self.camera,
            "public_url": self.public_url,
            "engines": [{"name": name, "url": url} for name, url in self.engines.items()],
            "hint": None if self.engines else NO_PUBLIC_URL,
            "problem": self.problem,
        }
