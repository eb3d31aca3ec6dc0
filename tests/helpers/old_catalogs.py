"""Catalogs of older schema versions, with the tables as those versions created them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

VERSION_1 = """
CREATE TABLE migrations (version INTEGER NOT NULL, at FLOAT NOT NULL, PRIMARY KEY (version));
CREATE TABLE meta ("key" VARCHAR(64) NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE roots (
    id INTEGER NOT NULL, path BLOB NOT NULL, device INTEGER NOT NULL, state VARCHAR(16) NOT NULL,
    exclude JSON NOT NULL, PRIMARY KEY (id), UNIQUE (path)
);
CREATE TABLE pictures (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id VARCHAR(64) NOT NULL,
    rendition VARCHAR(64) NOT NULL, type VARCHAR(16) NOT NULL, width INTEGER NOT NULL,
    height INTEGER NOT NULL, bytes INTEGER NOT NULL, taken VARCHAR(32), facts JSON NOT NULL,
    orphaned FLOAT, UNIQUE (id)
);
CREATE INDEX pictures_rendition ON pictures (rendition);
CREATE TABLE models (
    id INTEGER NOT NULL, name TEXT NOT NULL, fingerprint VARCHAR(64) NOT NULL, dim INTEGER NOT NULL,
    PRIMARY KEY (id), UNIQUE (fingerprint)
);
CREATE TABLE changes (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL,
    picture INTEGER NOT NULL, operation VARCHAR(8) NOT NULL, stamp INTEGER NOT NULL
);
CREATE INDEX changes_model ON changes (model, sequence);
CREATE TABLE files (
    id INTEGER NOT NULL, root INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, picture INTEGER, reason TEXT,
    rule VARCHAR(16), was INTEGER, PRIMARY KEY (id), UNIQUE (root, path),
    FOREIGN KEY(root) REFERENCES roots (id), FOREIGN KEY(picture) REFERENCES pictures (number)
);
CREATE INDEX files_picture ON files (picture);
CREATE TABLE vectors (
    model INTEGER NOT NULL, picture INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (model, picture), FOREIGN KEY(model) REFERENCES models (id),
    FOREIGN KEY(picture) REFERENCES pictures (number)
);
CREATE TABLE tags (
    picture INTEGER NOT NULL, tag VARCHAR(200) NOT NULL, PRIMARY KEY (picture, tag),
    FOREIGN KEY(picture) REFERENCES pictures (number)
);
"""
STEPS = {
    2: "CREATE INDEX vectors_picture ON vectors (picture);",
    3: """
CREATE TABLE labels (
    picture INTEGER NOT NULL, model INTEGER NOT NULL, label VARCHAR(200) NOT NULL,
    score FLOAT NOT NULL, PRIMARY KEY (picture, model, label),
    FOREIGN KEY(picture) REFERENCES pictures (number), FOREIGN KEY(model) REFERENCES models (id)
);
CREATE INDEX labels_label ON labels (model, label, score);
ALTER TABLE pictures ADD COLUMN low_content BOOLEAN DEFAULT 0 NOT NULL;
""",
    4: "ALTER TABLE pictures ADD COLUMN decode_rule INTEGER DEFAULT 1 NOT NULL;",
    5: """
ALTER TABLE pictures RENAME COLUMN number TO row_id;
ALTER TABLE pictures ADD COLUMN camera TEXT;
ALTER TABLE pictures ADD COLUMN lens TEXT;
ALTER TABLE pictures ADD COLUMN latitude FLOAT;
ALTER TABLE pictures ADD COLUMN longitude FLOAT;
ALTER TABLE pictures ADD COLUMN exif JSON DEFAULT '{}' NOT NULL;
ALTER TABLE pictures DROP COLUMN facts;
CREATE TABLE colors (
    picture INTEGER NOT NULL, rank INTEGER NOT NULL, color VARCHAR(7) NOT NULL,
    PRIMARY KEY (picture, rank), FOREIGN KEY(picture) REFERENCES pictures (row_id)
);
CREATE INDEX colors_color ON colors (color);
CREATE INDEX pictures_type ON pictures (type);
CREATE INDEX pictures_width ON pictures (width);
CREATE INDEX pictures_height ON pictures (height);
CREATE INDEX pictures_bytes ON pictures (bytes);
CREATE INDEX pictures_taken ON pictures (taken);
CREATE INDEX pictures_camera ON pictures (camera);
CREATE INDEX pictures_lens ON pictures (lens);
CREATE INDEX pictures_place ON pictures (latitude, longitude);
""",
    6: "ALTER TABLE vectors ADD COLUMN digest BLOB DEFAULT x'' NOT NULL;",
    7: """
ALTER TABLE tags ADD COLUMN normalized TEXT DEFAULT '' NOT NULL;
ALTER TABLE tags ADD COLUMN origin VARCHAR(8) DEFAULT 'person' NOT NULL;
CREATE UNIQUE INDEX tags_normalized ON tags (normalized, picture);
""",
    8: """
ALTER TABLE pictures RENAME COLUMN rendition TO pixel_hash;
DROP INDEX pictures_rendition;
CREATE INDEX pictures_pixel_hash ON pictures (pixel_hash);
""",
    9: """
DROP TABLE files;
CREATE TABLE files (
    id INTEGER NOT NULL, root INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, reason TEXT, rule VARCHAR(16),
    last_picture INTEGER, PRIMARY KEY (id), UNIQUE (root, path),
    FOREIGN KEY(root) REFERENCES roots (id)
);
CREATE TABLE places (
    id INTEGER NOT NULL, file INTEGER NOT NULL, picture INTEGER NOT NULL, time FLOAT, page INTEGER,
    PRIMARY KEY (id), FOREIGN KEY(file) REFERENCES files (id) ON DELETE CASCADE,
    FOREIGN KEY(picture) REFERENCES pictures (row_id)
);
CREATE INDEX places_file ON places (file);
CREATE INDEX places_picture ON places (picture);
ALTER TABLE pictures ADD COLUMN original_name TEXT;
ALTER TABLE pictures ADD COLUMN source_url TEXT;
ALTER TABLE pictures ADD COLUMN caption TEXT;
""",
    10: """
ALTER TABLE models RENAME TO spaces;
ALTER TABLE vectors RENAME COLUMN model TO space;
ALTER TABLE labels RENAME COLUMN model TO space;
ALTER TABLE changes RENAME COLUMN model TO space;
DROP INDEX changes_model;
CREATE INDEX changes_space ON changes (space, sequence);
""",
    11: """
ALTER TABLE pictures ADD COLUMN truncated BOOLEAN DEFAULT 0 NOT NULL;
ALTER TABLE roots ADD COLUMN follow_links BOOLEAN DEFAULT 0 NOT NULL;
ALTER TABLE roots ADD COLUMN left_out JSON DEFAULT '{}' NOT NULL;
""",
    12: """
ALTER TABLE roots ADD COLUMN file_system TEXT;
ALTER TABLE roots ADD COLUMN keeps_lost BOOLEAN DEFAULT 0 NOT NULL;
ALTER TABLE files ADD COLUMN ctime_ns INTEGER;
ALTER TABLE files ADD COLUMN probe BLOB;
ALTER TABLE files ADD COLUMN tries INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE files ADD COLUMN retry_at FLOAT;
""",
    13: "ALTER TABLE spaces ADD COLUMN beside BOOLEAN DEFAULT 0 NOT NULL;",
    14: "ALTER TABLE files ADD COLUMN skip_code VARCHAR(32);",
    15: """
CREATE TABLE counts (
    name VARCHAR(16) NOT NULL, "key" INTEGER NOT NULL, value INTEGER NOT NULL,
    PRIMARY KEY (name, "key")
);
CREATE INDEX pictures_decode_rule ON pictures (decode_rule);
CREATE INDEX pictures_present ON pictures (row_id) WHERE orphaned IS NULL;
CREATE INDEX pictures_orphaned ON pictures (orphaned) WHERE orphaned IS NOT NULL;
DROP INDEX places_file;
CREATE INDEX places_file ON places (file, picture);
CREATE INDEX files_retry ON files (retry_at) WHERE retry_at IS NOT NULL;
""",
    16: """
CREATE TABLE jobs (
    id VARCHAR(32) NOT NULL, kind VARCHAR(16) NOT NULL, root BLOB, state VARCHAR(16) NOT NULL,
    created FLOAT NOT NULL, server VARCHAR(32) NOT NULL, lease FLOAT NOT NULL,
    cancelled BOOLEAN DEFAULT 0 NOT NULL, version INTEGER NOT NULL, document JSON NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX jobs_kind ON jobs (kind, created);
""",
    17: """
CREATE TABLE tokens (
    name VARCHAR(64) NOT NULL, digest VARCHAR(64) NOT NULL, role VARCHAR(8) NOT NULL,
    collections JSON, created FLOAT NOT NULL, PRIMARY KEY (name), UNIQUE (digest)
);
""",
    18: """
ALTER TABLE colors ADD COLUMN share FLOAT DEFAULT 0 NOT NULL;
ALTER TABLE colors ADD COLUMN cell INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE colors ADD COLUMN hue FLOAT DEFAULT 0 NOT NULL;
DROP INDEX IF EXISTS colors_color;
CREATE INDEX colors_cell ON colors (cell, picture, share);
CREATE INDEX colors_hue ON colors (rank, hue, picture);
""",
    19: """
ALTER TABLE pictures ADD COLUMN caption_origin VARCHAR(8);
ALTER TABLE pictures ADD COLUMN description_rule INTEGER DEFAULT 0 NOT NULL;
CREATE INDEX pictures_description_rule ON pictures (description_rule);
CREATE TABLE removed_tags (
    picture INTEGER NOT NULL, normalized TEXT NOT NULL, PRIMARY KEY (picture, normalized)
);
CREATE TABLE marks (
    picture INTEGER NOT NULL PRIMARY KEY, favourite BOOLEAN DEFAULT 0 NOT NULL, rating INTEGER,
    rating_origin VARCHAR(8), hidden BOOLEAN DEFAULT 0 NOT NULL
);
CREATE INDEX marks_favourite ON marks (picture) WHERE favourite;
CREATE INDEX marks_hidden ON marks (picture) WHERE hidden;
CREATE TABLE albums (
    id VARCHAR(32) NOT NULL, name TEXT NOT NULL, created FLOAT NOT NULL, PRIMARY KEY (id)
);
CREATE TABLE album_pictures (
    album VARCHAR(32) NOT NULL REFERENCES albums (id) ON DELETE CASCADE,
    picture INTEGER NOT NULL REFERENCES pictures (row_id), added FLOAT NOT NULL,
    PRIMARY KEY (album, picture)
);
CREATE INDEX album_pictures_picture ON album_pictures (picture);
CREATE TABLE remembered (id VARCHAR(64) NOT NULL, document JSON NOT NULL, PRIMARY KEY (id));
CREATE TABLE embedded_descriptions (
    picture INTEGER NOT NULL REFERENCES pictures (row_id), document JSON NOT NULL,
    PRIMARY KEY (picture)
);
CREATE TABLE sidecars (
    file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE, state TEXT NOT NULL,
    document JSON NOT NULL, PRIMARY KEY (file)
);
CREATE TABLE removals (
    id VARCHAR(32) NOT NULL, created FLOAT NOT NULL, document JSON NOT NULL, PRIMARY KEY (id)
);
""",
    20: """
CREATE TABLE texts (
    picture INTEGER NOT NULL PRIMARY KEY, model VARCHAR(16) NOT NULL, failed VARCHAR(32),
    text TEXT NOT NULL, lines JSON NOT NULL
);
""",
    21: """
CREATE TABLE search_texts (id INTEGER NOT NULL PRIMARY KEY, tokens TEXT NOT NULL);
CREATE TABLE stale_texts (picture INTEGER NOT NULL PRIMARY KEY);
CREATE VIRTUAL TABLE search_words USING fts5
    (tokens, content='search_texts', content_rowid='id', tokenize='ascii');
CREATE TRIGGER search_texts_insert AFTER INSERT ON search_texts BEGIN
    INSERT INTO search_words (rowid, tokens) VALUES (NEW.id, NEW.tokens);
END;
CREATE TRIGGER search_texts_delete AFTER DELETE ON search_texts BEGIN
    INSERT INTO search_words (search_words, rowid, tokens) VALUES ('delete', OLD.id, OLD.tokens);
END;
CREATE TRIGGER search_texts_update AFTER UPDATE ON search_texts BEGIN
    INSERT INTO search_words (search_words, rowid, tokens) VALUES ('delete', OLD.id, OLD.tokens);
    INSERT INTO search_words (rowid, tokens) VALUES (NEW.id, NEW.tokens);
END;
"""
    + "".join(
        f"""
CREATE TRIGGER texts_go_stale_{number} AFTER {event} BEGIN
    INSERT INTO stale_texts SELECT DISTINCT picture FROM ({query}) AS one
    WHERE picture NOT IN (SELECT picture FROM stale_texts);
END;
"""
        for number, (event, query) in enumerate(
            (
                *(
                    (f"{event} ON {table}", f"SELECT {row}.picture AS picture")
                    for table in ("places", "tags", "labels", "texts", "album_pictures", "colors")
                    for event, row in (
                        ("INSERT", "NEW"),
                        ("DELETE", "OLD"),
                        ("UPDATE", "OLD"),
                        ("UPDATE", "NEW"),
                    )
                ),
                (
                    "UPDATE OF caption, original_name, camera, lens, orphaned ON pictures",
                    "SELECT NEW.row_id AS picture",
                ),
                ("DELETE ON pictures", "SELECT OLD.row_id AS picture"),
                ("UPDATE OF root, path ON files", "SELECT picture FROM places WHERE file = NEW.id"),
                (
                    "UPDATE OF path ON roots",
                    "SELECT places.picture FROM places JOIN files ON files.id = places.file "
                    "WHERE files.root = NEW.id",
                ),
                (
                    "UPDATE OF name ON albums",
                    "SELECT picture FROM album_pictures WHERE album = NEW.id",
                ),
            )
        )
    ),
    22: """
CREATE TABLE local_features (
    picture INTEGER NOT NULL REFERENCES pictures (row_id), rule INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (picture)
);
CREATE INDEX local_features_rule ON local_features (rule);
""",
    23: """
CREATE INDEX files_skipped ON files (root, path) WHERE reason IS NOT NULL;
CREATE TABLE listings (root INTEGER NOT NULL PRIMARY KEY, digest TEXT NOT NULL);
"""
    + "".join(
        f"CREATE TRIGGER listings_end_{i} AFTER {event} BEGIN DELETE FROM listings WHERE root IN "
        f"({concerned}); END;\n"
        for i, (event, concerned) in enumerate(
            (
                ("INSERT ON files", "NEW.root"),
                ("DELETE ON files", "OLD.root"),
                ("UPDATE ON files", "OLD.root, NEW.root"),
                ("DELETE ON roots", "OLD.id"),
                ("UPDATE OF path ON roots", "OLD.id"),
                *(
                    (f"{event} ON {table}", f"SELECT root FROM files WHERE id IN ({rows})")
                    for table in ("places", "sidecars")
                    for event, rows in (
                        ("INSERT", "NEW.file"),
                        ("DELETE", "OLD.file"),
                        ("UPDATE", "OLD.file, NEW.file"),
                    )
                ),
            )
        )
    ),
    24: """
CREATE TABLE model_captions (
    picture INTEGER NOT NULL, model VARCHAR(16) NOT NULL, failed VARCHAR(32), caption TEXT NOT NULL,
    PRIMARY KEY (picture), FOREIGN KEY(picture) REFERENCES pictures (row_id)
);
""",
    25: """
CREATE TABLE transient_items (
    kind VARCHAR(16) NOT NULL, name VARCHAR(64) NOT NULL, ends FLOAT NOT NULL, media TEXT NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (kind, name)
);
""",
    26: """
ALTER TABLE pictures ADD COLUMN added FLOAT;
CREATE INDEX pictures_added ON pictures (added);
CREATE TABLE saved_searches (
    owner VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, query JSON NOT NULL,
    created FLOAT NOT NULL, seen FLOAT NOT NULL, newest INTEGER NOT NULL,
    PRIMARY KEY (owner, name)
);
CREATE TABLE saved_pictures (
    owner VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, number INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (owner, name, number)
);
""",
    27: """
CREATE TABLE mentions (
    file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE, rank INTEGER NOT NULL,
    page TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (file, rank)
);
CREATE TABLE site_answers (
    root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE, url TEXT NOT NULL,
    etag TEXT NOT NULL, modified TEXT NOT NULL, digest TEXT NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (root, url)
);
"""
    + "".join(
        f"CREATE TRIGGER mentions_go_stale_{event.lower()} AFTER {event} ON mentions BEGIN "
        "INSERT INTO stale_texts SELECT DISTINCT picture FROM places WHERE "
        f"file = {row}.file AND picture NOT IN (SELECT picture FROM stale_texts); END;\n"
        for event, row in (("INSERT", "NEW"), ("DELETE", "OLD"), ("UPDATE", "NEW"))
    ),
    28: """
ALTER TABLE places ADD COLUMN words TEXT;
ALTER TABLE places ADD COLUMN subtitles TEXT;
CREATE TABLE films (
    file INTEGER NOT NULL, content VARCHAR(64) NOT NULL, duration FLOAT,
    subtitles TEXT DEFAULT '' NOT NULL, PRIMARY KEY (file),
    FOREIGN KEY(file) REFERENCES files (id) ON DELETE CASCADE
);
CREATE INDEX films_content ON films (content);
""",
    29: "ALTER TABLE roots ADD COLUMN collection TEXT;",
}
OLD_VERSIONS = tuple(range(1, 30))
TABLES = {  # of the present version, by their names in older ones
    **{name: name for name in "meta roots pictures colors".split()},
    **dict.fromkeys(("models", "spaces"), "spaces"),
    **{
        name: name for name in "changes files places vectors labels tags counts jobs tokens".split()
    },
}


def write_old_catalog(new: Path, old: Path, version: int) -> None:
    """Copy a catalog of the present version into the tables of an older one."""
    with sqlite3.connect(new) as source, sqlite3.connect(old) as target:
        target.execute("PRAGMA foreign_keys=OFF")
        target.executescript(VERSION_1)
        for step in range(2, version + 1):
            target.executescript(STEPS[step])
        target.execute("INSERT INTO migrations VALUES (?, 0)", (version,))
        source.row_factory = sqlite3.Row
        for table, present in TABLES.items():
            columns = {row[1] for row in target.execute(f"PRAGMA table_info({table})")}
            if columns:
                for row in source.execute(f"SELECT * FROM {present} ORDER BY 1, 2"):
                    values = dict(row)
                    if table == "changes" and values["space"] == -1:
                        continue  # of local features, which are derived and not copied
                    if table == "pictures":
                        values |= {
                            "number": row["row_id"],
                            "rendition": row["pixel_hash"],
                            "facts": facts(source, values),
                        }
                    if table == "files":
                        query = "SELECT picture FROM places WHERE file = ?"
                        place = source.execute(query, (row["id"],)).fetchone()
                        values |= {"picture": place and place[0], "was": row["last_picture"]}
                    if "space" in values:
                        values |= {"model": values["space"]}
                    copy_row(target, table, columns, values)
    source.close()
    target.close()


def facts(source: sqlite3.Connection, row: dict[str, object]) -> str:
    """The metadata of a picture, as versions before 5 kept it: one JSON column."""
    query = "SELECT color FROM colors WHERE picture = ? ORDER BY rank"
    palette = [color for (color,) in map(tuple, source.execute(query, (row["row_id"],)))]
    names = ("camera", "latitude", "longitude")
    exif = json.loads(str(row["exif"]))
    return json.dumps({**{name: row[name] for name in names}, "palette": palette, "exif": exif})


def copy_row(
    target: sqlite3.Connection, table: str, columns: set[str], row: dict[str, object]
) -> None:
    """Insert what an older table has columns for."""
    values = {name: value for name, value in row.items() if name in columns}
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
    target.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))


def read_rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """What a query returns."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows
