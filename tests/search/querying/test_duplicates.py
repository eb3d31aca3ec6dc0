"""Groups of duplicates: which pictures are together, and what is kept of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.duplicates import Album, turn

from search import Engine, NotFoundError, QueryError
from search.errors import KeepRuleError
from search.querying import duplicates as duplicates_module
from search.querying.calibration import find_least_cosine, load_shipped, to_distance
from search.querying.copies import likeness_of
from search.querying.linkage import link_completely
from search.records.annotations import Change
from search.records.duplicates import Duplicates
from search.vectors.pairs import FLOOR, PairFinder, keep_nearest

BOTH = pytest.mark.catalogs("sqlite", "postgresql")
COPY, SIMILAR = likeness_of("mini").copy, likeness_of("mini").similar
NEAR = (max(COPY, SIMILAR) + 1) / 2  # a cosine of copies, and of similar pictures


@pytest.fixture
def album(engine: Engine, folder: Path, tmp_path: Path) -> Album:
    return Album(engine, folder, tmp_path / "other")


def names(listed: Duplicates) -> list[tuple[str, list[str]]]:
    """Return the kind of each group and the names of its files, sorted."""
    return [
        (one.kind, sorted(Path(f.path).name for p in one.pictures for f in p.files))
        for one in listed.groups
    ]


def name_kept(listed: Duplicates) -> str:
    """Return the name of the picture that the only group keeps."""
    (group,) = listed.groups
    assert [one.action for one in group.pictures].count("keep") == 1
    assert group.pictures[0].action == "keep"
    return Path(group.pictures[0].path).name


# kinds and groups --------------------------------------------------------------------------------


@BOTH
def test_exact_copies_and_similar_pictures_are_apart(album: Album, folder: Path) -> None:
    album.add(folder / "a.jpg", turn(1), "a")
    album.add(folder / "again/a.jpg", turn(1), "a")
    album.add(folder / "pixels.png", turn(1), "b", pixels=_pixels("a"))
    album.add(folder / "small.jpg", turn(NEAR), size=(200, 150))
    album.add(folder / "alike.jpg", turn(NEAR, aside=1), look=1)
    album.add(folder / "stranger.jpg", turn(0.3))
    listed = album.engine.duplicates()
    assert names(listed) == [
        ("exact", ["a.jpg", "a.jpg", "pixels.png"]),
        ("copy", ["a.jpg", "a.jpg", "pixels.png", "small.jpg"]),
        ("similar", ["a.jpg", "a.jpg", "alike.jpg", "pixels.png"]),
    ]
    for kind, group in zip(("exact", "copy"), listed.groups, strict=False):
        one = album.engine.duplicates(kind)
        assert one.groups == (group,) and one.total == 1
    assert [one.action for one in listed.groups[2].pictures] == ["keep", "leave"]
    (similar,) = album.engine.duplicates("similar").groups  # it is asked for
    assert [one.action for one in similar.pictures] == ["keep", "remove"]
    copy = listed.groups[1]
    assert copy.score == pytest.approx(NEAR, abs=1e-3)
    assert [one.score for one in copy.pictures] == pytest.approx([1, NEAR], abs=1e-3)
    assert listed.groups[0].pictures[0].score is None


def _pixels(content: str) -> str:
    import hashlib

    return hashlib.sha256(content.encode()).hexdigest()


def test_a_chain_of_strangers_is_no_group(album: Album, folder: Path) -> None:
    """a is like b and b like c, but a is unlike c: the nearer two are a group."""
    angle = np.arccos((1 + COPY) / 2)
    for name, times in (("a", 0.0), ("b", 1.0), ("c", 1.9)):
        album.add(folder / f"{name}.jpg", turn(float(np.cos(times * angle))))
    assert float(np.cos(1.9 * angle)) < COPY
    listed = album.engine.duplicates("copy")
    assert names(listed) == [("copy", ["b.jpg", "c.jpg"])]


def test_any_two_of_a_group_are_linked() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        count = int(rng.integers(2, 12))
        pairs = [p for p in itertools.combinations(range(count), 2) if rng.random() < 0.6]
        links = {pair: float(rng.integers(0, 50)) / 50 for pair in pairs}
        groups = link_completely((a, b, score) for (a, b), score in links.items())
        members = [one for group, _ in groups for one in group]
        assert len(members) == len(set(members))
        for group, score in groups:
            scores = [links[pair] for pair in itertools.combinations(group, 2)]
            assert len(group) > 1 and min(scores) == score
        rest = [[n] for n in range(count) if n not in members]
        for one, other in itertools.combinations([g for g, _ in groups] + rest, 2):
            across = [tuple(sorted((a, b))) for a in one for b in other]
            assert not all(pair in links for pair in across)  # else they were one group


def test_blank_pictures_are_never_copies_by_their_vectors(album: Album, folder: Path) -> None:
    for name in ("white", "grey"):
        album.add(folder / f"{name}.png", turn(1), is_blank=True)
    album.add(folder / "twin.png", turn(1), "white too", pixels="w", is_blank=True)
    album.add(folder / "twins.png", turn(1), "white three", pixels="w", is_blank=True)
    assert names(album.engine.duplicates()) == [("exact", ["twin.png", "twins.png"])]


@pytest.mark.parametrize("other", [{"size": (300, 400)}, {"palette": ("#c00000",)}, {"look": 1}])
def test_another_shape_color_or_content_is_no_copy(album: Album, folder: Path, other: dict) -> None:
    album.add(folder / "a.jpg", turn(1))
    album.add(folder / "b.jpg", turn(NEAR), **other)
    assert names(album.engine.duplicates()) == [("similar", ["a.jpg", "b.jpg"])]


@BOTH
def test_the_least_score_sets_what_is_together(album: Album, folder: Path) -> None:
    album.add(folder / "a.jpg", turn(1))
    album.add(folder / "b.jpg", turn(0.87), look=1)
    album.add(folder / "c.jpg", turn(0, 1))
    album.add(folder / "d.jpg", turn(0, 0.95))
    engine = album.engine
    assert names(engine.duplicates()) == [("copy", ["c.jpg", "d.jpg"])]
    assert names(engine.duplicates("similar", min_score=0.86)) == [("similar", ["a.jpg", "b.jpg"])]
    assert len(engine.duplicates(min_score=0.86).groups) == 2
    assert names(engine.duplicates("copy", min_score=0.96)) == []
    assert names(engine.duplicates(min_score=0.96)) == []
    assert names(engine.duplicates("similar", min_score=0.88)) == []


@BOTH
def test_the_least_probability_stands_for_a_cosine(album: Album, folder: Path) -> None:
    calibration = load_shipped()[album.space.fingerprint]["cosine"]
    cosines = (0.999, 0.98, 0.95, 0.9)
    for n, cosine in enumerate(cosines):
        first, second = np.zeros((2, album.mini.dim), np.float32)
        first[n] = second[n] = 1
        second = cosine * first + np.sqrt(1 - cosine**2) * turn(aside=n)
        for name, vector in (("a", first), ("b", second)):
            album.add(folder / f"{n}{name}.jpg", vector)
    probability = {c: calibration.predict({"distance": to_distance(c)}) for c in cosines}
    assert probability[0.999] > 0.99 and probability[0.9] < 0.4
    engine = album.engine
    for least in (0.0, 0.3, 0.5, 0.9, 0.99, 1.0):
        scores = [one.score for one in engine.duplicates("copy", min_probability=least).groups]
        expected = sorted((c for c in cosines if probability[c] >= least), reverse=True)
        assert sorted(scores, reverse=True) == pytest.approx(expected, abs=1e-3)
        cosine = max(FLOOR, find_least_cosine(calibration, least))
        if cosine <= 1:
            assert engine.duplicates(min_probability=least) == engine.duplicates(min_score=cosine)


def test_a_probability_needs_a_calibration(
    album: Album, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album.add(folder / "a.jpg", turn(1))
    album.add(folder / "b.jpg", turn(0.99))
    shipped = load_shipped()
    calibrated = {n: one.to_json() for n, one in shipped[album.space.fingerprint].items()}
    monkeypatch.setattr(duplicates_module, "load_calibrations", lambda reader, space: {})
    with pytest.raises(QueryError, match="calibration of mini, which has none; run `lookalike cal"):
        album.engine.duplicates(min_probability=0.5)
    assert len(album.engine.duplicates().groups) == 1  # nothing else needs one
    monkeypatch.undo()
    album.engine.library.catalog.set_calibration(album.space, calibrated)
    assert len(album.engine.duplicates(min_probability=0.5).groups) == 1


# folders, conditions, order ----------------------------------------------------------------------


@BOTH
def test_a_folder_and_conditions_limit_the_files(album: Album, folder: Path) -> None:
    for name in ("x/a.jpg", "x/b.jpg", "y/c.jpg"):
        album.add(folder / name, turn(1), "same")
    album.add(folder / "x/d.png", turn(NEAR), size=(800, 600))
    engine = album.engine
    assert names(engine.duplicates("exact", folder=folder / "x")) == [("exact", ["a.jpg", "b.jpg"])]
    assert names(engine.duplicates("copy", folder=folder / "y")) == []
    assert names(engine.duplicates("copy", where="width<800")) == []
    assert len(engine.duplicates("copy", where="width<=800").groups) == 1
    with pytest.raises(NotFoundError, match="no indexed folder"):
        engine.duplicates(folder="/nowhere")


@BOTH
def test_groups_between_two_folders_have_files_of_both(
    album: Album, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    album.add(folder / "a.jpg", turn(1), "a")
    album.add(other / "a.jpg", turn(1), "a")
    album.add(folder / "b.jpg", turn(0, 1))
    album.add(other / "b small.jpg", turn(0, NEAR), size=(800, 600))
    album.add(folder / "c.jpg", turn(0, 0, 1), "c")
    album.add(folder / "c too.jpg", turn(0, 0, 1), "c")
    listed = album.engine.duplicates(between=(folder, other))
    assert names(listed) == [
        ("exact", ["a.jpg", "a.jpg"]),
        ("copy", ["b small.jpg", "b.jpg"]),
    ]
    assert all(Path(one.pictures[0].path).parent == folder for one in listed.groups)
    back = album.engine.duplicates(between=(other, folder))
    assert all(Path(one.pictures[0].path).parent == other for one in back.groups)
    largest = album.engine.duplicates("copy", between=(folder, other), keep="largest")
    assert name_kept(largest) == "b small.jpg"
    for wrong in ((folder,), (folder, folder / "x"), (folder, other, other)):
        with pytest.raises(QueryError, match="two folders"):
            album.engine.duplicates(between=wrong)


def test_pages_and_order(album: Album, folder: Path) -> None:
    for number, size in enumerate((10, 30, 20)):
        content = str(number) * size
        for name in ("a", "b"):
            vector = turn(1 - number / 2, aside=10 + number)
            album.add(folder / f"{number}{name}.jpg", vector, content)
    album.add(folder / "near.jpg", turn(NEAR, aside=1))
    album.add(folder / "x.jpg", turn(0, 0, 1))
    album.add(folder / "nearer.jpg", turn(0, 0, 0.99, aside=2))
    whole = album.engine.duplicates()
    assert [one.bytes for one in whole.groups[:3]] == [30, 20, 10]
    parts = [album.engine.duplicates(size=2, page=n) for n in (1, 2, 3)]
    assert [g for part in parts for g in part.groups] == list(whole.groups)
    assert {part.total for part in parts} == {len(whole.groups)} and parts[0].pages == 3
    by_score = album.engine.duplicates("copy", sort="score").groups
    assert [one.score for one in by_score] == pytest.approx([0.99, NEAR], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "twin"}, "give one of exact, copy, similar"),
        ({"kind": "exact", "min_score": 0.9}, "leave it out"),
        ({"min_score": 0.5}, "from 0.85 to 1"),
        ({"kind": "copy", "min_score": 1.1}, "from 0.85 to 1"),
        ({"min_score": float("nan")}, "from 0.85 to 1"),
        ({"kind": "exact", "min_probability": 0.9}, "min_probability is for copies"),
        ({"min_probability": -0.1}, "give 0 to 1"),
        ({"min_probability": 1.1}, "give 0 to 1"),
        ({"min_probability": float("nan")}, "give 0 to 1"),
        ({"min_score": 0.9, "min_probability": 0.9}, "not both"),
        ({"sort": "date"}, "bytes, score"),
        ({"page": 0}, "give 1 or more"),
        ({"size": 1001}, "1 to 1000"),
        ({"where": "widht>3"}, "did you mean width"),
    ],
)
def test_wrong_options_are_refused(album: Album, options: dict, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        album.engine.duplicates(**options)


@pytest.mark.parametrize(
    "rules",
    [
        "biggest",
        "",
        "folder",
        "folder:",
        "largest:3",
        "oldest,,oldest",
        '"oldest',
        '"largest,oldest"',
    ],
)
def test_a_wrong_rule_is_named(album: Album, rules: str) -> None:
    with pytest.raises(KeepRuleError, match="give some of largest, oldest, sharpest"):
        album.engine.duplicates(keep=rules)
    with pytest.raises(KeepRuleError, match="twice"):
        album.engine.duplicates(keep="oldest,oldest")


# what is kept ------------------------------------------------------------------------------------


def test_rules_choose_in_their_order(album: Album, folder: Path) -> None:
    album.add(folder / "large.jpg", turn(1), size=(800, 600), date="2024-01-01T00:00:00")
    album.add(folder / "in/old.jpg", turn(NEAR), date="2020-01-01T00:00:00")
    album.add(folder / "known.jpg", turn(1, 0), date="2022-01-01T00:00:00", exif={"ISO": 1, "F": 2})
    comma = 'Smith, ""John '
    album.add(folder / 'Smith, "John ' / "comma.jpg", turn(1), date="2023-01-01T00:00:00")
    engine = album.engine
    for rules, name in {
        "largest": "large.jpg",
        "oldest": "old.jpg",
        "metadata": "known.jpg",
        f"folder:{folder / 'in'}": "old.jpg",
        "metadata,largest": "known.jpg",
        f"folder:{folder},oldest": "old.jpg",
        f"folder:{folder / 'none'},largest,oldest": "large.jpg",
        f'largest,"folder:{folder / comma}"': "large.jpg",
        f'"folder:{folder / comma}" , oldest': "comma.jpg",
    }.items():
        assert name_kept(engine.duplicates("copy", keep=rules)) == name, rules
    engine.tags.add([engine.duplicates("copy", keep="oldest").groups[0].pictures[0].id], ["a", "b"])
    engine.tags.add([engine.duplicates("copy", keep="oldest").groups[0].pictures[0].id], ["c"])
    assert name_kept(engine.duplicates("copy", keep=["metadata"])) == "old.jpg"


def test_ties_go_to_the_shorter_path_each_time(album: Album, folder: Path) -> None:
    for name in ("IMG_1 (1).jpg", "IMG_1.jpg", "copy of IMG_1.jpg"):
        album.add(folder / name, turn(1), "same")
    listed = album.engine.duplicates("exact", keep="largest")
    assert name_kept(listed) == "IMG_1.jpg"
    assert listed == album.engine.duplicates("exact", keep="largest")


def test_the_sharpest_picture_is_kept(engine: Engine, folder: Path) -> None:
    from helpers.project import SAMPLES
    from PIL import Image, ImageFilter

    picture = Image.open(SAMPLES / "hat" / "01.jpg").convert("RGB")
    picture.filter(ImageFilter.GaussianBlur(1.5)).save(folder / "a.png")
    picture.resize([side * 2 for side in picture.size]).save(folder / "large.png")
    picture.save(folder / "sharp.png")
    picture.filter(ImageFilter.GaussianBlur(1)).save(folder / "b.png")
    engine.sync(folder)
    listed = engine.duplicates("copy", keep="sharpest")
    assert len(listed.groups[0].pictures) == 4
    assert name_kept(listed) in ("sharp.png", "large.png")
    assert name_kept(engine.duplicates("copy", where="name!=large", keep="sharpest")) == "sharp.png"


# what is no mere duplicate -----------------------------------------------------------------------

CAMERA = {"camera": "Canon EOS R6"}
SECOND = "2024-05-06T07:08:09"


@pytest.mark.parametrize(
    ("one", "other", "is_burst"),
    [
        ({"date": SECOND}, {"date": "2024-05-06T07:08:11"}, True),
        ({"date": SECOND}, {"date": "2024-05-06T08:08:09"}, False),
        (
            {"date": SECOND, "exif": {"SubsecTimeOriginal": "12"}},
            {"date": SECOND, "exif": {"SubsecTimeOriginal": "22"}},
            True,
        ),
        ({"date": SECOND, "name": "IMG_1.jpg"}, {"date": SECOND, "name": "IMG_2.jpg"}, True),
    ],
)
def test_photographs_of_one_camera_are_no_copies(
    album: Album, folder: Path, one: dict, other: dict, is_burst: bool
) -> None:
    for i, options in enumerate((one, other)):
        name = options.pop("name", f"{'ab'[i]}.jpg")
        album.add(folder / name, turn(1, 0) if i else turn(NEAR), **options, **CAMERA)
        options["name"] = name
    (group,) = album.engine.duplicates("similar").groups
    assert not album.engine.duplicates("copy").groups
    marked = [one.marks == ("burst",) for one in group.pictures]
    assert marked == [is_burst] * 2
    assert group.pictures[1].action == ("leave" if is_burst else "remove")
    assert (group.replacement is None) is is_burst


def test_an_edited_photograph_of_the_same_time_is_a_copy(album: Album, folder: Path) -> None:
    album.add(folder / "IMG_1.jpg", turn(1), date=SECOND, **CAMERA)
    album.add(folder / "IMG_1-edited.jpg", turn(NEAR), date=SECOND, **CAMERA)
    album.add(folder / "IMG_2.jpg", turn(0.99), date=SECOND, size=(200, 150), **CAMERA)
    (group,) = album.engine.duplicates("copy").groups
    assert len(group.pictures) == 3 and all(not one.marks for one in group.pictures)


def test_pairs_of_raw_and_of_live_photos_stay(album: Album, folder: Path) -> None:
    album.add(folder / "IMG_1.CR2", turn(1), size=(400, 300))
    album.add(folder / "img_1.jpg", turn(NEAR), size=(400, 300))
    album.add(folder / "sent/IMG_1.jpg", turn(0.999), size=(800, 600))
    album.add(folder / "IMG_2.HEIC", turn(0, 1))
    album.add(folder / "sent/IMG_2.jpg", turn(0, NEAR), size=(800, 600))
    for name in ("IMG_2.mov", "img_1.xmp", "IMG_2.txt"):
        (folder / name).write_bytes(b"film")
    groups = {one.pictures[0].marks: one for one in album.engine.duplicates("copy").groups}
    raw, live = groups["raw",], groups["live",]
    assert [(Path(p.path).name, p.action, p.marks) for p in raw.pictures] == [
        ("IMG_1.CR2", "keep", ("raw",)),
        ("img_1.jpg", "leave", ("raw",)),
        ("IMG_1.jpg", "remove", ()),
    ]
    assert raw.pictures[1].companions == (str(folder / "IMG_1.CR2"),)
    assert [(Path(p.path).name, p.action) for p in live.pictures] == [
        ("IMG_2.HEIC", "keep"),
        ("IMG_2.jpg", "remove"),
    ]
    assert live.pictures[0].companions == (str(folder / "IMG_2.mov"),)


# comparing ---------------------------------------------------------------------------------------


def measure(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return a difference that tells the pairs apart."""
    return (left + 1000 * right).astype(np.float32)


def list_pairs(finder: PairFinder) -> dict[tuple[int, int], float]:
    pairs = finder.pairs
    one_way, other_way = measure(pairs.left, pairs.right), measure(pairs.right, pairs.left)
    assert ((pairs.differences == one_way) | (pairs.differences == other_way)).all()
    parts = (one.tolist() for one in (pairs.left, pairs.right, pairs.scores))
    pairs = {(left, right): score for left, right, score in zip(*parts, strict=True)}
    assert len(pairs) == len(finder.pairs.left) and all(a < b for a, b in pairs)
    return pairs


@BOTH
@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_blocks_find_the_pairs_that_all_products_have(
    album: Album, folder: Path, tmp_path: Path, rows: int
) -> None:
    rng = np.random.default_rng(rows)
    vectors = []
    for number in range(30):
        base = vectors[rng.integers(len(vectors))] if vectors and number % 3 else turn()
        row = base + 0.02 * rng.standard_normal(album.mini.dim).astype(np.float32)
        vectors.append((row / np.linalg.norm(row)).astype(np.float32))
        album.add(folder / f"{number}.jpg", vectors[-1])
    reader = album.engine.library.reader

    def make() -> PairFinder:
        return PairFinder(reader, album.space, tmp_path / "pairs", measure, rows=rows)

    def check(finder: PairFinder) -> None:
        ids = list(finder.pairs.rows)
        present, stored = reader.load_vectors(album.space, [int(n) for n in ids])
        scores = stored @ stored.T
        expected = {
            (min(a, b), max(a, b)): scores[i, j]
            for (i, a), (j, b) in itertools.combinations(enumerate(present), 2)
            if scores[i, j] >= FLOOR
        }
        pairs = list_pairs(finder)
        assert set(pairs) == set(expected) and pairs
        assert pairs == pytest.approx(expected, abs=1e-5)

    finder = make()
    assert finder.count_pending() == 30
    steps = list(finder.update())
    assert steps[-1] == (30, 30) and steps == sorted(steps)
    check(finder)
    assert make().count_pending() == 0  # it was saved
    assert list(finder.update()) == []
    album.add(folder / "new.jpg", vectors[0])
    album.engine.forget(folder / "3.jpg")
    again = make()
    assert again.count_pending() == 1
    run = again.update()
    next(run)
    run.close()
    assert again.count_pending() == 1
    list(again.update())
    assert len(again.pairs.rows) == 30
    check(again)
    (tmp_path / "pairs" / again.path.name).write_bytes(b"damaged")
    assert make().count_pending() == 30


def test_memory_is_that_of_blocks(
    album: Album, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        album.add(folder / f"{number}.jpg", turn(1))
    reader, most = album.engine.library.reader, 0
    real = type(reader).load_vectors

    def load(self: object, space: object, row_ids: list[int]) -> object:
        nonlocal most
        most = max(most, len(row_ids))
        return real(self, space, row_ids)  # type: ignore[arg-type]

    monkeypatch.setattr(type(reader), "load_vectors", load)
    finder = PairFinder(reader, album.space, tmp_path / "pairs", measure, rows=6)
    list(finder.update())
    assert most == 6 and len(finder.pairs.left) == 20 * 19 / 2


def test_the_farthest_pairs_of_a_picture_are_dropped() -> None:
    left = np.repeat(np.arange(3), [5, 2, 4])
    right = np.arange(11) + 10
    scores = np.linspace(0.8, 0.9, 11).astype(np.float32)
    left, right, scores = keep_nearest(left, right, scores, 2)
    assert left.tolist() == [0, 0, 1, 1, 2, 2]
    assert right.tolist() == [14, 13, 16, 15, 20, 19]
    assert [len(one) for one in keep_nearest(left[:0], right[:0], scores[:0])] == [0, 0, 0]


def test_a_run_that_is_stopped_goes_on_where_it_was(
    album: Album, folder: Path, tmp_path: Path
) -> None:
    for number in range(9):
        album.add(folder / f"{number}.jpg", turn(1))
    reader = album.engine.library.reader
    finder = PairFinder(reader, album.space, tmp_path / "pairs", measure, rows=3)
    run = finder.update()
    for done, _ in run:
        if done >= 6:
            break
    run.close()
    again = PairFinder(reader, album.space, tmp_path / "pairs", measure, rows=3)
    assert again.count_pending() == 3
    list(again.update())
    assert len(list_pairs(again)) == 36


def test_answers_follow_the_library(
    album: Album, folder: Path, library: Callable[..., Engine]
) -> None:
    engine = album.engine
    album.add(folder / "a.jpg", turn(1), "a")
    assert names(engine.duplicates()) == []
    album.add(folder / "b.jpg", turn(1), "a")
    assert names(engine.duplicates()) == [("exact", ["a.jpg", "b.jpg"])]
    album.add(folder / "c.jpg", turn(NEAR))
    assert len(names(engine.duplicates())) == 2
    assert engine.count_comparisons() == 0
    engine.forget(folder / "a.jpg")
    assert names(engine.duplicates()) == [("copy", ["b.jpg", "c.jpg"])]


def test_who_sees_a_part_is_shown_duplicates_of_it(
    album: Album, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    album.add(other / "a.jpg", turn(1), "a")
    album.add(folder / "a.jpg", turn(1), "a2", pixels=_pixels("a"))
    hidden = album.add(folder / "b.jpg", turn(NEAR))
    album.add(other / "c.jpg", turn(1), "a")
    view = album.engine.within([str(folder.resolve())])
    assert names(view.duplicates()) == [("copy", ["a.jpg", "b.jpg"])]
    shown = {f.path for one in view.duplicates().groups for p in one.pictures for f in p.files}
    assert all(Path(one).is_relative_to(folder.resolve()) for one in shown)
    assert len(album.engine.duplicates("copy").groups) == 1
    album.engine.tags.change([hidden], Change(hidden=True))
    assert names(album.engine.duplicates("copy")) == []


# folded hits -------------------------------------------------------------------------------------


def test_copies_of_a_hit_are_folded_into_it(album: Album, folder: Path) -> None:
    first = album.add(folder / "a.jpg", turn(1), "a")
    twin = album.add(folder / "pixels.png", turn(1), "b", pixels=_pixels("a"))
    small = album.add(folder / "small.jpg", turn(NEAR), size=(200, 150))
    album.add(folder / "alike.jpg", turn(0.95, aside=1), look=1)
    others = [
        album.add(folder / f"{n}.jpg", turn(0.3 + n / 100, aside=n), look=n) for n in range(2, 12)
    ]
    engine = album.engine
    query = turn(1).tolist()
    plain = engine.search(vector=query, k=14)
    assert len(plain) == 14 and not any(hit.copies for hit in plain)
    hits = engine.search(vector=query, k=4, collapse=True)
    assert len(hits) == 4 and hits[0].id == first
    assert set(hits[0].copies) == {twin, small}
    assert [hit.id for hit in hits[2:]] == others[::-1][:2]
    pages = [engine.search(vector=query, k=2, offset=n, collapse=True) for n in (0, 2)]
    assert [hit for page in pages for hit in page] == list(hits)
    listed = engine.search(where="width>0", k=100, collapse=True)
    assert len(listed) == 12 and sum(len(hit.copies) for hit in listed) == 2


def test_a_copy_of_a_copy_alone_is_not_folded(album: Album, folder: Path) -> None:
    angle = np.arccos((1 + COPY) / 2)
    ids = [album.add(folder / f"{n}.jpg", turn(float(np.cos(n * angle)))) for n in range(3)]
    hits = album.engine.search(vector=turn(1).tolist(), collapse=True)
    assert [(hit.id, hit.copies) for hit in hits] == [(ids[0], (ids[1],)), (ids[2], ())]
