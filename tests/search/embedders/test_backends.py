"""Backends: equal vectors, the choice by measurement, the cache, files, and what is missing."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.libraries import close_library
from numpy.typing import NDArray
from PIL import Image

from search import Engine, ModelError
from search.embedders import backends as module, exports, measurements
from search.embedders.backends import FEW, Backends, TorchNetwork
from search.embedders.exports import MIN_COSINE, MIN_COSINE_BF16, NEEDS, export_model
from search.embedders.json_cache import JsonCache
from search.embedders.measurements import Measurements
from search.embedders.mini import VERSIONS, Mini
from search.embedders.openclip import OpenClip
from search.embedders.timm import Timm
from search.types import Pixels

MINI = Mini()
EXPORTED = ("onnxruntime", "openvino")
Open = Callable[..., Engine]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of exported networks and measurements that the tests of this module share."""
    return tmp_path_factory.mktemp("models")


SetProcessor = Callable[[bool], None]


@pytest.fixture
def set_processor(monkeypatch: pytest.MonkeyPatch) -> SetProcessor:
    """Sets whether the processor has instructions for bfloat16."""

    def change(has_bf16: bool) -> None:
        monkeypatch.setattr(measurements, "has_bf16_instructions", lambda: has_bf16)

    return change


def open_backends(setting: str, folder: Path, threads: int = 1) -> Backends:
    return Backends(setting, folder, JsonCache(folder), threads)


def open_kind(kind: str, clip: str, timm_model: str, backends: Backends | None) -> OpenClip | Timm:
    if kind == "mini":
        return Mini(backends=backends)  # type: ignore[return-value]
    return (
        OpenClip(clip, backends=backends)
        if kind == "openclip"
        else Timm(timm_model, "cpu", backends=backends)
    )


def draw_pixels(count: int, shape: tuple[int, int, int], seed: int = 0) -> list[Pixels]:
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 7, 7, 3), dtype=np.uint8)
    return [np.resize(np.kron(one, np.ones((40, 40, 1), np.uint8)), shape) for one in small]


@pytest.fixture
def pictures(folder: Path) -> Path:
    """A folder of three pictures; the first is a.png."""
    for name, pixels in zip("abc", draw_pixels(3, (90, 80, 3)), strict=True):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def fixed_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """Seconds that each backend takes by the measurement; a test may change them."""
    seconds = {"torch": 2.0, "onnxruntime": 1.0, "openvino": 3.0}
    monkeypatch.setattr(
        module, "time_calls", lambda calls, run: {name: seconds[name] for name in calls}
    )
    yield seconds


# vectors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openclip", "timm", "mini"])
@pytest.mark.parametrize("backend", EXPORTED)
def test_vectors_of_each_backend_are_those_of_torch(
    kind: str, backend: str, clip: str, timm_model: str, cache: Path
) -> None:
    plain = open_kind(kind, clip, timm_model, None)
    ours = open_kind(kind, clip, timm_model, open_backends(backend, cache))
    pixels = draw_pixels(5, plain.preprocessing.shape)
    expected, actual = plain.embed(pixels), ours.embed(pixels)
    assert ours.runner.choose(1) == backend and (cache / f"{ours.fingerprint}-{backend}").is_dir()
    assert actual.dtype == np.float32 and actual.shape == expected.shape
    assert (actual * expected).sum(1).min() >= MIN_COSINE
    assert (ours.embed(pixels[:1])[0] * expected[0]).sum() >= MIN_COSINE
    assert ours.fingerprint == plain.fingerprint and ours.embed([]).shape == (0, ours.dim)
    if isinstance(ours, Mini) and isinstance(plain, Mini):
        for one, other in zip(
            ours.embed_with_labels(pixels)[1], plain.embed_with_labels(pixels)[1], strict=True
        ):
            assert {label.name for label in one} == {label.name for label in other}


@pytest.mark.parametrize("version", VERSIONS)
def test_vectors_in_numpy_are_those_of_torch(version: str) -> None:
    plain, ours = Mini(version=version), Mini(version=version)
    assert ours.runner.load("numpy") is ours.load_numpy()
    pixels = draw_pixels(4, plain.preprocessing.shape)
    expected, actual = plain.embed(pixels), ours.embed(pixels)
    assert actual.dtype == np.float32 and actual.shape == expected.shape
    assert np.abs(actual - expected).max() < 1e-5
    labels, same = ours.embed_with_labels(pixels)[1], plain.embed_with_labels(pixels)[1]
    for one, other in zip(labels, same, strict=True):
        assert [label.name for label in one] == [label.name for label in other]
        assert [label.score for label in one] == pytest.approx([label.score for label in other])


@pytest.mark.parametrize("side", [64, 97])  # odd sides are padded differently
@pytest.mark.parametrize("version", VERSIONS)
def test_numpy_pads_a_picture_as_torch_does(version: str, side: int) -> None:
    mini = Mini(version=version)
    pixels = draw_pixels(1, (side, side, 3))
    vector = mini.load_numpy().run(pixels[0])[0]
    assert np.abs(vector - mini.run_torch(pixels)[0]).max() < 1e-5


@pytest.mark.parametrize("kind", ["openclip", "timm"])
def test_bfloat16_has_a_space_of_its_own(
    kind: str, clip: str, timm_model: str, set_processor: SetProcessor
) -> None:
    plain, ours, slow = (
        OpenClip(clip, bf16=bf16) if kind == "openclip" else Timm(timm_model, bf16=bf16)
        for bf16 in (False, True, True)
    )
    pixels = draw_pixels(3, plain.preprocessing.shape)
    set_processor(True)
    cosines = (ours.embed(pixels) * plain.embed(pixels)).sum(1)
    assert 0.999 <= cosines.min() < 0.999999 and ours.fingerprint != plain.fingerprint
    set_processor(False)  # float32 is quicker there
    assert slow.fingerprint == ours.fingerprint
    assert np.abs(slow.embed(pixels) - plain.embed(pixels)).max() < 1e-5


@pytest.mark.parametrize("backend", EXPORTED)
def test_an_exported_network_may_compute_in_bfloat16(
    backend: str, timm_model: str, tmp_path: Path, set_processor: SetProcessor
) -> None:
    set_processor(True)
    ours = Timm(timm_model, bf16=True, backends=open_backends(backend, tmp_path))
    pixels = draw_pixels(3, ours.preprocessing.shape)
    cosines = (ours.embed(pixels) * Timm(timm_model).embed(pixels)).sum(1)
    assert ours.runner.load() is not ours.load_torch() and cosines.min() >= MIN_COSINE_BF16


@pytest.mark.parametrize("bf16, hint", [(False, "f32"), (True, "bf16")])
def test_openvino_is_told_the_precision(
    bf16: bool, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it takes bfloat16 where the processor has it."""
    hints = list[str]()

    def compile_model(path: str, device: str, options: dict[str, str]) -> object:
        hints.append(options["INFERENCE_PRECISION_HINT"])
        return SimpleNamespace(create_infer_request=object)

    core = SimpleNamespace(compile_model=compile_model)
    monkeypatch.setattr(exports, "import_openvino", lambda: SimpleNamespace(Core=lambda: core))
    exports.open_export("openvino", tmp_path, 1, bf16)
    assert hints == [hint]


def test_texts_are_embedded_by_torch_under_any_backend(clip: str, cache: Path) -> None:
    ours = OpenClip(clip, backends=open_backends("onnxruntime", cache))
    ours.embed(draw_pixels(1, ours.preprocessing.shape))
    assert np.array_equal(ours.embed_text(["a hat"]), OpenClip(clip).embed_text(["a hat"]))


# the choice --------------------------------------------------------------------------------------


def test_the_quickest_is_chosen_once_and_noted(
    timm_model: str, tmp_path: Path, fixed_rates: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Timm(timm_model, backends=open_backends("auto", tmp_path))
    assert ours.runner.choose(ours.measure_from - 1) == "torch"  # so few are not worth it
    assert not list(tmp_path.glob("*-onnxruntime"))
    assert ours.runner.choose(ours.measure_from) == "onnxruntime"
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == [
        f"{ours.fingerprint}-onnxruntime"  # the files of slower ones are deleted
    ]
    monkeypatch.setattr(exports, "export", None)  # nothing is exported again
    again = Timm(timm_model, backends=open_backends("auto", tmp_path))
    assert again.runner.choose(1) == "onnxruntime"
    for threads, backend in ((1, "onnxruntime"), (2, "torch")):  # 2 were not measured
        measurements = Measurements("auto", JsonCache(tmp_path), threads)
        assert measurements.describe(ours.fingerprint) == backend
    assert measurements.describe(ours.fingerprint, "cuda") == "torch"


def test_numpy_embeds_a_few_pictures_of_a_program_that_ends_then(
    timm_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(
        setting: str, count: int, one_shot: bool = True, network: TorchNetwork = MINI
    ) -> str:
        return Backends(setting, tmp_path, one_shot=one_shot).choose(network, count)

    assert choose("auto", 1) == "torch"  # it is imported already, and quicker
    monkeypatch.setattr(module, "sys", SimpleNamespace(modules={}))  # as where it is not imported
    assert choose("auto", 1) == choose("auto", FEW) == "numpy"
    assert choose("auto", FEW + 1) == choose("torch", 1) == "torch"
    assert choose("auto", 1, one_shot=False) == "torch"  # as in a server
    assert choose("auto", 1, network=Timm(timm_model)) == "torch"


def test_torch_takes_over_where_a_query_has_many_pictures() -> None:
    mini = Mini()
    mini.runner.load("numpy")
    pixels = draw_pixels(1, mini.preprocessing.shape) * (FEW + 1)
    assert mini.embed(pixels).shape == (FEW + 1, mini.dim)
    assert mini.load() is mini.load_torch()


def test_torch_stays_where_it_is_the_quickest(
    timm_model: str, tmp_path: Path, fixed_rates: dict[str, float]
) -> None:
    fixed_rates["torch"] = 0.1
    ours = Timm(timm_model, backends=open_backends("auto", tmp_path))
    assert ours.runner.choose(ours.measure_from) == "torch"
    assert ours.runner.load("torch") is ours.load_torch()


def test_a_backend_with_other_vectors_is_not_used(
    timm_model: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = exports.OPENERS["onnxruntime"]

    def open_wrong(folder: Path, threads: int, bf16: bool) -> exports.Run:
        run = opened(folder, threads, bf16)
        return lambda pictures: [run(pictures)[0][:, ::-1]]

    monkeypatch.setitem(exports.OPENERS, "onnxruntime", open_wrong)
    ours = Timm(timm_model, backends=open_backends("onnxruntime", tmp_path))
    with caplog.at_level(logging.WARNING):
        vectors = ours.embed(draw_pixels(2, ours.preprocessing.shape))
    assert "differ from torch's: a cosine of" in caplog.text
    assert np.array_equal(vectors, Timm(timm_model).embed(draw_pixels(2, ours.preprocessing.shape)))
    assert not [one for one in tmp_path.iterdir() if one.is_dir()]


def test_a_network_that_cannot_be_exported_runs_by_torch(
    timm_model: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(whole: object, example: object, folder: Path) -> None:
        (folder / "half").write_bytes(b"half a network")
        raise RuntimeError("no such operation")

    monkeypatch.setitem(exports.WRITERS, "openvino", fail)
    ours = Timm(timm_model, backends=open_backends("openvino", tmp_path))
    with caplog.at_level(logging.WARNING):
        assert ours.load() is ours.load_torch()
    assert "cannot be run by openvino: no such operation" in caplog.text
    assert not [one for one in tmp_path.iterdir() if one.is_dir()]  # whole or absent


@pytest.mark.parametrize("backend", EXPORTED)
def test_a_damaged_export_is_made_again_by_the_next_process(
    backend: str, timm_model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = Timm(timm_model, backends=open_backends(backend, tmp_path))
    pixels = draw_pixels(2, first.preprocessing.shape)
    expected = first.embed(pixels)
    (folder,) = (one for one in tmp_path.iterdir() if one.is_dir())
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    for _ in range(2):
        again = Timm(timm_model, backends=open_backends(backend, tmp_path))
        assert (again.embed(pixels) * expected).sum(1).min() >= MIN_COSINE
    assert "torch runs it instead" in caplog.text and folder.is_dir()


@pytest.mark.parametrize("backend", EXPORTED)
def test_a_backend_that_is_not_installed_is_named_with_the_command(
    backend: str, timm_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=rf"needs {backend}.*pip install .*{backend}>="):
        Timm(timm_model, backends=open_backends(backend, tmp_path)).load()
    ours = Timm(timm_model, backends=open_backends("auto", tmp_path))
    assert ours.runner.choose(10**6) == "torch"  # with nothing else there is nothing to measure


def test_a_query_goes_first_between_the_parts_of_a_batch() -> None:
    order = list[str]()

    def run(pictures: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        order.append(f"{len(pictures)}")
        return [np.zeros((len(pictures), 2), np.float32)]

    session = module.Session(run, rate=30.0, breathe=lambda: order.append("breath"))
    assert session.run(draw_pixels(7, (4, 4, 3)))[0].shape == (7, 2)
    assert order == ["breath", "3", "breath", "3", "breath", "1"]  # 3 of 30/s take 0.1 s


def test_openvino_reports_nothing_to_its_maker() -> None:
    code = (
        "import sys; from search.embedders.exports import import_openvino; import_openvino();"
        "print(*(name for name, module in sys.modules.items() if module and 'ovc' in name"
        " and hasattr(module, 'tm')), *filter(sys.modules.get, ['openvino_telemetry']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openvino.tools.ovc.telemetry_utils" in done.stdout.split()  # there it would be used
    assert "openvino_telemetry" not in done.stdout.split()


# libraries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_bf16", [False, True])
def test_a_new_library_takes_bfloat16_where_the_processor_has_it(
    library: Open, pictures: Path, timm_model: str, set_processor: SetProcessor, has_bf16: bool
) -> None:
    set_processor(has_bf16)
    first = library(model=timm_model)
    assert first.sync(pictures).embedded == 3
    fingerprint = first.status().fingerprint
    assert fingerprint == Timm(timm_model, bf16=has_bf16).fingerprint
    close_library(first)
    for setting in ("auto", "torch", "onnxruntime"):  # it stays so, also on another processor
        set_processor(not has_bf16)
        same = library(model=timm_model, backend=setting)
        assert same.sync(pictures).embedded == 0 and same.status().fingerprint == fingerprint
        assert same.search(pictures / "a.png")[0].score == pytest.approx(1, abs=1e-3)
        close_library(same)


@pytest.mark.parametrize("has_bf16", [False, True])
def test_models_beside_keep_their_precision(
    library: Open,
    pictures: Path,
    timm_model: str,
    tmp_path: Path,
    set_processor: SetProcessor,
    has_bf16: bool,
) -> None:
    set_processor(has_bf16)
    name = timm_model
    library(model="mini").sync(pictures)
    assert library(model=name).sync(pictures, beside=True).embedded == 3
    fingerprints = [space.fingerprint for space in library().status().spaces]
    set_processor(not has_bf16)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(name.split(":")[2]).read_bytes())
    for other in (name, f"timm:{name.split(':')[1]}:{moved}"):  # in any spelling
        again = library(model=other)
        assert again.sync(pictures, beside=True).embedded == 0
        assert [space.fingerprint for space in again.status().spaces] == fingerprints
        assert len(again.search(pictures / "a.png")) == 3
    changed = library(model=name)
    assert changed.sync(pictures).embedded == 0  # it becomes the library's own
    assert changed.status().fingerprint == fingerprints[1]


def test_processors_without_known_flags_have_no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"flags\t: fpu avx512_bf16 sse\n": True, "flags\t: fpu avx512f\n": False, "": False}
    for line, expected in flags.items():
        text = f"processor\t: 0\nmodel name\t: avx512_bf16\n{line}"
        monkeypatch.setattr("builtins.open", lambda *_, text=text: io.StringIO(text))
        assert measurements.has_bf16_instructions.__wrapped__() is expected

    def fail(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", fail)
    assert not measurements.has_bf16_instructions.__wrapped__()


def test_a_library_never_changes_to_bfloat16_by_itself(
    library: Open, pictures: Path, timm_model: str, set_processor: SetProcessor
) -> None:
    set_processor(True)
    plain = library(model=timm_model, backend="torch")
    assert plain.sync(pictures).embedded == 3
    before = plain.status().fingerprint
    close_library(plain)
    again = library(model=timm_model)
    assert again.sync(pictures).embedded == 0
    close_library(again)
    changed = library(model=timm_model, backend="torch-bf16")
    assert changed.sync(pictures).embedded == 3  # the user says so
    fingerprint = changed.status().fingerprint
    assert fingerprint != before and changed.status().backend == "torch-bf16"
    close_library(changed)
    same = library(model=timm_model)  # and it stays so
    assert same.sync(pictures).embedded == 0 and same.status().fingerprint == fingerprint
    assert len(same.search(pictures / "a.png")) == 3


SINGLE = """
import sys
from search import Engine
with Engine.open(home=sys.argv[1], one_shot=True) as engine:
    for folder in sys.argv[3:]:
        assert engine.sync(folder).embedded == 1
    hits = engine.search(sys.argv[2])
print(len(hits), *({"torch", "open_clip", "timm"} & set(sys.modules)))
"""


def test_neither_a_search_nor_indexing_needs_torch_where_the_network_is_exported(
    library: Open,
    pictures: Path,
    timm_model: str,
    tmp_path: Path,
    fixed_rates: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Timm, "measure_from", 3)
    engine = library(model=timm_model)
    assert engine.sync(pictures).embedded == 3
    assert engine.status().backend == "onnxruntime"
    (stored,) = (one.name for one in (engine.home / "models").iterdir() if one.is_dir())
    assert stored.endswith("-onnxruntime")
    arguments = [str(engine.home), str(pictures / "a.png"), str(pictures)]
    close_library(engine)
    Image.new("RGB", (50, 40), "red").save(pictures / "d.png")
    done = subprocess.run(
        [sys.executable, "-c", SINGLE, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4"]


def test_a_search_by_id_needs_no_torch(library: Open, pictures: Path) -> None:
    engine = library(model="mini")
    engine.sync(pictures)
    picture = engine.pictures().pictures[0]
    close_library(engine)
    arguments = [str(engine.home), f"id:{picture.id}"]
    done = subprocess.run(
        [sys.executable, "-c", SINGLE, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3"]


@pytest.mark.parametrize("version", VERSIONS)
def test_neither_a_search_nor_indexing_needs_torch_with_mini(
    version: str, library: Open, pictures: Path, tmp_path: Path
) -> None:
    engine = library(model=version)
    assert engine.sync(pictures).embedded == 3
    arguments = [str(engine.home), str(pictures / "a.png"), str(pictures)]
    close_library(engine)
    Image.new("RGB", (50, 40), "red").save(pictures / "d.png")
    plain = SINGLE.replace(", one_shot=True", "")
    for code, count, imports in ((SINGLE, "4", []), (plain, "5", ["torch"])):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [count, *imports]
        Image.new("RGB", (50, 40), "blue").save(pictures / "e.png")


# a file for other programs ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openclip", "timm", "mini"])
def test_an_exported_model_computes_what_torch_does(
    kind: str, clip: str, timm_model: str, tmp_path: Path
) -> None:
    """By ONNX Runtime alone, on pictures as `model.json` describes them."""
    import onnxruntime

    embedder = open_kind(kind, clip, timm_model, None)
    export_model(embedder, tmp_path / "out")
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["fingerprint"] == embedder.fingerprint and about["dim"] == embedder.dim
    _, *shape = about["input"]["pictures"]
    assert tuple(shape) == embedder.preprocessing.shape and about["preprocessing"]["size"]
    pixels = draw_pixels(3, embedder.preprocessing.shape)
    session = onnxruntime.InferenceSession(
        str(tmp_path / "out" / "network.onnx"), providers=["CPUExecutionProvider"]
    )
    vectors = session.run(None, {"pictures": np.stack(pixels)})[0]
    assert np.abs(vectors - embedder.embed(pixels)).max() < 1e-4


def test_the_model_of_a_library_is_exported_by_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search", "--model", "mini", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        [*command, "export", "-o", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "model.json").read_text())["model"] == "mini"
    again = subprocess.run(
        [*command, "export", "-o", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert again.returncode == 1 and "in use" in again.stderr


def test_an_export_without_its_packages_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NEEDS, "onnxruntime", ("a_missing_package",))
    with pytest.raises(ModelError, match="a_missing_package; run .*pip install"):
        export_model(Mini(), tmp_path / "out")
