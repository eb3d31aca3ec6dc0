"""open_clip behind the contract: preprocessing, vectors, fingerprint, names, foreign files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.weights import DAMAGED, write_damaged
from hypothesis import given, settings, strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from search import ModelError
from search.embedders import openclip_models
from search.embedders.base import Embedder, TextEmbedder
from search.embedders.inference import MOST, PART, build_empty
from search.embedders.json_cache import JsonCache, file_hash
from search.embedders.openclip import OpenClip
from search.embedders.registry import check_name, open_embedder
from search.media.preprocessing import Preprocessing
from search.runtime import Runtime, torch

open_clip = openclip_models.import_open_clip()
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402

WORDS = ["a hat", "two shoes on a wooden floor", "帽子"]


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def ours(clip: str) -> OpenClip:
    return OpenClip(clip)


@pytest.fixture(scope="module")
def theirs(clip: str) -> tuple[torch.nn.Module, object]:
    """The same weights, loaded by open_clip itself, and its transform."""
    name, _, path = clip.partition(":")
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained=path)
    return model.eval(), transform


# preprocessing -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    # of a picture that is nearly a line only the middle is scaled, which differs in its pixels
    st.tuples(st.integers(1, 700), st.integers(1, 700)).filter(lambda s: max(s) <= 40 * min(s)),
    st.sampled_from([224, 225, (224, 160), (60, 90)]),
    st.sampled_from(["shortest", "squash", "longest"]),
    st.sampled_from(["bicubic", "bilinear"]),
)
def test_pictures_are_prepared_as_open_clip_does_to_the_pixel(
    size: tuple[int, int], to: int | tuple[int, int], fit: str, resample: str
) -> None:
    picture = photo(*size)
    config = PreprocessCfg(to, "RGB", (0,) * 3, (1,) * 3, resample, fit, 128)
    try:
        expected = image_transform_v2(config, False)(picture)
    except ValueError:  # open_clip takes no picture that would be scaled to nothing
        return
    height, width = (to, None) if isinstance(to, int) else to
    actual = Preprocessing(height, fit, width, resample, 128)(picture)  # type: ignore[arg-type]
    assert torch.equal(torch.tensor(actual).permute(2, 0, 1).float().div(255), expected)


@pytest.mark.parametrize("size", [(1, 2048), (2048, 1), (1, 1)])
@pytest.mark.parametrize("fit", ["shortest", "longest", "squash"])
def test_lines_and_points_are_prepared_in_little_memory(size: tuple[int, int], fit: str) -> None:
    prepared = Preprocessing(224, fit)(Image.new("RGB", size, "red"))  # type: ignore[arg-type]
    assert (
        prepared.shape == (224, 224, 3) and [255, 0, 0] in prepared[111:113].reshape(-1, 3).tolist()
    )


def test_each_model_is_prepared_as_its_weights_were_trained() -> None:
    """Sizes, filters and colours of every model agree with open_clip's tables."""
    for arch in open_clip.list_models():
        config = openclip_models.read_config(arch)
        size = config["vision_cfg"]["image_size"]
        for tag, recipe in openclip_models.list_recipes(arch, JsonCache()).items():
            pretrained = open_clip.get_pretrained_cfg(arch, tag)
            preprocessing = recipe.preprocessing(config)
            assert preprocessing.shape == (size, size, 3)
            assert (preprocessing.fit, preprocessing.resample) == (
                pretrained["resize_mode"],
                pretrained["interpolation"],
            )
            assert (recipe.mean, recipe.std) == (pretrained["mean"], pretrained["std"])
            assert recipe.repo and recipe.files


def test_the_default_is_in_open_clips_table() -> None:
    arch, _, tag = openclip_models.DEFAULT.partition(":")
    assert openclip_models.list_recipes(arch, JsonCache())[tag] == openclip_models.DEFAULT_RECIPE


# vectors ---------------------------------------------------------------------------------------


def test_it_keeps_the_contract(ours: OpenClip) -> None:
    assert isinstance(ours, TextEmbedder) and isinstance(ours, Embedder)
    vectors = ours.embed([ours.preprocessing(photo(300, 200, i)) for i in range(3)])
    assert vectors.shape == (3, ours.dim) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert ours.embed([]).shape == ours.embed_text([]).shape == (0, ours.dim)


def test_vectors_of_pictures_are_those_of_open_clip(ours: OpenClip, theirs: tuple) -> None:
    model, transform = theirs
    photos = [photo(300, 200), photo(200, 333, 1), photo(224, 224, 2), photo(50, 900, 3)]
    with torch.no_grad():
        expected = model.encode_image(torch.stack([transform(p) for p in photos]), normalize=True)
    actual = ours.embed([ours.preprocessing(p) for p in photos])
    assert np.abs(actual - expected.numpy()).max() < 1e-5


def test_vectors_of_texts_are_those_of_open_clip(ours: OpenClip, theirs: tuple) -> None:
    with torch.no_grad():
        expected = theirs[0].encode_text(open_clip.get_tokenizer("ViT-S-32-alt")(WORDS), True)
    assert np.abs(ours.embed_text(WORDS) - expected.numpy()).max() < 1e-5


def test_no_weight_is_drawn_at_random_before_the_file_is_read(clip: str) -> None:
    embedder, state = OpenClip(clip), torch.get_rng_state()
    embedder.load()
    assert torch.equal(torch.get_rng_state(), state)


def test_an_architecture_with_tensors_of_its_own_is_built_as_open_clip_does() -> None:
    """EVA02 computes a table of positions, which no file holds."""
    assert build_empty(lambda: build_on_meta("EVA02-B-16")) is None
    network = build_empty(lambda: build_on_meta("ViT-S-32-alt"))
    masks = dict(network.named_buffers())
    assert masks and not any(mask.is_meta for mask in masks.values())


def build_on_meta(arch: str) -> torch.nn.Module:
    network: torch.nn.Module = open_clip.create_model(arch, device="meta", load_weights=False)
    return network


def test_a_picture_alone_and_in_a_batch_are_the_same(ours: OpenClip) -> None:
    batch = [ours.preprocessing(photo(90, 80, i)) for i in range(5)]
    alone = np.concatenate([ours.embed([p]) for p in batch])
    assert np.abs(alone - ours.embed(batch)).max() < 1e-5


def test_a_query_goes_first_between_the_blocks_of_a_batch(clip: str) -> None:
    runtime, order = Runtime(1), list[str]()
    embedder = OpenClip(clip, breathe=runtime.breathe)
    runtime.run(embedder.load)
    picture = [embedder.preprocessing(photo(90, 80))]

    def long() -> None:
        future = runtime.submit(lambda: order.append("query"), urgent=True)
        runtime.submit(lambda: order.append("other"))
        embedder.embed(picture)
        assert future.done()
        order.append("batch")

    runtime.run(long)
    runtime.close()
    assert order == ["query", "batch", "other"]


def test_a_query_that_comes_while_a_model_is_read_waits_for_it(
    clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, read = Runtime(1), list[str]()
    embedder, reading = OpenClip(clip, breathe=runtime.breathe), OpenClip._read

    def noted(self: OpenClip) -> object:
        read.append("in")
        runtime.submit(embedder.load, urgent=True)
        model = reading(self)
        read.append("out")
        return model

    monkeypatch.setattr(OpenClip, "_read", noted)
    runtime.run(embedder.load)
    runtime.close()
    assert read == ["in", "out"]


def test_the_batch_follows_the_cost_of_a_picture(ours: OpenClip) -> None:
    ours.load()
    blocks, dim, tokens, patch = 12, 384, 50, 32 * 32 * 3
    each = 2 * tokens * dim * dim * 12 + 4 * tokens * tokens * dim  # of a block
    cost = blocks * each + 2 * (tokens - 1) * patch * dim
    assert ours.batch == min(MOST, int(PART * blocks / cost))


# fingerprint and files -------------------------------------------------------------------------


def test_the_fingerprint_is_of_the_weights_and_not_of_their_place(
    clip: str, ours: OpenClip, tmp_path: Path
) -> None:
    path = Path(clip.partition(":")[2])
    copy = tmp_path / "copy.safetensors"
    shutil.copy(path, copy)
    assert OpenClip(f"ViT-S-32-alt:{copy}").fingerprint == ours.fingerprint
    assert OpenClip(f"ViT-S-32:{copy}").fingerprint != ours.fingerprint
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    assert OpenClip(f"ViT-S-32-alt:{copy}").fingerprint != ours.fingerprint


def test_a_hash_is_noted_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, path = JsonCache(tmp_path / "notes"), tmp_path / "weights"
    path.write_bytes(b"one")
    first = file_hash(path, notes)
    (note,) = (tmp_path / "notes").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert file_hash(path, notes) == first
    path.write_bytes(b"two")
    second = file_hash(path, notes)
    assert second != first
    for torn in (b"", b"{", b"[]", b'{"key": "other", "value": "lie"}'):
        for file in (tmp_path / "notes").iterdir():
            file.write_bytes(torn)
        assert file_hash(path, notes) == second


def test_nothing_heavy_is_read_before_the_first_picture(clip: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    notes = tmp_path / "notes"
    OpenClip(clip, cache=JsonCache(notes))  # the table of weights is noted once
    code = (
        "import sys; from pathlib import Path; from search.embedders.json_cache import JsonCache;"
        "from search.embedders.registry import open_embedder;"
        f"e = open_embedder({clip!r}, 'cpu', JsonCache(Path({str(notes)!r})));"
        "print(e.fingerprint, *({'torch', 'open_clip', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [OpenClip(clip).fingerprint]


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
def test_state_dicts_of_every_kind_are_read(
    clip: str, ours: OpenClip, tmp_path: Path, suffix: str
) -> None:
    state = load_file(clip.partition(":")[2])
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file({f"module.{key}": value for key, value in state.items()}, path)
    else:
        torch.save({"epoch": 3, "state_dict": state} if suffix == ".pt" else state, path)
    other = OpenClip(f"ViT-S-32-alt:{path}")
    picture = [ours.preprocessing(photo(90, 80))]
    assert np.array_equal(other.embed(picture), ours.embed(picture))
    assert other.fingerprint != ours.fingerprint


@pytest.mark.parametrize("kind", [*DAMAGED, "foreign", "partial"])
def test_a_file_of_something_else_is_refused(
    clip: str, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(clip.partition(":")[2])
    path = tmp_path / ("w.pt" if kind in ("pickle", "dict") else "w.safetensors")
    if kind in DAMAGED:
        write_damaged(kind, source, path)
    elif kind == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    else:
        state = load_file(source)
        del state["visual.proj"]
        save_file(state, path)
    embedder = OpenClip(f"ViT-S-32-alt:{path}")
    with pytest.raises(ModelError, match=r"cannot be used as ViT-S-32-alt on cpu: .+; give a"):
        embedder.embed([np.zeros((224, 224, 3), np.uint8)])
    assert not (tmp_path / "hostile").exists()


def test_weights_of_another_architecture_are_refused(clip: str) -> None:
    other = OpenClip(f"ViT-S-32:{clip.partition(':')[2]}")
    with pytest.raises(ModelError, match="state dict of ViT-S-32"):
        other.embed_text(["a hat"])


@pytest.mark.parametrize("path", ["/nowhere/weights.pt", "/"])
def test_a_file_that_cannot_be_read_is_said(path: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be read: .+ViT-B-32:/path"):
        OpenClip(f"ViT-B-32:{path}")


def test_a_device_that_is_not_there_is_said(clip: str) -> None:
    with pytest.raises(ModelError, match="on meta7"):
        OpenClip(clip, "meta7").embed([np.zeros((224, 224, 3), np.uint8)])


# names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("mini", "mini"),
        ("ViT-B-32", "ViT-B-32"),
        ("ViT-B/32", "ViT-B-32"),
        ("ViT-L-14:datacomp_xl_s13b_b90k", "ViT-L-14:datacomp_xl_s13b_b90k"),
        ("RN50:/a/../b/w.pt", "RN50:/b/w.pt"),
    ],
)
def test_names(name: str, means: str) -> None:
    assert check_name(name) == means


@pytest.mark.parametrize(
    ("name", "near"), [("vit-b-32", "ViT-B-32"), ("ViTB32", "ViT-B-32"), ("RN5O", "RN50")]
)
def test_a_name_that_is_misspelt_gets_its_neighbours(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"no model {name}; did you mean .*{near}.* one of"):
        check_name(name)


def test_an_architecture_alone_takes_its_default_tag() -> None:
    expected = {"ViT-B-32": "laion2b_s34b_b79k", "ViT-L-14": "laion2b_s32b_b82k", "RN50": "openai"}
    for arch, tag in expected.items():
        assert (
            openclip_models.choose_default_tag(
                arch, list(openclip_models.list_recipes(arch, JsonCache()))
            )
            == tag
        )
        with pytest.raises(ModelError, match=f"{arch}:{tag} are not here.*index FOLDER"):
            open_embedder(arch, "cpu")


def test_tags_that_there_are_not() -> None:
    with pytest.raises(ModelError, match=r"no weights called nonsense; there are: openai"):
        OpenClip("ViT-B-32:nonsense")
    with pytest.raises(ModelError, match=r"no weights of ViT-S-32; give ViT-S-32:/path"):
        OpenClip("ViT-S-32")


def test_texts_need_a_tokenizer_that_some_models_have_elsewhere(
    clip: str, ours: OpenClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = openclip_models.read_config("ViT-S-32-alt")
    foreign["text_cfg"]["hf_tokenizer_name"] = "somebody/words"
    embedder = OpenClip(clip)
    monkeypatch.setattr(openclip_models, "read_config", lambda _: foreign)
    picture = [ours.preprocessing(photo(90, 80))]
    assert np.array_equal(embedder.embed(picture), ours.embed(picture))
    with pytest.raises(ModelError, match=r"somebody/words, which cannot be had: .*reach; pictures"):
        embedder.embed_text(["a hat"])
