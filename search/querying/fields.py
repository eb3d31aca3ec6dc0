"""The fields of conditions: what each compares, which values it takes, and its SQL.

A new field is an entry of `FIELDS`; a new value of `has` or `is` is an entry of `HAS` or `IS`.
Criteria are on the table `pictures`. Values become parameters, never SQL.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, literal_column, or_, select

from search.catalog import full_text
from search.catalog.reads import CatalogReader
from search.catalog.schema import (
    album_pictures,
    albums,
    colors,
    files,
    labels,
    marks,
    pictures,
    places,
    roots,
    tags,
    texts,
)
from search.catalog.sql import base_name, glob, is_not, matches, path_text
from search.catalog.tags import normalize_tag
from search.catalog.writes import Space
from search.errors import (
    ConditionValueError,
    InputError,
    UnknownFieldError,
    UnsupportedConditionError,
)
from search.files import parse_shown, shown
from search.media.colors import near_cells, parse_color
from search.querying import values
from search.querying.conditions import MAX_PATH, MAX_VALUE, OPERATORS, And, Condition, Not, Or
from search.querying.words import split_phrases
from search.records.pictures import FRAME_TYPES

if TYPE_CHECKING:
    from search.embedders.vocabulary import Vocabulary

Criterion: TypeAlias = ColumnElement[bool]
NONE: Criterion = literal_column("1") == literal_column("0")
LEAST_COLOR = 0.06
"""Share of a picture, weighted by nearness, from which on it has a color."""
SQUARE, PANORAMA = 1.05, 2.0
"""Long side by short side: at most that of a square; at least that of a panorama."""
RATIO_TOLERANCE = 0.02
MOST_ROOTS = 50
"""Roots whose paths are part of a statement at most; of more, they are looked up."""
SHAPES = ("landscape", "portrait", "square", "panorama")
TYPES = ("jpeg", "png", "webp", "gif", "tiff", "bmp", "heif", "avif", "jxl", "raw", *FRAME_TYPES)
"""What `Metadata.type` may be."""
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


@dataclass(frozen=True)
class Scope:
    """What the criteria of a condition depend on.

    reader: limits files to those that are shown. space: whose labels are compared; None in a
    library without vectors. vocabulary: returns the names of labels; None where the model has none.
    few: the criterion is checked on a few pictures, one by one, and does not list all that hold it.
    """

    reader: CatalogReader
    space: Space | None = None
    vocabulary: Callable[[], Vocabulary | None] = lambda: None
    few: bool = False

    def contains(self, query: Select[Any], picture: ColumnElement[Any]) -> Criterion:
        """Return the criterion that a picture is in a query. picture: the column of the query with
        its row ids."""
        if self.few:
            return query.where(picture == pictures.c.row_id).correlate(pictures).exists()
        return pictures.c.row_id.in_(query)


@dataclass(frozen=True)
class Field:
    """A field of conditions.

    parse: value as text -> what `compile` takes; raises ValueError. compile: takes that, one of
    `= < <= > >=` and the scope. values, example: for messages and docs. ordered: whether it takes
    `< <= > >=`. choices: all values, if they can be listed. is_path: a value is a path or a part of
    one, whose spaces at its ends count, and which has \\xNN for a byte that is not UTF-8.
    """

    parse: Callable[[str], Any]
    compile: Callable[[Any, str, Scope], Criterion]
    values: str
    example: str
    ordered: bool = False
    choices: Sequence[str] = ()
    is_path: bool = False


def compile_condition(condition: Condition, scope: Scope) -> Criterion:
    """Return the criterion of a condition.

    Raises ConditionError for a value that the library cannot have, such as an unknown label.
    """
    if isinstance(condition, And):
        return and_(*(compile_condition(one, scope) for one in condition.conditions))
    if isinstance(condition, Or):
        return or_(*(compile_condition(one, scope) for one in condition.conditions))
    if isinstance(condition, Not):
        return is_not(compile_condition(condition.condition, scope))
    field = FIELDS[condition.field]
    sign = "=" if condition.operator == "!=" else condition.operator
    criterion = field.compile(field.parse(condition.value), sign, scope)
    return is_not(criterion) if condition.operator == "!=" else criterion


def check_comparison(name: str, sign: str, value: str) -> tuple[str, str]:
    """Return the field's own name, and the value as `Comparison` has it. Raises ConditionError as
    that does."""
    name = name.casefold()
    name = ALIASES.get(name, name)
    if name not in FIELDS:
        raise UnknownFieldError(describe_unknown("field", name, [*FIELDS], [*ALIASES]))
    field = FIELDS[name]
    if sign not in OPERATORS or (sign not in ("=", "!=") and not field.ordered):
        signs = "= != < <= > >=" if field.ordered else "= !="
        raise ConditionValueError(f"{name}{sign}: {name} takes {signs}, such as {field.example}")
    try:
        value = shown(value) if field.is_path else value.strip()
        value.encode()
        most = MAX_PATH if field.is_path else MAX_VALUE
        if "\0" in value or not value.strip() or len(value) > most:
            raise ValueError
        field.parse(value)
    except (ValueError, OverflowError, InputError):
        near = get_close_matches(value.casefold(), field.choices, 1)
        advice = f"did you mean {near[0]}? It" if near else name
        start = value if len(value) <= 100 else f"{value[:100]}..."
        start = start.encode("utf-8", "replace").decode()
        raise ConditionValueError(
            f"{name}{sign}{start}: {advice} takes {field.values}, such as {field.example}"
        ) from None
    return name, value


def describe_unknown(
    kind: str, name: str, known: Sequence[str], aliases: Sequence[str] = ()
) -> str:
    """Return the message for a name that there is not. kind: what it names. known: the names that
    there are; aliases: other spellings of them."""
    near = get_close_matches(name, [*known, *aliases], 1, 0.5)
    advice = f"did you mean {near[0]}? " if near else ""
    start = name[:100].encode("utf-8", "replace").decode()
    return f"there is no {kind} {start}; {advice}There are {', '.join(known)}"


# criteria ----------------------------------------------------------------------------------------


def _compare(column: ColumnElement[Any]) -> Callable[[Any, str, Scope], Criterion]:
    def compile(value: Any, sign: str, _: Scope) -> Criterion:
        criterion: Criterion = _COMPARE[sign](column, value)
        return criterion

    return compile


def _choose(
    choices: Sequence[str], aliases: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], str]:
    def parse(text: str) -> str:
        name = text.casefold()
        name = aliases.get(name, name)
        if name not in choices:
            raise ValueError(name)
        return name

    return parse


def shape_of() -> ColumnElement[str]:
    """Return the shape of a picture, as an expression of SQL."""
    width, height = pictures.c.width, pictures.c.height
    return case(
        (and_(width <= SQUARE * height, height <= SQUARE * width), "square"),
        (or_(width >= PANORAMA * height, height >= PANORAMA * width), "panorama"),
        (width > height, "landscape"),
        else_="portrait",
    )


def _compile_shape(shape: str, _: str, __: Scope) -> Criterion:
    return shape_of() == shape


def _compile_ratio(ratio: float, sign: str, _: Scope) -> Criterion:
    width, height = pictures.c.width, pictures.c.height
    if sign == "=":
        least, most = ratio * (1 - RATIO_TOLERANCE), ratio * (1 + RATIO_TOLERANCE)
        return and_(width >= least * height, width <= most * height)
    criterion: Criterion = _COMPARE[sign](width * 1.0, ratio * height)
    return criterion


def _compare_period(
    column: ColumnElement[Any],
) -> Callable[[tuple[Any, Any], str, Scope], Criterion]:
    """Return what compiles a comparison of a column with a period: its begin, and what follows
    it."""

    def compile(period: tuple[Any, Any], sign: str, _: Scope) -> Criterion:
        start, end = period
        criteria: dict[str, Criterion] = {
            "=": and_(column >= start, column < end),
            "<": column < start,
            "<=": column < end,
            ">": column >= end,
            ">=": column >= start,
        }
        return criteria[sign]

    return compile


def _parse_added(text: str) -> tuple[float, float]:
    """Return the begin of a period and of what follows it in seconds since 1970, by the clock of
    this machine."""
    start, end = (datetime.fromisoformat(one) for one in values.parse_period(text))
    try:
        return start.timestamp(), end.timestamp()
    except OverflowError as error:
        raise ValueError(text) from error


def _parse_color(text: str) -> tuple[str, ...]:
    if (shades := parse_color(text)) is None:
        raise ValueError(text)
    return shades


def nearness(level: int, levels: int) -> float:
    """Return the weight of the share of a color. level: of `near_cells`, from 0 for the nearest."""
    return 1 - (2 * level + 1) / (2 * levels)


def _compile_color(shades: tuple[str, ...], _: str, scope: Scope) -> Criterion:
    levels = near_cells(shades)
    lists = [",".join(map(str, level)) for level in levels]  # whole numbers, not a user's text
    near = case(
        *(
            (literal_column(f"colors.cell IN ({cells})"), nearness(i, len(levels)))
            for i, cells in enumerate(lists)
            if cells
        ),
        else_=0.0,
    )
    cells = ",".join(one for one in lists if one)
    query = select(colors.c.picture).group_by(colors.c.picture)
    if not scope.few:  # else the index of cells would be searched for each picture
        query = query.where(literal_column(f"colors.cell IN ({cells})"))
    query = query.having(func.sum(colors.c.share * near) >= LEAST_COLOR)
    return scope.contains(query, colors.c.picture)


def _in_files(criterion: Criterion, scope: Scope) -> Criterion:
    """Return the criterion that a shown file of a picture holds a criterion."""
    if scope.few:
        query = select(places.c.picture).join(files, files.c.id == places.c.file)
        return scope.contains(scope.reader.limit_files(query.where(criterion)), places.c.picture)
    # a join would look each file up
    held = scope.reader.limit_files(select(files.c.id).where(criterion))
    return pictures.c.row_id.in_(select(places.c.picture).where(places.c.file.in_(held)))


def _match_absolute(pattern: str, scope: Scope) -> Criterion:
    """Return the criterion that the absolute path of a file matches a glob."""
    like = glob(pattern)
    listed = scope.reader.list_roots()
    if len(listed) > MOST_ROOTS:
        root = select(path_text(roots.c.path)).where(roots.c.id == files.c.root).scalar_subquery()
        return matches(func.rtrim(root, "/") + "/" + path_text(files.c.path), *like)
    return or_(
        NONE,
        *(
            and_(
                files.c.root == root,
                matches(
                    path_text(literal(os.fsencode(path.rstrip("/") + "/")))
                    + path_text(files.c.path),
                    *like,
                ),
            )
            for root, path in listed.items()
        ),
    )


def _anywhere(pattern: str) -> str:
    """Return a glob of absolute paths: it begins at any folder unless it is absolute itself."""
    return pattern if pattern.startswith("/") or "://" in pattern else f"*/{pattern}"


def _list_readings(value: str) -> list[str]:
    """Return the paths that a value may stand for: itself, and one with bytes for \\xNN."""
    return [*dict.fromkeys((value, parse_shown(value)))]


def _compile_path(pattern: str, _: str, scope: Scope) -> Criterion:
    held = (_match_absolute(_anywhere(one), scope) for one in _list_readings(pattern))
    return _in_files(or_(*held), scope)


def _compile_folder(pattern: str, _: str, scope: Scope) -> Criterion:
    folders = _list_readings(pattern.rstrip("/"))
    if _anywhere(folders[0]) == folders[0] and not set("*?") & set(folders[0]):
        return or_(*(_in_folder(one, scope) for one in folders))
    held = (_match_absolute(f"{_anywhere(one)}/*", scope) for one in folders)
    return _in_files(or_(*held), scope)


def _in_folder(folder: str, scope: Scope) -> Criterion:
    """Return the criterion that a picture is below a folder, by ranges of the index of paths."""
    ranges = [
        files.c.root == root
        if below is None
        else and_(files.c.root == root, files.c.path >= below[0], files.c.path < below[1])
        for root, below in values.split_folder(folder, scope.reader.list_roots())
    ]
    return _in_files(or_(*ranges), scope) if ranges else NONE


def _compile_collection(name: str, _: str, scope: Scope) -> Criterion:
    named = scope.reader.list_collections()
    forms = {normalize_tag(one): one for one in named}
    form = normalize_tag(name)
    if form not in forms:
        near = get_close_matches(form, forms, 1, 0.5)
        advice = f"did you mean {forms[near[0]]}? " if near else ""
        known = f"There are {', '.join(named)}" if named else "The library has none"
        raise ConditionValueError(
            f"collection={name}: no collection has this name; {advice}{known}"
        )
    return _in_files(files.c.root.in_(named[forms[form]]), scope)


def _compile_name(pattern: str, _: str, scope: Scope) -> Criterion:
    patterns = [pattern] if "." in pattern else [pattern, f"{pattern}.*"]
    path = path_text(files.c.path)
    held = (
        # the end of the path is compared first, since its name takes long to find
        and_(matches(path, *glob(f"*{one}")), matches(base_name(path), *glob(one)))
        for reading in patterns
        for one in _list_readings(reading)
    )
    criterion = _in_files(or_(*held), scope)
    if scope.reader.find_uploads_root() is None:
        return criterion
    original = [matches(pictures.c.original_name, *glob(one, False)) for one in patterns]
    return or_(criterion, *original)


def _match_text(column: ColumnElement[Any]) -> Callable[[Any, str, Scope], Criterion]:
    def compile(pattern: str, _: str, __: Scope) -> Criterion:
        return matches(column, *glob(pattern, False))

    return compile


def _parse_words(value: str) -> Sequence[full_text.Phrase]:
    if not (phrases := split_phrases(value)):
        raise ValueError(value)
    return phrases


def _compile_words(phrases: Sequence[full_text.Phrase], _: str, scope: Scope) -> Criterion:
    return scope.reader.match_text(pictures.c.row_id, phrases)


def _compile_tag(tag: str, _: str, scope: Scope) -> Criterion:
    query = select(tags.c.picture)
    if set("*?") & set(tag):
        query = query.where(matches(tags.c.normalized, *glob(tag, False)))
    else:
        query = query.where(tags.c.normalized == tag)
    return scope.contains(query, tags.c.picture)


def _compile_rating(stars: int, sign: str, _: Scope) -> Criterion:
    rating = select(marks.c.rating).where(marks.c.picture == pictures.c.row_id).scalar_subquery()
    return _compare(func.coalesce(rating, 0))(stars, sign, _)


def _compile_album(pattern: str, _: str, scope: Scope) -> Criterion:
    query = select(album_pictures.c.picture).join(albums, albums.c.id == album_pictures.c.album)
    query = query.where(matches(albums.c.name, *glob(pattern, False)))
    return scope.contains(query, album_pictures.c.picture)


def _compile_label(name: str, _: str, scope: Scope) -> Criterion:
    vocabulary = scope.vocabulary()
    if scope.space is None or vocabulary is None:
        raise UnsupportedConditionError(
            f"label={name}: the library's model gives no labels; use tag=, or the model mini"
        )
    names = [one for one in vocabulary.class_names if one.casefold() == name.casefold()]
    names = names or vocabulary.label_classes(name)
    names = names or vocabulary.classes_of([p.word for p in vocabulary.split(name) if p.word])
    if not names:
        near = vocabulary.nearest(name)
        advice = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConditionValueError(f"label={name}: the model knows no such label{advice}")
    query = select(labels.c.picture).where(labels.c.space == scope.space.id)
    query = query.where(labels.c.label.in_(names)).group_by(labels.c.picture)
    query = query.having(func.sum(labels.c.score) >= vocabulary.threshold)
    return scope.contains(query, labels.c.picture)


def _compile_near(area: values.Area, _: str, __: Scope) -> Criterion:
    latitude, longitude = pictures.c.latitude, pictures.c.longitude
    south, north, sides = area.box()
    inside = [latitude >= south, latitude <= north]
    if sides is not None:
        inside.append(or_(*(longitude.between(west, east) for west, east in sides)))
    half = values.RADIANS / 2
    across = func.sin((latitude - area.latitude) * half)
    along = func.sin((longitude - area.longitude) * half)
    cosines = area.cosine * func.cos(latitude * values.RADIANS)
    haversine = across * across + cosines * along * along
    return and_(*inside, haversine <= area.haversine)


# values of `has` and `is` ------------------------------------------------------------------------


def _has_copies(scope: Scope) -> Criterion:
    several = select(places.c.picture).join(files, files.c.id == places.c.file)
    several = scope.reader.limit_files(several).group_by(places.c.picture)
    several = several.having(func.count(files.c.id.distinct()) > 1)
    other = pictures.alias()
    others = scope.reader.limit(
        select(other.c.pixel_hash).where(other.c.orphaned.is_(None)), other.c.row_id
    )
    if scope.few:
        same = and_(
            other.c.pixel_hash == pictures.c.pixel_hash, other.c.row_id != pictures.c.row_id
        )
        is_again = others.where(same).correlate(pictures).exists()
        return or_(is_again, scope.contains(several, places.c.picture))
    # the indexes alone tell what may be a copy
    hashes = select(other.c.pixel_hash).group_by(other.c.pixel_hash).having(func.count() > 1)
    others = others.where(other.c.pixel_hash.in_(hashes))
    again = others.group_by(other.c.pixel_hash).having(func.count() > 1)
    repeated = select(places.c.picture).group_by(places.c.picture).having(func.count() > 1)
    several = several.where(places.c.picture.in_(repeated))
    return or_(pictures.c.pixel_hash.in_(again), pictures.c.row_id.in_(several))


def _is_upload(scope: Scope) -> Criterion:
    root = scope.reader.find_uploads_root()
    return _in_files(files.c.root == (-1 if root is None else root), scope)


HAS: Mapping[str, Callable[[Scope], Criterion]] = MappingProxyType(
    {
        "gps": lambda _: and_(pictures.c.latitude.is_not(None), pictures.c.longitude.is_not(None)),
        "text": lambda scope: scope.contains(
            select(texts.c.picture).where(texts.c.text != ""), texts.c.picture
        ),
        "tags": lambda scope: scope.contains(select(tags.c.picture), tags.c.picture),
        "copies": _has_copies,
    }
)
"""Value of `has` -> its criterion."""
IS: Mapping[str, Callable[[Scope], Criterion]] = MappingProxyType(
    {
        "favourite": lambda scope: scope.contains(
            select(marks.c.picture).where(marks.c.favourite), marks.c.picture
        ),
        "upload": _is_upload,
        "truncated": lambda _: pictures.c.truncated.is_(True),
        "low_content": lambda _: pictures.c.low_content.is_(True),
    }
)
"""Value of `is` -> its criterion."""


def _flag(
    name: str, flags: Mapping[str, Callable[[Scope], Criterion]], aliases: Mapping[str, str]
) -> Field:
    def compile(value: str, _: str, scope: Scope) -> Criterion:
        return flags[value](scope)

    parse, example = _choose([*flags], aliases), next(iter(flags))
    return Field(parse, compile, " or ".join(flags), f"{name}={example}", choices=[*flags])


# fields ------------------------------------------------------------------------------------------

_TYPE_ALIASES = {"jpg": "jpeg", "tif": "tiff", "heic": "heif", "jpegxl": "jxl"}
_GLOB = "text, where * stands for any characters and ? for one"
FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "words": Field(
            _parse_words,
            _compile_words,
            "words of names, tags, captions and text in pictures",
            'words="two boats"',
        ),
        "type": Field(
            _choose(TYPES, _TYPE_ALIASES),
            _compare(pictures.c.type),
            ", ".join(TYPES),
            "type=jpeg",
            choices=TYPES,
        ),
        "width": Field(
            values.parse_pixels, _compare(pictures.c.width), "pixels", "width>=1000", True
        ),
        "height": Field(
            values.parse_pixels, _compare(pictures.c.height), "pixels", "height<600", True
        ),
        "shape": Field(
            _choose(SHAPES), _compile_shape, ", ".join(SHAPES), "shape=landscape", choices=SHAPES
        ),
        "ratio": Field(
            values.parse_ratio, _compile_ratio, "WIDTH:HEIGHT or a number", "ratio=16:9", True
        ),
        "size": Field(
            values.parse_size,
            _compare(pictures.c.bytes),
            "bytes, or a number with KB, MB, GB, KiB, MiB or GiB",
            "size<2MB",
            True,
        ),
        "color": Field(
            _parse_color,
            _compile_color,
            "a name such as red, or #rrggbb",
            "color=#c03020",
            choices=tuple(values.COLOR_NAMES),
        ),
        "date": Field(
            values.parse_period,
            _compare_period(pictures.c.taken),
            "a year, a month, a day, a time, or one such as 30d, yesterday, last month",
            "date>=2024-05",
            True,
        ),
        "added": Field(
            _parse_added,
            _compare_period(pictures.c.added),
            "when it came to the library, as for date",
            'added>="last week"',
            True,
        ),
        "path": Field(values.parse_text, _compile_path, _GLOB, "path=holiday/*", is_path=True),
        "folder": Field(values.parse_text, _compile_folder, _GLOB, "folder=holiday", is_path=True),
        "collection": Field(
            values.parse_text, _compile_collection, "the name of a collection", "collection=Family"
        ),
        "name": Field(values.parse_text, _compile_name, _GLOB, "name=IMG_*", is_path=True),
        "tag": Field(normalize_tag, _compile_tag, _GLOB, "tag=beach"),
        "rating": Field(values.parse_rating, _compile_rating, "0 to 5", "rating>=3", True),
        "album": Field(values.parse_text, _compile_album, _GLOB, "album=Lisbon"),
        "label": Field(values.parse_text, _compile_label, "a word of the model", "label=dog"),
        "camera": Field(
            values.parse_text, _match_text(pictures.c.camera), _GLOB, 'camera="Canon*"'
        ),
        "lens": Field(values.parse_text, _match_text(pictures.c.lens), _GLOB, 'lens="RF 35mm*"'),
        "near": Field(
            values.parse_area,
            _compile_near,
            "LATITUDE,LONGITUDE,RADIUS in degrees and km, m or mi",
            "near=48.85,2.35,10km",
        ),
        "has": _flag("has", HAS, {}),
        "is": _flag("is", IS, {"favorite": "favourite", "blank": "low_content"}),
    }
)
"""Name -> field."""
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "colour": "color",
        "place": "near",
        "tags": "tag",
        "labels": "label",
        **dict.fromkeys(("taken", "year", "month", "day"), "date"),
    }
)
"""Another spelling of a field -> its name."""
