"""Pictures encoded to latents for training: windows, resuming, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.errors import DataError, DiffusionError
from diffusion.model.autoencoder import Autoencoder, load_autoencoder
from diffusion.training import latents as module
from diffusion.training.draws import Draws
from diffusion.training.latents import choose_windows, encode_folder, is_latents, read_latents
from diffusion.training.sets import LatentSet

WINDOWS = choose_windows(16, versions=2)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return load_autoencoder()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seven pictures in two folders, of which one is too small and one is broken."""
    random = np.random.default_rng(0)
    for i in range(7):
        pixels = random.integers(0, 256, (40, 30 + i, 3), dtype=np.uint8)
        place = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    Image.new("RGB", (23, 90)).save(tmp_path / "pictures" / "a" / "small.png")
    (tmp_path / "pictures" / "b" / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "pictures" / "notes.txt").write_text("not a picture")
    return tmp_path / "pictures"


def test_what_is_encoded(pictures: Path, tmp_path: Path, autoencoder: Autoencoder) -> None:
    progress = list[tuple[int, int]]()
    report = encode_folder(
        [pictures],
        tmp_path / "out",
        autoencoder,
        WINDOWS,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert report.names == [f"a/{i}.png" for i in (0, 2, 4, 6)] + [f"b/{i}.png" for i in (1, 3, 5)]
    assert report.codes.shape == (7, 2, 3, 3, 32) and report.codes.dtype == torch.float16
    assert report.classes == ("a", "b") and report.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert 3 <= float(report.sizes.min()) and float(report.sizes.max()) <= 32 / 8
    reasons = dict(report.skipped)
    assert "below 24 pixels" in reasons["a/small.png"] and "b/broken.jpg" in reasons
    assert report.other == {"txt": 1} and progress[-1] == (9, 9)
    assert report.autoencoder == autoencoder.fingerprint and is_latents(tmp_path / "out")


def test_encoding_resumes(
    pictures: Path, tmp_path: Path, autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode_folder([pictures], tmp_path / "whole", autoencoder, WINDOWS)
    monkeypatch.setattr(module, "CHUNK", 2)

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS, on_progress=stop)
    with pytest.raises(DataError, match="finished latents"):
        read_latents(tmp_path / "out")
    done = list[int]()
    again = encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS,
                          on_progress=lambda number, _: done.append(number))  # fmt: skip
    assert done[0] == 6 and again.names == whole.names
    assert torch.equal(again.sizes, whole.sizes)
    assert torch.allclose(again.codes.float(), whole.codes.float(), atol=0.02)
    encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS,
                  on_progress=lambda *_: pytest.fail("nothing is left to do"))  # fmt: skip


def test_a_folder_of_other_latents_is_refused(
    pictures: Path, tmp_path: Path, autoencoder: Autoencoder
) -> None:
    encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS)
    Image.new("RGB", (50, 50)).save(pictures / "new.png")
    with pytest.raises(DataError, match="other pictures"):
        encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS)
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (5, 5)).save(tmp_path / "empty" / "a.png")
    with pytest.raises(DataError, match="24 pixels or more"):
        encode_folder([tmp_path / "empty"], tmp_path / "no", autoencoder, WINDOWS)
    (tmp_path / "out" / "latents.json").write_text("[]")
    with pytest.raises(DataError, match="not readable"):
        read_latents(tmp_path / "out")


def test_a_disk_without_room_is_reported(
    pictures: Path, tmp_path: Path, autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    with pytest.raises(DiffusionError, match="free some space"):
        encode_folder([pictures], tmp_path / "out", autoencoder, WINDOWS)


def test_a_set_of_latents_is_normalized_and_cropped() -> None:
    codes = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 2, 5, 5, 32).half().contiguous()
    sizes = torch.arange(8.0).view(4, 2)
    rows, mean, std = torch.tensor([3, 1]), torch.ones(32), torch.full((32,), 2.0)
    own = LatentSet(codes, sizes, torch.tensor([7, 8]), 4, mean=mean, std=std, rows=rows)
    assert len(own) == 2 and own.shape == (32, 4, 4)
    one = own.take(torch.tensor([0, 1]), None)
    assert one.x0[:, 0, 0, 0].tolist() == [1.0, 0.0] and one.x0.shape == (2, 32, 4, 4)
    assert one.size is not None and one.size.tolist() == [6.0, 2.0]
    draws = Draws(torch.Generator().manual_seed(0), 2, slice(None))
    other = own.take(torch.tensor([1, 1]), draws)
    assert other.condition is not None and other.condition.tolist() == [8, 8]


@pytest.mark.parametrize("size, side", [(128, 136), (256, 264)])
def test_windows_are_a_place_larger_than_a_crop(size: int, side: int) -> None:
    windows = choose_windows(size)
    assert (windows.side, windows.crop * 8, windows.least) == (side, size, side)
