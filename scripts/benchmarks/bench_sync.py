"""Time of a sync without changes, compared with a walk of the folder with stat.

scripts/bench sync [--files 100000] [--rounds 5]

The folder holds copies of 64 small pictures, 1,000 to a subfolder, so that the first sync embeds 64
and reads the others' hashes. Then walks and syncs take turns in one warm process, so the start of
a process is not in the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from PIL import Image

from search import Engine


def fill(folder: Path, files: int) -> None:
    """Write copies of 64 pictures under different names."""
    pictures = []
    for i in range(64):
        path = folder.with_name(f"{i}.png")
        Image.new("RGB", (16, 16), (i * 4, 255 - i, i)).save(path)
        pictures.append(path.read_bytes())
    for i in range(files):
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.png"
        if i % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(pictures[i % 64])


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Engine.open(home=f"{place}/home") as engine:
        folder = Path(place) / "pictures"
        folder.mkdir()
        fill(folder, args.files)
        first = engine.sync(folder)
        print(f"first sync: {first.added} files, {first.embedded} embedded, {first.seconds:.1f} s")
        walks, syncs = [], []
        for _ in range(args.rounds + 1):
            start = time.perf_counter()
            walk(folder)
            between = time.perf_counter()
            report = engine.sync(folder)
            walks.append(between - start)
            syncs.append(time.perf_counter() - between)
            if (report.unchanged, report.embedded) != (args.files, 0):
                raise SystemExit(f"not an unchanged folder: {report}")
    walks, syncs = walks[1:], syncs[1:]  # the first round warms up
    ratio = statistics.median(s / w for s, w in zip(syncs, walks, strict=True))
    print(
        f"unchanged, {args.files} files, median of {args.rounds}: walk with stat "
        f"{statistics.median(walks):.3f} s, sync {statistics.median(syncs):.3f} s, ratio "
        f"{ratio:.2f} (target <= 2)"
    )


if __name__ == "__main__":
    main()
