"""Sweep guidance at equal cost: the guiding model, the weight and the noise levels.

    scripts/bench guidance --data DATA [--model ddpm] [--weak FILE...] [--empty]
        [--guidance W...] [--interval LOW HIGH]... [--n N] [--reference N] [--seed S]
    scripts/bench guidance --data DATA --model photo [--regime concept same] ...

`ddpm`: samples for --n validation pictures that are not among the 1,000 of `scripts/bench ddpm`,
measured as there. `photo`, or `ddpm` with --regime: a variant of each of about --n held-out
pictures that are not among the 500 of `scripts/bench variants`, measured as there. Diversity is
1 - cosine of `mini` between two variants of a picture, over some of the pictures.

--weak: checkpoints that guide; by default the weak model of the checkpoint. --empty: the empty
condition guides too. Each is tried with every weight and interval; a weight of 1 is no guidance,
one row. Every row costs at most --passes network passes (samples: 15; variants: what the regime
costs now), and takes as many steps as that allows. A pass of a weak model counts by its operations.
Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "train"))

import bench_ddpm
import networks
import torch
from bench_ddpm import conditions, encoder, make_progress, make_setup, relative_cost
from bench_variants import choose_pictures, encoder_of, make_variants
from retrieval import interval as bootstrap

from diffusion import Denoiser, load
from diffusion.evaluation.report import Evaluator, Row
from diffusion.model.denoiser import FULL_INTERVAL
from diffusion.sampling.samplers import make_sigmas
from diffusion.sampling.variants import REGIMES, VariantSettings
from search.embedders.mini import Mini

PASSES, MOST_STEPS = 15, 100
MEASURED = 250  # held-out pictures of each kind that `scripts/bench variants --n 500` evaluators
SEED_SHIFT = 10**6  # from the seeds of that script, or to the second variant of a picture


@dataclass(frozen=True)
class Setting:
    """A row of the sweep. name: of the guiding model. weak: None for the empty condition."""

    name: str
    weak: Denoiser | None
    guidance: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        where = "all" if self.interval == FULL_INTERVAL else "{:g}..{:g}".format(*self.interval)
        return f"{self.name} | {self.guidance:g} | {where}"


def count_passes(model: Denoiser, chosen: VariantSettings) -> float:
    """Network passes of one variant, or of a sample if `chosen.sigma` is the highest."""
    start = min(chosen.sigma, model.schedule.sigma_max)
    sigmas = make_sigmas(model.schedule, chosen.steps, start)[:-1]
    low, high = chosen.interval
    guided = sum(low <= sigma <= high for sigma in sigmas) if chosen.guidance != 1 else 0
    cost = 1.0 if model.weak is None else relative_cost(model, model.weak)
    return chosen.steps + guided * cost


def choose_settings(
    model: Denoiser, setting: Setting, sigma: float, passes: float
) -> VariantSettings:
    """The settings of a row, with as many steps as that many passes allow, at least one."""
    chosen = VariantSettings(sigma, setting.guidance, 1, setting.interval)
    candidates = [replace(chosen, steps=steps) for steps in range(1, MOST_STEPS)]
    within = [one for one in candidates if count_passes(model, one) <= passes + 1e-6]
    return within[-1] if within else chosen


def make_settings(args: argparse.Namespace, model: Denoiser) -> Iterator[Setting]:
    """Yield the rows. The one without guidance comes first, if a weight is 1."""
    guides: dict[str, Denoiser | None] = {path.stem: load(path) for path in args.weak}
    if not guides and model.weak is not None:
        guides["weak model"] = model.weak
    if args.empty:
        guides["empty condition"] = None
    if 1 in args.guidance:
        yield Setting("none", None, 1.0, FULL_INTERVAL)
    weights = [weight for weight in args.guidance if weight != 1]
    for name, weight, interval in product(guides, weights, args.interval):
        yield Setting(name, guides[name], weight, tuple(interval))


def print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def print_heads(*heads: str) -> None:
    print_row(*heads)
    print_row(*["---"] * len(heads))


def kid_text(row: Row) -> str:
    return f"{1000 * row.kid:.1f} ± {1000 * row.kid_error:.1f}"


def sweep_samples(args: argparse.Namespace) -> None:
    """Print the table of samples."""
    words = ["--data", str(args.data), "--reference", str(args.reference or 10_000)]
    words += ["--cache", str(args.cache)]
    n, passes = args.n or 500, args.passes or PASSES
    setup = make_setup(
        bench_ddpm.arguments(words), lambda count: torch.arange(2, count, count // n)[:n]
    )
    model, seed = setup.model, SEED_SHIFT + args.seed
    print(
        f"samples: n {n}, {len(setup.reference.images)} of {setup.total} training pictures, seed "
        f"{seed}, at most {passes:g} passes, weights {model.about['sha256'][:12]}\n"
    )
    print_heads(
        *("guided by", "weight", "sigmas", "steps", "passes", "Fréchet", "KID x 1000"),
        *("precision", "recall", "nearest training picture: median", "least"),
    )
    for setting in list(make_settings(args, model)):
        model.set_weak_model(setting.weak)
        chosen = choose_settings(model, setting, model.schedule.sigma_max, passes)
        how = {"steps": chosen.steps, "guidance": chosen.guidance, "interval": chosen.interval}
        samples, used, _ = bench_ddpm.draw_samples(model, setup.condition, n, seed, how)
        row = setup.evaluator.evaluate(setting.name, samples)
        print_row(
            *(str(setting), str(chosen.steps), f"{used:g}", f"{row.frechet:.1f}", kid_text(row)),
            *(f"{row.precision:.3f}", f"{row.recall:.3f}"),
            *(f"{row.near:.1f}", f"{float(row.distances.min()):.1f}"),
        )


def sweep_variants(args: argparse.Namespace) -> None:
    """Print a table of variants for each regime."""
    model, mini = load(args.model), Mini()
    shipped_weak, settings = model.weak, list(make_settings(args, load(args.model)))
    pictures, known = choose_pictures(
        args.data, args.n or 300, args.reference or 2500, model.config.size, 0, MEASURED
    )
    vectors = conditions(pictures, mini)
    condition = conditions(pictures, encoder_of(model))
    nets = {
        "EfficientNet-Lite2": (networks.efficientnet(args.data), 260),
        "MobileNetV2": (networks.mobilenet(args.data), 224),
    }
    evaluators = [
        Evaluator(
            encoder(net, size, "cpu"),
            f"{name} at {size} px",
            known,
            0,
            args.cache,
            make_progress(name),
        )
        for name, (net, size) in nets.items()
    ]
    pairs = slice(None, None, max(1, len(pictures) // args.pairs))
    for regime in args.regime:
        now = REGIMES[model.config.space][regime]
        model.set_weak_model(shipped_weak)
        passes = args.passes or count_passes(model, now)
        print(
            f"\n`{regime}`, sigma {now.sigma:g}: n {len(pictures)}, {len(known)} training "
            f"pictures, seed {args.seed}, at most {passes:.2f} passes, weights "
            f"{model.about['sha256'][:12]}\n"
        )
        heads = [head for name in nets for head in (f"Fréchet, {name}", "KID x 1000")]
        print_heads(
            *("guided by", "weight", "sigmas", "steps", "passes", *heads),
            *("nearest training picture", "cosine to the picture (mini)", "diversity"),
        )
        for setting in settings:
            model.set_weak_model(setting.weak)
            chosen = choose_settings(model, setting, now.sigma, passes)
            results = make_variants(model, pictures, condition, chosen, args.seed)
            again = make_variants(
                model, pictures[pairs], condition[pairs], chosen, args.seed + SEED_SHIFT
            )
            rows = [evaluator.evaluate(setting.name, results) for evaluator in evaluators]
            vectors_drawn = conditions(results, mini)
            apart = 1 - (vectors_drawn[pairs] * conditions(again, mini)).sum(1)
            print_row(
                *(str(setting), str(chosen.steps), f"{count_passes(model, chosen):.2f}"),
                *(cell for row in rows for cell in (f"{row.frechet:.1f}", kid_text(row))),
                f"{rows[-1].near:.1f}",
                bootstrap((vectors_drawn * vectors).sum(1).numpy(), 0),
                f"{float(apart.mean()):.3f}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", choices=("ddpm", "photo"), default="ddpm")
    parser.add_argument("--weak", type=Path, nargs="+", default=[], help="checkpoints that guide")
    parser.add_argument("--empty", action="store_true", help="the empty condition guides too")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1, 1.5, 2, 3, 4])
    parser.add_argument("--interval", type=float, nargs=2, action="append", metavar="SIGMA")
    parser.add_argument("--regime", nargs="+", help="of variants; `photo`: concept and same")
    parser.add_argument("--passes", type=float)
    parser.add_argument("--n", type=int, help="samples: 500; variants: 300")
    parser.add_argument("--reference", type=int, help="samples: 10,000; variants: 2,500")
    parser.add_argument("--pairs", type=int, default=100, help="pictures that diversity is of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "lookalike")
    args = parser.parse_args()
    args.interval = args.interval or [[0.2, 5.0], [0.3, 2.0], [0.2, 10.0]]
    if args.model == "photo":
        args.regime = args.regime or ["concept", "same"]
    if args.regime:
        sweep_variants(args)
    else:
        sweep_samples(args)


if __name__ == "__main__":
    main()
