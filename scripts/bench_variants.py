"""How good variants are and what they cost, by regime, in one run.

scripts/bench variants --data DATA [--n 400] [--reference 3000] [--rounds 5] [--seed 0] [--out FILE]

DATA holds clothing/test and photos-dev, pictures that no training saw (n of them, half and half),
photos144-open-*.zip, which the model was trained on, and the networks that measure
(efficientnet-lite2, mobilenetv2).

Quality: Frechet distance and KID x 1000 of the centers of the pictures at 128 px against
`reference` training pictures, over the features of both networks. Beside the regimes: the pictures
themselves (the floor), through the autoencoder, through 64 px and back, through JPEG of quality 10.
Likeness: cosine of EfficientNet-Lite2 features and of `mini` between a variant and its picture,
with 95 % intervals by bootstrap over pictures; diversity: 1 - cosine of `mini` between two variants
of one picture; how often the acceptance test passes. Acceptance: of uniform noise, black, white,
grey, and training pictures in place of variants.
Cost: seconds of four variants at 256 px, encoding and decoding included, and shares of it; the
network's share of the rate of a product of two 2048 x 2048 matrices in the same round.
--out: a WebP of some of them, clothes alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
from bench_diffusion import product, seconds
from PIL import Image, ImageOps
from retrieval import interval
from sheet import sheet

from diffusion import Denoiser, load
from diffusion.data import read, to_bytes, to_unit
from diffusion.evaluation.distance import frechet, kid, moments, nearest
from diffusion.evaluation.report import halved, jpeg
from diffusion.sampling.variants import REGIMES, variants
from search.acceptance import SHARES, Acceptance, least_similarity
from search.embedders.mini import Mini
from search.embedders.mobilenet import to_tensor
from search.runtime import flops, torch

SIDE, LONG, BATCH, SHOWN = 128, 256, 20, 10


def teachers(data: Path) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """(N, 3, S, S) uint8 -> (N, 1280) features, by the name of each network."""

    def make(net: torch.nn.Module, size: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def encode(pictures: torch.Tensor) -> torch.Tensor:
            parts = []
            for some in pictures.split(50):
                arrays = some.permute(0, 2, 3, 1).numpy()
                scaled = [
                    np.asarray(Image.fromarray(a).resize((size, size), Image.Resampling.BICUBIC))
                    for a in arrays
                ]
                with torch.inference_mode():
                    parts.append(net.features(to_tensor(scaled, net.mean, net.std, "cpu")))
            return torch.cat(parts)

        return encode

    return {
        "EfficientNet-Lite2": make(networks.efficientnet(data), 260),
        "MobileNetV2": make(networks.mobilenet(data), 224),
    }


def embedded(mini: Mini, pictures: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) uint8 -> (N, 512) unit vectors."""
    pixels = [
        mini.preparation(Image.fromarray(p))
        for p in pictures.permute(0, 2, 3, 1).contiguous().numpy()
    ]
    return np.concatenate([mini.embed(pixels[i : i + 16]) for i in range(0, len(pixels), 16)])


def made(model: Denoiser, pictures: torch.Tensor, vectors: np.ndarray, regime: str, seed: int):
    """A variant of each picture, uint8, and seconds."""
    from diffusion.sampling.samplers import dpmpp_2m, grid, normals

    dial, begun, parts = REGIMES[model.config.space][regime], time.monotonic(), []
    for first in range(0, len(pictures), BATCH):
        some = pictures[first : first + BATCH]
        with torch.inference_mode():
            x0 = model.encode(to_unit(some))
            seeds = range(seed + first, seed + first + len(some))
            sigmas = grid(model.noise, dial.steps, dial.sigma)
            x = normals(seeds, tuple(x0.shape[1:]))() * sigmas[0]
            x = x + x0 if dial.sigma < model.noise.highest else x
            condition = torch.from_numpy(vectors[first : first + BATCH])
            denoise = model.denoise(condition, dial.guidance, dial.interval)
            for state in dpmpp_2m(denoise, x, sigmas):
                x = state.x
            parts.append(to_bytes(model.decode(x)))
    return torch.cat(parts), time.monotonic() - begun


def quality(args: argparse.Namespace, model: Denoiser) -> None:
    """The tables of quality, likeness and acceptance, and the sheet."""
    mini, encoders = Mini(), teachers(args.data)
    held = [read([args.data / name], SIDE) for name in ("clothing/test", "photos-dev")]
    order = np.random.default_rng(args.seed)
    half = args.n // 2
    chosen = [p.only(order.permutation(len(p))[:half].tolist()).images for p in held]
    pictures = torch.cat(chosen)
    zips = sorted(args.data.glob("photos144-open-*.zip"))
    trained = read(zips, SIDE)
    known = trained.only(order.permutation(len(trained))[: args.reference].tolist()).images
    vectors = embedded(mini, pictures)
    sets = {"held out (floor)": pictures}
    with torch.inference_mode():
        sets["through the autoencoder"] = torch.cat(
            [to_bytes(model.decode(model.encode(to_unit(p)))) for p in pictures.split(BATCH)]
        )
    sets["through 64 px"] = halved(pictures)
    sets["through JPEG q10"] = jpeg(pictures)
    again = {}
    for regime in SHARES:
        sets[regime], took = made(model, pictures, vectors, regime, args.seed)
        again[regime], _ = made(model, pictures[:100], vectors[:100], regime, args.seed + 10**6)
        print(f"{regime}: {took:.0f} s for {len(pictures)}", flush=True)
    names = list(encoders)
    print(f"\nn {len(pictures)}, reference {len(known)}, {SIDE} px, seed {args.seed}\n")
    heads = " | ".join(f"Frechet, {n} | KID x 1000 | nearest training picture" for n in names)
    print(f"| | {heads} | cosine to the picture (Lite2) | cosine (mini) |")
    print("| --- |" + " --- |" * (3 * len(names) + 2))
    reference = {name: encode(known) for name, encode in encoders.items()}
    own = {name: encode(pictures) for name, encode in encoders.items()}
    for what, some in sets.items():
        cells = []
        for name, encode in encoders.items():
            found = encode(some)
            distance = frechet(moments(found), moments(reference[name]))
            value, error = kid(found, reference[name])
            near = float(nearest(found, reference[name])[1].median())
            cells += [f"{distance:.1f}", f"{1000 * value:.1f} ± {1000 * error:.1f}", f"{near:.1f}"]
            if name == names[0]:
                cosine = torch.nn.functional.cosine_similarity(found, own[name]).numpy()
        alike = (embedded(mini, some) * vectors).sum(1)
        cells += [interval(cosine, args.seed), interval(alike, args.seed)]
        print(f"| {what} | " + " | ".join(cells) + " |", flush=True)

    strangers = embedded(mini, known[: min(1000, len(known) - 30)])
    random = torch.Generator().manual_seed(args.seed)
    flat = torch.ones(30, 3, SIDE, SIDE, dtype=torch.uint8)
    foreign = {
        "noise": torch.randint(0, 256, flat.shape, generator=random, dtype=torch.uint8),
        **{name: flat * level for name, level in (("black", 0), ("white", 255), ("grey", 128))},
        "other training pictures": known[-30:],
    }
    print("\n| accepted | " + " | ".join(["variants", *foreign]) + " | diversity |")
    print("| --- |" + " --- |" * (len(foreign) + 2))
    rows = pictures[:: max(1, len(pictures) // 60)]
    row_vectors = vectors[:: max(1, len(pictures) // 60)]
    foreign_vectors = {what: embedded(mini, some) for what, some in foreign.items()}
    for regime in SHARES:
        passed = []
        alike = (embedded(mini, sets[regime]) * vectors).sum(1)
        for i, picture in enumerate(pictures):
            least = least_similarity(vectors[i], strangers, regime)
            test = Acceptance(least, as_image(picture))
            passed.append(test.distance(float(alike[i]), as_image(sets[regime][i])) == 0)
        cells = [f"{np.mean(passed):.3f}"]
        for what, some in foreign.items():
            hits = []
            for picture, vector in zip(rows, row_vectors, strict=True):
                test = Acceptance(least_similarity(vector, strangers, regime), as_image(picture))
                for one, other in zip(some, foreign_vectors[what], strict=True):
                    hits.append(test.distance(float(other @ vector), as_image(one)) == 0)
            cells.append(f"{np.mean(hits):.3f}")
        first, second = embedded(mini, sets[regime][:100]), embedded(mini, again[regime])
        cells.append(interval(1 - (first * second).sum(1), args.seed))
        print(f"| {regime} | " + " | ".join(cells) + " |", flush=True)
    if args.out:
        shown = np.linspace(0, half - 1, SHOWN).round().astype(int)  # the clothes, which are CC0
        columns = ["through the autoencoder", *SHARES]
        tiles = [
            [as_image(pictures[i]), *(as_image(sets[name][i]) for name in columns)] for i in shown
        ]
        columns[0] = "autoencoder"
        sheet(tiles, columns).save(args.out, "WebP", quality=80, method=6)


def as_image(picture: torch.Tensor) -> Image.Image:
    """(3, H, W) uint8 -> RGB."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def cost(model: Denoiser, args: argparse.Namespace) -> None:
    """The table of what four variants cost."""
    path = sorted((args.data / "photos-dev").glob("*/*"))[0]
    picture = ImageOps.fit(Image.open(path).convert("RGB"), (LONG, LONG))
    vector = torch.from_numpy(Mini().embed([Mini().preparation(picture)])[0])
    x = to_unit(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    with torch.inference_mode():
        z = model.encode(x[None])
        sigma = torch.ones(4, dtype=torch.float64)
        four = z.repeat(4, 1, 1, 1)
        parts = {
            "encode": (lambda: model.encode(x[None]), 1),
            "a pass of 4": (lambda: model(four, sigma, vector.expand(4, -1)), 1),
            "decode 4": (lambda: model.decode(four), 1),
        }
        gflop = flops(lambda: model(four, sigma, vector.expand(4, -1)))[0] / 1e9
        took = {what: seconds(work, False) for what, (work, _) in parts.items()}
    print("\n" + ", ".join(f"{what} {s:.2f} s" for what, s in took.items()))
    rate = 2 * 2048**3 / seconds(product("cpu"), False) / 1e9
    print(f"GEMM {rate:.0f} GFLOP/s; a pass {gflop / took['a pass of 4'] / rate:.2f} of it\n")
    print(f"| regime | passes | s for 4 variants at {LONG} px, median of {args.rounds} | to most |")
    print("| --- | --- | --- | --- |")
    for regime, dial in REGIMES[model.config.space].items():
        times = []
        for number in range(args.rounds):
            begun = time.monotonic()
            variants(model, x, 4, regime=regime, condition=vector, seed=number)
            times.append(time.monotonic() - begun)
        low, middle, high = np.quantile(times, [0, 0.5, 1])
        print(f"| {regime} | {dial.steps} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--reference", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5, help="of the costs; 0 for none")
    parser.add_argument("--checkpoint", default="photo", help="a file, or a name in the package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a WebP of some of them")
    args = parser.parse_args()
    model = load(args.checkpoint)
    print(f"{torch.get_num_threads()} threads, weights {model.about['sha256'][:12]}\n")
    if args.rounds:
        cost(model, args)
    if args.n:
        quality(args, model)


if __name__ == "__main__":
    main()
