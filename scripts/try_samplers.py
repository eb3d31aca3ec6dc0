"""Compare samplers, steps, guidance and sigma grids at about 15 network passes for a picture.

    python scripts/try_samplers.py --data DATA [--checkpoint C]

It evaluates like `scripts/bench ddpm`, against 10,000 training pictures. The samples are
conditioned on 500 validation pictures that are not among the 1,000 of that report, and have other
seeds. last, rho: `lowest` and `rho` of `diffusion.sampling.samplers.karras_sigmas`. in: sigmas
between which guidance acts., here by the empty condition;
scripts/sweep_guidance.py compares it with guidance by a weak model.
"""

from __future__ import annotations

import bench_ddpm
from bench_ddpm import Setup, make_setup

from diffusion.data import to_bytes
from diffusion.model.denoiser import FULL_INTERVAL
from diffusion.sampling.sample import describe_sampling
from diffusion.sampling.samplers import SAMPLERS, karras_sigmas, seeded_noise
from search.runtime import torch

SEED, BATCH = 1_000_000, 50
LOW, MIDDLE = (0.2, 1.5), (0.3, 5.0)
# sampler, steps, guidance, interval, last, rho
TRIES = (
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.002, 7.0),
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.05, 7.0),
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.1, 7.0),
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.02, 5.0),
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.05, 5.0),
    ("dpmpp_2m", 15, 1.0, FULL_INTERVAL, 0.1, 5.0),
    ("dpmpp_2m", 40, 1.0, FULL_INTERVAL, 0.05, 5.0),
    ("heun", 8, 1.0, FULL_INTERVAL, 0.05, 5.0),
    ("ddim", 15, 1.0, FULL_INTERVAL, 0.05, 5.0),
    ("ancestral", 15, 1.0, FULL_INTERVAL, 0.05, 5.0),
    ("dpmpp_2m", 7, 3.0, FULL_INTERVAL, 0.002, 7.0),
    ("dpmpp_2m", 7, 3.0, FULL_INTERVAL, 0.1, 7.0),
    ("dpmpp_2m", 11, 3.0, MIDDLE, 0.1, 7.0),
    ("dpmpp_2m", 12, 2.0, LOW, 0.1, 7.0),
    ("dpmpp_2m", 12, 3.0, LOW, 0.1, 7.0),
    ("dpmpp_2m", 12, 4.0, LOW, 0.1, 7.0),
)


def draw_samples(setup: Setup, sampler: str, sigmas: list[float], guidance: tuple) -> torch.Tensor:
    """Draw a sample for each held-out picture, uint8. guidance: its scale and interval."""
    parts, side = [], setup.model.config.size
    for first in range(0, len(setup.held), BATCH):
        some = range(first, min(first + BATCH, len(setup.held)))
        normal = seeded_noise([SEED + i for i in some], (3, side, side))
        condition = None if setup.condition is None else setup.condition[some.start : some.stop]
        with torch.inference_mode():
            x = sigmas[0] * normal()
            denoise = setup.model.make_denoise_function(condition, *guidance)
            for state in SAMPLERS[sampler](denoise, x, sigmas, normal):
                x = state.x
        parts.append(to_bytes(x.clamp(-1, 1)))
    return torch.cat(parts)


def main() -> None:
    args = bench_ddpm.arguments()
    args.reference = args.reference or 10_000
    setup = make_setup(args, lambda count: torch.arange(2, count, count // 500))
    setup.model.set_weak_model(None)
    print("| sampling | passes | last | rho | Fréchet | KID x 1000 | precision | recall |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for sampler, steps, guidance, interval, last, rho in TRIES:
        sigmas = karras_sigmas(80.0, steps, last, rho)
        guided = guidance != 1
        passes = steps + sum(guided and interval[0] <= s <= interval[1] for s in sigmas[:-1])
        passes = 2 * steps - 1 if sampler == "heun" else passes
        pictures = draw_samples(setup, sampler, sigmas, (guidance, interval))
        row = setup.evaluator.evaluate(
            describe_sampling(sampler, steps, guidance, interval), pictures
        )
        print(
            f"| {row.what} | {passes} | {last:g} | {rho:g} | {row.frechet:.1f} | "
            f"{1000 * row.kid:.1f} | {row.precision:.3f} | {row.recall:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
