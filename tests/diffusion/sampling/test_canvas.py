"""Pictures before a model on latents, and the model that ships."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion import ConfigError, Denoiser, load, sample, variants
from diffusion.data import read_pictures, to_unit
from diffusion.evaluation.features import Features
from diffusion.model import checkpoint
from diffusion.sampling.canvas import LatentCanvas, make_canvas
from diffusion.sampling.process import trace_process
from diffusion.sampling.sample import load_condition
from search.embedders.mini import Mini

SAMPLES = Path(str(files("search"))) / "samples"
T = TypeVar("T")


@pytest.fixture(scope="module")
def photo() -> Denoiser:
    return load("photo")


def last(work: Iterator[T | None]) -> T:
    *_, result = work
    assert result is not None
    return result


def sample_picture(size: tuple[int, int]) -> Image.Image:
    path = sorted(SAMPLES.glob("*/*.jpg"))[0]
    return Image.open(path).convert("RGB").resize(size, Image.Resampling.LANCZOS)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference, of 255."""
    return float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean())


@torch.inference_mode()
@pytest.mark.parametrize("size", [(128, 128), (130, 75), (33, 97), (1, 40)])
def test_a_picture_of_any_size_comes_back(photo: Denoiser, size: tuple[int, int]) -> None:
    picture = sample_picture(size)
    canvas = last(make_canvas(photo, picture))
    assert isinstance(canvas, LatentCanvas)
    back = last(canvas.render(canvas.x))
    assert back.size == size and difference(back, picture) < 16
    rough = canvas.preview(canvas.x)
    assert rough.size == size and difference(rough, picture) < 45


@torch.inference_mode()
def test_it_denoises_latents_that_it_has_not_seen(photo: Denoiser) -> None:
    """Far better than shrinking the noised latents towards their mean, whose error is known."""
    x0 = photo.encode(to_unit(read_pictures([SAMPLES], 128).images[:24]))
    for sigma in (0.5, 1.0, 2.0):
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
        guess = photo(x0 + sigma * noise, torch.full((len(x0),), sigma))
        shrunk = sigma**2 / (1 + sigma**2)
        assert float((guess - x0).square().mean()) < 0.75 * shrunk


def test_variants_keep_the_shape_and_their_seed(photo: Denoiser) -> None:
    picture = to_unit(read_pictures([SAMPLES], 128).images[0])[:, :64]
    two = variants(photo, picture, 2, regime="near", seed=3)
    one = variants(photo, picture, 1, regime="near", seed=4)
    assert two.shape == (2, 3, 64, 128)
    assert float((two[1] - one[0]).abs().max()) <= 2 / 127.5
    near, far = (variants(photo, picture, 1, sigma=s)[0] for s in (0.5, 5.0))
    assert float((near - picture).abs().mean()) < float((far - picture).abs().mean())
    with pytest.raises(ConfigError, match="multiples of 32"):
        variants(photo, picture[:, :60], 1)


def test_samples_are_pictures(photo: Denoiser) -> None:
    samples = sample(photo, 2, steps=4)
    assert samples.shape == (2, 3, 128, 128) and float(samples.std()) > 0.1


def test_a_weak_model_guides_it(photo: Denoiser) -> None:
    assert photo.weak is not None and photo.weak.config.preset == "photo-weak"
    x, sigma = torch.randn(1, 32, 4, 4), torch.tensor([2.0], dtype=torch.float64)
    strong, weak = photo(x, sigma), photo.weak(x, sigma)
    guided = photo.make_denoise_function(None, 2.0)(x, 2.0)
    assert torch.allclose(guided, weak + 2 * (strong - weak), atol=1e-4)
    assert torch.equal(photo.make_denoise_function(None, 2.0, (3.0, 9.0))(x, 2.0), strong)


def test_the_card_is_of_these_weights(photo: Denoiser) -> None:
    mini = Mini()
    encoder = photo.about["encoder"]
    assert encoder["name"] == "mini"  # under the decode rule of its training, or a later one
    assert encoder["fingerprint"] in {mini.fingerprint, *mini.earlier_fingerprints}
    card = checkpoint.shipped_path("photo").with_suffix(".md").read_text()
    count = sum(weight.numel() for weight in photo.net.parameters())
    assert f"{count / 1e6:.1f} M parameters" in card
    assert f"{photo.about['step']:,} steps" in card and f"{photo.about['pictures']:,}" in card


def test_a_model_on_latents_wants_its_own_autoencoder(photo: Denoiser) -> None:
    from diffusion.model.autoencoder import Autoencoder

    with pytest.raises(ConfigError, match="autoencoder"):
        Denoiser(photo.config).encode(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ConfigError, match="autoencoder"):
        Denoiser(photo.config).use_autoencoder(Autoencoder())


def test_its_features_tell_pictures_apart_and_its_process_is_refused(photo: Denoiser) -> None:
    pictures = read_pictures([SAMPLES], 128).images[:4]
    rows = Features(photo, "middle.0", sigma=0.5)(pictures)
    assert rows.shape[0] == 4 and bool(rows.isfinite().all())
    assert float(torch.cdist(rows, rows).fill_diagonal_(9.0).min()) > 0
    with pytest.raises(ConfigError, match="latents"):
        trace_process(photo, sample_picture((128, 128)), steps=4, columns=2)


def test_samples_without_a_condition_take_vectors_of_the_bank(photo: Denoiser) -> None:
    some = load_condition(photo, 3, seed=5)
    assert some is not None and some.shape == (3, photo.config.shape.width)
    assert torch.allclose(some.norm(dim=1), torch.ones(3), atol=1e-2)
    again = load_condition(photo, 1, seed=7)
    assert again is not None and torch.equal(again[0], some[2])
    assert load_condition(load(), 3) is None
