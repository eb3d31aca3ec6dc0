"""The encoder in the package: its contract, its weights, its card, its recipe."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.project import ROOT
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from search import ModelError
from search.embedders.base import Embedder
from search.embedders.efficientnet import EfficientNetLite
from search.embedders.mini import Mini
from search.embedders.mini_designs import DEPTHS, FEATURES, MOBILENET_V2
from search.embedders.mobilenet import MiniNet, to_tensor
from search.embedders.models import Models
from search.embedders.registry import open_embedder
from search.embedders.vocabulary import LabelEmbedder
from search.media.preprocessing import Preprocessing
from search.runtime import Runtime, torch

WEIGHTS = ROOT / "search" / "embedders" / "weights"


@pytest.fixture(scope="module")
def mini() -> Mini:
    return Mini()


def pixels(n: int, size: int = 192) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8))


def changed(tmp_path: Path, **config: object) -> Path:
    """The shipped weights with another configuration."""
    path = tmp_path / "other.safetensors"
    with safe_open(WEIGHTS / "mini.safetensors", "numpy") as file:
        shipped = json.loads(file.metadata()["config"])
    about = {"config": json.dumps(shipped | config)}
    save_file(load_file(WEIGHTS / "mini.safetensors"), path, about)
    return path


def test_it_keeps_the_contract(mini: Mini) -> None:
    assert isinstance(mini, Embedder)
    vectors = mini.embed(pixels(5))
    assert vectors.shape == (5, mini.dim) == (5, 512) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert mini.embed([]).shape == (0, 512)


def test_labels_come_with_the_same_vectors(mini: Mini) -> None:
    assert isinstance(mini, LabelEmbedder)
    batch = [*pixels(2), np.full((192, 192, 3), 255, np.uint8)]
    vectors, labels = mini.embed_with_labels(batch)
    assert np.array_equal(vectors, mini.embed(batch)) and len(labels) == 3
    assert mini.embed_with_labels([])[1] == []


def test_the_version_before_it_still_embeds() -> None:
    """Its fingerprint names libraries and the diffusion checkpoint; it never changes."""
    before = Mini(version="mini-1")
    assert before.fingerprint == "1ee4918781a7036a" and "non-commercial" in before.terms
    assert before.embed(pixels(2, 160)).shape == (2, 512)
    assert before.vocabulary() is None and before.embed_with_labels(pixels(1, 160))[1] == [()]
    assert open_embedder("mini-1", "cpu").fingerprint == before.fingerprint


def test_it_answers_for_the_vectors_of_earlier_decode_rules(mini: Mini, tmp_path: Path) -> None:
    """The words and the diffusion checkpoint were made under rule 2, and so were libraries."""
    under_rule_2 = "3a52ae8095f91ab0"
    assert under_rule_2 != mini.fingerprint and mini.vocabulary() is not None
    models = Models("mini", "cpu", tmp_path, lambda: Runtime(1), print)
    assert models.open_version("mini", under_rule_2).fingerprint == mini.fingerprint
    with pytest.raises(ModelError, match="other weights"):
        models.open_version("mini", "0" * 16)


def test_the_network_is_efficientnet_lite2() -> None:
    """6,092,072 parameters with batch norm, as published; folding leaves one of its two."""
    net = EfficientNetLite()
    channels = sum(c.out_channels for c in net.convolutions())
    assert sum(p.numel() for p in net.body.parameters()) == 6_092_072 - 1_281_000 - channels
    fewer = EfficientNetLite((1, 2, 2, 3, 4, 5, 1))
    assert len(list(net.body)) - len(list(fewer.body)) == 3 and sum(DEPTHS) == 21
    x = torch.zeros(1, 3, 97, 64)  # odd sides are padded as TensorFlow does
    assert net.eval().body(x).shape == (1, 1280, 4, 2)


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
    assert [s for s in shapes[1:-1]].count((64, 14, 14)) == MOBILENET_V2.stages[3][2]


def test_pictures_are_normalized_by_mean_and_deviation() -> None:
    white = to_tensor([np.full((2, 2, 3), 255, np.uint8)], MiniNet.mean, MiniNet.std)
    assert white.shape == (1, 3, 2, 2)
    expected = [(1 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert white[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_two_heads_do_not_touch_each_other() -> None:
    net = Mini().load()
    assert isinstance(net, EfficientNetLite)
    features = net.features(to_tensor(pixels(2), net.mean, net.std))
    before = net.classes(features)
    net.retrieval.weight.data *= 2
    assert torch.equal(net.classes(features), before) and before.shape == (2, 1000)


def test_the_fingerprint_follows_weights_and_preparation(mini: Mini, tmp_path: Path) -> None:
    assert Mini().fingerprint == mini.fingerprint
    other = changed(tmp_path, preparation={"size": 192, "fit": "squash"})
    assert Mini(weights=other).fingerprint != mini.fingerprint
    assert open_embedder(f"mini:{other}", "cpu").name == f"mini:{other}"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be used"):
        Mini(weights=tmp_path / "weights")


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("depths", [DEPTHS, (1,) * 7, (1, 2, 2, 3, 4, 5)])
def test_weights_of_another_network_are_refused(
    backend: str, depths: tuple[int, ...], tmp_path: Path
) -> None:
    mini = Mini(weights=changed(tmp_path, depths=list(depths)))
    with pytest.raises(ModelError, match="body|zip"):
        mini.runner.load(backend)


def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(ModelError, match="meta7"):
        Mini("meta7").embed(pixels(1))


@pytest.mark.parametrize("version", ["mini", "mini-1"])
def test_the_card_is_of_these_weights(version: str) -> None:
    card = (WEIGHTS / f"{version}.md").read_text()
    data = (WEIGHTS / f"{version}.safetensors").read_bytes()
    assert hashlib.sha256(data).hexdigest() in card and len(data) <= 16e6
    for word in ("Apache-2.0", "CC0", "photos-dev", "seed"):
        assert word in card


def test_the_card_is_of_these_words() -> None:
    digest = hashlib.sha256((WEIGHTS / "words.safetensors").read_bytes()).hexdigest()
    assert digest in (WEIGHTS / "mini.md").read_text()


def test_the_terms_allow_commercial_use() -> None:
    assert "commercially" in Mini().terms and "non-commercial" not in Mini().terms


def test_crop_and_squash_see_what_they_say() -> None:
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    cropped, squashed = Preprocessing(30)(picture), Preprocessing(30, "squash")(picture)
    assert (cropped[5:-5, 5:-5] == (0, 0, 255)).all()
    assert (squashed[:, :5] == (255, 0, 0)).all() and (squashed[:, 14:16] == (0, 0, 255)).all()


@pytest.mark.parametrize("turned", [False, True])
def test_between_sees_proportions_half_way_to_a_square(turned: bool) -> None:
    picture = Image.new("RGB", (400, 100), "red")
    picture.paste("blue", (100, 0, 300, 100))  # a centre of 2 to 1, as the root of 4 to 1
    picture.paste("green", (105, 5, 295, 95))
    picture = picture.transpose(Image.Transpose.ROTATE_90) if turned else picture
    pixels = Preprocessing(40, "between")(picture).astype(int)
    assert (abs(pixels[3:-3, 3:-3] - (0, 128, 0)) < 3).all()
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge[3:-3, 2] > 100).all() and (edge[3:-3, 0] < 30).all()
    square = picture.resize((90, 90))
    assert (Preprocessing(40, "between")(square) == Preprocessing(40)(square)).all()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Small random pictures and random teachers."""
    import timm

    tmp_path, rng = tmp_path / "data", np.random.default_rng(0)
    torch.manual_seed(0)
    for name in ("mobilenetv2", "efficientnet-lite2"):
        (tmp_path / name).mkdir(parents=True)
    for i, conv in enumerate(MiniNet().convolutions()):
        np.save(tmp_path / "mobilenetv2" / f"conv_{i}_weight.npy", conv.weight.data.numpy())
        np.save(tmp_path / "mobilenetv2" / f"conv_{i}_bias.npy", conv.bias.data.numpy())
    state = timm.create_model("tf_efficientnet_lite2").state_dict()
    half = {key: value.numpy().astype(np.float16) for key, value in state.items()}
    save_file(half, tmp_path / "efficientnet-lite2" / "weights.safetensors")

    def photo(path: Path, size: int) -> bytes:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)
        return path.read_bytes()

    with zipfile.ZipFile(tmp_path / "photos64-val.zip", "w") as archive:
        for i in range(24):
            for j in range(2):
                archive.writestr(f"n{i:08d}/{j}.jpg", photo(tmp_path / "one.jpg", 64))
    for part, count in (("photos144-open-0", 12), ("photos288-open-0", 2)):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for i in range(count):
                archive.writestr(f"source/kind/{i}.webp", photo(tmp_path / "one.webp", 96))
    for part in ("train", "validation"):
        for i in range(4):
            photo(tmp_path / "clothing" / part / f"c{i % 2}" / f"{i}.jpg", 96)
    return tmp_path


@pytest.mark.slow
def test_the_recipe_runs_and_resumes(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    weights = run / "mini.safetensors"

    def recipe(*words: str) -> str:
        command = [sys.executable, ROOT / "scripts" / "train" / "mini.py", "--data", data]
        command += ["--out", run, "--size", "32", "--run-size", "32", *words]
        done = subprocess.run(map(str, command), capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "blend at 32 px: clothing 0." in recipe("--steps", "2")
    trained = weights.read_bytes()
    weights.unlink()
    resumed = recipe("--steps", "2")
    assert "goals:" not in resumed and weights.read_bytes() == trained
    with pytest.raises(AssertionError, match=r"'seed': '0'.*give another --out"):
        recipe("--steps", "2", "--seed", "7")
    mini = Mini(weights=weights)
    assert mini.preprocessing == Preprocessing(32, "between")
    assert np.isfinite(mini.embed(pixels(2, 32))).all()
