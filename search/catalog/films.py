"""Films in the catalog: their frames by time, and the subtitles beside them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, update

from search.catalog.schema import files, films, pictures, places, roots
from search.catalog.writes import Root, chunks
from search.media.object_urls import join_place

if TYPE_CHECKING:
    from search.catalog.database import Database


class FramePlace(NamedTuple):
    """Where a frame is. path: of the film. time: seconds from the start. probe: of the file."""

    path: str
    time: float
    probe: bytes | None


class Films:
    """Reads films, and writes the subtitles beside them. Writers hold the write lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_places(self, row_ids: Collection[int]) -> dict[int, list[FramePlace]]:
        """Return where frames are, by row id. Pictures that are files are left out."""
        query = select(places.c.picture, places.c.time, files.c.path, files.c.probe)
        query = query.add_columns(roots.c.path.label("root")).join(
            files, files.c.id == places.c.file
        )
        query = query.join(roots, roots.c.id == files.c.root).where(places.c.time.is_not(None))
        by_row = dict[int, list[FramePlace]]()
        with self._database.read() as c:
            for part in chunks(row_ids):
                for row in c.execute(query.where(places.c.picture.in_(part))):
                    path = join_place(os.fsdecode(row.root), os.fsdecode(row.path))
                    place = FramePlace(path, row.time, row.probe)
                    by_row.setdefault(int(row.picture), []).append(place)
        return by_row

    def list_frames(self, file_ids: Collection[int]) -> dict[tuple[int, str], float]:
        """Return the times of the frames of files, by file id and picture id."""
        query = select(places.c.file, pictures.c.id, places.c.time)
        query = query.join(pictures, pictures.c.row_id == places.c.picture)
        query = query.where(places.c.time.is_not(None))
        times = dict[tuple[int, str], float]()
        with self._database.read() as c:
            for part in chunks(set(file_ids)):
                for file, picture_id, time in c.execute(query.where(places.c.file.in_(part))):
                    times[int(file), picture_id] = time
        return times

    def list_film(self, root: str, path: str) -> tuple[float | None, list[tuple[str, float]]]:
        """Return the duration of a film, in seconds if it is known, and the ids and times of its
        frames, in the order of time. root: path of the root. path: of the film in it."""
        is_it = roots.c.path == os.fsencode(root), files.c.path == os.fsencode(path)
        query = select(pictures.c.id, places.c.time)
        query = query.join(places, places.c.picture == pictures.c.row_id)
        query = query.join(files, files.c.id == places.c.file)
        query = query.join(roots, roots.c.id == files.c.root).where(*is_it)
        query = query.where(places.c.time.is_not(None)).order_by(places.c.time)
        duration = select(films.c.duration).join(files, files.c.id == films.c.file)
        duration = duration.join(roots, roots.c.id == files.c.root).where(*is_it)
        with self._database.read() as c:
            rows = [(row.id, row.time) for row in c.execute(query)]
            return c.scalar(duration), rows

    def contents(self, file_ids: Collection[int]) -> dict[int, str]:
        """Return the SHA-256 of films, by file id. Other files are left out."""
        query = select(films.c.file, films.c.content)
        with self._database.read() as c:
            return {
                int(row.file): row.content
                for part in chunks(set(file_ids))
                for row in c.execute(query.where(films.c.file.in_(part)))
            }

    def choose_known(self, ids: Collection[str]) -> set[str]:
        """Return those SHA-256 of files whose frames the catalog has."""
        query = select(films.c.content)
        with self._database.read() as c:
            return {
                one
                for part in chunks(ids)
                for one in c.scalars(query.where(films.c.content.in_(part)))
            }

    def subtitle_states(self, root: Root) -> dict[int, tuple[str, str]]:
        """Return the relative paths of the films of a root, and which subtitles beside them were
        read, by file id."""
        query = select(films.c.file, films.c.subtitles, files.c.path)
        query = query.join(files, files.c.id == films.c.file).where(files.c.root == root.id)
        with self._database.read() as c:
            return {
                int(row.file): (os.fsdecode(row.path), row.subtitles) for row in c.execute(query)
            }

    def times(self, file_id: int) -> list[float]:
        """Return the times of the frames of a film, ascending."""
        query = select(places.c.time).where(places.c.file == file_id, places.c.time.is_not(None))
        with self._database.read() as c:
            return sorted(c.scalars(query))

    def write_subtitles(self, file_id: int, state: str, texts: Mapping[float, str]) -> None:
        """Replace what subtitles beside a film say, by the time of its frames. state: which were
        read."""
        with self._database.write() as c:
            query = select(places.c.id, places.c.time, places.c.subtitles)
            for row in c.execute(query.where(places.c.file == file_id)).all():
                text = texts.get(row.time)
                if text != row.subtitles:
                    c.execute(update(places).where(places.c.id == row.id).values(subtitles=text))
            change = update(films).where(films.c.file == file_id)
            c.execute(change.values(subtitles=state))


def join_words(
    times: Sequence[float], words: Sequence[tuple[float, str]], most: int
) -> dict[float, str]:
    """Return texts by the time of the nearest frame, each text once for a frame.

    times: of frames, ascending. most: characters of the texts of a frame.
    """
    import bisect

    if not times:
        return {}
    texts = dict[float, dict[str, None]]()
    for at, text in words:
        i = bisect.bisect_left(times, at)
        near = min(times[max(0, i - 1) : i + 1], key=lambda one: abs(one - at))
        texts.setdefault(near, {})[text] = None
    return {at: "\n".join(one)[:most] for at, one in texts.items()}
