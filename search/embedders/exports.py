"""Networks in files: exported from torch, checked against it, run by ONNX Runtime or OpenVINO.

A file takes pictures (n, H, W, 3) uint8 and returns unit vectors (n, dim) float32, and whatever
other outputs the network has. It is a folder that is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from search import files
from search.embedders.base import Embedder
from search.errors import InputError, ModelError
from search.extras import describe_install

if TYPE_CHECKING:
    from search.runtime import torch

MIN_COSINE = 0.9999
"""Least cosine between a vector of an exported network and torch's."""
MIN_COSINE_BF16 = 0.999
"""The same, where the network may compute in bfloat16."""
IN_BF16 = ("openvino",)
"""Backends that compute in bfloat16."""
NEEDS = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino",)}
"""Packages by backend; the first one runs networks, the others export them."""
EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}
OPSET = 17
PARTIAL_SECONDS = 3600.0

Outputs = Sequence[NDArray[np.float32]]
Run = Callable[[NDArray[np.uint8]], Outputs]


def build_whole(
    network: Callable[[torch.Tensor], Any], mean: Sequence[float], std: Sequence[float]
) -> torch.nn.Module:
    """Return a module from pictures (n, H, W, 3) uint8 to the outputs of a network, the first
    scaled to unit length.

    mean, std: per channel, for RGB in [0, 1].
    """
    from search.runtime import torch

    class Whole(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            for name, values in (("mean", mean), ("std", std)):
                self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1) * 255)

        def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
            x = (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std
            outputs = self.network(x)
            first, *others = outputs if isinstance(outputs, tuple) else (outputs,)
            return torch.nn.functional.normalize(first, dim=-1), *others

    return Whole().eval()


def export(
    backend: str,
    whole: torch.nn.Module,
    shape: Sequence[int],
    folder: Path,
    bf16: bool = False,
) -> None:
    """Write a module of `build_whole` for a backend, and check it against torch.

    shape: height, width and channels of a picture. bf16: as `open_export` takes it. Raises
    ModelError with the reason when the module cannot be exported or gives other vectors.
    """
    from search.runtime import torch

    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (3, *shape), dtype=np.uint8)
    pictures[1] = np.linspace(0, 255, shape[1], dtype=np.uint8)[None, :, None]
    partial = folder.with_name(f".{folder.name}-{os.getpid()}.part")
    _delete_partials(folder.parent)
    try:
        with torch.inference_mode(), plain_attention():
            expected = [output.numpy() for output in whole(torch.from_numpy(pictures))]
        partial.mkdir(parents=True)
        with torch.no_grad(), plain_attention(), warnings.catch_warnings(action="ignore"):
            WRITERS[backend](whole, torch.from_numpy(pictures[:2]), partial)
        run = open_export(backend, partial, threads=1, bf16=bf16)
        rounds = bf16 and backend in IN_BF16
        for count in (1, 3):
            _compare(run(pictures[:count]), [output[:count] for output in expected], rounds)
        del run
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    except Exception as error:  # an exporter fails in many ways
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(f"cannot be run by {backend}: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def list_missing(backend: str) -> list[str]:
    """Return the packages that a backend needs and this environment lacks."""
    return [name for name in NEEDS[backend] if find_spec(name) is None]


def export_model(embedder: Embedder, folder: Path) -> None:
    """Write the network of an embedder as `network.onnx`, and `model.json` that describes it.

    folder: a new or an empty one. Raises ModelError for a model that cannot be exported, and when a
    package is missing; InputError for a folder in use.
    """
    if missing := list_missing("onnxruntime"):
        command = describe_install(EXTRAS["onnxruntime"])
        raise ModelError(f"the export needs {' and '.join(missing)}; run {command}")
    build: Callable[[], torch.nn.Module] | None = getattr(embedder, "build_whole", None)
    if build is None:
        raise ModelError(f"{embedder.name} cannot be exported; give another --model")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is in use; give a new folder")
    height, width, channels = embedder.preprocessing.shape
    export("onnxruntime", build(), embedder.preprocessing.shape, folder)
    document = {
        "format": "lookalike onnx",
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "terms": embedder.terms,
        "dim": embedder.dim,
        "input": {"pictures": ["n", height, width, channels], "type": "uint8", "colors": "RGB"},
        "preprocessing": asdict(embedder.preprocessing),
    }
    files.write(folder / "model.json", (json.dumps(document, indent=1) + "\n").encode())


def open_export(backend: str, folder: Path, threads: int, bf16: bool = False) -> Run:
    """Open what `export` wrote. threads: that it computes with. bf16: in bfloat16, by a backend
    that can. Raises any exception."""
    return OPENERS[backend](folder, threads, bf16)


def _compare(actual: Outputs, expected: Outputs, rounds: bool) -> None:
    """Raise ValueError unless the vectors agree, and the other outputs nearly. rounds: they were
    computed in bfloat16."""
    cosine = float((actual[0] * expected[0]).sum(-1).min())
    if not cosine >= (MIN_COSINE_BF16 if rounds else MIN_COSINE):
        raise ValueError(f"its vectors differ from torch's: a cosine of {cosine:.6f}")
    tolerance = 3e-2 if rounds else 1e-3
    for ours, theirs in zip(actual[1:], expected[1:], strict=True):
        if not np.allclose(ours, theirs, tolerance, tolerance * np.abs(theirs).max()):
            raise ValueError("its other outputs differ from torch's")


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let torch compute attention from operations that exporters know."""
    from search.runtime import torch

    mha: Any = torch.backends.mha
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def _write_onnx(whole: torch.nn.Module, example: torch.Tensor, folder: Path) -> None:
    from search.runtime import torch

    names = [f"output{i}" for i in range(len(whole(example)))]
    torch.onnx.export(
        whole,
        (example,),
        str(folder / "network.onnx"),
        dynamo=False,  # the other exporter takes longer and needs one more package
        opset_version=OPSET,
        input_names=["pictures"],
        output_names=names,
        dynamic_axes={name: {0: "n"} for name in ("pictures", *names)},
    )


def _open_onnx(folder: Path, threads: int, bf16: bool) -> Run:
    """bf16: is ignored; ONNX Runtime computes in float32 on processors."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # errors
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decoding needs cores
    session = onnxruntime.InferenceSession(
        str(folder / "network.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda pictures: session.run(None, {"pictures": pictures})


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which connects to its maker's server."""
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))  # as if not installed
    return import_module("openvino")


def _write_openvino(whole: torch.nn.Module, example: torch.Tensor, folder: Path) -> None:
    from search.runtime import torch

    openvino = import_openvino()
    shape = openvino.PartialShape([-1, *example.shape[1:]])
    trace: Any = torch.jit.trace
    traced = trace(whole, (example,), check_trace=False)  # `export` checks it better
    model = openvino.convert_model(traced, example_input=example, input=[shape])
    openvino.save_model(model, str(folder / "network.xml"), compress_to_fp16=False)


def _open_openvino(folder: Path, threads: int, bf16: bool) -> Run:
    openvino = import_openvino()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
    }
    compiled = openvino.Core().compile_model(str(folder / "network.xml"), "CPU", options)
    request = compiled.create_infer_request()

    def run(pictures: NDArray[np.uint8]) -> Outputs:
        outputs = request.infer([pictures])
        return [np.array(outputs[port]) for port in compiled.outputs]

    return run


WRITERS = {"onnxruntime": _write_onnx, "openvino": _write_openvino}
OPENERS: dict[str, Callable[[Path, int, bool], Run]] = {
    "onnxruntime": _open_onnx,
    "openvino": _open_openvino,
}


def _delete_partials(folder: Path) -> None:
    """Delete what a killed process left of an export."""
    for partial in folder.glob(".*.part"):
        with suppress(OSError):
            if partial.is_dir() and time.time() - partial.stat().st_mtime > PARTIAL_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)
