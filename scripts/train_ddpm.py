"""The recipe of the diffusion model that ships: vectors by `mini`, then training on them.

    python scripts/train_ddpm.py --data DATA --out RUN [--preset tiny] [--minutes 75]
    python scripts/train_ddpm.py --data DATA --out RUN --adopt [--minutes 115]
    python scripts/train_ddpm.py --out RUN --ship

DATA holds photos64-train-*.zip. The first command goes on with a run that was stopped, and trains
further when it is given more minutes; the second does so after `mini` has changed, with vectors
that are made anew; the third puts the run's weights, in half precision, into the package. On a GPU
it takes the GPU. It needs torch, numpy, Pillow and safetensors.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
try:
    import faiss  # noqa: F401
except ImportError:  # the encoder lives beside it, and does not need it
    sys.modules["faiss"] = types.ModuleType("faiss")

import torch  # noqa: E402
from PIL import Image  # noqa: E402

from diffusion import checkpoint, files  # noqa: E402
from diffusion.data import match, read, read_vectors  # noqa: E402
from diffusion.options import Options  # noqa: E402
from diffusion.run import Run, digest  # noqa: E402
from diffusion.trainer import pick  # noqa: E402
from search.embedders.mini import Mini  # noqa: E402

CHUNK = 512


def embed(zips: list[Path], out: Path, device: str, weights: Path | None = None) -> None:
    """Vectors of all pictures of the zips by `mini`, as `lookalike embed` writes them."""
    mini, names, rows = Mini(device, weights), list[str](), list[torch.Tensor]()

    def prepared(data: bytes):  # type: ignore[no-untyped-def]
        return mini.preparation(Image.open(io.BytesIO(data)).convert("RGB"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path in zips:
            with zipfile.ZipFile(path) as archive:
                inside = sorted(n for n in archive.namelist() if not n.endswith("/"))
                for first in range(0, len(inside), CHUNK):
                    part = inside[first : first + CHUNK]
                    pixels = list(pool.map(prepared, [archive.read(name) for name in part]))
                    rows.append(torch.from_numpy(mini.embed(pixels)).half())
                    names += part
            print(f"{path.name}: {len(names)} vectors so far", flush=True)
    about = {"names": json.dumps(names), "model": mini.name, "fingerprint": mini.fingerprint}
    files.write_tensors(out, {"vectors": torch.cat(rows)}, about)


def train(options: argparse.Namespace) -> None:
    """Go to the end of the run, or to where it is stopped."""
    zips = sorted(options.data.glob("photos64-train-*.zip"))
    if not zips:
        sys.exit(f"there is no photos64-train-*.zip in {options.data}")
    vectors = options.out / "vectors.safetensors"
    if vectors.exists() and read_vectors(vectors).encoder["fingerprint"] != Mini().fingerprint:
        if not options.adopt:
            sys.exit(f"{vectors} is by another mini; --adopt makes it anew, for the same run")
        vectors.unlink()
    if not vectors.exists():
        embed(zips, vectors, pick("auto"))
    if options.adopt:
        adopt(options.out, zips, vectors)
    run = Run(
        Options(
            tuple(map(str, zips)),
            str(options.out),
            preset=options.preset,
            minutes=options.minutes,
            steps=options.steps,
            batch=options.batch,
            embeddings=str(vectors),
            seed=options.seed,
        )
    )
    for event in run.go():
        if event.said or event.loss is not None:
            print(event.said or event, flush=True)


def adopt(out: Path, zips: list[Path], vectors: Path) -> None:
    """Let a run, perhaps in another place than it was begun in, go on with these vectors."""
    config = json.loads((out / "config.json").read_text())
    known = read_vectors(vectors)
    pictures, rows = match(read(zips, config["config"]["size"]), known)
    config["pictures"] = digest(pictures, rows)
    config["options"] |= {"data": [str(path) for path in zips], "embeddings": str(vectors)}
    files.write_json(out / "config.json", config)


def ship(out: Path) -> None:
    """The run's averaged weights, in half precision, into the package."""
    model = checkpoint.load(out / "checkpoint.safetensors")
    about = {k: v for k, v in model.about.items() if k not in ("format", "version", "config")}
    about.pop("sha256")
    path = checkpoint.shipped()
    checkpoint.save(path, model.config, model.net.state_dict(), about, half=True)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, step {about['step']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adopt", action="store_true", help="the encoder has changed")
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    if options.ship:
        ship(options.out)
    elif options.data:
        train(options)
    else:
        parser.error("give --data, or --ship")


if __name__ == "__main__":
    main()
