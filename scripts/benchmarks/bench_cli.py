"""CPU seconds of a single `lookalike search` and `lookalike status`.

scripts/bench cli [--runs 5]

The library holds the sample pictures under `mini`. Each command runs in a process of its own, first
without a server, then beside `lookalike serve`, which it asks. The table has the median over the
runs of user and system time, of the command and the processes that it starts, and of the wall time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench_index import SAMPLES
from bench_server import serving


def measure(command: list[str], runs: int, bytecode: Path) -> tuple[float, float]:
    """Return the median CPU and wall time of a command in seconds.

    bytecode: folder of compiled modules, as an installed package has them.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    cpu, wall = [], []
    for _ in range(runs):
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = os.times()
        wall.append(time.perf_counter() - start)
        user = after.children_user - before.children_user
        cpu.append(user + after.children_system - before.children_system)
    return median(cpu), median(wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, bytecode = Path(folder) / "home", Path(folder) / "bytecode"
        command = [sys.executable, "-m", "search", "--home", str(home)]
        index = [*command, "--model", "mini", "index", str(SAMPLES)]
        subprocess.run(index, check=True, capture_output=True)
        commands = {
            "search": [*command, "search", str(SAMPLES / "hat" / "03.jpg")],
            "status": [*command, "status"],
        }
        print(f"{os.cpu_count()} cores, median of {args.runs} runs, seconds")
        print(f"{'':26}{'CPU':>6} {'wall':>6}")

        def print_rows(where: str) -> None:
            for name, words in commands.items():
                measure(words, 1, bytecode)  # warms up
                cpu, wall = measure(words, args.runs, bytecode)
                print(f"{f'{name}, {where}':26}{cpu:6.2f} {wall:6.2f}", flush=True)

        print_rows("no server")
        with serving(home, home):
            print_rows("beside a server")


if __name__ == "__main__":
    main()
