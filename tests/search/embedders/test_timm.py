"""timm behind the contract: preprocessing, features, fingerprint, names, hub, foreign files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import paint
from helpers.weights import DAMAGED, write_damaged
from hypothesis import given, settings, strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from search import Engine, ModelError
from search.embedders import hub, timm as embedder_module
from search.embedders.base import TextEmbedder
from search.embedders.json_cache import JsonCache
from search.embedders.registry import check_name, open_embedder
from search.embedders.timm import Backbone, Timm, describe_backbone
from search.runtime import Runtime, torch

import timm  # isort: skip
from timm.data import create_transform  # isort: skip

SMALL = "test_vit.r160_in1k"
Open = Callable[..., Engine]


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def ours(timm_model: str) -> Timm:
    return Timm(timm_model)


# preprocessing -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    # of a picture that is nearly a line only the middle is scaled, which differs in its pixels
    st.tuples(st.integers(1, 700), st.integers(1, 700)).filter(lambda s: max(s) <= 40 * min(s)),
    st.sampled_from([(224, 224), (225, 225), (160, 224)]),
    st.sampled_from(["center", "squash", "border"]),
    st.sampled_from(["bicubic", "bilinear"]),
    st.sampled_from([1.0, 0.95, 0.9, 0.875]),
)
def test_pictures_are_prepared_as_timm_does_to_the_pixel(
    size: tuple[int, int], to: tuple[int, int], mode: str, resample: str, crop_pct: float
) -> None:
    mean, std = (0.485, 0.456, 0.406), (1.0, 1.0, 1.0)
    transform = create_transform(
        (3, *to),
        crop_mode=mode,
        crop_pct=crop_pct,
        interpolation=resample,
        mean=mean,
        std=std,
        normalize=False,
    )
    picture = photo(*size)
    try:
        expected = transform(picture)
    except ValueError:  # timm takes no picture that would be scaled to nothing
        return
    backbone = Backbone("a.b", 1, "", (), "", (), mean, std, *to, mode, crop_pct, resample)
    pixels = backbone.preprocessing()(picture)
    assert pixels.shape == (*to, 3)
    # timm's other ways differ by a pixel or by the filter; none of its weights uses them
    square, whole = to[0] == to[1], crop_pct == 1.0
    if mode == "squash" or (square if mode == "center" else whole):
        assert torch.equal(torch.tensor(pixels).permute(2, 0, 1), expected)


def test_dino_models_are_known_without_their_weights() -> None:
    two = describe_backbone("vit_small_patch14_dinov2.lvd142m", JsonCache())
    assert (two.dim, two.preprocessing().shape) == (384, (518, 518, 3))
    assert (two.repo, two.license) == ("timm/vit_small_patch14_dinov2.lvd142m", "apache-2.0")
    three = describe_backbone("vit_small_patch16_dinov3", JsonCache())
    assert three.name == "vit_small_patch16_dinov3.lvd1689m" and three.dim == 384


# vectors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [SMALL, "test_convnext", "test_resnet", "test_efficientnet"])
def test_vectors_are_the_pooled_features_of_timm(name: str, tmp_path: Path) -> None:
    theirs = timm.create_model(name, num_classes=7).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    theirs.reset_classifier(0)
    ours = Timm(f"timm:{name}:{tmp_path / 'weights.safetensors'}")
    photos = [photo(300, 200), photo(200, 333, 1), photo(50, 900, 3)]
    data = timm.data.resolve_model_data_config(theirs)
    transform = create_transform(**data, is_training=False)
    with torch.inference_mode():
        features = theirs(torch.stack([transform(one) for one in photos]))
    expected = torch.nn.functional.normalize(features, dim=1).numpy()
    vectors = ours.embed([ours.preprocessing(one) for one in photos])
    assert vectors.shape == (3, ours.dim)
    assert np.abs(vectors - expected).max() < 1e-5


def test_it_has_no_text_tower(ours: Timm) -> None:
    assert not isinstance(ours, TextEmbedder)


def test_no_weight_is_drawn_at_random_before_the_file_is_read(timm_model: str) -> None:
    embedder, state = Timm(timm_model), torch.get_rng_state()
    embedder.load()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_query_goes_first_between_the_blocks_of_a_batch(timm_model: str) -> None:
    runtime, order = Runtime(1), list[str]()
    embedder = Timm(timm_model, breathe=runtime.breathe)
    runtime.run(embedder.load)
    picture = [embedder.preprocessing(photo(90, 80))]

    def embed() -> None:
        query = runtime.submit(lambda: order.append("query"), urgent=True)
        runtime.submit(lambda: order.append("other"))
        embedder.embed(picture)
        assert query.done()
        order.append("batch")

    runtime.run(embed)
    runtime.close()
    assert order == ["query", "batch", "other"]


def test_a_library_is_indexed_and_searched_with_it(
    library: Open, folder: Path, timm_model: str
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    assert library(model=timm_model).sync(folder).embedded == 3
    hits = library().search(image=folder / "1.jpg", k=3)
    assert hits[0].path == str(folder / "1.jpg") and hits[0].score > 0.999
    assert hits.model == timm_model and len(hits) == 3


# fingerprint and files ---------------------------------------------------------------------------


def test_nothing_heavy_is_imported_before_the_first_picture(
    timm_model: str, tmp_path: Path, ours: Timm
) -> None:
    notes = tmp_path / "notes"
    Timm(timm_model, cache=JsonCache(notes))
    code = (
        "import sys; from pathlib import Path; from search.embedders.json_cache import JsonCache;"
        "from search.embedders.registry import open_embedder;"
        f"e = open_embedder({timm_model!r}, 'cpu', JsonCache(Path({str(notes)!r})));"
        "print(e.fingerprint, *({'torch', 'timm', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [ours.fingerprint]


@pytest.mark.parametrize("kind", [".pth", ".bin", "ema", "prefix", "dinov2"])
def test_state_dicts_of_every_kind_are_read(
    timm_model: str, ours: Timm, tmp_path: Path, kind: str
) -> None:
    state = load_file(timm_model.split(":")[2])
    path = tmp_path / f"weights{kind if kind.startswith('.') else '.pth'}"
    if kind == "prefix":
        state = {f"module.{key}": value for key, value in state.items()}
    if kind == "dinov2":  # what its authors publish has a tensor more
        state |= {"mask_token": torch.zeros(1, 64)}
    torch.save({"epoch": 3, "state_dict_ema": state} if kind == "ema" else state, path)
    other = Timm(f"timm:{SMALL}:{path}")
    picture = [ours.preprocessing(photo(90, 80))]
    assert np.array_equal(other.embed(picture), ours.embed(picture))
    assert other.fingerprint != ours.fingerprint


@pytest.mark.parametrize("kind", [*DAMAGED, "partial", "more"])
def test_a_file_of_something_else_is_refused(
    timm_model: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(timm_model.split(":")[2])
    path = tmp_path / ("w.pth" if kind in ("pickle", "dict") else "w.safetensors")
    if kind in DAMAGED:
        write_damaged(kind, source, path)
    else:
        state = load_file(source)
        if kind == "more":  # a deeper network
            state |= {key.replace(".1.", ".77."): value.clone() for key, value in state.items()}
        else:
            del state["norm.weight"]
        save_file(state, path)
    embedder = Timm(f"timm:{SMALL}:{path}")
    with pytest.raises(ModelError, match=r"cannot be used as test_vit on cpu: .+; give a state"):
        embedder.embed([np.zeros(embedder.preprocessing.shape, np.uint8)])
    assert not (tmp_path / "hostile").exists()


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"cannot be read: .+timm:test_vit:/path"):
        Timm("timm:test_vit:/nowhere/weights.pth")


def test_a_device_that_is_missing_is_an_error(timm_model: str) -> None:
    with pytest.raises(ModelError, match="on meta7"):
        Timm(timm_model, "meta7").embed([np.zeros((160, 160, 3), np.uint8)])


# names and the hub -------------------------------------------------------------------------------


def test_names() -> None:
    name = "timm:vit_small_patch14_dinov2.lvd142m"
    assert check_name(name) == name
    assert check_name("timm:test_vit:/a/../b/w.pth") == "timm:test_vit:/b/w.pth"
    for wrong in ("timm", "timm:", "timm::/a/w.pth", "timm:a b"):
        with pytest.raises(ModelError, match="give one of: auto, .*timm:NAME"):
            check_name(wrong)


def test_an_unknown_name_gets_similar_ones() -> None:
    with pytest.raises(ModelError, match=r"no model vit_smal_patch14_dinov2; .*timm:vit_small"):
        open_embedder("timm:vit_smal_patch14_dinov2", "cpu")
    with pytest.raises(ModelError, match=r"no weights nope of test_vit; it has: r160_in1k"):
        open_embedder("timm:test_vit.nope", "cpu")


def test_weights_that_are_not_in_the_cache_are_an_error() -> None:
    with pytest.raises(ModelError, match=r"timm:test_vit\.r160_in1k are not here; `lookalike"):
        open_embedder("timm:test_vit", "cpu")


def test_a_model_without_weights_on_the_hub_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"no weights of \S+ on the hub; .*timm:\S+:/path"):
        open_embedder(f"timm:{without_weights()}", "cpu")


def without_weights() -> str:
    """The name of a small architecture that timm has no weights of."""
    trained = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    names = timm.list_models("resnet*") + timm.list_models("vit_tiny*")
    return next(name for name in names if name not in trained)


def test_a_hub_that_fails_is_an_error_with_the_way_out(
    library: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise ConnectionError("the hub answered 500")

    monkeypatch.setattr(hub, "reach", fail)
    paint(folder / "a.jpg", 1)
    with pytest.raises(ModelError, match=r"cannot be had: the hub answered 500; .*timm:test_vit:/"):
        library(model="timm:test_vit").sync(folder)
    assert library().status().model is None


def test_weights_of_the_cache_are_used(
    timm_model: str, ours: Timm, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(timm_model.split(":")[2])
    monkeypatch.setattr(embedder_module.hub, "find_cached", lambda *_: path)
    embedder = Timm("timm:test_vit")
    assert embedder.name == f"timm:{SMALL}" and embedder.fingerprint == ours.fingerprint
    assert embedder.terms.startswith("its weights have the license ")
    assert "timm/test_vit.r160_in1k on the hub" in embedder.terms
