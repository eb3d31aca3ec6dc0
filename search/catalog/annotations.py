"""What people, files and models say of pictures: tags, captions, favourites, ratings, albums.

What people say follows the content of a picture. It stays while the picture is an orphan, goes over
to an edited picture under the same path, and is remembered by content hash when the picture leaves
the catalog, so that it is there again when the picture comes back.

A word of a person comes before that of a file, and that of a file before that of a model.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, insert, or_, select, update

from search.catalog.schema import (
    album_pictures,
    albums,
    embedded_descriptions,
    marks,
    model_captions,
    pictures,
    places,
    remembered,
    removed_tags,
    sidecars,
    tags,
)
from search.catalog.tags import (
    add_tags,
    insert_missing,
    normalize_tag,
    normalize_tags,
    remove_tags,
    replace_file_tags,
)
from search.errors import InputError
from search.media.rules import DESCRIPTION_RULE
from search.records.annotations import (
    MOST_CAPTION,
    RATINGS,
    Album,
    Annotations,
    Change,
    Description,
)

OF_PICTURES = (
    tags,
    removed_tags,
    marks,
    album_pictures,
    embedded_descriptions,
    model_captions,
)
"""Tables with rows of single pictures, which are deleted with them."""
PART = 500
"""Pictures that one statement changes."""


def load_annotations(c: Connection, row_ids: Collection[int]) -> dict[int, Annotations]:
    """Return what is said of pictures, by row id."""
    names = defaultdict[int, dict[str, Any]](dict)
    query = select(tags.c.picture, tags.c.tag, tags.c.origin).order_by(tags.c.tag)
    for row in c.execute(query.where(tags.c.picture.in_(row_ids))):
        names[row.picture][row.tag] = row.origin
    listed = defaultdict[int, list[Album]](list)
    query = select(album_pictures.c.picture, albums.c.id, albums.c.name).join(albums)
    query = query.where(album_pictures.c.picture.in_(row_ids))
    for row in c.execute(query.order_by(albums.c.name, albums.c.id)):
        listed[row.picture].append(Album(row.id, row.name))
    values = {}
    query = select(pictures.c.row_id, pictures.c.caption, pictures.c.caption_origin)
    query = query.add_columns(
        *(marks.c[n] for n in "favourite rating rating_origin hidden".split())
    )
    query = query.outerjoin(marks, marks.c.picture == pictures.c.row_id)
    for row in c.execute(query.where(pictures.c.row_id.in_(row_ids))):
        row_id = int(row.row_id)
        values[row_id] = Annotations(
            names[row_id],
            bool(row.favourite),
            row.rating,
            row.rating_origin,
            bool(row.hidden),
            row.caption,
            row.caption_origin,
            tuple(listed[row_id]),
        )
    return values


# what people say ---------------------------------------------------------------------------------


def check_change(change: Change) -> None:
    """Raise InputError for a change that cannot be made."""
    both = normalize_tags(change.add_tags).keys() & normalize_tags(change.remove_tags).keys()
    if both:
        raise InputError(f"the tag {min(both)} is to be added and removed; give it once")
    rating = change.rating
    if isinstance(rating, int) and not RATINGS[0] <= rating <= RATINGS[1]:
        raise InputError(f"the rating is {rating}; give 0 to 5 stars")
    if not isinstance(change.caption, str):
        return
    if len(change.caption) > MOST_CAPTION:
        raise InputError(f"the caption has more than {MOST_CAPTION} characters; shorten it")
    try:
        change.caption.encode()
    except UnicodeEncodeError:
        raise InputError("the caption is not UTF-8; write it in a terminal that is") from None


def apply_change(
    c: Connection,
    row_ids: Collection[int],
    change: Change,
    album: str | None = None,
    remove_album: str | None = None,
    now: float = 0.0,
) -> dict[int, Change]:
    """Change what a person says of pictures; return what undoes it, by row id.

    album, remove_album: ids of those that the change names. now: in seconds since 1970. The change
    is checked already.
    """
    before = load_annotations(c, row_ids)
    row_ids = list(before)
    added, removed = normalize_tags(change.add_tags), normalize_tags(change.remove_tags)
    add_tags(c, row_ids, added.values(), "person")
    remove_tags(c, row_ids, removed)
    _set_marks(c, row_ids, change)
    if change.caption is not ...:
        caption = change.caption.strip() or None if isinstance(change.caption, str) else None
        origin = "person" if isinstance(change.caption, str) else None
        rows = update(pictures).where(pictures.c.row_id.in_(row_ids))
        c.execute(rows.values(caption=caption, caption_origin=origin))
    if None in (change.rating, change.caption):  # what the files say counts again
        apply_descriptions(c, row_ids)
    if album:
        added_rows = [{"album": album, "picture": row_id, "added": now} for row_id in row_ids]
        insert_missing(c, album_pictures, added_rows)
    if remove_album:
        where = album_pictures.c.album == remove_album, album_pictures.c.picture.in_(row_ids)
        c.execute(delete(album_pictures).where(*where))
    undo = {}
    for row_id, old in before.items():
        forms = {normalize_tag(tag): tag for tag in old.tags}
        of_person = {"rating": old.rating_origin, "caption": old.caption_origin}
        inverse: dict[str, Any] = {
            "add_tags": tuple(forms[form] for form in removed if form in forms),
            "remove_tags": tuple(tag for form, tag in added.items() if form not in forms),
        }
        for name in ("favourite", "rating", "hidden", "caption"):
            value, new = getattr(old, name), getattr(change, name)
            if name in of_person and of_person[name] != "person":
                value = None
            if new is not ... and new != value:
                inverse[name] = value
        held = {one.id for one in old.albums}
        if album and album not in held:
            inverse["remove_album"] = album
        if remove_album and remove_album in held:
            inverse["album"] = remove_album
        if (one := Change(**inverse)) != Change():
            undo[row_id] = one
    return undo


def _set_marks(c: Connection, row_ids: Sequence[int], change: Change) -> None:
    values: dict[str, Any] = {
        name: getattr(change, name)
        for name in ("favourite", "rating", "hidden")
        if getattr(change, name) is not ...
    }
    if not values:
        return
    if "rating" in values:
        values["rating_origin"] = None if values["rating"] is None else "person"
    insert_missing(c, marks, [{"picture": row_id} for row_id in row_ids])
    c.execute(update(marks).where(marks.c.picture.in_(row_ids)).values(values))


def select_annotated() -> Select[tuple[str, int]]:
    """Select the pixel hash and the row id of pictures of which people said something: those from
    which `copy_annotations` takes anything."""
    row_id = pictures.c.row_id
    tagged = select(tags.c.tag).where(tags.c.picture == row_id, tags.c.origin == "person")
    marked = select(marks.c.picture).where(marks.c.picture == row_id)
    held = select(album_pictures.c.picture).where(album_pictures.c.picture == row_id)
    captioned = pictures.c.caption_origin == "person"
    is_annotated = or_(captioned, tagged.exists(), marked.exists(), held.exists())
    return select(pictures.c.pixel_hash, row_id).where(is_annotated)


def copy_annotations(c: Connection, sources: Collection[int], target: int) -> None:
    """Let a picture take over what people said of others, unless it has a word of its own.

    What files and models said stays with the content that they said it of.
    """
    query = select(tags.c.tag).where(tags.c.picture.in_(sources), tags.c.origin == "person")
    add_tags(c, [target], c.scalars(query).all(), "person")
    rows = c.execute(select(marks).where(marks.c.picture.in_(sources))).all()
    own = c.execute(select(marks).where(marks.c.picture == target)).first()
    if rows:
        rated = next((one.rating for one in rows if one.rating_origin == "person"), None)
        _set_marks(
            c,
            [target],
            Change(
                favourite=any(one.favourite for one in rows) or bool(own and own.favourite),
                rating=... if rated is None or (own and own.rating_origin == "person") else rated,
                hidden=any(one.hidden for one in rows) or bool(own and own.hidden),
            ),
        )
    query = select(pictures.c.caption).where(pictures.c.row_id.in_(sources))
    caption = c.scalar(query.where(pictures.c.caption_origin == "person").limit(1))
    if caption is not None:
        change = update(pictures).where(pictures.c.row_id == target)
        change = change.where(
            or_(pictures.c.caption_origin.is_(None), pictures.c.caption_origin != "person")
        )
        c.execute(change.values(caption=caption, caption_origin="person"))
    query = select(album_pictures).where(album_pictures.c.picture.in_(sources))
    held = [{**row, "picture": target} for row in c.execute(query).mappings()]
    insert_missing(c, album_pictures, held)


# what files say ----------------------------------------------------------------------------------


def set_embedded(c: Connection, descriptions: Mapping[int, Description]) -> None:
    """Replace what the bytes of pictures say of them, by row id."""
    for part in _parts(descriptions):
        query = select(embedded_descriptions.c.picture)
        had = set(c.scalars(query.where(embedded_descriptions.c.picture.in_(part))))
        c.execute(delete(embedded_descriptions).where(embedded_descriptions.c.picture.in_(had)))
        rows = [
            {"picture": row_id, "document": one.to_json()}
            for row_id in part
            if (one := descriptions[row_id])
        ]
        if rows:
            c.execute(insert(embedded_descriptions), rows)
        change = update(pictures).where(pictures.c.row_id.in_(part))
        change = change.where(pictures.c.description_rule != DESCRIPTION_RULE)
        c.execute(change.values(description_rule=DESCRIPTION_RULE))
        apply_descriptions(c, part)


def apply_descriptions(c: Connection, row_ids: Collection[int]) -> None:
    """Set the tags, captions and ratings of files from what they and their sidecars say.

    A sidecar comes before what is embedded, since it is written later.
    """
    for part in _parts(row_ids):
        descriptions = defaultdict[int, list[Description]](list)
        query = select(places.c.picture, sidecars.c.document)
        query = query.join(sidecars, sidecars.c.file == places.c.file).order_by(sidecars.c.file)
        for row in c.execute(query.where(places.c.picture.in_(part))):
            descriptions[row.picture].append(Description.from_json(row.document))
        query = select(embedded_descriptions)
        for row in c.execute(query.where(embedded_descriptions.c.picture.in_(part))):
            descriptions[row.picture].append(Description.from_json(row.document))
        merged = {n: Description.merge(descriptions.get(n, ())) for n in part}
        replace_file_tags(c, {n: one.tags for n, one in merged.items()})
        _set_file_captions(c, {n: one.caption for n, one in merged.items()})
        apply_model_captions(c, part)
        _set_file_ratings(c, {n: one.rating for n, one in merged.items()})


def _set_file_captions(c: Connection, captions: Mapping[int, str | None]) -> None:
    origin = pictures.c.caption_origin
    gone = [n for n, caption in captions.items() if caption is None]
    change = update(pictures).where(pictures.c.row_id.in_(gone), origin == "file")
    c.execute(change.values(caption=None, caption_origin=None))
    rows = [{"key": n, "text": caption} for n, caption in captions.items() if caption is not None]
    if rows:
        change = update(pictures).where(pictures.c.row_id == bindparam("key"))
        change = change.where(or_(origin.is_(None), origin != "person"))
        c.execute(change.values(caption=bindparam("text"), caption_origin="file"), rows)


def apply_model_captions(c: Connection, row_ids: Collection[int]) -> None:
    """Set the captions of models, for pictures that have none of a person or a file."""
    origin = pictures.c.caption_origin
    query = select(model_captions.c.picture, model_captions.c.caption)
    query = query.where(model_captions.c.picture.in_(row_ids))
    rows = [{"key": row.picture, "text": row.caption or None} for row in c.execute(query)]
    if rows:
        change = update(pictures).where(pictures.c.row_id == bindparam("key"))
        change = change.where(or_(origin.is_(None), origin == "model"))
        for one in rows:
            one["origin"] = "model" if one["text"] else None
        values: dict[str, Any] = {"caption": bindparam("text")}
        values["caption_origin"] = bindparam("origin")
        c.execute(change.values(values), rows)


def _set_file_ratings(c: Connection, ratings: Mapping[int, int | None]) -> None:
    origin = marks.c.rating_origin
    gone = [n for n, rating in ratings.items() if rating is None]
    change = update(marks).where(marks.c.picture.in_(gone), origin == "file")
    c.execute(change.values(rating=None, rating_origin=None))
    rows = [{"key": n, "stars": stars} for n, stars in ratings.items() if stars is not None]
    if rows:
        insert_missing(c, marks, [{"picture": row["key"]} for row in rows])
        change = update(marks).where(marks.c.picture == bindparam("key"))
        change = change.where(or_(origin.is_(None), origin != "person"))
        c.execute(change.values(rating=bindparam("stars"), rating_origin="file"), rows)


# pictures that leave and come back ---------------------------------------------------------------


def export_annotations(c: Connection, row_ids: Collection[int]) -> dict[str, dict[str, Any]]:
    """Return what people said of pictures as JSON, by picture id. Others are left out."""
    ids = select(pictures.c.row_id, pictures.c.id).where(pictures.c.row_id.in_(row_ids))
    loaded = load_annotations(c, row_ids)
    documents = {}
    for row in c.execute(ids):
        one = loaded[row.row_id]
        document = {
            "tags": [tag for tag, origin in one.tags.items() if origin == "person"],
            "favourite": one.favourite,
            "rating": one.rating if one.rating_origin == "person" else None,
            "hidden": one.hidden,
            "caption": one.caption if one.caption_origin == "person" else None,
            "albums": [{"id": album.id, "name": album.name} for album in one.albums],
        }
        if any(value not in (None, False, []) for value in document.values()):
            documents[str(row.id)] = document
    return documents


def import_annotations(
    c: Connection, documents: Mapping[int, Mapping[str, Any]], now: float
) -> None:
    """Add what `export_annotations` returned to pictures, by row id. now: in seconds since 1970."""
    for row_id, document in documents.items():
        caption, rating = document.get("caption"), document.get("rating")
        change = Change(
            add_tags=tuple(document.get("tags", ())),
            favourite=True if document.get("favourite") else ...,
            hidden=True if document.get("hidden") else ...,
            rating=... if rating is None else rating,
            caption=... if caption is None else caption,
        )
        check_change(change)
        apply_change(c, [row_id], change)
        for album in document.get("albums", ()):
            album_id = find_or_add_album(c, album, now)
            row = {"album": album_id, "picture": row_id, "added": now}
            insert_missing(c, album_pictures, [row])


def find_or_add_album(c: Connection, album: Mapping[str, Any], now: float) -> str:
    """Return the id of the album with an id, else with a name; if there is none, add it."""
    if c.scalar(select(albums.c.id).where(albums.c.id == album.get("id"))):
        return str(album["id"])
    same = c.scalar(select(albums.c.id).where(albums.c.name == album["name"]).limit(1))
    if same:
        return str(same)
    album_id = album.get("id") or secrets.token_hex(8)
    c.execute(insert(albums).values(id=album_id, name=album["name"], created=now))
    return str(album_id)


def remember(c: Connection, row_ids: Collection[int]) -> None:
    """Keep what people said of pictures that are deleted from the catalog."""
    documents = export_annotations(c, row_ids)
    if documents:
        c.execute(delete(remembered).where(remembered.c.id.in_(documents)))
        rows = [{"id": one, "document": document} for one, document in documents.items()]
        c.execute(insert(remembered), rows)


def recall(c: Connection, row_ids: Mapping[str, int], now: float) -> None:
    """Give back to new pictures what people said of them before. row_ids: by picture id."""
    for part in _parts(row_ids):
        query = select(remembered).where(remembered.c.id.in_(part))
        rows = c.execute(query).all()
        if rows:
            import_annotations(c, {row_ids[row.id]: row.document for row in rows}, now)
            c.execute(delete(remembered).where(remembered.c.id.in_([row.id for row in rows])))


def delete_annotations(c: Connection, row_ids: Collection[int]) -> None:
    """Delete all that is said of pictures which are deleted."""
    for table in OF_PICTURES:
        c.execute(delete(table).where(table.c.picture.in_(row_ids)))


def _parts(values: Any) -> list[list[Any]]:
    values = list(values)
    return [values[i : i + PART] for i in range(0, len(values), PART)]
