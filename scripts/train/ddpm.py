"""The recipe of the diffusion model that ships: vectors by `mini`, then training on them.

    python scripts/train/ddpm.py --data DATA --out RUN [--preset tiny] [--minutes 75]
    python scripts/train/ddpm.py --out RUN --ship

DATA holds photos64-train-*.zip. The first command resumes a run that was stopped, and lengthens one
when it is given more minutes. The second puts the run's weights, in half precision, into the
package. A GPU is used where there is one. It needs torch, numpy, Pillow and safetensors.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
for name in ("faiss", "pillow_heif"):  # the encoder runs at the same time and does not need them
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = stub = types.ModuleType(name)
        stub.__spec__ = ModuleSpec(name, None)
        stub.register_heif_opener = lambda **_: None  # type: ignore[attr-defined]

import torch  # noqa: E402
from PIL import Image  # noqa: E402

from diffusion import files  # noqa: E402
from diffusion.model import checkpoint  # noqa: E402
from diffusion.training.devices import choose_device  # noqa: E402
from diffusion.training.options import Options  # noqa: E402
from diffusion.training.run import Run  # noqa: E402
from search.embedders.mini import Mini  # noqa: E402

CHUNK = 512


def embed(zips: list[Path], out: Path, device: str, weights: Path | None = None) -> None:
    """Vectors of all pictures of the zips by `mini`, as `lookalike embed` writes them."""
    mini, names, rows = Mini(device, weights), list[str](), list[torch.Tensor]()
    step = 64 if device == "cpu" else CHUNK  # more at a time is slower there

    def prepared(data: bytes):  # type: ignore[no-untyped-def]
        return mini.preprocessing(Image.open(io.BytesIO(data)).convert("RGB"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path in zips:
            with zipfile.ZipFile(path) as archive:
                inside = sorted(n for n in archive.namelist() if not n.endswith("/"))
                for first in range(0, len(inside), CHUNK):
                    part = inside[first : first + CHUNK]
                    pixels = list(pool.map(prepared, [archive.read(name) for name in part]))
                    few = [pixels[i : i + step] for i in range(0, len(pixels), step)]
                    rows += [torch.from_numpy(mini.embed(one)).half() for one in few]
                    names += part
            print(f"{path.name}: {len(names)} vectors so far", flush=True)
    about = {"names": json.dumps(names), "model": mini.name, "fingerprint": mini.fingerprint}
    files.write_tensors(out, {"vectors": torch.cat(rows)}, about)


def train(options: argparse.Namespace) -> None:
    """Train to the end of the run, or until it is stopped."""
    zips = sorted(options.data.glob("photos64-train-*.zip"))
    if not zips:
        sys.exit(f"there is no photos64-train-*.zip in {options.data}")
    vectors = options.out / "vectors.safetensors"
    if not vectors.exists():
        embed(zips, vectors, choose_device("auto"))
    run = Run(
        Options(
            tuple(map(str, zips)),
            str(options.out),
            preset=options.preset,
            minutes=options.minutes,
            steps=options.steps,
            batch=options.batch,
            start=options.start,
            lr=options.lr,
            embeddings=str(vectors),
            seed=options.seed,
            compiled=options.compile,
        )
    )
    finished = False
    with run.until_stopped():
        for event in run.go():
            finished = event.finished
            if event.message or event.loss is not None:
                print(event.message or event, flush=True)
    if not finished:
        sys.exit("stopped; the same command resumes the run")


def ship(out: Path) -> None:
    """The run's averaged weights, in half precision, into the package."""
    model = checkpoint.load(out / "checkpoint.safetensors")
    path, weak = checkpoint.shipped_path(), checkpoint.shipped_path("ddpm-weak")
    about = checkpoint.strip_header(model.about)
    about.pop("weak", None)  # it may be of another encoder
    if checkpoint.read_description(weak)["encoder"] == about.get("encoder"):
        about["weak"] = weak.name
    checkpoint.save(path, model.config, model.net.state_dict(), about, half=True)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, step {model.about['step']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", help="by default tiny, or that of --from")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--from", dest="start", help="a checkpoint to fine-tune, or `shipped`")
    parser.add_argument("--lr", type=float, help="peak of the learning rate; less to fine-tune")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="by default on a GPU only"
    )
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
