"""Train the `photo` model on a GPU that is at hand for a quarter of an hour.

    scripts/train/gpu --pack DATA            makes the folders to carry: gpu-data/1, gpu-data/2, ...
    scripts/train/gpu --encode               on the GPU: latents of the folders that have arrived
    scripts/train/gpu --minutes 8 --out DIR  on the GPU: encode the rest, then train

docs/training-gpu.md has the calls in their order. DATA holds photos144-open-*.zip,
photos288-open-*.zip and clothing/ (its README names their terms). Each folder of gpu-data holds a
zip of pictures and their vectors by `mini`, so that the GPU machine needs `diffusion` alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

PACKED = ROOT / "gpu-data"
PART = 33 << 20  # bytes of one folder to carry


# on this machine ----------------------------------------------------------------------------------


def pictures(data: Path) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the pictures: of a photograph that is there twice, the larger one."""
    seen = set()
    for pattern in ("photos288-open-*.zip", "photos144-open-*.zip"):
        for path in sorted(data.glob(pattern)):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".webp") and name not in seen:
                        seen.add(name)
                        yield name, archive.read(name)
    for part in ("train", "validation"):
        for file in sorted((data / "clothing" / part).glob("*/*")):
            yield f"clothing-cc0/{part}/{file.name}", file.read_bytes()


def pack(data: Path) -> None:
    """Write the folders to carry. The order is shuffled by name, so that each is a fair sample."""
    from search.embedders.mini import Mini

    mini = Mini()
    found = sorted(pictures(data), key=lambda one: hashlib.sha256(one[0].encode()).digest())
    parts, size = list[list[tuple[str, bytes]]]([[]]), 0
    for name, content in found:
        if size + len(content) + 1200 > PART:
            parts.append([])
            size = 0
        parts[-1].append((name, content))
        size += len(content) + 1200  # its vector and its place in the zip
    for number, part in enumerate(parts, 1):
        folder = PACKED / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
            for name, content in part:
                archive.writestr(name, content)
        rows = []
        for first in range(0, len(part), mini.batch):
            decoded = [
                Image.open(io.BytesIO(content)).convert("RGB")
                for _, content in part[first : first + mini.batch]
            ]
            rows.append(torch.from_numpy(mini.embed([mini.preparation(one) for one in decoded])))
        names = json.dumps([name for name, _ in part])
        about = {"names": names, "model": mini.name, "fingerprint": mini.fingerprint}
        save_file({"vectors": torch.cat(rows).half()}, folder / "vectors.safetensors", about)
        print(f"{folder}: {len(part)} pictures", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, metavar="DATA")
    options = parser.parse_args()
    if options.pack:
        pack(options.pack)


if __name__ == "__main__":
    main()
