"""Other networks for `mini`: how fast each is, and what a short training from nothing gives.

    python scripts/try_networks.py --data DATA [--steps 150] [--size 160] [--seed 0] [NETWORK ...]

NETWORK is a name of timm's, without weights; `mobilenet_v2` is the network of `mini`, from nothing
too. Each sees the same gentle views as `scripts/train_mini.py` makes, and is to give the vectors
that the teacher gives of them at 224 px (distil and relate, as there). What is printed: pictures/s
in batches of 16, batch norm folded where timm knows how to, over those of the teacher at 224 px;
mAP of classes of the validation pictures, before any choice by labels.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import timm
import torch
import torch.nn.functional as F
from exam import Exam
from lesson import HELD_OUT, Guide, Lesson, gather, related, teacher
from timm.utils.model import reparameterize_model
from torch import nn
from train_mini import Batches

from search.embedders.base import Preparation
from search.embedders.mobilenet import DIM, FEATURES, MiniNet, normalise

NETWORKS = (
    "mobilenet_v2",
    "mobilenetv4_conv_small",
    "efficientvit_b0",
    "repvit_m0_9",
    "convnext_atto",
    "vit_tiny_patch16_224",
)


class Student(nn.Module):
    """A network of timm's with the heads of `mini`."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        sized = {"img_size": size} if name.startswith("vit") else {}
        self.body = timm.create_model(name, num_classes=0, **sized)
        with torch.inference_mode():
            width = self.body.eval()(torch.zeros(1, 3, size, size)).shape[1]
        self.widen = nn.Linear(width, FEATURES)
        self.retrieval, self.name = nn.Linear(FEATURES, DIM), nn.Linear(FEATURES, DIM)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, 1280)."""
        return self.widen(self.body(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, 512) of unit length."""
        return F.normalize(self.retrieval(self.features(x)), dim=1)


def fresh(name: str, size: int) -> nn.Module:
    """The network with random weights."""
    net = MiniNet() if name == "mobilenet_v2" else Student(name, size)
    return net.to(memory_format=torch.channels_last)


@torch.inference_mode()
def seconds(net: nn.Module, size: int) -> float:
    """A batch of 16: the best of seven."""
    x = torch.randn(16, 3, size, size).to(memory_format=torch.channels_last)
    net(x)
    times = []
    for _ in range(7):
        begun = time.perf_counter()
        net(x)
        times.append(time.perf_counter() - begun)
    return min(times)


def trained(net: nn.Module, lesson: Lesson, own: Preparation, steps: int, seed: int) -> None:
    """Distil and relate, on gentle views alone; one cycle of the learning rate."""
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, steps)
    views = [guide.preparation for guide in lesson.guides]
    batches = Batches(lesson.task.pools, own, views, seed)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=1)
    for step, batch in enumerate(loader):
        if step == steps:
            break
        goal, made = lesson.goal(batch), net(normalise(batch.gentle))
        loss = 2 * (1 - (made * goal).sum(1)).mean() + related(made, goal)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        cycle.step()
    net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    own, exam, task = Preparation(args.size), Exam(args.data), gather(args.data, HELD_OUT)
    guide = Guide(teacher(args.data).features, Preparation(224), 1.0)
    lesson = Lesson(task, MiniNet(), [guide], {}, 0.0, args.seed)
    print(
        f"{args.steps} steps at {args.size} px, seed {args.seed}, {torch.get_num_threads()} threads"
    )
    print(f"{'network':<26}{'M':>5}{'speed':>8}{'clothing':>11}{'photos64':>10}", flush=True)
    for name in args.networks or NETWORKS:
        torch.manual_seed(args.seed)
        net = fresh(name, args.size)
        count = sum(p.numel() for p in net.parameters()) / 1e6
        if args.steps:
            trained(net, lesson, own, args.steps, args.seed)
        fast = reparameterize_model(net).eval()
        speed = seconds(teacher(args.data), 224) / seconds(fast, args.size)
        found = exam.classes(net.eval(), own)
        each = "".join(f"{value:>10.3f}" for value in found.values())
        print(f"{name:<26}{count:>5.1f}{speed:>7.2f}x {each}", flush=True)


if __name__ == "__main__":
    main()
