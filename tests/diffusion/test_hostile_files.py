"""Other files of strangers that diffusion reads: vectors, latents, run folders, encoders."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import finish, options, paint, small_preset
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from diffusion import Run
from diffusion.cli import app
from diffusion.cli.output import print_skipped
from diffusion.data import read_pictures, read_vectors
from diffusion.errors import CheckpointError, ConfigError, DataError, TrainingError
from diffusion.evaluation.report import load_feature_encoder
from diffusion.model.autoencoder import load_autoencoder
from diffusion.training.latents import choose_windows, encode_folder, read_latents

ABOUT = {"names": '["a", "b"]', "model": "mini", "fingerprint": "abc"}


def no_files(path: Path) -> list[Callable[[], object]]:
    """Ways to put something in place of a file that is no regular file of a fair size."""
    huge = path.with_name("huge")
    huge.touch()
    os.truncate(huge, 2**40)  # takes no room on the disk
    return [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(huge),
        path.mkdir,
    ]


# vectors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows, about, reason",
    [
        (torch.tensor([[1.0, float("nan")], [0, 1]]), ABOUT, "not finite"),
        (torch.tensor([[1.0, float("inf")], [0, 1]]), ABOUT, "not finite"),
        (torch.tensor([[1.0, 1e6], [0, 1]]), ABOUT, "not finite"),  # in half precision
        (torch.ones(2, 0), ABOUT, "2 vectors of 0 numbers"),
        (torch.ones(2, 3, dtype=torch.int64), ABOUT, "not floating"),
        (torch.ones(2, 3), {**ABOUT, "names": '["a", 3]'}, "a name is not a text"),
        (torch.ones(2, 3), {**ABOUT, "names": '{"a": 1, "b": 2}'}, None),
        (torch.ones(2, 3), {**ABOUT, "names": "[" * 10**5}, "no vectors"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(
    tmp_path: Path, rows: torch.Tensor, about: dict[str, str], reason: str | None
) -> None:
    path = tmp_path / "v.safetensors"
    save_file({"vectors": rows}, path, about)
    if reason is None:
        assert read_vectors(path).names == ("a", "b")
    else:
        with pytest.raises(DataError, match=reason):
            read_vectors(path)


def test_vectors_that_are_claimed_only_are_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    for shape, length in (([2, 2**16], None), ([2, 2**40], None), ([2, 3], 2**40)):
        header = {
            "__metadata__": ABOUT,
            "vectors": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8 * shape[1]]},
        }
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", length or len(text)) + text + bytes(16))
        with pytest.raises(DataError, match="holds no vectors"):
            read_vectors(path)


def test_vectors_are_read_from_regular_files_only(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    for make in no_files(path):
        make()
        with pytest.raises(DataError, match="holds no vectors .*(regular file|longer|bytes|read)"):
            read_vectors(path)
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def test_an_encoder_is_read_from_a_regular_file_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="not a regular file; give a file that torch.jit"):
        load_feature_encoder(tmp_path / "net.pt")


# latents -----------------------------------------------------------------------------------------


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for i in range(3):
        Image.new("RGB", (40, 40), (50 * i, 0, 0)).save(tmp_path / "data" / f"{i}.png")
    encode_folder([tmp_path / "data"], tmp_path / "out", load_autoencoder(), choose_windows(16, 2))
    return tmp_path / "out"


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(total=2**40),
        lambda about: about.update(total=-1, done=-1),
        lambda about: about.update(total="3"),
        lambda about: about.update(names=[1, 2, 3]),
        lambda about: about.update(names=["a"] * 4, sides=[1] * 4),
        lambda about: about.update(sides=[1]),
        lambda about: about.update(sides=[1, 2, 3.5]),
        lambda about: about.update(skipped=[3]),
        lambda about: about.update(skipped=[["a", "b", "c"]]),
        lambda about: about.update(other=3),
        lambda about: about.update(autoencoder=None),
        lambda about: about.pop("key"),
        lambda about: about["windows"].update(places=2**40),
        lambda about: about["windows"].update(crop=9),
        lambda about: about["windows"].update(crop=-1),
        lambda about: about["windows"].update(versions=1.5),
        lambda about: about["windows"].pop("least"),
        lambda about: about.update(windows=3),
    ],
)
def test_a_description_of_latents_is_checked(
    latents: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    about = json.loads((latents / "latents.json").read_text())
    change(about)
    (latents / "latents.json").write_text(json.dumps(about))
    with pytest.raises(DataError, match="finished latents|not readable|cannot be read"):
        read_latents(latents)


@pytest.mark.parametrize("name", ["codes.npy", "sizes.npy"])
def test_arrays_of_latents_are_checked(latents: Path, name: str) -> None:
    whole = np.load(latents / name)
    for array in (whole[:2], whole.astype(np.float64), whole[..., :1], np.array([{}])):
        np.save(latents / name, array, allow_pickle=True)
        with pytest.raises(DataError, match="cannot be read"):
            read_latents(latents)
    np.save(latents / name, whole)
    data = (latents / name).read_bytes()
    (latents / name).write_bytes(data[:-10])
    with pytest.raises(DataError, match="cannot be read"):
        read_latents(latents)
    for path in (latents / name, latents / "latents.json"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(DataError, match="not a regular file"):
            read_latents(latents)


def test_a_description_of_a_terabyte_is_not_read(latents: Path) -> None:
    os.truncate(latents / "latents.json", 2**40)
    with pytest.raises(DataError, match="more than"):
        read_latents(latents)


def test_a_cache_of_pixels_that_is_damaged_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion.data.MEMORY", 10)
    folder, cache = paint(tmp_path / "data", 3), tmp_path / "cache"
    plain = read_pictures([folder], 8, cache).images.clone()
    beside = cache / "pixels-8.json"
    whole = json.loads(beside.read_text())
    for wrong in ({"skipped": [3]}, {"names": 3}, {"side": "x"}):
        beside.write_text(json.dumps({**whole, **wrong}))
        assert torch.equal(read_pictures([folder], 8, cache).images, plain)
    np.save(cache / "pixels-8.npy", np.zeros((1, 3, 8, 8), np.uint8))
    assert torch.equal(read_pictures([folder], 8, cache).images, plain)
    os.truncate(beside, 2**40)
    assert torch.equal(read_pictures([folder], 8, cache).images, plain)


# run folders -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, with snapshots of two averages, over a folder with a broken picture."""
    place = tmp_path_factory.mktemp("finished")
    data = paint(place / "data", 8)
    (data / "broken\x1b[2J.png").write_bytes(b"nothing")
    with small_preset():
        averages = ("power:0.1", "power:0.05")
        finish(Run(options(data, place / "run", steps=4, snapshots=2, ema=averages)))
    return place


def copy(finished: Path, tmp_path: Path) -> Path:
    for path in (finished / "run").rglob("*"):
        to = tmp_path / "run" / path.relative_to(finished / "run")
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            to.write_bytes(path.read_bytes())
    return tmp_path / "run"


def test_a_run_lists_what_it_skipped(finished: Path) -> None:
    (one,) = json.loads((finished / "run" / "skipped.json").read_text())
    assert one["name"] == "broken\x1b[2J.png" and "not a picture" in one["reason"]
    assert "8 pictures, 1 skipped" in (finished / "run" / "log.txt").read_text()


def test_names_do_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_skipped([("a\x1b[2J\n\u202e语.png", "no")] * 12)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "skipped a\\x1b[2J\\n\\u202e语.png: no" and lines[10] == "skipped 2 more"


def test_snapshots_of_another_model_are_refused(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    words = ["average", str(run), "--width", "0.08", "-o", str(tmp_path / "o.safetensors")]
    snapshot = sorted((run / "snapshots").iterdir())[0]
    weights, about = load_file(snapshot), {"step": "2", "average": "power:0.1"}
    broken = {**weights, "stem.bias": weights["stem.bias"] * float("nan")}
    for tensors, reason in (
        (broken, "not finite"),
        ({**weights, "stem.bias": torch.zeros(99)}, "stem.bias is"),
        ({"stem.bias": weights["stem.bias"]}, "lacks"),
    ):
        save_file(tensors, snapshot, about)
        error = CliRunner().invoke(app, words).exception
        assert isinstance(error, TrainingError) and reason in str(error)
    snapshot.unlink()
    os.mkfifo(snapshot)
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, TrainingError) and "not a regular file" in str(error)


def test_a_state_that_is_not_finite_or_no_file_is_refused(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    with small_preset():
        state = load_file(run / "state.safetensors")
        state["net.stem.bias"][0] = float("nan")
        save_file(state, run / "state.safetensors", {"step": "4"})
        again = options(finished / "data", run, steps=4, ema=("power:0.1", "power:0.05"))
        with pytest.raises(TrainingError, match="not finite"):
            Run(again)
        (run / "state.safetensors").unlink()
        os.mkfifo(run / "state.safetensors")
        with pytest.raises(TrainingError, match="not a regular file"):
            Run(again)
        os.truncate(run / "config.json", 2**40)
        with pytest.raises(ConfigError, match="more than"):
            Run(again)
        (run / "config.json").unlink()
        os.mkfifo(run / "config.json")
        with pytest.raises(ConfigError, match="not a regular file"):
            Run(again)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": 3},
        {"config": {}},
        {"config": {"preset": 3}},
        {"steps": "4"},
        {"steps": 1e400},
        {"speed": {"threads": 2}},
        {"speed": {"bf16": False, "threads": -1}},
        {"speed": 3},
    ],
)
def test_a_configuration_of_a_run_is_checked(
    finished: Path, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    run = copy(finished, tmp_path)
    document = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**document, **wrong}))
    with small_preset(), pytest.raises(ConfigError, match="config.json is not readable"):
        Run(options(finished / "data", run, steps=4, ema=("power:0.1", "power:0.05")))


def test_a_state_of_other_shapes_is_refused(finished: Path, tmp_path: Path) -> None:
    run = copy(finished, tmp_path)
    state = load_file(run / "state.safetensors")
    state["net.stem.bias"] = state["net.stem.bias"][:1].clone()  # torch would repeat it
    about = {"step": "4", "seconds": "1", "trained": "1"}
    save_file(state, run / "state.safetensors", about)
    with small_preset(), pytest.raises(TrainingError, match="net.stem.bias is .1,., not"):
        Run(options(finished / "data", run, steps=4, ema=("power:0.1", "power:0.05")))
