"""Train the other candidate for `mini`: MobileNetV2 at 160 px, from the weights of `mini-1`.

    python scripts/train/compare_students.py --data DATA --goals RUN/goals --out DIR [--steps 300]

It learns as scripts/train/mini.py trains EfficientNet-Lite2 with the same options and steps: the
same goals, losses, pictures, batches and seed. DATA is as there, and RUN a run of it. The retrieval
head begins with the directions of the goals within MobileNetV2's features, the class head with a
ridge regression of the teacher's logits on 2,048 pictures. The last lines have the scores on the
choosing sets of the network that it began with, the last one, and their mean, as mini.py prints
them.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import mini as recipe
import torch
import torch.nn.functional as F
from exam import Exam, as_text
from goals import Goals, as_array, read_pool

from search.embedders.efficientnet import CLASSES
from search.embedders.mini import Mini
from search.embedders.mobilenet import DIM, FEATURES, MiniNet, to_tensor
from search.media.preprocessing import Preprocessing

FITTED = 2048  # pictures that the class head is fitted to


class Student(MiniNet):
    """MobileNetV2 with a retrieval head and a class head."""

    def __init__(self) -> None:
        super().__init__()
        del self.name
        self.classes = torch.nn.Linear(FEATURES, CLASSES)


@torch.no_grad()
def fit_classes(student: Student, goals: Goals, data: Path, prepare: Preprocessing) -> None:
    """Set the class head by ridge regression of the teacher's logits on the features."""
    pool = read_pool(data, False, 0)
    rows = torch.randperm(len(pool.names), generator=torch.Generator().manual_seed(0))[:FITTED]
    features = []
    for part in rows.split(32):
        pixels = as_array([pool.picture(row) for row in part.tolist()], prepare)
        features.append(student.features(to_tensor(pixels, student.mean, student.std)))
    x = F.pad(torch.cat(features), (0, 1), value=1.0)
    gram = x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x.T @ goals.logits[rows].float())
    student.classes.weight.data = weights[:-1].T.contiguous()
    student.classes.bias.data = weights[-1].clone()


def start_student(data: Path, goals: Goals, prepare: Preprocessing) -> Student:
    """MobileNetV2 as `mini-1` has it, with new heads."""
    student = Student()
    student.body.load_state_dict(Mini(version="mini-1").load_torch().body.state_dict())
    student.retrieval.weight.data = goals.turn[FEATURES:].T.clone()
    student.retrieval.bias.data = torch.zeros(DIM)
    student.eval().to(memory_format=torch.channels_last)
    fit_classes(student, goals, data, prepare)
    return student


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--goals", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    words = ["--data", str(args.data), "--out", str(args.out), "--steps", str(args.steps)]
    options, begun = recipe.arguments(words), time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    goals = Goals.read(args.goals, options.neighbours)
    student = start_student(args.data, goals, Preprocessing(options.size, options.fit))
    first = copy.deepcopy(student)
    training = recipe.Training(student, goals, read_pool(args.data, False, options.seed), options)
    training.run(lambda text: print(f"{time.time() - begun:7.0f}s  {text}", flush=True))
    last, exam = training.averaged(), Exam(args.data)
    blend = recipe.blend(last, first, options.share)
    for size in (options.size, options.run_size):
        prepare = Preprocessing(size, options.fit)
        for name, net in (("begun with", first), ("last", last), ("mean", blend)):
            print(f"{name} at {size} px: {as_text(exam(net, prepare))}", flush=True)


if __name__ == "__main__":
    main()
