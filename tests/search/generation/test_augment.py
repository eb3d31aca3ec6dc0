"""A training set of a folder: its files, resuming, and originals that stay unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.libraries import close_library, open_library
from helpers.pictures import forbid, paint
from helpers.project import DATA, ROOT, needs_data
from helpers.variants import save
from PIL import Image

from search import AugmentProgress, Engine, InputError, LockedError, NotFoundError, QueryError
from search.cli import output
from search.generation.augment import ABOUT, LOCK, MANIFEST


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place = tmp_path_factory.mktemp("augment")
    weights = save(place / "small.safetensors")
    opened = open_library(place / "home", model="mini", checkpoint=weights)
    yield opened
    close_library(opened)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, one with a folder inside, and a file that is no picture."""
    for seed, name in enumerate(("hat/a.jpg", "hat/b.jpg", "hat/old/a.jpg", "shoe/a.jpg")):
        paint(tmp_path / "photos" / name, seed)
    (tmp_path / "photos" / "shoe" / "torn.jpg").write_bytes(b"no picture")
    return tmp_path / "photos"


def augment(engine: Engine, source: Path, out: Path, **more: object) -> list[AugmentProgress]:
    return list(engine.augment(source, output=out, **{"n": 2, **more}))  # type: ignore[arg-type]


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()]


def agrees(out: Path) -> bool:
    """Return whether the manifest lists exactly the pictures in the folder."""
    written = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    return {row["file_name"] for row in rows(out)} == written


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOCK
    }


def test_it_is_in_class_folders_with_a_manifest(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    before = digests(photos)
    steps = augment(engine, photos, tmp_path / "out", seed=5)
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5, 5] and {s.total for s in steps} == {
        5
    }
    report = steps[-1].report
    assert report and (report.pictures, report.made, report.unchanged) == (5, 8, 0)
    (skip,) = report.skipped
    assert skip.path == "shoe/torn.jpg" and "torn.jpg" not in skip.reason and steps[-1].skipped == 1
    listed = rows(tmp_path / "out")
    pictures = {
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")
    }
    assert {row["file_name"] for row in listed} == pictures and len(pictures) == 8
    assert {(row["label"], row["source"]) for row in listed} == {
        ("hat", "hat/a.jpg"),
        ("hat", "hat/b.jpg"),
        ("hat", "hat/old/a.jpg"),
        ("shoe", "shoe/a.jpg"),
    }
    assert all(row["file_name"].startswith(f"{row['label']}/") for row in listed)
    assert len({row["seed"] for row in listed}) == 8
    assert digests(photos) == before


def test_what_was_passed_over_is_told_whatever_it_is_called(
    engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        (photos / "hat" / "caf\udce9.jpg").write_bytes(b"torn")
    except OSError:
        pytest.skip("this file system takes no such names")
    forbid(monkeypatch, photos / "shoe")
    report = augment(engine, photos, tmp_path / "out", n=1)[-1].report
    assert report and len(report.skipped) == 2
    text = json.dumps(report.to_json(), ensure_ascii=False).encode()
    assert b"hat/caf\\\\xe9.jpg" in text and b'"path": "shoe"' in text
    output.print_augment_report(report)  # to an output that takes UTF-8 alone


def test_torchvision_reads_it_as_it_is(engine: Engine, photos: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    augment(engine, photos, tmp_path / "out")
    dataset = ImageFolder(str(tmp_path / "out"))
    assert dataset.classes == ["hat", "shoe"] and len(dataset) == 8
    assert dataset[0][0].mode == "RGB"


def test_a_line_tells_how_to_make_its_picture_again(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    augment(engine, photos, tmp_path / "out")
    row = rows(tmp_path / "out")[-1]
    again = engine.variants(photos / row["source"], n=1, sigma=row["sigma"], seed=row["seed"])[0]
    there = np.asarray(Image.open(tmp_path / "out" / row["file_name"]), np.int16)
    assert np.abs(there - np.asarray(again.picture, np.int16)).max() <= 2
    assert again.similarity == pytest.approx(row["similarity"], abs=0.02)


@pytest.mark.parametrize("harm", ["cut", "torn line", "lost picture", "lost manifest"])
def test_what_was_cut_off_goes_on_to_the_same_end(
    engine: Engine, photos: Path, tmp_path: Path, harm: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    augment(engine, photos, whole)
    steps = engine.augment(photos, output=out, n=2)
    for step in steps:
        if step.done == 2:
            break
    steps.close()  # type: ignore[attr-defined]
    remaining = 2
    if harm == "torn line":
        text = (out / MANIFEST).read_text()
        (out / MANIFEST).write_text(text[:-20])
        remaining = 1
    elif harm == "lost picture":
        (out / rows(out)[0]["file_name"]).unlink()
        remaining = 1
    elif harm == "lost manifest":
        (out / MANIFEST).unlink()
        remaining = 0
    report = augment(engine, photos, out)[-1].report
    assert report and (report.unchanged, report.made) == (remaining, 2 * (4 - remaining))
    assert digests(out).keys() == digests(whole).keys()
    by_name = {row["file_name"]: row for row in rows(out)}
    for row in rows(whole):
        # sums in another order may change the last digits, and so one step of a color
        similarity = pytest.approx(row["similarity"], abs=1e-3)
        assert by_name[row["file_name"]] == row | {"similarity": similarity}
        pair = (np.asarray(Image.open(place / row["file_name"]), int) for place in (whole, out))
        assert np.abs(np.subtract(*pair)).max() <= 2
    assert len(by_name) == len(rows(out)) == len(rows(whole))


def test_an_edited_source_is_done_again(engine: Engine, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    augment(engine, photos, out)
    before, old = digests(out), [row for row in rows(out) if row["source"] == "hat/a.jpg"]
    paint(photos / "hat" / "a.jpg", 9)
    os.utime(photos / "hat" / "a.jpg", ns=(1, 1))
    report = augment(engine, photos, out)[-1].report
    assert report and (report.unchanged, report.made) == (3, 2)
    new = [row for row in rows(out) if row["source"] == "hat/a.jpg"]
    assert [row["modified"] for row in new] == [1, 1] and len(rows(out)) == 8
    names = {row["file_name"] for row in old + new}
    after = digests(out)
    assert {k for k in before | after if before.get(k) != after.get(k)} == names | {MANIFEST}
    assert agrees(out)


def test_what_was_made_of_a_source_that_is_torn_now_goes(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    augment(engine, photos, out)
    (photos / "hat" / "a.jpg").write_bytes(b"no picture any more")
    paint(tmp_path / "other.png", 1)
    lines = [row | {"file_name": "../other.png"} for row in rows(out)[:1]]
    with open(out / MANIFEST, "a") as manifest:  # other files are never removed
        manifest.writelines(json.dumps(line) + "\n" for line in lines)
    report = augment(engine, photos, out)[-1].report
    assert report and [skip.path for skip in report.skipped] == ["hat/a.jpg", "shoe/torn.jpg"]
    assert agrees(out) and len(rows(out)) == 6
    assert (tmp_path / "other.png").exists()


def test_what_was_made_of_a_source_that_is_gone_goes(
    engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moved picture belongs to its new class only. Variants of missing folders stay."""
    from torchvision.datasets import ImageFolder

    out = tmp_path / "out"
    augment(engine, photos, out)
    (photos / "hat" / "b.jpg").rename(photos / "shoe" / "b.jpg")
    report = augment(engine, photos, out)[-1].report
    assert report and (report.made, report.unchanged, report.removed) == (2, 3, 2)
    assert {r["label"] for r in rows(out) if r["source"].endswith("b.jpg")} == {"shoe"}
    assert agrees(out)
    (photos / "hat").rename(photos / "cap")
    moved = augment(engine, photos, out)[-1].report
    assert moved and (moved.made, moved.removed) == (4, 4)
    assert ImageFolder(str(out)).classes == ["cap", "shoe"]
    forbid(monkeypatch, photos / "shoe")
    again = augment(engine, photos, out)[-1].report
    assert again and again.removed == 0 and len(rows(out)) == 8
    augment(engine, photos / "cap", tmp_path / "one")
    single = augment(engine, photos / "cap" / "a.jpg", tmp_path / "one")[-1].report
    assert single and (single.made, single.unchanged, single.removed) == (0, 1, 0)


def test_nothing_stays_behind_where_a_run_that_takes_out_is_stopped(
    engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    augment(engine, photos, out)
    (photos / "hat" / "a.jpg").rename(photos / "shoe" / "b.jpg")
    real = Path.unlink

    def stopped(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".png":
            raise KeyboardInterrupt
        real(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", stopped)
        augment(engine, photos, out)
    report = augment(engine, photos, out)[-1].report
    assert report and report.removed == 2
    assert agrees(out)


def test_a_finished_one_is_left_alone_and_a_new_picture_added(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    augment(engine, photos, out)
    before = digests(out)
    again = augment(engine, photos, out)[-1].report
    assert again and (again.made, again.unchanged) == (0, 4) and digests(out) == before
    paint(photos / "shoe" / "new.jpg", 9)
    more = augment(engine, photos, out)[-1].report
    assert more and (more.made, more.unchanged) == (2, 4)


def test_pictures_without_a_class_go_by_their_folder(engine: Engine, tmp_path: Path) -> None:
    paint(tmp_path / "caps" / "a.jpg", 0)
    for source in (tmp_path / "caps", tmp_path / "caps" / "a.jpg"):
        augment(engine, source, tmp_path / f"of {source.name}", n=1)
        (row,) = rows(tmp_path / f"of {source.name}")
        assert row["label"] == "caps" and row["file_name"].startswith("caps/a.jpg-seed")


def test_originals_are_safe_from_the_output(engine: Engine, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    inside = (photos, photos / "out", tmp_path, tmp_path / "link" / "out", photos / ".." / "photos")
    for out in inside:
        with pytest.raises(InputError, match="another output"):
            engine.augment(photos, output=out)
    assert not (photos / "out").exists()


def test_an_output_of_something_else_is_refused(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    augment(engine, photos, tmp_path / "out")
    for more, message in (
        ({"n": 3}, "n 2, not 3; give a new folder"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"regime": "same"}, "regime near, not same"),
    ):
        with pytest.raises(InputError, match=message):
            augment(engine, photos, tmp_path / "out", **more)
    paint(tmp_path / "mine" / "a.jpg", 0)
    (tmp_path / "file").touch()
    for name in ("mine", "file"):
        with pytest.raises(InputError):
            engine.augment(photos, output=tmp_path / name)
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["a.jpg"]


def test_an_output_that_others_filled_meanwhile_is_left_alone(
    engine: Engine, photos: Path, tmp_path: Path
) -> None:
    steps, theirs = engine.augment(photos, output=tmp_path / "out"), tmp_path / "out" / MANIFEST
    theirs.parent.mkdir()
    theirs.write_text("precious")
    with pytest.raises(InputError, match="new folder"):
        list(steps)
    assert theirs.read_text() == "precious"


def test_an_output_of_other_weights_is_refused(
    engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augment(engine, photos, tmp_path / "out", n=1)
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    monkeypatch.setattr(engine.library.generator.generators.own, "_checkpoint", other)
    with pytest.raises(InputError, match="made with other weights; give a new folder"):
        engine.augment(photos, output=tmp_path / "out", n=1)


def test_long_names_are_cut(engine: Engine, tmp_path: Path) -> None:
    names = ["狗" * 80 + tail + ".jpg" for tail in "ab"]
    for i, name in enumerate(names):
        paint(tmp_path / "dogs" / name, i)
    report = augment(engine, tmp_path / "dogs", tmp_path / "out", n=1)[-1].report
    assert report and report.made == 2
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2


def test_two_runs_at_one_output_do_not_meet(engine: Engine, photos: Path, tmp_path: Path) -> None:
    steps = engine.augment(photos, output=tmp_path / "out", n=1)
    next(steps), next(steps)
    with pytest.raises(LockedError):
        augment(engine, photos, tmp_path / "out", n=1)
    steps.close()  # type: ignore[attr-defined]
    assert augment(engine, photos, tmp_path / "out", n=1)[-1].report


def test_nothing_is_left_half_written(engine: Engine, photos: Path, tmp_path: Path) -> None:
    steps = engine.augment(photos, output=tmp_path / "out", n=1)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not [p for p in (tmp_path / "out").rglob("*") if p.name.endswith(".part")]
    assert json.loads((tmp_path / "out" / ABOUT).read_text())["n"] == 1


@pytest.mark.parametrize(
    "more, error",
    [
        ({"n": 0}, QueryError),
        ({"n": 1000}, QueryError),
        ({"regime": "far"}, QueryError),
        ({"seed": -1}, QueryError),
        ({"seed": 2**64 - 1}, QueryError),
        ({"path": "/nowhere"}, NotFoundError),
    ],
)
def test_what_cannot_be_is_refused_at_the_call(
    engine: Engine, photos: Path, tmp_path: Path, more: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.augment(**{"path": photos, "output": tmp_path / "out", **more})
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        engine.augment(tmp_path / "empty", output=tmp_path / "out")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot be listed"):
        engine.augment(tmp_path / "pipe", output=tmp_path / "out")
    with pytest.raises(NotFoundError):
        engine.augment(tmp_path / ("a" * 300), output=tmp_path / "out")


@needs_data
@pytest.mark.slow
def test_what_variants_add_is_measured(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "benchmarks" / "bench_augment.py"
    command = [sys.executable, script, "--short", "--data", DATA, "--cache", tmp_path / "cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cells = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| 2")]
    assert {"none", "flips and crops", "near variants"} <= {row[2].strip() for row in cells}
    assert all(0 <= float(row[i].split()[0]) <= 1 for row in cells for i in (3, 5))


def test_a_new_library_tells_its_model_once(photos: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    weights = save(tmp_path / "small.safetensors")
    engine = open_library(tmp_path / "home", checkpoint=weights, say=lines.append)
    report = augment(engine, photos, tmp_path / "out")[-1].report
    close_library(engine)
    assert report and report.made == 8
    (line,) = lines
    assert line.startswith("model: ")
