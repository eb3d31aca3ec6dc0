"""The encoder in the package: its contract, its weights, its card, its recipe."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import in_venv
from PIL import Image
from safetensors.numpy import load_file, save_file

from search import ModelError
from search.embedders.base import Embedder, Preparation
from search.embedders.mini import Mini
from search.embedders.mobilenet import FEATURES, STAGES, MiniNet, normalise
from search.embedders.registry import open_embedder
from search.runtime import torch

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "search" / "embedders" / "weights"


@pytest.fixture(scope="module")
def mini() -> Mini:
    return Mini()


def pixels(n: int, size: int = 160) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8))


def changed(tmp_path: Path, **config: object) -> Path:
    """The shipped weights with another configuration."""
    path = tmp_path / "other.safetensors"
    save_file(load_file(WEIGHTS / "mini.safetensors"), path, {"config": json.dumps(config)})
    return path


def test_it_keeps_the_contract(mini: Mini) -> None:
    assert isinstance(mini, Embedder)
    vectors = mini.embed(pixels(5))
    assert vectors.shape == (5, mini.dim) == (5, 512) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert mini.embed([]).shape == (0, 512)


def test_a_picture_alone_and_in_a_batch_are_the_same(mini: Mini) -> None:
    batch = pixels(7)
    alone = np.concatenate([mini.embed([p]) for p in batch])
    assert np.abs(alone - mini.embed(batch)).max() < 1e-5


def test_the_network_is_mobilenet_v2() -> None:
    net = MiniNet()
    convolutions = list(net.convolutions())
    assert len(convolutions) == 52 and all(c.bias is not None for c in convolutions)
    # 2,223,872 with batch norm, of whose two parameters a channel folding leaves one
    assert sum(p.numel() for p in net.body.parameters()) == 2_223_872 - 17_056
    x, shapes = torch.zeros(1, 3, 224, 224), []
    for layer in net.body:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes[0] == (32, 112, 112) and shapes[-1] == (FEATURES, 7, 7)
    assert [s for s in shapes[1:-1]].count((64, 14, 14)) == STAGES[3][2]


def test_pictures_are_normalised_as_imagenet_is() -> None:
    white = normalise([np.full((2, 2, 3), 255, np.uint8)])
    assert white.shape == (1, 3, 2, 2)
    wanted = [(1 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert white[0, :, 0, 0].tolist() == pytest.approx(wanted, rel=1e-5)


def test_two_heads_do_not_touch_each_other(mini: Mini) -> None:
    net = mini.load()
    features = net.features(normalise(pixels(2)))
    before = net.name(features)
    weight = net.retrieval.weight.data.clone()
    net.retrieval.weight.data *= 2
    assert torch.equal(net.name(features), before) and before.shape == (2, 512)
    net.retrieval.weight.data = weight


def test_the_fingerprint_follows_weights_and_preparation(mini: Mini, tmp_path: Path) -> None:
    assert Mini().fingerprint == mini.fingerprint
    same = changed(tmp_path, preparation={"size": 160, "fit": "squash"})
    assert Mini(weights=same).fingerprint != mini.fingerprint
    assert open_embedder(f"mini:{same}", "cpu").name == f"mini:{same}"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be used"):
        Mini(weights=tmp_path / "weights")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    state = load_file(WEIGHTS / "mini.safetensors")
    del state["name.bias"]
    config = json.dumps({"preparation": {"size": 160}})
    save_file(state, tmp_path / "other.safetensors", {"config": config})
    with pytest.raises(ModelError, match="name.bias"):
        Mini(weights=tmp_path / "other.safetensors").embed(pixels(1))


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match="meta7"):
        Mini("meta7").embed(pixels(1))


def test_the_card_is_of_these_weights() -> None:
    card = (WEIGHTS / "mini.md").read_text()
    data, names = ((WEIGHTS / f"{name}.safetensors").read_bytes() for name in ("mini", "names"))
    assert hashlib.sha256(data).hexdigest() in card and hashlib.sha256(names).hexdigest() in card
    assert len(data) + len(names) <= 12e6
    for word in ("Apache-2.0", "ImageNet", "CC0", "train_mini.py", "photos-dev", "seed"):
        assert word in card


def test_crop_and_squash_see_what_they_say() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    cropped, squashed = Preparation(30)(picture), Preparation(30, "squash")(picture)
    assert (cropped[5:-5, 5:-5] == (0, 0, 255)).all()
    assert (squashed[:, :5] == (255, 0, 0)).all() and (squashed[:, 14:16] == (0, 0, 255)).all()


@pytest.mark.parametrize("turned", [False, True])
def test_between_sees_proportions_half_way_to_a_square(turned: bool) -> None:
    picture = Image.new("RGB", (400, 100), "red")
    picture.paste("blue", (100, 0, 300, 100))  # a centre of 2 to 1, as the root of 4 to 1
    picture.paste("green", (105, 5, 295, 95))
    picture = picture.transpose(Image.Transpose.ROTATE_90) if turned else picture
    seen = Preparation(40, "between")(picture).astype(int)
    assert (abs(seen[3:-3, 3:-3] - (0, 128, 0)) < 3).all()
    for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1]):
        assert (edge[3:-3, 2] > 100).all() and (edge[3:-3, 0] < 30).all()
    square = picture.resize((90, 90))
    assert (Preparation(40, "between")(square) == Preparation(40)(square)).all()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Made-up pictures and a made-up teacher."""
    tmp_path, rng = tmp_path / "data", np.random.default_rng(0)
    torch.manual_seed(0)
    (tmp_path / "mobilenetv2").mkdir(parents=True)
    for i, conv in enumerate(MiniNet().convolutions()):
        np.save(tmp_path / "mobilenetv2" / f"conv_{i}_weight.npy", conv.weight.data.numpy())
        np.save(tmp_path / "mobilenetv2" / f"conv_{i}_bias.npy", conv.bias.data.numpy())
    classes = {f"n{i:08d}": f"thing {i}, other name" for i in range(24)}
    (tmp_path / "photos64-classes.json").write_text(json.dumps(classes))
    names = [{"name": f"thing {i}", "synonyms": []} for i in range(0, 24, 2)]
    (tmp_path / "clip-vit-b32-names.json").write_text(json.dumps(names))
    np.save(tmp_path / "clip-vit-b32-names.npy", rng.normal(size=(12, 512)).astype(np.float16))

    def photo(path: Path, size: int) -> bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)
        return path.read_bytes()

    for part, count in (("train-0", 11), ("val", 2)):
        with zipfile.ZipFile(tmp_path / f"photos64-{part}.zip", "w") as archive:
            for wnid in classes:
                for i in range(count):
                    archive.writestr(f"{wnid}/{i}.jpg", photo(tmp_path / "one.jpg", 64))
    for part in ("train", "validation"):
        for i in range(4):
            photo(tmp_path / "clothing" / part / f"c{i % 2}" / f"{i}.jpg", 96)
    return tmp_path


@pytest.mark.slow
def test_the_recipe_runs(data: Path, tmp_path: Path) -> None:
    """A few steps, weights that load, and more from them."""
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    weights = run / "mini.safetensors"

    def recipe(out: Path, *words: str) -> str:
        command = [sys.executable, ROOT / "scripts" / "train_mini.py", "--data", data]
        command += ["--out", out, "--steps", "2", "--size", "32", "--rounds", "2", *words]
        done = subprocess.run(map(str, command), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert len(re.findall(r"the blend, step 2: clothing 0\.\d+", recipe(run))) == 2
    rounds = [load_file(run / name / "mini.safetensors") for name in ("round1", "round2")]
    assert any((rounds[0][key] != rounds[1][key]).any() for key in rounds[0])
    made = weights.read_bytes()
    (run / "round2" / "mini.safetensors").unlink()
    assert "going on from step 2" in recipe(run) and weights.read_bytes() == made
    recipe(tuned, "--from", str(weights), "--rounds", "1")
    assert (tuned / "mini.safetensors").read_bytes() != made
    with pytest.raises(AssertionError, match=r"'seed': '0'.*give another --out"):
        recipe(run, "--seed", "7")
    mini = Mini(weights=weights)
    assert mini.preparation == Preparation(32, "between")
    assert np.isfinite(mini.embed(pixels(2, 32))).all()


@pytest.mark.slow
@in_venv
def test_what_ships_can_be_made_again(data: Path, tmp_path: Path) -> None:
    history = ["git", "-C", str(ROOT), "cat-file", "-e", "52cc5bc"]
    if not shutil.which("git") or subprocess.run(history, capture_output=True).returncode:
        pytest.skip("no git, or a clone without its history")
    command = [str(ROOT / "scripts" / "remake_mini"), str(data), str(tmp_path / "out")]
    command += ["--steps", "2", "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    runs = [load_file(tmp_path / "out" / n / "mini.safetensors") for n in ("first", "second")]
    assert any((runs[0][key] != runs[1][key]).any() for key in runs[0])
    mini = Mini(weights=tmp_path / "out" / "mini.safetensors")
    assert mini.preparation == Preparation(32, "between")
    assert np.isfinite(mini.embed(pixels(2, 32))).all()
    (tmp_path / "out" / "third" / "done").unlink()
    again = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stderr
    assert "third, by the scripts" in again.stdout and "second, by" not in again.stdout
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "first").write_bytes(b"kept")
    for out, words in (("out", ["--steps", "3"]), ("mine", [])):
        other = [*command[:2], str(tmp_path / out), *words]
        refused = subprocess.run(other, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 1 and "give another OUT" in refused.stderr
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["first"]
