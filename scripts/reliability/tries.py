"""Run tries of classes, and print one line a class: how many tries, how many held, what failed."""

from __future__ import annotations

import argparse
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the helpers of the tests make the pictures

Try = Callable[[random.Random], list[str]]
"""One try. Returns what did not hold; none if all did."""
SHOWN = 3  # failed tries of a class that are printed


def run_tries(name: str, attempt: Try, tries: int, seed: int) -> bool:
    """Run tries with the seeds from `seed` on, and print a line. Returns whether all held."""
    failures = list[tuple[int, list[str]]]()
    for number in range(seed, seed + tries):
        try:
            wrong = attempt(random.Random(number))
        except Exception:
            wrong = [traceback.format_exc()]
        if wrong:
            failures.append((number, wrong))
    seeds = " ".join(str(number) for number, _ in failures)
    failed = f"  failed seeds: {seeds}" if failures else ""
    print(f"{name:<20} tries {tries:6}  held {tries - len(failures):6}{failed}", flush=True)
    for number, wrong in failures[:SHOWN]:
        for one in wrong:
            print(f"    {name} --seed {number} --tries 1: {one}", file=sys.stderr)
    return not failures


def parse_arguments(text: str, classes: Mapping[str, int]) -> argparse.Namespace:
    """Parse the command line. classes: name -> tries of the long form.

    A number of tries holds for each class.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("classes", nargs="*", metavar="CLASS", help=", ".join(classes))
    parser.add_argument("--tries", type=int, help="of each class")
    parser.add_argument("--seed", type=int, default=0, help="of the first try")
    args = parser.parse_args()
    if unknown := set(args.classes) - set(classes):
        parser.error(f"no class {', '.join(sorted(unknown))}; there are {', '.join(classes)}")
    args.classes = args.classes or list(classes)
    return args
