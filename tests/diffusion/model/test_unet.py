"""The network: shapes, cost, initial weights, time and condition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from diffusion.errors import ConfigError
from diffusion.model.presets import Config, preset
from diffusion.model.unet import Attention, Shape, UNet, sinusoidal_embedding

SMALL = Shape((32, 64), 2, (False, True), patch=2)


def lively(shape: Shape, seed: int = 0) -> UNet:
    """Return a network whose zero weights are random, as after training."""
    torch.manual_seed(seed)
    net = UNet(shape)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return net.eval().requires_grad_(False)


def pictures(count: int, height: int, width: int | None = None) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, height, width or height, generator=rng)


@pytest.mark.parametrize("name", ["article", "base", "classic", "tiny"])
def test_presets_cost_what_they_promise(name: str) -> None:
    parameters, gflop = {
        "tiny": (3e6, 0.6),
        "base": (16e6, 5),
        "article": (24e6, 15),
        "classic": (30e6, 22),
    }[name]
    with torch.device("meta"):
        net, x = UNet(preset(name).shape), torch.zeros(1, 3, 64, 64)
        with FlopCounterMode(display=False) as counter:
            assert net(x, torch.zeros(1)).shape == x.shape
    count = sum(parameter.numel() for parameter in net.parameters())
    assert 0.8 * parameters < count <= parameters
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, rel=0.05)


def test_a_stem_of_two_makes_64_pixels_cost_what_32_do() -> None:
    counts = []
    with torch.device("meta"):
        for patch, side in ((1, 32), (2, 64)):
            net = UNet(replace(preset("tiny").shape, patch=patch))
            with FlopCounterMode(display=False) as counter:
                net(torch.zeros(1, 3, side, side), torch.zeros(1))
            counts.append(counter.get_total_flops())
    assert counts[1] == pytest.approx(counts[0], rel=0.05)


@pytest.mark.parametrize("side", [(64, 64), (32, 32), (48, 48), (96, 96), (32, 64), (8, 40)])
@pytest.mark.parametrize("scale_shift", [True, False])
def test_any_size_goes_that_the_levels_divide(side: tuple[int, int], scale_shift: bool) -> None:
    """The article's attention is built for pictures of 64 pixels and no others."""
    shape = Shape((32, 32, 32, 32), 1, (False, True, True, True), scale_shift=scale_shift)
    assert shape.multiple == 8
    x = pictures(2, *side)
    y = lively(shape)(x, torch.tensor([0.0, 999.0]))
    assert y.shape == x.shape and y.isfinite().all()


def test_attention_looks_at_all_places_at_any_size() -> None:
    torch.manual_seed(0)
    attention = Attention(32, 16)
    torch.nn.init.eye_(attention.out.weight)
    for side in (3, 8, 11):
        x = torch.randn(1, 32, side, side)
        moved = x.clone()
        moved[..., 0, 0] += 1
        change = (attention(moved) - attention(x)).abs().amax(1)[0]
        assert (change > 0).all()
        turned = attention(x.rot90(1, (2, 3))) - attention(x).rot90(1, (2, 3))
        assert turned.abs().max() < 1e-5  # places have no order


def test_a_network_begins_by_saying_nothing() -> None:
    for shape in (SMALL, replace(SMALL, condition="class", width=3)):
        x = pictures(2, 16)
        assert not UNet(shape)(x, torch.tensor([1.0, 2.0])).any()


def test_a_vector_begins_by_telling_nothing() -> None:
    shape = replace(SMALL, condition="vector", width=512)
    assert not UNet(shape).condition_embedding.weight.any()
    net, x, time = lively(shape), pictures(2, 16), torch.tensor([10.0, 500.0])
    vectors = torch.nn.functional.normalize(torch.randn(2, 512), dim=1)
    assert not torch.allclose(net(x, time, vectors), net(x, time))
    net.condition_embedding.weight.zero_()  # with initial weights, in a trained network
    assert torch.equal(net(x, time, vectors), net(x, time))


@pytest.mark.parametrize("width", [3, 512])
def test_zeros_are_no_vector(width: int) -> None:
    net = lively(replace(SMALL, condition="vector", width=width))
    x, time = pictures(2, 16), torch.tensor([10.0, 500.0])
    assert torch.equal(net(x, time, torch.zeros(2, width)), net(x, time, None))
    half = torch.nn.functional.normalize(torch.randn(2, width), dim=1).half()
    assert torch.equal(net(x, time, half), net(x, time, half.float()))


def test_minus_one_is_no_class() -> None:
    net = lively(replace(SMALL, condition="class", width=3))
    x, time = pictures(1, 16).expand(4, -1, -1, -1), torch.full((4,), 20.0)
    output = net(x, time, torch.tensor([0, 1, 2, -1]))
    assert all(not torch.allclose(output[i], output[j]) for i in range(4) for j in range(i))
    assert torch.equal(net(x, time, None)[3], output[3])
    assert torch.equal(net(x, time, torch.full((4,), -1)), net(x, time, None))


def test_what_a_condition_tells_stays_with_its_picture() -> None:
    net = lively(replace(SMALL, condition="class", width=3))
    x, time = pictures(3, 16), torch.tensor([5.0, 50.0, 500.0])
    together = net(x, time, torch.tensor([2, -1, 0]))
    alone = [
        net(x[i : i + 1], time[i : i + 1], torch.tensor([c])) for i, c in enumerate((2, -1, 0))
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_network_is_told_the_time() -> None:
    for scale_shift in (True, False):
        net = lively(replace(SMALL, scale_shift=scale_shift))
        x = pictures(1, 16).expand(3, -1, -1, -1)
        output = net(x, torch.tensor([0.0, 1.0, 999.0]))
        assert not torch.allclose(output[0], output[1]) and not torch.allclose(output[1], output[2])


def test_the_clock_is_sines_and_cosines() -> None:
    embedding = sinusoidal_embedding(torch.tensor([0.0, 3.0]), 8)
    assert embedding.shape == (2, 8)
    assert embedding[0].tolist() == [0] * 4 + [1] * 4
    for i in range(4):
        angle = torch.tensor(3 / 10_000 ** (i / 4))
        assert embedding[1, i] == pytest.approx(angle.sin().item(), abs=1e-6)
        assert embedding[1, 4 + i] == pytest.approx(angle.cos().item(), abs=1e-6)


def test_blocks_are_named_in_the_order_in_which_they_run() -> None:
    net, ran = lively(SMALL), list[str]()
    for name in net.block_names:
        net.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    net(pictures(1, 16), torch.zeros(1))
    assert ran == net.block_names
    assert ran == [
        *("down.0.0", "down.0.1", "down.1.0", "down.1.1"),
        *("middle.0", "middle.1"),
        *("up.1.0", "up.1.1", "up.0.0", "up.0.1"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": ()},
        {"attention": (True,)},
        {"channels": (32, 40)},
        {"channels": (0, 32)},
        {"head": 0},
        {"blocks": 0},
        {"patch": 0},
        {"condition": "text", "width": 3},
        {"condition": "class"},
        {"width": 5},
    ],
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="shape"):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("condition", [("none", 0), ("class", 7), ("vector", 512)])
@pytest.mark.parametrize("name", ["article", "base", "tiny"])
def test_a_configuration_goes_through_json(name: str, condition: tuple[str, int]) -> None:
    config = preset(name).with_condition(*condition)
    assert Config.from_json(config.to_json()) == config
    assert config.shape.condition == condition[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 30},
        {"size": 0},
        {"target": "score"},
        {"weighting": "snr"},
        {"sigma_data": 0.0},
        {"sigma_data": float("nan")},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(wrong.values())))):
        replace(preset("tiny"), **wrong)  # type: ignore[arg-type]


def test_the_articles_preset_is_the_articles() -> None:
    config = preset("article")
    assert (config.noise, config.steps, config.target) == ("linear", 1000, "eps")
    assert config.weighting == "uniform" and not config.shape.scale_shift
    assert any(config.shape.attention)
    with pytest.raises(ConfigError, match="article, classic, tiny, base"):
        preset("huge")
