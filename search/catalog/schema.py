"""The catalog's tables. `search.catalog.migrations` changes those of older versions.

Paths are the bytes of the file system (`os.fsencode`), since names need not be UTF-8.
A `row_id` identifies a picture in every table and vector store; its `id` is its content hash.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    false,
    text,
)

from search.catalog.sql import EmptyBytes, String, Text

metadata = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")


def _only(condition: str) -> dict[str, Any]:
    """Return the options of an index that has only the rows of a condition.

    On PostgreSQL it has all rows: its option would cost each command the import of that dialect.
    """
    return {"sqlite_where": text(condition)}


migrations = Table(
    "migrations",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("at", Float, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

CALIBRATIONS = "calibrations"
"""Key in `meta` of the calibrations that were fitted on this library, as JSON by fingerprint."""

UPLOADS = "kept"
"""The folder of uploads in the library's own, and the key in `meta` of its path, which is quoted
as a URL since `meta` holds text."""

SCHEDULES = "schedules"
"""The key in `meta` of how often roots are synced: JSON of hours by path, quoted as a URL."""

roots = Table(
    "roots",
    metadata,
    Column("id", Number, primary_key=True),
    Column("path", LargeBinary, nullable=False, unique=True),
    Column("device", Number, nullable=False),
    Column("state", String(16), nullable=False),
    Column("exclude", JSON, nullable=False),
    Column("follow_links", Boolean, nullable=False, default=False, server_default=false()),
    # how many files of each kind were left out when the folder was last listed
    Column("left_out", JSON, nullable=False, default=dict, server_default=text("'{}'")),
    Column("file_system", Text),  # see `search.indexing.file_system`
    # most files vanished at once; those that did stay until a person confirms it
    Column("keeps_lost", Boolean, nullable=False, default=False, server_default=false()),
    Column("collection", Text),  # the name of the collection that it is in
)

pictures = Table(
    "pictures",
    metadata,
    Column("row_id", Number, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),  # SHA-256 of the bytes
    Column("pixel_hash", String(64), nullable=False),
    Column("type", String(16), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", Number, nullable=False),
    Column("taken", String(32)),  # local time, YYYY-MM-DDTHH:MM:SS
    Column("camera", Text),
    Column("lens", Text),
    Column("latitude", Float),  # degrees, north positive
    Column("longitude", Float),  # degrees, east positive
    Column("original_name", Text),  # of the file that was uploaded
    Column("source_url", Text),  # that it was fetched from
    Column("caption", Text),
    Column("caption_origin", String(8)),  # see `search.catalog.tags.Origin`
    Column("exif", JSON, nullable=False, server_default=text("'{}'")),  # other tags by name
    Column("orphaned", Float),  # when its last file was removed, in seconds since 1970
    # when it came to the library, in seconds since 1970; NULL before that was recorded
    Column("added", Float),
    Column("low_content", Boolean, nullable=False, default=False, server_default=false()),
    # the end of its pixels is missing
    Column("truncated", Boolean, nullable=False, default=False, server_default=false()),
    # `rules.DECODE_RULE` under which `pixel_hash`, the metadata and the thumbnail were computed
    Column("decode_rule", Integer, nullable=False, server_default=text("1")),
    # `rules.DESCRIPTION_RULE` under which the description in its bytes was read, 0 for never
    Column("description_rule", Integer, nullable=False, server_default=text("0")),
    Index("pictures_pixel_hash", "pixel_hash"),
    Index("pictures_type", "type"),
    Index("pictures_width", "width"),
    Index("pictures_height", "height"),
    Index("pictures_bytes", "bytes"),
    Index("pictures_taken", "taken"),
    Index("pictures_added", "added"),
    Index("pictures_camera", "camera"),
    Index("pictures_lens", "lens"),
    Index("pictures_place", "latitude", "longitude"),
    Index("pictures_decode_rule", "decode_rule"),
    Index("pictures_description_rule", "description_rule"),
    # the pages of the library, without its wide rows
    Index("pictures_present", "row_id", **_only("orphaned IS NULL")),
    Index("pictures_orphaned", "orphaned", **_only("orphaned IS NOT NULL")),
    sqlite_autoincrement=True,  # a row id is never used again: vector stores are keyed by it
)

colors = Table(  # the dominant colours of a picture
    "colors",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("rank", Integer, primary_key=True),  # 0 is the most frequent
    Column("color", String(7), nullable=False),  # #rrggbb
    Column("share", Float, nullable=False, server_default=text("0")),  # of the pixels, 0 to 1
    # see `search.media.colors`
    Column("cell", Integer, nullable=False, server_default=text("0")),
    Column("hue", Float, nullable=False, server_default=text("0")),
    Index("colors_cell", "cell", "picture", "share"),
    Index("colors_hue", "rank", "hue", "picture"),
)

files = Table(
    "files",
    metadata,
    Column("id", Number, primary_key=True),
    Column("root", Number, ForeignKey("roots.id"), nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("size", Number, nullable=False),
    Column("mtime_ns", Number, nullable=False),
    Column("inode", Number, nullable=False),
    Column("reason", Text),  # why it was skipped, if it has no picture
    Column("skip_code", String(32)),  # the same as a key of `records.SKIP_CODES`
    Column("rule", String(16)),  # limits and codecs under which it was skipped
    Column("last_picture", Number),  # row id; also if the file has no picture any more
    Column("ctime_ns", Number),
    Column("probe", LargeBinary),  # digest of samples of the content, see `search.media.probe`
    Column("tries", Integer, nullable=False, default=0, server_default=text("0")),  # that timed out
    Column("retry_at", Float),  # not tried again before, in seconds since 1970
    UniqueConstraint("root", "path"),
    Index("files_retry", "retry_at", **_only("retry_at IS NOT NULL")),
)

places = Table(  # where a picture is: in a file, at a time of a film, or on a page of a document
    "places",
    metadata,
    Column("id", Number, primary_key=True),
    Column("file", Number, ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
    Column("picture", Number, ForeignKey("pictures.row_id"), nullable=False),
    Column("time", Float),  # seconds from the start
    Column("page", Integer),  # from 0
    # what a film says at a time: of its own, such as subtitles and tags, and of files beside it
    Column("words", Text),
    Column("subtitles", Text),
    Index("places_file", "file", "picture"),
    Index("places_picture", "picture"),
)

films = Table(  # films and animations whose frames are places, once all of them are
    "films",
    metadata,
    Column("file", Number, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("content", String(64), nullable=False),  # SHA-256 of the bytes
    Column("duration", Float),  # seconds
    # names, sizes and times of the files of subtitles beside it that were read
    Column("subtitles", Text, nullable=False, default="", server_default=""),
    Index("films_content", "content"),
)

spaces = Table(  # of vectors: an embedder with its weights, preprocessing and decode rule
    "spaces",
    metadata,
    # random, so that a space that is dropped and added again has another id
    Column("id", Number, primary_key=True, default=lambda: secrets.randbits(31)),
    Column("name", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False, unique=True),
    Column("dim", Integer, nullable=False),
    # whether it also serves while it is not the space of the library's own model
    Column("beside", Boolean, nullable=False, default=False, server_default=false()),
)

vectors = Table(
    "vectors",
    metadata,
    Column("space", Number, ForeignKey("spaces.id"), primary_key=True),
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("data", LargeBinary, nullable=False),  # dim x float16, little-endian
    # BLAKE2b of `data`, 8 bytes, by which `check` finds damage
    Column("digest", LargeBinary, nullable=False, server_default=EmptyBytes()),
    Index("vectors_picture", "picture"),  # deleting a picture looks its vectors up by it
)

changes = Table(
    "changes",
    metadata,
    Column("sequence", Number, primary_key=True),
    Column("space", Number, nullable=False),
    Column("picture", Number, nullable=False),
    Column("operation", String(8), nullable=False),  # add, remove
    # random, so that entries of two copies of a catalog with the same sequence number differ
    Column("stamp", Number, nullable=False, default=lambda: secrets.randbits(62)),
    Index("changes_space", "space", "sequence"),
    sqlite_autoincrement=True,
)

labels = Table(  # what an embedder sees; what people say are `tags`
    "labels",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("space", Number, ForeignKey("spaces.id"), primary_key=True),
    Column("label", String(200), primary_key=True),
    Column("score", Float, nullable=False),  # probability, 0 to 1
    Index("labels_label", "space", "label", "score"),
)

jobs = Table(  # of the servers of this library, see `search.catalog.jobs`
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("root", LargeBinary),
    Column("state", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("server", String(32), nullable=False),
    Column("lease", Float, nullable=False),  # when its server counts as gone, in seconds since 1970
    Column("cancelled", Boolean, nullable=False, default=False, server_default=false()),
    Column("version", Integer, nullable=False),
    Column("document", JSON, nullable=False),
    Index("jobs_kind", "kind", "created"),
)

tokens = Table(  # of users of a server, see `search.catalog.tokens`
    "tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the token
    Column("role", String(8), nullable=False),
    # paths of roots, quoted as URLs since they need not be UTF-8; NULL for the whole library. Not
    # ids of roots: the id of one that is deleted may be given to another
    Column("collections", JSON(none_as_null=True)),
    Column("created", Float, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("tag", String(200), primary_key=True),  # as it was written
    Column("normalized", Text, nullable=False, server_default=""),  # see `normalize_tag`
    Column("origin", String(8), nullable=False, server_default="person"),  # see `Origin`
    Index("tags_normalized", "normalized", "picture", unique=True),
)

removed_tags = Table(  # tags of files that a person removed: no file brings them back
    "removed_tags",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("normalized", Text, primary_key=True),
)

marks = Table(  # what people say of pictures beside tags
    "marks",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("favourite", Boolean, nullable=False, default=False, server_default=false()),
    Column("rating", Integer),  # 0 to 5
    Column("rating_origin", String(8)),  # see `search.catalog.tags.Origin`
    Column("hidden", Boolean, nullable=False, default=False, server_default=false()),
    Index("marks_favourite", "picture", **_only("favourite")),
    Index("marks_hidden", "picture", **_only("hidden")),
)

albums = Table(
    "albums",
    metadata,
    Column("id", String(32), primary_key=True),  # random
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
)

album_pictures = Table(
    "album_pictures",
    metadata,
    Column("album", String(32), ForeignKey("albums.id", ondelete="CASCADE"), primary_key=True),
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("added", Float, nullable=False),
    Index("album_pictures_picture", "picture"),
)

remembered = Table(  # what people said of pictures that left the catalog, by content hash
    "remembered",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("document", JSON, nullable=False),  # see `search.catalog.annotations`
)

embedded_descriptions = Table(  # what the bytes of a picture say of it; none for most
    "embedded_descriptions",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True),
    Column("document", JSON, nullable=False),  # a `records.Description`
)

sidecars = Table(  # what a sidecar says of the picture of a file
    "sidecars",
    metadata,
    Column("file", Number, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("state", Text, nullable=False),  # name, size and time of the sidecar
    Column("document", JSON, nullable=False),  # a `records.Description`
)

mentions = Table(  # the pages of a web site that show the picture of a file of it
    "mentions",
    metadata,
    Column("file", Number, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("rank", Integer, primary_key=True),  # 0 is the first one, which a hit leads to
    Column("page", Text, nullable=False),  # URL
    Column("title", Text, nullable=False),  # of the page
    Column("text", Text, nullable=False),  # what the page says of the picture
)

site_answers = Table(  # what pages and pictures of a web site answered when it was last listed
    "site_answers",
    metadata,
    Column("root", Number, ForeignKey("roots.id", ondelete="CASCADE"), primary_key=True),
    Column("url", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("modified", Text, nullable=False),
    Column("digest", Text, nullable=False),  # SHA-256 of the bytes, hexadecimal
    Column("document", Text, nullable=False),  # of a page, see `search.indexing.scan_site`
)

removals = Table(  # files that were moved to the bin, so that this can be undone
    "removals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created", Float, nullable=False),
    Column("document", JSON, nullable=False),  # see `search.indexing.removal`
)

texts = Table(  # what is written in a picture, one row for each picture that was read
    "texts",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True, autoincrement=False),
    Column("model", String(16), nullable=False),  # fingerprint of what read it
    Column("failed", String(32)),  # why it could not be read, a key of `records.SKIP_CODES`
    Column("text", Text, nullable=False),  # its lines, separated by newlines; empty if it has none
    Column("lines", JSON, nullable=False),  # [[text, confidence, x, y, ... 8 numbers], ...]
)

saved_searches = Table(  # see `search.catalog.saved_searches`
    "saved_searches",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("query", JSON, nullable=False),  # as every interface spells it
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("newest", Number, nullable=False),  # row id of a picture
)

saved_pictures = Table(  # of the queries of saved searches
    "saved_pictures",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),  # bytes of a picture file
)

transient_items = Table(  # that servers keep for some time, see `search.catalog.transient`
    "transient_items",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("ends", Float, nullable=False),  # seconds since 1970
    Column("media", Text, nullable=False),  # type of the data, or empty
    Column("data", LargeBinary, nullable=False),
)

model_captions = Table(  # what a model said of a picture, one row for each that it was asked for
    "model_captions",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True, autoincrement=False),
    Column("model", String(16), nullable=False),  # its fingerprint
    Column("failed", String(32)),  # why there is none, a key of `records.SKIP_CODES`
    Column("caption", Text, nullable=False),  # empty for none
)

local_features = Table(  # of the pictures that have them, see `search.media.local_features`
    "local_features",
    metadata,
    Column("picture", Number, ForeignKey("pictures.row_id"), primary_key=True, autoincrement=False),
    Column("rule", Integer, nullable=False),  # `rules.FEATURE_RULE` under which they were computed
    Column("data", LargeBinary, nullable=False),
    Index("local_features_rule", "rule"),
)

counts = Table(  # see `search.catalog.counts`
    "counts",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("key", Number, primary_key=True, autoincrement=False),
    Column("value", Number, nullable=False),
)
