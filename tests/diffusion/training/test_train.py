"""The trainer, step by step: batches, updates and states."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.training import CONFIG, RECIPE, blocks, paint

from diffusion import Config, Denoiser, Shape, sample
from diffusion.data import read_pictures, to_unit
from diffusion.errors import ConfigError, TrainingError
from diffusion.model.precision import supports_bf16
from diffusion.model.schedule import DiscreteSchedule
from diffusion.training.devices import Speed, World, choose_device, choose_speed
from diffusion.training.recipe import Recipe, plateau
from diffusion.training.sets import PixelSet
from diffusion.training.trainer import Trainer


def pictures(count: int) -> torch.Tensor:
    """Return pictures of one grey each, so that a batch shows which ones it has."""
    greys = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return greys.expand(-1, 3, 16, 16).contiguous()


def trainer(
    config: Config = CONFIG,
    images: torch.Tensor | None = None,
    conditions: torch.Tensor | None = None,
    seed: int = 0,
    world: Any = None,
    accumulate: int = 1,
    **recipe: Any,
) -> Any:
    torch.manual_seed(0)
    model = Denoiser(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = pictures(20) if images is None else images
    changed = replace(RECIPE, **recipe)
    pixels = PixelSet(images, conditions, changed.flip)
    place = world or World()
    return Trainer(model, [pixels], changed, seed, place, accumulate=accumulate)


def shown(batch: Any) -> list[int]:
    """Return the indices of a batch's pictures."""
    return ((batch.x0.mean((1, 2, 3)) + 1) * 127.5).round().int().tolist()


def test_every_picture_comes_once_an_epoch_and_in_another_order() -> None:
    one = trainer(batch=8)
    indices = [i for step in range(10) for i in shown(one.batch(step))]
    rounds = [indices[i : i + 20] for i in range(0, 80, 20)]
    assert all(sorted(part) == list(range(20)) for part in rounds)
    assert len({tuple(part) for part in rounds}) == 4
    assert rounds[0] != [i for s in range(3) for i in shown(trainer(seed=1, batch=8).batch(s))][:20]


def test_a_batch_may_be_larger_than_the_data() -> None:
    indices = shown(trainer(images=pictures(3), batch=10).batch(1))
    assert len(indices) == 10 and set(indices) == {0, 1, 2}
    assert max(indices.count(i) for i in range(3)) <= 5


def test_a_step_follows_from_its_number_and_the_seed_alone() -> None:
    one, other = trainer(), trainer()
    one.batch(3), torch.rand(5)
    for step in (7, 2):
        ours, theirs = one.batch(step), other.batch(step)
        assert torch.equal(ours.x0, theirs.x0) and torch.equal(ours.eps, theirs.eps)
        assert torch.equal(ours.sigma, theirs.sigma)
    assert not torch.equal(one.batch(2).eps, one.batch(3).eps)
    assert not torch.equal(one.batch(2).eps, trainer(seed=1).batch(2).eps)


def test_noise_is_standard_and_its_levels_are_the_schedules() -> None:
    one = trainer(batch=512)
    batch = one.batch(0)
    assert abs(batch.eps.mean().item()) < 0.01 and abs(batch.eps.std().item() - 1) < 0.01
    assert batch.x0.abs().max() <= 1 and batch.sigma.dtype == torch.float64
    assert batch.sigma.log().mean().item() == pytest.approx(-0.5, abs=0.25)


def test_the_first_step_of_the_schedule_is_trained() -> None:
    """The article's code draws t from 1; its first step, t = 0 here, is sampled untrained."""
    config = replace(CONFIG, noise="linear", steps=4)
    one = trainer(config, batch=256)
    noise = one.model.schedule
    assert isinstance(noise, DiscreteSchedule)
    sigmas, counts = one.batch(0).sigma.unique(return_counts=True)
    assert torch.equal(sigmas, noise.sigmas) and counts.min() > 40
    times = set[float]()
    forward = one.model.net.forward
    one.model.net.forward = lambda x, t, c, **_: times.update(t.tolist()) or forward(x, t, c)
    one.advance(10)
    assert times == {0, 250, 500, 750}


@pytest.mark.parametrize("kind", ["class", "vector"])
def test_each_picture_has_a_coin_of_its_own(kind: str) -> None:
    """The article's code tosses one for a whole batch."""
    width = 20 if kind == "class" else 4
    conditions = torch.arange(20) if kind == "class" else torch.ones(20, 4)
    one = trainer(CONFIG.with_condition(kind, width), conditions=conditions, batch=400, drop=0.3)
    batch = one.batch(0)
    dropped = batch.condition == -1 if kind == "class" else (batch.condition == 0).all(1)
    assert 0.2 < dropped.float().mean().item() < 0.4
    if kind == "class":  # the other conditions are the pictures' own
        own = torch.tensor(shown(batch))
        assert torch.equal(batch.condition[~dropped], own[~dropped])
    assert not torch.equal(dropped, one.batch(1).condition.view(400, -1)[:, 0] < 1)
    always, never = (
        trainer(one.model.config, conditions=conditions, drop=drop).batch(0).condition
        for drop in (1.0, 0.0)
    )
    assert (always <= 0).all() and (kind == "class" or (never == 1).all())


def test_a_model_that_could_be_told_more_is_told_nothing() -> None:
    for kind, width in (("class", 3), ("vector", 4)):
        batch = trainer(CONFIG.with_condition(kind, width)).batch(0)
        assert (batch.condition == (-1 if kind == "class" else 0)).all()


def test_half_of_the_pictures_are_mirrored_or_none() -> None:
    ramp = torch.arange(16, dtype=torch.uint8).expand(20, 3, 16, 16).contiguous()
    batch = trainer(images=ramp, batch=400, flip=True).batch(0)
    mirrored = (batch.x0[:, 0, 0, 0] > batch.x0[:, 0, 0, -1]).float().mean().item()
    assert 0.4 < mirrored < 0.6
    batch = trainer(images=ramp, batch=400, flip=False).batch(0)
    assert torch.equal(batch.x0, to_unit(ramp[:1]).expand(400, -1, -1, -1))


def test_processes_share_one_batch() -> None:
    conditions = torch.arange(20)
    config = CONFIG.with_condition("class", 20)
    whole = trainer(config, conditions=conditions, batch=7).batch(3)
    parts = [Trainer.batch(trainer_of(rank, config, conditions), 3) for rank in range(3)]
    for name in ("x0", "sigma", "eps", "condition"):
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(together, getattr(whole, name))


def test_a_batch_is_at_least_one_picture_a_process() -> None:
    with pytest.raises(ConfigError, match="batch of 2"):
        trainer(world=World(0, 3), batch=2)


def trainer_of(rank: int, config: Config, conditions: torch.Tensor) -> Any:
    """A trainer of three that train together, without communication."""
    one = trainer(config, conditions=conditions, batch=7)
    one.world = World(rank, 3)
    return one


def test_a_step_clips_the_gradient_and_follows_the_rate() -> None:
    one = trainer(warmup=4, lr=1e-2, averages=("power:0.1",))
    before = [p.detach().clone() for p in one.model.net.parameters()]
    loss = one.advance(100)
    assert loss.isfinite() and not loss.requires_grad and one.step == 1
    grads = [p.grad for p in one.model.net.parameters()]
    assert torch.cat([g.flatten() for g in grads]).norm().item() <= RECIPE.clip * 1.01
    assert one.optimiser.param_groups[0]["lr"] == pytest.approx(1e-2 / 4)
    assert any(
        not torch.equal(a, b) for a, b in zip(before, one.model.net.parameters(), strict=True)
    )


def test_the_learning_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(batch=1, lr=1.0 - 1e-9, warmup=10)
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:75] == pytest.approx([1] * 65) and plateau(100) == 75
    assert rates[75:] == pytest.approx([(100 - i) / 25 for i in range(75, 100)])
    longer = [recipe.rate(step, 200) for step in range(200)]
    assert longer[:75] == rates[:75]  # a longer run only lengthens what stays
    assert recipe.rate(0, 1) > 0
    short = [recipe.rate(step, 20) for step in range(20)]
    assert short[:3] == pytest.approx([0.5, 1, 1])  # it rises over a tenth of the run at most


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"lr": 0.0}, {"lr": 1.0}, {"drop": 1.1}])
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(RECIPE, **wrong)


def test_a_state_is_all_there_is() -> None:
    """Another trainer that loads a state does the same steps, bit for bit."""
    dropping = replace(CONFIG, shape=replace(CONFIG.shape, dropout=0.2))
    one, other = trainer(dropping), trainer(dropping, seed=0)
    for _ in range(3):
        one.advance(10)
    saved = {name: value.detach().clone().contiguous() for name, value in one.state().items()}
    for _ in range(3):
        one.advance(10)
    for _ in range(2):
        other.advance(10)  # a different state, which is overwritten
    other.restore(saved, 3)
    for _ in range(3):
        other.advance(10)
    ours, theirs = one.state(), other.state()
    assert ours.keys() == theirs.keys() and one.step == other.step == 6
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], saved[name]) for name in ours)


def test_a_state_of_another_model_is_refused() -> None:
    one = trainer()
    one.advance(10)
    wider = trainer(replace(CONFIG, shape=replace(CONFIG.shape, channels=(32, 32))))
    for state in (one.state(), {}):
        with pytest.raises(TrainingError, match="another model"):
            wider.restore(state, 1)
    with pytest.raises(TrainingError, match="another network"):
        wider.begin_from(one.model.net.state_dict())


def test_a_state_with_the_keys_of_version_1_is_restored() -> None:
    one, other = trainer(), trainer(seed=1)
    one.advance(10)
    saved = {
        key.replace("time_embedding", "clock").replace("condition_projection", "told"): value
        for key, value in one.state().items()
    }
    assert "adam.exp_avg.clock.0.weight" in saved
    other.restore(saved, 1)
    ours, theirs = one.state(), other.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_to_begin_from_are_in_the_average_too() -> None:
    one, other = trainer(), trainer()
    one.advance(10)
    other.begin_from(one.model.net.state_dict())
    for name, weight in one.model.net.named_parameters():
        assert torch.equal(other.average.weights[name], weight)


def test_a_gradient_that_is_no_number_is_told() -> None:
    one = trainer()
    assert one.advance(10).isfinite()
    one.model.net.stem.weight.register_hook(lambda grad: grad * float("inf"))
    assert not one.advance(10).isfinite()


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7", "cuda:x", "mps", "tpu", ""])
def test_a_device_that_is_not_there_is_refused(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no such device"):
        choose_device(device)
    assert choose_device("auto") == choose_device("cpu") == "cpu"


def test_devices_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, resolved in {"auto": "cuda:0", "cuda": "cuda:0", "cuda:1": "cuda:1"}.items():
        assert choose_device(device) == resolved
    assert choose_device("cpu") == "cpu"
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "1")
    assert (choose_device("auto"), choose_device("cuda")) == ("cuda:1", "cuda:1")
    for device in ("cuda:2", "cuda:x"):
        with pytest.raises(ConfigError, match="no such device"):
            choose_device(device)


@pytest.mark.parametrize(
    ("able", "fast"), [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({}, False)]
)
def test_a_processor_may_have_instructions_for_bfloat16(
    able: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert supports_bf16(torch.device("cpu")) is fast
    assert supports_bf16(torch.device("cuda")) and not supports_bf16(torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not supports_bf16(torch.device("cpu"))


@pytest.mark.parametrize("best", [Speed(True, 2), Speed(True, 1), Speed(False, 2), Speed(False, 1)])
def test_the_fastest_precision_and_threads_are_chosen(
    best: Speed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    tried = list[Speed]()

    def measure(one: Speed, _: object) -> float:
        tried.append(one)
        return 1.0 if one == best else 2.0

    monkeypatch.setattr("diffusion.training.devices.measure_seconds", measure)
    assert choose_speed("auto", torch.device("cpu"), lambda _: None) == best
    assert len(set(tried)) == 4


def test_a_precision_that_was_asked_for_is_not_timed() -> None:
    def work(_: bool) -> None:
        raise AssertionError

    assert choose_speed("bf16", torch.device("cpu"), work) == Speed(True)
    assert choose_speed("fp32", torch.device("cuda"), work) == Speed(False)
    assert choose_speed("auto", torch.device("cuda"), work) == Speed(True)
    with pytest.raises(ConfigError, match="fp32"):
        choose_speed("fp16", torch.device("cpu"), work)


def test_a_timed_pass_teaches_nothing() -> None:
    one, other = trainer(), trainer()
    for bf16 in (True, False):
        one.try_pass(bf16)
    assert one.advance(10).item() == other.advance(10).item()
    ours, theirs = one.state(), other.state()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_passes_that_share_a_batch_do_what_one_does() -> None:
    config = CONFIG.with_condition("class", 20)
    plain, shared = (
        trainer(config, conditions=torch.arange(20), batch=7, accumulate=k) for k in (1, 3)
    )
    losses = [[one.advance(10).item() for _ in range(4)] for one in (plain, shared)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for wrong in (0, 8):
        with pytest.raises(ConfigError, match="accumulate"):
            trainer(batch=7, accumulate=wrong)


def test_weights_and_their_average_stay_in_single_precision() -> None:
    losses = []
    for fast in (False, True):
        one = trainer()
        one.speed = Speed(fast)
        losses.append([one.advance(10).item() for _ in range(5)])
        assert all(value.dtype == torch.float32 for value in one.state().values())
    assert losses[0][1:] != losses[1][1:] and losses[0] == pytest.approx(losses[1], rel=0.03)


@pytest.mark.slow
def test_four_pictures_can_be_learned_by_heart(tmp_path: Path) -> None:
    shape = Shape((32, 32), 1, (False, True), head=16, condition="class", width=4)
    known = read_pictures([paint(tmp_path, 4, classes=True)], 8)
    assert known.classes == ("c0", "c1", "c2", "c3")
    one = trainer(
        Config("small", shape, size=8),
        *(known.images, known.labels),
        batch=16,
        lr=3e-3,
        warmup=10,
        flip=False,
    )
    for _ in range(250):
        one.advance(250)
    model = one.model
    model.net.load_state_dict(one.average.weights)
    classes = torch.arange(4).repeat(2)
    samples = sample(model.eval(), 8, condition=classes)
    errors = (samples[:, None] - to_unit(known.images)).square().flatten(2).mean(2)
    own = torch.nn.functional.one_hot(classes).bool()
    assert errors[own].max() < 0.06
    assert errors[~own].min() > 0.4


def test_pictures_of_the_tests_are_unlike_each_other() -> None:
    far: Callable[[int, int], float] = lambda a, b: (  # noqa: E731
        (to_unit(pixels(a)) - to_unit(pixels(b))).square().mean().item()
    )
    assert all(far(a, b) > 0.8 for a in range(4) for b in range(a))


def pixels(seed: int) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.array(blocks(seed)))
