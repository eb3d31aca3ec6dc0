"""Features: activations of a block, against those of a whole forward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from diffusion import Config, Denoiser, Shape
from diffusion.data import to_bytes
from diffusion.errors import ConfigError, DataError
from diffusion.evaluation.features import Features

SMALL = Config(
    "small", Shape((16, 32), 2, (False, True), head=16, patch=2), size=16, sigma_data=0.6
)


def model(config: Config = SMALL) -> Denoiser:
    """Return a network without zero weights."""
    torch.manual_seed(3)
    network = Denoiser(config).eval().requires_grad_(False)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    return network


def pictures(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def whole(network: Denoiser, x0: Tensor, sigma: float, seed: int) -> dict[str, Tensor]:
    """Pooled outputs of all blocks in one whole forward."""
    eps = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(seed))
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        outputs[name] = output.mean((2, 3))

    hooks = [
        network.net.get_submodule(name).register_forward_hook(
            lambda net, inputs, output, name=name: keep(name, output)
        )
        for name in network.net.block_names
    ]
    network(x0 + sigma * eps, torch.full((len(x0),), sigma))
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, noise="linear", target="eps")])
def test_features_of_every_block_are_those_of_a_whole_forward(config: Config) -> None:
    network, x0 = model(config), pictures()
    expected = whole(network, x0, 0.7, seed=5)
    assert list(expected) == network.net.block_names
    for block, reference in expected.items():
        features = Features(network, block, 0.7, seed=5)(x0)
        assert features.dtype == torch.float32 and features.shape == reference.shape
        torch.testing.assert_close(features, reference)


def test_the_forward_ends_behind_the_block() -> None:
    network, ran = model(), list[str]()
    for name in network.net.block_names:
        network.net.get_submodule(name).register_forward_hook(
            lambda net, inputs, output, name=name: ran.append(name)
        )
    for i, name in enumerate(network.net.block_names):
        ran.clear()
        Features(network, name, 1.0)(pictures(1))
        assert ran == network.net.block_names[: i + 1]


def test_k_noises_are_averaged() -> None:
    network, x0 = model(), pictures()
    alone = [Features(network, "up.1.0", 0.5, seed=7 + i)(x0) for i in range(3)]
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    mean = Features(network, "up.1.0", 0.5, k=3, seed=7)(x0)
    torch.testing.assert_close(mean, torch.stack(alone).mean(0))


def test_the_cells_of_a_grid_average_to_the_mean() -> None:
    network, x0 = model(), pictures(3)
    whole = Features(network, "up.0.1", 0.5)(x0)
    cells = Features(network, "up.0.1", 0.5, grid=2)(x0)
    assert cells.shape == (3, 4 * whole.shape[1])
    torch.testing.assert_close(cells.view(3, -1, 4).mean(2), whole)


def test_a_picture_has_the_same_features_alone_and_among_others() -> None:
    encode, x0 = Features(model(), "middle.0", 0.5, k=2), pictures(70)  # more than a batch
    together = encode(x0)
    for i in (0, 63, 64, 69):
        torch.testing.assert_close(encode(x0[i : i + 1])[0], together[i], rtol=0, atol=2e-5)


def test_bytes_are_pictures_too() -> None:
    encode, x0 = Features(model(), "down.0.0", 0.5), to_bytes(pictures())
    torch.testing.assert_close(encode(x0), encode(x0.float() / 127.5 - 1))


@pytest.mark.parametrize(("kind", "width", "none"), [("vector", 8, 0), ("class", 4, -1)])
def test_a_conditioned_model_runs_without_its_condition(kind: str, width: int, none: int) -> None:
    network, x0 = model(SMALL.with_condition(kind, width)), pictures(2)
    features = Features(network, "up.0.1", 0.5)(x0)
    empty = torch.full((2, width) if kind == "vector" else (2,), none)
    outputs: list[Tensor] = []
    block = network.net.get_submodule("up.0.1")
    block.register_forward_hook(lambda net, inputs, output: outputs.append(output.mean((2, 3))))
    eps = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    network(x0 + 0.5 * eps, torch.full((2,), 0.5), empty)
    torch.testing.assert_close(features, outputs[0])


def test_wrong_options_are_refused() -> None:
    network = model()
    with pytest.raises(ConfigError) as caught:
        Features(network, "down.7", 1.0)
    assert all(name in str(caught.value) for name in network.net.block_names)
    for options in (
        {"sigma": 0.0},
        {"sigma": 1e9},
        {"sigma": 1.0, "k": 0},
        {"sigma": 1.0, "grid": 0},
        {"sigma": float("nan")},
    ):
        with pytest.raises(ConfigError):
            Features(network, "middle.0", **options)
    for shape in ((2, 3, 8, 8), (3, 16, 16), (2, 1, 16, 16)):
        with pytest.raises(DataError):
            Features(network, "middle.0", 1.0)(torch.zeros(shape))
