"""What sampling is best in at most 15 network passes: ends of the walk, steps, guidance, samplers.

    python scripts/try_samplers.py --data DATA [--checkpoint C]

By the measure of `scripts/bench ddpm`, against 10,000 training pictures, for samples conditioned on
500 validation pictures that are not among the 1,000 it reports on, with other seeds. last, rho: as
`diffusion.sampling.samplers.karras` has them. in: sigmas between which guidance acts.
"""

from __future__ import annotations

import bench_ddpm
from bench_ddpm import Stand, stand

from diffusion.data import to_bytes
from diffusion.model.denoiser import EVERYWHERE
from diffusion.sampling.sample import way
from diffusion.sampling.samplers import SAMPLERS, karras, normals
from search.runtime import torch

SEED, BATCH = 1_000_000, 50
LOW, MIDDLE = (0.2, 1.5), (0.3, 5.0)
# sampler, steps, guidance, interval, last, rho
TRIES = (
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.002, 7.0),
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.05, 7.0),
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.1, 7.0),
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.02, 5.0),
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.05, 5.0),
    ("dpmpp_2m", 15, 1.0, EVERYWHERE, 0.1, 5.0),
    ("dpmpp_2m", 40, 1.0, EVERYWHERE, 0.05, 5.0),
    ("heun", 8, 1.0, EVERYWHERE, 0.05, 5.0),
    ("ddim", 15, 1.0, EVERYWHERE, 0.05, 5.0),
    ("ancestral", 15, 1.0, EVERYWHERE, 0.05, 5.0),
    ("dpmpp_2m", 7, 3.0, EVERYWHERE, 0.002, 7.0),
    ("dpmpp_2m", 7, 3.0, EVERYWHERE, 0.1, 7.0),
    ("dpmpp_2m", 11, 3.0, MIDDLE, 0.1, 7.0),
    ("dpmpp_2m", 12, 2.0, LOW, 0.1, 7.0),
    ("dpmpp_2m", 12, 3.0, LOW, 0.1, 7.0),
    ("dpmpp_2m", 12, 4.0, LOW, 0.1, 7.0),
)


def drawn(with_: Stand, sampler: str, sigmas: list[float], denoising: tuple) -> torch.Tensor:
    """A sample for each held-out picture, uint8. denoising: guidance and interval."""
    parts, side = [], with_.model.config.size
    for first in range(0, len(with_.held), BATCH):
        some = range(first, min(first + BATCH, len(with_.held)))
        normal = normals([SEED + i for i in some], (3, side, side))
        under = None if with_.under is None else with_.under[some.start : some.stop]
        with torch.inference_mode():
            x = sigmas[0] * normal()
            denoise = with_.model.denoise(under, *denoising)
            for state in SAMPLERS[sampler](denoise, x, sigmas, normal):
                x = state.x
        parts.append(to_bytes(x.clamp(-1, 1)))
    return torch.cat(parts)


def main() -> None:
    args = bench_ddpm.arguments()
    args.reference = args.reference or 10_000
    with_ = stand(args, lambda count: torch.arange(2, count, count // 500))
    print("| way | passes | last | rho | Fréchet | KID x 1000 | precision | recall |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for sampler, steps, guidance, interval, last, rho in TRIES:
        sigmas = karras(80.0, steps, last, rho)
        guided = guidance != 1
        passes = steps + sum(guided and interval[0] <= s <= interval[1] for s in sigmas[:-1])
        passes = 2 * steps - 1 if sampler == "heun" else passes
        pictures = drawn(with_, sampler, sigmas, (guidance, interval))
        row = with_.measure.row(way(sampler, steps, guidance, interval), pictures)
        print(
            f"| {row.what} | {passes} | {last:g} | {rho:g} | {row.frechet:.1f} | "
            f"{1000 * row.kid:.1f} | {row.precision:.3f} | {row.recall:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
