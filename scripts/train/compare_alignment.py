"""Measure whether an alignment term helps to train the `photo` model (REPA, arXiv:2410.06940).

    python scripts/train/compare_alignment.py --data DATA [--minutes 20] [--out FILE]

Two copies of the network learn from the same batches, in turns, so that both see the same noise and
the same load of the machine. One of them also learns to predict the features that a frozen
EfficientNet-Lite2 has of the clean picture, from the output of its first middle block: the loss is
the mean over the 4 x 4 places of 1 - cos(projection(output), feature), times `--weight`.

DATA is as for scripts/train/mini.py. The pictures and vectors are those of gpu-data/1, which
`scripts/train/gpu --pack DATA` makes. The printed table has the validation error of both averages
over the same held-out latents, the difference with a 95 % interval (bootstrap over pictures), and
the time of a step. A run of 20 minutes takes about 5 more for the features.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gpu import JITTER, LEVELS, LR, PACKED, held_out  # noqa: E402
from networks import efficientnet  # noqa: E402

from diffusion import files  # noqa: E402
from diffusion.data import read_vectors  # noqa: E402
from diffusion.media.images import cut_windows  # noqa: E402
from diffusion.model.autoencoder import DOWNSAMPLING, load_autoencoder  # noqa: E402
from diffusion.model.denoiser import Denoiser  # noqa: E402
from diffusion.model.presets import PHOTO, Config  # noqa: E402
from diffusion.training.ema import Average  # noqa: E402
from diffusion.training.latents import Windows, measure_space  # noqa: E402
from diffusion.training.recipe import Recipe  # noqa: E402

WINDOWS = Windows(places=16, crop=16, versions=2, least=128, most=256)
FEATURE_SIZE, FEATURES = 260, 1280  # px a side, and channels
GRID = 4  # places a side of the middle blocks


class Data:
    """Latents and features of windows, of training and held-out pictures.

    codes: (N, V, 16, 16, 32) float16, normalized. sizes: (N, V). features: (N, V, 16, 1280)
    float16. vectors: (N, 512). training, held: rows.
    """

    def __init__(self, folder: Path, data: Path, count: int | None) -> None:
        with zipfile.ZipFile(folder / "pictures.zip") as archive:
            names = archive.namelist()[:count]
            contents = [archive.read(name) for name in names]
        autoencoder, network = load_autoencoder(), efficientnet(data)
        codes, sizes, features, rows = [], [], [], []
        for row, content in enumerate(contents):
            picture = Image.open(io.BytesIO(content)).convert("RGB")
            if min(picture.size) < WINDOWS.least:
                continue
            cut, sides = cut_windows(picture, **WINDOWS.arguments, seed=row)
            pixels = torch.from_numpy(cut).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                code = autoencoder.encode(pixels / 127.5 - 1)
                large = F.interpolate(pixels, (FEATURE_SIZE,) * 2, mode="bicubic", antialias=True)
                outputs = network.body((large.clamp(0, 255) - 127) / 128)
            codes.append(code.permute(0, 2, 3, 1).half())
            features.append(F.adaptive_avg_pool2d(outputs, GRID).flatten(2).mT.half())
            sizes.append(torch.tensor(sides) / DOWNSAMPLING)
            rows.append(row)
        self.latents = measure_space(torch.stack(codes), autoencoder.fingerprint)
        mean, std = torch.tensor(self.latents.mean), torch.tensor(self.latents.std)
        self.codes = ((torch.stack(codes).float() - mean) / std).half()
        self.sizes, self.features = torch.stack(sizes), torch.stack(features)
        read = read_vectors(folder / "vectors.safetensors")
        self.vectors, self.encoder = read.rows[rows].float(), read.encoder
        held = torch.tensor([held_out(names[row]) for row in rows])
        self.training, self.held = (
            (~held).nonzero().flatten(),
            held.nonzero().flatten(),
        )


class Arm:
    """One copy of the network under training. weight: of the alignment term; 0 turns it off."""

    def __init__(self, config: Config, weight: float, recipe: Recipe) -> None:
        torch.manual_seed(0)  # the copies begin alike
        self.model = Denoiser(config).to(memory_format=torch.channels_last)
        self.weight, self.recipe, self.seconds = weight, recipe, 0.0
        parameters = list(self.model.net.parameters())
        self.projection: nn.Module | None = None
        if weight:
            width = config.shape.channels[-1]
            self.projection = nn.Sequential(
                nn.Linear(width, 1024), nn.SiLU(), nn.Linear(1024, 1024), nn.SiLU(),
                nn.Linear(1024, FEATURES),
            )  # fmt: skip
            parameters += list(self.projection.parameters())
        self.parameters = parameters
        self.optimiser = torch.optim.AdamW(
            parameters, lr=recipe.lr, betas=(0.9, 0.99), weight_decay=recipe.decay, fused=True
        )
        self.average = Average(self.model.net, recipe.averages[0])
        self.output = torch.empty(0)
        self.model.net.middle[0].register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: object, output: Tensor) -> None:
        self.output = output

    def advance(self, step: int, steps: int, batch: tuple[Tensor, ...], features: Tensor) -> float:
        """Do a step. Returns the alignment, the mean cosine; NaN without the term."""
        begun = time.monotonic()
        torch.manual_seed(step)  # for dropout
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(step, steps)
        self.optimiser.zero_grad()
        loss = self.model.loss(*batch).mean()
        alignment = torch.tensor(float("nan"))
        if self.projection is not None:
            guess = self.projection(self.output.flatten(2).mT)
            alignment = F.cosine_similarity(guess, features, dim=-1).mean()
            loss = loss + self.weight * (1 - alignment)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimiser.step()
        self.average.update(self.model.net, step)
        self.seconds += time.monotonic() - begun
        return float(alignment.detach())


class Batches:
    """Batches of training windows, drawn with a seed."""

    def __init__(self, data: Data, config: Config, recipe: Recipe) -> None:
        self.data, self.recipe, self.schedule = data, recipe, Denoiser(config).schedule
        self.random = torch.Generator().manual_seed(1)

    def draw(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """x0, sigma, eps, condition, size as `Denoiser.loss` takes them, and (B, 16, 1280)."""
        data, random, count = self.data, self.random, self.recipe.batch
        chosen = data.training[torch.randint(len(data.training), (count,), generator=random)]
        version = torch.randint(WINDOWS.versions, (count,), generator=random)
        x0 = data.codes[chosen, version].float().permute(0, 3, 1, 2)
        sigma = self.schedule.draw_sigmas(torch.rand(count, generator=random, dtype=torch.float64))
        eps = torch.randn(x0.shape, generator=random)
        vectors = data.vectors[chosen]
        noise = torch.randn(vectors.shape, generator=random) * (JITTER / vectors.shape[1] ** 0.5)
        vectors = F.normalize(vectors + noise, dim=1)
        vectors[torch.rand(count, generator=random) < self.recipe.drop] = 0
        batch = (x0, sigma, eps, vectors, data.sizes[chosen, version])
        return batch, data.features[chosen, version].float()


@torch.inference_mode()
def validate(arm: Arm, data: Data, config: Config) -> dict[float, np.ndarray]:
    """sigma -> (n,) squared error of the average's estimate of each held-out window."""
    model = Denoiser(config).eval().to(memory_format=torch.channels_last)
    model.net.load_state_dict(arm.average.weights)
    x0 = data.codes[data.held, 0].float().permute(0, 3, 1, 2)
    size, vectors = data.sizes[data.held, 0], data.vectors[data.held]
    errors = {}
    for sigma in LEVELS:
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(11))
        sigmas = torch.full((len(x0),), sigma, dtype=torch.float64)
        guess = model(x0 + sigma * eps, sigmas, vectors, size)
        errors[sigma] = (guess - x0).square().flatten(1).mean(1).numpy()
    return errors


def interval(difference: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean."""
    random = np.random.default_rng(0)
    means = [random.choice(difference, len(difference)).mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def compare(arms: list[Arm], data: Data, config: Config, step: int) -> list[dict[str, float]]:
    """Print, and return, the errors of both arms after a step."""
    plain, aligned = (validate(arm, data, config) for arm in arms)
    print(
        f"step {step}, {arms[0].seconds / step:.3f} and {arms[1].seconds / step:.3f} s a step, "
        f"{len(data.held)} held-out pictures",
        flush=True,
    )
    print("| sigma | without | with | difference [95 %] |\n| --- | --- | --- | --- |")
    rows = []
    for sigma in LEVELS:
        low, high = interval(aligned[sigma] - plain[sigma])
        row = {"step": step, "sigma": sigma, "without": float(plain[sigma].mean()),
               "with": float(aligned[sigma].mean()), "low": low, "high": high}  # fmt: skip
        rows.append(row)
        change = row["with"] - row["without"]
        print(
            f"| {sigma} | {row['without']:.4f} | {row['with']:.4f} | "
            f"{change:+.4f} [{low:+.4f}, {high:+.4f}] |",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20, help="of training, both copies")
    parser.add_argument("--count", type=int, help="take so many pictures, default all")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--weight", type=float, default=0.5, help="of the term")
    parser.add_argument("--out", type=Path, help="a JSON file for the rows")
    args = parser.parse_args()
    begun = time.monotonic()
    data = Data(PACKED / "1", args.data, args.count)
    print(f"{len(data.training)} pictures, {time.monotonic() - begun:.0f} s to prepare", flush=True)
    config = PHOTO.with_condition("vector", data.vectors.shape[1])
    config = Config(**{**vars(config), "latents": data.latents})
    recipe = Recipe(batch=args.batch, lr=LR, averages=("power:0.1",), warmup=100)
    arms = [Arm(config, 0.0, recipe), Arm(config, args.weight, recipe)]
    batches, rows = Batches(data, config, recipe), list[dict[str, float]]()
    begun, step, steps, trial = time.monotonic(), 0, 10**9, 5
    while step < steps:
        batch, features = batches.draw()
        alignment = [arm.advance(step, steps, batch, features) for arm in arms][1]
        step += 1
        if step == trial:
            steps = max(trial, int(60 * args.minutes / ((time.monotonic() - begun) / trial)))
            print(f"{steps} steps of {args.batch}", flush=True)
        if step % max(1, steps // 4) == 0 or step == steps:
            print(f"alignment {alignment:.3f}")
            rows += compare(arms, data, config, step)
    if args.out:
        files.write_json(args.out, {"rows": rows, "weight": args.weight, "batch": args.batch})


if __name__ == "__main__":
    main()
