"""How good the models in the package are, beside their references.

scripts/bench models [--data ../shared/data] [--seed 0] [--only mini|ddpm] [--compare FILE...]

`mini`, beside its teachers and the version before it. Category retrieval: leave-one-out mAP and
1-NN; 95 % intervals by bootstrap over queries, also of the difference to EfficientNet-Lite2. Edited
copies: the first of every five of photos-dev, attacked, among all of photos-dev and clothing (test,
train). Words: the share of right pictures among the first ten by each word, on pictures that did
not choose the words (photos64-val, every second one from the second on; photos-dev; clothing test).
Speed: pictures/s in batches of 16 and the milliseconds of one picture, all cores.

The DDPM, beside pictures through 32 px and through JPEG: `scripts/bench ddpm`, on a CPU with 1,000
samples against 10,000 training pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import bench_ddpm
import numpy as np
from networks import efficientnet, mobilenet
from PIL import Image
from retrieval import (
    HARD,
    HELD_OUT,
    PLAIN,
    Embed,
    Load,
    archive,
    categories,
    folder,
    interval,
    recall,
    vectors,
)
from timm.data import ImageNetInfo

from diffusion.model import checkpoint
from search.embedders.mini import WORDS, Mini
from search.embedders.mobilenet import to_tensor
from search.embedders.vocabulary import RELIABLE, Word
from search.media.preprocessing import Preprocessing
from search.runtime import torch


def network(net: torch.nn.Module, size: int) -> Embed:
    """A teacher's pooled features as unit vectors."""
    prepare = Preprocessing(size)

    def embed(pictures: Sequence[Image.Image]) -> np.ndarray:
        with torch.inference_mode():
            features = net.features(to_tensor([prepare(p) for p in pictures], net.mean, net.std))
        return torch.nn.functional.normalize(features, dim=1).numpy()

    return embed


def embed_by(model: Mini) -> Embed:
    """The vectors of a version of `mini`."""
    return lambda pictures: model.embed([model.preprocessing(p) for p in pictures])


def histogram(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Return square roots of a histogram of 8 x 8 x 8 colours: the simplest baseline."""
    rows = []
    for picture in pictures:
        pixels = np.asarray(picture.resize((64, 64))).reshape(-1, 3) // 32
        rows.append(np.bincount(pixels @ np.array([64, 8, 1]), minlength=512))
    array = np.sqrt(np.array(rows, np.float32))
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def hashes(paths: Sequence[Path]) -> None:
    """Print the hashes of the files that are measured."""
    print()
    for path in paths:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        print(f"{path.name:<20}{len(data) / 1e6:>6.1f} MB  sha256 {digest}")


def retrieval(data: Path, models: dict[str, Embed], seed: int) -> None:
    """mAP and 1-NN of every set and model, and the difference of the first two models."""
    sets = {
        "clothing test": folder(data / "clothing" / "test"),
        "photos64-val": archive(data / "photos64-val.zip", slice(HELD_OUT), 25),
        "photos-dev": folder(data / "photos-dev"),
    }
    print(f"\n{'category retrieval':<28}{'set':<16}{'n':>5}  {'mAP [95 %]':<25}1-NN [95 %]")
    for title, (loads, labels) in sets.items():
        scores = [categories(vectors(embed, loads), labels) for embed in models.values()]
        first, second = scores[:2]
        less = first[0] - second[0], first[1] - second[1]
        names = [*models, "the first less the second"]
        for name, (ap, nn) in zip(names, [*scores, less], strict=True):
            text = f"{interval(ap, seed):<25}{interval(nn, seed)}"
            print(f"{name:<28}{title:<16}{len(labels):>5}  {text}", flush=True)


DEV_WORDS = {  # folder of photos-dev -> words for what it shows
    "beach": ("beach",),
    "buildings": ("building",),
    "buses": ("bus",),
    "dinosaurs": ("dinosaur",),
}
TEST_WORDS = {  # folder of clothing/test -> words
    "dress": ("dress",),
    "hat": ("hat",),
    "outwear": ("coat",),
    "pants": ("trousers", "jeans"),
    "shoes": ("shoe", "sneakers"),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "t-shirt": ("t-shirt",),
}


def words(data: Path, mini: Mini, seed: int) -> None:
    """The share of right pictures among the first ten by each word, as a search ranks them."""
    vocabulary = mini.vocabulary()
    if vocabulary is None:
        print("\nno words beside these weights: scripts/train/words.py makes them")
        return
    place = {wnid: i for i, wnid in enumerate(ImageNetInfo().label_names())}
    listed = sorted(json.loads((data / "photos64-classes.json").read_text()))
    loads, kinds = archive(data / "photos64-val.zip", slice(None), 25)
    classes = np.array([place.get(listed[i], -1) for i in kinds[1::2]])
    rank = ranking(mini, loads[1::2])
    print(f"\nwords: {len(vocabulary.words)}; the share of right ones among the first ten [95 %]")
    for title, chosen in (("all words", False), ("everyday words", True)):
        shares = [
            right[rank(word)[:10]].mean()
            for word in vocabulary.words
            if (word.everyday or not chosen)
            and (right := np.isin(classes, word.classes)).sum() >= 10
        ]
        good = np.mean(np.array(shares) >= RELIABLE)
        print(
            f"  photos64-val, {title:<16}{len(shares):>4}  {interval(np.array(shares), seed)}",
            end="",
        )
        print(f"  at least {RELIABLE}: {good:.2f}")
    for name, table in (("photos-dev", DEV_WORDS), ("clothing/test", TEST_WORDS)):
        loads, labels = folder(data / name)
        shelves = sorted(p.name for p in (data / name).iterdir())
        rank = ranking(mini, loads)
        for shelf, texts in table.items():
            for text in texts if shelf in shelves else ():
                part = vocabulary.split(text)[0]
                if part.word is None:
                    print(f"  {name}: {text}: not known")
                    continue
                share = (labels[rank(part.word)[:10]] == shelves.index(shelf)).mean()
                print(f"  {name}: {text:<16}{share:.1f}")


def ranking(mini: Mini, loads: Sequence[Load]) -> Callable[[Word], np.ndarray]:
    """Pictures -> a function from a word to their order, best first: by the probability of its
    classes as it is stored at indexing, then by the cosine to its vector."""
    vocabulary = mini.vocabulary()
    x, names = list[np.ndarray](), list[dict[str, float]]()
    for start in range(0, len(loads), 16):
        pixels = [mini.preprocessing(load()) for load in loads[start : start + 16]]
        rows, labels = mini.embed_with_labels(pixels)
        x.append(rows)
        names += [{label.name: label.score for label in one} for one in labels]
    stacked = np.concatenate(x)

    def rank(word: Word) -> np.ndarray:
        classes = vocabulary.classes_of([word])
        scores = np.array([sum(one.get(name, 0.0) for name in classes) for one in names])
        return np.lexsort((-(stacked @ vocabulary.mean([word])), -scores))

    return rank


def copies(data: Path, models: dict[str, Embed], seed: int) -> None:
    """Recall@1 of attacked pictures, embedding alone; intervals by bootstrap over the pictures."""
    places = (data / "photos-dev", data / "clothing" / "test", data / "clothing" / "train")
    loads = [load for place in places for load in folder(place)[0]]
    queries = range(0, len(folder(places[0])[0]), 5)
    names = list(models)
    index = {name: vectors(models[name], loads) for name in names}
    print(f"\nedited copies: recall@1, {len(queries)} queries each, index of {len(loads)}")
    print(f"{'':<28}" + "".join(f"{name:>28}" for name in names))
    for kind, attacks in (("plain", PLAIN), ("hard", HARD)):
        table: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for title, attack in attacks.items():
            for name in names:
                table[name].append(recall(models[name], loads, queries, index[name], attack, seed))
            row = "".join(f"{table[n][-1].mean():>22.2f}" for n in names)
            print(f"  {title:<26}{row}", flush=True)
        means = {name: np.mean(table[name], 0) for name in names}
        row = "".join(f"{interval(means[n], seed):>28}" for n in names)
        print(f"{'mean of ' + kind:<28}{row}", flush=True)
        less = interval(means[names[0]] - means[names[1]], seed)
        print(f"  {names[0]} less {names[1]}: {less}", flush=True)


def timed(runs: dict[str, Callable[[], object]], turns: int, times: int) -> dict[str, float]:
    """Return the median seconds of a call of each, over rounds, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for turn in range(turns + 1):
            for name, run in runs.items():
                begun = time.perf_counter()
                for _ in range(times):
                    run()
                if turn:
                    seconds[name].append((time.perf_counter() - begun) / times)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def speed(nets: dict[str, tuple[torch.nn.Module, int]]) -> None:
    """Pictures/s and milliseconds of each network. nets: with the size of the input."""
    print(f"\n{'speed of the network':<28}{'pictures/s, 16':>16}{'ms of one':>12}")
    each = {}
    for count, turns, times in ((16, 5, 3), (1, 9, 10)):
        inputs = {
            name: torch.rand(count, 3, side, side).to(memory_format=torch.channels_last)
            for name, (_, side) in nets.items()
        }
        runs = {n: lambda n=n, x=inputs: nets[n][0].features(x[n]) for n in nets}
        each[count] = timed(runs, turns, times)
    for name in nets:
        print(f"{name:<28}{16 / each[16][name]:>16.0f}{1000 * each[1][name]:>12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--weights", type=Path, help="weights of mini other than the shipped ones")
    parser.add_argument(
        "--compare", type=Path, nargs="+", help="weights of mini: category retrieval of each, alone"
    )
    parser.add_argument("--only", choices=("mini", "ddpm"))
    parser.add_argument("--cache", type=Path, help="as `scripts/bench ddpm` has it")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not (args.data / "photos-dev").is_dir():
        raise SystemExit(f"{args.data} has no photos-dev; give --data")
    if args.compare:
        compared = {f"{p.parent.name}/{p.name}"[-27:]: Mini(weights=p) for p in args.compare}
        retrieval(args.data, {n: embed_by(one) for n, one in compared.items()}, args.seed)
        hashes(args.compare)
        return
    mini = Mini(weights=args.weights)
    print(f"mini {mini.fingerprint}; {torch.get_num_threads()} threads; seed {args.seed}")
    if args.only != "ddpm":
        measure(args, mini)
    if args.only != "mini":
        words = ["--data", str(args.data), "--seed", str(args.seed), "--reference", "10000"]
        words += ["--cache", str(args.cache)] if args.cache else []
        words += ["--steps", "11", "--guidance", "1", "3", "--interval", "0.2", "5"]
        print(f"\n{bench_ddpm.report(bench_ddpm.arguments(words)).table()}")
    measured = [mini.path, mini.path.with_name(WORDS)]
    measured += [checkpoint.shipped_path(name) for name in ("ddpm", "ddpm-weak")]
    hashes([path for path in measured if path.exists()])


def measure(args: argparse.Namespace, mini: Mini) -> None:
    """Measure `mini`."""
    before = Mini(version="mini-1")
    teachers = {
        "EfficientNet-Lite2, 260 px": (efficientnet(args.data), 260),
        "MobileNetV2, 224 px": (mobilenet(args.data), 224),
    }
    name = f"mini, {mini.preprocessing.size} px"

    models: dict[str, Embed] = {name: embed_by(mini)}
    models |= {title: network(*teacher) for title, teacher in teachers.items()}
    models["mini-1, 160 px"] = embed_by(before)
    models["colour histogram"] = histogram
    speed({name: (mini.load_torch(), mini.preprocessing.size), **teachers})
    retrieval(args.data, models, args.seed)
    copies(args.data, {n: models[n] for n in models if n != "colour histogram"}, args.seed)
    words(args.data, mini, args.seed)


if __name__ == "__main__":
    main()
