"""What is kept in memory is void as soon as anybody changes the catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import identity, jpeg

from search import Engine
from search.catalog.answer_cache import KEY_BYTES, AnswerCache
from search.records.annotations import Change


class Reader:
    """Counts how often it is called."""

    def __init__(self, size: int = 3) -> None:
        self.calls, self._size = 0, size

    def __call__(self) -> np.ndarray:
        self.calls += 1
        return np.arange(self._size)


@pytest.mark.catalogs("sqlite", "postgresql")
def test_an_answer_is_kept_until_anybody_writes(library: Callable[..., Engine]) -> None:
    first, second = library(), library()
    cache, read = AnswerCache(first.library.database), Reader()
    assert cache.find("a") is None
    assert [cache.get_row_ids("a", read).tolist() for _ in range(3)] == [[0, 1, 2]] * 3
    assert read.calls == 1 and cache.find("a") is not None
    first.library.catalog.set_schedule("/nowhere", 1)
    assert cache.find("a") is None
    cache.get_row_ids("a", read)
    cache.get_row_ids("a", read)
    assert read.calls == 2
    second.library.catalog.set_schedule("/nowhere", 2)
    assert cache.find("a") is None
    cache.get_row_ids("a", read)
    assert read.calls == 3


def test_a_change_while_an_answer_is_read_makes_it_void(engine: Engine) -> None:
    cache, read = AnswerCache(engine.library.database), Reader()

    def read_during_a_change() -> np.ndarray:
        engine.library.catalog.set_schedule("/nowhere", 1)
        return read()

    cache.get_row_ids("a", read_during_a_change)
    assert cache.find("a") is None


def test_memory_is_bounded(engine: Engine) -> None:
    cache = AnswerCache(engine.library.database, most_bytes=2 * KEY_BYTES + 100)
    for key in "ab":
        cache.get_row_ids(key, Reader(5))
    assert cache.find("a") is not None
    cache.get_row_ids("c", Reader(5))
    assert cache.find("b") is None  # the one that was not used for longest
    cache.get_row_ids("d", Reader(600))  # too large
    assert cache.find("d") is None and cache.find("a") is not None


@pytest.mark.catalogs("sqlite", "postgresql")
def test_shared_reads_see_one_state(library: Callable[..., Engine], folder: Path) -> None:
    first, second = library(), library()
    (folder / "a.jpg").write_bytes(jpeg(1))
    first.sync(folder)
    reader, database = first.library.reader, first.library.database
    (space,) = reader.spaces()
    (row_id,) = reader.searchable_ids(space).tolist()
    cache = AnswerCache(database)
    with database.share_reads():
        assert reader.hidden_ids() == []
        second.tags.change([identity(1)], Change(hidden=True))
        assert reader.hidden_ids() == []
        with database.share_reads():
            assert reader.hidden_ids() == []
        cache.get_row_ids("hidden", lambda: np.array(reader.hidden_ids()))
    assert reader.hidden_ids() == [row_id]
    assert cache.find("hidden") is None  # it is of an earlier state
