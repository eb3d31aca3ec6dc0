"""Does diffusion help a search? Clean and degraded queries: plain, expanded, restored, augmented.

scripts/bench diffusion-helps [--data ../shared/data] [--cache FOLDER] [--plot FILE.png] [--seed 0]
                              [--quick] [--sets photos64-val,photos-dev,clothing]

Three sets: clothes (test and validation part), photos64-val and photos-dev. Each is the library;
`--queries` pictures of it, degraded, are the queries. R@1 is the share of queries whose original
comes first. mAP is that of pictures of the same class, the original left out. Pictures have a short
side of `--short` pixels at most, as small copies from the web have.

Hyperparameters of the rivals are chosen on one half of the queries and used on the other, both
ways, so that every query is measured with values that it did not choose. Intervals are for 95 %:
paired bootstrap over queries of the difference to the plain search. The denoiser over vectors is
trained on 4,000 pictures of photos144. All vectors are cached in `--cache`, so that the command can
be interrupted and goes on. One thread.
"""

from __future__ import annotations

import argparse
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from drawn_views import degrade, draw_variants, embed_pictures
from PIL import Image
from vector_denoiser import VectorDenoiser

from diffusion import Denoiser, load
from search.embedders.mini import Mini
from search.generation import restoration
from search.media.degradation import estimate_degradation
from search.querying.expansion import ALPHA, expand_vector

Picture = np.ndarray  # (H, W, 3) uint8
CLASSICAL = ("noise 30", "noise 60", "noise 100", "low light")  # for the classical denoisers
KERNELS, STRENGTHS = (3, 5), (0.7, 1.0)  # of the median, and of non-local means by the noise
NEIGHBOURS, ALPHAS = (1, 2, 3, 5, 10, 20), (0.0, 1.0, 3.0, 6.0)
PAINTERS = ("mean colour", "Telea", "diffusion")
SCALES = (1.0, 1.33, 2.0)  # of the least noise from which a query is restored
SIGMAS, SHARES = (0.1, 0.3, 0.6, 1.0), (0.5, 1.0)  # of the denoiser over vectors
TRAINED = 4000  # pictures that it is trained on


def add_noise(picture: Picture, rng: np.random.Generator, level: float) -> Picture:
    """Add white noise of a standard deviation, 0 to 255."""
    noisy = picture + rng.normal(0, level, picture.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def darken(picture: Picture, rng: np.random.Generator) -> Picture:
    """Keep an eighth of the light, with the noise of a sensor."""
    return add_noise((picture / 8).astype(np.float32), rng, 4)


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blur by 2 % of the short side."""
    return cv2.GaussianBlur(picture, (0, 0), 0.02 * min(picture.shape[:2]))


def find_block(picture: Picture) -> tuple[slice, slice]:
    """Return the block that hides the middle of a picture, a quarter of it."""
    h, w = picture.shape[:2]
    return slice(h // 4, h // 4 + h // 2), slice(w // 4, w // 4 + w // 2)


def occlude(picture: Picture, rng: np.random.Generator) -> Picture:
    """Hide the middle under one colour."""
    hidden = picture.copy()
    hidden[find_block(picture)] = rng.integers(0, 256, 3)
    return hidden


def shrink(picture: Picture, rng: np.random.Generator) -> Picture:
    """Scale to a quarter of the size, at least 16 pixels."""
    h, w = picture.shape[:2]
    share = max(0.25, 16 / min(h, w))
    size = max(1, round(w * share)), max(1, round(h * share))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def compress(picture: Picture, rng: np.random.Generator) -> Picture:
    """Save as JPEG of quality 10."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=10)
    return np.asarray(Image.open(out))


KINDS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "clean": lambda picture, rng: picture,
    "noise 30": lambda picture, rng: add_noise(picture, rng, 30),
    "noise 60": lambda picture, rng: add_noise(picture, rng, 60),
    "noise 100": lambda picture, rng: add_noise(picture, rng, 100),
    "low light": darken,
    "blur": blur,
    "occlusion": occlude,
    "tiny": shrink,
    "JPEG q10": compress,
}


@dataclass
class Set:
    """A library. labels: class of each picture; queries: places of those that are asked for."""

    name: str
    pictures: list[Picture]
    labels: np.ndarray
    queries: np.ndarray


def read_sets(args: argparse.Namespace) -> Iterator[Set]:
    """Yield the sets that `--data` has."""

    def make(name: str, pairs: Sequence[tuple[str, Callable[[], Image.Image]]]) -> Set:
        classes = sorted({label for label, _ in pairs})
        labels = np.array([classes.index(label) for label, _ in pairs])
        pictures = [fit(opener(), args.short) for _, opener in pairs]
        count = min(args.queries, len(pairs))
        rng = np.random.default_rng(args.seed)
        return Set(name, pictures, labels, np.sort(rng.permutation(len(pairs))[:count]))

    def list_folder(folder: Path) -> list[tuple[str, Callable[[], Image.Image]]]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [(path.parent.name, lambda path=path: Image.open(path)) for path in files]

    if (args.data / "photos64-val.zip").exists():
        file = zipfile.ZipFile(args.data / "photos64-val.zip")
        names = sorted(name for name in file.namelist() if name.endswith(".jpg"))[:: args.every]
        yield make(
            "photos64-val",
            [(n.split("/")[0], lambda n=n: Image.open(io.BytesIO(file.read(n)))) for n in names],
        )
    if (args.data / "photos-dev").is_dir():
        yield make("photos-dev", list_folder(args.data / "photos-dev"))
    if (args.data / "clothing").is_dir():
        parts = [list_folder(args.data / "clothing" / part) for part in ("test", "validation")]
        yield make("clothing", [*parts[0], *parts[1]])


def fit(picture: Image.Image, short: int) -> Picture:
    """Scale a picture to a short side of at most so many pixels."""
    share = min(1.0, short / min(picture.size))
    size = round(picture.width * share), round(picture.height * share)
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def sample_pictures(path: Path, count: int, args: argparse.Namespace) -> list[Picture]:
    """Return pictures of a zip of photos144, at most so many."""
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if name.endswith(".webp"))
        chosen = np.random.default_rng(args.seed).permutation(len(names))[:count]
        return [fit(Image.open(io.BytesIO(file.read(names[i]))), args.short) for i in chosen]


def edit(picture: Picture) -> list[Picture]:
    """Return three classical edits of a picture: mirrored, and cropped to 80 % at two corners."""
    h, w = picture.shape[:2]
    y, x = round(0.2 * h), round(0.2 * w)
    return [picture[:, ::-1], picture[: h - y, : w - x], picture[y:, x:]]


class Bench:
    """Computes the vectors of one set, and keeps them in files."""

    def __init__(self, args: argparse.Namespace, one: Set) -> None:
        self.args, self.set, self.mini = args, one, Mini()
        self.folder = args.cache / f"{one.name}-{args.short}-{args.queries}-{args.seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._models: dict[str, Denoiser] = {}

    def model(self, name: str) -> Denoiser:
        """Open a diffusion model when it is first used."""
        if name not in self._models:
            self._models[name] = load(name)
        return self._models[name]

    def keep(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return arrays by their names, from the file if they are there. Adds `seconds`."""
        path = self.folder / f"{name.replace(' ', '-')}.npz"
        if not path.exists():
            start = time.process_time()
            with torch.inference_mode():
                arrays = make()
            out = io.BytesIO()
            np.savez(out, seconds=time.process_time() - start, **arrays)
            path.write_bytes(out.getvalue())
            print(f"  {self.set.name}: {name}", flush=True)
        with np.load(path) as file:
            return dict(file)

    def embed(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Return vectors, (n, dim) of unit length."""
        return embed_pictures(
            self.mini, [Image.fromarray(np.ascontiguousarray(one)) for one in pictures]
        )

    def embed_index(self) -> np.ndarray:
        """Return (n, dim) vectors of the library."""
        return self.keep("index", lambda: {"rows": self.embed(self.set.pictures)})["rows"]

    def embed_edits(self) -> np.ndarray:
        """Return (n, 3, dim) vectors of the edits of the library's pictures."""
        return self.embed_three("index edits", lambda i: edit(self.set.pictures[i]))

    def embed_degraded(self) -> np.ndarray:
        """Return (n, 3, dim) vectors of copies of the library's pictures that are degraded by
        chance (`drawn_views.degrade`), with other seeds than the queries."""

        def make(i: int) -> list[Picture]:
            rng = np.random.default_rng([self.args.seed + 1, i])
            picture = Image.fromarray(self.set.pictures[i])
            return [np.asarray(degrade(picture, rng)) for _ in range(3)]

        return self.embed_three("index degraded", make)

    def embed_three(self, name: str, make: Callable[[int], list[Picture]]) -> np.ndarray:
        """Return vectors of three pictures for each of the library, (n, 3, dim). make: returns the
        three of a place in the library."""

        def embed() -> dict[str, np.ndarray]:
            count = len(self.set.pictures)
            rows = self.embed([one for i in range(count) for one in make(i)])
            return {"rows": rows.reshape(count, 3, -1)}

        return self.keep(name, embed)["rows"]

    def degrade(self, kind: str) -> list[Picture]:
        """Return the queries of a kind; each has noise of its own seed."""
        seed, make = self.args.seed, KINDS[kind]
        return [
            make(self.set.pictures[i], np.random.default_rng([seed, int(i)]))
            for i in self.set.queries
        ]

    def plain(self, kind: str) -> np.ndarray:
        """Return the vectors of the queries of a kind."""
        return self.keep(f"plain {kind}", lambda: {"rows": self.embed(self.degrade(kind))})["rows"]

    def blend(self, kind: str) -> np.ndarray:
        """Return vectors of the edits of the queries, (n, 3, dim)."""

        def make() -> dict[str, np.ndarray]:
            rows = self.embed([one for p in self.degrade(kind) for one in edit(p)])
            return {"rows": rows.reshape(-1, 3, rows.shape[1])}

        return self.keep(f"edits {kind}", make)["rows"]

    def restore(self, kind: str) -> dict[str, np.ndarray]:
        """Return `rows` of the restored queries, `ratios` of noise to the limit from which they are
        restored, and `dark`, whether they are brightened. Below the lowest of `SCALES` a picture
        stays as it is."""

        def make() -> dict[str, np.ndarray]:
            rows, pictures, ratios, dark = self.plain(kind).copy(), {}, [], []
            for i, picture in enumerate(self.degrade(kind)):
                estimate = estimate_degradation(picture)
                actions, gain, noise = restoration.choose_actions(estimate)
                ratios.append(estimate.noise * gain / restoration.least_noise(estimate.short))
                dark.append("brighten" in actions)
                if ratios[-1] >= min(SCALES) or dark[-1]:
                    steps = (*actions, "denoise") if ratios[-1] >= min(SCALES) else actions
                    *_, pictures[i] = restoration.restore_pixels(
                        self.model("ddpm"), picture, steps, gain, noise
                    )
            if pictures:
                rows[list(pictures)] = self.embed(list(pictures.values()))
            return {"rows": rows, "ratios": np.array(ratios), "dark": np.array(dark)}

        return self.keep(f"restored {kind}", make)

    def brighten(self) -> np.ndarray:
        """Return vectors of dark queries that were brightened, their noise left in them."""

        def brighten(picture: Picture) -> Picture:
            estimate = estimate_degradation(picture)
            _, gain, noise = restoration.choose_actions(estimate)
            *_, light = restoration.restore_pixels(None, picture, ("brighten",), gain, noise)
            return light

        def make() -> dict[str, np.ndarray]:
            return {"rows": self.embed([brighten(one) for one in self.degrade("low light")])}

        return self.keep("brightened", make)["rows"]

    def clean_classically(self, kind: str, method: str, value: float) -> np.ndarray:
        """Return vectors of queries after a classical denoiser; dark ones are brightened first, as
        the restoration does. value: pixels of the median, or strength by the estimated noise."""

        def clean(picture: Picture) -> Picture:
            _, gain, noise = restoration.choose_actions(estimate_degradation(picture))
            light = (picture * gain).round().clip(0, 255).astype(np.uint8)
            if method == "median":
                return cv2.medianBlur(light, int(value))
            strength = value * noise
            return cv2.fastNlMeansDenoisingColored(light, None, strength, strength, 7, 15)

        def make() -> dict[str, np.ndarray]:
            return {"rows": self.embed([clean(picture) for picture in self.degrade(kind)])}

        return self.keep(f"{method} {value} {kind}", make)["rows"]

    def paint(self, method: str) -> np.ndarray:
        """Return vectors of the occluded queries after their block was painted over."""

        def fill(picture: Picture) -> Picture:
            hidden = np.zeros(picture.shape[:2], bool)
            hidden[find_block(picture)] = True
            if method == "mean colour":
                filled = picture.copy()
                filled[hidden] = picture[~hidden].mean(axis=0)
                return filled
            if method == "Telea":
                return cv2.inpaint(picture, hidden.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            *_, painted = restoration.paint_pixels(self.model("photo"), picture, hidden)
            return painted

        def make() -> dict[str, np.ndarray]:
            return {"rows": self.embed([fill(picture) for picture in self.degrade("occlusion")])}

        return self.keep(f"painted {method}", make)["rows"]

    def vary(self) -> np.ndarray:
        """Return vectors of three near variants of each picture of the library, (n, 3, dim)."""

        def make() -> dict[str, np.ndarray]:
            model, rows = self.model("photo"), []
            for picture, vector in zip(self.set.pictures, self.embed_index(), strict=True):
                variants = draw_variants(model, Image.fromarray(picture), vector, [0, 1, 2])
                rows.append(embed_pictures(self.mini, variants))
            return {"rows": np.stack(rows)}

        return self.keep("variants", make)["rows"]

    def fit_denoiser(self) -> VectorDenoiser | None:
        """Train the denoiser over vectors, or return None without photos144."""
        path = self.args.data / "photos144-open-0.zip"
        if not path.exists():
            return None
        cached = self.folder.parent / f"photos144-{self.args.short}-{self.args.seed}.npy"
        if not cached.exists():
            pictures = sample_pictures(path, TRAINED, self.args)
            with torch.inference_mode():
                np.save(cached, self.embed(pictures))
        return VectorDenoiser.fit(np.load(cached), self.args.seed)


class Scorer:
    """Scores the answers to the queries of one set."""

    def __init__(self, one: Set, index: np.ndarray) -> None:
        self.set, self.index = one, index
        same = one.labels[one.queries][:, None] == one.labels[None]
        same[np.arange(len(one.queries)), one.queries] = False
        self.same = same

    def score(self, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(q, n) similarities of the first q queries -> R@1 and AP of each, (q,)."""
        rows, own = np.arange(len(similarity)), self.set.queries[: len(similarity)]
        first = (similarity.argmax(1) == own).astype(float)
        others = similarity.copy()
        others[rows, own] = -np.inf
        order = np.argsort(-others, axis=1, kind="stable")[:, :-1]
        hits = np.take_along_axis(self.same[: len(similarity)], order, 1)
        precision = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)
        count = hits.sum(1)
        return first, (precision * hits).sum(1) / np.maximum(count, 1)

    def match(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score the vectors of queries, (q, dim)."""
        return self.score(rows @ self.index.T)

    def expand(self, rows: np.ndarray, n: int, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Score expanded queries. The AP is of queries whose original is not in the library."""
        similarity = rows @ self.index.T
        own = self.set.queries[: len(rows)]
        absent = similarity.copy()
        absent[np.arange(len(rows)), own] = -np.inf
        results = []
        for scores in (similarity, absent):
            nearest = np.argsort(-scores, axis=1, kind="stable")[:, :n]
            expanded = np.stack(
                [
                    expand_vector(row, self.index[near], alpha)
                    for row, near in zip(rows, nearest, strict=True)
                ]
            )
            results.append(self.match(expanded))
        return results[0][0], results[1][1]


Scores = tuple[np.ndarray, np.ndarray]


def cross_fit(options: dict[object, Scores]) -> tuple[Scores, str]:
    """Choose the option with the best sum of R@1 and mAP on each half of the queries, and use it on
    the other half. Returns the scores, and the two choices."""
    count = len(next(iter(options.values()))[0])
    half = np.arange(count) % 2 == 0
    first, second = np.empty(count), np.empty(count)
    chosen = []
    for side in (half, ~half):
        best = max(options, key=lambda name: sum(part[side].mean() for part in options[name]))
        chosen.append(str(best))
        for out, part in zip((first, second), options[best], strict=True):
            out[~side] = part[~side]
    return (first, second), " / ".join(dict.fromkeys(chosen))


def average(rows: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return the unit mean of vectors (n, dim) and others (n, m, dim) of the same pictures."""
    total = rows + more.sum(1)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def compute_vectors(bench: Bench, is_quick: bool) -> None:
    """Compute all vectors of a set, the most telling ones first."""
    bench.embed_index()
    for kind in KINDS:
        bench.plain(kind)
        bench.restore(kind)
    bench.brighten()
    for kind in CLASSICAL:
        for method, values in (("median", KERNELS), ("NLM", STRENGTHS)):
            for value in values:
                bench.clean_classically(kind, method, value)
    if is_quick:
        return
    for kind in KINDS:
        bench.blend(kind)
    bench.embed_edits()
    bench.embed_degraded()
    bench.vary()
    for method in PAINTERS:
        bench.paint(method)


def measure(bench: Bench, args: argparse.Namespace) -> list[tuple[str, str, Scores, Scores, str]]:
    """Return (kind, method, scores, plain scores, note) of one set."""
    index = bench.embed_index()
    scorer = Scorer(bench.set, index)
    lines = []
    denoiser = None if args.quick else bench.fit_denoiser()
    more = dict[str, np.ndarray]()
    if not args.quick:
        more = {
            "edits": bench.embed_edits(),
            "degraded copies": bench.embed_degraded(),
            "variants": bench.vary(),
        }
    means = {name: Scorer(bench.set, average(index, others)) for name, others in more.items()}
    for kind in KINDS:
        rows = bench.plain(kind)
        plain = scorer.match(rows)

        def add(method: str, scores: Scores, note: str = "") -> None:
            lines.append((kind, method, scores, plain, note))  # noqa: B023

        def expand(rows: np.ndarray, scorer: Scorer = scorer) -> tuple[Scores, str]:
            grid = [(n, alpha) for n in NEIGHBOURS for alpha in ALPHAS]
            options = {(0, 0.0): scorer.match(rows)}
            return cross_fit(options | {one: scorer.expand(rows, *one) for one in grid})

        add("plain", plain)
        add("alpha-QE, N and alpha chosen", *expand(rows))
        add("alpha-QE, 3 and the shipped alpha", scorer.expand(rows, 3, ALPHA))
        restored = bench.restore(kind)
        options = {}
        for scale in SCALES:
            used = (restored["ratios"] >= scale) | restored["dark"]
            options[scale] = np.where(used[:, None], restored["rows"], rows)
        used = (restored["ratios"] >= 1) | restored["dark"]
        add("restored", scorer.match(options[1.0]), f"{used.mean():.3f} of the queries touched")
        if kind == "clean":
            for scale in SCALES:
                share = ((restored["ratios"] >= scale) | restored["dark"]).mean()
                add(f"restored, limit x {scale}", scorer.match(options[scale]), f"{share:.3f}")
        if kind == "low light":
            add("brightened alone", scorer.match(bench.brighten()))
        if used.any():
            add("restored, then alpha-QE", *expand(options[1.0]))
        if kind in CLASSICAL:
            for method, values in (("median", KERNELS), ("NLM", STRENGTHS)):
                tried = {v: scorer.match(bench.clean_classically(kind, method, v)) for v in values}
                add(method, *cross_fit(tried))
        if denoiser:
            denoised: dict[object, Scores] = {(0.0, 0.0): plain}
            for sigma in SIGMAS:
                clean = denoiser.denoise(rows, sigma)
                for share in SHARES:
                    mixed = (1 - share) * rows + share * clean
                    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
                    denoised[sigma, share] = scorer.match(mixed)
            add("denoiser over vectors, sigma and share chosen", *cross_fit(denoised))
        if args.quick:
            continue
        add("query: mean with 3 edits", scorer.match(average(rows, bench.blend(kind))))
        if kind == "clean":
            varied = more["variants"][bench.set.queries]
            add("query: mean with 3 variants", scorer.match(average(rows, varied)))
        if kind == "occlusion":
            for painter in PAINTERS:
                add(f"painted: {painter}", scorer.match(bench.paint(painter)))
        for name, others in more.items():
            mean = means[name]
            add(f"index: mean with 3 {name}", mean.match(rows))
            stack = np.stack([rows @ one.T for one in (index, *np.moveaxis(others, 1, 0))])
            add(f"index: itself and 3 {name}", scorer.score(stack.max(0)))
            if used.any():
                add(f"restored; index: mean with 3 {name}", mean.match(options[1.0]))
            add(f"index: mean with 3 {name}, then alpha-QE", *expand(rows, mean))
    return lines


def interval(differences: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the mean, and the 95 % interval of the mean by 2,000 bootstrap samples."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(differences), (2000, len(differences)))
    low, high = np.quantile(differences[picks].mean(1), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def show(value: tuple[float, float, float]) -> str:
    """Format a difference with its interval."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*value)


def draw(path: Path, results: dict[str, list[tuple[str, str, Scores, Scores, str]]]) -> None:
    """Draw R@1 by kind of query, one panel for each set."""
    from matplotlib import pyplot as plt

    methods = ("plain", "NLM", "median", "alpha-QE, N and alpha chosen", "restored")
    colors = ("#999999", "#c9a227", "#8c6bb1", "#2b8cbe", "#d7301f")
    figure, axes = plt.subplots(1, len(results), figsize=(4.6 * len(results), 4), sharey=True)
    for axis, (name, lines) in zip(np.atleast_1d(axes), results.items(), strict=True):
        kinds = list(KINDS)
        for i, (method, color) in enumerate(zip(methods, colors, strict=True)):
            shares = {kind: scores[0].mean() for kind, m, scores, _, _ in lines if m == method}
            at = [kinds.index(kind) + 0.16 * (i - 2) for kind in shares]
            axis.bar(at, list(shares.values()), 0.16, color=color, label=method)
        axis.set_title(f"{name}, {len(lines[0][2][0])} queries")
        axis.set_xticks(range(len(kinds)), kinds, rotation=45, ha="right")
    np.atleast_1d(axes)[0].set_ylabel("share of queries whose original comes first")
    np.atleast_1d(axes)[-1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that say which sets there are, and where vectors are kept."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--data", type=Path, default=root / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=Path("build") / "diffusion-helps")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--short", type=int, default=96)
    parser.add_argument("--every", type=int, default=5, help="of photos64-val, each such picture")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--quick", action="store_true", help="no edits, index, variants, painting")
    parser.add_argument("--sets", default="", help="names of some sets, with commas between")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    results = {}
    for one in read_sets(args):
        if args.sets and one.name not in args.sets.split(","):
            continue
        bench = Bench(args, one)
        compute_vectors(bench, args.quick)
        lines = results[one.name] = measure(bench, args)
        print(f"\n{one.name}: {len(one.pictures)} pictures, {len(one.queries)} queries, ", end="")
        print(f"seed {args.seed}\n")
        print("| query | with | R@1 | against plain | mAP | against plain | note |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for kind, method, scores, plain, note in lines:
            cells = [kind, method]
            for part, base in zip(scores, plain, strict=True):
                gain = "" if method == "plain" else show(interval(part - base, args.seed))
                cells += [f"{part.mean():.3f}", gain]
            print("| " + " | ".join([*cells, note]) + " |", flush=True)
        print("\nCPU seconds a query, embedding included:")
        for path in sorted(bench.folder.glob("*.npz")):
            with np.load(path) as file:
                print(f"  {path.stem}: {float(file['seconds']) / len(file['rows']):.3f}")
    if args.plot and results:
        draw(args.plot, results)


if __name__ == "__main__":
    main()
