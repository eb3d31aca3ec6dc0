"""How good the models in the package are, beside their references, in one run.

scripts/bench models [--data ../shared/data] [--seed 0] [--only mini|ddpm] [--ways]

`mini`, beside the network it began as. Category retrieval: leave-one-out mAP and 1-NN; 95 %
intervals by bootstrap over queries, also of the difference to that network. Naming: whether the
first, or one of the first five, of the names that it knows is the picture's. Edited copies: the
first of every five of photos-dev, attacked, among all of photos-dev and clothing (test, train).
Speed: pictures/s in batches of 16 and the milliseconds of one picture, all cores; with --ways also
in other memory formats and runtimes.

The DDPM, beside pictures through 32 px and through JPEG: `scripts/bench ddpm`, on a CPU with 1,000
samples against 10,000 training pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import bench_ddpm
import numpy as np
from lesson import HELD_OUT, class_names, teacher
from PIL import Image
from retrieval import (
    HARD,
    PLAIN,
    Embed,
    archive,
    categories,
    folder,
    interval,
    recall,
    vectors,
)
from train_names import CLOTHES

from diffusion import checkpoint
from search.embedders.base import Preparation
from search.embedders.mini import NAMES, Mini
from search.embedders.mobilenet import normalise
from search.embedders.names import RELIABLE, Names
from search.runtime import torch


def network(net: torch.nn.Module, size: int) -> Embed:
    """The teacher's pooled features as unit vectors."""
    prepare = Preparation(size)

    def embed(pictures: Sequence[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            features = net.features(normalise([prepare(p) for p in pictures]))
        return torch.nn.functional.normalize(features, dim=1).numpy()

    return embed


def histogram(pictures: Sequence[Image.Image]) -> np.ndarray:
    """8 x 8 x 8 colours, square-rooted: the simplest thing that could work."""
    rows = []
    for picture in pictures:
        pixels = np.asarray(picture.resize((64, 64))).reshape(-1, 3) // 32
        rows.append(np.bincount(pixels @ np.array([64, 8, 1]), minlength=512))
    array = np.sqrt(np.array(rows, np.float32))
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def hashes(paths: Sequence[Path]) -> None:
    """Which files were measured."""
    print()
    for path in paths:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        print(f"{path.name:<20}{len(data) / 1e6:>6.1f} MB  sha256 {digest}")


def retrieval(data: Path, models: dict[str, Embed], seed: int) -> None:
    sets = {
        "clothing test": folder(data / "clothing" / "test"),
        "photos64-val": archive(data / "photos64-val.zip", slice(HELD_OUT), 25),
        "photos-dev": folder(data / "photos-dev"),
    }
    print(f"\n{'category retrieval':<22}{'set':<16}{'n':>5}  {'mAP [95 %]':<25}1-NN [95 %]")
    for title, (loads, labels) in sets.items():
        found = [categories(vectors(embed, loads), labels) for embed in models.values()]
        ours, theirs = found[:2]  # mini, and the network that it began as
        less = ours[0] - theirs[0], ours[1] - theirs[1]
        for name, (ap, nn) in zip([*models, "mini less MobileNetV2"], [*found, less], strict=True):
            said = f"{interval(ap, seed):<25}{interval(nn, seed)}"
            print(f"{name:<22}{title:<16}{len(labels):>5}  {said}", flush=True)


def naming(data: Path, embed: Embed, mini: Mini, seed: int) -> None:
    """How often the nearest name of the table is the picture's."""
    table = mini.names()
    with zipfile.ZipFile(data / "photos64-val.zip") as file:
        wnids = sorted({n.split("/")[0] for n in file.namelist() if n.endswith(".jpg")})
    loads, labels = archive(data / "photos64-val.zip", slice(None), 25)
    x, listed = vectors(embed, loads), class_names(data, wnids)[1]
    # the taught names stand first, in the order of their classes
    right = labels[:, None] - HELD_OUT == np.arange(len(table.names))[None]
    taught = labels >= HELD_OUT
    in_list = taught & np.array([wnids[k] in listed for k in labels])
    print(f"\nnaming among {len(table.names)} names [95 %]")
    _named("photos64-val, names of the list", x[in_list], right[in_list], table, seed)
    _named("photos64-val, all taught", x[taught], right[taught], table, seed)
    other = taught & (np.arange(len(labels)) % 2 == 1)  # the even ones chose what is searched for
    _found("photos64-val", x[other], right[other], table, seed)
    loads, labels = folder(data / "clothing" / "test")
    owner = [kind for kind, (_, called) in enumerate(sorted(CLOTHES.items())) for _ in called]
    right = labels[:, None] == np.array([-1] * (len(table.names) - len(owner)) + owner)[None]
    x = vectors(embed, loads)
    _named("clothing test, all guessed", x, right, table, seed)
    _found("clothing test", x, right, table, seed)
    print(f"  searched for: {', '.join(table.known())}")


def _named(title: str, x: np.ndarray, right: np.ndarray, table: Names, seed: int) -> None:
    order = np.argsort(-(x @ table.vectors.T), 1)
    for top in (1, 5):
        hits = np.take_along_axis(right, order[:, :top], 1).any(1).astype(float)
        print(f"  {title:<34}n {len(hits):>5}  top-{top} {interval(hits, seed)}")


def _found(title: str, x: np.ndarray, right: np.ndarray, table: Names, seed: int) -> None:
    """Of the first ten pictures by a name, the share that is right; mean over the names that are
    searched for and have pictures there."""
    shares = [
        right[np.argsort(-(x @ table.vectors[row]))[:10], row].mean()
        for row, name in enumerate(table.names)
        if name.precision >= RELIABLE and right[:, row].any()
    ]
    said = interval(np.array(shares), seed) if shares else "none is searched for"
    print(f"  {title + ', first ten by name':<34}names {len(shares):>3}  {said}")


def copies(data: Path, models: dict[str, Embed], seed: int) -> None:
    """Recall@1 of attacked pictures, embedding alone; intervals by bootstrap over the pictures."""
    places = (data / "photos-dev", data / "clothing" / "test", data / "clothing" / "train")
    loads = [load for place in places for load in folder(place)[0]]
    queries = range(0, len(folder(places[0])[0]), 5)
    names = [name for name in models if name != "MobileNetV2, 160 px"]
    index = {name: vectors(models[name], loads) for name in names}
    print(f"\nedited copies: recall@1, {len(queries)} queries each, index of {len(loads)}")
    print(f"{'':<28}" + "".join(f"{name:>22}" for name in names))
    for kind, attacks in (("plain", PLAIN), ("hard", HARD)):
        table: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for title, attack in attacks.items():
            for name in names:
                table[name].append(recall(models[name], loads, queries, index[name], attack, seed))
            row = "".join(f"{table[n][-1].mean():>22.2f}" for n in names)
            print(f"  {title:<26}{row}", flush=True)
        means = {name: np.mean(table[name], 0) for name in names}
        row = "".join(f"{interval(means[n], seed):>22}" for n in names)
        print(f"{'mean of ' + kind:<28}{row}", flush=True)
        less = interval(means[names[0]] - means[names[1]], seed)
        print(f"  {names[0]} less {names[1]}: {less}", flush=True)


def timed(runs: dict[str, Callable[[], object]], turns: int, times: int) -> dict[str, float]:
    """Seconds of one call of each, the medians of so many turns, after one that warms up."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for name, run in runs.items():
                begun = time.perf_counter()
                for _ in range(times):
                    run()
                if turn:
                    found[name].append((time.perf_counter() - begun) / times)
    return {name: float(np.median(values)) for name, values in found.items()}


def speed(mini: Mini, old: torch.nn.Module) -> None:
    size = mini.preparation.size
    nets = {f"mini, {size} px": (mini.load(), size), "MobileNetV2, 224 px": (old, 224)}
    nets["MobileNetV2, 160 px"] = (old, 160)
    print(f"\n{'speed of the network':<22}{'pictures/s, 16':>16}{'ms of one':>12}")
    each = {}
    for count, turns, times in ((16, 5, 3), (1, 9, 10)):
        inputs = {
            name: torch.rand(count, 3, side, side).to(memory_format=torch.channels_last)
            for name, (_, side) in nets.items()
        }
        runs = {n: lambda n=n, x=inputs: nets[n][0].features(x[n]) for n in nets}
        each[count] = timed(runs, turns, times)
    for name in nets:
        print(f"{name:<22}{16 / each[16][name]:>16.0f}{1000 * each[1][name]:>12.1f}")
    ratio = each[16]["MobileNetV2, 224 px"] / each[16][f"mini, {size} px"]
    print(f"mini is {ratio:.2f}x the 224 px one")


def ways(mini: Mini) -> None:
    """The same network in other memory formats and runtimes, those that are installed."""
    size, net = mini.preparation.size, mini.load()
    plain, compiled = type(net)().eval(), torch.compile(net)
    plain.load_state_dict(net.state_dict())
    print(f"\n{'other ways to run mini':<26}{'pictures/s, 16':>16}{'ms of one':>12}")
    rows: dict[str, dict[int, float]] = {}
    for count, turns, times in ((16, 5, 3), (1, 9, 10)):
        x = torch.rand(count, 3, size, size)
        last = x.to(memory_format=torch.channels_last)
        runs = {
            "channels_last, as it is": lambda x=last: net(x),
            "contiguous": lambda x=x: plain(x),
            "torch.compile": lambda x=last: compiled(x),
        }
        for name, seconds in timed(runs | exported(plain, x), turns, times).items():
            rows.setdefault(name, {})[count] = seconds
    for name, seconds in rows.items():
        print(f"{name:<26}{16 / seconds[16]:>16.0f}{1000 * seconds[1]:>12.1f}")


def exported(net: torch.nn.Module, x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """ONNX Runtime and OpenVINO, where they are installed."""
    runs: dict[str, Callable[[], object]] = {}
    try:
        import openvino

        model = openvino.compile_model(openvino.convert_model(net, example_input=x), "CPU")
        runs["OpenVINO"] = lambda: model(x.numpy())
    except ImportError:
        pass
    try:
        import onnxruntime

        with tempfile.TemporaryDirectory() as place:
            path = f"{place}/mini.onnx"
            torch.onnx.export(net, (x,), path, input_names=["x"])
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        runs["ONNX Runtime"] = lambda: session.run(None, {"x": x.numpy()})
    except ImportError:
        pass
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--weights", type=Path, help="weights of mini other than the shipped ones")
    parser.add_argument("--only", choices=("mini", "ddpm"))
    parser.add_argument("--ways", action="store_true")
    parser.add_argument("--cache", type=Path, help="as `scripts/bench ddpm` has it")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not (args.data / "photos-dev").is_dir():
        raise SystemExit(f"{args.data} has no photos-dev; give --data")
    mini = Mini(weights=args.weights)
    print(f"mini {mini.fingerprint}; {torch.get_num_threads()} threads; seed {args.seed}")
    if args.only != "ddpm":
        measure(args, mini)
    if args.only != "mini":
        words = ["--data", str(args.data), "--seed", str(args.seed), "--reference", "10000"]
        words += ["--cache", str(args.cache)] if args.cache else []
        words += ["--steps", "12", "--guidance", "1", "3", "--interval", "0.2", "1.5"]
        print(f"\n{bench_ddpm.report(bench_ddpm.arguments(words)).table()}")
    measured = [mini.path, mini.path.with_name(NAMES), checkpoint.shipped()]
    hashes([path for path in measured if path.exists()])


def measure(args: argparse.Namespace, mini: Mini) -> None:
    """All that is asked of `mini`."""
    old = teacher(args.data)
    mini.embed([np.zeros((mini.preparation.size,) * 2 + (3,), np.uint8)])
    models: dict[str, Embed] = {
        f"mini, {mini.preparation.size} px": lambda p: mini.embed([mini.preparation(x) for x in p]),
        "MobileNetV2, 224 px": network(old, 224),
        "MobileNetV2, 160 px": network(old, 160),
        "colour histogram": histogram,
    }
    speed(mini, old)
    if args.ways:
        ways(mini)
    retrieval(args.data, models, args.seed)
    copies(args.data, models, args.seed)
    if mini.path.with_name(NAMES).exists():
        naming(args.data, next(iter(models.values())), mini, args.seed)
    else:
        print("\nno names beside these weights: scripts/train_names.py --weights makes them")


if __name__ == "__main__":
    main()
