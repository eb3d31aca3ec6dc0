"""Variants through the engine: one answer everywhere, the gate, the queue, and bad input."""

from __future__ import annotations

import io
import json
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import close_library, jpeg, open_library, paint
from PIL import Image

from diffusion import Config, Denoiser, Shape
from diffusion.model import checkpoint
from diffusion.sampling import variants as variation
from search import Engine, ModelError, NotFoundError, PictureError, QueryError
from search.embedders.mini import Mini
from search.errors import BusyError
from search.gate import SHARES, Bounds, bounds
from search.records import (
    MOST_VARIANTS,
    REGIMES,
    SIGMAS,
    VARIANT_SIZES,
    Variant,
    Variants,
)
from search.variants import WAITING, Queue, seen_by

SMALL = Config("small", Shape((16, 32), 1, (False, True), head=16), size=16)


def save(path: Path, encoder: dict[str, str] | None = None) -> Path:
    """A small checkpoint of random weights, conditioned on mini's vectors unless told otherwise."""
    mini = Mini()
    config = SMALL.conditioned("vector", mini.dim)
    torch.manual_seed(0)
    model = Denoiser(config)
    for weight in model.net.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    about = {"encoder": encoder or {"name": "mini", "fingerprint": mini.fingerprint}}
    checkpoint.save(path, config, model.net.state_dict(), about)
    return path


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


def pixels(made: Variants) -> list[np.ndarray]:
    return [np.asarray(variant.picture, np.int16) for variant in made]


@pytest.fixture
def no_gate(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._studio, "_bounds", lambda *_: Bounds(-math.inf))


def test_the_dial_is_one(engine: Engine) -> None:
    """What is light to import agrees with what is not."""
    assert dict(REGIMES) == {name: dial.sigma for name, dial in variation.REGIMES.items()}
    assert SIGMAS == (0, REGIMES["concept"]) and set(SHARES) == set(REGIMES)


@pytest.mark.usefixtures("no_gate")
def test_seeds_count_up_and_make_a_variant_again(engine: Engine) -> None:
    made = engine.variants(jpeg(0), n=4, seed=9)
    assert [v.seed for v in made] == [9, 10, 11, 12] and {v.sigma for v in made} == {
        REGIMES["same"]
    }
    assert made.drawn == made.passed == 4 and made.seconds > 0
    again = engine.variants(jpeg(0), n=1, seed=11)
    assert again[0].seed == 11
    assert np.abs(pixels(again)[0] - pixels(made)[2]).max() <= 2
    assert abs(again[0].similarity - made[2].similarity) < 0.02
    assert [p.tobytes() for p in pixels(engine.variants(jpeg(0), n=4, seed=9))] == [
        p.tobytes() for p in pixels(made)
    ]


@pytest.mark.usefixtures("no_gate")
def test_every_way_to_give_a_picture_gives_the_same(engine: Engine, tmp_path: Path) -> None:
    path = paint(tmp_path / "a.jpg", 1)
    identity = engine.search(image=jpeg(1), k=1)[0].id
    ways = [path, str(path), jpeg(1), Image.open(path), f"id:{identity}", f"id:{identity[:8]}"]
    first, *others = [pixels(engine.variants(way, n=1, regime="near"))[0] for way in ways]
    assert all((first == other).all() for other in others)


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
    wild = engine.variants(jpeg(0), n=1, sigma=200)[0]
    assert wild.sigma == 80
    assert wild.picture.tobytes() == engine.variants(jpeg(0), n=1, sigma=80)[0].picture.tobytes()


@pytest.mark.usefixtures("no_gate")
def test_they_are_shown_while_they_are_made(engine: Engine) -> None:
    steps = list(engine.vary(jpeg(0), n=3, steps=9))
    assert steps[0].done == 0 and steps[0].pictures == ()
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert all(s.made is None for s in steps[:-1]) and steps[-1].made is not None
    assert max(len(s.pictures) for s in steps) == 3 and len(steps) > 4
    assert {p.size for s in steps for p in s.pictures} == {(256, 213)}
    last = steps[-1]
    assert last.done == last.total == 27 and last.made is not None
    assert [v.picture for v in last.made] == list(last.pictures)


@pytest.mark.usefixtures("no_gate")
@pytest.mark.parametrize("size", [VARIANT_SIZES[0], 200, VARIANT_SIZES[1]])
def test_the_size_is_that_of_the_long_side(engine: Engine, size: int) -> None:
    tall = Image.new("RGB", (300, 600), "teal")
    assert engine.variants(tall, n=1, size=size)[0].picture.size == (size // 2, size)


@pytest.mark.usefixtures("no_gate")
def test_pure_noise_knows_the_vector_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures under one vector have the same variant, and under sigma 1 they have not."""
    monkeypatch.setattr(
        engine._studio, "_embed", lambda embedder, some: np.full((len(some), 512), 512**-0.5, "f4")
    )
    for sigma, same in ((80, True), (1, False)):
        pair = [engine.variants(jpeg(s), n=1, sigma=sigma)[0].picture.tobytes() for s in (0, 1)]
        assert (pair[0] == pair[1]) == same


# the gate -------------------------------------------------------------------------------------


def test_bounds_are_percentiles_of_strangers() -> None:
    """Nine at right angles, a tenth close to the first; a copy of one is no stranger."""
    rows = np.eye(12, dtype=np.float32)[:10]
    rows[9] = 0.6 * rows[9] + 0.8 * rows[0]
    for vectors in (rows, np.concatenate([rows, rows[:1]])):
        near, same = (bounds(vectors, regime) for regime in ("near", "same"))
        assert near.least == pytest.approx(0, abs=1e-6) and near.most == math.inf
        assert same.least <= near.least and 0.7 < same.most < 0.81
    assert Bounds(0.2, 0.9).beyond(0.5) == 0
    assert Bounds(0.2, 0.9).beyond(0.1) == pytest.approx(0.1)
    assert Bounds(0.2, 0.9).beyond(0.95) == pytest.approx(0.05)


def test_where_nobody_is_a_stranger_all_pass() -> None:
    same = np.tile(np.eye(4, dtype=np.float32)[:1], (300, 1))
    for vectors in (same, same[:1], same[:0]):
        assert bounds(vectors, "same") == Bounds(-math.inf)
    mixed = np.concatenate([same, np.eye(4, dtype=np.float32)[1:]])
    assert bounds(mixed, "same").least == 0


def test_the_gate_of_a_library_that_forgot_most_of_its_pictures(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.variants.ENOUGH", 3)
    monkeypatch.setattr(engine._studio._lookup, "newest", lambda *_: [10**6, 10**6 + 1])
    monkeypatch.setattr(engine._studio, "_known", {})
    asked = engine._studio._bounds(Mini(), "same")  # of the samples
    assert -1 < asked.least < asked.most < 1


def test_the_first_that_pass_are_taken(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._studio, "_bounds", lambda *_: Bounds(-math.inf))
    free = engine.variants(jpeg(0), n=12)
    middle = sorted(v.similarity for v in free)[5]
    monkeypatch.setattr(engine._studio, "_bounds", lambda *_: Bounds(middle + 1e-4))
    wanted = [v.seed for v in free if v.similarity > middle + 1e-4][:4]
    made = engine.variants(jpeg(0), n=4)
    assert made.passed == len(wanted) and [v.seed for v in made][: len(wanted)] == wanted
    assert made.drawn <= 12


def test_where_none_passes_the_best_are_given_and_it_is_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._studio, "_bounds", lambda *_: Bounds(-1, -1))
    made = engine.variants(jpeg(0), n=2)
    assert (len(made), made.passed, made.drawn) == (2, 0, 6)
    assert made[0].similarity <= made[1].similarity  # nearest to the bounds first
    one = engine.variants(jpeg(0), n=1, seed=made[1].seed)  # which asks no gate
    assert one[0].seed == made[1].seed and one.drawn == one.passed == 1


def test_a_small_library_is_measured_by_the_samples_once(engine: Engine) -> None:
    asked = engine._studio._bounds(Mini(), "same")
    assert -1 < asked.least < asked.most < 1
    notes = [json.loads(p.read_text()) for p in (engine.home / "models").glob("*.json")]
    assert [asked.least, asked.most] in [note["value"] for note in notes]


def test_a_large_library_is_its_own_measure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.variants.ENOUGH", 3)
    vectors = np.stack(
        [engine.encode([np.asarray(Image.open(io.BytesIO(jpeg(s))))])[0] for s in range(3)]
    )
    found, wanted = engine._studio._bounds(Mini(), "concept"), bounds(vectors, "concept")
    assert found.least == pytest.approx(wanted.least, abs=0.02)


# the queue ------------------------------------------------------------------------------------


def test_one_job_at_a_time_and_the_others_wait(engine: Engine) -> None:
    first, second = engine.vary(jpeg(0), n=1, steps=4), engine.vary(jpeg(1), n=1, steps=4)
    while not next(first).pictures:
        pass
    assert [next(second).done for _ in range(3)] == [0, 0, 0]
    first.close()  # type: ignore[attr-defined]
    assert list(second)[-1].made is not None


def test_the_queue_keeps_its_order_and_is_bounded() -> None:
    queue, done = Queue(), list[int]()
    with queue.place(False) as first:
        assert first()
        begun = [threading.Event() for _ in range(WAITING)]

        def wait(i: int) -> None:
            with queue.place(False) as mine:
                begun[i].set()
                while not mine():
                    pass
                done.append(i)

        threads = [threading.Thread(target=wait, args=(i,)) for i in range(WAITING)]
        for thread, event in zip(threads, begun, strict=True):
            thread.start()
            event.wait()
        with pytest.raises(BusyError), queue.place(False):
            pass
        assert done == []
    for thread in threads:
        thread.join()
    assert done == list(range(WAITING))


def test_a_search_goes_between_two_passes(engine: Engine) -> None:
    steps = engine.vary(jpeg(0), n=2, steps=50)
    next(steps), next(steps)
    assert engine.search(image=jpeg(2), k=1)[0].score > 0.99
    assert next(steps).made is None
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
    made = [Variant(Image.new("RGB", (9, 9), c), 7, 0.5, 1.0) for c in ("red", "blue", "green")]
    paths = [variant.save(tmp_path, "cat") for variant in made]
    names = [f"{stem}-seed7-sigma0.5.png" for stem in ("cat", "cat-2", "cat-3")]
    assert [path.name for path in paths] == names
    assert [variant.save(tmp_path, "cat") for variant in made] == paths
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    for variant, path in zip(made, paths, strict=True):
        with Image.open(path) as picture:
            assert picture.getpixel((0, 0)) == variant.picture.getpixel((0, 0))
    assert made[2].save(tmp_path, "cat", replace=True) == paths[0]
    assert paths[0].read_bytes() == paths[2].read_bytes() != paths[1].read_bytes()
    long = [variant.save(tmp_path, "x" * 300) for variant in made]
    assert len({path.name for path in long}) == 3


def test_many_may_write_the_same_variant(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    made = Variant(Image.fromarray(pixels), 7, 0.5, 1.0)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: made.save(tmp_path, "cat"), range(40)))
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
    made = [Variant(Image.new("RGB", (9, 9), (i, 0, 0)), 7, 0.5, 1.0) for i in range(32)]
    with ThreadPoolExecutor(8 if links else 1) as pool:
        paths = list(pool.map(lambda variant: variant.save(tmp_path, "cat"), made))
    assert sorted(paths) == sorted(tmp_path.iterdir()) and len(set(paths)) == 32
    for path, variant in zip(paths, made, strict=True):
        with Image.open(path) as picture:
            assert picture.getpixel((0, 0)) == variant.picture.getpixel((0, 0))


# bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
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
        {"size": 10**6},
    ],
)
def test_what_cannot_be_is_refused_at_the_call(engine: Engine, asked: dict[str, object]) -> None:
    with pytest.raises(QueryError):
        engine.vary(jpeg(0), **asked)  # type: ignore[arg-type]


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
    made = engine.variants(picture, n=1, regime=regime, steps=2)
    assert made[0].picture.size == size and made[0].picture.mode == "RGB"
    assert -1 <= made[0].similarity <= 1


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
        with pytest.raises(ModelError, match="variants"):
            engine.variants(jpeg(0), n=1)
    finally:
        close_library(engine)
