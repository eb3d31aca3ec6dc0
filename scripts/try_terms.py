"""What each term of the loss of `mini` is worth: it is left out, and all else stays the same.

    python scripts/try_terms.py --data DATA [--steps 120] [--seed 0]

Each try begins as MobileNetV2 with the heads that the recipe starts with, and learns as in its
first round (`scripts/train_mini.py`), without neighbours: the same pictures and views in the same
order. The average over the steps is scored by what the recipe chooses by; beside it the same as a
file keeps it, the last weights as they are, and all terms again with another seed, which tells how
much chance does.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

import train_mini
from exam import Exam, said
from lesson import HELD_OUT, Guide, Lesson, gather, teacher
from torch.nn import Parameter

from search.embedders.base import Preparation

WEIGHTS = train_mini.WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    recipe = vars(train_mini.arguments(["--data", str(args.data), "--out", ""]))
    args = argparse.Namespace(**recipe | vars(args))
    exam, guide = Exam(args.data), Guide(teacher(args.data).features, Preparation(224), 1.0)
    task = gather(args.data, HELD_OUT)
    lesson = Lesson(task, teacher(args.data), [guide], WEIGHTS, 0.0, args.seed)
    begun, prototypes = copy.deepcopy(lesson.student), lesson.prototypes.detach()

    def show(name: str, net: train_mini.MiniNet) -> None:
        print(f"{name:<24}{said(exam(net.eval(), train_mini.prepared(args)))}", flush=True)

    def learned(weights: dict[str, float], seed: int) -> train_mini.Training:
        lesson.student, lesson.weights = copy.deepcopy(begun), weights
        lesson.prototypes = Parameter(prototypes.clone())
        with tempfile.TemporaryDirectory() as out:
            one = argparse.Namespace(**vars(args) | {"out": Path(out), "seed": seed})
            training = train_mini.Training(lesson, one, lambda _: None)
            training.run(0)
        return training

    print(f"{args.steps} steps at {args.size} px, seed {args.seed}")
    show("as it begins", begun)
    training = learned(WEIGHTS, args.seed)
    show("all terms", training.averaged())
    show("in half precision", training.averaged().half().float())
    show("the last weights", lesson.student)
    show("with another seed", learned(WEIGHTS, args.seed + 1).averaged())
    for term in WEIGHTS:
        show(f"without {term}", learned(WEIGHTS | {term: 0.0}, args.seed).averaged())


if __name__ == "__main__":
    main()
