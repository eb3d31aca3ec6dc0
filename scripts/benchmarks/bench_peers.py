"""Indexing end to end beside rclip, clip-retrieval and a plain loop of open_clip.

scripts/bench peers --rclip PYTHON [--retrieval PYTHON] [--data DIR] [--photos 300] [--large 40]
                    [--rounds 3] [--seed 0]

All take the same weights: ViT-B-32-256, drawn at random and saved to a file, since rclip takes no
other architecture. rclip reads them as the ONNX file that its own weights come as. PYTHON is the
interpreter of a virtual environment with `pip install rclip` (or `clip-retrieval`); without one its
rows are left out.

The sets: photographs of 400 px, of 12 megapixels, and eight pictures of 400 px, which show the
start. They are cut from the sample pictures, or from those in --data. Each program runs in a
process of its own on a new library, in turns; the time is that of the whole process. Before that
each runs once on other pictures, which fills its caches: ours measures its backends then. Peak
memory is the sum over the processes of a run.

Then ours alone: pictures a second of decoding (D), of embedding (E) and of both, and the ratio of
both to 1 / (1/D + 1/E); target >= 0.95. Other targets: 1.2 times rclip, a start within 0.3 s of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_index import SAMPLES, _family, _one, _peak, make

ARCH = "ViT-B-32-256"
RCLIP_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
PLAIN = """
import sys
from pathlib import Path
import open_clip, torch
from PIL import Image
net, _, transform = open_clip.create_model_and_transforms(sys.argv[1], pretrained=sys.argv[2])
net.eval()
paths = sorted(Path(sys.argv[3]).iterdir())
with torch.inference_mode():
    for i in range(0, len(paths), 32):
        part = torch.stack([transform(Image.open(path)) for path in paths[i : i + 32]])
        net.encode_image(part, normalize=True).numpy()
"""
RETRIEVAL = """
import sys
from clip_retrieval import clip_inference
clip_inference.clip_inference(
    input_dataset=sys.argv[3], output_folder=sys.argv[4], enable_text=False, num_prepro_workers=2,
    clip_model=f"open_clip:{sys.argv[1]}/{sys.argv[2]}", use_jit=False, batch_size=32,
)
"""

Command = Callable[[Path, Path], tuple[list[str], Path | None]]
"""Takes a folder of pictures and an empty one; returns a command and where it runs."""


def save_weights(place: Path) -> Path:
    """Write random weights as a state dict, and as the files that rclip reads."""
    import torch
    from safetensors.torch import save_file

    from search.embedders.exports import plain_attention
    from search.embedders.openclip_models import import_open_clip

    torch.manual_seed(0)
    net = import_open_clip().create_model(ARCH).eval()
    path = place / "random.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    folder = place / "rclip" / RCLIP_FOLDER
    folder.mkdir(parents=True)
    with torch.no_grad(), plain_attention():
        torch.onnx.export(
            net.visual,
            (torch.zeros(2, 3, 256, 256),),
            str(folder / "visual.onnx"),
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
        )
    vocabulary = place / "rclip" / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
    vocabulary.parent.mkdir()
    for unused in (folder / "textual.onnx", vocabulary):  # the query is a picture
        unused.touch()
    return path


def find_programs(args: argparse.Namespace, place: Path, weights: Path) -> dict[str, Command]:
    """Return the commands of the programs that are installed."""
    model = f"{ARCH}:{weights}"
    models = place / "models"

    def ours(folder: Path, empty: Path) -> tuple[list[str], Path | None]:
        (empty / "models").symlink_to(models)
        command = [sys.executable, "-m", "search", "--home", str(empty), "--model", model]
        return [*command, "index", "--no-ocr", str(folder)], None

    def rclip(folder: Path, empty: Path) -> tuple[list[str], Path | None]:
        for part in (place / "rclip").iterdir():
            (empty / part.name).symlink_to(part)
        query = str(next(folder.iterdir()))
        words = ["env", f"RCLIP_DATADIR={empty}", args.rclip, "-m", "rclip", query]
        return words, folder

    def loop(folder: Path, _: Path) -> tuple[list[str], Path | None]:
        return [sys.executable, "-c", PLAIN, ARCH, str(weights), str(folder)], None

    def retrieval(folder: Path, empty: Path) -> tuple[list[str], Path | None]:
        words = [args.retrieval, "-c", RETRIEVAL, ARCH, str(weights), str(folder), str(empty)]
        return words, None

    models.mkdir()
    programs: dict[str, Command] = {"lookalike": ours, "open_clip, plain loop": loop}
    if args.rclip:
        programs["rclip"] = rclip
    if args.retrieval:
        programs["clip-retrieval"] = retrieval
    return programs


def run(command: Command, folder: Path) -> tuple[float, float]:
    """Run a program on a folder; return its seconds, and its peak memory in MiB."""
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryFile() as errors:
        words, where = command(folder, Path(empty))
        peaks = dict[int, int]()
        start = time.perf_counter()
        process = subprocess.Popen(words, cwd=where, stdout=subprocess.DEVNULL, stderr=errors)
        while process.poll() is None:
            try:
                peaks |= {pid: _peak(pid) for pid in _family(process.pid)}
            except (OSError, StopIteration, ValueError):  # a process that has just ended
                pass
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{words[:4]} failed: {errors.read().decode()[-2000:]}")
    return seconds, sum(peaks.values()) / 1024


def find_backend(model: str, models: Path) -> str:
    """Return the backend that our runs took. models: the folder of its measurement."""
    from search.embedders.json_cache import JsonCache
    from search.embedders.measurements import Measurements, has_bf16_instructions
    from search.embedders.registry import open_embedder
    from search.settings import Settings

    bf16 = has_bf16_instructions()
    fingerprint = open_embedder(model, "cpu", bf16=bf16).fingerprint
    threads = Settings.load().threads
    backend = Measurements("auto", JsonCache(models), threads).describe(fingerprint)
    rounds = bf16 and backend != "onnxruntime"
    return f"{backend} in {'bfloat16' if rounds else 'float32'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rclip", metavar="PYTHON")
    parser.add_argument("--retrieval", metavar="PYTHON")
    parser.add_argument("--data", type=Path, default=SAMPLES)
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--large", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        programs = find_programs(args, place, save_weights(place))
        warm = place / "warm"
        sets = {"400 px": (args.photos, None), "12 megapixels": (args.large, (4000, 3000))}
        for folder, (count, size) in {"warm": (220, None), "8": (8, None), **sets}.items():
            (place / folder).mkdir()
            make(place / folder, count, size, args.seed + (folder == "warm"), args.data)
        print(f"{os.cpu_count()} cores, {ARCH}, random weights, seed {args.seed}")
        for command in programs.values():
            run(command, warm)
        print(f"{'':16}{'':24}{'pictures/s':>11}{'seconds':>9}{'ours':>7}{'peak MiB':>10}")
        for folder, count in (("400 px", args.photos), ("12 megapixels", args.large), ("8", 8)):
            rows: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
            for _ in range(args.rounds):
                for name, command in programs.items():
                    rows[name].append(run(command, place / folder))
            for name, measured in rows.items():
                seconds, peak = (statistics.median(row[i] for row in measured) for i in (0, 1))
                pairs = zip(rows["lookalike"], measured, strict=True)
                ratio = statistics.median(other[0] / ours[0] for ours, other in pairs)
                print(
                    f"{folder:16}{name:24}{count / seconds:11.2f}{seconds:9.2f}{ratio:7.2f}"
                    f"{peak:10.0f}",
                    flush=True,
                )
        model = f"{ARCH}:{place / 'random.safetensors'}"
        (place / "notes").symlink_to(place / "models")
        print(f"\nbackend of ours: {find_backend(model, place / 'models')}")
        print(f"{'ours alone':16}{'':24}{'D/s':>11}{'E/s':>9}{'both/s':>9}{'ratio':>7}")
        for folder in ("400 px", "12 megapixels"):
            few = place / "8"
            row = _one("alone", place / folder, few, model)
            row += _one("together", place / folder, few, model)
            ratio = row[2] * (1 / row[0] + 1 / row[1])
            print(f"{folder:40}{row[0]:11.1f}{row[1]:9.1f}{row[2]:9.1f}{ratio:7.2f}", flush=True)


if __name__ == "__main__":
    main()
