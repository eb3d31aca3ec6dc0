"""Hostile files among the pictures to train on: each costs itself alone, and is listed with why."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from diffusion.data import read_picture, read_pictures
from diffusion.errors import ConfigError, DataError, DiffusionError
from diffusion.media.images import Limits
from diffusion.media.pool import Decoded, DecoderPool
from diffusion.model.autoencoder import load_autoencoder
from diffusion.plots import refuse_overwrite
from diffusion.training.latents import choose_windows, encode_folder

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# The real worker, but for some bytes on which it misbehaves.
HOSTILE = """
import os, re, signal, sys, time
from pathlib import Path
from diffusion.media import worker
marks, real = Path(os.environ["MARKS"]), worker.open_picture
(marks / f"process {os.getpid()}").touch()
def open_picture(data, pixels):
    if data == b"hang":
        (marks / "hanging").touch()
        time.sleep(600)
    if data == b"spin":
        (marks / "hanging").touch()
        re.match("(a+)+$", "a" * 60 + "b")  # for ages, and no other thread gets to run
    if data == b"exit":
        os._exit(3)
    if data == b"segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data.endswith(b"exit once") and not (marks / "once").exists():
        (marks / "once").touch()
        os._exit(0)
    if data == b"surprise":
        raise KeyError("nobody thought of this")
    if data == b"nonsense":
        os.write(replies, b'{"bytes": 3, "side": "x"}' + bytes([10, 1, 2, 3]))
    if data == b"chatter":
        os.write(1, b"chatter" * 100)
    return real(data, pixels)
replies = os.dup(1)
worker.open_picture = open_picture
worker.SPARE = float(os.environ.get("SPARE", 5))
worker.main()
"""
COMMAND = (sys.executable, "-P", "-W", "ignore", "-c", HOSTILE)

# A parent that hangs in a job for ever.
PARENT = """
import sys
from diffusion.media.images import Limits
from diffusion.media.pool import DecoderPool
pool = DecoderPool(1, Limits(seconds=float(sys.argv[3])), (sys.executable, "-P", "-c", sys.argv[1]))
list(pool.decode([{"path": sys.argv[2], "member": None, "size": 8}], (8, 8, 3)))
"""


def encoded(size: tuple[int, int] = (20, 12), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(out, kind)
    return out.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with some chunks before its pixels, which are all black."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(3 * width + 1)) for _ in range(height))
    every = [(b"IHDR", header), *chunks, (b"IDAT", pixels + packer.flush()), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in every
    )


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def jobs(*paths: Path) -> list[dict[str, object]]:
    return [{"path": str(path), "member": None, "size": 8} for path in paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one picture."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "good.png").write_bytes(encoded())
    return tmp_path / "data"


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    return tmp_path / "marks"


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true; the minute is there to end a test that fails."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def list_processes(marks: Path) -> list[int]:
    return [int(path.name.split()[1]) for path in marks.glob("process *")]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# files -------------------------------------------------------------------------------------------


def test_postscript_with_the_name_of_a_jpeg_runs_no_program(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin" / "gs"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (folder / "a.jpg").write_bytes(text)
    read = read_pictures([folder], 8)
    assert read.names == ["good.png"] and "not a picture" in dict(read.skipped)["a.jpg"]
    assert not (tmp_path / "ran").exists()


def test_what_is_no_regular_file_is_never_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    read = read_pictures([folder], 8)
    assert read.names == ["good.png"] and read.other == {"special": 2} and not read.skipped
    names = ("pipe.png", "zero.png", "folder.png")  # each may replace a file after the listing
    with DecoderPool(1) as pool:
        for answer in pool.decode(jobs(*(folder / name for name in names)), (8, 8, 3)):
            assert answer == "it is not a regular file"
    for name in (*names, "none.png"):
        with pytest.raises(DataError, match=f"{name} is not a picture that can be read"):
            read_picture(folder / name, 8)
    for name in names[:2]:
        with pytest.raises(DataError, match="neither a folder nor a zip .* not a regular file"):
            read_pictures([folder / name], 8)


def test_a_place_for_output_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "chunk.png").write_bytes(png(4, 4, (b"tEXt", b"Software\0" + bytes(2**22))))
    for name in ("pipe.png", "zero.png", "chunk.png", "good.png"):
        with pytest.raises(ConfigError, match="was not made by lookalike"):
            refuse_overwrite(folder / name)


def test_bombs_in_a_png_are_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(pixels=10**8, memory=2**30))
    (folder / "pixels.png").write_bytes(png(12_000, 9_000))
    huge = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    (folder / "more.png").write_bytes(png(4, 4, (b"IHDR", huge)))
    text = b"comment\0\0" + zlib.compress(bytes(2**27), 9)
    (folder / "text.png").write_bytes(png(4, 4, (b"zTXt", text)))
    (folder / "memory.png").write_bytes(png(9_900, 9_900))
    read = read_pictures([folder], 8)
    reasons = dict(read.skipped)
    assert read.names == ["good.png"] and set(reasons) == {
        *("memory.png", "more.png", "pixels.png", "text.png")
    }
    assert "more than 100000000 pixels" in reasons["pixels.png"]
    assert "memory" in reasons["memory.png"] and all(reasons.values())


# processes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"hang", b"spin"])
def test_a_picture_that_takes_too_long_is_skipped(
    folder: Path, marks: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(seconds=1.5))
    monkeypatch.setattr("diffusion.media.pool.COMMAND", COMMAND)
    (folder / "a.png").write_bytes(content)
    read = read_pictures([folder], 8)
    assert read.names == ["good.png"]
    assert read.skipped == [("a.png", "decoding took longer than 1.5 s")]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"exit", "ended on it .status 3"),
        (b"segfault", "ended on it .signal 11"),
        (b"nonsense", "ended on it"),
        (b"surprise", "nobody thought of this"),
        (b"chatter", "not a picture"),
    ],
)
def test_a_process_that_dies_costs_one_picture(
    folder: Path, marks: Path, content: bytes, reason: str
) -> None:
    (folder / "a.png").write_bytes(content)
    paths = [folder / name for name in ("good.png", "a.png", "good.png", "a.png", "good.png")]
    with DecoderPool(1, command=COMMAND) as pool:
        answers = list(pool.decode(jobs(*paths), (8, 8, 3)))
    assert [isinstance(answer, Decoded) for answer in answers] == [True, False] * 2 + [True]
    for answer in (answers[1], answers[3]):
        assert isinstance(answer, str)
        assert re.search(reason, answer), answer


def test_a_process_that_is_killed_once_costs_nothing(folder: Path, marks: Path) -> None:
    (folder / "a.png").write_bytes(encoded() + b"exit once")
    with DecoderPool(1, command=COMMAND) as pool:
        (answer,) = pool.decode(jobs(folder / "a.png"), (8, 8, 3))
    assert isinstance(answer, Decoded) and (marks / "once").exists()


def test_a_system_that_starts_no_process_is_reported(folder: Path) -> None:
    for command in (("/nowhere/python",), (sys.executable, "-c", "")):
        with DecoderPool(1, command=command) as pool:
            with pytest.raises(DiffusionError, match="can be started"):
                list(pool.decode(jobs(folder / "good.png"), (8, 8, 3)))


def test_latents_are_encoded_without_what_hangs(
    folder: Path, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(seconds=1.5))
    monkeypatch.setattr("diffusion.media.pool.COMMAND", COMMAND)
    (folder / "good.png").write_bytes(encoded((40, 40)))
    (folder / "a.png").write_bytes(b"hang")
    (folder / "b.png").write_bytes(b"exit")
    latents = encode_folder([folder], tmp_path / "out", load_autoencoder(), choose_windows(16, 2))
    assert latents.names == ["good.png"]
    assert [name for name, _ in latents.skipped] == ["a.png", "b.png"]
    about = json.loads((tmp_path / "out" / "latents.json").read_text())
    assert "longer than 1.5 s" in about["skipped"][0][1] and "ended on it" in about["skipped"][1][1]


@LINUX
def test_processes_end_with_the_pool(folder: Path, marks: Path) -> None:
    (folder / "a.png").write_bytes(b"hang")
    names = ["good.png"] * 16 + ["a.png"]
    with DecoderPool(1, command=COMMAND) as pool:
        answers = pool.decode(jobs(*(folder / name for name in names)), (8, 8, 3))
        assert isinstance(next(answers), Decoded) and until((marks / "hanging").exists)
    assert list_processes(marks) and not any(map(is_alive, list_processes(marks)))


@LINUX
@pytest.mark.parametrize("content, seconds", [(b"hang", 600), (b"spin", 2)])
def test_a_process_ends_when_its_parent_is_killed(
    folder: Path, marks: Path, content: bytes, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, or at its own deadline when a codec lets nothing else run."""
    monkeypatch.setenv("SPARE", "1")
    (folder / "a.png").write_bytes(content)
    words = (HOSTILE, str(folder / "a.png"), str(seconds))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *words])
    try:
        assert until((marks / "hanging").exists)
    finally:
        parent.kill()
        parent.wait()
    assert until(lambda: not any(map(is_alive, list_processes(marks))))


# zips --------------------------------------------------------------------------------------------


def test_a_member_that_inflates_without_end_is_skipped(tmp_path: Path) -> None:
    """200 kB of a zip hold 200 MB, declared or not."""
    bomb = bytes(200 * 2**20)
    path = zipped(tmp_path / "a.zip", {"bomb.png": bomb, "good.png": encoded()})
    assert path.stat().st_size < 2**18
    read = read_pictures([path], 8)
    assert read.names == ["good.png"]
    assert read.skipped[0][0] == "bomb.png" and "200 times" in read.skipped[0][1]
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + at, 1000)  # its size, a lie
    path.write_bytes(data)
    read = read_pictures([path], 8)
    assert read.names == ["good.png"] and [name for name, _ in read.skipped] == ["bomb.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_inflates_at_once_is_refused(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "a.zip", {"bomb.png": bytes(2**22)}, method)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good.png", encoded())
    read = read_pictures([path], 8)
    assert read.names == ["good.png"] and "neither stored nor deflated" in read.skipped[0][1]


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """As in a zip that holds a hundred times its size: each entry of its directory names the same
    bytes."""
    path = zipped(tmp_path / "a.zip", {f"{i}.png": encoded() for i in range(3)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    for _ in range(3):
        struct.pack_into("<I", data, at + 42, 0)  # where the member is
        at = data.find(b"PK\x01\x02", at + 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.zip .* members overlap; pack"):
        read_pictures([path], 8)


def test_a_zip_of_too_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": encoded() for i in range(5)})
    assert len(read_pictures([path], 8)) == 5
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(members=4))
    with pytest.raises(DataError, match="more than 4 members; split it"):
        read_pictures([path], 8)


def test_a_zip_that_takes_too_long_to_list_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = (
        "import time; from diffusion.media import worker; "
        "worker.Archive = lambda _: time.sleep(600); worker.main()"
    )
    monkeypatch.setattr("diffusion.media.pool.LIMITS", Limits(seconds=1.5))
    monkeypatch.setattr("diffusion.media.pool.COMMAND", (sys.executable, "-P", "-c", slow))
    with pytest.raises(DataError, match="a.zip .* took longer than 1.5 s"):
        read_pictures([zipped(tmp_path / "a.zip", {"good.png": encoded()})], 8)


def test_names_that_lead_elsewhere_and_zips_in_zips_are_not_read(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"inner.png": encoded()}).read_bytes()
    names = ("../up.png", "a/../../up.png", "/root.png", "..\\up.png")
    path = zipped(tmp_path / "a.zip", {
        **dict.fromkeys(names, encoded()), "inner.zip": inner, "inner.png": inner,
        "a/good.png": encoded(),
    })  # fmt: skip
    read = read_pictures([path], 8)
    assert read.names == ["a/good.png"] and read.classes == ("a",) and read.other == {"zip": 1}
    reasons = dict(read.skipped)
    assert set(reasons) == {*names, "inner.png"} and "not a picture" in reasons.pop("inner.png")
    assert all("leads out of the zip" in reason for reason in reasons.values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "inner.zip"]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_zip_that_is_cut_is_refused(tmp_path: Path, share: float) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": encoded() for i in range(9)})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        read_pictures([path], 8)
