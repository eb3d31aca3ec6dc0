"""Pictures as a trainer takes them: crops, transformations and their labels, validation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training import CONFIG
from PIL import Image

from diffusion import Denoiser
from diffusion.data import read_pictures
from diffusion.training.augment import LABELS, augment
from diffusion.training.draws import Draws
from diffusion.training.inputs import split_names
from diffusion.training.sets import PixelSet
from diffusion.training.validation import Validation


def draws(count: int, seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), count, slice(None))


def test_crops_lie_within_the_picture_and_differ() -> None:
    ramp = torch.arange(18, dtype=torch.uint8).view(1, 1, 1, 18).expand(1, 3, 18, 18).contiguous()
    own = PixelSet(ramp, None, flip=False, crop=16)
    assert own.shape == (3, 16, 16)
    places = torch.zeros(60, dtype=torch.int64)
    first = (own.take(places, draws(60)).x0[:, 0, 0, 0] + 1) * 127.5
    assert set(first.round().int().tolist()) == {0, 1, 2}
    middle = (own.take(places[:1], None).x0[0, 0, 0, 0] + 1) * 127.5
    assert round(float(middle)) == 1


def smooth(count: int, side: int = 32) -> torch.Tensor:
    """A bright disc to the upper left of the middle."""
    line = torch.linspace(-1, 1, side)
    disc = torch.exp(-((line[:, None] + 0.4) ** 2 + (line[None] + 0.3) ** 2) / 0.05)
    return disc.expand(count, 3, side, side).contiguous()


def test_without_any_transformation_pictures_and_labels_are_plain() -> None:
    x = smooth(5)
    same, labels = augment(x, draws(5), 0.0)
    assert torch.equal(same, x) and torch.equal(labels, torch.zeros(5, LABELS))


def test_labels_say_what_was_done() -> None:
    """The labels give the position of the disc."""
    count, x = 400, smooth(400)
    changed, labels = augment(x, draws(count), 0.5)
    plain = (labels == 0).all(1)
    assert 0 < int(plain.sum()) < 60 and torch.equal(changed[plain], x[plain])
    line = torch.linspace(-1, 1, 32)
    total = changed[:, 0].sum((1, 2))
    right = (changed[:, 0].sum(1) * line).sum(1) / total
    only = {name: (labels[:, [i for i in range(LABELS) if i != at]] == 0).all(1) & ~plain
            for name, at in (("mirror", 0), ("turn", 1))}  # fmt: skip
    assert only["mirror"].any()
    assert torch.allclose(changed[only["mirror"]], x[:1].flip(-1), atol=1e-5)
    assert torch.allclose(right[only["mirror"]], torch.tensor(0.3), atol=0.02)
    assert torch.allclose(changed[only["turn"]], x[:1].flip(-2), atol=1e-5)
    assert labels.abs().max() < 10 and torch.isfinite(changed).all()


def test_processes_augment_alike() -> None:
    x, generator = smooth(6), lambda: torch.Generator().manual_seed(3)
    whole = augment(x, Draws(generator(), 6, slice(None)), 0.7)
    parts = [augment(x[s], Draws(generator(), 6, s), 0.7) for s in (slice(0, 2), slice(2, 6))]
    for i in range(2):
        assert torch.allclose(torch.cat([part[i] for part in parts]), whole[i], atol=1e-6)


def test_a_network_knows_its_labels_and_ignores_none() -> None:
    from dataclasses import replace

    shape = replace(CONFIG.shape, augmentation=LABELS)
    torch.manual_seed(0)
    model = Denoiser(replace(CONFIG, shape=shape)).eval()
    for parameter in model.net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, time = torch.randn(2, 3, 16, 16), torch.zeros(2)
    plain = model.net(x, time)
    assert torch.equal(plain, model.net(x, time, augmentation=torch.zeros(2, LABELS)))
    assert not torch.equal(plain, model.net(x, time, augmentation=torch.ones(2, LABELS)))


def test_the_split_is_the_same_each_time_and_of_the_share() -> None:
    names = [f"{i}.jpg" for i in range(1000)]
    held, trained = split_names(names, 0.02)
    assert len(held) == 20 and sorted(held + trained) == list(range(1000))
    shuffled = names[::-1]
    again, _ = split_names(shuffled, 0.02)
    assert {shuffled[i] for i in again} == {names[i] for i in held}
    assert split_names(names[:100], 0.02)[0] == [] and split_names(names, 0.0)[0] == []


def test_the_validation_loss_is_that_of_a_known_model() -> None:
    """A network of zeros predicts v = 0: its loss is the mean square of the target."""
    images = torch.full((40, 3, 16, 16), 128, dtype=torch.uint8)
    model = Denoiser(CONFIG).eval()  # the last layer begins with zeros
    validation = Validation(PixelSet(images, None))
    loss = validation(model)
    assert loss == validation(model)
    data = CONFIG.sigma_data
    levels = model.schedule.draw_sigmas((torch.arange(40) + 0.5).double() / 40)
    # v = (c_skip x - x_0) / (sigma sigma_data c_in), with x_0 = 0
    expected = (data**2 / (levels**2 + data**2)).mean() / 1.0
    assert loss == pytest.approx(float(expected), rel=0.05)


def test_pixels_beyond_memory_are_mapped_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for i in range(5):
        pixels = random.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        (tmp_path / "data").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{i}.png")
    (tmp_path / "data" / "broken.png").write_bytes(b"x")
    plain = read_pictures([tmp_path / "data"], 8, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr("diffusion.data.MEMORY", 100)
    mapped = read_pictures([tmp_path / "data"], 8, tmp_path / "cache")
    decoded = list[int]()

    def on_progress(done: int, _: int) -> None:
        decoded.append(done)

    again = read_pictures([tmp_path / "data"], 8, tmp_path / "cache", on_progress)
    assert not decoded  # the pixels of the file are taken
    for one in (mapped, again):
        assert torch.equal(one.images, plain.images) and one.names == plain.names
        assert one.skipped == plain.skipped and one.side == plain.side
    Image.new("RGB", (9, 9)).save(tmp_path / "data" / "0.png")
    changed = read_pictures([tmp_path / "data"], 8, tmp_path / "cache")
    assert not torch.equal(changed.images[0], plain.images[0])
    assert math.isclose(float(changed.images[0].float().mean()), 0.0)
