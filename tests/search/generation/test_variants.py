"""Variants through the engine: one answer everywhere, acceptance, the queue, and bad input."""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.libraries import close_library, open_library
from helpers.pictures import identity, jpeg, paint
from helpers.project import SAMPLES
from helpers.variants import SMALL, save
from PIL import Image

from diffusion import Denoiser
from diffusion.model import checkpoint
from diffusion.sampling import variants as variation
from diffusion.sampling.canvas import PixelCanvas
from search import Engine, ModelError, NotFoundError, PictureError, QueryError
from search.embedders.mini import Mini
from search.errors import BusyError
from search.generation.acceptance import MIN_SHARES, Acceptance, least_similarity
from search.generation.generators.own import NEIGHBOUR_SIGMA, OwnGenerator, seen_by
from search.generation.variants import MAX_WAITING, Queue
from search.records.variants import (
    MOST_VARIANTS,
    REGIMES,
    SIGMAS,
    VARIANT_SIZES,
    Variant,
    Variants,
    VariantSource,
)
from search.types import Vectors


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Engine]:
    """A library of some pictures, with small weights."""
    place = tmp_path_factory.mktemp("variants")
    for seed in range(3):
        paint(place / "photos" / f"{seed}.jpg", seed)
    opened = open_library(place / "home", model="mini", checkpoint=weights)
    opened.sync(place / "photos")
    yield opened
    close_library(opened)


def pixels(result: Variants) -> list[np.ndarray]:
    return [np.asarray(variant.picture, np.int16) for variant in result]


def are_same(one: Variants, other: Variants) -> bool:
    """Whether the pictures are equal but for rounding: by 2 of 255 at most."""
    return all(np.abs(a - b).max() <= 2 for a, b in zip(pixels(one), pixels(other), strict=True))


@pytest.fixture
def no_gate(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.library.generator, "_make_test", lambda *_: Acceptance())


def test_the_dial_is_one(engine: Engine) -> None:
    """Constants of the light module equal those of the heavy one."""
    latent = variation.REGIMES["latent"]
    assert dict(REGIMES) == {name: dial.sigma for name, dial in latent.items()}
    assert SIGMAS == (0, REGIMES["concept"]) and set(MIN_SHARES) == set(REGIMES)


@pytest.mark.parametrize("space, regime", [("pixels", "same"), ("latent", "near")])
def test_a_sigma_is_accepted_as_its_regime_in_the_space_of_the_model(
    space: str, regime: str, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(OwnGenerator, "regimes", variation.REGIMES[space])
    request = engine.library.generator.request
    assert request(sigma=1.0).regime == regime
    assert request(sigma=1.0, n=1).regime is None  # it is not tested


@pytest.mark.usefixtures("no_gate")
def test_seeds_count_up_and_make_a_variant_again(engine: Engine) -> None:
    result = engine.variants(jpeg(0), n=4, seed=9)
    assert [v.seed for v in result] == [9, 10, 11, 12]
    assert {v.sigma for v in result} == {variation.REGIMES["pixels"]["same"].sigma}
    assert result.drawn == result.passed == 4 and result.seconds > 0
    again = engine.variants(jpeg(0), n=1, seed=11)
    assert again[0].seed == 11
    assert np.abs(pixels(again)[0] - pixels(result)[2]).max() <= 2
    assert abs(again[0].similarity - result[2].similarity) < 0.02
    assert are_same(engine.variants(jpeg(0), n=4, seed=9), result)


@pytest.mark.usefixtures("no_gate")
def test_every_way_to_give_a_picture_gives_the_same(engine: Engine, tmp_path: Path) -> None:
    path = paint(tmp_path / "a.jpg", 1)
    identity = engine.search(image=jpeg(1), k=1)[0].id
    ways = [path, str(path), jpeg(1), Image.open(path), f"id:{identity}", f"id:{identity[:8]}"]
    first, *others = [engine.variants(way, n=1, regime="near") for way in ways]
    assert all(are_same(first, other) for other in others)


@pytest.mark.parametrize(
    "about, size",
    [
        ({}, (16, 16)),
        ({"side": 12}, (16, 16)),
        ({"side": 50}, (80, 50)),
        ({"side": 900}, (160, 100)),
    ],
)
def test_the_condition_is_of_a_picture_as_in_training(
    about: dict[str, int], size: tuple[int, int]
) -> None:
    model = Denoiser(SMALL)
    model.about = about
    assert seen_by(model, Image.new("RGB", (160, 100))).size == size


@pytest.mark.usefixtures("no_gate")
def test_the_ends_of_the_dial(engine: Engine) -> None:
    still = engine.variants(jpeg(0), n=2, sigma=0)
    assert (pixels(still)[0] == pixels(still)[1]).all() and still[0].similarity > 0.9
    wild = engine.variants(jpeg(0), n=1, sigma=200)
    assert wild[0].sigma == 80
    assert are_same(wild, engine.variants(jpeg(0), n=1, sigma=80))


@pytest.mark.usefixtures("no_gate")
def test_they_are_shown_while_they_are_made(engine: Engine) -> None:
    steps = list(engine.vary(jpeg(0), n=3, steps=9))
    assert steps[0].done == 0 and steps[0].pictures == ()
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert all(s.result is None for s in steps[:-1]) and steps[-1].result is not None
    assert max(len(s.pictures) for s in steps) == 3 and len(steps) > 4
    assert {p.size for s in steps for p in s.pictures} == {(256, 213)}
    last = steps[-1]
    assert last.done == last.total == 27 and last.result is not None
    assert [v.picture for v in last.result] == list(last.pictures)


@pytest.mark.usefixtures("no_gate")
@pytest.mark.parametrize("size", [VARIANT_SIZES[0], 200, VARIANT_SIZES[1]])
def test_the_size_is_that_of_the_long_side(engine: Engine, size: int) -> None:
    tall = Image.new("RGB", (300, 600), "teal")
    assert engine.variants(tall, n=1, size=size)[0].picture.size == (size // 2, size)


@pytest.mark.usefixtures("no_gate")
def test_pure_noise_knows_the_vector_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures with one vector have the same variant at high sigma, not at sigma 1."""
    monkeypatch.setattr(
        engine.library.models,
        "embed",
        lambda embedder, some: np.full((len(some), 512), 512**-0.5, "f4"),
    )
    for sigma, same in ((80, True), (1, False)):
        one, other = (engine.variants(jpeg(s), n=1, sigma=sigma) for s in (0, 1))
        assert are_same(one, other) == same


# neighbours -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_gate")
def test_candidates_start_from_the_neighbours_in_turn(engine: Engine) -> None:
    """The nearest other picture comes first. The query is not its own neighbour."""
    query, *others = engine.search(image=jpeg(0), k=3)
    result = engine.variants(jpeg(0), n=4, start="neighbours")
    assert query.id == identity(0)
    assert [variant.source for variant in result] == [
        VariantSource(hit.id, hit.path) for hit in (*others, *others)
    ]
    assert {variant.sigma for variant in result} == {NEIGHBOUR_SIGMA["pixels"]}
    assert {variant.picture.size for variant in result} == {(256, 213)}
    again = engine.variants(jpeg(0), n=1, seed=result[3].seed, start="neighbours")
    assert again[0].source == result[3].source
    assert np.abs(pixels(again)[0] - pixels(result)[3]).max() <= 2


@pytest.mark.usefixtures("no_gate")
def test_the_source_is_in_the_json_and_none_for_the_picture(engine: Engine) -> None:
    options = {"n": 1, "steps": 1}
    started = engine.variants(jpeg(0), start="neighbours", **options)[0].to_json()["source"]
    assert set(started) == {"id", "path"} and Path(started["path"]).is_file()
    assert engine.variants(jpeg(0), **options)[0].to_json()["source"] is None


@pytest.mark.usefixtures("no_gate")
def test_a_little_noise_leaves_the_neighbour(engine: Engine) -> None:
    for variant in engine.variants(jpeg(0), n=2, start="neighbours", sigma=0.05):
        assert variant.source is not None
        neighbour = Image.open(variant.source.path).resize((256, 213))
        difference = np.asarray(variant.picture, np.int16) - np.asarray(neighbour, np.int16)
        assert np.abs(difference).mean() < 20


def test_neighbours_are_denoised_under_the_vector_of_the_query(
    library: Callable[..., Engine], folder: Path
) -> None:
    """Two queries make different variants of the same neighbour and seed."""
    paint(folder / "only.jpg", 2)
    engine = library(model="mini", checkpoint=save(folder.parent / "small.safetensors"))
    engine.sync(folder)
    pair = [engine.variants(jpeg(s), n=1, start="neighbours")[0] for s in (0, 1)]
    assert pair[0].source == pair[1].source == VariantSource(identity(2), str(folder / "only.jpg"))
    assert pair[0].picture.tobytes() != pair[1].picture.tobytes()


def test_a_neighbour_that_is_gone_is_passed_over(
    library: Callable[..., Engine], folder: Path
) -> None:
    for seed in range(4):
        paint(folder / f"{seed}.jpg", seed)
    engine = library(model="mini", checkpoint=save(folder.parent / "small.safetensors"))
    engine.sync(folder)
    _, first, second, _ = engine.search(image=jpeg(0), k=4)
    Path(first.path).unlink()
    result = engine.variants(jpeg(0), n=1, steps=1, start="neighbours")
    assert result[0].source == VariantSource(second.id, second.path)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(QueryError, match="can be read"):
        engine.variants(jpeg(0), n=1, steps=1, start="neighbours")


def test_without_other_pictures_there_is_no_neighbour(
    library: Callable[..., Engine], folder: Path
) -> None:
    """In an empty library, and in one that has only copies of the query."""
    engine = library(model="mini", checkpoint=save(folder.parent / "small.safetensors"))
    with pytest.raises(QueryError, match="lookalike index"):
        engine.variants(jpeg(0), n=1, start="neighbours")
    paint(folder / "same.jpg", 0)
    paint(folder / "copy.jpg", 0, comment="saved again")
    engine.sync(folder)
    with pytest.raises(QueryError, match="index more pictures"):
        engine.variants(jpeg(0), n=1, start="neighbours")
    assert len(engine.variants(jpeg(0), n=1, steps=1)) == 1


def test_near_duplicates_hide_no_neighbour(
    library: Callable[..., Engine], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are more copies than the first search returns."""
    monkeypatch.setattr("search.generation.library_pictures.FIRST_K", 2)
    for i in range(5):
        paint(folder / f"copy{i}.jpg", 0, comment=f"copy {i}")
    paint(folder / "other.jpg", 1)
    engine = library(model="mini", checkpoint=save(folder.parent / "small.safetensors"))
    engine.sync(folder)
    result = engine.variants(jpeg(0), n=1, steps=1, start="neighbours")
    assert result[0].source == VariantSource(identity(1), str(folder / "other.jpg"))


def test_a_copy_of_the_start_is_rejected() -> None:
    query, neighbour = (Image.open(io.BytesIO(jpeg(seed))) for seed in (0, 1))
    test = Acceptance(0.5, query)
    assert test.distance(0.9, neighbour) == 0
    assert test.distance(0.9, neighbour, neighbour) > 0 < test.distance(0.9, query, neighbour)


@pytest.mark.usefixtures("no_gate")
def test_a_variant_that_copies_its_neighbour_is_rejected(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine.search(image=jpeg(0), k=2)[1]
    copy = Image.open(first.path).resize((256, 213), Image.Resampling.LANCZOS)
    monkeypatch.setattr(PixelCanvas, "render", lambda *_: iter([copy]))
    result = engine.variants(jpeg(0), n=2, start="neighbours")
    sources = {variant.accepted: variant.source for variant in result}
    assert sources[True] != VariantSource(first.id, first.path)
    assert result.passed < result.drawn


# acceptance -----------------------------------------------------------------------------------


def test_a_variant_is_more_alike_than_a_share_of_strangers() -> None:
    """Of 100 strangers at rising cosines; copies of the query are no strangers."""
    cosines = np.linspace(0, 0.9, 100, dtype=np.float32)
    strangers = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    query = np.array([1, 0], np.float32)
    for vectors in (strangers, np.concatenate([strangers, np.tile(query, (50, 1))])):
        for regime, share in MIN_SHARES.items():
            least = least_similarity(query, vectors, regime)
            assert (cosines <= least).mean() == pytest.approx(share, abs=0.01)
    assert least_similarity(query, strangers[:0], "same") == -math.inf


def plain(color: str) -> Image.Image:
    return Image.new("RGB", (256, 213), color)


def noise(seed: int) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (213, 256, 3), np.uint8))


@pytest.mark.parametrize("regime", sorted(MIN_SHARES))
@pytest.mark.parametrize(
    "picture",
    [plain("black"), plain("white"), plain("grey"), noise(0), noise(1)],
    ids=["black", "white", "grey", "noise", "more noise"],
)
def test_noise_and_blank_pictures_are_rejected(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, picture: Image.Image, regime: str
) -> None:
    monkeypatch.setattr(PixelCanvas, "render", lambda *_: iter([picture]))
    result = engine.variants(jpeg(0), n=2, regime=regime)
    assert result.passed == 0 and [variant.accepted for variant in result] == [False, False]


def test_a_copy_of_the_query_is_rejected(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    query = Image.open(io.BytesIO(jpeg(0))).resize((256, 213))
    monkeypatch.setattr(PixelCanvas, "render", lambda *_: iter([query]))
    assert engine.variants(jpeg(0), n=2, regime="near").passed == 0


@pytest.fixture(scope="module")
def samples() -> tuple[list[Path], Vectors]:
    """The sample pictures, and their vectors by the real encoder."""
    paths, mini = sorted(SAMPLES.glob("*/*.jpg")), Mini()
    pixels = [mini.preprocessing(Image.open(path).convert("RGB")) for path in paths]
    rows = [mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)]
    return paths, np.concatenate(rows)


@pytest.mark.parametrize("regime", sorted(MIN_SHARES))
def test_few_strangers_are_accepted(samples: tuple[list[Path], Vectors], regime: str) -> None:
    """The sample pictures as variants of each other, in other classes, with the real encoder."""
    paths, vectors = samples
    shown = Image.linear_gradient("L").convert("RGB").resize((64, 64))  # neither blank nor noise
    accepted = []
    for row, path in enumerate(paths[:60]):
        strangers = np.delete(vectors[::2], row // 2, 0)
        test = Acceptance(least_similarity(vectors[row], strangers, regime))
        others = [i for i, other in enumerate(paths) if other.parent != path.parent and i % 2]
        similarities = (vectors[others] @ vectors[row]).tolist()
        accepted += [test.distance(similarity, shown) == 0 for similarity in similarities]
    assert np.mean(accepted) <= 1 - MIN_SHARES[regime] + 0.01


def test_the_first_that_are_accepted_are_taken(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accept(least: float) -> None:
        monkeypatch.setattr(engine.library.generator, "_make_test", lambda *_: Acceptance(least))

    accept(-math.inf)
    free = engine.variants(jpeg(0), n=12)
    middle = sorted(v.similarity for v in free)[5]
    accept(middle + 1e-4)
    seeds = [v.seed for v in free if v.similarity > middle + 1e-4][:4]
    result = engine.variants(jpeg(0), n=4)
    assert result.passed == len(seeds) and [v.seed for v in result][: len(seeds)] == seeds
    assert result.drawn <= 12


def test_where_none_is_accepted_the_best_are_given_and_marked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.library.generator, "_make_test", lambda *_: Acceptance(1.1))
    result = engine.variants(jpeg(0), n=2)
    assert (len(result), result.passed, result.drawn) == (2, 0, 6)
    assert result[0].similarity >= result[1].similarity and not result[0].accepted
    assert result[0].to_json()["accepted"] is False
    one = engine.variants(jpeg(0), n=1, seed=result[1].seed)  # which is not tested
    assert one[0].seed == result[1].seed and one.drawn == one.passed == 1 and one[0].accepted


def test_strangers_are_the_samples_while_a_library_is_small(engine: Engine) -> None:
    strangers = engine.library.generator.pictures.stranger_vectors(Mini())
    assert len(strangers) > 50 and strangers.shape[1] == Mini().dim
    assert np.linalg.norm(strangers, axis=1) == pytest.approx(1, abs=0.01)


def test_a_large_library_has_its_own_strangers(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.generation.library_pictures.MIN_STRANGERS", 3)
    assert len(engine.library.generator.pictures.stranger_vectors(Mini())) == 3
    monkeypatch.setattr(engine.library.reader, "newest", lambda *_: [10**6, 10**6 + 1])
    monkeypatch.setattr(engine.library.generator.pictures, "_strangers", None)
    assert (
        len(engine.library.generator.pictures.stranger_vectors(Mini())) > 50
    )  # it forgot most of its pictures


# the queue ------------------------------------------------------------------------------------


def test_one_job_at_a_time_and_the_others_wait(engine: Engine) -> None:
    first, second = engine.vary(jpeg(0), n=1, steps=4), engine.vary(jpeg(1), n=1, steps=4)
    while not next(first).pictures:
        pass
    assert [next(second).done for _ in range(3)] == [0, 0, 0]
    first.close()  # type: ignore[attr-defined]
    assert list(second)[-1].result is not None


def test_the_queue_keeps_its_order_and_is_bounded() -> None:
    queue, done = Queue(), list[int]()
    with queue.place(False) as first:
        assert first()
        begun = [threading.Event() for _ in range(MAX_WAITING)]

        def wait(i: int) -> None:
            with queue.place(False) as mine:
                begun[i].set()
                while not mine():
                    pass
                done.append(i)

        threads = [threading.Thread(target=wait, args=(i,)) for i in range(MAX_WAITING)]
        for thread, event in zip(threads, begun, strict=True):
            thread.start()
            event.wait()
        with pytest.raises(BusyError), queue.place(False):
            pass
        assert done == []
    for thread in threads:
        thread.join()
    assert done == list(range(MAX_WAITING))


def test_a_search_goes_between_two_passes(engine: Engine) -> None:
    steps = engine.vary(jpeg(0), n=2, steps=50)
    next(steps), next(steps)
    assert engine.search(image=jpeg(2), k=1)[0].score > 0.99
    assert next(steps).result is None
    steps.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.2])
def test_a_little_noise_leads_to_a_variant_too(engine: Engine, sigma: float) -> None:
    same, other = (engine.variants(jpeg(0), n=1, sigma=s)[0].picture for s in (0, sigma))
    assert same.size == other.size and same.tobytes() != other.tobytes()


def test_closing_it_ends_it(engine: Engine) -> None:
    steps = engine.vary(jpeg(0), n=4, steps=1000)
    while not next(steps).pictures:
        pass
    steps.close()  # type: ignore[attr-defined]
    assert len(engine.variants(jpeg(0), n=1, steps=2)) == 1


def test_a_file_of_another_picture_stays(tmp_path: Path) -> None:
    """Two pictures of one name, or one under other options, in one folder."""
    variants = [Variant(Image.new("RGB", (9, 9), c), 7, 0.5, 1.0) for c in ("red", "blue", "green")]
    paths = [variant.save(tmp_path, "cat") for variant in variants]
    names = [f"{stem}-seed7-sigma0.5.png" for stem in ("cat", "cat-2", "cat-3")]
    assert [path.name for path in paths] == names
    assert [variant.save(tmp_path, "cat") for variant in variants] == paths
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    for variant, path in zip(variants, paths, strict=True):
        with Image.open(path) as picture:
            assert picture.getpixel((0, 0)) == variant.picture.getpixel((0, 0))
    assert variants[2].save(tmp_path, "cat", replace=True) == paths[0]
    assert paths[0].read_bytes() == paths[2].read_bytes() != paths[1].read_bytes()
    long = [variant.save(tmp_path, "x" * 300) for variant in variants]
    assert len({path.name for path in long}) == 3


def test_many_may_write_the_same_variant(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    variant = Variant(Image.fromarray(pixels), 7, 0.5, 1.0)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: variant.save(tmp_path, "cat"), range(40)))
    assert paths == set(tmp_path.iterdir()) and len(paths) == 1
    with Image.open(paths.pop()) as picture:
        assert (np.asarray(picture) == pixels).all()


@pytest.mark.parametrize("links", [True, False])
def test_pictures_of_one_name_at_the_same_time_are_all_kept(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", none)
    variants = [Variant(Image.new("RGB", (9, 9), (i, 0, 0)), 7, 0.5, 1.0) for i in range(32)]
    with ThreadPoolExecutor(8 if links else 1) as pool:
        paths = list(pool.map(lambda variant: variant.save(tmp_path, "cat"), variants))
    assert sorted(paths) == sorted(tmp_path.iterdir()) and len(set(paths)) == 32
    for path, variant in zip(paths, variants, strict=True):
        with Image.open(path) as picture:
            assert picture.getpixel((0, 0)) == variant.picture.getpixel((0, 0))


def test_without_vectors_pure_noise_is_refused(tmp_path: Path) -> None:
    """At this sigma, the picture has no effect."""
    torch.manual_seed(0)
    model, path = Denoiser(SMALL), tmp_path / "plain.safetensors"
    checkpoint.save(path, SMALL, model.net.state_dict(), {})
    engine = open_library(tmp_path / "home", model="mini", checkpoint=path)
    try:
        with pytest.raises(QueryError, match="trained without vectors"):
            engine.variants(jpeg(0), n=1, regime="concept")
        with pytest.raises(QueryError, match="without vectors"):
            engine.variants(jpeg(0), n=1, start="neighbours")
        assert len(engine.variants(jpeg(0), n=1, sigma=1)) == 1
    finally:
        close_library(engine)


# bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0},
        {"n": 1000},
        {"n": MOST_VARIANTS + 1},
        {"regime": "far"},
        {"regime": "near", "sigma": 1.0},
        {"sigma": -0.1},
        {"sigma": math.nan},
        {"sigma": math.inf},
        {"guidance": -1.0},
        {"guidance": 1e9},
        {"steps": 0},
        {"steps": 10**9},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 2**70},
        {"size": 63},
        {"start": "elsewhere"},
        {"start": "neighbours", "regime": "same"},
        {"start": "neighbours", "regime": "concept", "sigma": 2.0},
        {"start": "neighbours", "sigma": 0.0},
        {"start": "neighbours", "sigma": 80.0},
        {"start": "neighbours", "sigma": math.nan},
        {"size": 10**6},
    ],
)
def test_what_cannot_be_is_refused_at_the_call(
    engine: Engine, arguments: dict[str, object]
) -> None:
    with pytest.raises(QueryError):
        engine.vary(jpeg(0), **arguments)  # type: ignore[arg-type]


def animated() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.usefixtures("no_gate")
@pytest.mark.parametrize(
    "picture, size",
    [
        (Image.new("RGB", (1, 1), "red"), (256, 256)),
        (Image.new("RGB", (1, 10_000), "red"), (1, 256)),
        (Image.new("RGB", (10_000, 1), "red"), (256, 1)),
        (Image.new("RGBA", (30, 30), (0, 0, 0, 0)), (256, 256)),
        (Image.new("L", (30, 20)), (256, 171)),
        (animated(), (256, 192)),
    ],
    ids=["one", "tall", "wide", "clear", "black", "animated"],
)
@pytest.mark.parametrize("regime", sorted(REGIMES))
def test_any_picture_has_variants(
    engine: Engine, picture: Image.Image | bytes, size: tuple[int, int], regime: str
) -> None:
    result = engine.variants(picture, n=1, regime=regime, steps=2)
    assert result[0].picture.size == size and result[0].picture.mode == "RGB"
    assert -1 <= result[0].similarity <= 1


@pytest.mark.parametrize(
    "image, error",
    [(b"no picture", PictureError), (b"", PictureError), ("/nowhere.jpg", NotFoundError)]
    + [("id:" + "0" * 64, NotFoundError), ("id:x", QueryError)],
)
def test_what_is_no_picture_is_refused(
    engine: Engine, image: bytes | str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.variants(image, n=1)
    assert len(engine.variants(jpeg(0), n=1, steps=1)) == 1  # nobody is left in the queue


@pytest.mark.parametrize("what", ["missing", "torn", "another encoder's", "an unknown encoder's"])
def test_weights_that_cannot_be_used_are_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "c.safetensors"
    if what == "torn":
        save(path).write_bytes(path.read_bytes()[:1000])
    elif what != "missing":
        name = "mini" if what == "another encoder's" else "nonsense"
        save(path, {"name": name, "fingerprint": "0" * 16})
    engine = open_library(tmp_path / "home", model="mini", checkpoint=path)
    try:
        with pytest.raises(ModelError, match="diffusion model cannot be opened"):
            engine.variants(jpeg(0), n=1)
    finally:
        close_library(engine)
