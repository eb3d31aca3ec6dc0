"""Captions by a model: of which pictures, marked as the model's, in pieces, and resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.coca import write_coca
from helpers.libraries import find_id
from helpers.pictures import paint
from PIL import ExifTags, Image

from search import Engine, ModelError
from search.embedders.coca import CoCaCaptioner, check_name
from search.errors import ConditionError
from search.indexing import captions
from search.records.annotations import Change
from search.records.captions import CaptionReport

Open = Callable[..., Engine]


@pytest.fixture
def engine(library: Open, folder: Path, coca: str) -> Engine:
    engine = library(caption_model=coca)
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    return engine


def run(engine: Engine, *where: str, model: str | None = None) -> CaptionReport:
    *_, last = engine.caption(where, model)
    assert last.report is not None
    return last.report


def caption_of(engine: Engine, name: str) -> tuple[str | None, str | None]:
    notes = engine.picture(find_id(engine, name)).annotations
    return notes.caption, notes.caption_origin


@pytest.mark.catalogs("sqlite", "postgresql")
def test_pictures_without_a_caption_get_one_that_is_marked_and_found(
    engine: Engine, coca: str, folder: Path
) -> None:
    engine.tags.change([find_id(engine, "0")], Change(caption="A boat of mine"))
    report = run(engine)
    assert (report.model, report.captioned, report.empty) == (coca, 2, 0)
    assert (report.pending, report.skipped) == (0, ())
    assert caption_of(engine, "0") == ("A boat of mine", "person")
    text, origin = caption_of(engine, "1")
    assert text and origin == "model" and caption_of(engine, "2")[0] != text
    captioner = CoCaCaptioner(coca)
    with Image.open(folder / "1.jpg") as picture:
        pixels = captioner.preprocessing(picture.convert("RGB"))
    assert captioner.caption([pixels]) == [text]
    word = next(one for one in text.split() if one.isascii() and one.isalpha())
    assert find_id(engine, "1") in {hit.id for hit in engine.search(where=f"words={word}")}
    assert run(engine).captioned == 0
    assert engine.check().problems == ()


def test_what_a_person_says_comes_first_and_going_brings_the_models_back(engine: Engine) -> None:
    run(engine)
    before, name = caption_of(engine, "1"), find_id(engine, "1")
    changed = engine.tags.change([name], Change(caption="Mine"))
    assert caption_of(engine, "1") == ("Mine", "person")
    assert run(engine).captioned == 0 and caption_of(engine, "1") == ("Mine", "person")
    for ids, change in changed.undo:
        engine.tags.change(list(ids), change)
    assert caption_of(engine, "1") == before
    engine.tags.change([name], Change(caption=""))  # nothing is to be said of it
    assert caption_of(engine, "1") == (None, "person")
    assert run(engine).captioned == 0


def test_a_caption_in_a_file_comes_before_the_models(engine: Engine, folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "Two boats"
    Image.linear_gradient("L").save(folder / "with.jpg", exif=exif)
    sidecar = folder / "1.jpg.xmp"
    engine.sync(folder)
    assert run(engine).captioned == 3 and caption_of(engine, "with") == ("Two boats", "file")
    of_model = caption_of(engine, "1")
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Description><dc:description><rdf:Alt>'
        '<rdf:li xml:lang="x-default">A pier</rdf:li></rdf:Alt></dc:description>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    engine.sync(folder)
    assert caption_of(engine, "1") == ("A pier", "file")
    sidecar.unlink()
    engine.sync(folder)
    assert caption_of(engine, "1") == of_model and of_model[1] == "model"


def test_another_model_captions_again_and_a_filter_chooses(engine: Engine, tmp_path: Path) -> None:
    run(engine)
    first = [caption_of(engine, name) for name in "012"]
    other = write_coca(tmp_path, seed=1)
    assert run(engine, "name=1", model=other).captioned == 1
    second = [caption_of(engine, name) for name in "012"]
    assert second[1] != first[1] and (second[0], second[2]) == (first[0], first[2])
    assert run(engine, model=other).captioned == 2


def test_it_is_cancelled_between_batches_and_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "BATCH", 1)
    steps = engine.caption()
    for step in steps:
        if step.done == 2:
            break
    steps.close()
    captioned = [caption_of(engine, name)[1] for name in "012"]
    assert sorted(map(str, captioned)) == ["None", "model", "model"]
    assert run(engine).captioned == 1


def test_a_damaged_file_costs_itself_and_a_missing_one_waits(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = folder / "0.jpg"
    data = gone.read_bytes()
    times = gone.stat()
    gone.unlink()
    report = run(engine)
    assert (report.captioned, report.pending, report.skipped) == (2, 1, ())
    gone.write_bytes(data)
    import os

    os.utime(gone, ns=(times.st_atime_ns, times.st_mtime_ns))
    engine.sync(folder)
    assert run(engine).captioned == 1


def test_captions_follow_no_edit_and_go_with_their_picture(engine: Engine, folder: Path) -> None:
    run(engine)
    paint(folder / "1.jpg", 9)
    engine.sync(folder)
    assert caption_of(engine, "1") == (None, None)
    assert run(engine).captioned == 1
    engine.forget(folder)
    engine.sync(folder)
    assert engine.check().problems == ()


def test_names_of_models() -> None:
    tuned = "mscoco_finetuned_laion2b_s13b_b90k"
    assert check_name("coca_ViT-B-32") == f"coca_ViT-B-32:{tuned}"
    assert check_name("coca_ViT-L-14:laion2B-s13B-b90k") == "coca_ViT-L-14:laion2b_s13b_b90k"
    for name, reason in (
        ("ViT-B-32", r"makes no captions; give coca_ViT-B-32, coca_ViT-L-14"),
        ("coca_base", "makes no captions"),
        ("coca_ViT-B-32:other", "there are: laion2b"),
        ("nothing", "there is no model nothing"),
    ):
        with pytest.raises(ModelError, match=reason):
            check_name(name)


def test_a_hub_out_of_reach_is_said(engine: Engine) -> None:
    with pytest.raises(ModelError, match=r"cannot be had: .+ give a file as coca_ViT-B-32:/path"):
        run(engine, model="coca_ViT-B-32")
    assert ModelError.code == "model_unavailable"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is no configuration of open_clip"),
        ('{"model_cfg": {"embed_dim": 1}}', "has no text decoder"),
        (
            '{"model_cfg": {"text_cfg": {"vocab_size": 9}, "multimodal_cfg": {"vocab_size": 9}, '
            '"vision_cfg": {}}}',
            "another vocabulary",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(
    engine: Engine, tmp_path: Path, content: str, reason: str
) -> None:
    name = write_coca(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(ModelError, match=reason):
        run(engine, model=name)


def test_weights_of_something_else_are_refused(engine: Engine, tmp_path: Path, clip: str) -> None:
    write_coca(tmp_path)
    for path in (clip.partition(":")[2], "/nowhere/weights.safetensors"):
        with pytest.raises(ModelError, match="cannot be"):
            run(engine, model=f"coca_ViT-B-32:{path}")


def test_wrong_conditions_are_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ConditionError):
        engine.caption("nonsense=1")


def test_an_empty_library_has_nothing_to_caption(library: Open, coca: str) -> None:
    assert run(library(caption_model=coca)).captioned == 0


def test_a_batch_says_what_each_picture_alone_gets(coca: str) -> None:
    captioner = CoCaCaptioner(coca)
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(4)]
    assert captioner.caption(pixels) == [captioner.caption([one])[0] for one in pixels]
    assert captioner.caption([]) == []
