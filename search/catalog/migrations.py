"""The migrations of the catalog's schema, in order.

Each is SQL that stays as it is forever, so that a later change of `search.catalog.schema` cannot
change what it does. Each runs in one transaction, which also records its version. Catalogs on
PostgreSQL begin with version 13, so the SQL of earlier ones is SQLite's; later ones give `_run` the
SQL of both where it differs.
"""

from __future__ import annotations

import hashlib
import time
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, inspect, select

from search.catalog import schema
from search.catalog.sql import write_name_key
from search.media.colors import RANK_SHARES, color_of_cell, hue_of


def create(connection: Connection) -> None:
    """Create the tables of a new catalog, as the last migration leaves those of an old one."""
    schema.metadata.create_all(connection)
    add_full_text(connection)
    add_listings(connection)
    add_sites(connection)
    index_file_names(connection)
    connection.execute(insert(schema.meta).values(key="library", value=uuid.uuid4().hex))


def index_vectors_by_picture(connection: Connection) -> None:
    """Without this index, deleting a picture reads all vectors."""
    _run(connection, "CREATE INDEX IF NOT EXISTS vectors_picture ON vectors (picture)")


def add_labels(connection: Connection) -> None:
    """Labels of pictures, and whether a picture is blank."""
    _run(
        connection,
        """
        CREATE TABLE IF NOT EXISTS labels (
            picture INTEGER NOT NULL REFERENCES pictures (number),
            model INTEGER NOT NULL REFERENCES models (id),
            label VARCHAR(200) NOT NULL,
            score FLOAT NOT NULL,
            PRIMARY KEY (picture, model, label)
        )
        """,
        "CREATE INDEX IF NOT EXISTS labels_label ON labels (model, label, score)",
    )
    _add_column(connection, "pictures", "low_content", "BOOLEAN DEFAULT 0 NOT NULL")


def add_decode_rule(connection: Connection) -> None:
    """The decode rule of each picture. Earlier pictures were decoded under rule 1."""
    _add_column(connection, "pictures", "decode_rule", "INTEGER DEFAULT 1 NOT NULL")


def add_metadata_columns(connection: Connection) -> None:
    """Columns with indexes for metadata that were in one JSON column, and a table of colours."""
    _run(
        connection,
        "ALTER TABLE pictures RENAME COLUMN number TO row_id",
        "ALTER TABLE pictures ADD COLUMN camera TEXT",
        "ALTER TABLE pictures ADD COLUMN lens TEXT",
        "ALTER TABLE pictures ADD COLUMN latitude FLOAT",
        "ALTER TABLE pictures ADD COLUMN longitude FLOAT",
        "ALTER TABLE pictures ADD COLUMN exif JSON DEFAULT '{}' NOT NULL",
        """
        UPDATE pictures SET
            camera = json_extract(facts, '$.camera'),
            lens = json_extract(facts, '$.exif.LensModel'),
            latitude = json_extract(facts, '$.latitude'),
            longitude = json_extract(facts, '$.longitude'),
            exif = coalesce(json_extract(facts, '$.exif'), '{}')
        """,
        """
        CREATE TABLE colors (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            rank INTEGER NOT NULL,
            color VARCHAR(7) NOT NULL,
            PRIMARY KEY (picture, rank)
        )
        """,
        """
        INSERT INTO colors SELECT pictures.row_id, entry.key, entry.value
        FROM pictures, json_each(pictures.facts, '$.palette') AS entry
        """,
        "ALTER TABLE pictures DROP COLUMN facts",
        "CREATE INDEX colors_color ON colors (color)",
        "CREATE INDEX pictures_type ON pictures (type)",
        "CREATE INDEX pictures_width ON pictures (width)",
        "CREATE INDEX pictures_height ON pictures (height)",
        "CREATE INDEX pictures_bytes ON pictures (bytes)",
        "CREATE INDEX pictures_taken ON pictures (taken)",
        "CREATE INDEX pictures_camera ON pictures (camera)",
        "CREATE INDEX pictures_lens ON pictures (lens)",
        "CREATE INDEX pictures_place ON pictures (latitude, longitude)",
    )


def add_vector_digests(connection: Connection) -> None:
    """A digest of each vector. It vouches for the vector from now on."""
    _run(connection, "ALTER TABLE vectors ADD COLUMN digest BLOB DEFAULT x'' NOT NULL")
    query = "SELECT rowid, data FROM vectors WHERE rowid > ? ORDER BY rowid LIMIT 4096"
    update, last = "UPDATE vectors SET digest = ? WHERE rowid = ?", -1
    while rows := connection.exec_driver_sql(query, (last,)).all():
        last = rows[-1][0]
        digests = [(hashlib.blake2b(data, digest_size=8).digest(), row) for row, data in rows]
        connection.exec_driver_sql(update, digests)


def add_tag_origins(connection: Connection) -> None:
    """The normalized form and the origin of each tag. Of equal tags of a picture, one stays."""
    _run(
        connection,
        "ALTER TABLE tags ADD COLUMN normalized TEXT DEFAULT '' NOT NULL",
        "ALTER TABLE tags ADD COLUMN origin VARCHAR(8) DEFAULT 'person' NOT NULL",
    )
    for (tag,) in connection.exec_driver_sql("SELECT DISTINCT tag FROM tags").all():
        normalized = " ".join(unicodedata.normalize("NFKC", tag).casefold().split())
        connection.exec_driver_sql(
            "UPDATE tags SET normalized = ? WHERE tag = ?", (normalized, tag)
        )
    _run(
        connection,
        "DELETE FROM tags WHERE rowid NOT IN (SELECT min(rowid) FROM tags GROUP BY picture, "
        "normalized)",
        "CREATE UNIQUE INDEX tags_normalized ON tags (normalized, picture)",
    )


def rename_pixel_hash(connection: Connection) -> None:
    """The hash of the normalized image is called what it is."""
    _run(
        connection,
        "ALTER TABLE pictures RENAME COLUMN rendition TO pixel_hash",
        "DROP INDEX pictures_rendition",
        "CREATE INDEX pictures_pixel_hash ON pictures (pixel_hash)",
    )


def add_places(connection: Connection) -> None:
    """Places between files and pictures, since a film has many; and names that people gave."""
    _run(
        connection,
        """
        CREATE TABLE new_files (
            id INTEGER NOT NULL PRIMARY KEY,
            root INTEGER NOT NULL REFERENCES roots (id),
            path BLOB NOT NULL,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            inode INTEGER NOT NULL,
            reason TEXT,
            rule VARCHAR(16),
            last_picture INTEGER,
            UNIQUE (root, path)
        )
        """,
        """
        INSERT INTO new_files SELECT id, root, path, size, mtime_ns, inode, reason, rule, was
        FROM files
        """,
        "CREATE TEMPORARY TABLE old_places AS SELECT id, picture FROM files",
        "DROP TABLE files",
        "ALTER TABLE new_files RENAME TO files",
        """
        CREATE TABLE places (
            id INTEGER NOT NULL PRIMARY KEY,
            file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            time FLOAT,
            page INTEGER
        )
        """,
        """
        INSERT INTO places (file, picture) SELECT id, picture FROM old_places
        WHERE picture IS NOT NULL ORDER BY id
        """,
        "DROP TABLE old_places",
        "CREATE INDEX places_file ON places (file)",
        "CREATE INDEX places_picture ON places (picture)",
        "ALTER TABLE pictures ADD COLUMN original_name TEXT",
        "ALTER TABLE pictures ADD COLUMN source_url TEXT",
        "ALTER TABLE pictures ADD COLUMN caption TEXT",
        "UPDATE pictures SET caption = json_extract(exif, '$.ImageDescription')",
    )


def rename_spaces(connection: Connection) -> None:
    """What vectors belong to is a space; a model is a part of it."""
    _run(
        connection,
        "ALTER TABLE models RENAME TO spaces",
        "ALTER TABLE vectors RENAME COLUMN model TO space",
        "ALTER TABLE labels RENAME COLUMN model TO space",
        "ALTER TABLE changes RENAME COLUMN model TO space",
        "DROP INDEX changes_model",
        "CREATE INDEX changes_space ON changes (space, sequence)",
    )


def add_left_out(connection: Connection) -> None:
    """Whether a picture is truncated; what a root leaves out; whether its links are followed."""
    _add_column(connection, "pictures", "truncated", "BOOLEAN DEFAULT 0 NOT NULL")
    _add_column(connection, "roots", "follow_links", "BOOLEAN DEFAULT 0 NOT NULL")
    _add_column(connection, "roots", "left_out", "JSON DEFAULT '{}' NOT NULL")


def add_file_states(connection: Connection) -> None:
    """What tells whether a file or a disk is still the same, and when to try a slow file again."""
    _run(
        connection,
        "ALTER TABLE roots ADD COLUMN file_system TEXT",
        "ALTER TABLE roots ADD COLUMN keeps_lost BOOLEAN DEFAULT 0 NOT NULL",
        "ALTER TABLE files ADD COLUMN ctime_ns INTEGER",
        "ALTER TABLE files ADD COLUMN probe BLOB",
        "ALTER TABLE files ADD COLUMN tries INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE files ADD COLUMN retry_at FLOAT",
    )


def add_spaces_beside(connection: Connection) -> None:
    """Which spaces also serve, beside that of the library's own model."""
    _run(connection, "ALTER TABLE spaces ADD COLUMN beside BOOLEAN DEFAULT 0 NOT NULL")


def add_skip_codes(connection: Connection) -> None:
    """A stable code beside the reason why a file was skipped."""
    _add_column(connection, "files", "skip_code", "VARCHAR(32)")
    _run(
        connection,
        """
        UPDATE files SET skip_code = CASE
            WHEN reason LIKE '%took longer%' THEN 'decode_timeout'
            WHEN reason LIKE '%more than%' OR reason LIKE '%at most%' THEN 'picture_too_large'
            WHEN reason LIKE 'the decoder %' THEN 'decode_failed'
            ELSE 'not_a_picture'
        END
        WHERE reason IS NOT NULL
        """,
    )


def add_counts(connection: Connection) -> None:
    """Counts that are kept, and indexes of what is asked for often and is few."""
    _run(
        connection,
        """
        CREATE TABLE counts (
            name VARCHAR(16) NOT NULL,
            "key" INTEGER NOT NULL,
            value INTEGER NOT NULL,
            PRIMARY KEY (name, "key")
        )
        """,
        "CREATE INDEX pictures_decode_rule ON pictures (decode_rule)",
        "CREATE INDEX pictures_present ON pictures (row_id) WHERE orphaned IS NULL",
        "CREATE INDEX pictures_orphaned ON pictures (orphaned) WHERE orphaned IS NOT NULL",
        "DROP INDEX places_file",
        "CREATE INDEX places_file ON places (file, picture)",
        "CREATE INDEX files_retry ON files (retry_at) WHERE retry_at IS NOT NULL",
        """
        INSERT INTO counts SELECT 'pictures', row_id / 4096, count(*) FROM pictures
        WHERE orphaned IS NULL GROUP BY row_id / 4096
        """,
        """
        INSERT INTO counts SELECT 'files', root, count(*) FROM files
        WHERE id IN (SELECT file FROM places) GROUP BY root
        """,
        """
        INSERT INTO counts SELECT 'embedded', vectors.space, count(*) FROM vectors
        JOIN pictures ON pictures.row_id = vectors.picture AND pictures.orphaned IS NULL
        GROUP BY vectors.space
        """,
    )


def add_jobs(connection: Connection) -> None:
    """The jobs of all servers of the library."""
    _run(
        connection,
        """
        CREATE TABLE jobs (
            id VARCHAR(32) NOT NULL,
            kind VARCHAR(16) NOT NULL,
            root BLOB,
            state VARCHAR(16) NOT NULL,
            created FLOAT NOT NULL,
            server VARCHAR(32) NOT NULL,
            lease FLOAT NOT NULL,
            cancelled BOOLEAN DEFAULT 0 NOT NULL,
            version INTEGER NOT NULL,
            document JSON NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        "CREATE INDEX jobs_kind ON jobs (kind, created)",
        postgresql=(
            """
            CREATE TABLE jobs (
                id VARCHAR COLLATE "C" NOT NULL,
                kind VARCHAR COLLATE "C" NOT NULL,
                root BYTEA,
                state VARCHAR COLLATE "C" NOT NULL,
                created FLOAT NOT NULL,
                server VARCHAR COLLATE "C" NOT NULL,
                lease FLOAT NOT NULL,
                cancelled BOOLEAN DEFAULT false NOT NULL,
                version INTEGER NOT NULL,
                document JSON NOT NULL,
                PRIMARY KEY (id)
            )
            """,
            "CREATE INDEX jobs_kind ON jobs (kind, created)",
        ),
    )


def add_tokens(connection: Connection) -> None:
    """Tokens of users, with what each may do."""
    _run(
        connection,
        """
        CREATE TABLE tokens (
            name VARCHAR(64) NOT NULL,
            digest VARCHAR(64) NOT NULL,
            role VARCHAR(8) NOT NULL,
            collections JSON,
            created FLOAT NOT NULL,
            PRIMARY KEY (name),
            UNIQUE (digest)
        )
        """,
        postgresql=(
            """
            CREATE TABLE tokens (
                name VARCHAR COLLATE "C" NOT NULL,
                digest VARCHAR COLLATE "C" NOT NULL,
                role VARCHAR COLLATE "C" NOT NULL,
                collections JSON,
                created FLOAT NOT NULL,
                PRIMARY KEY (name),
                UNIQUE (digest)
            )
            """,
        ),
    )


def add_color_shares(connection: Connection) -> None:
    """How much of a picture each color covers, and by what colors are found and sorted.

    The shares of earlier palettes are the usual ones of their ranks until the file is read again.
    """
    hexadecimal = "instr('0123456789abcdef', substr(color, {place}, 1)) - 1"
    cell = " + ".join(
        f"(({hexadecimal.format(place=place)}) * 2 + ({hexadecimal.format(place=place + 1)}) / 8)"
        f" * {factor}"
        for place, factor in ((2, 1024), (4, 32), (6, 1))
    )
    shares = " ".join(f"WHEN {rank} THEN {share}" for rank, share in enumerate(RANK_SHARES))
    update = f"UPDATE colors SET cell = {cell}, share = CASE rank {shares} ELSE 0 END"
    statements = (
        "ALTER TABLE colors ADD COLUMN share FLOAT DEFAULT 0 NOT NULL",
        "ALTER TABLE colors ADD COLUMN cell INTEGER DEFAULT 0 NOT NULL",
        "ALTER TABLE colors ADD COLUMN hue FLOAT DEFAULT 0 NOT NULL",
        "DROP INDEX colors_color",
        update,
        "CREATE INDEX colors_cell ON colors (cell, picture, share)",
    )
    strpos = "strpos('0123456789abcdef', "  # as SQLite's `instr`
    postgresql = [one.replace("instr('0123456789abcdef', ", strpos) for one in statements]
    _run(connection, *statements, postgresql=postgresql)
    for (cell_number,) in connection.exec_driver_sql("SELECT DISTINCT cell FROM colors").all():
        hue = hue_of(color_of_cell(cell_number))
        _run(connection, f"UPDATE colors SET hue = {hue} WHERE cell = {cell_number}")
    _run(connection, "CREATE INDEX colors_hue ON colors (rank, hue, picture)")


def add_annotations(connection: Connection) -> None:
    """Marks, albums, what files say of pictures, and who gave a caption."""
    is_postgresql = connection.dialect.name == "postgresql"
    origin = 'VARCHAR COLLATE "C"' if is_postgresql else "VARCHAR(8)"
    _add_column(connection, "pictures", "caption_origin", origin)
    _add_column(connection, "pictures", "description_rule", "INTEGER DEFAULT 0 NOT NULL")
    _run(
        connection,
        "UPDATE pictures SET caption_origin = 'file' WHERE caption IS NOT NULL",
        "CREATE INDEX pictures_description_rule ON pictures (description_rule)",
    )
    _run(
        connection,
        """
        CREATE TABLE removed_tags (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            normalized TEXT NOT NULL,
            PRIMARY KEY (picture, normalized)
        )
        """,
        """
        CREATE TABLE marks (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            favourite BOOLEAN DEFAULT 0 NOT NULL,
            rating INTEGER,
            rating_origin VARCHAR(8),
            hidden BOOLEAN DEFAULT 0 NOT NULL,
            PRIMARY KEY (picture)
        )
        """,
        "CREATE INDEX marks_favourite ON marks (picture) WHERE favourite",
        "CREATE INDEX marks_hidden ON marks (picture) WHERE hidden",
        """
        CREATE TABLE albums (
            id VARCHAR(32) NOT NULL,
            name TEXT NOT NULL,
            created FLOAT NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE album_pictures (
            album VARCHAR(32) NOT NULL REFERENCES albums (id) ON DELETE CASCADE,
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            added FLOAT NOT NULL,
            PRIMARY KEY (album, picture)
        )
        """,
        "CREATE INDEX album_pictures_picture ON album_pictures (picture)",
        """
        CREATE TABLE remembered (
            id VARCHAR(64) NOT NULL,
            document JSON NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        """
        CREATE TABLE embedded_descriptions (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            document JSON NOT NULL,
            PRIMARY KEY (picture)
        )
        """,
        """
        CREATE TABLE sidecars (
            file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            state TEXT NOT NULL,
            document JSON NOT NULL,
            PRIMARY KEY (file)
        )
        """,
        """
        CREATE TABLE removals (
            id VARCHAR(32) NOT NULL,
            created FLOAT NOT NULL,
            document JSON NOT NULL,
            PRIMARY KEY (id)
        )
        """,
        postgresql=(
            """
            CREATE TABLE removed_tags (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                normalized VARCHAR COLLATE "C" NOT NULL,
                PRIMARY KEY (picture, normalized)
            )
            """,
            """
            CREATE TABLE marks (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                favourite BOOLEAN DEFAULT false NOT NULL,
                rating INTEGER,
                rating_origin VARCHAR COLLATE "C",
                hidden BOOLEAN DEFAULT false NOT NULL,
                PRIMARY KEY (picture)
            )
            """,
            "CREATE INDEX marks_favourite ON marks (picture)",
            "CREATE INDEX marks_hidden ON marks (picture)",
            """
            CREATE TABLE albums (
                id VARCHAR COLLATE "C" NOT NULL,
                name VARCHAR COLLATE "C" NOT NULL,
                created FLOAT NOT NULL,
                PRIMARY KEY (id)
            )
            """,
            """
            CREATE TABLE album_pictures (
                album VARCHAR COLLATE "C" NOT NULL REFERENCES albums (id) ON DELETE CASCADE,
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                added FLOAT NOT NULL,
                PRIMARY KEY (album, picture)
            )
            """,
            "CREATE INDEX album_pictures_picture ON album_pictures (picture)",
            """
            CREATE TABLE remembered (
                id VARCHAR COLLATE "C" NOT NULL,
                document JSON NOT NULL,
                PRIMARY KEY (id)
            )
            """,
            """
            CREATE TABLE embedded_descriptions (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                document JSON NOT NULL,
                PRIMARY KEY (picture)
            )
            """,
            """
            CREATE TABLE sidecars (
                file BIGINT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
                state VARCHAR COLLATE "C" NOT NULL,
                document JSON NOT NULL,
                PRIMARY KEY (file)
            )
            """,
            """
            CREATE TABLE removals (
                id VARCHAR COLLATE "C" NOT NULL,
                created FLOAT NOT NULL,
                document JSON NOT NULL,
                PRIMARY KEY (id)
            )
            """,
        ),
    )


def add_texts(connection: Connection) -> None:
    """What is written in pictures."""
    _run(
        connection,
        """
        CREATE TABLE texts (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            model VARCHAR(16) NOT NULL,
            failed VARCHAR(32),
            text TEXT NOT NULL,
            lines JSON NOT NULL,
            PRIMARY KEY (picture)
        )
        """,
        postgresql=(
            """
            CREATE TABLE texts (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                model TEXT COLLATE "C" NOT NULL,
                failed TEXT COLLATE "C",
                text TEXT COLLATE "C" NOT NULL,
                lines JSON NOT NULL,
                PRIMARY KEY (picture)
            )
            """,
        ),
    )


def add_full_text(connection: Connection) -> None:
    """The words of pictures with their index, and triggers that note whose words change."""
    # event, and which pictures it concerns; one trigger each
    events = [
        (f"{event} ON {table}", f"SELECT {row}.picture AS picture")
        for table in ("places", "tags", "labels", "texts", "album_pictures", "colors")
        for event, row in (
            ("INSERT", "NEW"),
            ("DELETE", "OLD"),
            ("UPDATE", "OLD"),
            ("UPDATE", "NEW"),
        )
    ]
    events += [
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
    ]
    triggers, functions = [], []
    for number, (event, query) in enumerate(events):
        name = f"texts_go_stale_{number}"
        noted = (
            f"INSERT INTO stale_texts SELECT DISTINCT picture FROM ({query}) AS one "
            "WHERE picture NOT IN (SELECT picture FROM stale_texts)"
        )
        triggers.append(f"CREATE TRIGGER {name} AFTER {event} BEGIN {noted}; END")
        functions += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {noted}; "
            "RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    _run(
        connection,
        "CREATE TABLE search_texts (id INTEGER NOT NULL PRIMARY KEY, tokens TEXT NOT NULL)",
        "CREATE TABLE stale_texts (picture INTEGER NOT NULL PRIMARY KEY)",
        "CREATE VIRTUAL TABLE search_words USING fts5 "
        "(tokens, content='search_texts', content_rowid='id', tokenize='ascii')",
        "CREATE TRIGGER search_texts_insert AFTER INSERT ON search_texts BEGIN "
        "INSERT INTO search_words (rowid, tokens) VALUES (NEW.id, NEW.tokens); END",
        "CREATE TRIGGER search_texts_delete AFTER DELETE ON search_texts BEGIN "
        "INSERT INTO search_words (search_words, rowid, tokens) "
        "VALUES ('delete', OLD.id, OLD.tokens); END",
        "CREATE TRIGGER search_texts_update AFTER UPDATE ON search_texts BEGIN "
        "INSERT INTO search_words (search_words, rowid, tokens) "
        "VALUES ('delete', OLD.id, OLD.tokens); "
        "INSERT INTO search_words (rowid, tokens) VALUES (NEW.id, NEW.tokens); END",
        *triggers,
        postgresql=(
            'CREATE TABLE search_texts (id BIGINT PRIMARY KEY, tokens TEXT COLLATE "C" NOT NULL)',
            "CREATE TABLE stale_texts (picture BIGINT PRIMARY KEY)",
            "CREATE INDEX search_texts_words ON search_texts USING gin (CAST(tokens AS tsvector))",
            *functions,
        ),
    )
    _run(
        connection,
        "INSERT INTO stale_texts SELECT row_id FROM pictures WHERE orphaned IS NULL",
    )


def add_local_features(connection: Connection) -> None:
    """Local features of pictures. The next sync computes them."""
    _run(
        connection,
        """
        CREATE TABLE local_features (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            rule INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (picture)
        )
        """,
        "CREATE INDEX local_features_rule ON local_features (rule)",
        postgresql=(
            """
            CREATE TABLE local_features (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                rule INTEGER NOT NULL,
                data BYTEA NOT NULL,
                PRIMARY KEY (picture)
            )
            """,
            "CREATE INDEX local_features_rule ON local_features (rule)",
        ),
    )


def add_listings(connection: Connection) -> None:
    """Digests of unchanged folders, with triggers that delete them, and an index of skipped
    files."""
    file_roots = "SELECT root FROM files WHERE id"
    events = [  # and the roots that each concerns
        ("INSERT ON files", "NEW.root"),
        ("DELETE ON files", "OLD.root"),
        ("UPDATE ON files", "OLD.root, NEW.root"),
        ("DELETE ON roots", "OLD.id"),
        ("UPDATE OF path ON roots", "OLD.id"),
        *(
            (f"{event} ON {table}", f"{file_roots} IN ({rows})")
            for table in ("places", "sidecars")
            for event, rows in (
                ("INSERT", "NEW.file"),
                ("DELETE", "OLD.file"),
                ("UPDATE", "OLD.file, NEW.file"),
            )
        ),
    ]
    triggers, functions = [], []
    for number, (event, concerned) in enumerate(events):
        name = f"listings_end_{number}"
        ended = f"DELETE FROM listings WHERE root IN ({concerned})"
        triggers.append(f"CREATE TRIGGER {name} AFTER {event} BEGIN {ended}; END")
        functions += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {ended}; "
            "RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    skipped = "CREATE INDEX files_skipped ON files (root, path) WHERE reason IS NOT NULL"
    _run(
        connection,
        skipped,
        "CREATE TABLE listings (root INTEGER NOT NULL PRIMARY KEY, digest TEXT NOT NULL)",
        *triggers,
        postgresql=(
            skipped,
            'CREATE TABLE listings (root BIGINT PRIMARY KEY, digest TEXT COLLATE "C" NOT NULL)',
            *functions,
        ),
    )


def add_model_captions(connection: Connection) -> None:
    """What models say of pictures."""
    _run(
        connection,
        """
        CREATE TABLE model_captions (
            picture INTEGER NOT NULL REFERENCES pictures (row_id),
            model VARCHAR(16) NOT NULL,
            failed VARCHAR(32),
            caption TEXT NOT NULL,
            PRIMARY KEY (picture)
        )
        """,
        postgresql=(
            """
            CREATE TABLE model_captions (
                picture BIGINT NOT NULL REFERENCES pictures (row_id),
                model TEXT COLLATE "C" NOT NULL,
                failed TEXT COLLATE "C",
                caption TEXT COLLATE "C" NOT NULL,
                PRIMARY KEY (picture)
            )
            """,
        ),
    )


def add_transient_items(connection: Connection) -> None:
    """What servers keep for some time."""
    _run(
        connection,
        """
        CREATE TABLE transient_items (
            kind VARCHAR(16) NOT NULL,
            name VARCHAR(64) NOT NULL,
            ends FLOAT NOT NULL,
            media TEXT NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (kind, name)
        )
        """,
        postgresql=(
            """
            CREATE TABLE transient_items (
                kind TEXT COLLATE "C" NOT NULL,
                name TEXT COLLATE "C" NOT NULL,
                ends DOUBLE PRECISION NOT NULL,
                media TEXT COLLATE "C" NOT NULL,
                data BYTEA NOT NULL,
                PRIMARY KEY (kind, name)
            )
            """,
        ),
    )


def add_saved_searches(connection: Connection) -> None:
    """Searches under a name, and when a picture came to the library."""
    is_postgresql = connection.dialect.name == "postgresql"
    real = "DOUBLE PRECISION" if is_postgresql else "FLOAT"
    _add_column(connection, "pictures", "added", real)
    _run(
        connection,
        "CREATE INDEX pictures_added ON pictures (added)",
        """
        CREATE TABLE saved_searches (
            owner VARCHAR(64) NOT NULL,
            name VARCHAR(200) NOT NULL,
            query JSON NOT NULL,
            created FLOAT NOT NULL,
            seen FLOAT NOT NULL,
            newest INTEGER NOT NULL,
            PRIMARY KEY (owner, name)
        )
        """,
        """
        CREATE TABLE saved_pictures (
            owner VARCHAR(64) NOT NULL,
            name VARCHAR(200) NOT NULL,
            number INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (owner, name, number)
        )
        """,
        postgresql=(
            "CREATE INDEX pictures_added ON pictures (added)",
            """
            CREATE TABLE saved_searches (
                owner TEXT COLLATE "C" NOT NULL,
                name TEXT COLLATE "C" NOT NULL,
                query JSON NOT NULL,
                created DOUBLE PRECISION NOT NULL,
                seen DOUBLE PRECISION NOT NULL,
                newest BIGINT NOT NULL,
                PRIMARY KEY (owner, name)
            )
            """,
            """
            CREATE TABLE saved_pictures (
                owner TEXT COLLATE "C" NOT NULL,
                name TEXT COLLATE "C" NOT NULL,
                number INTEGER NOT NULL,
                data BYTEA NOT NULL,
                PRIMARY KEY (owner, name, number)
            )
            """,
        ),
    )


def add_sites(connection: Connection) -> None:
    """Pages of web sites that show pictures, and what a site answered when it was last listed."""
    noted = (
        "INSERT INTO stale_texts SELECT DISTINCT picture FROM places WHERE file = {row}.file "
        "AND picture NOT IN (SELECT picture FROM stale_texts)"
    )
    events = (("INSERT", "NEW"), ("DELETE", "OLD"), ("UPDATE", "NEW"))
    triggers, functions = [], []
    for event, row in events:
        name = f"mentions_go_stale_{event.lower()}"
        body = noted.format(row=row)
        triggers.append(f"CREATE TRIGGER {name} AFTER {event} ON mentions BEGIN {body}; END")
        functions += [
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; "
            "RETURN NULL; END $$",
            f"CREATE TRIGGER {name} AFTER {event} ON mentions FOR EACH ROW "
            f"EXECUTE FUNCTION {name}()",
        ]
    _run(
        connection,
        """
        CREATE TABLE IF NOT EXISTS mentions (
            file INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            rank INTEGER NOT NULL,
            page TEXT NOT NULL,
            title TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (file, rank)
        )
        """,
        """
        CREATE TABLE IF NOT EXISTS site_answers (
            root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
            url TEXT NOT NULL,
            etag TEXT NOT NULL,
            modified TEXT NOT NULL,
            digest TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (root, url)
        )
        """,
        *triggers,
        postgresql=(
            """
            CREATE TABLE IF NOT EXISTS mentions (
                file BIGINT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
                rank INTEGER NOT NULL,
                page TEXT COLLATE "C" NOT NULL,
                title TEXT COLLATE "C" NOT NULL,
                text TEXT COLLATE "C" NOT NULL,
                PRIMARY KEY (file, rank)
            )
            """,
            """
            CREATE TABLE IF NOT EXISTS site_answers (
                root BIGINT NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
                url TEXT COLLATE "C" NOT NULL,
                etag TEXT COLLATE "C" NOT NULL,
                modified TEXT COLLATE "C" NOT NULL,
                digest TEXT COLLATE "C" NOT NULL,
                document TEXT COLLATE "C" NOT NULL,
                PRIMARY KEY (root, url)
            )
            """,
            *functions,
        ),
    )


def add_films(connection: Connection) -> None:
    """Films whose frames are pictures, and the words at a time of a film."""
    _add_column(connection, "places", "words", "TEXT")
    _add_column(connection, "places", "subtitles", "TEXT")
    _run(
        connection,
        """
        CREATE TABLE films (
            file INTEGER NOT NULL,
            content VARCHAR(64) NOT NULL,
            duration FLOAT,
            subtitles TEXT DEFAULT '' NOT NULL,
            PRIMARY KEY (file),
            FOREIGN KEY(file) REFERENCES files (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX films_content ON films (content)",
        postgresql=(
            """
            CREATE TABLE films (
                file BIGINT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
                content TEXT COLLATE "C" NOT NULL,
                duration DOUBLE PRECISION,
                subtitles TEXT COLLATE "C" NOT NULL DEFAULT '',
                PRIMARY KEY (file)
            )
            """,
            "CREATE INDEX films_content ON films (content)",
        ),
    )


def add_collections(connection: Connection) -> None:
    """Names of collections, which are one or several roots each."""
    _add_column(connection, "roots", "collection", "TEXT")


def index_file_names(connection: Connection) -> None:
    """Without this index, a page of pictures by name reads all files."""
    key = write_name_key(connection.dialect.name, "path")
    _run(connection, f"CREATE INDEX IF NOT EXISTS files_name ON files (({key}))")


class Migration(NamedTuple):
    """version: of the schema after it. apply: changes a catalog of the version before."""

    version: int
    apply: Callable[[Connection], None]


MIGRATIONS = (
    Migration(2, index_vectors_by_picture),
    Migration(3, add_labels),
    Migration(4, add_decode_rule),
    Migration(5, add_metadata_columns),
    Migration(6, add_vector_digests),
    Migration(7, add_tag_origins),
    Migration(8, rename_pixel_hash),
    Migration(9, add_places),
    Migration(10, rename_spaces),
    Migration(11, add_left_out),
    Migration(12, add_file_states),
    Migration(13, add_spaces_beside),
    Migration(14, add_skip_codes),
    Migration(15, add_counts),
    Migration(16, add_jobs),
    Migration(17, add_tokens),
    Migration(18, add_color_shares),
    Migration(19, add_annotations),
    Migration(20, add_texts),
    Migration(21, add_full_text),
    Migration(22, add_local_features),
    Migration(23, add_listings),
    Migration(24, add_model_captions),
    Migration(25, add_transient_items),
    Migration(26, add_saved_searches),
    Migration(27, add_sites),
    Migration(28, add_films),
    Migration(29, add_collections),
    Migration(30, index_file_names),
)
"""Never edited, only extended at the end."""
NEWEST = MIGRATIONS[-1].version


def read_version(connection: Connection) -> int:
    """Return the version of the catalog's schema, 0 for a new catalog."""
    schema.migrations.create(connection, checkfirst=True)
    return connection.scalar(select(func.max(schema.migrations.c.version))) or 0


def migrate_once(connection: Connection) -> bool:
    """Run the next migration in the caller's transaction; return whether there was one."""
    version = read_version(connection)
    if version >= NEWEST:
        return False
    if version == 0:
        migration = Migration(NEWEST, create)
    else:
        migration = next(one for one in MIGRATIONS if one.version == version + 1)
    migration.apply(connection)
    values = {"version": migration.version, "at": time.time()}
    connection.execute(insert(schema.migrations).values(values))
    return True


def _run(connection: Connection, *statements: str, postgresql: Sequence[str] | None = None) -> None:
    """Run statements. postgresql: those of PostgreSQL, where they differ from SQLite's."""
    if postgresql is not None and connection.dialect.name == "postgresql":
        statements = tuple(postgresql)
    for statement in statements:
        connection.exec_driver_sql(statement)


def _add_column(connection: Connection, table: str, column: str, definition: str) -> None:
    """Add a column to a table, unless the table has it."""
    if column not in {one["name"] for one in inspect(connection).get_columns(table)}:
        _run(connection, f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
