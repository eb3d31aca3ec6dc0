"""Parts that training and measuring `mini` share: scores and names."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers.project import ROOT
from PIL import Image

Script = Callable[[str], ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Imports a script by name, for this test alone."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "train"))
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(ROOT / "scripts")):
            del sys.modules[name]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def test_average_precision_and_nearest_neighbour_in_closed_form(script: Script) -> None:
    """Two classes on a circle: each query's neighbours are known."""
    degrees = np.radians([0.0, 10.0, 25.0, 90.0])
    x = np.stack([np.cos(degrees), np.sin(degrees)], 1)
    precision, first = script("retrieval").categories(x, np.array([0, 1, 0, 1]))
    assert precision == pytest.approx([1 / 2, 1 / 3, 1 / 2, 1 / 2])
    assert first.tolist() == [0, 0, 0, 0]


def test_recall_is_of_the_picture_itself(script: Script) -> None:
    retrieval = script("retrieval")
    loads = [lambda seed=seed: picture(9, 9, seed) for seed in range(6)]

    def embed(pictures: list[Image.Image]) -> np.ndarray:
        rows = np.stack([np.asarray(p, np.float64).ravel() - 127.5 for p in pictures])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    index = retrieval.vectors(embed, loads)
    untouched = retrieval.recall(embed, loads, [0, 3, 5], index, lambda p, _: p, 0)
    assert untouched.tolist() == [1, 1, 1]
    swapped = retrieval.recall(embed, loads, [0, 3], index, lambda p, _: picture(9, 9, 5), 0)
    assert swapped.tolist() == [0, 0]


def test_the_teacher_is_the_published_network(script: Script, tmp_path: Path) -> None:
    """Folded weights of timm's keys give timm's logits."""
    import timm
    from safetensors.torch import save_file

    from search.runtime import torch

    torch.manual_seed(0)
    published = timm.create_model("tf_efficientnet_lite2").eval()
    for name, buffer in published.named_buffers():  # as after training, not 0 and 1
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    (tmp_path / "efficientnet-lite2").mkdir()
    save_file(published.state_dict(), tmp_path / "efficientnet-lite2" / "weights.safetensors")
    folded, x = script("networks").efficientnet(tmp_path), torch.randn(2, 3, 90, 90)
    with torch.inference_mode():
        expected, logits = published(x), folded.classes(folded.features(x))
    assert logits.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


ALONE = """
import runpy, sys
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {absent} else found(name, path, target)

PathFinder.find_spec = find_spec
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_ddpm_is_trained_with_four_packages_alone(tmp_path: Path) -> None:
    """The recipe runs where nothing but torch, numpy, Pillow and safetensors is installed."""
    allowed, needed = ["torch", "numpy", "pillow", "safetensors"], set[str]()
    while allowed:
        name = canonical(allowed.pop())
        if name not in needed:
            needed.add(name)
            allowed += requirements(name)
    ours = {canonical(name) for name in requirements("lookalike")} - needed
    modules = metadata.packages_distributions()
    absent = {m for m, names in modules.items() if {canonical(n) for n in names} & ours}
    assert {"faiss", "pillow_heif", "sqlalchemy", "open_clip", "fastapi"} <= absent
    with zipfile.ZipFile(tmp_path / "photos64-train-0.zip", "w") as archive:
        for seed in range(3):
            with archive.open(f"n01/{seed}.png", "w") as file:
                picture(64, 64, seed).save(file, "PNG")
    options = ("--data", tmp_path, "--out", tmp_path / "run", "--steps", "1", "--no-compile")
    code, script = ALONE.format(absent=absent), ROOT / "scripts" / "train" / "ddpm.py"
    subprocess.run([sys.executable, "-c", code, script, *options], check=True, cwd=tmp_path)
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(name: str) -> list[str]:
    """Return the requirements of a distribution on this platform, without extras."""
    try:
        names = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in names if "extra ==" not in line]
