"""Pipelines of diffusers as generators: which files are loaded, noise levels, and the hub."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from helpers.libraries import close_library, open_library, parts
from helpers.pictures import jpeg
from helpers.pipelines import (
    save_image_variation,
    save_kandinsky,
    save_stable_diffusion,
    save_stable_unclip,
)
from huggingface_hub import constants, file_download
from huggingface_hub.utils import close_session
from PIL import Image

from diffusion.sampling.variants import VariantSettings
from search import ModelError
from search.embedders import hub
from search.embedders.json_cache import JsonCache
from search.generation.generators import pipelines
from search.generation.generators.pipeline_source import PipelineSource
from search.generation.generators.pipelines import (
    LateScheduler,
    PipelineGenerator,
    choose_scale,
    choose_working_size,
    plan_steps,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",  # of diffusers and transformers
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = {
    "ddim": lambda: diffusers.DDIMScheduler(**BETAS, steps_offset=1),
    "ddim-trailing": lambda: diffusers.DDIMScheduler(**BETAS, timestep_spacing="trailing"),
    "pndm": lambda: diffusers.PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1),
    "ddpm": lambda: diffusers.DDPMScheduler(**BETAS),
    "euler": lambda: diffusers.EulerDiscreteScheduler(**BETAS),
    "euler-ancestral": lambda: diffusers.EulerAncestralDiscreteScheduler(**BETAS),
    "dpm++": lambda: diffusers.DPMSolverMultistepScheduler(**BETAS),
    "heun": lambda: diffusers.HeunDiscreteScheduler(**BETAS),
}


def open_generator(name: str, say: Callable[[str], None] = lambda _: None) -> PipelineGenerator:
    return PipelineGenerator(name, parts()[1], JsonCache(None), "cpu", say)


def vary(generator: PipelineGenerator, sigma: float = 2.0) -> np.ndarray:
    picture = Image.linear_gradient("L").convert("RGB").resize((48, 32))
    settings = VariantSettings(sigma, 3.0, 3)
    *_, last = generator.vary(picture, settings, [1], [picture])
    return np.asarray(last.pictures[0], np.int16)


# noise levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 6.0])
def test_steps_begin_at_the_noise_level(name: str, sigma: float) -> None:
    """By the table of the scheduler, and as it adds noise itself."""
    scheduler = SCHEDULERS[name]()
    plan = plan_steps(scheduler, sigma, 12)
    assert plan.sigma == pytest.approx(sigma, rel=0.15)
    assert abs(plan.total - plan.begin - 12) <= 3  # some repeat a step, or begin before the last
    late = LateScheduler(scheduler, plan.begin)
    late.set_timesteps(plan.total)
    start, noise = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    noised = scheduler.add_noise(start + 1, noise, late.timesteps[:1])
    only_start = scheduler.add_noise(start + 1, 0 * noise, late.timesteps[:1])
    level = float(((noised - only_start) / only_start).mean())
    assert level == pytest.approx(plan.sigma, rel=0.02)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_pure_noise_takes_all_steps(name: str) -> None:
    plan = plan_steps(SCHEDULERS[name](), 80.0, 10)
    assert (plan.total, plan.begin, plan.strength) == (10, 0, 1.0)


def test_the_strength_is_the_share_of_the_steps() -> None:
    """Pipelines round it down."""
    for total in range(1, 200):
        for begin in range(total):
            plan = pipelines.StepPlan(total, begin, 1.0)
            assert int(total * plan.strength) == total - begin


@pytest.mark.parametrize("sigma", [0.7, 2.0, 80.0])
def test_a_pipeline_begins_where_it_is_planned(
    tmp_path: Path, sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = open_generator(save_stable_diffusion(tmp_path / "sd"))
    times = list[int]()
    add_noise = diffusers.DDIMScheduler.add_noise

    def note(self: Any, x: Any, noise: Any, timesteps: Any) -> Any:
        times.extend(timesteps.tolist())
        return add_noise(self, x, noise, timesteps)

    monkeypatch.setattr(diffusers.DDIMScheduler, "add_noise", note)
    vary(generator, sigma)
    scheduler = generator._open()[0].scheduler
    plan = plan_steps(scheduler, sigma, 3)
    alpha_bar = float(scheduler.alphas_cumprod[times[0]])
    assert len(times) == 1
    assert ((1 - alpha_bar) / alpha_bar) ** 0.5 == pytest.approx(plan.sigma, rel=1e-4)


def test_the_adapter_counts_more_the_less_is_left_of_the_start() -> None:
    scales = [choose_scale(sigma) for sigma in (0.01, 0.7, 1, 2, 10, 80, 1000)]
    assert scales == sorted(scales) and scales[0] == 0.5 and scales[-1] == 1.0


@pytest.mark.parametrize("scheduler", ["pndm", "euler", "dpm++"])
def test_other_schedulers_work(tmp_path: Path, scheduler: str) -> None:
    name = save_stable_diffusion(tmp_path / "sd", scheduler=SCHEDULERS[scheduler]())
    assert vary(open_generator(name)).std() > 1


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1, 500), (500, 1), (64, 64)])
def test_the_working_size_has_the_area_of_the_native_square(size: tuple[int, int]) -> None:
    width, height = choose_working_size(*size, 512, 64)
    assert width % 64 == height % 64 == 0 and 64 <= min(width, height)
    assert max(width, height) <= 1024 and width * height <= 1.25 * 512**2
    assert (width > height) == (size[0] > size[1])


# files --------------------------------------------------------------------------------------------


def refuse(name: str, *texts: str) -> None:
    """Expect that a generator is refused, with these texts."""
    with pytest.raises(ModelError) as caught:
        vary(open_generator(name))
    assert all(text in str(caught.value) for text in texts), caught.value


def test_pickles_are_refused(tmp_path: Path) -> None:
    name = save_stable_diffusion(tmp_path / "sd", safe_serialization=False)
    assert list((tmp_path / "sd" / "unet").glob("*.bin"))
    refuse(name, "unet", ".bin", "could run code", "safe_serialization=True")
    (tmp_path / "sd" / "unet" / "diffusion_pytorch_model.bin").unlink()
    refuse(name, "no weights of unet", "as a whole")


def test_a_pickle_beside_is_not_read(tmp_path: Path) -> None:
    name = save_stable_unclip(tmp_path / "unclip")
    (tmp_path / "unclip" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04no")
    assert vary(open_generator(name)).std() > 1


@pytest.mark.parametrize("place", ["pipeline.py", "unet/my_model.py"])
def test_code_is_refused(tmp_path: Path, place: str) -> None:
    name = save_stable_unclip(tmp_path / "unclip")
    (tmp_path / "unclip" / place).write_text("raise SystemExit")
    refuse(name, place, "is not run")


@pytest.mark.parametrize("kind", ["DDPMPipeline", "FluxPipeline", ["pipeline", "Mine"], None])
def test_other_kinds_of_pipelines_are_refused(tmp_path: Path, kind: object) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    refuse(str(tmp_path), "StableDiffusionPipeline", "Kandinsky")


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_damaged_indexes_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model_index.json").write_text(content, "latin-1")
    refuse(str(tmp_path), "model_index.json")


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    refuse(str(tmp_path / "nothing"), "no folder of a diffusers pipeline")
    refuse(str(tmp_path), "model_index.json")


def test_an_adapter_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    name = save_stable_diffusion(tmp_path / "sd")
    base, _, adapter = name.rpartition("+")
    refuse(f"{base}+{tmp_path / 'none.safetensors'}", "no image encoder", "+ADDITION")
    refuse(f"{base}+{tmp_path}", "not the .safetensors file")
    shutil.rmtree(Path(adapter).with_name("image_encoder"))
    refuse(name, "no image encoder")


def test_a_prior_that_is_missing_is_refused(tmp_path: Path) -> None:
    name = save_kandinsky(tmp_path / "kandinsky")
    base = name.rpartition("+")[0]
    refuse(f"{base}+{tmp_path / 'nothing'}", "no image encoder", "+ADDITION")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    name = save_image_variation(tmp_path / "variation")
    weights = tmp_path / "variation" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refuse(name, "cannot be loaded")


def test_weights_in_half_precision_are_taken_if_there_are_no_others(tmp_path: Path) -> None:
    plain, half = tmp_path / "plain", tmp_path / "half"
    save_image_variation(plain)
    pipeline = diffusers.StableDiffusionImageVariationPipeline.from_pretrained(plain)
    pipeline.save_pretrained(half, variant="fp16")
    assert list((half / "unet").glob("*.fp16.safetensors"))
    assert PipelineSource(str(half)).locate().variant == "fp16"
    assert PipelineSource(str(plain)).locate().variant is None
    same = vary(open_generator(str(plain))) == vary(open_generator(str(half)))
    assert same.all()


def test_weights_in_parts_are_complete_or_refused(tmp_path: Path) -> None:
    name = save_image_variation(tmp_path / "variation")
    pipeline = diffusers.StableDiffusionImageVariationPipeline.from_pretrained(name)
    whole = vary(open_generator(name))
    folder = tmp_path / "parts"
    pipeline.save_pretrained(folder, max_shard_size="60KB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    assert (vary(open_generator(str(folder))) == whole).all()
    shards[1].unlink()
    refuse(str(folder), shards[1].name)


def test_the_fingerprint_is_of_the_weights(tmp_path: Path) -> None:
    name = save_stable_unclip(tmp_path / "a" / "unclip")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, copy = (open_generator(str(tmp_path / x / "unclip")) for x in "ab")
    assert name and first.fingerprint == copy.fingerprint
    config = tmp_path / "b" / "unclip" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.02", "0.021"))
    assert first.fingerprint != copy.fingerprint


@pytest.mark.parametrize(
    "head, license",
    [
        ("license: mit", "mit"),
        ("license: other\nlicense_name: my-terms", "my-terms"),
        ("license:\n- mit\n- apache-2.0", "mit, apache-2.0"),
        ("tags: [a]", "unknown"),
        ("license: [", "unknown"),
    ],
)
def test_the_license_is_that_of_the_card(tmp_path: Path, head: str, license: str) -> None:
    name = save_stable_unclip(tmp_path / "unclip")
    (tmp_path / "unclip" / "README.md").write_text(f"---\n{head}\n---\n# Mine\n")
    assert open_generator(name).license == license
    (tmp_path / "unclip" / "README.md").unlink()
    assert open_generator(name).license == "unknown"


def test_a_path_with_a_plus_is_a_path(tmp_path: Path) -> None:
    assert vary(open_generator(save_stable_unclip(tmp_path / "a+b" / "c+d"))).std() > 1


def test_without_the_extra_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "PACKAGES", ("diffusers", "a_missing_package"))
    with pytest.raises(ModelError, match="a_missing_package") as caught:
        list(open_generator(str(tmp_path)).fetch())
    assert shlex.quote(sys.executable) in str(caught.value) and "pip install" in str(caught.value)


# the hub ------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """A hub that has the folders of `repositories`."""

    repositories: dict[str, Path] = {}
    requests: list[str] = []
    status = 200

    def do_HEAD(self) -> None:
        self.answer(with_content=False)

    def do_GET(self) -> None:
        self.answer(with_content=True)

    def answer(self, with_content: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        self.requests.append(path)
        content, tag = self.find(path)
        self.send_response(self.status if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{tag}"')
        self.end_headers()
        if with_content:
            self.wfile.write(content or b"")

    def find(self, path: str) -> tuple[bytes | None, str]:
        for name, folder in self.repositories.items():
            if path.startswith(f"/api/models/{name}"):
                files = [p for p in folder.rglob("*") if p.is_file()]
                siblings = [
                    {"rfilename": p.relative_to(folder).as_posix(), "size": p.stat().st_size}
                    for p in files
                ]
                card = {"license": "openrail"}
                document = {"id": name, "siblings": siblings, "cardData": card, "tags": []}
                return json.dumps(document).encode(), "info"
            file = folder / path.removeprefix(f"/{name}/resolve/main/")
            if path.startswith(f"/{name}/") and file.is_file():
                return file.read_bytes(), hashlib.sha256(str(file).encode()).hexdigest()
        return None, "none"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """Serve a hub with a cache of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(Hub, "repositories", {})
    monkeypatch.setattr(Hub, "requests", [])
    monkeypatch.setattr(Hub, "status", 200)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    close_session()
    hub.describe.cache_clear()
    yield Hub
    hub.describe.cache_clear()
    close_session()
    server.shutdown()
    server.server_close()


def test_the_license_is_shown_before_the_download(serve: type[Hub], tmp_path: Path) -> None:
    folder = Path(save_stable_unclip(tmp_path / "unclip"))
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "picture.png").write_bytes(b"no part of it")
    serve.repositories["someone/unclip"] = folder
    lines, weights = list[str](), ".safetensors"
    generator = open_generator("someone/unclip", lines.append)
    assert generator.license == "openrail" and generator.native_size is None
    for _ in generator.fetch():
        if any(path.endswith(weights) for path in serve.requests):
            assert lines
    assert len(lines) == 1 and "its license is openrail" in lines[0] and "MB" in lines[0]
    assert not any(path.endswith((".bin", ".png")) for path in serve.requests)
    assert generator.native_size == 32
    here = open_generator(str(folder))
    (folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    assert (vary(generator) == vary(here)).all()
    serve.requests.clear()
    assert list(open_generator("someone/unclip", lines.append).fetch()) == []
    assert serve.requests == [] and len(lines) == 1  # the second time the hub is not asked


def test_an_adapter_of_the_hub_is_fetched_too(serve: type[Hub], tmp_path: Path) -> None:
    base, _, adapter = save_stable_diffusion(tmp_path / "sd").rpartition("+")
    models = tmp_path / "ip" / "models"
    shutil.copytree(Path(adapter).parent, models)
    (models / Path(adapter).name).rename(models / "ip-adapter_sd15.safetensors")
    serve.repositories |= {"someone/sd": Path(base), "h94/IP-Adapter": tmp_path / "ip"}
    lines = list[str]()
    generator = open_generator("someone/sd", lines.append)
    list(generator.fetch())
    assert [line.split(" MB of ")[1].split()[0] for line in lines] == [
        "someone/sd",
        "h94/IP-Adapter",
    ]
    assert generator.license == "openrail; h94/IP-Adapter: openrail"
    expected = vary(open_generator(f"{base}+{adapter}"))
    assert (vary(generator) == expected).all()
    for addition in ("h94/IP-Adapter", "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"):
        named = open_generator(f"someone/sd+{addition}")
        assert list(named.fetch()) == [] and (vary(named) == expected).all()


def test_a_prior_of_the_hub_is_fetched_too(serve: type[Hub], tmp_path: Path) -> None:
    base, _, prior = save_kandinsky(tmp_path / "kandinsky").rpartition("+")
    serve.repositories |= {"a/decoder": Path(base), "a/prior": Path(prior)}
    generator = open_generator("a/decoder+a/prior")
    list(generator.fetch())
    assert (vary(generator) == vary(open_generator(f"{base}+{prior}"))).all()


def test_pickles_on_the_hub_are_refused_before_the_download(
    serve: type[Hub], tmp_path: Path
) -> None:
    name = save_stable_diffusion(tmp_path / "sd", safe_serialization=False)
    serve.repositories["someone/sd"] = Path(name.rpartition("+")[0])
    with pytest.raises(ModelError, match="could run code"):
        list(open_generator("someone/sd").fetch())
    assert not any(path.endswith(".bin") for path in serve.requests)


def test_what_is_no_pipeline_on_the_hub_is_refused(serve: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text("{}")
    serve.repositories["someone/text"] = tmp_path / "text"
    with pytest.raises(ModelError, match="no diffusers pipeline"):
        list(open_generator("someone/text").fetch())


@pytest.mark.parametrize("status, text", [(500, "500"), (401, "401"), (404, "404")])
def test_a_hub_that_refuses_is_an_error_that_says_what_to_do(
    serve: type[Hub], monkeypatch: pytest.MonkeyPatch, status: int, text: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(Hub, "status", status)
    serve.repositories["someone/sd"] = tmp_path
    with pytest.raises(ModelError, match=f"{text}; try again later, or give the folder"):
        list(open_generator("someone/sd").fetch())


@pytest.mark.parametrize("way", ["offline", "refusing"])
def test_without_a_network_the_error_says_what_to_do(
    serve: type[Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    if way == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    engine = open_library(tmp_path / "home", model="mini")
    try:
        with pytest.raises(ModelError, match="out of reach; try again later, or give the folder"):
            engine.variants(jpeg(0), n=1, steps=1, generator="someone/sd")
        assert len(engine.variants(jpeg(0), n=1, steps=1, size=64)) == 1
    finally:
        close_library(engine)
    assert open_generator("someone/sd").license == "unknown"
