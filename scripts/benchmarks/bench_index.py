"""How fast indexing is: decoding, embedding, both end to end, and memory.

scripts/bench index [--model mini] [--photos 600] [--large 96] [--rounds 3] [--seed 0]

It makes photographs of 400 px and of 12 megapixels from the sample pictures: each is cut a little
differently and saved again. Each round times the three. The ratio compares end to end with
1 / (1/D + 1/E), the best that decoding at D and embedding at E can reach on the same cores.

With an open_clip model, as `--model ViT-B-32:random` (random weights, made for the run) or any that
`lookalike --model` takes, a second table compares with open_clip in a plain loop: the same weights
in batches of 32, and end to end with Pillow and open_clip's transform, one picture after the other.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from search.process import tune_process

SAMPLES = Path(__file__).resolve().parents[2] / "search" / "samples"


def make(
    folder: Path, count: int, size: tuple[int, int] | None, seed: int, data: Path = SAMPLES
) -> None:
    """Write `count` photographs, as wide as the pictures in a folder or of `size`."""
    rng = random.Random(seed)
    samples = sorted(data.rglob("*.jpg"))
    for i in range(count):
        with Image.open(samples[i % len(samples)]) as picture:
            w, h = picture.size
            box = (rng.uniform(0, w / 20), rng.uniform(0, h / 20), w - rng.uniform(0, w / 20), h)
            image = picture.convert("RGB").resize(size or (w, h), Image.Resampling.BICUBIC, box)
        if size:  # fine detail, so that the file is as large as a camera's
            grain = Image.effect_noise(size, 12).convert("RGB")
            image = Image.blend(image, grain, 0.08)
        image.save(folder / f"{i:04d}.jpg", quality=90)


def measure_alone(folder: Path, warm: Path, model: str) -> tuple[float, float]:
    """Pictures per second of decoding alone and of embedding alone, each with all cores.

    What is measured of the backends is noted in the folder `notes` beside `warm`.
    """
    from search.embedders.backends import BackendEmbedder
    from search.embedders.models import Models
    from search.media.decoder_pool import DecodedPicture, DecodeRequest, DecoderPool
    from search.runtime import Runtime
    from search.settings import Settings

    settings = Settings.load()
    runtime = Runtime(settings.threads)
    more = (settings.backend, settings.threads, True)
    notes = warm.parent / "notes"
    models = Models(model, "cpu", notes, lambda: runtime, lambda _: None, *more)
    embedder = models.open(model)
    paths = sorted(folder.iterdir())
    with DecoderPool(settings.workers) as loader:
        requests = [(p, DecodeRequest(str(p), features="compact", frames=True)) for p in paths]
        list(loader.load(requests[:4], embedder.preprocessing))
        start = time.perf_counter()
        loaded = [r for _, r in loader.load(requests, embedder.preprocessing)]
        decoding = len(paths) / (time.perf_counter() - start)
    pixels = [r.pixels for r in loaded if isinstance(r, DecodedPicture) and r.pixels is not None]
    if isinstance(embedder, BackendEmbedder):
        backend = embedder.runner.choose(len(paths))
        runtime.run(lambda: embedder.runner.load(backend))
    runtime.run(lambda: embedder.embed(pixels[: embedder.batch]))
    start = time.perf_counter()
    for i in range(0, len(pixels), embedder.batch):
        runtime.run(lambda part=pixels[i : i + embedder.batch]: embedder.embed(part))
    embedding = len(pixels) / (time.perf_counter() - start)
    runtime.close()
    return decoding, embedding


def measure_beside(folder: Path, _: Path, model: str) -> tuple[float, float, float]:
    """Pictures per second of our embedding, of open_clip's in a plain loop, and of the plain loop
    end to end; the three take turns over 32 pictures each."""
    from search.embedders.openclip import OpenClip
    from search.embedders.openclip_models import import_open_clip
    from search.runtime import Runtime, torch
    from search.settings import Settings

    threads = Settings.load().threads
    runtime = Runtime(threads)
    torch.set_num_threads(threads)
    ours = OpenClip(model, breathe=runtime.breathe)
    runtime.run(ours.load)
    arch = model.partition(":")[0]
    net, _, transform = import_open_clip().create_model_and_transforms(
        arch, pretrained=str(ours.path)
    )
    net.eval()

    def embed(pixels: list[Any]) -> None:
        for j in range(0, len(pixels), ours.batch):
            runtime.run(lambda some=pixels[j : j + ours.batch]: ours.embed(some))

    def encode(tensors: list[Any]) -> None:
        with torch.no_grad():
            net.encode_image(torch.stack(tensors), normalize=True).numpy()

    def run_whole(part: list[Path]) -> None:
        encode([transform(Image.open(path)) for path in part])

    paths = sorted(folder.iterdir())
    spent = [0.0, 0.0, 0.0]
    for i in range(-32, len(paths), 32):  # the first turn warms up
        part = paths[i : i + 32] if i >= 0 else paths[:8]
        pictures = [Image.open(path).convert("RGB") for path in part]
        pixels, tensors = map(ours.preprocessing, pictures), map(transform, pictures)
        calls = ((embed, list(pixels)), (encode, list(tensors)), (run_whole, part))
        for k, (call, argument) in enumerate(calls):
            start = time.perf_counter()
            call(argument)
            spent[k] += time.perf_counter() - start if i >= 0 else 0.0
    runtime.close()
    ours_s, plain_s, whole_s = (len(paths) / seconds for seconds in spent)
    return ours_s, plain_s, whole_s


def together(folder: Path, warm: Path, model: str) -> tuple[float, float]:
    """Pictures per second of a whole sync, and the peak memory of all its processes in MiB."""
    from search import Engine

    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "models").symlink_to(warm.parent / "notes")
        engine = Engine.open(home=home, model=model, one_shot=True)
        engine.sync(warm)  # the model and the decoding processes are started
        report = engine.sync(folder)
        peak = sum(_peak(pid) for pid in _family(os.getpid()))
        engine.close()
    return report.embedded / report.seconds, peak / 1024


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in _family(int(child)))]


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def weights(model: str, place: Path) -> str:
    """Return the model's name. For ARCH:random, write a file of random weights."""
    arch, _, which = model.partition(":")
    if which != "random":
        return model
    from safetensors.torch import save_file

    from search.embedders.openclip_models import import_open_clip

    path = place / "random.safetensors"
    state = import_open_clip().create_model(arch).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return f"{arch}:{path}"


def rounds(folder: Path, warm: Path, model: str, count: int) -> list[list[float]]:
    """Of each round: decode, embed and index a second, peak memory; and of an open_clip model the
    three figures of `measure_beside`."""
    rows = []
    for _ in range(count):
        row = _one("alone", folder, warm, model) + _one("together", folder, warm, model)
        rows.append(row if model == "mini" else row + _one("beside", folder, warm, model))
    return rows


def _one(what: str, folder: Path, warm: Path, model: str) -> list[float]:
    """Measure in a process of its own, so that peak memory is of one measurement."""
    command = [sys.executable, __file__, "--model", model, "--one", what, str(folder), str(warm)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--large", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        tune_process()  # as the command does
        call = {"alone": measure_alone, "together": together, "beside": measure_beside}[args.one[0]]
        print(*call(Path(args.one[1]), Path(args.one[2]), args.model))
        return
    about = f"{os.cpu_count()} cores, {args.model}, seed {args.seed}"
    print(f"{about}, median of {args.rounds} rounds (min..max)")
    with tempfile.TemporaryDirectory() as place:
        model, rows = weights(args.model, Path(place)), {}
        warm = Path(place) / "warm"
        warm.mkdir()
        make(warm, 8, None, args.seed + 1)
        kinds = (("400 px", args.photos, None), ("12 megapixels", args.large, (4000, 3000)))
        for name, count, size in kinds:
            folder = Path(place) / name
            folder.mkdir()
            make(folder, count, size, args.seed)
            rows[name, count] = rounds(folder, warm, model, args.rounds)
    indexing(rows)
    if model != "mini":
        plain(rows)


def indexing(rows: dict[tuple[str, int], list[list[float]]]) -> None:
    """Print end to end rates beside those of the parts."""
    print(
        f"{'pictures':<16}{'n':>5}{'decode/s':>10}{'embed/s':>10}{'index/s':>10}"
        f"{'ratio':>20}{'peak MiB':>10}"
    )
    for (name, count), measured in rows.items():
        d, e, rate, peak = (statistics.median(row[k] for row in measured) for k in range(4))
        ratio = spread([row[2] * (1 / row[0] + 1 / row[1]) for row in measured])
        print(f"{name:<16}{count:>5}{d:>10.1f}{e:>10.1f}{rate:>10.1f}{ratio:>20}{peak:>10.0f}")
    print("ratio: index/s against 1 / (1/decode + 1/embed); target >= 0.95")


def plain(rows: dict[tuple[str, int], list[list[float]]]) -> None:
    """Print rates beside those of a plain loop of open_clip with the same weights."""
    print(
        f"{'pictures':<16}{'n':>5}{'embed/s':>10}{'loop/s':>8}{'ratio':>20}"
        f"{'index/s':>10}{'loop/s':>8}{'ratio':>20}"
    )
    for (name, count), measured in rows.items():
        ours, loop, index, whole = (
            statistics.median(row[k] for row in measured) for k in (4, 5, 2, 6)
        )
        embedding = spread([row[4] / row[5] for row in measured])
        end = spread([row[2] / row[6] for row in measured])
        print(
            f"{name:<16}{count:>5}{ours:>10.1f}{loop:>8.1f}{embedding:>20}"
            f"{index:>10.1f}{whole:>8.1f}{end:>20}"
        )
    print("targets: embedding >= 1.0; end to end >= 1.5 where decoding is half the loop's time")


if __name__ == "__main__":
    main()
