"""Suggestions while a query is typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from search.catalog.reads import CatalogReader
from search.catalog.schema import pictures
from search.catalog.suggestions import NameReader
from search.catalog.tags import normalize_tag
from search.errors import InputError, ModelError, QueryError
from search.querying.conditions import quote
from search.querying.fields import ALIASES, FIELDS
from search.querying.relative_dates import complete_relative
from search.querying.values import parse_period
from search.records.words import Suggestion, SuggestionKind, Words

MOST = 50
"""Suggestions of a kind at most."""
MAX_TYPED = 200
_VALUE = re.compile(r'([^\W\d]\w*)(?::|=)"?(.*?)"?', re.DOTALL)
_DATE = re.compile(r"\d{1,4}|\d{4}-\d{0,2}")


class Suggester:
    """Suggests what a query may go on with. Reads the catalog."""

    def __init__(self, reader: CatalogReader, words: Callable[[str, int], Words]) -> None:
        """words: lists the words of the library's model that begin with a text."""
        self._reader, self._names, self._words = reader, NameReader(reader), words

    def suggest(self, text: str, limit: int) -> tuple[Suggestion, ...]:
        """Return suggestions, by kind. text: what is typed of the last word or condition. limit: of
        each kind. Raises QueryError for a limit outside 1 to 50 and for a long text."""
        if not 1 <= limit <= MOST:
            raise QueryError(f"limit is {limit}; give 1 to {MOST}")
        if len(text) > MAX_TYPED:
            raise QueryError(f"the text has more than {MAX_TYPED} characters; shorten it")
        typed = text.encode("utf-8", "ignore").decode().replace("\0", "").strip()
        dash = "-" if typed.startswith("-") else ""
        typed = typed.removeprefix("-")
        suggested = self._suggest_values(typed, limit)
        if suggested is None:
            suggested = self._suggest_all(typed, limit) if typed else ()
        return tuple(Suggestion(s.kind, s.text, dash + s.insert, s.count) for s in suggested)

    def _suggest_values(self, typed: str, limit: int) -> Iterable[Suggestion] | None:
        """Return values of a field, if a condition is typed."""
        match = _VALUE.fullmatch(typed)
        name = match[1].casefold() if match else ""
        name = ALIASES.get(name, name)
        if match is None or name not in FIELDS:
            return None
        value = match[2]
        named = self._suggest_names(value, limit, name)
        if named is not None:
            return named
        choices = [one for one in FIELDS[name].choices if one.startswith(value.casefold())]
        return [Suggestion("value", one, f"{name}:{one}") for one in choices[:limit]]

    def _suggest_names(self, typed: str, limit: int, field: str) -> list[Suggestion] | None:
        """Return names that a field takes as its value; None for a field of another kind."""
        names: Mapping[str, int]
        kind: SuggestionKind
        if field == "tag":
            kind, names = "tag", self._names.tags(_normalize(typed), limit)
        elif field == "album":
            kind, names = "album", self._names.albums(typed, limit)
        elif field == "folder":
            kind, names = "folder", self._names.folders(typed, limit)
        elif field == "collection":
            kind, names = "collection", self._names.collections(typed, limit)
        elif field == "date":
            kind, names = "date", self._names.dates(typed) if _is_date(typed) else {}
            names = {**names, **self._count_relative(typed, limit)}
        elif field == "camera":
            kind, names = "camera", self._names.values(pictures.c.camera, typed, limit)
        elif field == "lens":
            kind, names = "lens", self._names.values(pictures.c.lens, typed, limit)
        elif field == "label":
            spaces = self._reader.spaces()
            start = typed.casefold()
            kind = "label"
            names = self._names.labels(spaces[0], start, limit) if spaces else {}
        else:
            return None
        return [Suggestion(kind, n, f"{field}:{quote(n)}", count) for n, count in names.items()]

    def _suggest_all(self, typed: str, limit: int) -> Iterable[Suggestion]:
        for field in ("collection", "tag", "album", "folder"):
            if field in FIELDS:
                yield from self._suggest_names(typed, limit, field) or ()
        yield from self._suggest_words(typed, limit)
        for field in ("label", "date", "camera", "lens"):
            named = self._suggest_names(typed, limit, field) or ()
            if field == "date":  # a number alone is the beginning of a year
                is_number = typed.isdecimal()
                named = [one for one in named if one.count and not (is_number and " " in one.text)]
            yield from named[:limit]
        fields = [name for name in FIELDS if name.startswith(typed.casefold())]
        for name in fields[:limit]:
            yield Suggestion("field", FIELDS[name].example, f"{name}:")

    def _count_relative(self, typed: str, limit: int) -> dict[str, int]:
        """Return relative dates and how many pictures were taken then."""
        counted: dict[str, int] = {}
        for name in complete_relative(typed):
            with suppress(ValueError, OverflowError):  # too long ago
                counted[name] = self._names.count_taken(*parse_period(name))
            if len(counted) == limit:
                break
        return counted

    def _suggest_words(self, typed: str, limit: int) -> Iterable[Suggestion]:
        try:
            known = self._words(typed, limit).words
        except ModelError:  # its weights are not there; names are found without
            return
        for word in known:
            start = typed.casefold()
            names = (word.word, *word.also)
            name = next((one for one in names if one.casefold().startswith(start)), word.word)
            yield Suggestion("word", name, name)


def _normalize(typed: str) -> str:
    try:
        return normalize_tag(typed)
    except InputError:
        return ""


def _is_date(typed: str) -> bool:
    return not typed or _DATE.fullmatch(typed) is not None
