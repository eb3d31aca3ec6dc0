"""Time of a sync without changes, compared with a walk of the folder with stat.

scripts/bench sync [--files 100000] [--rounds 5]

The library is that of `scripts/bench scale`: real, empty files, 1,000 to a subfolder. Walks and
syncs take turns in one warm process, so the start of a process is not in the ratios. `compared` is
a sync that compares all files with the catalog, as after any change; `unchanged` one that finds the
folder as the last sync left it. CPU time tells more on a machine that others use.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import scale_library
from sqlalchemy import func, select, update

from search import Engine
from search.catalog.schema import files


def walk(folder: Path) -> int:
    """Stat every file, and nothing else."""
    count, folders = 0, [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return count


def measure(task: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock time and the CPU time of a task, in seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {"walk": [], "compared": [], "unchanged": []}
    with tempfile.TemporaryDirectory() as place:
        home, folder = Path(place) / "home", Path(place) / "pictures"
        scale_library.fill(home, args.files, pictures=folder)
        with Engine.open(home=home) as engine:

            def sync() -> None:
                report = engine.sync(folder)
                if (report.unchanged, report.embedded) != (args.files, 0):
                    raise SystemExit(f"not an unchanged folder: {report}")

            def mark() -> None:
                """Write one file's row as it is, as a sync that changed something does."""
                catalog = engine.library.catalog
                with catalog.database.write() as c:
                    one = select(func.min(files.c.id)).scalar_subquery()
                    c.execute(update(files).where(files.c.id == one).values(size=files.c.size))

            for _ in range(args.rounds + 1):
                times["walk"].append(measure(lambda: walk(folder)))
                mark()
                times["compared"].append(measure(sync))
                times["unchanged"].append(measure(sync))
    for name, measured in times.items():
        rounds = zip(measured[1:], times["walk"][1:], strict=True)  # the first round warms up
        ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in rounds]
        wall, cpu = (statistics.median(one[i] for one in measured[1:]) for i in range(2))
        ratio, cpu_ratio = (statistics.median(one[i] for one in ratios) for i in range(2))
        print(
            f"{name}: {wall:.3f} s, {ratio:.2f} walks; CPU {cpu:.3f} s, {cpu_ratio:.2f} walks "
            f"(n = {args.files} files, median of {args.rounds} rounds; target of unchanged <= 2)"
        )


if __name__ == "__main__":
    main()
