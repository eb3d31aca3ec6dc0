"""Vectors in a file: the library's own, by name, from folders and zips."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import forbid, jpeg, paint
from PIL import Image

from diffusion.data import read_vectors
from search import Engine, IndexReport, InputError, NotFoundError, StorageError

Open = Callable[..., Engine]


def embedded(engine: Engine, paths: Sequence[Path], out: Path) -> IndexReport:
    *_, last = engine.embed(paths, out)
    assert last.report is not None
    return last.report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(5):
        paint(tmp_path / "pictures" / f"{seed % 2}" / f"{seed}.jpg", seed)
    (tmp_path / "pictures" / "0" / "broken.jpg").write_bytes(jpeg(9)[:200])
    return tmp_path / "pictures"


def test_a_folder_and_a_zip_of_it_have_the_vectors_of_a_library(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in folder.rglob("*.jpg"):
            archive.write(path, path.relative_to(folder))
        archive.writestr("notes.txt", "no picture")
        archive.writestr(".thumbnails/0.jpg", "as in folders, left out")
    for place in (folder, tmp_path / "all.zip"):
        report = embedded(engine, [place], tmp_path / "out.safetensors")
        assert report.embedded == 5 and [s.path for s in report.skipped] == ["0/broken.jpg"]
        vectors = read_vectors(tmp_path / "out.safetensors")
        assert vectors.names == ("0/0.jpg", "0/2.jpg", "0/4.jpg", "1/1.jpg", "1/3.jpg")
        engine.sync(folder)
        assert vectors.encoder["fingerprint"] == engine.status().fingerprint
        for name, row in zip(vectors.names, vectors.rows.float().tolist(), strict=True):
            hit = engine.search(vector=row, k=1)[0]
            assert hit.path == str(folder / name) and hit.score > 0.999


def test_what_cannot_be_unpacked_or_listed_is_told(
    library: Open, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = library(max_bytes=50_000)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.writestr(name, jpeg(1))
        archive.writestr("large.jpg", bytes(100_000))
    data = bytearray((tmp_path / "all.zip").read_bytes())
    data[40:60] = b"\xff" * 20  # in the first member
    (tmp_path / "all.zip").write_bytes(data)
    forbid(monkeypatch, folder / "1")
    report = embedded(engine, [tmp_path / "all.zip", folder], tmp_path / "out.safetensors")
    reasons = {skip.path: skip.reason for skip in report.skipped}
    assert reasons.keys() == {"1", "a.jpg", "large.jpg", "0/broken.jpg"} and report.embedded == 4
    assert "unpacked" in reasons["a.jpg"] and "100000 bytes" in reasons["large.jpg"]
    forbid(monkeypatch, folder)
    with pytest.raises(InputError, match="cannot be listed"):
        embedded(engine, [folder], tmp_path / "out.safetensors")


def test_the_library_stays_as_it_is(engine: Engine, folder: Path, tmp_path: Path) -> None:
    embedded(engine, [folder], tmp_path / "out.safetensors")
    assert engine.status().pictures == 0 and not engine.status().roots


def test_names_that_stand_for_two_pictures_are_refused(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="0/0.jpg is there twice"):
        embedded(engine, [folder, folder], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", ["0/0.jpg", "all.zip", "0"])
def test_nothing_but_vectors_is_written_over(engine: Engine, folder: Path, name: str) -> None:
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.write(folder / "0" / "0.jpg", "0.jpg")
    out = folder / name
    before = out.is_file() and out.read_bytes()
    with pytest.raises(InputError, match="give another name"):
        embedded(engine, [folder], out)
    assert (out.is_file() and out.read_bytes()) == before
    again = folder / "vectors.safetensors"
    assert embedded(engine, [folder], again) and embedded(engine, [folder], again)


def test_what_holds_no_pictures_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    out = tmp_path / "out.safetensors"
    with pytest.raises(InputError, match="no picture"):
        embedded(engine, [tmp_path / "empty"], out)
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        embedded(engine, [tmp_path / "text.zip"], out)
    with pytest.raises(NotFoundError):
        embedded(engine, [tmp_path / "nowhere"], out)
    with pytest.raises(NotFoundError):
        embedded(engine, [tmp_path / ("n" * 300)], out)


def test_a_place_that_cannot_be_written_is_told(
    engine: Engine, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        embedded(engine, [folder], tmp_path / "file" / "out.safetensors")


def test_decoded_pictures_have_the_vectors_of_their_files(engine: Engine, tmp_path: Path) -> None:
    engine.sync(paint(tmp_path / "pictures" / "1.png", 1).parent)
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "1.png").convert("RGB"))
    hit = engine.search(vector=engine.encode([pixels])[0].tolist(), k=1)[0]
    assert hit.score == pytest.approx(1, abs=1e-3)


def test_the_command_and_what_trains_on_its_file(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search", "--home", str(tmp_path / "home")]
    out, run = str(tmp_path / "out.safetensors"), str(tmp_path / "run")
    done = subprocess.run(
        [*command, "embed", str(folder), "-o", out, "--json"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)["embedded"] == 5
    train = ["diffusion", "train", str(folder), "--run", run, "--embeddings", out, "--steps", "1"]
    subprocess.run([*command, *train, "--batch", "2", "--device", "cpu"], check=True)
    about = json.loads((Path(run) / "checkpoint.json").read_text())
    assert about["encoder"]["name"] == "mini" and about["pictures"] == 5
    refused = subprocess.run([*command, *train, "--batch", "3"], capture_output=True, text=True)
    assert refused.returncode == 2 and "another run" in refused.stderr
