"""The contract of generators, for our model and for pipelines of every family."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import jpeg, paint
from helpers.pipelines import SAVERS
from helpers.variants import save
from PIL import Image

from diffusion.sampling.variants import VariantSettings
from search import Engine, QueryError
from search.generation.generators.base import Generator, GeneratorState
from search.generation.generators.own import OwnGenerator
from search.generation.generators.pipelines import PipelineGenerator
from search.records.variants import OWN_GENERATOR, REGIMES

pytestmark = [
    pytest.mark.slow,
    # of diffusers and transformers themselves, when a test saves or loads by them
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

FAMILIES = (OWN_GENERATOR, *SAVERS)
SIZE = (48, 32)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of some pictures, with small weights."""
    place = tmp_path_factory.mktemp("generators")
    for seed in range(3):
        paint(place / "photos" / f"{seed}.jpg", seed)
    weights = save(place / "small.safetensors")
    opened = open_library(place / "home", model="mini", checkpoint=weights)
    opened.sync(place / "photos")
    yield opened
    close_library(opened)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return the name of a generator of a family; a pipeline is saved when it is first used."""
    saved = {OWN_GENERATOR: OWN_GENERATOR}

    def name(family: str) -> str:
        if family not in saved:
            saved[family] = SAVERS[family](tmp_path_factory.mktemp(family) / "pipeline")
        return saved[family]

    return name


@pytest.fixture(params=FAMILIES)
def generator(
    request: pytest.FixtureRequest, engine: Engine, names: Callable[[str], str]
) -> Generator:
    return engine.library.generator.generators.take(names(request.param))


def photo(seed: int) -> Image.Image:
    """A smooth picture of random colors."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    return Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)


def dial(generator: Generator, regime: str) -> VariantSettings:
    return replace(generator.regimes[regime], steps=4)


def vary(
    generator: Generator, regime: str, seeds: list[int], picture: int = 0, start: int = 0
) -> list[np.ndarray]:
    starts = [photo(start)] * len(seeds)
    *_, last = generator.vary(photo(picture), dial(generator, regime), seeds, starts)
    return [np.asarray(one, np.int16) for one in last.pictures]


def test_a_generator_describes_itself(generator: Generator) -> None:
    assert generator.name and generator.batch >= 1 and generator.license
    assert generator.native_size and generator.native_size >= 16
    assert len(generator.fingerprint) == 64
    sigmas = [generator.regimes[name].sigma for name in REGIMES]
    assert sigmas == sorted(sigmas) and 0 < generator.neighbour_sigma < sigmas[-1]
    assert list(generator.fetch()) == []  # everything is here
    generator.check(dial(generator, "concept"), neighbours=True)


def test_the_last_state_has_the_candidates(generator: Generator) -> None:
    settings = dial(generator, "same")
    states = list(generator.vary(photo(0), settings, [1, 2], [photo(0)] * 2))
    assert [state.last for state in states] == [False] * (len(states) - 1) + [True]
    assert [s.step for s in states] == sorted(s.step for s in states)
    assert states[-1].step == settings.steps and len(states) > 3
    assert {state.sigma for state in states} == {states[-1].sigma}
    assert states[-1].sigma == pytest.approx(settings.sigma, rel=0.35)
    candidates = states[-1].pictures
    assert [(one.size, one.mode) for one in candidates] == [(SIZE, "RGB")] * 2
    assert all(len(state.pictures) in (0, 2) for state in states)


@pytest.mark.parametrize("regime", sorted(REGIMES))
def test_a_seed_gives_the_same_alone_and_in_a_batch(generator: Generator, regime: str) -> None:
    together = vary(generator, regime, [7, 8, 9])
    again = vary(generator, regime, [7, 8, 9])
    alone = vary(generator, regime, [8])
    assert all((a == b).all() for a, b in zip(together, again, strict=True))
    assert np.abs(together[1] - alone[0]).max() <= 2
    assert np.abs(together[0] - together[1]).mean() > 1  # another seed, another candidate


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_seeds_have_64_bits(generator: Generator, seed: int) -> None:
    assert vary(generator, "near", [seed])[0].shape == (*SIZE[::-1], 3)


def test_a_candidate_depends_on_the_picture_and_on_the_start(generator: Generator) -> None:
    """Also from nearly pure noise, what the candidates are of counts."""
    plain = vary(generator, "concept", [3])[0]
    assert np.abs(plain - vary(generator, "concept", [3], picture=1)[0]).max() > 0
    near = vary(generator, "near", [3])[0]
    assert np.abs(near - vary(generator, "near", [3], start=1)[0]).mean() > 1


def test_each_seed_has_its_own_start(generator: Generator) -> None:
    starts = [photo(0), photo(1)]
    *_, last = generator.vary(photo(0), dial(generator, "near"), [5, 5], starts)
    first, second = (np.asarray(one, np.int16) for one in last.pictures)
    assert np.abs(first - vary(generator, "near", [5], start=0)[0]).max() <= 2
    assert np.abs(second - vary(generator, "near", [5], start=1)[0]).max() <= 2


def test_at_sigma_0_a_candidate_is_its_start(generator: Generator) -> None:
    settings = replace(dial(generator, "near"), sigma=0.0)
    *_, last = generator.vary(photo(0), settings, [1], [photo(1)])
    difference = np.asarray(last.pictures[0], np.int16) - np.asarray(photo(1), np.int16)
    assert np.abs(difference).mean() < 3 and last.sigma == 0


@pytest.mark.parametrize("size", [(1, 64), (64, 1), (33, 47)])
def test_a_candidate_has_the_size_of_its_start(generator: Generator, size: tuple[int, int]) -> None:
    start = photo(0).resize(size)
    *_, last = generator.vary(photo(0), dial(generator, "near"), [1], [start])
    assert last.pictures[0].size == size


def test_closing_the_iterator_cancels(generator: Generator) -> None:
    settings = replace(dial(generator, "concept"), steps=40)
    states = generator.vary(photo(0), settings, [1], [photo(0)])
    assert next(states).step < 40
    states.close()
    assert len(vary(generator, "near", [1])) == 1


def test_it_can_be_freed_and_used_again(generator: Generator) -> None:
    before = vary(generator, "near", [4])[0]
    generator.close()
    assert (vary(generator, "near", [4])[0] == before).all()


# through the engine -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_variants_of_the_engine(engine: Engine, names: Callable[[str], str], family: str) -> None:
    options = {"regime": "near", "steps": 3, "size": 64, "seed": 3, "generator": names(family)}
    result = engine.variants(jpeg(0), n=2, **options)
    assert len(result) == 2 and {one.picture.size[0] for one in result} == {64}
    assert all(one.accepted for one in result[: result.passed])
    again = engine.variants(jpeg(0), n=1, **{**options, "seed": result[0].seed})[0]
    pair = [np.asarray(one.picture, np.int16) for one in (result[0], again)]
    assert np.abs(pair[0] - pair[1]).max() <= 2
    started = engine.variants(
        jpeg(0), n=1, steps=3, size=64, start="neighbours", generator=names(family)
    )
    assert started[0].source is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_are_rejected_whoever_makes_them(
    engine: Engine,
    names: Callable[[str], str],
    family: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy(
        self: object, picture: object, settings: object, seeds: object, starts: list[Image.Image]
    ) -> Iterator[GeneratorState]:
        yield GeneratorState(1, 1.0, tuple(starts), True)

    kind = OwnGenerator if family == OWN_GENERATOR else PipelineGenerator
    monkeypatch.setattr(kind, "vary", copy)
    result = engine.variants(jpeg(0), n=2, regime="near", generator=names(family))
    assert result.passed == 0 and not any(one.accepted for one in result)


def test_one_pipeline_is_in_memory_at_a_time(
    engine: Engine, names: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.generation.generators import pipelines

    loaded = list[weakref.ref[object]]()
    load = pipelines.load_pipeline

    def note(*arguments: object) -> tuple[object, object]:
        pipeline, encoder = load(*arguments)  # type: ignore[arg-type]
        loaded.append(weakref.ref(pipeline.unet))
        return pipeline, encoder

    monkeypatch.setattr(pipelines, "load_pipeline", note)
    for family in ("stable-unclip", "image-variation"):
        engine.library.generator.generators.take(names(family)).close()
        engine.variants(jpeg(0), n=1, steps=1, size=64, generator=names(family))
    engine.variants(jpeg(0), n=1, steps=1, size=64)  # ours stays beside it
    gc.collect()
    assert [one() is None for one in loaded] == [True, False]


def test_a_generator_without_a_name_is_refused(engine: Engine) -> None:
    with pytest.raises(QueryError, match="no generator is named"):
        engine.vary(jpeg(0), generator=" ")


def test_the_settings_list_generators(tmp_path: Path) -> None:
    name = SAVERS["stable-unclip"](tmp_path / "mine" / "pipeline")
    engine = open_library(tmp_path / "home", model="mini", generator=f"{name}, lookalike")
    try:
        infos = engine.generators()
        assert [one.to_json() for one in infos] == [
            {"name": "pipeline", "license": "openrail", "native_size": 32},
            {"name": "lookalike", "license": "apache-2.0", "native_size": 128},
        ]
        assert engine.generator_names() == ["pipeline", "lookalike"]
        default, named = (
            np.asarray(engine.variants(jpeg(0), n=1, steps=2, size=64, **more)[0].picture, int)
            for more in ({}, {"generator": "pipeline"})
        )
        assert np.abs(default - named).max() <= 2
    finally:
        close_library(engine)
