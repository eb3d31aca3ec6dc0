"""Checkpoints as pipeline folders of diffusers, and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from diffusion import CheckpointError, ConfigError, Denoiser, load, sample
from diffusion.cli.app import app
from diffusion.model import checkpoint
from diffusion.model.diffusers_folder import export_diffusers, import_diffusers
from diffusion.model.presets import CLASSIC, PRESETS, Config, preset
from diffusion.sampling.samplers import seeded_noise

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SMALL = replace(
    CLASSIC,
    size=16,
    shape=replace(
        CLASSIC.shape, channels=(32, 64, 64), attention=(False, True, False), head=16, groups=8
    ),
)
NEAR = 1e-4


def make_model(config: Config = SMALL) -> Denoiser:
    """A model whose zero weights are random, as after training."""
    torch.manual_seed(0)
    model = Denoiser(config)
    with torch.no_grad():
        for parameter in model.net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    model.about = {"data": "blocks", "step": 7}
    return model.eval().requires_grad_(False)


def open_pipeline(folder: Path, kind: Any = diffusers.DDPMPipeline) -> Any:
    pipeline = kind.from_pretrained(folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scale_shift": True},
        {"blocks": 1, "dropout": 0.1},
        {"attention": (False, False, False)},
        {"attention": (True, True, True), "head": 32, "groups": 16},
        {"channels": (32, 64), "attention": (False, True)},
        {"channels": (64,), "attention": (True,), "inputs": 1},
    ],
)
def test_the_network_is_theirs(change: dict[str, Any], tmp_path: Path) -> None:
    """Also its names: nothing is missing or left over."""
    model = make_model(replace(SMALL, shape=replace(SMALL.shape, **change)))
    export_diffusers(model, tmp_path / "folder")
    unet, info = diffusers.UNet2DModel.from_pretrained(
        tmp_path / "folder", subfolder="unet", output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    x = torch.randn(2, model.config.shape.inputs, 16, 24)
    for t in (0, 500, 999):
        theirs = unet.eval()(x, t).sample
        assert (model.net(x, torch.full((2,), float(t))) - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
@pytest.mark.parametrize("noise", ["linear", "cosine"])
def test_samples_are_the_same(
    target: str, noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of their DDIM pipeline, from the same x_T."""
    model = make_model(replace(SMALL, target=target, noise=noise))
    folder = tmp_path / "folder"
    export_diffusers(model, folder)
    pipeline = open_pipeline(folder, diffusers.DDIMPipeline)
    noise_of_ours = seeded_noise([0, 1], (3, 16, 16))()
    sigma = model.schedule.sigma_max

    def draw(*_: object, **__: object) -> Tensor:
        return noise_of_ours * sigma / (1 + sigma**2) ** 0.5

    monkeypatch.setattr("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", draw)
    theirs = pipeline(batch_size=2, num_inference_steps=20, eta=0.0, output_type="np").images
    ours = sample(model, 2, seed=0, sampler="ddim", steps=20)
    difference = (ours.permute(0, 2, 3, 1) + 1) / 2 - torch.from_numpy(theirs)
    assert difference.abs().max() < NEAR


def test_a_pipeline_of_the_folder_runs_as_it_is(tmp_path: Path) -> None:
    export_diffusers(make_model(), tmp_path / "folder")
    picture = open_pipeline(tmp_path / "folder")(num_inference_steps=3).images[0]
    assert picture.size == (16, 16)
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.parametrize("target", ["eps", "v"])
def test_a_folder_comes_back_as_it_went(target: str, tmp_path: Path) -> None:
    config = replace(SMALL, target=target, weighting="min-snr-5", preset="mine")
    fresh = make_model(config)
    source, path = tmp_path / "source.safetensors", tmp_path / "back.safetensors"
    checkpoint.save(source, config, fresh.net.state_dict(), fresh.about)
    model = load(source)
    export_diffusers(model, tmp_path / "folder")
    checkpoint.save(path, *import_diffusers(tmp_path / "folder"))
    back = load(path)
    assert back.config == config
    assert back.about["data"] == "blocks" and back.about["step"] == 7
    assert path.read_bytes() == source.read_bytes()
    assert (sample(back, 2, steps=3) == sample(model, 2, steps=3)).all()


def test_what_diffusers_saves_again_comes_back_too(tmp_path: Path) -> None:
    """Without our own file, by another scheduler, and with what they leave out."""
    model = make_model()
    export_diffusers(model, tmp_path / "folder")
    open_pipeline(tmp_path / "folder", diffusers.DDIMPipeline).save_pretrained(tmp_path / "again")
    unet = tmp_path / "again" / "unet" / "config.json"
    fields = json.loads(unet.read_text())
    unet.write_text(json.dumps({k: v for k, v in fields.items() if k != "norm_eps"}))
    config, weights, about = import_diffusers(tmp_path / "again")
    assert config == replace(SMALL, preset="classic") and about == {}
    assert all((weights[name] == w).all() for name, w in model.net.state_dict().items())


# what has no counterpart --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"classic"}))
def test_other_presets_are_refused_with_the_reasons(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        model = Denoiser(preset(name))
    with pytest.raises(ConfigError, match="groups of its normalizations.*--preset classic"):
        export_diffusers(model, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "config, text",
    [
        (SMALL.with_condition("class", 3), "conditioned on a class"),
        (SMALL.with_condition("vector", 8), "conditioned on a vector"),
        (replace(SMALL, noise="edm"), "its noise is edm"),
        (replace(SMALL, steps=500), "500 steps"),
        (replace(SMALL, sigma_data=0.5), "deviation 0.5"),
        (replace(SMALL, shape=replace(SMALL.shape, patch=2)), "packs patches"),
        (replace(SMALL, shape=replace(SMALL.shape, size_condition=True)), "size or augmentation"),
    ],
)
def test_what_a_pipeline_cannot_hold_is_refused(config: Config, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        export_diffusers(make_model(config), tmp_path / "folder")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        export_diffusers(make_model(), tmp_path)


@pytest.fixture
def spoil(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Change fields of a configuration in a folder."""
    export_diffusers(make_model(), tmp_path / "folder")

    def change(file: str, **fields: Any) -> Path:
        path = tmp_path / "folder" / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        return tmp_path / "folder"

    yield change


@pytest.mark.parametrize(
    "field, value",
    [
        ("freq_shift", 1),
        ("flip_sin_to_cos", True),
        ("downsample_padding", 0),
        ("norm_eps", 1e-6),
        ("act_fn", "gelu"),
        ("class_embed_type", "timestep"),
        ("time_embedding_type", "fourier"),
        ("mid_block_scale_factor", 1.41),
        ("up_block_types", ["UpBlock2D"] * 3),
        ("out_channels", 6),
        ("something_new", 1),
    ],
)
def test_another_network_is_refused_with_what_differs(
    spoil: Callable[..., Path], field: str, value: object
) -> None:
    with pytest.raises(CheckpointError, match=f"no exact counterpart here: .*{field}"):
        import_diffusers(spoil("unet/config.json", **{field: value}))


@pytest.mark.parametrize(
    "field, value",
    [
        ("beta_end", 0.012),
        ("beta_schedule", "scaled_linear"),
        ("num_train_timesteps", 4000),
        ("prediction_type", "flow"),
        ("rescale_betas_zero_snr", True),
    ],
)
def test_other_noise_is_refused_with_what_differs(
    spoil: Callable[..., Path], field: str, value: object
) -> None:
    with pytest.raises(CheckpointError, match=field):
        import_diffusers(spoil("scheduler/scheduler_config.json", **{field: value}))


@pytest.mark.parametrize(
    "fields",
    [
        {"block_out_channels": "many"},
        {"block_out_channels": [10**9]},
        {"block_out_channels": [33, 64, 64]},
        {"layers_per_block": 10**6},
        {"norm_num_groups": 0},
        {"attention_head_dim": None},
        {"sample_size": None},
        {"_class_name": "UNet2DConditionModel"},
    ],
)
def test_hostile_configurations_are_refused(
    spoil: Callable[..., Path], fields: dict[str, object]
) -> None:
    with pytest.raises(CheckpointError):
        import_diffusers(spoil("unet/config.json", **fields))


@pytest.mark.parametrize(
    "file", ["unet/config.json", "scheduler/scheduler_config.json",
             "unet/diffusion_pytorch_model.safetensors"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damaged_folders_are_refused(spoil: Callable[..., Path], file: str, damage: str) -> None:
    path = spoil("lookalike.json") / file
    data = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        import_diffusers(path.parents[1])


# the commands -------------------------------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_commands(tmp_path: Path) -> None:
    source, folder, back = (tmp_path / name for name in ("a.safetensors", "f", "b.safetensors"))
    model = make_model()
    checkpoint.save(source, model.config, model.net.state_dict(), {"data": "blocks"})
    result = run("export", "--checkpoint", source, "--to", "diffusers", "-o", folder)
    assert result.exit_code == 0, result.output
    assert "DDPMPipeline.from_pretrained" in result.output
    result = run("import", folder, "-o", back)
    assert result.exit_code == 0, result.output
    assert back.read_bytes() == source.read_bytes()
    for arguments, text in (
        (("import", folder, "-o", back), "exists"),
        (("import", folder, "-o", tmp_path / "c.bin"), r".safetensors"),
        (("import", tmp_path / "none", "-o", tmp_path / "c.safetensors"), "is not there"),
        (("export", "--to", "paper", "-o", tmp_path / "g"), "diffusers, onnx"),
        (("export", "-o", tmp_path / "g"), "--preset classic"),
        (("export", "--to", "diffusers", "--image-size", "32", "-o", tmp_path / "g"), "any size"),
    ):
        assert text in str(run(*arguments).exception)
    shutil.rmtree(folder)
