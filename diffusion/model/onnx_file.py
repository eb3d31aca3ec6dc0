"""Models as ONNX files, for programs without torch.

    denoiser.onnx   x (n, C, h, w), sigma (n,), condition -> x0 (n, C, h, w)
    encoder.onnx    pictures (n, 3, H, W) in -1..1 -> x (n, C, h, w); models on latents alone
    decoder.onnx    x (n, C, h, w) -> pictures (n, 3, H, W) in -1..1; the same
    model.json      what they are: shapes, condition, range of sigma

All is float32. n is free, the other sides are fixed. `denoiser.onnx` is D(x; sigma) of
`diffusion.model.denoiser`, with its preconditioning: a sampler needs nothing else.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffusion import files
from diffusion.errors import ConfigError, DiffusionError
from diffusion.model.checkpoint import strip_header
from diffusion.model.denoiser import Denoiser

PACKAGES = ("onnx", "onnxruntime")
OPSET = 17
TOLERANCE = 1e-4
"""Most difference to torch, over the largest value."""

log = logging.getLogger(__name__)


class _Denoise(nn.Module):
    """`Denoiser` with its size as a constant."""

    def __init__(self, model: Denoiser, side: int) -> None:
        super().__init__()
        self.model, self.side = model, float(side)

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C, h, w), (B,) and the condition -> (B, C, h, w)."""
        x0: Tensor = self.model(x, sigma, condition, self.side * torch.ones_like(sigma))
        return x0


class _Convert(nn.Module):
    """`encode` or `decode` of a model on latents."""

    def __init__(self, convert: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convert = convert

    def forward(self, x: Tensor) -> Tensor:
        """As `Denoiser.encode` or `Denoiser.decode`."""
        return self.convert(x)


def export_onnx(model: Denoiser, folder: Path, size: int | None = None) -> list[str]:
    """Write a model as ONNX files, and compare them with torch.

    size: side of the pictures in pixels, a multiple of `model.config.multiple`; by default that of
    the training. The weak model that guides a model is not written: export it by itself.

    Returns the names of the files. Raises ConfigError for a wrong size, a missing package, and a
    folder that is not empty; DiffusionError when the files differ from torch.
    """
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise ConfigError(
            f"the export to ONNX needs {' and '.join(lacking)}; run `pip install "
            f"{' '.join(lacking)}`"
        )
    config = model.config
    side = size or config.size
    if side % config.multiple or side < 1:
        raise ConfigError(f"size {side}: give a multiple of {config.multiple} pixels")
    files.require_new_folder(folder)
    model = model.to("cpu").eval()
    channels, rows, _ = config.sample_shape
    rows = rows * side // config.size
    rng = torch.Generator().manual_seed(0)
    inputs = {"x": torch.randn(2, channels, rows, rows, generator=rng)}
    inputs["sigma"] = torch.tensor([0.5, 3.0])
    shape = config.shape
    if shape.condition == "vector":
        vectors = torch.randn(2, shape.width, generator=rng)
        inputs["condition"] = nn.functional.normalize(vectors, dim=1)
    elif shape.condition == "class":
        inputs["condition"] = torch.tensor([0, -1])
    networks: dict[str, tuple[nn.Module, dict[str, Tensor], str]] = {
        "denoiser": (_Denoise(model, rows), inputs, "x0")
    }
    if config.space == "latent":
        pictures = torch.rand(2, 3, side, side, generator=rng) * 2 - 1
        networks["encoder"] = _Convert(model.encode), {"pictures": pictures}, "x"
        networks["decoder"] = _Convert(model.decode), {"x": inputs["x"]}, "pictures"
    for name, (network, examples, output) in networks.items():
        _write(network.eval(), examples, output, folder / f"{name}.onnx")
    files.write_json(folder / "model.json", _describe(model, side, inputs))
    return [f"{name}.onnx" for name in networks]


def _write(network: nn.Module, examples: Mapping[str, Tensor], output: str, path: Path) -> None:
    def write(partial: Path) -> None:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                network,
                tuple(examples.values()),
                str(partial),
                dynamo=False,  # the other exporter needs one more package
                opset_version=OPSET,
                input_names=list(examples),
                output_names=[output],
                dynamic_axes={name: {0: "n"} for name in (*examples, output)},
            )
        _compare(network, examples, partial, path.name)

    try:
        files.replace(path, write)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise DiffusionError(f"{path.name} cannot be exported by this torch: {reason}") from error


def _compare(network: nn.Module, examples: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Raise DiffusionError unless ONNX Runtime computes what torch does, also for one picture."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for count in (2, 1):
        part = {key: value[:count] for key, value in examples.items()}
        with torch.no_grad():
            expected = network(*part.values()).numpy()
        values = session.run(None, {key: value.numpy() for key, value in part.items()})[0]
        error = float(np.abs(values - expected).max() / np.abs(expected).max())
        log.info("%s: a relative difference of %.1e to torch for %d", name, error, count)
        if not error <= TOLERANCE:
            raise DiffusionError(
                f"{name} computes something else than torch (a relative difference of {error:.1g});"
                " please report it"
            )


def _describe(model: Denoiser, side: int, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    config = model.config
    about = {name: value for name, value in strip_header(model.about).items() if name != "weak"}
    return {
        "format": "lookalike onnx",
        "size": side,
        "inputs": {name: ["n", *value.shape[1:]] for name, value in inputs.items()},
        "condition": config.shape.condition,
        "empty_condition": {"none": None, "class": -1, "vector": 0}[config.shape.condition],
        "sigma": [model.schedule.sigma_min, model.schedule.sigma_max],
        "sigma_data": config.sigma_data,
        "space": config.space,
        "about": about,
    }
