"""Checkpoints: saving and loading keeps a model; other files are refused."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import save_file

from diffusion import Config, Denoiser, DiffusionError, Shape, load, sample
from diffusion.errors import CheckpointError, ConfigError
from diffusion.model import checkpoint

CONFIG = Config("test", Shape((32, 32), 1, (False, True)), size=8)
ENCODER = {"name": "mini", "fingerprint": "abc"}


def denoiser(config: Config = CONFIG) -> Denoiser:
    torch.manual_seed(0)
    model = Denoiser(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, CONFIG, denoiser().net.state_dict(), {"step": 7, "encoder": ENCODER})
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    beside = path.with_suffix(".json")
    about = json.loads(beside.read_text())
    change(about)
    beside.write_text(json.dumps(about))


@pytest.mark.parametrize("condition", [("none", 0), ("class", 3), ("vector", 16)])
def test_a_checkpoint_comes_back_as_it_went(tmp_path: Path, condition: tuple[str, int]) -> None:
    model = denoiser(CONFIG.with_condition(*condition))
    path = tmp_path / "deep" / "model.safetensors"
    checkpoint.save(path, model.config, model.net.state_dict(), {"step": 7})
    loaded = load(path)
    assert loaded.config == model.config and loaded.about["step"] == 7
    for (name, ours), (other, theirs) in zip(
        model.net.state_dict().items(), loaded.net.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(ours, theirs)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.json", "model.safetensors"]
    assert sample(loaded, 2, steps=2).isfinite().all()


def test_half_precision_is_half_the_size_and_near(tmp_path: Path, saved: Path) -> None:
    path = tmp_path / "half.safetensors"
    checkpoint.save(path, CONFIG, denoiser().net.state_dict(), {}, half=True)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    one, other = load(path).net.state_dict(), load(saved).net.state_dict()
    assert all(w.dtype == torch.float32 for w in one.values())
    assert all(torch.allclose(one[k], other[k], atol=1e-3, rtol=1e-3) for k in one)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved.parent / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is not there"):
        load(saved)


@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_damaged_file_is_refused(saved: Path, at: int) -> None:
    data = bytearray(saved.read_bytes())
    data[at] ^= 1
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load(saved)
    saved.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load(saved)


def test_a_newer_file_is_refused(saved: Path) -> None:
    rewrite(saved, lambda about: about.update(version=checkpoint.VERSION + 1, config={"new": 1}))
    with pytest.raises(CheckpointError, match="newer"):
        load(saved)


@pytest.mark.parametrize("condition", [("none", 0), ("class", 3), ("vector", 16)])
def test_a_file_of_version_1_loads(tmp_path: Path, condition: tuple[str, int]) -> None:
    """Version 1 has other names for some modules of the network."""
    shape = replace(CONFIG.shape, size_condition=True)
    model = denoiser(replace(CONFIG, shape=shape).with_condition(*condition))
    before = {new: old for old, new in checkpoint.RENAMED_MODULES.items()}
    weights = {
        ".".join(before.get(part, part) for part in key.split(".")): weight
        for key, weight in model.net.state_dict().items()
    }
    assert {"clock.0.weight", "size.weight", "down.0.0.told.weight"} <= weights.keys()
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, model.config, weights, {"step": 7})
    rewrite(path, lambda about: about.update(version=1))
    loaded = load(path)
    assert loaded.about["version"] == 1 and loaded.about["step"] == 7
    for key, weight in model.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[key], weight)


def test_keys_of_version_2_are_not_renamed() -> None:
    names = [name for name, _ in denoiser(CONFIG.with_condition("vector", 16)).net.named_modules()]
    assert (
        not {part for name in names for part in name.split(".")} & checkpoint.RENAMED_MODULES.keys()
    )
    assert list(checkpoint.upgrade_keys(dict.fromkeys(names, torch.zeros(1)))) == names


def test_weights_of_another_model_are_refused(saved: Path) -> None:
    """Files of another preset, of no model, and without weights."""

    def claim() -> None:
        rewrite(saved, lambda a: a.update(sha256=hashlib.sha256(saved.read_bytes()).hexdigest()))

    other = denoiser(Config("other", Shape((32,), 1, (False,)), size=8))
    for tensors in (other.net.state_dict(), {"weight": torch.zeros(3)}):
        save_file(tensors, saved)
        claim()
        with pytest.raises(CheckpointError, match=saved.name):
            load(saved)
    saved.write_bytes(b"PK\x03\x04 a zip, say")
    claim()
    with pytest.raises(CheckpointError, match=saved.name):
        load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format": "other"}', '"' + "[" * 9 + '"'])
def test_a_foreign_description_is_refused(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="is not the description of a lookalike checkpoint"):
        load(saved)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(anything, st.data())
def test_no_description_gets_past_with_a_stumble(saved: Path, wrong: Any, data: Any) -> None:
    """Every field of the description may hold any value."""
    beside = saved.with_suffix(".json")
    whole = beside.read_text()
    about = inner = json.loads(whole)
    for _ in range(data.draw(st.integers(0, 2))):
        below = [key for key in inner if isinstance(inner[key], dict)]
        inner = inner[data.draw(st.sampled_from(below))] if below else inner
    inner[data.draw(st.sampled_from(sorted(inner)))] = wrong
    beside.write_text(json.dumps(about))
    try:
        load(saved, encoder="abc")
    except CheckpointError as error:
        assert str(saved.parent) in str(error)
    finally:
        beside.write_text(whole)


def test_only_the_encoder_it_was_trained_with_conditions_a_model(saved: Path) -> None:
    assert load(saved, encoder="abc").about["encoder"] == ENCODER
    with pytest.raises(CheckpointError, match="abc, not xyz"):
        load(saved, encoder="xyz")
    rewrite(saved, lambda about: about.pop("encoder"))
    with pytest.raises(CheckpointError, match="not xyz"):
        load(saved, encoder="xyz")


def test_a_device_that_is_not_there_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be used on cuda:99"):
        load(saved, "cuda:99")


@pytest.mark.parametrize("full", [".safetensors", ".json"])
def test_a_full_disk_leaves_what_was_there(
    saved: Path, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If one of the two files cannot be written, neither is replaced."""
    real = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        if full in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(DiffusionError, match="No space left on device; free some space"):
        checkpoint.save(saved, CONFIG, Denoiser(CONFIG).net.state_dict(), {"step": 8})
    assert sorted(p.name for p in saved.parent.iterdir()) == ["model.json", "model.safetensors"]
    assert load(saved).about["step"] == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"sampler": "magic"},
        {"seed": -1},
        {"seed": 2**64},
        {"steps": 0},
        {"condition": torch.tensor([0])},
        {"condition": torch.tensor([0, 3])},
        {"condition": torch.tensor([0, -2])},
        {"condition": torch.zeros(2, 3)},
        {"interval": (2.0, 1.0)},
        {"interval": (math.nan, 1.0)},
    ],
)
def test_what_cannot_be_sampled_is_refused(wrong: dict[str, Any]) -> None:
    model = denoiser(CONFIG.with_condition("class", 3)).eval()
    with pytest.raises(ConfigError):
        sample(model, **{"n": 2, "steps": 2, **wrong})
    with pytest.raises(ConfigError, match="condition"):
        sample(denoiser(), 1, condition=torch.tensor([0]))


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "heun", "dpmpp_2m"])
def test_a_picture_is_the_same_alone_or_among_others(sampler: str) -> None:
    model = denoiser(CONFIG.with_condition("class", 3)).eval()
    labels = torch.tensor([2, -1, 0, 1])
    options: dict[str, Any] = {"steps": 4, "sampler": sampler, "guidance": 2.0}
    together = sample(model, 4, seed=5, condition=labels, **options)
    assert together.shape == (4, 3, 8, 8) and together.abs().max() <= 1
    assert torch.equal(together, sample(model, 4, seed=5, condition=labels, **options))
    for i in range(4):
        alone = sample(model, 1, seed=5 + i, condition=labels[i : i + 1], **options)
        assert (alone[0] - together[i]).abs().max() * 127.5 <= 2
    assert (together[0] - together[1]).abs().max() > 0.1


def test_more_than_a_batch_is_as_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model, labels = (
        denoiser(CONFIG.with_condition("class", 3)).eval(),
        torch.tensor([0, 1, 2, 0, 1]),
    )
    whole = sample(model, 5, condition=labels, steps=2)
    monkeypatch.setattr("diffusion.sampling.sample.BATCH", 2)
    parts = sample(model, 5, condition=labels, steps=2)
    assert torch.allclose(whole, parts, atol=1e-3)
