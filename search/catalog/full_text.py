"""The full text of pictures: words of names, folders, captions, tags, labels, colors and text.

Each picture has one row for what is its own, and one for each root that has a file of it, with the
names in that root and with what the pages of a site say of it. So a user of some roots finds
nothing by the names in others. SQLite indexes the rows by FTS5, PostgreSQL by a GIN index of
`tsvector`. Both index the same tokens, which this module makes: a character of a language without
spaces is a token of its own, so that a word of any length is found as a row of neighbours.
(Trigrams find no word of two characters, as most Chinese words are.)

Triggers note in `stale_texts` each picture whose words changed. The end of every transaction that
writes makes their rows anew, so the index agrees with each committed state.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.exc import DatabaseError

from search.catalog.schema import (
    UPLOADS,
    album_pictures,
    albums,
    colors,
    files,
    labels,
    mentions,
    meta,
    pictures,
    places,
    roots,
    tags,
    texts,
)
from search.media.colors import list_color_words

ROOTS = 2**20
"""Ids of roots are below. The row of a picture and a root has the id `picture * ROOTS + root`."""
LIKELY = 0.5
"""Probability from which a label is indexed."""
BLOCK = 1000
"""Pictures whose rows are made at once."""
MAX_TOKENS, MAX_TOKEN = 5_000, 48
"""Tokens of a row, and characters of a token, that are indexed."""
MARKS = re.compile(r"[\u0300-\u036f]")
# kana, Chinese, Hangul, Thai and Lao, Khmer, Burmese: no spaces between words
_SINGLE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
_TOKEN = re.compile(
    rf"[{_SINGLE}\U00020000-\U0003ffff]|\d+|[^\W\d_{_SINGLE}\U00020000-\U0003ffff]+"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def tokenize(value: str) -> list[str]:
    """Return the tokens of a text: words in small letters without accents, numbers, and single
    characters of languages without spaces."""
    plain = MARKS.sub("", unicodedata.normalize("NFKD", value))
    plain = unicodedata.normalize("NFKC", plain).casefold()
    return [token[:MAX_TOKEN] for token in _TOKEN.findall(plain)]


@dataclass(frozen=True)
class Phrase:
    """Tokens that follow one another. alternatives: several such rows, of which one is enough."""

    alternatives: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, *forms: str) -> Phrase | None:
        """Return the phrase of spellings of one word or name; None if they have no token."""
        rows = dict.fromkeys(tuple(tokenize(form)) for form in forms)
        filled = tuple(row for row in rows if row)
        return cls(filled) if filled else None


def write_query(
    dialect: str,
    phrases: Sequence[Phrase],
    join: Literal["and", "or"] = "and",
    prefix: bool = False,
    visible: Collection[int] | None = None,
    name: str = "match",
) -> tuple[str, dict[str, str]] | None:
    """Return the SQL that selects the pictures whose text has phrases, with its parameters.

    Its column is `picture`. None if nothing can match.

    dialect: of the database. join: whether all phrases are needed, which may be in different rows
    of the picture, or one. prefix: the last token of a phrase may go on. visible: ids of roots;
    only pictures with a file in one of them, by what is theirs and by names in these roots. None
    for all. name: what the names of the parameters begin with.
    """
    if not phrases or (visible is not None and not visible):
        return None
    key = "search_texts.id" if dialect == "postgresql" else "search_words.rowid"
    limits = ""
    if visible is not None:
        listed = ", ".join(str(int(root)) for root in sorted(visible))
        places_of = ", ".join(f"{key} / {ROOTS} * {ROOTS} + {int(n)}" for n in sorted(visible))
        limits = (
            f" AND {key} % {ROOTS} IN (0, {listed}) AND EXISTS "
            f"(SELECT 1 FROM search_texts AS seen WHERE seen.id IN ({places_of}))"
        )
    write = _write_postgresql if dialect == "postgresql" else _write_sqlite
    groups = [[one] for one in phrases] if join == "and" else [list(phrases)]
    values: dict[str, str] = {}
    queries = [
        f"SELECT {key} / {ROOTS} AS picture FROM "
        f"{write(group, prefix, f'{name}_{number}', values)}{limits}"
        for number, group in enumerate(groups)
    ]
    return " INTERSECT ".join(queries), values


def _write_sqlite(group: Sequence[Phrase], prefix: bool, name: str, values: dict[str, str]) -> str:
    star = " *" if prefix else ""
    rows = [f'"{" ".join(row)}"{star}' for phrase in group for row in phrase.alternatives]
    values[name] = " OR ".join(rows)
    return f"search_words WHERE search_words MATCH :{name}"


def _write_postgresql(
    group: Sequence[Phrase], prefix: bool, group_name: str, values: dict[str, str]
) -> str:
    conditions = []
    for i, row in enumerate(row for phrase in group for row in phrase.alternatives):
        name = f"{group_name}_{i}"
        *first, last = (f"'{token}'" for token in row)
        values[name] = " & ".join([*first, f"{last}:*" if prefix else last])
        condition = f"CAST(tokens AS tsvector) @@ CAST(:{name} AS tsquery)"
        if len(row) > 1:
            values[f"{name}_like"] = f"% {' '.join(row)}{'' if prefix else ' '}%"
            condition += f" AND ' ' || tokens || ' ' LIKE :{name}_like"
        conditions.append(f"({condition})")
    return f"search_texts WHERE ({' OR '.join(conditions)})"


# keeping it -------------------------------------------------------------------------------------


def refresh(c: Connection) -> int:
    """Make the rows of pictures anew that `stale_texts` names, in the caller's transaction; return
    the number of pictures."""
    count = 0
    while row_ids := list(c.scalars(text(f"SELECT picture FROM stale_texts LIMIT {BLOCK}"))):
        right = dict(_make_rows(c, row_ids))
        stored = _read_rows(c, row_ids)
        _delete(c, "search_texts", "id", [key for key in stored if key not in right])
        changed = [key for key in right if key in stored and right[key] != stored[key]]
        _write(c, "UPDATE search_texts SET tokens = :tokens WHERE id = :id", right, changed)
        new = [key for key in right if key not in stored]
        _write(c, "INSERT INTO search_texts (id, tokens) VALUES (:id, :tokens)", right, new)
        _delete(c, "stale_texts", "picture", row_ids)
        count += len(row_ids)
    return count


def list_wrong(c: Connection) -> list[int]:
    """Read everything again; return the row ids of pictures with wrong rows."""
    wrong, last = set[int](), 0
    while True:
        query = select(pictures.c.row_id).where(pictures.c.row_id > last)
        row_ids = list(c.scalars(query.order_by(pictures.c.row_id).limit(BLOCK)))
        end = row_ids[-1] if row_ids else 2**40
        right, bounds = dict(_make_rows(c, row_ids)), {"first": (last + 1) * ROOTS}
        sql = text("SELECT id, tokens FROM search_texts WHERE id >= :first AND id < :end")
        stored = {row[0]: row[1] for row in c.execute(sql, bounds | {"end": (end + 1) * ROOTS})}
        differing = {*right.items()} ^ {*stored.items()}
        wrong |= {int(key) // ROOTS for key, _ in differing}
        if not row_ids:
            return sorted(wrong)
        last = end


def repair(c: Connection) -> int:
    """Make wrong rows anew, and the index of the database if it does not agree with them; return
    the number of pictures whose rows were wrong, or of all if the index was."""
    wrong = list_wrong(c)
    mark_stale(c, wrong)
    refresh(c)
    if c.dialect.name == "sqlite" and not is_index_right(c):
        c.exec_driver_sql("INSERT INTO search_words (search_words) VALUES ('rebuild')")
        return c.exec_driver_sql("SELECT count(*) FROM search_texts").scalar() or 0
    return len(wrong)


def is_index_right(c: Connection) -> bool:
    """Return whether the index of SQLite agrees with the rows. The transaction must be writing."""
    command = "INSERT INTO search_words (search_words, rank) VALUES ('integrity-check', 1)"
    try:
        c.exec_driver_sql(command)
    except DatabaseError as error:
        if "malformed" not in str(error.orig):
            raise
        return False
    return True


def mark_stale(c: Connection, row_ids: Iterable[int]) -> None:
    """Let the end of the transaction make the rows of pictures anew."""
    stale = set(c.scalars(text("SELECT picture FROM stale_texts")))
    rows = [{"picture": row_id} for row_id in row_ids if row_id not in stale]
    if rows:
        c.execute(text("INSERT INTO stale_texts (picture) VALUES (:picture)"), rows)


def _write(c: Connection, sql: str, right: dict[int, str], keys: Sequence[int]) -> None:
    if keys:
        c.execute(text(sql), [{"id": key, "tokens": right[key]} for key in keys])


def _delete(c: Connection, table: str, column: str, keys: Sequence[int]) -> None:
    if keys:
        c.execute(text(f"DELETE FROM {table} WHERE {column} = :key"), [{"key": k} for k in keys])


def _read_rows(c: Connection, row_ids: Sequence[int]) -> dict[int, str]:
    sql = f"SELECT id, tokens FROM search_texts WHERE id / {ROOTS} IN :row_ids"
    if c.dialect.name == "sqlite":  # by ranges of its key: it has no index of what is computed
        stored: dict[int, str] = {}
        query = text("SELECT id, tokens FROM search_texts WHERE id >= :first AND id < :end")
        for row_id in row_ids:
            bounds = {"first": row_id * ROOTS, "end": (row_id + 1) * ROOTS}
            stored |= {int(row[0]): str(row[1]) for row in c.execute(query, bounds)}
        return stored
    statement = text(sql).bindparams(bindparam("row_ids", expanding=True))
    return {int(row[0]): str(row[1]) for row in c.execute(statement, {"row_ids": list(row_ids)})}


def _make_rows(c: Connection, row_ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the id and the tokens of all rows of some pictures. Orphans have none."""
    own: dict[int, list[str | None]] = {}
    in_root: dict[tuple[int, int], list[str | None]] = {}
    p = pictures.c
    described = select(p.row_id, p.caption, p.camera, p.lens, p.original_name)
    described = described.where(p.row_id.in_(row_ids), p.orphaned.is_(None))
    original_names: dict[int, str | None] = {}
    for row_id, caption, camera, lens, original_name in c.execute(described):
        own[row_id] = [caption, camera, lens]
        original_names[row_id] = original_name
    for picture, value in _iterate_values(c, row_ids):
        if picture in own:
            own[picture].append(value)
    root_paths = {int(row.id): row.path for row in c.execute(select(roots.c.id, roots.c.path))}
    uploads = unquote_to_bytes(c.scalar(select(meta.c.value).where(meta.c.key == UPLOADS)) or "")
    columns = [files.c.root, files.c.path, places.c.words, places.c.subtitles]
    named = select(places.c.picture, *columns)
    named = named.join(files, files.c.id == places.c.file).order_by(files.c.path)
    for row in c.execute(named.where(places.c.picture.in_(row_ids))):
        picture, root, path, words, subtitles = row
        if picture not in own:
            continue
        key = int(picture), int(root)
        if key not in in_root:
            in_root[key] = [os.path.basename(os.fsdecode(root_paths[key[1]]))]
            if root_paths[key[1]] == uploads:  # it is of the file in that folder
                in_root[key].append(original_names[picture])
        in_root[key].append(os.path.splitext(os.fsdecode(path))[0])
        in_root[key] += [words, subtitles]
    shown = select(places.c.picture, files.c.root, mentions.c.title, mentions.c.text)
    shown = shown.join(files, files.c.id == places.c.file)
    shown = shown.join(mentions, mentions.c.file == files.c.id)
    shown = shown.order_by(files.c.path, mentions.c.rank)
    for picture, root, title, words in c.execute(shown.where(places.c.picture.in_(row_ids))):
        if picture in own:
            in_root[int(picture), int(root)] += [title, words]
    for row_id, values in own.items():
        yield row_id * ROOTS, _join(values)
    for (row_id, root), values in in_root.items():
        yield row_id * ROOTS + root, _join(values)


def _iterate_values(c: Connection, row_ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield what other tables say of pictures: row id and text."""
    queries = [
        select(tags.c.picture, tags.c.tag).order_by(tags.c.picture, tags.c.normalized),
        select(labels.c.picture, labels.c.label)
        .where(labels.c.score >= LIKELY)
        .distinct()
        .order_by(labels.c.picture, labels.c.label),
        select(texts.c.picture, texts.c.text),
        select(album_pictures.c.picture, albums.c.name)
        .join(albums, albums.c.id == album_pictures.c.album)
        .order_by(album_pictures.c.picture, albums.c.name, albums.c.id),
    ]
    entries: dict[int, list[tuple[int, float]]] = {}
    palettes = select(colors.c.picture, colors.c.cell, colors.c.share)
    palettes = palettes.where(colors.c.picture.in_(row_ids)).order_by(
        colors.c.picture, colors.c.rank
    )
    for picture, cell, share in c.execute(palettes):
        entries.setdefault(int(picture), []).append((int(cell), float(share)))
    for picture, palette in entries.items():
        yield picture, " ".join(list_color_words(palette))
    for query in queries:
        for picture, value in c.execute(query.where(query.selected_columns[0].in_(row_ids))):
            yield int(picture), str(value)


def _join(values: Iterable[str | None]) -> str:
    """Return the tokens of texts, apart by spaces. Parts of names like `HolidayBeach` are tokens,
    too."""
    tokens: list[str] = []
    for value in values:
        if len(tokens) >= MAX_TOKENS:  # as of a picture with thousands of files
            break
        if value:
            tokens += tokenize(value)
            if (parts := _CAMEL.sub(" ", value)) != value:
                tokens += tokenize(parts)
    return " ".join(tokens[:MAX_TOKENS])
