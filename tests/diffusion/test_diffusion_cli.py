"""The commands of diffusion: their files and their errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from helpers.pictures import paint
from PIL import Image
from typer.testing import CliRunner

from diffusion import Config, Denoiser, DiffusionError, Shape
from diffusion.cli import app
from diffusion.errors import CheckpointError, ConfigError, DataError
from diffusion.model import checkpoint
from diffusion.training.latents import read_latents

STEPS = Config(
    "small",
    Shape((16, 16), 1, (False, True), head=16),
    size=16,
    noise="linear",
    steps=50,
    target="eps",
    sigma_data=1.0,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three classes."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    config = STEPS.with_condition("class", 3)
    net = Denoiser(config).net
    for parameter in net.parameters():  # zero weights would hide the inputs
        torch.nn.init.normal_(parameter, std=0.1)
    checkpoint.save(path, config, net.state_dict(), {"classes": ["a", "b", "c"]})
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for seed in range(60):
        paint(tmp_path / "pictures" / f"{seed}.jpg", seed)
    return tmp_path / "pictures"


def run(*words: str | Path, fails: type[DiffusionError] | None = None, **state: object) -> str:
    """Run a command and return its output, or the message of the error that it raises."""
    result = CliRunner().invoke(app, [str(word) for word in words], obj=state or None)
    if fails is None:
        assert result.exception is None, result.exception
    else:
        assert isinstance(result.exception, fails), result.exception
    return str(result.exception or result.stdout)


def test_samples_are_named_by_their_seeds(weights: Path, tmp_path: Path) -> None:
    more = ("--checkpoint", weights, "--steps", "3", "--device", "cpu")
    run("sample", "-n", "3", "-o", tmp_path / "all", "--seed", "5", "--class", "b", *more)
    names = ["00005.png", "00006.png", "00007.png", "grid.png"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == names
    run("sample", "-n", "1", "-o", tmp_path / "one", "--seed", "6", "--class", "b", *more)
    pair = [(tmp_path / place / "00006.png").read_bytes() for place in ("all", "one")]
    assert pair[0] == pair[1]


def test_the_grid_shows_the_first_hundred(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion.sampling.sample.BATCH", 3)
    monkeypatch.setattr("diffusion.cli.sample.SHOWN", 4)
    more = ("--checkpoint", weights, "--steps", "1", "--device", "cpu")
    run("sample", "-n", "8", "-o", tmp_path, *more)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (2 * 18 + 2, 2 * 18 + 2)


def test_no_picture_of_the_user_is_written_over(
    weights: Path, pictures: Path, tmp_path: Path
) -> None:
    mine = pictures / "00001.png"
    Image.new("RGB", (9, 9)).save(mine)
    before = mine.read_bytes()
    more = ("--checkpoint", weights, "--steps", "2")
    for words in (
        ("process", mine, "-o", mine),
        ("process", pictures / "1.jpg", "-o", mine),
        ("sample", "-n", "2", "-o", pictures),
    ):
        assert "give another name" in run(*words, *more, fails=ConfigError)
    assert mine.read_bytes() == before and not (pictures / "00000.png").exists()


def test_guidance_has_bounds_and_something_to_go_by(weights: Path, tmp_path: Path) -> None:
    words = ("sample", "-o", tmp_path, "--checkpoint", weights, "--steps", "2", "--guidance")
    for wrong in ("nan", "-5", "1e9"):
        assert "0 to 20" in run(*words, wrong, "--class", "a", fails=ConfigError)
    assert "needs a condition" in run(*words, "3", fails=ConfigError)


def test_a_class_that_is_not_known_is_refused(weights: Path, tmp_path: Path) -> None:
    words = ("sample", "-o", tmp_path, "--checkpoint", weights, "--class", "z")
    assert "'a', 'b', 'c'" in run(*words, fails=ConfigError)


def test_vectors_are_refused_by_a_model_of_classes(weights: Path, tmp_path: Path) -> None:
    words = ("sample", "-o", tmp_path, "--checkpoint", weights, "--like", tmp_path / "none")
    assert "lookalike embed" in run(*words, fails=DataError)


def test_the_process_is_drawn(weights: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("--checkpoint", weights, "-o", tmp_path / "p.png", "--steps", "12")
    run("process", pictures / "1.jpg", *words)
    assert (tmp_path / "p.png").stat().st_size > 10_000
    few = ("--checkpoint", weights, "-o", tmp_path / "few.png", "--steps", "3")
    run("process", pictures / "1.jpg", *few)
    assert (tmp_path / "few.png").exists()
    one = ("--checkpoint", weights, "-o", tmp_path / "few.png", "--steps")  # its own may go
    run("process", pictures / "1.jpg", *one, "1")
    assert "at least 1" in run("process", pictures / "1.jpg", *one, "0", fails=ConfigError)
    assert "64 bits" in run(
        "process", pictures / "1.jpg", *one, "1", "--seed", "-1", fails=ConfigError
    )
    (tmp_path / "text.jpg").write_text("no picture")
    assert "not a picture" in run("process", tmp_path / "text.jpg", *words, fails=DataError)


def test_the_process_is_drawn_under_a_condition(
    weights: Path, pictures: Path, tmp_path: Path
) -> None:
    words = ("process", pictures / "1.jpg", "--checkpoint", weights, "--steps", "3", "-o")
    run(*words, tmp_path / "plain.png")
    run(*words, tmp_path / "b.png", "--class", "b")
    run(*words, tmp_path / "c.png", "--class", "c")
    figures = {name: (tmp_path / f"{name}.png").read_bytes() for name in ("plain", "b", "c")}
    assert len(set(figures.values())) == 3
    assert "'a', 'b', 'c'" in run(*words, tmp_path / "z.png", "--class", "z", fails=ConfigError)
    assert not (tmp_path / "z.png").exists()


def test_a_pipe_is_refused_and_not_waited_for(weights: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    words = ("--checkpoint", weights, "-o", tmp_path / "p.png")
    assert "regular file" in run("process", tmp_path / "pipe.png", *words, fails=DataError)


def test_a_run_averaged_anew_is_a_checkpoint(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("--batch", "2", "--device", "cpu", "--precision", "fp32", "--channels", "32,32")
    run("train", pictures, "--run", folder, "--steps", "4", "--image-size", "16", *words)
    out = tmp_path / "wide.safetensors"
    run("average", folder, "--width", "0.12", "-o", out)
    model = checkpoint.load(out)
    assert model.config.shape.channels == (32, 32) and model.config.size == 16
    assert model.about["average"] == "power:0.12" and model.about["step"] == 4
    assert "give another name" in run("average", folder, "--width", "0.1", "-o", out,
                                      fails=ConfigError)  # fmt: skip
    other = tmp_path / "other"
    run("train", pictures, "--run", other, "--steps", "1", "--snapshots", "0", *words)
    text = run("average", other, "--width", "0.1", "-o", tmp_path / "x.st", fails=ConfigError)
    assert "--snapshots" in text


def test_a_model_on_latents_is_trained_from_encoded_pictures(
    tmp_path: Path,
) -> None:
    for seed in range(6):
        paint(tmp_path / "pictures" / f"{seed}.jpg", seed)
    Image.new("RGB", (39, 60)).save(tmp_path / "pictures" / "small.jpg")
    latents = tmp_path / "latents"
    run("encode", tmp_path / "pictures", "-o", latents, "--image-size", "32", "--versions", "2")
    known = read_latents(latents)
    assert len(known.names) == 6 and known.skipped[0][0] == "small.jpg"
    words = ("--preset", "photo", "--channels", "32,32", "--image-size", "32", "--batch", "2")
    more = ("--steps", "2", "--device", "cpu", "--precision", "fp32")
    run("train", latents, "--run", tmp_path / "run", *words, *more)
    model = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")
    assert model.config.space == "latent" and model.config.latents is not None
    assert model.about["pictures"] == 6
    with Image.open(tmp_path / "run" / "grids" / "0000002.png") as grid:
        assert grid.size == (3 * 34 + 2, 2 * 34 + 2)
    run("train", tmp_path / "pictures", "--run", tmp_path / "direct", *words, *more)
    assert checkpoint.load(tmp_path / "direct" / "checkpoint.safetensors").about["pictures"] == 6
    text = run("train", latents, "--run", tmp_path / "no", *more, fails=ConfigError)
    assert "--preset photo" in text
    wrong = ("encode", tmp_path / "pictures", "-o", tmp_path / "no", "--image-size", "100")
    assert "multiple of 32" in run(*wrong, fails=ConfigError)
    larger = ("--preset", "photo", "--channels", "32,32", "--image-size", "64", *more)
    text = run("train", latents, "--run", tmp_path / "no", *larger, fails=DataError)
    assert "--image-size 64" in text


def test_an_evaluation_has_a_floor_yardsticks_and_bits(
    weights: Path, pictures: Path, tmp_path: Path
) -> None:
    def encode(images):  # type: ignore[no-untyped-def]
        return images.reshape(len(images), -1)[:, ::64].astype("float32") / 255

    words = ("evaluate", "--data", pictures, "-n", "20", "--checkpoint", weights, "--steps", "3")
    output = run(*words, "-o", tmp_path / "out", encode=encode)
    for what in ("held out (floor)", "through 8 px", "JPEG q10", "bits per dimension, n 20"):
        assert what in output
    assert (tmp_path / "out" / "nearest.png").exists()
    assert "condition none" in output
    for i, path in enumerate(sorted(pictures.iterdir())):
        (pictures / "abc"[i % 3]).mkdir(exist_ok=True)
        path.rename(pictures / "abc"[i % 3] / path.name)
    guided = ("--guidance", "3", "--interval", "0.1", "1.5")
    classed = run(*words, *guided, encode=encode)
    assert "dpmpp_2m 3, guidance 3 in 0.1..1.5 " in classed
    assert "condition class" in classed and classed.splitlines()[1] != output.splitlines()[1]
    report = json.loads(run(*words, *guided, "--json", encode=encode))
    row, about = report["rows"][0], report["about"]
    assert f"{row['frechet']:.2f}" in classed.splitlines()[1] and about["condition"] == "class"
    assert f"{report['bits']['bits']:.3f} ± " in classed.splitlines()[-1]
    assert "--features" in run(*words, fails=ConfigError)
    wrong = run(*words, "--sampler", "euler", encode=lambda _: pytest.fail(), fails=ConfigError)
    assert "euler" in wrong  # before anything is measured


def test_training_tells_what_it_skipped(pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"nothing")
    words = ("--run", tmp_path / "run", "--batch", "2", "--device", "cpu")
    run("train", pictures, "--steps", "2", *words)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {"config.json", "log.txt", "stats.jsonl", "grids", "loss.png"}
    assert left >= {"checkpoint.safetensors", "checkpoint.json"}
    assert json.loads((tmp_path / "run" / "checkpoint.json").read_text())["pictures"] == 60
    run("train", pictures, "--steps", "1", "--minutes", "1", *words, fails=ConfigError)
    nowhere = ("--run", tmp_path / "other", "--device", "cpu")
    run("train", tmp_path / "nowhere", *nowhere, fails=DataError)


def test_a_checkpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    run("sample", "-o", tmp_path, "--checkpoint", tmp_path / "x", fails=CheckpointError)
