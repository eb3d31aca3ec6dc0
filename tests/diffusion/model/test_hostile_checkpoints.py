"""Checkpoints of strangers: one clear error for each, before anything is allocated."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from diffusion import Config, ConfigError, Denoiser, Shape, load
from diffusion.errors import CheckpointError
from diffusion.model import checkpoint
from diffusion.model.autoencoder import load_autoencoder
from diffusion.model.unet import UNet

CONFIG = Config("test", Shape((32, 32), 1, (False, True)), size=8)

# Loads each checkpoint that it is called with: prints the error, and by how many MB memory grew.
LOAD = """
import re, sys
from pathlib import Path
from diffusion import load
from diffusion.errors import CheckpointError
def peak():
    return int(re.search("VmHWM:\\\\s+(\\\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
load(sys.argv[1])
for path in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    try:
        load(path)
    except CheckpointError as error:
        print(peak() - before, error)
"""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, CONFIG, Denoiser(CONFIG).net.state_dict(), {"step": 7})
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON, and have it name the hash of the weights as they are."""
    about = json.loads(path.with_suffix(".json").read_text())
    about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    change(about)
    path.with_suffix(".json").write_text(json.dumps(about))


def claim(path: Path) -> None:
    rewrite(path, lambda about: None)


def write_header(path: Path, header: object, data: bytes = b"", length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    claim(path)


def spread(shapes: dict[str, tuple[int, ...]]) -> dict[str, object]:
    """A header with tensors of these shapes, one after the other."""
    header, end = dict[str, object](), 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    return header


def set_shape(field: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda about: about["config"]["shape"].__setitem__(field, value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_claim_allocates_nothing(saved: Path, tmp_path: Path) -> None:
    cases = {
        "blocks": set_shape("blocks", 100_000),
        "channels": set_shape("channels", [2**30, 2**30]),
        "levels": lambda a: a["config"]["shape"].update(
            channels=[32] * 10**5, attention=[False] * 10**5
        ),
        "width": lambda a: a["config"]["shape"].update(condition="class", width=10**9),
    }
    paths = []
    for name, change in cases.items():
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "model.safetensors")
        paths[-1].write_bytes(saved.read_bytes())
        paths[-1].with_suffix(".json").write_bytes(saved.with_suffix(".json").read_bytes())
        rewrite(paths[-1], change)
    large = replace(CONFIG, shape=replace(CONFIG.shape, channels=(8192, 8192), blocks=2))
    for name, header in {
        "only the JSON": spread({"stem.weight": (32, 3, 3, 3)}),
        "the header as well": spread(checkpoint.list_network_shapes(large)),
        "another header": spread({"stem.weight": (2**40, 3, 3, 3)}),
    }.items():
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "model.safetensors")
        checkpoint.save(paths[-1], CONFIG if "another" in name else large, {}, {})
        write_header(paths[-1], header)
    words = [sys.executable, "-c", LOAD, str(saved), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), done.stdout
    for path, line in zip(paths, lines, strict=True):
        grown, _, error = line.partition(" ")
        assert int(grown) < 200 and path.parent.name in error, line


@pytest.mark.parametrize("value", [-1, 0, 1.5, "2", True, None, 2**62, -(2**62), [], float("nan")])
def test_a_size_that_is_none_is_refused(saved: Path, value: object) -> None:
    fields = ["blocks", "head", "patch", "inputs"]
    changes = [set_shape(field, value) for field in fields]
    changes += [set_shape("channels", [32, value]), set_shape("attention", [False, value])]
    changes += [lambda about: about["config"].update(size=value)]
    if value != 0:
        changes += [set_shape("width", value), set_shape("augmentation", value)]
        changes += [lambda about: about["config"].update(steps=value, noise="linear")]
    whole = saved.with_suffix(".json").read_text()
    for change in changes:
        saved.with_suffix(".json").write_text(whole)
        rewrite(saved, change)
        if value is not True or change is not changes[5]:  # a flag is a flag
            with pytest.raises(CheckpointError, match=r"model\.(json|safetensors) "):
                load(saved)


@pytest.mark.parametrize("size", [{"blocks": 65}, {"channels": (2**14,) * 2}, {"patch": 100}])
def test_options_have_the_same_bounds(size: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no network can have the shape"):
        replace(CONFIG.shape, **size)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_weights_that_are_not_finite_are_refused(
    saved: Path, value: float, kind: torch.dtype
) -> None:
    weights = {name: w.to(kind) for name, w in Denoiser(CONFIG).net.state_dict().items()}
    weights["middle.0.conv1.bias"][3] = value
    save_file(weights, saved)
    claim(saved)
    with pytest.raises(CheckpointError, match="middle.0.conv1.bias has values that are not finite"):
        load(saved)


def test_weights_beyond_single_precision_are_refused(saved: Path) -> None:
    weights = {name: w.double() for name, w in Denoiser(CONFIG).net.state_dict().items()}
    save_file(weights, saved)
    claim(saved)
    load(saved)
    weights["head.bias"][0] = 1e300
    save_file(weights, saved)
    claim(saved)
    with pytest.raises(CheckpointError, match="head.bias has values that are not finite"):
        load(saved)


@pytest.mark.parametrize(
    "header, length, reason",
    [
        ({}, 2**63, "longer than the file"),
        ({}, 3, "longer than the file|cannot be read"),
        ({}, 2**22, "longer than the file"),
        ({"__metadata__": {"a": "b" * 2**22}}, None, "header has more than"),
        ([], None, "lacks the tensor|cannot be read"),
        ({"stem.weight": 3}, None, "cannot be read"),
        ({"stem.weight": {"dtype": "F32"}}, None, "cannot be read"),
        ({"a": {"dtype": "F32", "shape": [1.5]}}, None, "not whole"),
        ({"a": {"dtype": "F32", "shape": [-1]}}, None, "not whole"),
        ({"a": {"dtype": "I64", "shape": [1]}}, None, "not floating"),
        ({"a": {"dtype": {}, "shape": [1]}}, None, "not floating"),
        ({"__metadata__": {"a": 3}}, None, "not texts"),
        ({"__metadata__": 3}, None, "cannot be read"),
    ],
)
def test_a_damaged_header_is_refused(
    saved: Path, header: object, length: int | None, reason: str
) -> None:
    write_header(saved, header, length=length)
    with pytest.raises(CheckpointError, match=reason):
        load(saved)


def test_a_header_nested_too_deeply_is_refused(saved: Path) -> None:
    text = b"[" * 10**6
    saved.write_bytes(struct.pack("<Q", len(text)) + text)
    claim(saved)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(saved)


@pytest.mark.parametrize("length", [0, 4, 8, 100, 5000, -1])
def test_a_file_that_is_cut_is_refused_whatever_its_json_says(saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    claim(saved)
    with pytest.raises(CheckpointError, match="model.safetensors cannot be used"):
        load(saved)


def test_offsets_that_lie_are_refused(saved: Path) -> None:
    shapes = {name: tuple(w.shape) for name, w in Denoiser(CONFIG).net.state_dict().items()}
    header = spread(shapes)
    for offsets in ([0, 2**40], [-4, 124], [128, 0], [0], "x"):
        header["stem.bias"]["data_offsets"] = offsets  # type: ignore[index]
        write_header(saved, header, bytes(2**20))
        with pytest.raises(CheckpointError, match="model.safetensors cannot be used"):
            load(saved)


def test_a_json_of_a_gigabyte_is_not_read(saved: Path) -> None:
    with saved.with_suffix(".json").open("r+b") as file:
        file.truncate(2**30)  # takes no room on the disk
    with pytest.raises(CheckpointError, match="more than 16777216 bytes"):
        load(saved)
    saved.with_suffix(".json").write_text("[" * 10**6)
    with pytest.raises(CheckpointError, match="nested too deeply"):
        load(saved)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_is_no_regular_file_is_refused(saved: Path, suffix: str) -> None:
    path = saved.with_suffix(suffix)
    for make in (os.mkfifo, lambda p: p.symlink_to("/dev/zero"), Path.mkdir):
        path.unlink()
        make(path)
        with pytest.raises(CheckpointError, match="model"):
            load(saved)
        if path.is_dir():
            break


@pytest.mark.parametrize("name", ["model.safetensors", "../model.safetensors", "", 3, None, ".."])
def test_a_weak_model_has_no_weak_model_and_is_beside_it(saved: Path, name: object) -> None:
    rewrite(saved, lambda about: about.update(weak=name))
    if name == "model.safetensors":  # itself: loaded once more, and not for ever
        weak = load(saved).weak
        assert weak is not None and weak.weak is None
    else:
        with pytest.raises(CheckpointError, match="not the name of a file"):
            load(saved)


def test_a_weak_model_of_another_kind_is_refused(saved: Path) -> None:
    other = CONFIG.with_condition("class", 3)
    path = saved.with_name("weak.safetensors")
    checkpoint.save(path, other, Denoiser(other).net.state_dict(), {})
    rewrite(saved, lambda about: about.update(weak="weak.safetensors"))
    with pytest.raises(CheckpointError, match="weak.safetensors cannot guide"):
        load(saved)


@pytest.mark.parametrize(
    "field, value",
    [
        ("classes", 3),
        ("classes", [3]),
        ("bank", "../bank.safetensors"),
        ("bank", 3),
        ("seen", "many"),
        ("step", [1]),
        ("encoder", []),
        ("encoder", {}),
    ],
)
def test_fields_that_are_read_later_are_checked(saved: Path, field: str, value: object) -> None:
    rewrite(saved, lambda about: about.update({field: value}))
    with pytest.raises(CheckpointError, match="is not the description of a lookalike checkpoint"):
        load(saved)


def test_shapes_are_those_of_the_network() -> None:
    for config in (CONFIG, CONFIG.with_condition("vector", 16)):
        state = UNet(config.shape).state_dict()
        shapes = {name: tuple(weight.shape) for name, weight in state.items()}
        assert checkpoint.list_network_shapes(config) == shapes


def test_an_autoencoder_is_checked_as_well(tmp_path: Path) -> None:
    weights = {name: w.contiguous() for name, w in load_autoencoder().state_dict().items()}
    path = tmp_path / "autoencoder.safetensors"
    weights["encoder.0.bias"][0] = float("nan")
    for tensors, reason in (
        (weights, "encoder.0.bias has values that are not finite"),
        ({**weights, "encoder.0.bias": torch.zeros(65)}, "encoder.0.bias is .65,., not .64,."),
        ({**weights, "more": torch.zeros(1)}, "has a tensor more"),
        ({"encoder.0.bias": torch.zeros(64)}, "lacks the tensor"),
    ):
        save_file(tensors, path)
        with pytest.raises(CheckpointError, match=reason):
            load_autoencoder(path=path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="not a regular file"):
        load_autoencoder(path=path)
