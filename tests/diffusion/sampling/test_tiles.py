"""Restoration by a denoiser: tiles of any size, and painting of unknown parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from diffusion import Config, Denoiser, Shape, load
from diffusion.errors import ConfigError
from diffusion.sampling.restoration import denoise_tiles, paint_states


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ddpm() -> Denoiser:
    return load("ddpm")


class Mean(Denoiser):
    """Estimates x_0 as a half of x."""

    def forward(self, x: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return x / 2


@pytest.fixture
def mean() -> Denoiser:
    return Mean(Config("small", Shape((16, 32), 1, (False, True), head=16), size=16)).eval()


@pytest.mark.parametrize("size", [(3, 5), (1, 90), (16, 16), (61, 130), (129, 257)])
def test_tiles_join_without_a_seam(mean: Denoiser, size: tuple[int, int]) -> None:
    picture = torch.rand(3, *size) * 2 - 1
    *waits, last = denoise_tiles(mean, picture, 0.5, tile=48)
    assert last is not None and set(waits) == {None}
    torch.testing.assert_close(last, picture / 2)


@torch.inference_mode()
def test_the_shipped_model_removes_noise_at_sizes_it_was_not_trained_on(ddpm: Denoiser) -> None:
    rows = torch.linspace(0, 9, 150)
    clean = 0.6 * torch.sin(rows[:, None] + 0.7 * rows[None]).expand(3, 150, 150)
    noisy = clean + 0.4 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    *_, restored = denoise_tiles(ddpm, noisy, 0.4)
    assert restored is not None
    assert (restored - clean).square().mean() < (noisy - clean).square().mean() / 10


@torch.inference_mode()
def test_known_parts_are_kept_and_unknown_ones_do_not_matter(ddpm: Denoiser) -> None:
    start = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    unknown = torch.zeros(1, 64, 64, dtype=torch.bool)
    unknown[:, 20:44, 20:44] = True
    other = torch.where(unknown, torch.tensor(0.9), start)
    runs = [list(paint_states(ddpm, one, unknown, 3, 4, 2)) for one in (start, other)]
    assert len(runs[0]) == 4 * 2 - 1
    torch.testing.assert_close(runs[0][-1], runs[1][-1])
    known = ~unknown.expand(3, -1, -1)
    torch.testing.assert_close(runs[0][-1][known], start[known])
    assert not torch.equal(runs[0][-1], list(paint_states(ddpm, start, unknown, 4, 4, 2))[-1])


def test_wrong_arguments_are_refused(ddpm: Denoiser) -> None:
    picture = torch.zeros(3, 16, 16)
    with pytest.raises(ConfigError):
        next(denoise_tiles(ddpm, picture, 0))
    with pytest.raises(ConfigError):
        next(paint_states(ddpm, picture, torch.zeros(1, 8, 8, dtype=torch.bool)))
    with pytest.raises(ConfigError):
        next(paint_states(ddpm, picture, torch.zeros(1, 16, 16, dtype=torch.bool), rounds=0))
