"""How good variants are and what they cost, by regime.

scripts/bench variants --data DATA [--n 400] [--reference 3000] [--rounds 5] [--seed 0] [--out FILE]
    [--checkpoint C]

DATA holds clothing/test and photos-dev, pictures that no training saw (n of them, half and half),
photos144-open-*.zip, which `photo` was trained on, and the networks of the features
(efficientnet-lite2, mobilenetv2).

Quality: Frechet distance and KID x 1000 of the centers of the pictures, at the size that the model
was trained on (`photo`: 128 px, `ddpm`: 64 px), against `reference` pictures of photos144, over the
features of both networks. Beside the regimes: the pictures themselves (the floor), through the
autoencoder, through half the size and back, through JPEG of quality 10.
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
import sys
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import networks
import numpy as np
from bench_ddpm import conditions, draw_samples, encoder, photographs
from bench_diffusion import product, seconds
from PIL import Image, ImageOps
from retrieval import interval
from sheet import sheet

from diffusion import Denoiser, load
from diffusion.data import read_pictures, to_bytes, to_unit
from diffusion.evaluation.report import Evaluator, through_half_size, through_jpeg
from diffusion.sampling.sample import load_condition
from diffusion.sampling.variants import REGIMES, VariantSettings, denoise_states, variants
from search.embedders.mini import VERSIONS, Mini
from search.generation.acceptance import MIN_SHARES, Acceptance, least_similarity
from search.runtime import flops, torch

LONG, BATCH, SHOWN = 256, 20, 10
SAMPLING = {"steps": 15, "guidance": 2.0, "interval": (0.2, 10.0)}


def make_variants(
    model: Denoiser,
    pictures: torch.Tensor,
    vectors: torch.Tensor,
    chosen: VariantSettings,
    seed: int,
) -> torch.Tensor:
    """A variant of each of (N, 3, S, S) uint8, in the same form."""
    parts = []
    for first in range(0, len(pictures), BATCH):
        some = slice(first, first + BATCH)
        with torch.inference_mode():
            start = model.encode(to_unit(pictures[some]))
            seeds = range(seed + first, seed + first + len(start))
            *_, last = denoise_states(model, start, seeds, chosen, vectors[some])
            parts.append(to_bytes(model.decode(last.x)))
    return torch.cat(parts)


def choose_pictures(
    data: Path, n: int, reference: int, side: int, seed: int, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """n held-out pictures, half clothes and half photographs, and `reference` training pictures,
    (N, 3, side, side) uint8.

    first: how many held-out pictures of each kind to skip: those that other figures are of.
    """
    held = [read_pictures([data / name], side) for name in ("clothing/test", "photos-dev")]
    order = np.random.default_rng(seed)
    some = slice(first, first + n // 2)
    chosen = [p.select(order.permutation(len(p))[some].tolist()).images for p in held]
    trained = read_pictures(sorted(data.glob("photos144-open-*.zip")), side)
    known = trained.select(order.permutation(len(trained))[:reference].tolist()).images
    return torch.cat(chosen), known


def encoder_of(model: Denoiser) -> Mini:
    """The version of `mini` whose vectors the model is conditioned on. Raises SystemExit."""
    fingerprint = model.about.get("encoder", {}).get("fingerprint")
    for version in VERSIONS:
        mini = Mini(version=version)
        if fingerprint in (mini.fingerprint, *mini.earlier_fingerprints):
            return mini
    raise SystemExit("the model is not conditioned on vectors of mini; give another --checkpoint")


def quality(args: argparse.Namespace, model: Denoiser) -> None:
    """The tables of quality, likeness and acceptance, and the sheet."""
    mini, side, regimes = Mini(), model.config.size, REGIMES[model.config.space]
    nets = {
        "EfficientNet-Lite2": (networks.efficientnet(args.data), 260),
        "MobileNetV2": (networks.mobilenet(args.data), 224),
    }
    pictures, known = choose_pictures(args.data, args.n, args.reference, side, args.seed)
    vectors = conditions(pictures, mini)
    encoder_used = encoder_of(model)
    same_encoder = encoder_used.fingerprint == mini.fingerprint
    condition = vectors if same_encoder else conditions(pictures, encoder_used)
    sets = {"held out (floor)": pictures}
    with torch.inference_mode():
        sets["through the autoencoder"] = torch.cat(
            [to_bytes(model.decode(model.encode(to_unit(p)))) for p in pictures.split(BATCH)]
        )
    sets[f"through {side // 2} px"] = through_half_size(pictures)
    sets["through JPEG q10"] = through_jpeg(pictures)
    again, alike = {}, {}
    for regime in MIN_SHARES:
        start_time = time.monotonic()
        sets[regime] = make_variants(model, pictures, condition, regimes[regime], args.seed)
        print(f"{regime}: {time.monotonic() - start_time:.0f} s for {len(pictures)}", flush=True)
        again[regime] = make_variants(
            model, pictures[:100], condition[:100], regimes[regime], args.seed + 10**6
        )
    print(f"\nn {len(pictures)}, reference {len(known)}, {side} px, seed {args.seed}\n")
    heads = " | ".join(f"Frechet, {n} | KID x 1000 | nearest training picture" for n in nets)
    print(f"| | {heads} | cosine to the picture (Lite2) | cosine (mini) |")
    print("| --- |" + " --- |" * (3 * len(nets) + 2))
    evaluators = [
        Evaluator(encoder(net, size, "cpu"), name, known, args.seed)
        for name, (net, size) in nets.items()
    ]
    if model.about.get("bank"):  # as `lookalike diffusion sample` draws, and resized to the same
        bank = load_condition(model, len(pictures), seed=args.seed)
        how = (model, bank, len(pictures), args.seed, SAMPLING)
        sets["unconditional"], _, _ = draw_samples(*how)
    own = evaluators[0].encode(pictures).features
    for what, some in sets.items():
        encoded = [evaluator.encode(some) for evaluator in evaluators]
        cells = []
        for evaluator, one in zip(evaluators, encoded, strict=True):
            row = evaluator.evaluate_encoded(what, one)
            error = f"{1000 * row.kid:.1f} ± {1000 * row.kid_error:.1f}"
            cells += [f"{row.frechet:.1f}", error, f"{row.near:.1f}"]
        cosine = torch.nn.functional.cosine_similarity(encoded[0].features, own).numpy()
        alike[what] = (conditions(some, mini) * vectors).sum(1).numpy()
        cells += [interval(cosine, args.seed), interval(alike[what], args.seed)]
        print(f"| {what} | " + " | ".join(cells) + " |", flush=True)

    strangers = conditions(known[: min(1000, len(known) - 30)], mini).numpy()
    random = torch.Generator().manual_seed(args.seed)
    flat = torch.ones(30, 3, side, side, dtype=torch.uint8)
    foreign = {
        "noise": torch.randint(0, 256, flat.shape, generator=random, dtype=torch.uint8),
        **{name: flat * level for name, level in (("black", 0), ("white", 255), ("grey", 128))},
        "other training pictures": known[-30:],
    }
    print("\n| accepted | " + " | ".join(["variants", *foreign]) + " | diversity |")
    print("| --- |" + " --- |" * (len(foreign) + 2))
    every = max(1, len(pictures) // 60)
    queries = photographs(pictures)
    foreign_vectors = {what: conditions(some, mini).numpy() for what, some in foreign.items()}
    for regime in MIN_SHARES:
        tests = [
            Acceptance(least_similarity(vector, strangers, regime), query)
            for vector, query in zip(vectors.numpy(), queries, strict=True)
        ]
        accepted = [
            test.distance(float(similarity), variant) == 0
            for test, similarity, variant in zip(
                tests, alike[regime], photographs(sets[regime]), strict=True
            )
        ]
        cells = [f"{np.mean(accepted):.3f}"]
        for what, some in foreign.items():
            similarities = vectors[::every].numpy() @ foreign_vectors[what].T
            hits = [
                test.distance(float(similarity), other) == 0
                for test, row in zip(tests[::every], similarities, strict=True)
                for similarity, other in zip(row, photographs(some), strict=True)
            ]
            cells.append(f"{np.mean(hits):.3f}")
        first, second = (conditions(p, mini) for p in (sets[regime][:100], again[regime]))
        cells.append(interval(1 - (first * second).sum(1).numpy(), args.seed))
        print(f"| {regime} | " + " | ".join(cells) + " |", flush=True)
    if args.out:
        shown = (
            np.linspace(0, args.n // 2 - 1, SHOWN).round().astype(int)
        )  # the clothes, which are CC0
        columns = ["through the autoencoder", *MIN_SHARES]
        tiles = [[queries[i], *(photographs(sets[c][i, None])[0] for c in columns)] for i in shown]
        columns[0] = "autoencoder"
        sheet(tiles, columns).save(args.out, "WebP", quality=80, method=6)


def cost(model: Denoiser, args: argparse.Namespace) -> None:
    """The table of what four variants cost."""
    path = sorted((args.data / "photos-dev").glob("*/*"))[0]
    picture = ImageOps.fit(Image.open(path).convert("RGB"), (LONG, LONG))
    mini = encoder_of(model)
    vector = torch.from_numpy(mini.embed([mini.preprocessing(picture)])[0])
    x = to_unit(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    with torch.inference_mode():
        z = model.encode(x[None])
        sigma = torch.ones(4, dtype=torch.float64)
        four = z.repeat(4, 1, 1, 1)
        parts = {
            "encode": lambda: model.encode(x[None]),
            "a pass of 4": lambda: model(four, sigma, vector.expand(4, -1)),
            "decode 4": lambda: model.decode(four),
        }
        gflop = flops(parts["a pass of 4"])[0] / 1e9
        costs = {what: seconds(work, False) for what, work in parts.items()}
    print("\n" + ", ".join(f"{what} {s:.2f} s" for what, s in costs.items()))
    rate = 2 * 2048**3 / seconds(product("cpu"), False) / 1e9
    print(f"GEMM {rate:.0f} GFLOP/s; a pass {gflop / costs['a pass of 4'] / rate:.2f} of it\n")
    print(f"| regime | passes | s for 4 variants at {LONG} px, median of {args.rounds} | to most |")
    print("| --- | --- | --- | --- |")
    for regime, settings in REGIMES[model.config.space].items():
        times = []
        for number in range(args.rounds):
            start_time = time.monotonic()
            variants(model, x, 4, regime=regime, condition=vector, seed=number)
            times.append(time.monotonic() - start_time)
        low, middle, high = np.quantile(times, [0, 0.5, 1])
        print(
            f"| {regime} | {settings.steps} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True
        )


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
