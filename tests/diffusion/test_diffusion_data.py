"""Pictures for training: sources, crops, and skipped files."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from diffusion.data import Vectors, match_vectors, read_pictures, read_vectors, to_bytes, to_unit
from diffusion.errors import DataError
from diffusion.media.images import Limits


def coloured(path: Path, colour: object = (200, 30, 60), size: tuple[int, int] = (20, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)  # type: ignore[arg-type]
    return path


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes, and a picture that is in none."""
    for i, name in enumerate(["dog/b.png", "cat/a.png", "cat/deep/z.png", "top.png", "dog/a.jpg"]):
        coloured(tmp_path / "tree" / name, (40 * i, 0, 0))
    return tmp_path / "tree"


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_tree_of_classes(tree: Path, tmp_path: Path, kind: str) -> None:
    dataset = read_pictures([tree if kind == "folder" else zipped(tmp_path / "tree.zip", tree)], 8)
    assert dataset.names == ["cat/a.png", "cat/deep/z.png", "dog/a.jpg", "dog/b.png", "top.png"]
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 1, 1, -1]
    assert dataset.images.shape == (5, 3, 8, 8) and dataset.images.dtype == torch.uint8
    assert dataset.images[:, 0, 0, 0].tolist() == pytest.approx([40, 80, 160, 0, 120], abs=3)
    assert len(dataset) == 5 and dataset.skipped == []


def test_several_sources_add_up(tree: Path, tmp_path: Path) -> None:
    coloured(tmp_path / "more" / "eel" / "a.png")
    archive = zipped(tmp_path / "more.zip", tmp_path / "more")
    dataset = read_pictures([tree, archive, str(tmp_path / "more")], 8)
    assert dataset.names[5:] == ["eel/a.png", "eel/a.png"]
    assert dataset.classes == ("cat", "dog", "eel") and dataset.labels.tolist()[4:] == [-1, 2, 2]


def test_photographs_of_phones_are_read(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 48), (200, 30, 60))
    picture.save(tmp_path / "a.heic", quality=90)
    dataset = read_pictures([tmp_path], 8)
    assert dataset.names == ["a.heic"] and dataset.side == 48
    assert dataset.images[0, :, 4, 4].tolist() == pytest.approx([200, 30, 60], abs=4)


def test_the_side_is_that_of_most_pictures(tmp_path: Path) -> None:
    for i, size in enumerate([(20, 12), (900, 700), (30, 300), (10, 40), (31, 30)]):
        coloured(tmp_path / f"{i}.jpg", size=size)
    assert read_pictures([tmp_path], 8).side == 30


def test_only_some_of_the_pictures(tree: Path) -> None:
    some = read_pictures([tree], 8).select([4, 0])
    assert some.names == ["top.png", "cat/a.png"] and some.labels.tolist() == [-1, 0]
    assert some.images.shape == (2, 3, 8, 8) and some.classes == ("cat", "dog")


def test_many_pictures_stay_in_order(tmp_path: Path) -> None:
    for i in range(120):
        coloured(tmp_path / f"{i:03d}.png", (i, 0, 0), (3, 3))
    assert read_pictures([tmp_path], 2).images[:, 0, 0, 0].tolist() == list(range(120))


def test_a_broken_file_costs_only_itself(tree: Path, tmp_path: Path) -> None:
    whole = (tree / "dog" / "a.jpg").read_bytes()
    (tree / "cat" / "broken.jpg").write_bytes(b"no picture")
    (tree / "cat" / "empty.png").write_bytes(b"")
    (tree / "cat" / "short.jpg").write_bytes(whole[: len(whole) // 2])
    (tree / "notes.txt").write_text("no picture, and not meant to be")
    (tree / ".hidden.jpg").write_bytes(whole)
    for source in (tree, zipped(tmp_path / "tree.zip", tree)):
        dataset = read_pictures([source], 8)
        assert len(dataset) == 5
        assert [n for n, _ in dataset.skipped] == [
            f"cat/{n}" for n in ("broken.jpg", "empty.png", "short.jpg")
        ]
        assert all(reason for _, reason in dataset.skipped)


def test_other_files_are_counted_by_kind(tree: Path, tmp_path: Path) -> None:
    (tree / "notes.txt").write_text("x")
    (tree / "cat" / "more.TXT").write_text("x")
    (tree / "README").write_text("x")
    (tree / ".hidden.jpg").write_bytes(b"x")
    (tree / "broken-link.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tree / "pipe.png")  # reading it would wait for ever
    (tree / "cat" / "postscript.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    known = read_pictures([tree], 8)
    assert len(known) == 5
    assert known.other == {"hidden": 1, "special": 2, "txt": 2, "without suffix": 1}
    assert [name for name, _ in known.skipped] == ["cat/postscript.png"]


def test_a_file_of_too_many_bytes_is_skipped(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(bytes=400))
    coloured(tree / "zz.bmp", size=(40, 40))
    for source in (tree, zipped(tmp_path / "tree.zip", tree)):
        known = read_pictures([source], 8)
        assert "zz.bmp" in dict(known.skipped) and len(known) >= 4
        assert "400 bytes" in dict(known.skipped)["zz.bmp"]


def test_an_encrypted_entry_is_skipped(tree: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "tree.zip", tree)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the first entry, in the directory
    path.write_bytes(data)
    known = read_pictures([path], 8)
    assert len(known) == 4 and "encrypted" in known.skipped[0][1]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.mkdir(), "no picture that can be read"),
        (lambda path: path.write_bytes(b"no zip"), "neither a folder nor a zip"),
        (lambda path: None, "neither a folder nor a zip"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "no picture that can be read"),
        (
            lambda path: coloured(path / "a.txt.png").write_bytes(b"x"),
            "a.txt.png: it is not a picture",
        ),
    ],
    ids=["empty folder", "no zip", "nothing", "empty zip", "broken alone"],
)
def test_where_there_is_nothing_to_read(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        read_pictures([tmp_path / "data"], 8)


def test_an_entry_of_a_zip_that_is_torn_is_skipped(tree: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "tree.zip", tree)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        torn = archive.getinfo("cat/a.png")
    data[torn.header_offset + 60] ^= 255  # stored plain: its checksum no longer holds
    path.write_bytes(data)
    dataset = read_pictures([path], 8)
    assert len(dataset) == 4 and dataset.skipped[0][0] == "cat/a.png"


def only(tmp_path: Path, picture: Image.Image, name: str = "a.png", **how: object) -> np.ndarray:
    """Return the picture as training reads it, 8 pixels a side."""
    picture.save(tmp_path / name, **how)  # type: ignore[arg-type]
    return read_pictures([tmp_path], 8).images[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("mode, white", [("L", 255), ("1", 1), ("I;16", 65535), ("LA", (255, 255))])
def test_grey_pictures_are_grey(tmp_path: Path, mode: str, white: object) -> None:
    picture = Image.new(mode, (16, 16))
    picture.paste(white, (0, 0, 8, 16))  # type: ignore[arg-type]
    if mode == "LA":
        picture.putalpha(255)
    pixels = only(tmp_path, picture)
    assert (pixels[:, :3] > 240).all() and (pixels[:, 5:] < 15).all()


@pytest.mark.parametrize("mode, top", [("I;16", 65535), ("I", 65535), ("F", 1.0), ("F", 65535.0)])
def test_grey_of_many_bits_keeps_its_shades(tmp_path: Path, mode: str, top: float) -> None:
    ramp = np.linspace(0, 1, 16)[None].repeat(16, 0) * top
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    pixels = only(tmp_path, Image.fromarray(ramp.astype(kind)), "a.tif")
    assert pixels[4, :, 0].tolist() == pytest.approx(np.linspace(8, 247, 8), abs=6)


def test_what_is_hidden_and_what_runs_drew_is_left_out(tmp_path: Path) -> None:
    names = ("a/1.png", "a/.thumbnails/2.png", ".trash/3.png", "runs/tiny/grids/4.png")
    for name in (*names, "runs/tiny/loss.png", "runs/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for name in ("config.json", "log.txt"):
        (tmp_path / "runs" / "tiny" / name).touch()
    assert read_pictures([tmp_path], 8).names == ["a/1.png", "runs/5.png"]
    assert read_pictures([tmp_path / "runs" / "tiny"], 8).names == ["grids/4.png", "loss.png"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in names[:3]:
            archive.write(tmp_path / name, name)
    assert read_pictures([tmp_path / "all.zip"], 8).names == ["a/1.png"]


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 8, 16))
    pixels = only(tmp_path, picture)
    assert (pixels[:, 5:] > 240).all() and pixels[4, 1].tolist() == pytest.approx(
        [0, 0, 255], abs=2
    )
    half = only(tmp_path, Image.new("RGBA", (16, 16), (255, 0, 0, 128)))
    assert half[4, 4].tolist() == pytest.approx([255, 127, 127], abs=2)


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "LAB"])
def test_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    picture = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    name = "a.jpg" if mode == "CMYK" else "a.tif" if mode == "LAB" else "a.png"
    if mode == "LAB":
        from PIL import ImageCms

        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        changed = ImageCms.profileToProfile(picture, *spaces, outputMode="LAB")
        assert changed is not None
        picture = changed
    else:
        picture = picture.convert(mode)
    pixels = only(tmp_path, picture, name)
    assert pixels[0].mean() < 60 and pixels[-1].mean() > 190


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_stands_upright(tmp_path: Path, turn: int) -> None:
    upright = Image.new("RGB", (32, 32))
    upright.paste((255, 255, 255), (0, 0, 16, 8))  # up and to the left
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = upright if stored is None else upright.transpose(stored)
    pixels = only(tmp_path, picture, "a.jpg", exif=exif, quality=95)
    assert pixels[0, 0].mean() > 200 and pixels[0, 7].mean() < 50 and pixels[7, 0].mean() < 50


def test_the_square_in_the_middle_is_taken(tmp_path: Path) -> None:
    picture = Image.new("RGB", (48, 16), "red")
    picture.paste((0, 0, 255), (16, 0, 32, 16))
    for shape in (picture, picture.transpose(Image.Transpose.ROTATE_90)):
        assert np.abs(only(tmp_path, shape) - np.array([0, 0, 255])).max() < 20  # edges ring
    assert (only(tmp_path, Image.new("RGB", (1, 1), "blue")) == (0, 0, 255)).all()


def test_a_picture_of_too_many_pixels_is_skipped(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coloured(tree / "zz.png", size=(100, 100))
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(pixels=9_999))
    dataset = read_pictures([tree], 8)
    assert len(dataset) == 5 and "9999" in dataset.skipped[0][1]


def test_bytes_go_to_the_unit_range_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    there = to_unit(every)
    assert (there[0], there[-1]) == (-1, 1) and there.dtype == torch.float32
    assert torch.equal(to_bytes(there), every)
    assert to_bytes(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def write_vectors(path: Path, names: list[str], width: int = 4) -> Path:
    rows = torch.nn.functional.normalize(torch.randn(len(names), width), dim=1).half()
    about = {"names": json.dumps(names), "model": "mini", "fingerprint": "abc"}
    save_file({"vectors": rows}, path, about)
    return path


def test_vectors_go_by_name(tree: Path, tmp_path: Path) -> None:
    path = write_vectors(tmp_path / "v.safetensors", ["top.png", "other.png", "cat/a.png"])
    vectors = read_vectors(path)
    assert vectors.encoder == {"name": "mini", "fingerprint": "abc"}
    matched, rows = match_vectors(read_pictures([tree], 8), vectors)
    assert matched.names == ["cat/a.png", "top.png"]
    assert torch.equal(rows, vectors.rows[[2, 0]])
    assert len(matched.images) == len(matched.labels) == 2


def test_vectors_of_other_pictures_are_refused(tree: Path, tmp_path: Path) -> None:
    pictures = read_pictures([tree], 8)
    with pytest.raises(DataError, match="same DATA"):
        match_vectors(pictures, Vectors(torch.zeros(1, 4), ("tree/top.png",), {}))
    with pytest.raises(DataError, match="same name"):
        match_vectors(read_pictures([tree, tree], 8), Vectors(torch.zeros(1, 4), ("top.png",), {}))


@pytest.mark.parametrize(
    "tensors, about",
    [
        ({"other": torch.zeros(1, 4)}, {"names": "[]", "model": "m", "fingerprint": "f"}),
        ({"vectors": torch.zeros(1, 4)}, None),
        ({"vectors": torch.zeros(1, 4)}, {"names": "{", "model": "m", "fingerprint": "f"}),
        ({"vectors": torch.zeros(2, 4)}, {"names": '["a"]', "model": "m", "fingerprint": "f"}),
        ({"vectors": torch.zeros(1)}, {"names": '["a"]', "model": "m", "fingerprint": "f"}),
        ({"vectors": torch.zeros(0, 4)}, {"names": "[]", "model": "m", "fingerprint": "f"}),
        ({"vectors": torch.zeros(1, 4)}, {"names": '["a"]', "model": "m"}),
    ],
)
def test_a_file_without_vectors_is_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str] | None
) -> None:
    save_file(tensors, tmp_path / "v.safetensors", about)
    with pytest.raises(DataError, match="lookalike embed"):
        read_vectors(tmp_path / "v.safetensors")


def test_no_file_of_vectors_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "text"):
        (tmp_path / "text").write_bytes(io.BytesIO(b"some text").read())
        with pytest.raises(DataError, match="holds no vectors"):
            read_vectors(path)
