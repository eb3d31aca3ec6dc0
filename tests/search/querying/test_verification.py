"""Searches that verify: edited copies are found and proven, strangers are not."""

from __future__ import annotations

import io
import itertools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.project import SAMPLES
from PIL import Image, ImageDraw, ImageOps

from search import Engine, Hits, Query, QueryError, Term
from search.querying.pipeline import LibrarySearch
from search.querying.steps import Candidate, TermResolver
from search.querying.verification import Verifier, measure_strength, rank_by_evidence
from search.records.hits import Evidence

PATIENT = 120.0  # seconds, so that a slow machine verifies as much as a quick one
NAMES = tuple(
    f"{kind}/0{i}.jpg" for kind in ("dress", "outwear", "shirt", "shorts") for i in (1, 2)
)
STRANGERS = ("hat/03.jpg", "pants/02.jpg", "shoes/01.jpg", "t-shirt/01.jpg")
Edit = Callable[[Image.Image], Image.Image]


def open_sample(name: str) -> Image.Image:
    with Image.open(SAMPLES / name) as file:
        return file.convert("RGB")


def name_file(name: str) -> str:
    return name.replace("/", "-")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of some samples."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder / name_file(name))
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_OCR", "false")
        engine = open_library(home, verify_seconds=PATIENT)
        engine.sync(folder)
        yield engine
        close_library(engine)


def crop(area: float, x: float, y: float) -> Edit:
    def edit(picture: Image.Image) -> Image.Image:
        width, height = (round(side * area**0.5) for side in picture.size)
        left, top = round((picture.width - width) * x), round((picture.height - height) * y)
        return picture.crop((left, top, left + width, top + height))

    return edit


def crop_flip_rotate(picture: Image.Image) -> Image.Image:
    part = ImageOps.mirror(crop(0.3, 0.5, 0.5)(picture))
    return part.rotate(25, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))


def draw_stripes(size: tuple[int, int]) -> Image.Image:
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for i in range(0, page.width + page.height, 24):
        draw.line((i, 0, i - page.height, page.height), fill=(200, 60, 40), width=10)
    return page


def put_on_stripes(picture: Image.Image) -> Image.Image:
    page = draw_stripes((2 * picture.width, 2 * picture.height))
    page.paste(picture, (picture.width, 0))
    return page


def put_on_screen(picture: Image.Image) -> Image.Image:
    size = round(picture.width * 1.7), round(picture.height * 1.6)
    page = Image.new("RGB", size, (236, 239, 241))
    ImageDraw.Draw(page).rectangle((0, 0, page.width, page.height * 0.08), fill=(40, 60, 90))
    page.paste(picture, (round(picture.width * 0.3), round(picture.height * 0.35)))
    return page


def put_bars_on(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for top in (0.0, 0.82):
        draw.rectangle((0, top * height, width, (top + 0.18) * height), fill="black")
        draw.text((width * 0.1, (top + 0.05) * height), "WHEN YOU SEE IT", "white", font_size=30)
    return picture


def degrade(picture: Image.Image) -> Image.Image:
    out = io.BytesIO()
    half = picture.convert("L").resize((picture.width // 2, picture.height // 2))
    half.save(out, "JPEG", quality=15)
    return Image.open(out).convert("RGB")


EDITS: dict[str, Edit] = {
    "crop 10 %": crop(0.1, 0.5, 0.4),
    "crop 30 % corner": crop(0.3, 1, 1),
    "crop, flip, rotate": crop_flip_rotate,
    "quarter turn": lambda p: p.rotate(90, expand=True),
    "upside down": lambda p: p.rotate(180),
    "mirrored": ImageOps.mirror,
    "quarter of a collage": put_on_stripes,
    "screenshot": put_on_screen,
    "text bars": put_bars_on,
    "grey, half size, q15": degrade,
    "squeezed": lambda p: p.resize((round(p.width * 0.6), p.height)),
}
MIRRORED = {"crop, flip, rotate", "mirrored"}


def search(engine: Engine, picture: Image.Image, **options: object) -> Hits:
    return engine.search(Query.of(picture, verify=True, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EDITS)
def test_the_original_of_an_edited_picture_comes_first_and_is_a_copy(
    engine: Engine, name: str
) -> None:
    for original in NAMES[:2]:
        hit = search(engine, EDITS[name](open_sample(original)))[0]
        assert hit.path.endswith(name_file(original))
        assert hit.kind == "copy" and hit.evidence is not None and (hit.probability or 0) > 0.5
        assert hit.evidence.verdict == "edited"
        assert hit.evidence.mirrored == (name in MIRRORED)


def test_overlaps_and_outlines_say_what_a_crop_shows(engine: Engine) -> None:
    picture = open_sample(NAMES[0])
    width, height = picture.size
    box = (round(0.2 * width), round(0.3 * height), round(0.7 * width), round(0.8 * height))
    evidence = search(engine, picture.crop(box))[0].evidence
    assert evidence is not None
    assert evidence.hit_overlap == pytest.approx(0.25, abs=0.02)
    assert evidence.query_overlap == pytest.approx(1, abs=0.02)
    expected = [(0.2, 0.3), (0.7, 0.3), (0.7, 0.8), (0.2, 0.8)]
    assert evidence.hit_outline is not None and evidence.query_outline is not None
    assert np.abs(np.array(evidence.hit_outline) - expected).max() < 0.02
    # the hit is twice as large as the query, and begins left of and above it
    expected = [(-0.4, -0.6), (1.6, -0.6), (1.6, 1.4), (-0.4, 1.4)]
    assert np.abs(np.array(evidence.query_outline) - expected).max() < 0.05


def test_the_outline_of_a_mirrored_picture_begins_on_the_other_side(engine: Engine) -> None:
    evidence = search(engine, ImageOps.mirror(open_sample(NAMES[0])))[0].evidence
    assert evidence is not None and evidence.hit_outline is not None
    expected = [(1, 0), (0, 0), (0, 1), (1, 1)]
    assert np.abs(np.array(evidence.hit_outline) - expected).max() < 0.02


def test_strangers_are_no_copies(engine: Engine) -> None:
    for name in STRANGERS:
        hits = search(engine, open_sample(name))
        assert len(hits) == len(NAMES)
        assert {hit.kind for hit in hits} == {"similar"}
        assert all(hit.evidence and hit.evidence.verdict == "alike" for hit in hits)
        assert not search(engine, open_sample(name), kind="copy")


def test_the_same_stripes_around_two_pictures_prove_nothing(engine: Engine) -> None:
    for name in STRANGERS:
        assert not engine.search(Query.of(put_on_stripes(open_sample(name)), kind="copy"))
    assert not engine.search(Query.of(draw_stripes((400, 600)), kind="copy"))


def draw_text_page() -> Image.Image:
    page = Image.new("RGB", (600, 800), "white")
    draw, rng = ImageDraw.Draw(page), random.Random(0)
    for line in range(30):
        words = ("".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(9))
        draw.text((40, 20 + 25 * line), " ".join(words), "black", font_size=18)
    return page


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (300, 200), "black"),
        Image.new("RGB", (300, 200), "#c03020"),
        Image.new("RGB", (1, 1), "white"),
        Image.effect_noise((300, 200), 80).convert("RGB"),
        draw_text_page(),
        draw_stripes((300, 300)),
    ],
    ids=["black", "red", "one pixel", "noise", "text", "stripes"],
)
def test_pictures_without_content_of_their_own_have_no_copies(
    engine: Engine, picture: Image.Image
) -> None:
    assert {hit.kind for hit in search(engine, picture)} == {"similar"}
    assert len(search(engine, picture, kind="copy")) == 0


def test_a_crop_of_one_pixel_has_no_copies(engine: Engine) -> None:
    query = Query.of(str(SAMPLES / NAMES[0]), crop=(10, 10, 1, 1), verify=True)
    assert all(hit.kind == "similar" for hit in engine.search(query))


def test_the_same_pixels_are_identical(engine: Engine) -> None:
    out = io.BytesIO()
    open_sample(NAMES[0]).save(out, "PNG")
    for image in (SAMPLES / NAMES[0], out.getvalue()):
        for kind in (None, "identical", "copy", "similar"):
            hits = engine.search(Query.of(image, kind=kind, verify=True))  # type: ignore[arg-type]
            assert hits[0].kind == "identical" and hits[0].path.endswith(name_file(NAMES[0]))
            assert len(hits) == (len(NAMES) if kind in (None, "similar") else 1)


def test_a_picture_of_the_library_is_compared_by_its_id(engine: Engine) -> None:
    (first, *_) = engine.search(SAMPLES / NAMES[0], k=1)
    hits = engine.search(Query.of(f"id:{first.id}", verify=True))
    assert [hit.kind for hit in hits] == ["identical"] + ["similar"] * (len(NAMES) - 1)


def test_conditions_hold_for_what_shares_points_too(engine: Engine) -> None:
    part = crop(0.1, 0.5, 0.4)(open_sample(NAMES[0]))
    name = name_file(NAMES[0])
    assert search(engine, part, kind="copy")[0].path.endswith(name)
    assert not search(engine, part, kind="copy", where=f"not path=*{name}")


def test_several_pictures_are_each_compared(engine: Engine) -> None:
    parts = [crop(0.3, 0.5, 0.5)(open_sample(name)) for name in NAMES[:2]]
    hits = engine.search(Query.of(parts, verify=True, kind="copy"))
    assert {Path(hit.path).name for hit in hits} == {name_file(name) for name in NAMES[:2]}


def test_evidence_names_the_term_that_a_hit_was_compared_with(engine: Engine) -> None:
    parts = [crop(0.3, 0.5, 0.5)(open_sample(name)) for name in NAMES[:2]]
    first, second = (Term(image=part) for part in parts)
    query = Query((Term(text="red"), first, Term(image=SAMPLES / NAMES[2], weight=-0.5), second))
    hits = engine.search(replace(query, verify=True))
    terms = {Path(hit.path).name: hit.evidence.term for hit in hits if hit.evidence}
    assert terms[name_file(NAMES[0])] == 1 and terms[name_file(NAMES[1])] == 3
    alike = [hit.evidence for hit in hits if hit.evidence and hit.evidence.verdict == "alike"]
    assert all(one.term is None for one in alike)


def test_a_search_that_does_not_verify_says_nothing_of_kinds(engine: Engine) -> None:
    hits = engine.search(SAMPLES / NAMES[0])
    assert {(hit.kind, hit.evidence) for hit in hits} == {(None, None)}


def test_there_must_be_a_picture_to_compare_with(engine: Engine) -> None:
    with pytest.raises(QueryError, match="verify needs a picture"):
        engine.search(text="a dress", verify=True)
    with pytest.raises(QueryError, match="kind copy needs a picture"):
        engine.search(text="a dress", kind="copy")
    with pytest.raises(QueryError, match="give one of identical, copy, similar"):
        engine.search(SAMPLES / NAMES[0], kind="other")  # type: ignore[arg-type]


def test_a_thumbnail_takes_the_place_of_a_file_that_is_away(
    tmp_path: Path, home: Path, folder: Path
) -> None:
    shutil.copy(SAMPLES / NAMES[0], folder / "a.jpg")
    engine = open_library(home, verify_seconds=PATIENT)
    engine.sync(folder)
    shutil.rmtree(folder)
    hits = engine.search(Query.of(crop(0.5, 0, 0)(open_sample(NAMES[0])), kind="copy"))
    assert [Path(hit.path).name for hit in hits] == ["a.jpg"]
    close_library(engine)


def test_evidence_orders_what_is_proven_before_what_is_alike(engine: Engine) -> None:
    library = engine.library
    row_ids = [library.reader.resolve(hit.id) for hit in engine.search(SAMPLES / NAMES[0], k=4)]
    summaries = library.reader.describe(row_ids)
    candidates = [Candidate(n, summaries[n], 0.9 - 0.1 * i) for i, n in enumerate(row_ids)]
    a, b, c, d = row_ids
    evidence = {
        a: Evidence("alike"),
        b: Evidence("photographed_again", inliers=90, agreement=0.4),
        c: Evidence("edited", inliers=12, agreement=0.9),
    }
    ranked = rank_by_evidence(candidates, evidence, {d})
    assert [one.row_id for one in ranked] == [d, c, b, a]


def test_of_copies_the_whole_and_the_nearest_in_color_come_first() -> None:
    parts = {"inliers": 100, "agreement": 0.7}
    whole = Evidence("edited", **parts, query_overlap=1.0, hit_overlap=0.5, color_distance=4.0)
    strengths = [
        measure_strength(replace(whole, **change))
        for change in ({}, {"query_overlap": 0.8}, {"color_distance": 9.0}, {"inliers": 60})
    ]
    assert strengths[0] > max(strengths[1:])


def test_of_frames_those_come_first_whose_moved_points_are_near() -> None:
    """Even if what moves hides less of the scene in another frame, so that more pixels agree."""
    parts = {"inliers": 40, "query_overlap": 1.0, "hit_overlap": 0.5}
    near = Evidence("edited", matches=120, agreement=0.6, color_distance=8.0, **parts)
    far = Evidence("edited", matches=70, agreement=0.7, color_distance=4.0, **parts)
    assert measure_strength(near, is_frame=True) > measure_strength(far, is_frame=True)


def make_clock(*values: float) -> Callable[[], float]:
    """Return a clock that shows these times, one a call, and the last one from then on."""
    times = itertools.chain(values, itertools.repeat(values[-1]))
    return lambda: next(times)


@pytest.mark.parametrize(
    ("clock", "compared"),
    [
        (make_clock(0), {0, 1, 2}),
        (make_clock(0, 0, 2 * PATIENT), {0}),  # read to set the end, and to wait for the first
    ],
)
def test_candidates_that_are_late_are_not_compared(
    engine: Engine, clock: Callable[[], float], compared: set[int]
) -> None:
    parts, (space,) = engine.library, engine.library.reader.spaces()
    terms = {0: Term(image=crop(0.5, 0.5, 0.5)(open_sample(NAMES[0])))}
    resolver = TermResolver(parts.reader, parts.resolver, parts.models, space)
    resolved = resolver.resolve(list(terms.values()), with_hash=True, with_features=True)
    rows = [parts.reader.resolve(engine.search(SAMPLES / name, k=1)[0].id) for name in NAMES[:3]]
    summaries = parts.reader.describe(rows)
    candidates = [Candidate(row, summaries[row], 0.9) for row in rows]
    verifier = Verifier(parts, PATIENT, clock)
    evidence = verifier.check(verifier.collect(terms, resolved), candidates, rows)
    assert set(evidence) == {rows[place] for place in compared}
    assert evidence[rows[0]].verdict == "edited"
    kinds = verifier.classify(candidates, evidence, identical=())
    assert [kinds.get(row) for row in rows] == [
        "copy",
        *("similar" if place in compared else None for place in (1, 2)),
    ]


def test_a_search_without_time_to_verify_answers(engine: Engine) -> None:
    searches = LibrarySearch(engine.library, verify_seconds=0)
    picture = crop(0.5, 0.5, 0.5)(open_sample(NAMES[0]))
    hits = searches.search(Query.of(picture, verify=True))
    assert len(hits) == len(NAMES) and hits[0].path.endswith(name_file(NAMES[0]))
    assert hits[0].kind == "copy"  # the likeliest one is compared, however late it is
    late = [hit for hit in hits if hit.kind is None]
    assert len(late) >= 2 and all(hit.evidence is None for hit in late)
    similar = searches.search(Query.of(picture, kind="similar"))
    assert len(similar) == len(hits) - len(late)


def test_hits_are_the_same_after_json(engine: Engine) -> None:
    hit = search(engine, crop(0.3, 0, 0)(open_sample(NAMES[1])))[0]
    document = hit.to_json()["evidence"]
    assert document["verdict"] == "edited" and len(document["hit_outline"]) == 4
    assert Evidence.from_json(document).to_json() == document


@pytest.mark.parametrize("is_equal", [True, False])
def test_pictures_that_overlap_in_part_are_copies_only_where_they_are_equal(
    engine: Engine, library: Callable[..., Engine], folder: Path, is_equal: bool
) -> None:
    """As two photographs of one view have a part in common."""
    whole = open_sample(NAMES[1]).resize((1200, 1200))
    right = whole.crop((400, 0, 1200, 1200))
    if not is_equal:
        warm = np.asarray(right, np.float32) * (1.0, 0.85, 0.7)
        right = Image.fromarray(warm.astype(np.uint8))
    right.save(folder / "right.png")
    other = library(verify_seconds=PATIENT)
    other.sync(folder)
    (hit,) = other.search(image=whole.crop((0, 0, 800, 1200)), verify=True)
    assert hit.evidence and hit.evidence.inliers >= 15
    assert 0.3 < hit.evidence.query_overlap < 0.7
    assert hit.evidence.verdict == ("edited" if is_equal else "photographed_again")
    assert hit.kind == ("copy" if is_equal else "similar")
