"""List the pictures of a web site: visit its pages, and ask what has changed.

The pages come from its sitemaps and from links, breadth first. A page that answers 304 (unchanged)
is not parsed again. Sites may have endless pages (calendars, session ids), so the number of pages,
their depth, and the time are limited. What could not be checked stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit, urlunsplit

from search.catalog.sites import StoredAnswer
from search.catalog.writes import CatalogFile
from search.errors import (
    InputError,
    PictureError,
    RemoteDeniedError,
    RemoteError,
    RobotsError,
    SizeError,
)
from search.indexing import kinds
from search.indexing.scan import FolderListing, excluded, normalize_globs
from search.media.descriptions import clean_caption
from search.media.object_urls import is_site_url, join_place, relative_place, relative_url
from search.media.page_content import (
    PAGE_BYTES,
    PageContent,
    ShownPicture,
    join_words,
    parse_page,
)
from search.media.sitemaps import SITEMAP_BYTES, parse_sitemap
from search.media.sites import (
    DENIED,
    GONE,
    SiteAnswer,
    SiteReader,
    Validators,
    check_status,
    number_of,
)
from search.media.urls import parse_url, remove_address
from search.media.web_page import is_web_page
from search.records.annotations import Description
from search.records.indexing import Skip
from search.records.sources import Mention
from search.types import FileEntry

log = logging.getLogger(__name__)

MOST_DEPTH = 20
"""Links from the start of the site to a page."""
MOST_VARIANTS = 500
"""Pages of one path that differ in what is behind `?`."""
MOST_REPEATS, MOST_PARTS, LONGEST = 3, 20, 1000
"""How often a part of a path may be in it, parts of a path, and characters of a URL."""
MOST_WAITING = 5
"""Pages that may wait, as a multiple of those that may be read."""
MOST_SITEMAPS = 200
MOST_PICTURES = 200_000
MOST_MENTIONS = 20  # pages that are kept of a picture
MOST_NOTES = 200  # pages that are named in a report
MOST_DOCUMENTS = 2**28  # characters of all pages that are kept
SESSION = frozenset(
    "phpsessid jsessionid sessionid session_id sid s_id aspsessionid cfid cftoken zenid osCsid "
    "utm_source utm_medium utm_campaign utm_term utm_content utm_id fbclid gclid msclkid mc_eid "
    "replytocom".lower().split()
)
"""Names of parameters that say nothing of a page."""
BREAKS = re.compile(r"[\t\r\n]")
PATH_SESSION = re.compile(r";(?:jsessionid|sid|phpsessid)=[^/?#]*", re.IGNORECASE)
PAGE_SUFFIXES = frozenset(
    "html htm xhtml shtml php php3 php5 phtml asp aspx jsp jspx cgi pl py cfm do action md".split()
)


@dataclass(frozen=True)
class SiteLimits:
    """How much of a site is read. pages: at most. seconds: for the listing. bytes: of a picture."""

    pages: int = 10_000
    seconds: float = 4 * 3600.0
    bytes: int = 64 * 2**20


class _Page(NamedTuple):
    """A stored page. url: after redirects, or its canonical one. links, pictures: with whole
    URLs; pictures as (url, alt, title, caption). others: files of kinds that are not read."""

    url: str
    title: str
    links: list[str]
    pictures: list[list[str]]
    others: list[str]
    is_login: bool = False


@dataclass
class _Shown:
    """What pages say of a picture."""

    mentions: dict[str, Mention] = field(default_factory=dict)
    caption: str = ""


class SiteScan:
    """One listing of a site.

    answers: what its URLs answered, to be kept. mentions, captions: by the relative paths of
    pictures. left_out_paths: pictures that are there and left out. page_count: pages that were
    read.
    """

    def __init__(
        self,
        reader: SiteReader,
        root: str,
        exclude: Sequence[str],
        known: Mapping[str, CatalogFile],
        answers: Mapping[str, StoredAnswer],
        limits: SiteLimits,
    ) -> None:
        """exclude: globs of pages and pictures that are left out. known: files of the catalog, by
        relative path. answers: what the URLs of the site answered before."""
        self._reader, self._root, self._limits = reader, root, limits
        self._patterns, self._known, self._before = normalize_globs(exclude), known, answers
        self.listing = FolderListing({})
        self.answers: dict[str, StoredAnswer] = {}
        self.mentions: dict[str, list[Mention]] = {}
        self.captions: dict[str, Description] = {}
        self.left_out_paths = set[str]()
        self.page_count = 0
        self._waiting = deque[tuple[str, int]]()
        self._queued = set[str]()
        self._digests: dict[str, tuple[str, frozenset[str]]] = {}
        self._variants = Counter[str]()
        self._shown: dict[str, _Shown] = {}
        self._others = set[str]()
        self._noted = Counter[str]()
        self._stored_size = 0  # characters of documents
        self._limit = ""  # that was reached
        self._end = 0.0

    def run(self) -> Generator[int, None, FolderListing]:
        """List the pictures; yield their number so far. Raises RemoteError if the site cannot be
        read at all, InputError if it is elsewhere."""
        self._end = time.monotonic() + self._limits.seconds
        self._reader.forget_robots()
        start = self._root if urlsplit(self._root).path else f"{self._root}/"
        self._queued.add(start)
        self._add_page(self._fetch_start(start), 0)
        yield len(self._shown)
        yield from self._read_sitemaps()
        while self._waiting:
            if self._is_over():
                break
            url, depth = self._waiting.popleft()
            page = self._visit(url)
            if page is not None:
                self._add_page(page, depth)
            yield len(self._shown)
        yield from self._list_pictures()
        if self._limit:
            self._note("", f"{self._limit}; pictures that were not reached stay", "site_limit")
        for url in self._others:
            self.listing.left_out[kinds.name_kind(_name(url))] += 1
        return self.listing

    # pages -------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Return whether a limit of pages or of time is reached, and note it."""
        if self.page_count >= self._limits.pages:
            self._limit = f"only {self.page_count} pages were read (setting site_pages)"
        elif time.monotonic() > self._end:
            self._limit = f"reading ended after {self._limits.seconds:g} s (setting site_seconds)"
        else:
            return False
        return True

    def _fetch_start(self, start: str) -> _Page:
        """Return the first page. Raises RemoteError and InputError for one that cannot be read."""
        try:
            answer = self._get_page(start)
            if answer.status in GONE and not start.endswith("/"):
                start += "/"
                self._queued.add(start)
                answer = self._get_page(start)
        except SizeError as error:
            raise InputError(f"{self._root} is no web page that can be read: {error}") from error
        if answer.redirect is not None:
            raise InputError(
                f"{self._root} redirects to {answer.redirect}; index that address if it is yours"
            )
        check_status(answer)
        page = self._parse(start, answer)
        if page is None:
            raise InputError(
                f"{self._root} is no web page but {answer.media_type or 'something else'}; give "
                "the address of a page that shows your pictures"
            )
        if page.is_login:
            raise RemoteDeniedError(
                f"{self._root} shows a login; only what everybody sees can be indexed"
            )
        return page

    def _get_page(self, url: str) -> SiteAnswer:
        stored = self._before.get(url)
        before = Validators(*stored[:3]) if stored and stored.document else Validators()
        return self._reader.get(url, PAGE_BYTES, before, self._is_within)

    def _visit(self, url: str) -> _Page | None:
        """Return what a page contains; if it gives no answer, what it had before. None if there is
        nothing."""
        self.page_count += 1
        try:
            answer = self._get_page(url)
            if answer.redirect is not None:
                if not _is_picture(answer.redirect):
                    reason = f"it redirects to {answer.redirect}, which is not of this site"
                    self._note(url, reason, "page_off_site")
                return None
            if answer.status in GONE:
                return None
            if answer.status in DENIED:
                reason = f"it asks for a login, or denies access (status {answer.status})"
                self._note(url, reason, "page_needs_login")
                return None
            check_status(answer)
        except RobotsError:
            self._note(url, "the robots.txt of the site forbids it", RobotsError.code)
            return None
        except SizeError as error:
            self._note(url, str(error), SizeError.code)
            return None
        except (RemoteError, InputError) as error:
            self._note(url, f"{error}; what it had before stays", "page_failed")
            return self._recall(url)
        if answer.url != url:
            if answer.url in self._queued:
                return None
            self._queued.add(answer.url)
        page = self._parse(url, answer)
        if page is not None and page.is_login:
            self._note(url, "it shows a login, and no picture", "page_needs_login")
            return None
        return page

    def _recall(self, url: str) -> _Page | None:
        """Return what a page had before."""
        stored = self._before.get(url)
        page = _load_page(stored.document) if stored is not None else None
        if stored is None or page is None:
            self._limit = self._limit or "some pages gave no answer"
            return None
        self._keep(url, stored)
        return page

    def _parse(self, url: str, answer: SiteAnswer) -> _Page | None:
        """Return what an answer contains, and keep it. None if it is no web page."""
        stored = self._before.get(url)
        if answer.status == 304 and stored is not None:
            if (page := _load_page(stored.document)) is not None:
                self._keep(url, stored)
                return self._drop_repeated(page, stored.digest)
        is_text = any(kind in answer.media_type.lower() for kind in ("html", "xml", "text/plain"))
        if not (is_text or is_web_page(answer.data, answer.media_type)):
            if kinds.is_picture_head(answer.data[: kinds.HEAD]):
                self._add_picture(answer.url, answer.url, "", ShownPicture(answer.url))
            else:
                self._others.add(answer.url)
            return None
        digest = hashlib.sha256(answer.data).hexdigest()
        content = parse_page(answer.data, answer.media_type)
        page = self._convert(url, answer.url, content)
        document = json.dumps(page, separators=(",", ":"), ensure_ascii=False)
        self._keep(url, StoredAnswer(answer.etag, answer.modified, digest, document))
        return self._drop_repeated(page, digest)

    def _drop_repeated(self, page: _Page, digest: str) -> _Page:
        """Return a page without its links if the same page was read under another address, and
        without its pictures if they are the same too."""
        pictures = frozenset(one[0] for one in page.pictures)
        first = self._digests.setdefault(digest, (page.url, pictures))
        if first[0] == page.url:
            return page
        return page._replace(links=[], pictures=[] if first[1] == pictures else page.pictures)

    def _keep(self, url: str, answer: StoredAnswer) -> None:
        self._stored_size += len(answer.document)
        if self._stored_size <= MOST_DOCUMENTS:
            self.answers[url] = answer

    def _convert(self, requested: str, url: str, content: PageContent) -> _Page:
        """Return a page with whole URLs."""
        base = _join(url, content.base) or url
        links, pictures, others = list[str](), list[list[str]](), list[str]()
        canonical = _join(url, content.canonical) if content.canonical else None
        if canonical is None or not self._is_within(canonical):
            canonical = url
        for link in content.links if content.may_follow else ():
            target = _join(base, link)
            if target is None:
                continue
            if _is_picture(target):
                if content.may_index:
                    pictures.append([target, "", "", ""])
            elif not self._is_within(target):
                continue
            elif _is_page(target):
                links.append(target)
            else:
                others.append(target)
        for one in content.pictures if content.may_index else ():
            target = _join(base, one.url)
            if target is not None:
                pictures.append([target, *one[1:]])
        is_login = content.has_password and (requested != url or not pictures)
        return _Page(canonical, content.title, links, pictures, others, is_login)

    def _add_page(self, page: _Page, depth: int) -> None:
        """Add the pictures of a page, and let those that it links to wait."""
        self.page_count += depth == 0 and not self.page_count
        if page.url not in self._queued:
            self._queued.add(page.url)
        for url, *words in page.pictures:
            self._add_picture(url, page.url, page.title, ShownPicture(url, *words))
        self._others.update(page.others[: max(0, MOST_PICTURES - len(self._others))])
        for url in page.links:
            self._add_link(url, depth + 1)

    def _add_link(self, url: str, depth: int) -> None:
        """Let a page wait, unless it was seen, or seems to be one of an endless number."""
        url = normalize_page_url(url)
        if url in self._queued or not self._is_within(url) or self._is_excluded(url):
            return
        parts = urlsplit(url)
        names = [part for part in parts.path.split("/") if part]
        repeats = max(Counter(names).values(), default=0)
        if len(url) > LONGEST or len(names) > MOST_PARTS or repeats > MOST_REPEATS:
            return
        if depth > MOST_DEPTH or (parts.query and self._variants[parts.path] >= MOST_VARIANTS):
            self._limit = self._limit or (
                f"some pages are more than {MOST_DEPTH} links away, or one of more than "
                f"{MOST_VARIANTS} that differ behind `?` alone; leave them out with --exclude"
            )
            return
        if len(self._queued) >= MOST_WAITING * self._limits.pages + 1000:
            return  # the limit of pages is reached before these
        if parts.query:
            self._variants[parts.path] += 1
        self._queued.add(url)
        self._waiting.append((url, depth))

    def _read_sitemaps(self) -> Generator[int, None, None]:
        """Let the pages that sitemaps list wait, and add their pictures."""
        rules = self._reader.rules(self._root)
        named = [whole for one in rules.sitemaps if (whole := _join(self._root, one))]
        waiting = deque(named or [urljoin(self._root, "/sitemap.xml")])
        queued = set(waiting)
        count = 0
        while waiting and count < MOST_SITEMAPS and not self._is_over():
            url, count = waiting.popleft(), count + 1
            try:
                answer = self._reader.get(url, SITEMAP_BYTES)
                if answer.status != 200:
                    if named and answer.status != 404:
                        check_status(answer)
                    continue
            except (RemoteError, InputError) as error:
                if named:
                    self._note(url, f"the sitemap cannot be read: {error}", "sitemap_invalid")
                continue
            sitemap = parse_sitemap(answer.data)
            if sitemap.problem and not is_web_page(answer.data, answer.media_type):
                self._note(url, f"the sitemap: {sitemap.problem}", "sitemap_invalid")
            for one in sitemap.sitemaps:
                inner = _join(url, one)
                if inner and inner not in queued and len(queued) < MOST_SITEMAPS:
                    queued.add(inner)
                    waiting.append(inner)
            for one in sitemap.pages:
                page = _join(url, one)
                if page and self._is_within(page):
                    if _is_picture(page):
                        self._add_picture(page, page, "", ShownPicture(page))
                    else:
                        self._add_link(page, 1)
            for one, pictures in sitemap.pictures.items():
                page = _join(url, one)
                for shown in pictures if page and self._is_within(page) else ():
                    target = _join(url, shown.url)
                    if page and target:
                        self._add_picture(target, page, "", shown)
            yield len(self._shown)

    # pictures ----------------------------------------------------------------------------------

    def _add_picture(self, url: str, page: str, title: str, shown: ShownPicture) -> None:
        """Note that a page shows a picture."""
        if kinds.name_kind(_name(url)) in ("svg", "film", "psd", "jxl") and not _is_picture(url):
            self._others.add(url)
            return
        if self._is_excluded(url):
            self.left_out_paths.add(relative_url(url, self._root))
            return
        if url not in self._shown and len(self._shown) >= MOST_PICTURES:
            self._limit = self._limit or f"only the first {MOST_PICTURES} pictures were taken"
            return
        entry = self._shown.setdefault(url, _Shown())
        caption = shown.caption or shown.alt or shown.title
        entry.caption = entry.caption or caption
        text = join_words((shown.alt, shown.title, shown.caption))
        before = entry.mentions.get(page)
        if before is not None:
            text = join_words((*before.text.split("\n"), *text.split("\n")))
        if before is not None or len(entry.mentions) < MOST_MENTIONS:
            entry.mentions[page] = Mention(page, title or (before.title if before else ""), text)

    def _list_pictures(self) -> Generator[int, None, None]:
        """List the pictures that pages show. Known ones are asked for, by what they answered."""
        entries = self.listing.entries
        for url, shown in self._shown.items():
            path = relative_url(url, self._root)
            file = self._known.get(path)
            if file is None or file.size < 0:
                entries[path] = FileEntry(path, 0, 0, 0)
            elif (entry := self._ask(url, path, file)) is not None:
                entries[path] = entry
            if path in entries:
                self.mentions[path] = _sort_mentions(shown.mentions.values())
                caption = clean_caption(shown.caption)
                self.captions[path] = Description(caption=caption)
            if file is not None:
                yield len(entries)
        if not self._limit:
            return
        for path, file in self._known.items():  # these may only not have been reached
            if path not in entries and not self._is_excluded(join_place(self._root, path)):
                entry = self._ask(join_place(self._root, path), path, file)
                if entry is not None:
                    entries[path] = entry
                yield len(entries)

    def _ask(self, url: str, path: str, file: CatalogFile) -> FileEntry | None:
        """Request a known picture, and return it as it is now; None if it is gone."""
        same = FileEntry(path, file.size, file.mtime_ns, file.inode, file.ctime_ns or 0)
        stored = self._before.get(url, StoredAnswer())
        if time.monotonic() > self._end:
            self._is_over()
            self._keep(url, stored)
            return same
        try:
            before = Validators(stored.etag, stored.modified)
            answer = self._reader.get(url, self._limits.bytes, before, accept="image/*,*/*;q=0.1")
            if answer.status in GONE:
                return None
            check_status(answer)
        except (SizeError, PictureError):
            return FileEntry(path, 0, 0, 0)  # it is read again, which tells what is wrong
        except (RemoteError, InputError) as error:
            self._note(url, f"{error}; it stays as it was", error.code)
            self._keep(url, stored)
            return same
        if answer.status == 304:
            self._keep(url, stored)
            return same
        digest = hashlib.sha256(answer.data).hexdigest()
        if number_of(digest) == file.mtime_ns or digest == stored.digest:
            self._keep(url, StoredAnswer(answer.etag, answer.modified, digest))
            return same
        # the new answer is kept once the picture was read again, else that would never be tried
        self._keep(url, stored)
        return FileEntry(path, 0, number_of(digest), 0)

    # -------------------------------------------------------------------------------------------

    def _is_within(self, url: str) -> bool:
        """Return whether a URL is of the site, or of the part of it that is indexed."""
        return relative_place(url.partition("?")[0].rstrip("/"), self._root) is not None

    def _is_excluded(self, url: str) -> bool:
        if not self._patterns:
            return False
        path = relative_url(url, self._root)
        parts = path.split("/")
        return any(
            excluded(unquote("/".join(parts[: i + 1])), self._patterns) for i in range(len(parts))
        )

    def _note(self, url: str, reason: str, code: str) -> None:
        """Name a page that was not read, in the report."""
        self._noted[code] += 1
        log.info("%s: %s", url or self._root, reason)
        if self._noted[code] <= MOST_NOTES:
            path = relative_url(url, self._root) if url else ""
            self.listing.notes.append(Skip(path, remove_address(reason, url), code))


def normalize_page_url(url: str) -> str:
    """Return the URL of a page without session ids and other parameters that say nothing of it."""
    parts = urlsplit(url)
    path = PATH_SESSION.sub("", parts.path)
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True)
        pairs_left = [(name, value) for name, value in pairs if name.lower() not in SESSION]
        if len(pairs_left) < len(pairs):
            query = urlencode(pairs_left)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _join(base: str, target: str) -> str | None:
    """Return the whole URL of what a page names, None for what is no address of the web."""
    try:
        return _normalize_url(urljoin(base, BREAKS.sub("", target.strip())))
    except ValueError:
        return None


@lru_cache(maxsize=65_536)  # pages of a site have most links in common
def _normalize_url(url: str) -> str | None:
    if not is_site_url(url):
        return None
    try:
        return str(parse_url(url.replace(" ", "%20").replace("\\", "%5C")))
    except InputError:
        return None


def _name(url: str) -> str:
    """Return the name of the file that a URL seems to have."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def _is_picture(url: str) -> bool:
    return kinds.is_picture_name(_name(url))


def _is_page(url: str) -> bool:
    """Return whether a URL may be one of a page, by its name."""
    ending = _name(url).rpartition(".")
    suffix = ending[2].lower() if ending[1] else ""
    return not suffix or suffix in PAGE_SUFFIXES or len(suffix) > 5 or not suffix.isalnum()


def _load_page(document: str) -> _Page | None:
    """Return a page as it was kept."""
    if not document:
        return None
    try:
        values: list[Any] = json.loads(document)
        return _Page(*values)
    except (ValueError, TypeError):
        return None


def _sort_mentions(mentions: Iterable[Mention]) -> list[Mention]:
    """Return pages with those first that say something of the picture."""
    return sorted(mentions, key=lambda one: not one.text)
