"""Train the `photo` model on a GPU within a quarter of an hour.

    scripts/train/gpu --pack DATA            makes the folders to carry: gpu-data/1, gpu-data/2, ...
    scripts/train/gpu --encode               on the GPU: latents of the folders that have arrived
    scripts/train/gpu --minutes 8 --out DIR  on the GPU: encode the rest, then train
    scripts/train/gpu --ship DIR             puts the weights of DIR into the package

docs/training-gpu.md has the calls in their order. DATA holds photos144-open-*.zip,
photos288-open-*.zip and clothing/ (its README names their terms). Each folder of gpu-data holds a
zip of pictures and their vectors by `mini`, so that the GPU machine needs `diffusion` alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from diffusion import files  # noqa: E402
from diffusion.data import Vectors, read_vectors, to_bytes  # noqa: E402
from diffusion.evaluation.report import Evaluator, load_feature_encoder  # noqa: E402
from diffusion.media.images import crop_square, cut_windows  # noqa: E402
from diffusion.model import checkpoint  # noqa: E402
from diffusion.model.autoencoder import load_autoencoder  # noqa: E402
from diffusion.model.denoiser import Denoiser  # noqa: E402
from diffusion.model.presets import PHOTO, PHOTO_WEAK, Config, LatentSpace  # noqa: E402
from diffusion.plots import tile_pictures  # noqa: E402
from diffusion.sampling.sample import sample  # noqa: E402
from diffusion.sampling.variants import VariantSettings, denoise_states  # noqa: E402
from diffusion.training.devices import World  # noqa: E402
from diffusion.training.draws import Draws  # noqa: E402
from diffusion.training.latents import (  # noqa: E402
    LARGE,
    SMALL,
    Windows,
    encode,
    measure_space,
)
from diffusion.training.recipe import Recipe  # noqa: E402
from diffusion.training.sets import Examples, LatentSet  # noqa: E402
from diffusion.training.trainer import Trainer  # noqa: E402

PACKED = ROOT / "gpu-data"
ENCODER = PACKED / "encoder" / "efficientnet-lite2.pt"
FEATURE_SIZE = 260  # pixels a side of that network's input
SAMPLES, REFERENCE = 2000, 5000  # pictures of the evaluation, at most
PART = 25 << 20  # bytes of one folder to carry
KINDS = {"small": SMALL, "large": LARGE}
LEVELS = (0.3, 0.5, 1.0, 2.0, 5.0)  # sigmas of the validation
JITTER = 0.3  # length of the noise on a vector
LR = 1e-3
BANK = 512  # vectors that ship for samples without a condition
TRIAL, SAVE, RESERVE = 0.03, 0.12, 0.1  # of the minutes: to measure, between saves, at the end


# on this machine ----------------------------------------------------------------------------------


def pictures(data: Path) -> Iterator[tuple[str, bytes]]:
    """Return names and bytes of the pictures. Of two copies of a photograph, the larger one."""
    urls = set()
    for pattern in ("photos288-open-*.zip", "photos144-open-*.zip"):
        for path in sorted(data.glob(pattern)):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".webp") and name not in urls:
                        urls.add(name)
                        yield name, archive.read(name)
    for part in ("train", "validation"):
        for file in sorted((data / "clothing" / part).glob("*/*")):
            yield f"clothing-cc0/{part}/{file.name}", file.read_bytes()


class PooledFeatures(torch.nn.Module):
    """EfficientNet-Lite2 as an encoder of (B, 3, H, W) uint8 pictures: (B, 1280) features."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.body = net.body

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        size = (FEATURE_SIZE, FEATURE_SIZE)
        x = torch.nn.functional.interpolate(pictures.float(), size, mode="bicubic", antialias=True)
        return self.body((x.clamp(0, 255) - 127) / 128).mean((2, 3))


def pack_encoder(data: Path) -> None:
    """Write the network that measures samples as TorchScript, so that it runs without its code."""
    from networks import efficientnet

    net = PooledFeatures(efficientnet(data)).eval()
    example = torch.zeros(2, 3, PHOTO.size, PHOTO.size, dtype=torch.uint8)
    ENCODER.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.trace(net, example), str(ENCODER))
    print(f"{ENCODER.parent}: the network that measures samples", flush=True)


def pack(data: Path) -> None:
    """Write the folders to carry. The order is shuffled by name, so that each is a fair sample."""
    from search.embedders.mini import Mini

    mini = Mini()
    pack_encoder(data)
    listed = sorted(pictures(data), key=lambda one: hashlib.sha256(one[0].encode()).digest())
    parts, size = list[list[tuple[str, bytes]]]([[]]), 0
    for name, content in listed:
        if size + len(content) + 1200 > PART:
            parts.append([])
            size = 0
        parts[-1].append((name, content))
        size += len(content) + 1200  # its vector and its place in the zip
    for number, part in enumerate(parts, 1):
        folder = PACKED / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
            for name, content in part:
                archive.writestr(name, content)
        rows = []
        for first in range(0, len(part), mini.batch):
            decoded = [
                Image.open(io.BytesIO(content)).convert("RGB")
                for _, content in part[first : first + mini.batch]
            ]
            rows.append(torch.from_numpy(mini.embed([mini.preprocessing(one) for one in decoded])))
        names = json.dumps([name for name, _ in part])
        about = {"names": names, "model": mini.name, "fingerprint": mini.fingerprint}
        tensors = {"vectors": torch.cat(rows).half()}
        files.write_tensors(folder / "vectors.safetensors", tensors, about)
        print(f"{folder}: {len(part)} pictures", flush=True)


# on the GPU machine -------------------------------------------------------------------------------


@dataclass
class Bank:
    """Latents of the pictures that have arrived. codes, sizes, vectors: as `LatentSet` has them,
    codes not yet normalized; names: of the pictures."""

    names: list[str]
    codes: torch.Tensor
    sizes: torch.Tensor
    vectors: torch.Tensor


def cut_all(
    pictures: list[Image.Image], windows: Windows
) -> Iterator[tuple[int, np.ndarray, list[int]]]:
    """Index, windows and scaled short sides of each picture that is large enough."""
    large = [i for i, picture in enumerate(pictures) if min(picture.size) >= windows.least]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cut = pool.map(lambda i: cut_windows(pictures[i], **windows.arguments, seed=i), large)
        for index, (pixels, sides) in zip(large, cut, strict=True):
            yield index, pixels, sides


def encode_folder(folder: Path, cache: Path, device: str) -> None:
    """Write the latents of one folder to the cache, unless they are there."""
    place = cache / f"{folder.name}.safetensors"
    if place.exists():
        return
    start = time.monotonic()
    autoencoder = load_autoencoder(device)
    if device != "cpu":
        autoencoder = autoencoder.to(torch.bfloat16)
    with zipfile.ZipFile(folder / "pictures.zip") as archive:
        names = archive.namelist()
        contents = [archive.read(name) for name in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(lambda c: Image.open(io.BytesIO(c)).convert("RGB"), contents))
    tensors = {"vectors": read_vectors(folder / "vectors.safetensors").rows}
    for kind, windows in KINDS.items():
        listed = list(encode(autoencoder, cut_all(decoded, windows)))
        tensors[f"{kind}.places"] = torch.tensor([place for place, _, _ in listed])
        tensors[f"{kind}.codes"] = torch.stack([codes for _, codes, _ in listed])
        tensors[f"{kind}.sizes"] = torch.stack([sizes for _, _, sizes in listed])
    files.write_tensors(place, tensors, {"names": json.dumps(names)})
    print(f"{folder}: {len(names)} pictures in {time.monotonic() - start:.0f} s", flush=True)


def read_banks(cache: Path, device: str) -> dict[str, Bank]:
    """The cached latents of all folders, by kind of window, on the device."""
    parts: dict[str, list[Bank]] = {kind: [] for kind in KINDS}
    for file in sorted(cache.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            names = json.loads(opened.metadata()["names"])
            for kind in KINDS:
                places = opened.get_tensor(f"{kind}.places")
                parts[kind].append(
                    Bank(
                        [names[i] for i in places.tolist()],
                        opened.get_tensor(f"{kind}.codes").to(device),
                        opened.get_tensor(f"{kind}.sizes").to(device),
                        opened.get_tensor("vectors")[places].to(device),
                    )
                )
    banks = {}
    for kind, some in parts.items():
        banks[kind] = Bank(
            [name for one in some for name in one.names],
            torch.cat([one.codes for one in some]),
            torch.cat([one.sizes for one in some]),
            torch.cat([one.vectors for one in some]),
        )
    return banks


def held_out(name: str) -> bool:
    """Whether a picture is kept from training, for the validation loss: one of 40, by its name."""
    return hashlib.sha256(f"held out {name}".encode()).digest()[0] < 6


def split(bank: Bank, held: bool) -> Bank:
    """The pictures of a bank that are held out, or the others."""
    rows = [i for i, name in enumerate(bank.names) if held_out(name) == held]
    at = torch.tensor(rows, dtype=torch.int64, device=bank.codes.device)
    names = [bank.names[i] for i in rows]
    return Bank(names, bank.codes[at], bank.sizes[at], bank.vectors[at])


class Validation:
    """The error of D on held-out latents at fixed noise levels, over the variance of the data."""

    def __init__(self, sets: dict[str, LatentSet], count: int) -> None:
        self.examples = {}
        for kind, own in sets.items():
            n = min(len(own), count if kind == "small" else count // 4)
            if not n:
                continue
            draws = Draws(torch.Generator(own.device).manual_seed(7), n, slice(None))
            self.examples[kind] = own.take(torch.arange(n, device=own.device), draws)

    @torch.inference_mode()
    def __call__(self, model: Denoiser, bf16: bool) -> dict[str, float]:
        errors = {}
        for kind, one in self.examples.items():
            device = one.x0.device
            for sigma in LEVELS:
                generator = torch.Generator(device).manual_seed(11)
                eps = torch.randn(one.x0.shape, generator=generator, device=device)
                sigmas = torch.full((len(eps),), sigma, dtype=torch.float64, device=device)
                with torch.autocast(device.type, torch.bfloat16, bf16):
                    guess = model(one.x0 + sigma * eps, sigmas, one.condition, one.size)
                errors[f"{kind} {sigma}"] = round(float((guess - one.x0).square().mean()), 4)
        return errors


def make_trainer(
    config: Config, sets: list[LatentSet], recipe: Recipe, device: str, compiled: bool
) -> Trainer:
    """A trainer from random weights. compiled: if that works on the device."""
    torch.manual_seed(0)
    model = Denoiser(config).to(device, memory_format=torch.channels_last)
    trainer = Trainer(model, sets, recipe, 0, World(), compiled)
    if not compiled:
        return trainer
    torch._dynamo.config.automatic_dynamic_shapes = False  # both shapes are fixed
    try:
        for _ in range(2 * len(sets)):
            trainer.advance(10**9)
    except Exception as error:  # compilers fail in many ways; train without one
        print(f"not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)
        return make_trainer(config, sets, recipe, device, False)
    return trainer


def save_weights(out: Path, name: str, weights: dict[str, torch.Tensor], parts: int) -> None:
    """Weights in half precision, as so many files of about equal size."""
    groups: list[dict[str, torch.Tensor]] = [{} for _ in range(parts)]
    done = [0] * parts
    for key in sorted(weights, key=lambda name: -weights[name].numel()):
        smallest = done.index(min(done))
        groups[smallest][key] = weights[key].half()
        done[smallest] += weights[key].numel()
    for number, group in enumerate(groups):
        files.write_tensors(out / f"{name}-{number}.safetensors", group, {})


@torch.inference_mode()
def draw_row(model: Denoiser, examples: Examples, sigma: float, guidance: float) -> Image.Image:
    """Variants of held-out latents, one of each, side by side."""
    chosen = VariantSettings(sigma, guidance, 12, (0.2, 5.0))
    seeds = range(len(examples.x0))
    *_, last = denoise_states(model, examples.x0, seeds, chosen, examples.condition)
    return tile_pictures(model.decode(last.x).cpu(), columns=len(seeds))


class Clock:
    """The time of a run, in seconds since its start, and its log."""

    def __init__(self, minutes: float, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.start, self.seconds = time.monotonic(), 60 * minutes
        self._log = (out / "log.txt").open("a")

    def now(self) -> float:
        return time.monotonic() - self.start

    def say(self, text: str) -> None:
        """Print a line, and write it to the log."""
        line = f"{self.now():6.1f} s  {text}"
        print(line, flush=True)
        self._log.write(line + "\n")
        self._log.flush()


def read_data(cache: Path, device: str) -> tuple[dict[str, Bank], LatentSpace]:
    """The cached latents by kind of window, normalized, and their space."""
    banks = read_banks(cache, device)
    latents = measure_space(banks["small"].codes[:2000], load_autoencoder().fingerprint)
    mean, std = (torch.tensor(v, device=device) for v in (latents.mean, latents.std))
    for bank in banks.values():
        for part in bank.codes.split(500):  # in place, never all of it in float32
            part.copy_((part.float() - mean) / std)
    return banks, latents


def make_sets(banks: dict[str, Bank], held: bool, jitter: float) -> dict[str, LatentSet]:
    """The sets of the held-out pictures, or of the others, by kind of window."""
    parts = {kind: split(bank, held) for kind, bank in banks.items()}
    return {
        kind: LatentSet(bank.codes, bank.sizes, bank.vectors, KINDS[kind].crop, jitter)
        for kind, bank in parts.items()
    }


def fit(trainer: Trainer, clock: Clock, limit: float, every: int) -> Iterator[tuple[int, float]]:
    """Train until `limit` seconds of the run. The rate of the first steps gives the number of
    steps. Yields it with the last loss, now and then and at the end. every: steps between two
    waits for the GPU."""
    trial, first = clock.now(), trainer.step
    while clock.now() - trial < TRIAL * clock.seconds or trainer.step - first < 3:
        for _ in range(every):
            loss = trainer.advance(10**9)
        float(loss)
    rate = (trainer.step - first) / (clock.now() - trial)
    steps = trainer.step + max(1, int((limit - clock.now()) * rate))
    preset, batch = trainer.model.config.preset, trainer.recipe.batch
    clock.say(f"{preset}: {rate:.2f} steps/s, {rate * batch:.0f} pictures/s, {steps} steps")
    saved, unfinished = clock.now(), True
    while unfinished:
        loss = trainer.advance(steps)
        if trainer.step % every == 0:
            float(loss)
        unfinished = trainer.step < steps and clock.now() < limit + 2
        if not unfinished or clock.now() - saved > SAVE * clock.seconds:
            saved = clock.now()
            yield steps, float(loss)


def draw_sheet(model: Denoiser, validation: Validation, clock: Clock) -> Image.Image:
    """Variants of held-out pictures at several sigmas, as long as there is time."""
    rows = []
    for kind, count in (("small", 16), ("large", 8)):
        if kind not in validation.examples:
            continue
        one = validation.examples[kind]
        condition = None if one.condition is None else one.condition[:count]
        shown = Examples(one.x0[:count], condition, None)
        for sigma, guidance in ((0.01, 1.0), (0.5, 1.0), (1.0, 1.0), (2.0, 1.5), (80.0, 2.0)):
            rows.append(draw_row(model, shown, sigma, guidance))
        if clock.now() > clock.seconds:
            break
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def evaluate(model: Denoiser, clock: Clock, device: str, n: int) -> dict[str, object]:
    """Frechet distance and KID of n samples under training vectors, as the package ships them, over
    the features of the packed network, against training pictures; and of held-out pictures."""
    held, known = list[bytes](), list[bytes]()
    for folder in sorted(PACKED.glob("[0-9]*")):
        with zipfile.ZipFile(folder / "pictures.zip") as archive:
            for name in archive.namelist():
                (held if held_out(name) else known).append(archive.read(name))
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def decode(contents: list[bytes]) -> torch.Tensor:
            squares = pool.map(
                lambda c: crop_square(Image.open(io.BytesIO(c)), PHOTO.size), contents
            )
            return torch.from_numpy(np.stack(list(squares))).permute(0, 3, 1, 2).contiguous()

        reference, floor = decode(known[:REFERENCE]), decode(held[:n])
    encode = load_feature_encoder(ENCODER, device)
    evaluator = Evaluator(encode, f"EfficientNet-Lite2 at {FEATURE_SIZE} px", reference)
    rows = packed_vectors().rows[:BANK].float()
    condition = rows[torch.arange(n) % len(rows)]
    samples = sample(model, n, condition=condition, guidance=2.0, interval=(0.2, 10.0))
    measured: dict[str, object] = {"n": n, "reference": len(reference), "seed": 0}
    for what, pictures in (("samples", to_bytes(samples).cpu()), ("held out", floor)):
        if len(pictures) < 20:
            continue
        row = evaluator.evaluate(what, pictures)
        measured[what] = {"n": row.n, "frechet": row.frechet, "kid": row.kid}
        clock.say(f"{what}, n {row.n}: Frechet {row.frechet:.1f}, KID x 1000 {1000 * row.kid:.1f}")
    return measured


def train(minutes: float, out: Path, cache: Path, device: str, batch: int) -> None:
    """Train `photo-weak` for a tenth of the time and `photo` for the rest."""
    clock = Clock(minutes, out)
    banks, latents = read_data(cache, device)
    training, held = make_sets(banks, False, JITTER), make_sets(banks, True, 0.0)
    del banks
    counts = {kind: (len(training[kind]), len(held[kind])) for kind in KINDS}
    clock.say(f"{counts} pictures")
    # the steps take turns: two of three on small windows
    turns = [training["small"], training["large"], training["small"]]
    validation = Validation(held, 256 if device != "cpu" else 8)
    recipe = Recipe(batch=batch, lr=LR, averages=("power:0.1",), warmup=200, drop=0.1)
    conditions = training["small"].conditions
    width = 0 if conditions is None else conditions.shape[1]
    about: dict[str, object] = {
        "encoder": packed_vectors().encoder,
        "pictures": len(training["small"]),
        "recipe": asdict(recipe),
    }
    sampled: Denoiser | None = None
    for preset in (PHOTO_WEAK, PHOTO):
        config = replace(preset.with_condition("vector", width), latents=latents)
        weak = preset is PHOTO_WEAK
        trainer = make_trainer(config, turns, recipe, device, device != "cpu" and not weak)
        clock.say(f"{config.preset}: ready")
        guide, sampled = sampled, Denoiser(config).to(device, memory_format=torch.channels_last)
        sampled.eval()
        limit, start = clock.seconds * (0.12 if weak else 1 - RESERVE), clock.now()
        for steps, loss in fit(trainer, clock, limit, 1 if device == "cpu" else 20):
            sampled.net.load_state_dict(trainer.average.weights)
            errors = validation(sampled, trainer.speed.bf16)
            clock.say(f"{config.preset} {trainer.step}/{steps}: loss {loss:.4f} {errors}")
            save_weights(out, config.preset, trainer.average.weights, 1 if weak else 2)
            about[config.preset] = {
                "config": config.to_json(),
                "step": trainer.step,
                "steps": steps,
                "seconds": round(clock.now() - start),
                "errors": errors,
            }
            (out / "about.json").write_text(json.dumps(about, indent=1))
    sampled.use_autoencoder(load_autoencoder(device))
    if ENCODER.exists():
        sampled.set_weak_model(guide)
        about["evaluation"] = evaluate(sampled, clock, device, SAMPLES if device != "cpu" else 40)
        (out / "about.json").write_text(json.dumps(about, indent=1))
    sampled.set_weak_model(None)
    draw_sheet(sampled, validation, clock).save(out / "grid.webp", quality=80)
    clock.say("done")


def packed_vectors() -> Vectors:
    """The vectors of the first packed folder."""
    return read_vectors(min(PACKED.glob("[0-9]*")) / "vectors.safetensors")


def save_bank(place: Path) -> str:
    """Write some of the packed vectors, for samples without a condition."""
    packed = packed_vectors()
    rows = packed.rows[:BANK]
    about = {
        "names": json.dumps([str(number) for number in range(len(rows))]),
        "model": packed.encoder["name"],
        "fingerprint": packed.encoder["fingerprint"],
    }
    files.write_tensors(place, {"vectors": rows}, about)
    return place.name


def ship(out: Path) -> None:
    """Put the weights of a run into the package."""
    about = json.loads((out / "about.json").read_text())
    for preset in (PHOTO_WEAK, PHOTO):
        name, own = preset.preset, about[preset.preset]
        weights = {}
        for part in sorted(out.glob(f"{name}-[0-9].safetensors")):
            weights |= load_file(part)
        named = {"encoder": about["encoder"], "pictures": about["pictures"], "side": 256}
        named |= {"data": "photos144-open, photos288-open, clothing (open terms)"}
        named |= {"recipe": about["recipe"]} | {k: own[k] for k in ("step", "seconds")}
        # of three steps, one has large windows, a quarter as many
        named["seen"] = round(own["step"] * about["recipe"]["batch"] * 0.75)
        if preset is PHOTO:
            named["weak"] = checkpoint.shipped_path(PHOTO_WEAK.preset).name
            named["bank"] = save_bank(checkpoint.shipped_path("photo-vectors"))
        place = checkpoint.shipped_path(name)
        checkpoint.save(place, Config.from_json(own["config"]), weights, named, half=True)
        print(f"{place}: {place.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, metavar="DATA")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--ship", type=Path, metavar="OUT")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/latents"))
    parser.add_argument("--batch", type=int, default=1024)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.pack:
        pack(options.pack)
    if options.ship:
        ship(options.ship)
    if options.encode or options.minutes:
        torch.backends.cudnn.benchmark = True
        for folder in sorted(PACKED.glob("[0-9]*")):
            encode_folder(folder, options.cache, device)
    if options.minutes:
        train(options.minutes, options.out, options.cache, device, options.batch)


if __name__ == "__main__":
    main()
