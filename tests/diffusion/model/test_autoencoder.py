"""The autoencoder in the package: its shapes, its round trip, files that are not it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.project import SAMPLES

from diffusion import CheckpointError
from diffusion.data import read_pictures, to_unit
from diffusion.model.autoencoder import CHANNELS, DOWNSAMPLING, Autoencoder, load_autoencoder


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return load_autoencoder()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return to_unit(read_pictures([SAMPLES], 128).images[:16])


@torch.inference_mode()
def test_a_round_trip_keeps_photographs(autoencoder: Autoencoder, pictures: torch.Tensor) -> None:
    """About 26 dB over photographs of 256 px; smaller ones have more detail in a pixel."""
    latents = autoencoder.encode(pictures)
    assert latents.shape == (16, CHANNELS, 128 // DOWNSAMPLING, 128 // DOWNSAMPLING)
    assert abs(float(latents.mean())) < 0.2 and 0.6 < float(latents.std()) < 1.1
    error = ((autoencoder.decode(latents) - pictures) / 2).square().flatten(1).mean(1)
    assert float(-10 * error.log10().mean()) > 22
    assert float(((pictures.roll(1, 0) - pictures) / 2).square().mean()) > 4 * float(error.mean())


@torch.inference_mode()
def test_a_little_noise_in_latents_is_hardly_seen(
    autoencoder: Autoencoder, pictures: torch.Tensor
) -> None:
    latents = autoencoder.encode(pictures)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)) * latents.std()
    plain, little, much = (autoencoder.decode(latents + s * noise) for s in (0.0, 0.25, 2.0))
    assert float((little - plain).abs().mean()) < 0.06 < 0.15 < float((much - plain).abs().mean())


@torch.inference_mode()
def test_it_takes_any_multiple_of_eight(autoencoder: Autoencoder) -> None:
    latents = autoencoder.encode(torch.zeros(1, 3, 40, 64))
    assert latents.shape == (1, CHANNELS, 5, 8)
    picture = autoencoder.decode(latents)
    assert picture.shape == (1, 3, 40, 64) and float(picture.abs().max()) <= 1


def test_its_fingerprint_follows_the_weights(autoencoder: Autoencoder) -> None:
    assert autoencoder.fingerprint == load_autoencoder().fingerprint
    assert autoencoder.fingerprint != Autoencoder().fingerprint


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", Path(__file__)):
        with pytest.raises(CheckpointError, match="reinstall"):
            load_autoencoder(path=path)
