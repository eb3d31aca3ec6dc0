"""Conditions select the same pictures in both databases, as their meaning says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.collection import METADATA, PATHS, fill, identity, vector

from search import Engine
from search.catalog.listing import PictureList
from search.errors import ConditionValueError, QueryError
from search.media.colors import measure_distance, parse_color, to_lab
from search.media.images import FORMATS
from search.querying.fields import FIELDS
from search.records.annotations import Change
from search.records.pictures import FRAME_TYPES
from search.types import FileEntry

BOTH = pytest.mark.catalogs("sqlite", "postgresql")


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    fill(engine, folder)
    return engine


def select(engine: Engine, *where: str, **more: object) -> list[int]:
    """Return the numbers of the pictures that hold conditions, in the order of the answer."""
    numbers = {identity(number): number for number in range(len(PATHS))}
    return [numbers[hit.id] for hit in engine.search(where=where, k=100, **more)]


CASES: list[tuple[str, set[int]]] = [
    ("type=jpg", {0, 2, 3, 4, 5, 7, 8}),
    ("type!=jpeg", {1, 6, 9}),
    ("width>=3000", {0, 1, 4, 8}),
    ("height<300px", {9}),
    ("width=64", {9}),
    ("shape=square", {2, 9}),
    ("shape=panorama", {4, 6}),
    ("shape=landscape", {0, 3, 5, 7, 8}),
    ("shape=portrait", {1}),
    ("ratio=16:9", {3}),
    ("ratio=4:3", {0, 7, 8}),
    ("ratio>1.5", {3, 4}),
    ("size<2MB", {1, 2, 5, 6, 7, 9}),
    ("size=2MiB", {4}),
    ("size>=3MB", {0, 8}),
    ("date=2024-05", {0, 1, 8}),
    ("date!=2024-05", {2, 3, 4, 5, 6, 7, 9}),
    ("date>=2024-05", {0, 1, 3, 8}),
    ("date>2024-05", {3}),
    ("date<2024", {2, 5}),
    ("date<=2023", {2, 5}),
    ("date>=2024-02 and date<2024-06", {0, 1, 8}),
    ("date=2024-05-06T07:08", {0, 8}),
    ("path=holiday/*", {0, 1, 2}),
    ("path=*/beach/*", {0, 1}),
    ("path=照片/?.jpg", {5}),
    ("path=holiday/?gypten*", {2}),
    ('path="holiday/Ägypten 100%.jpg"', {2}),
    ("path=*a_b/*", {3}),
    ("path=*x[1]*", {7}),
    ("folder=holiday", {0, 1, 2}),
    ("folder=HOLIDAY/beach", {0, 1}),
    ("folder=*b", {3, 4}),
    ("folder=beach", {0, 1}),
    ("folder=nowhere", set()),
    ("name=img_1", {0}),
    ("name=IMG_?.*", {0, 1}),
    ('name="Report (2)"', {4}),
    ("name=report", {3}),
    ("name=*", set(range(10))),
    ("name=beach", set()),
    ("tag=BEACH", {0}),
    ("tag=summer*", {0, 2}),
    ("tag=Été", {5}),
    ("tag!=beach", set(range(10)) - {0}),
    ("label=tabby", {5}),
    ("label=cat", {5}),
    ("camera=canon*", {0, 1, 4, 8}),
    ('camera="Canon EOS R6"', {0, 4, 8}),
    ("camera!=canon*", {2, 3, 5, 6, 7, 9}),
    ("lens=*35mm", {0, 8}),
    ("near=48.85,2.35,1km", {0, 8}),
    ("near=48.85,2.35,10km", {0, 1, 8}),
    ("near=-17,180,20km", {2, 5}),
    ("near=-17,-179.95,5km", {5}),
    ("near=90,0,5km", {6, 7}),
    ("near=0,0,20040km", {0, 1, 2, 5, 6, 7, 8}),
    ("has=gps", {0, 1, 2, 5, 6, 7, 8}),
    ("has=tags", {0, 2, 5}),
    ("has=copies", {0, 8}),
    ("is=upload", set()),
    ("is=truncated", {4}),
    ("is=blank", {9}),
    ("color=red", {0, 8}),
    ("color=红色", {0, 8}),
    ("color=#c03020", {0, 8}),
    ("color=#fff", {0, 8, 9}),
    ("color=blue", {1, 6}),
    ("not (has=gps or type=jpeg)", {9}),
    ("not camera=canon* and not is=truncated", {2, 3, 5, 6, 7, 9}),
    ("type=png or width<200 and not is=low_content", {1, 6}),
]  # fmt: skip


@BOTH
def test_conditions_select_pictures(filled: Engine) -> None:
    wrong = {}
    for text, expected in CASES:
        if (selected := set(select(filled, text))) != expected:
            wrong[text] = selected
    assert not wrong


@BOTH
def test_a_folder_is_selected_by_its_path(filled: Engine, folder: Path) -> None:
    assert set(select(filled, f'folder="{folder}"')) == set(range(10))
    assert set(select(filled, f'folder="{folder.parent}"')) == set(range(10))
    assert set(select(filled, f'folder="{folder}/holiday"')) == {0, 1, 2}
    assert set(select(filled, f'folder="{folder}/holi"')) == set()
    assert set(select(filled, f'folder="{folder}/holi*"')) == {0, 1, 2, 7}
    assert set(select(filled, f'path="{folder}/top.gif"')) == {6}


@BOTH
def test_conditions_limit_a_search_by_likeness(filled: Engine) -> None:
    query = vector(1).tolist()
    everything = filled.search(vector=query, k=10)
    for text, _ in CASES:
        expected = set(select(filled, text))
        hits = filled.search(vector=query, k=10, where=text)
        whole = [(hit.id, hit.score) for hit in everything]
        assert [(hit.id, hit.score) for hit in hits] == [
            one for one in whole if one[0] in {identity(number) for number in expected}
        ]


def test_near_and_far_conditions_are_exact_in_a_large_library(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.querying import pipeline

    monkeypatch.setattr(pipeline, "NEAREST", 2)  # the nearest do not hold enough
    for k in (1, 2, 3):
        hits = filled.search(vector=vector(1).tolist(), k=k, where="type=jpeg")
        scores = {n: float(vector(n) @ vector(1)) for n in (0, 2, 3, 4, 5, 7, 8)}
        best = sorted(scores, key=lambda n: -scores[n])[:k]
        assert [hit.id for hit in hits] == [identity(n) for n in best]


@BOTH
def test_a_kept_condition_sees_every_change(
    filled: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.querying import pipeline

    monkeypatch.setattr(pipeline, "NEAREST", 1)  # so that all selected pictures are listed
    monkeypatch.setattr(pipeline, "FEW", 1)
    catalog, query = filled.library.catalog, vector(9).tolist()

    def find(where: str) -> set[int]:
        numbers = {identity(number): number for number in range(len(PATHS))}
        for _ in range(3):  # listed, then kept
            hits = [numbers[hit.id] for hit in filled.search(vector=query, k=2, where=where)]
        assert set(hits) == set(select(filled, where))
        return set(hits)

    assert find("tag=beach") == {0}
    assert filled.library.browser.select(["tag=beach"]).find_row_ids() is not None
    filled.tags.add([identity(3)], ["beach"])
    assert find("tag=beach") == {0, 3}
    filled.tags.change([identity(0)], Change(remove_tags=("beach",)))
    assert find("tag=beach") == {3}
    assert find("is=favourite") == set()
    filled.tags.change([identity(4)], Change(favourite=True))
    assert find("is=favourite") == {4}
    filled.tags.change([identity(4)], Change(hidden=True))
    assert find("is=favourite") == set()
    hits = filled.search(vector=query, where="is=favourite", hidden=True)
    assert [hit.id for hit in hits] == [identity(4)]
    assert find("is=favourite") == set()
    assert find("folder=moved") == set()
    root = catalog.roots()[0]
    file = catalog.files(root)["照片/猫.jpg"]
    moved = FileEntry("moved/猫.jpg", file.size, file.mtime_ns, file.inode)
    catalog.move([(file.id, moved)])
    assert find("folder=moved") == {5}
    assert find("name=top") == {6}
    catalog.remove_files([catalog.files(root)["top.gif"].id])
    assert find("name=top") == set()


@BOTH
def test_a_condition_is_checked_one_by_one_as_it_is_listed(filled: Engine) -> None:
    wrong = {}
    for text, expected in CASES:
        selection = filled.library.browser.select([text])
        checked = selection.choose(range(1, 12))
        listed = selection.row_ids().tolist()
        if not {n - 1 for n in checked} == set(expected) == {n - 1 for n in listed}:
            wrong[text] = checked, listed
    assert not wrong


@BOTH
def test_a_collection_sees_conditions_of_its_own_files(
    filled: Engine, tmp_path: Path, folder: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret.jpg").write_bytes(b"")
    catalog = filled.library.catalog
    root = catalog.add_root(str(other), 0, ())
    from search.catalog.writes import ExtractedFile

    space = catalog.find_own_space()
    assert space is not None
    file = ExtractedFile(FileEntry("secret.jpg", 0, 1, 1), identity(1))
    catalog.record(root, space, [file])
    view = filled.within([str(other)])
    assert select(view, "width>0") == [1]
    assert select(view, "name=secret") == [1]
    assert select(view, "name=IMG_2") == []
    assert select(view, f'folder="{folder}"') == []
    assert select(view, "has=copies") == []
    assert select(filled, "has=copies and name=IMG_2") == [1]
    assert [hit.id for hit in view.search(vector=vector(0).tolist(), where="width>0")] == [
        identity(1)
    ]
    assert len(view.search(vector=vector(0).tolist(), where="not width>0")) == 0


def test_conditions_add_up_and_unknown_labels_are_refused(filled: Engine) -> None:
    assert set(select(filled, "type=jpeg", "width>=4000", "not is=truncated")) == {0, 8}
    with pytest.raises(ConditionValueError, match="no such label"):
        select(filled, "label=zzzz")


def test_colors_are_compared_by_ciede2000() -> None:
    # pairs 1, 7, 13, 19 and 34 of Sharma, Wu and Dalal
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (58, 24, 15), 19.4535),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for first, second, expected in pairs:
        assert abs(float(measure_distance([first], [second])[0]) - expected) < 1e-4
    assert to_lab([(255, 255, 255)])[0] == pytest.approx([100, 0, 0], abs=0.01)
    assert parse_color("红") == parse_color("red") and parse_color("no") is None


# sort, collapse, kind, offset ------------------------------------------------------------------


SORTED: dict[str, list[int]] = {
    "added": list(range(10)),
    "date": [5, 2, 7, 0, 8, 1, 3, 4, 6, 9],
    "size": [2, 9, 6, 5, 7, 1, 3, 4, 0, 8],
    "name": [9, 8, 0, 1, 4, 3, 6, 7, 2, 5],
}


@BOTH
def test_lists_are_sorted_by_every_key_in_both_directions(filled: Engine) -> None:
    for key, expected in SORTED.items():
        assert select(filled, "width>0", sort=key) == expected, key
    assert select(filled, "width>0") == select(filled, "width>0", sort="-added")
    assert select(filled, "width>0", sort="-date")[:7] == [3, 1, 8, 0, 7, 2, 5]
    assert set(select(filled, "width>0", sort="-date")[7:]) == {4, 6, 9}
    folders = select(filled, "width>0", sort="folder")
    assert folders == sorted(range(10), key=lambda n: PATHS[n].encode())
    colors = select(filled, "width>0", sort="color")
    assert colors[:2] == [0, 8] and set(colors[-3:]) == {3, 4, 9}
    for key in ("size", "name", "folder", "color", "added"):
        assert (
            select(filled, "width>0", sort=f"-{key}") == select(filled, "width>0", sort=key)[::-1]
        )


@BOTH
def test_the_best_hits_are_sorted(filled: Engine) -> None:
    query = vector(1).tolist()
    best = [hit.id for hit in filled.search(vector=query, k=4)]
    by_size = [hit.id for hit in filled.search(vector=query, k=4, sort="size")]
    assert by_size == sorted(best, key=lambda one: SORTED["size"].index(
        next(n for n in range(10) if identity(n) == one)))  # fmt: skip
    worst = [hit.id for hit in filled.search(vector=query, k=4, sort="-score")]
    assert worst == best[::-1]


def test_offset_continues_an_answer(filled: Engine) -> None:
    query = vector(1).tolist()
    whole = [hit.id for hit in filled.search(vector=query, k=10)]
    pages = [
        hit.id for offset in (0, 4, 8) for hit in filled.search(vector=query, k=4, offset=offset)
    ]
    assert pages == whole
    listed = select(filled, "type=jpeg")
    assert select(filled, "type=jpeg", offset=3) == listed[3:]


def test_copies_are_folded(filled: Engine) -> None:
    hits = filled.search(vector=vector(0).tolist(), k=10, collapse=True)
    assert len(hits) == 9 and hits[0].copies == (identity(8),)
    assert all(not hit.copies for hit in hits[1:])
    few = filled.search(vector=vector(0).tolist(), k=2, collapse=True)
    assert [hit.id for hit in few] == [hit.id for hit in hits[:2]]
    assert select(filled, "camera=canon*", collapse=True) == [8, 4, 1]


def test_identical_pictures_alone(library: Callable[..., Engine], folder: Path) -> None:
    from helpers.pictures import identity as picture_id, jpeg, paint

    engine = library()
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    paint(folder / "again.jpg", 1, "a comment")
    engine.sync(folder)
    for image in (jpeg(1), f"id:{picture_id(1)}"):
        hits = engine.search(image=image, kind="identical")
        assert {hit.id for hit in hits} == {picture_id(1), picture_id(1, "a comment")}
        assert {hit.kind for hit in hits} == {"identical"}
    assert len(engine.search(image=jpeg(9), kind="identical")) == 0
    assert len(engine.search(image=jpeg(1), kind="identical", where="name=again")) == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "at least one picture"),
        ({"where": "width>0", "sort": "score"}, "sort by score needs"),
        ({"where": "width>0", "sort": "sise"}, "did you mean size"),
        ({"where": "width>0", "min_score": 0.1}, "min_score needs"),
        ({"where": "width>0", "kind": "identical"}, "needs a picture"),
        ({"where": "width>0", "kind": "copy"}, "needs a picture"),
        ({"where": "width>0", "offset": -1}, "offset"),
        ({"where": "width>0", "offset": 9995}, "offset"),
        ({"where": "widht>0"}, "did you mean width"),
    ],
)
def test_queries_that_cannot_be(filled: Engine, options: dict[str, object], part: str) -> None:
    with pytest.raises(QueryError, match=re.escape(part)):
        filled.search(**options)  # type: ignore[arg-type]


def test_the_pictures_of_the_tests_have_metadata() -> None:
    assert len(METADATA) == len(PATHS)


INDEXES = {
    "type=png": "pictures_type",
    "width>=3000": "pictures_width",
    "height<300": "pictures_height",
    "size<2KB": "pictures_bytes",
    "date=2024-05": "pictures_taken",
    "near=48.85,2.35,10km": "pictures_place",
    "color=red": "colors_cell",
    "tag=beach": "tags_normalized",
    "label=tabby": "labels_label",
    "folder=": "sqlite_autoindex_files_1",
}


def test_selective_conditions_use_an_index(filled: Engine, folder: Path) -> None:
    database = filled.library.database
    unused = []
    for text, index in INDEXES.items():
        where = f'folder="{folder}/holiday"' if text == "folder=" else text
        criterion = filled.library.browser.select([where]).criterion
        query = PictureList(filled.library.reader).select(criterion)
        sql = query.compile(database.engine, compile_kwargs={"literal_binds": True})
        with database.read() as c:
            plan = [str(row) for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
        if not any(index in step for step in plan):
            unused.append((text, plan))
    assert not unused


def test_every_type_that_a_picture_may_have_is_a_condition() -> None:
    stored = {name.lower() for name in (*FORMATS, "RAW", *FRAME_TYPES)}
    assert stored <= set(FIELDS["type"].choices)
