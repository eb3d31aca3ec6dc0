"""Pipelines of `diffusers` as generators: our noise level becomes their strength. See `Generator`.

A pipeline is loaded from .safetensors alone, and no code that comes with it runs.
"""

from __future__ import annotations

import gc
import hashlib
import threading
import warnings
from collections.abc import Callable, Generator as Iterates, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from diffusion.sampling.variants import VariantSettings
from search.embedders.json_cache import JsonCache, file_hash
from search.errors import ModelError
from search.extras import describe_install
from search.generation.generators.base import GeneratorState
from search.generation.generators.pipeline_files import measure_native_size
from search.generation.generators.pipeline_source import PipelineFiles, PipelineSource
from search.records.indexing import Progress
from search.records.variants import REGIMES
from search.runtime import Runtime, torch

if TYPE_CHECKING:
    from concurrent.futures import Future

EXTRA, PACKAGES = "generators", ("diffusers", "transformers", "accelerate")
MB = 1_000_000
REGIME_SETTINGS: Mapping[str, VariantSettings] = MappingProxyType(
    {
        "near": VariantSettings(REGIMES["near"], 3.0, 10),
        "same": VariantSettings(REGIMES["same"], 5.0, 16),
        "concept": VariantSettings(REGIMES["concept"], 7.5, 30),
    }
)
"""Usual guidance and steps of these pipelines. They are not tuned."""
SCALES = ((REGIMES["near"], 0.5), (REGIMES["same"], 0.7), (REGIMES["concept"], 1.0))
"""Noise level -> scale of an IP-Adapter, interpolated in log sigma: the less is left of the start,
the more the adapter must tell what the picture is of."""
NEIGHBOUR_SIGMA = 3.0  # as of our model on latents
SMALLEST_SIDES = 8  # a working side has at least so many latents
LONGEST_SIDE = 2  # and at most so many times the native size


@dataclass(frozen=True)
class StepPlan:
    """The part of a scheduler's steps that is taken.

    total: steps from pure noise on, of which the first `begin` are left out. sigma: noise level at
    the first one that is taken.
    """

    total: int
    begin: int
    sigma: float

    @property
    def strength(self) -> float:
        """The share of the steps that is taken, as pipelines expect it. They round it down."""
        return min(1.0, (self.total - self.begin + 0.5) / self.total)


@dataclass(frozen=True)
class Task:
    """One call of a pipeline.

    picture: what the candidates are of. starts: one for each, in the working size. generators: one
    for each. dial, plan: how far they go. breathe: called after each denoising step.
    """

    picture: Image.Image
    starts: Sequence[Image.Image]
    generators: Sequence[torch.Generator]
    dial: VariantSettings
    plan: StepPlan
    breathe: Callable[[], None]

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that all pipelines take."""
        return {
            "num_inference_steps": self.plan.total,
            "guidance_scale": self.dial.guidance,
            "generator": list(self.generators),
        }

    def on_step_end(self, pipeline: Any, step: int, time: Any, values: dict[str, Any]) -> Any:
        """The callback of newer pipelines."""
        self.breathe()
        return values

    def on_step(self, step: int, time: Any, latents: Any) -> None:
        """The callback of older pipelines."""
        self.breathe()


class LateScheduler:
    """A scheduler that leaves out its first steps, for a pipeline that has no strength.

    Everything else is that of the scheduler itself.
    """

    def __init__(self, scheduler: Any, begin: int) -> None:
        self._scheduler, self._begin = scheduler, begin * scheduler.order

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    @property
    def timesteps(self) -> torch.Tensor:
        """The timesteps of the steps that are taken."""
        times: torch.Tensor = self._scheduler.timesteps[self._begin :]
        return times

    def set_timesteps(self, *arguments: Any, **options: Any) -> None:
        """Space the timesteps, and begin at the first step that is taken."""
        self._scheduler.set_timesteps(*arguments, **options)
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(self._begin)


def plan_steps(scheduler: Any, sigma: float, steps: int) -> StepPlan:
    """Return the plan that begins nearest to a noise level and takes about so many steps.

    sigma: standard deviation of the noise over that of the data, above 0. It is looked up in the
    scheduler's own table, where it is sqrt((1 - alpha_bar) / alpha_bar).
    """
    table = (1 / scheduler.alphas_cumprod.double() - 1).clamp(min=1e-12).sqrt().cpu().numpy()
    level = float(np.log(np.clip(sigma, table[0], table[-1])))
    share = float(np.interp(level, np.log(table), (np.arange(len(table)) + 1) / len(table)))
    total = min(max(steps, round(steps / share)), len(table))
    scheduler.set_timesteps(total)
    times = np.asarray(scheduler.timesteps.cpu(), np.float64)[:: scheduler.order][:total]
    levels = np.interp(times, np.arange(len(table)), np.log(table))
    begin = int(np.abs(levels - level).argmin())
    return StepPlan(total, begin, float(np.exp(levels[begin])))


def choose_scale(sigma: float) -> float:
    """Return the scale of an IP-Adapter for a noise level."""
    sigmas, scales = zip(*SCALES, strict=True)
    return float(np.interp(np.log(sigma), np.log(sigmas), scales))


def choose_working_size(width: int, height: int, native: int, multiple: int) -> tuple[int, int]:
    """Return width and height at which a pipeline works: the area of its native square, in nearly
    the proportions of a picture. multiple: that they are multiples of."""
    scale = native / (width * height) ** 0.5
    most = max(multiple, LONGEST_SIDE * native // multiple * multiple)
    sides = (
        min(most, max(multiple, round(s * scale / multiple) * multiple)) for s in (width, height)
    )
    return next(sides), next(sides)


class PipelineGenerator:
    """Makes variants by a pipeline of diffusers: `FAMILIES` lists the classes."""

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        notes: JsonCache,
        device: str,
        say: Callable[[str], None],
    ) -> None:
        """name: as `PipelineSource` takes it. say: takes the line before a download."""
        self.name, self._source = name, PipelineSource(name)
        self._runtime, self._notes, self._device, self._say = runtime, notes, device, say
        self.batch = 4 if device.startswith("cuda") else 1
        self._opening = threading.Lock()
        self._opened: list[tuple[Any, PipelineFiles, Any]] = []  # at most one

    @property
    def regimes(self) -> Mapping[str, VariantSettings]:
        return REGIME_SETTINGS

    @property
    def neighbour_sigma(self) -> float:
        return NEIGHBOUR_SIGMA

    @property
    def fingerprint(self) -> str:
        """See `Generator`. It depends on all files that are loaded."""
        digest = hashlib.sha256()
        try:
            for path in self._source.locate().list_paths():
                place = f"{path.parent.name}/{path.name}"
                digest.update(f"{place} {file_hash(path, self._notes)}\n".encode())
        except OSError as error:
            raise ModelError(f"the generator {self.name} cannot be read: {error}") from error
        return digest.hexdigest()

    @property
    def license(self) -> str:
        try:
            return self._source.read_license()
        except ModelError:
            return "unknown"

    @property
    def native_size(self) -> int | None:
        try:
            return measure_native_size(self._source.locate().folder)
        except ModelError:
            return None

    def fetch(self) -> Iterator[Progress]:
        """See `Generator`."""
        _require_packages()
        for done, total in self._source.fetch(self._say):
            yield Progress("fetch", done // MB, total // MB, self.name)

    def check(self, dial: VariantSettings, neighbours: bool) -> None:
        """See `Generator`. A pipeline follows any settings, since it sees the picture."""

    def vary(
        self,
        picture: Image.Image,
        dial: VariantSettings,
        seeds: Sequence[int],
        starts: Sequence[Image.Image],
    ) -> Iterates[GeneratorState, None, None]:
        """See `Generator`. Each state is one denoising step; searches go between them."""
        if dial.sigma == 0:
            yield GeneratorState(dial.steps, 0.0, tuple(starts), True)
            return
        pipeline, files, encoder = self._open()
        plan = plan_steps(pipeline.scheduler, dial.sigma, dial.steps)
        native = measure_native_size(files.folder) or max(starts[0].size)
        size = choose_working_size(*starts[0].size, native, _measure_multiple(pipeline))
        steps, cancelled = SimpleQueue[bool](), threading.Event()

        def breathe() -> None:
            steps.put(False)
            self._runtime.breathe()
            if cancelled.is_set():
                raise InterruptedError

        task = Task(
            picture,
            [start.resize(size, Image.Resampling.LANCZOS) for start in starts],
            [torch.Generator().manual_seed(seed) for seed in seeds],
            dial,
            plan,
            breathe,
        )
        call = CALLS[files.family.pipeline]

        def make_pictures() -> list[Image.Image]:
            try:
                with _quiet(), torch.no_grad():
                    pictures: list[Image.Image] = call(pipeline, encoder, task).images
                return pictures
            finally:
                steps.put(True)

        work = self._runtime.submit(make_pictures)
        try:
            count, sigma = 0, round(plan.sigma, 3)
            while not steps.get():
                count += 1
                yield GeneratorState(min(count, dial.steps), sigma)
            pictures = self._finish(work)
        finally:
            cancelled.set()
            _wait_for(work)
        results = (
            picture.convert("RGB").resize(start.size, Image.Resampling.LANCZOS)
            for picture, start in zip(pictures, starts, strict=True)
        )
        yield GeneratorState(dial.steps, sigma, tuple(results), True)

    def close(self) -> None:
        """See `Generator`."""
        with self._opening:
            if not self._opened:
                return
            self._opened.clear()
        gc.collect()  # pipelines hold themselves in circles
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _finish(self, work: Future[list[Image.Image]]) -> list[Image.Image]:
        try:
            return work.result()
        except Exception as error:  # whatever the pipeline raises
            raise ModelError(
                f"the generator {self.name} failed: {_first_line(error)}; give another one"
            ) from error

    def _open(self) -> tuple[Any, PipelineFiles, Any]:
        """Return the pipeline, its files, and the image encoder of a prior or None."""
        with self._opening:
            if not self._opened:
                _require_packages()
                files = self._source.locate()
                try:
                    pipeline, encoder = load_pipeline(files, self._device)
                except Exception as error:  # whatever diffusers and transformers raise
                    raise ModelError(
                        f"the generator {self.name} cannot be loaded: {_first_line(error)}; get "
                        "it again, or give another one"
                    ) from error
                self._opened.append((pipeline, files, encoder))
            return self._opened[0]


def load_pipeline(files: PipelineFiles, device: str) -> tuple[Any, Any]:
    """Load a pipeline, and the image encoder of its prior or None. Raises any exception."""
    diffusers, transformers = import_module("diffusers"), import_module("transformers")
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    local = {"use_safetensors": True, "local_files_only": True}
    prior = None
    with _quiet():
        cls = getattr(diffusers, files.family.pipeline)
        more = {"variant": files.variant} if files.variant else {}
        pipeline = cls.from_pretrained(str(files.folder), torch_dtype=dtype, **local, **more)
        if files.encoder is not None:
            kind = transformers.CLIPVisionModelWithProjection
            encoder = kind.from_pretrained(str(files.encoder), torch_dtype=dtype, **local).eval()
            if files.adapter is None:
                processor = transformers.CLIPImageProcessor.from_pretrained(
                    str(files.processor), local_files_only=True
                )
                prior = encoder.to(device), processor
            else:
                pipeline.register_modules(image_encoder=encoder)
                pipeline.load_ip_adapter(
                    str(files.adapter.parent),
                    subfolder="",
                    weight_name=files.adapter.name,
                    image_encoder_folder=None,
                    local_files_only=True,
                )
        pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, prior


def _call_image_to_image(pipeline: Any, _: Any, task: Task) -> Any:
    """Stable Diffusion and its XL, from the starts, told by the IP-Adapter what they are of."""
    pipeline.set_ip_adapter_scale(choose_scale(task.dial.sigma))
    return pipeline(
        prompt="",
        image=list(task.starts),
        strength=task.plan.strength,
        num_images_per_prompt=len(task.starts),
        ip_adapter_image=task.picture,
        callback_on_step_end=task.on_step_end,
        **task.options,
    )


def _call_kandinsky(pipeline: Any, prior: Any, task: Task) -> Any:
    """Kandinsky 2.2: the prior's image encoder tells what the starts are of."""
    encoder, processor = prior
    pixels = processor(images=task.picture, return_tensors="pt").pixel_values
    pixels = pixels.to(encoder.device, encoder.dtype)
    content, empty = (encoder(one).image_embeds for one in (pixels, torch.zeros_like(pixels)))
    count, (width, height) = len(task.starts), task.starts[0].size
    return pipeline(
        image_embeds=content.repeat(count, 1),
        negative_image_embeds=empty.repeat(count, 1),
        image=list(task.starts),
        strength=task.plan.strength,
        width=width,
        height=height,
        callback_on_step_end=task.on_step_end,
        **task.options,
    )


def _call_unclip(pipeline: Any, _: Any, task: Task) -> Any:
    """Stable unCLIP: it has no strength, so that it gets noised latents and a late start."""
    with _begin_late(pipeline, task) as latents:
        return pipeline(latents=latents, **_pictures_and_size(task), **task.options)


def _call_image_variation(pipeline: Any, _: Any, task: Task) -> Any:
    """Stable Diffusion image variations. As for Stable unCLIP, but it scales latents again."""
    with _begin_late(pipeline, task) as latents:
        latents = latents / pipeline.scheduler.init_noise_sigma
        return pipeline(latents=latents, **_pictures_and_size(task), **task.options)


CALLS: Mapping[str, Callable[[Any, Any, Task], Any]] = MappingProxyType(
    {
        "StableDiffusionImg2ImgPipeline": _call_image_to_image,
        "StableDiffusionXLImg2ImgPipeline": _call_image_to_image,
        "StableUnCLIPImg2ImgPipeline": _call_unclip,
        "KandinskyV22Img2ImgPipeline": _call_kandinsky,
        "StableDiffusionImageVariationPipeline": _call_image_variation,
    }
)
"""Class of diffusers -> how it is called."""


def _pictures_and_size(task: Task) -> dict[str, Any]:
    width, height = task.starts[0].size
    pictures = [task.picture] * len(task.starts)
    return {"image": pictures, "width": width, "height": height, "callback": task.on_step}


@contextmanager
def _begin_late(pipeline: Any, task: Task) -> Iterator[torch.Tensor]:
    """Let a pipeline leave out the first steps of a plan, and yield its noised starts, (B, C, h,
    w)."""
    scheduler, vae = pipeline.scheduler, pipeline.vae
    images = pipeline.image_processor.preprocess(list(task.starts)).to(vae.device, vae.dtype)
    pairs = zip(images.split(1), task.generators, strict=True)
    parts = [vae.encode(image).latent_dist.sample(generator) for image, generator in pairs]
    latents = torch.cat(parts) * vae.config.scaling_factor
    noise = torch.cat(
        [
            torch.randn(part.shape, generator=g)
            for part, g in zip(parts, task.generators, strict=True)
        ]
    ).to(latents)
    late = LateScheduler(scheduler, task.plan.begin)
    late.set_timesteps(task.plan.total, device=latents.device)
    times = late.timesteps[:1].repeat(len(latents))
    pipeline.scheduler = late
    try:
        yield scheduler.add_noise(latents, noise, times)
    finally:
        pipeline.scheduler = scheduler


def _measure_multiple(pipeline: Any) -> int:
    """Return what the sides of a picture should be multiples of: one position of the U-Net's
    coarsest level, and 8, as pipelines check."""
    decoder = getattr(pipeline, "movq", None) or pipeline.vae
    levels = len(decoder.config.block_out_channels) + len(pipeline.unet.config.block_out_channels)
    return max(8, int(2 ** (levels - 2)))


def _require_packages() -> None:
    """Raise ModelError unless the extra is installed."""
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"generators of diffusers need {', '.join(lacking)}; run {describe_install(EXTRA)}, or "
            "leave the generator out"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep diffusers and transformers from writing to the terminal."""
    loggers = [import_module(f"{name}.utils.logging") for name in PACKAGES[:2]]
    before = [(one, one.get_verbosity(), one.is_progress_bar_enabled()) for one in loggers]
    with warnings.catch_warnings(action="ignore"):
        for one in loggers:
            one.set_verbosity(one.CRITICAL)
            one.disable_progress_bar()
        try:
            yield
        finally:
            for one, verbosity, has_bar in before:
                one.set_verbosity(verbosity)
                if has_bar:
                    one.enable_progress_bar()


def _wait_for(work: Future[Any]) -> None:
    """Wait until work that was cancelled has ended; what it raised does not matter any more."""
    if not work.cancel():
        work.exception()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
