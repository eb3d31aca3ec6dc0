"""How fast the diffusion package is, beside diffusers' U-Net of the same cost.

scripts/bench diffusion [--rounds 7] [--seed 0] [--cuda]

Each round measures everything once, so that other work on the machine slows all of it alike. Ratios
are taken within a round. The table has medians over rounds, and 95 % bootstrap intervals of ratios.
GFLOP are counted by torch, two for a multiplication and an addition. The
machine's rate is that of a product of two 2048 x 2048 matrices in the same precision (on a CPU by
oneDNN), in the same round. Theirs runs in its own layout and in ours (channels last); ratios are to
the faster of both. A training step is forward, backward and AdamW. On a GPU: bfloat16
autocast, not compiled. Last, whole steps of a training of `tiny`, by precision and compiled.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from diffusion import Denoiser, UNet, preset, sample
from diffusion.sampling.samplers import SAMPLERS
from diffusion.training.devices import Speed, World
from diffusion.training.recipe import RECIPES
from diffusion.training.sets import PixelSet
from diffusion.training.trainer import Trainer

SIZE, STEPS = 64, 15
# Channels of a UNet2DModel in its usual layout (four levels, attention in the lower two) that costs
# what the preset does, its blocks of a level, and pictures in a batch.
EQUAL = {"tiny": ((16, 32, 32, 64), 1, 8), "base": ((32, 64, 128, 160), 2, 4)}
Net = Callable[[Tensor, Tensor], Tensor]


def theirs(channels: tuple[int, ...], blocks: int) -> nn.Module:
    plain, attends = ("DownBlock2D",) * 2, ("AttnDownBlock2D",) * 2
    return UNet2DModel(
        sample_size=SIZE,
        block_out_channels=channels,
        layers_per_block=blocks,
        norm_num_groups=min(32, channels[0]),
        down_block_types=plain + attends,
        up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
    )


class Plain(nn.Module):
    """The network of diffusers with the signature of ours."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        predicted: Tensor = self.net(x, time).sample
        return predicted


def gflop(net: nn.Module) -> float:
    """Return the cost of one picture's forward pass."""
    x = torch.zeros(1, 3, SIZE, SIZE, device=next(net.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(x, x.new_zeros(1))
    return counter.get_total_flops() / 1e9


class Subject:
    """A network in one layout, its inputs and its optimiser."""

    def __init__(self, net: nn.Module, batch: int, layout: torch.memory_format, device: str):
        self.net = net.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.batch, self.device = batch, device
        self.x = torch.randn(batch, 3, SIZE, SIZE, device=device).to(memory_format=layout)
        self.time = torch.linspace(0, 999, batch, device=device)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-4, fused=True)

    def forward(self) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16, self.device == "cuda"):
            predicted: Tensor = self.net(self.x, self.time)
        return predicted

    def look(self) -> None:
        with torch.inference_mode():
            self.forward()

    def train(self) -> None:
        self.optimiser.zero_grad(set_to_none=False)
        (self.forward().float() - self.x).square().mean().backward()
        self.optimiser.step()


def seconds(work: Callable[[], object], cuda: bool, least: float = 0.3) -> float:
    """Return the seconds of one call, from as many calls as take `least` seconds."""
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() - start < least:
        work()
        count += 1
        if cuda:
            torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def product(device: str, usual: bool = False) -> Callable[[], Tensor]:
    """A product of two matrices, 2 * 2048^3 = 17.2 GFLOP; on a CPU by oneDNN, the quicker one,
    unless torch's usual one is asked for."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = (torch.randn(2048, 2048, device=device, dtype=kind) for _ in range(2))
    if usual or device == "cuda":
        return lambda: a @ b
    a, b = a.to_mkldnn(), b.to_mkldnn()
    return lambda: torch._C._nn.mkldnn_linear(a, b, None)


def interval(values: np.ndarray, seed: int) -> str:
    """Median with a 95 % bootstrap interval."""
    draws = np.random.default_rng(seed).integers(0, len(values), (2000, len(values)))
    low, high = np.percentile(np.median(values[draws], 1), [2.5, 97.5])
    return f"{np.median(values):.2f} [{low:.2f}, {high:.2f}]"


def compare(name: str, rounds: int, seed: int, device: str) -> None:
    """A preset against their network of the same cost: pictures/s, ratios, shares."""
    channels, blocks, batch = EQUAL[name]
    batch *= 16 if device == "cuda" else 1
    torch.manual_seed(seed)
    ours, other = UNet(preset(name).shape), Plain(theirs(channels, blocks))
    costs = gflop(ours), gflop(other)
    last = torch.channels_last
    subjects = {
        "ours": Subject(ours, batch, last, device),
        "theirs": Subject(Plain(theirs(channels, blocks)), batch, torch.contiguous_format, device),
        "theirs, channels last": Subject(other, batch, last, device),
    }
    machines = {"machine": product(device), "usual": product(device, usual=True)}
    rates: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for title, subject in subjects.items():
            for work in ("look", "train"):
                duration = seconds(getattr(subject, work), device == "cuda")
                if turn:  # the first one warms up
                    rates.setdefault((title, work), []).append(batch / duration)
        for which, multiply in machines.items():
            duration = seconds(multiply, device == "cuda")
            if turn:
                rates.setdefault((which, ""), []).append(2 * 2048**3 / duration / 1e9)
    show(name, {key: np.array(value) for key, value in rates.items()}, costs, batch, seed)


def show(
    name: str,
    rates: dict[tuple[str, str], np.ndarray],
    costs: tuple[float, float],
    batch: int,
    seed: int,
) -> None:
    machine, usual = rates.pop(("machine", "")), rates.pop(("usual", ""))
    print(
        f"\n{name}, {costs[0]:.3f} GFLOP a forward (theirs {costs[1]:.3f}, "
        f"{costs[1] / costs[0] - 1:+.1%}), batches of {batch}, n = {len(machine)} rounds; "
        f"the machine multiplies at {np.median(machine):.0f} GFLOP/s, by torch's usual product at "
        f"{np.median(usual):.0f}"
    )
    print(f"{'':<24}{'':<16}{'pictures/s':>12}   {'share of the machine':<22}ours / theirs")
    for work, title, passes in (("look", "forward", 1), ("train", "training step", 3)):
        fastest = np.maximum(rates["theirs", work], rates["theirs, channels last", work])
        for who in ("ours", "theirs", "theirs, channels last"):
            rate, cost = rates[who, work], costs[0] if who == "ours" else costs[1]
            share = interval(rate * cost * passes / machine, seed)
            ratio = interval(rate / fastest, seed) if who == "ours" else ""
            print(f"{who:<24}{title:<16}{np.median(rate):>12.1f}   {share:<22}{ratio}", flush=True)


def samplers(rounds: int, seed: int, device: str) -> None:
    """Pictures/s of each sampler over the tiny preset."""
    torch.manual_seed(seed)
    model, count = Denoiser(preset("tiny")).eval().requires_grad_(False), 8
    count *= 16 if device == "cuda" else 1
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rates_by_name: dict[str, list[float]] = {name: [] for name in SAMPLERS}
    for turn in range(rounds + 1):
        for name in SAMPLERS:
            with torch.autocast(device, torch.bfloat16, device == "cuda"):
                duration = seconds(
                    lambda name=name: sample(model, count, steps=STEPS, sampler=name, seed=seed),
                    device == "cuda",
                )
            if turn:
                rates_by_name[name].append(count / duration)
    print(f"\nsampling with tiny: {STEPS} steps, {count} pictures at once, n = {rounds} rounds")
    for name, rates in rates_by_name.items():
        passes = 2 * STEPS - 1 if name == "heun" else STEPS
        text = interval(np.array(rates), seed)
        print(f"{name:<24}{passes:>3} passes   {text:>24} pictures/s")


def precisions(rounds: int, seed: int, device: str) -> None:
    """Pictures/s of a training of tiny, beside those of float32."""
    ways = {
        "float32": (False, False),
        "bfloat16": (True, False),
        "bfloat16, compiled": (True, True),
    }
    trainers, rates_by_name = {}, {name: list[float]() for name in ways}
    for name, (halves, compiled) in ways.items():
        torch.manual_seed(seed)
        model = Denoiser(preset("tiny"))
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randint(0, 256, (1024, 3, SIZE, SIZE), dtype=torch.uint8)
        trainer = Trainer(model, [PixelSet(images, None)], RECIPES["tiny"], seed, World(), compiled)
        trainer.speed, trainers[name] = Speed(halves), trainer
    for turn in range(rounds + 1):
        for name, trainer in trainers.items():
            duration = seconds(lambda one=trainer: one.advance(10**6), device == "cuda", 2.0)
            if turn:
                rates_by_name[name].append(trainer.recipe.batch / duration)
    print(f"\ntraining steps of tiny, batches of {RECIPES['tiny'].batch}, n = {rounds} rounds")
    for name, rates in rates_by_name.items():
        ratio = np.array(rates) / np.array(rates_by_name["float32"])
        print(f"{name:<24}{np.median(rates):>12.1f} pictures/s   {interval(ratio, seed)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", choices=sorted(EQUAL), action="append")
    parser.add_argument("--cuda", action="store_true", help="measure on the GPU")
    args = parser.parse_args()
    if args.cuda and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; leave --cuda out")
    device = "cuda" if args.cuda else "cpu"
    cpu = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")]
    where = torch.cuda.get_device_name() if args.cuda else cpu[0].partition(": ")[2]
    print(
        f"{where}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"load {os.getloadavg()[0]:.1f}; {platform.system()}, torch {torch.__version__}; "
        f"{SIZE} px, seed {args.seed}"
    )
    for name in args.preset or ("tiny", "base"):
        compare(name, args.rounds, args.seed, device)
    samplers(args.rounds, args.seed, device)
    precisions(args.rounds, args.seed, device)


if __name__ == "__main__":
    main()
