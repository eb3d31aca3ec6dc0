"""A phone of the network: the addresses of the server there, and QR codes that a camera reads."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers.serving import serving

from search import Engine
from search.api import phone
from search.api.auth import Access
from search.types import Pixels

LINK = "http://192.168.1.20:8000/?login=tYh2eK0sWnVb4mXqLr8cJd5uZa1fGo7P"
OWN = ["127.0.0.1", "fe80::1", "fd12::7", "192.168.1.20", "192.168.1.20"]


def scan(picture: Pixels) -> str:
    """Read a QR code as a camera would."""
    text, *_ = cv2.QRCodeDetectorAruco().detectAndDecode(picture)
    return text


def photograph(text: str) -> Pixels:
    """The pixels of half blocks on a black terminal: a space is dark, a block is light."""
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [[halves[c] for c in line] for line in plain.splitlines()]
    width = max(map(len, lines))
    rows = [
        [(row + [(0, 0)] * width)[i][half] for i in range(width)]
        for row in lines
        for half in (0, 1)
    ]
    picture = np.kron(np.array(rows, np.uint8), np.ones((6, 6), np.uint8))
    return np.pad(picture, 24, constant_values=255)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", ["192.168.1.20"]),
        ("::", ["192.168.1.20", "fd12::7"]),
        ("192.168.7.7", ["192.168.7.7"]),
        ("127.0.0.1", []),
        ("::1", []),
        ("localhost", []),
        ("pictures.lan", ["pictures.lan"]),
    ],
)
def test_addresses_of_the_network(host: str, expected: list[str]) -> None:
    assert phone.list_addresses(host, OWN) == expected


def test_own_addresses_are_listed_without_a_packet_and_can_be_listened_on() -> None:
    for address in phone.list_addresses("0.0.0.0"):
        assert address.count(".") == 3 and not address.startswith("127.")


def test_an_address_of_ipv6_is_in_brackets() -> None:
    assert phone.make_url("fd12::7", 8000, "/a") == "http://[fd12::7]:8000/a"


def test_a_camera_reads_both_codes() -> None:
    assert scan(photograph(phone.draw_text(LINK))) == LINK
    svg = phone.draw_svg(LINK)
    size = int(re.search(r'width="(\d+)"', svg)[1]) // 4  # type: ignore[index]
    matrix = np.full((size, size), 255, np.uint8)
    for row, code in enumerate(phone.encode(LINK).matrix):
        matrix[row + 4, 4 : 4 + len(code)] = 255 - np.array(list(code), np.uint8) * 255
    assert scan(np.kron(matrix, np.ones((4, 4), np.uint8))) == LINK
    assert svg.startswith("<svg") and "<script" not in svg


@pytest.fixture
def shared(engine: Engine) -> Iterator[httpx.Client]:
    with serving(engine, Access(token="a", host="0.0.0.0", local=False)) as client:
        yield client


def test_the_owner_gets_a_link_for_a_phone(
    shared: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone, "iterate_own", lambda: iter(OWN))
    answer = shared.post("/api/v1/login/links", headers={"Authorization": "Bearer a"}).json()
    assert answer["urls"] == [f"http://192.168.1.20:{shared.base_url.port}{answer['path']}"]
    assert answer["qr"].startswith("<svg")
    assert shared.get(answer["path"]).status_code == 303 and shared.cookies


def test_a_server_of_this_machine_has_no_link_for_a_phone(engine: Engine) -> None:
    with serving(engine, Access(token="a")) as client:
        answer = client.post("/api/v1/login/links", headers={"Authorization": "Bearer a"}).json()
    assert answer["urls"] == [] and answer["qr"] is None and answer["path"]


@pytest.mark.slow
def test_a_terminal_shows_the_code(tmp_path: Path) -> None:
    parent, child = pty.openpty()
    code = (
        "from search.api import phone; phone.iterate_own = lambda: iter(['192.168.1.20']); "
        "from search.cli.app import main; main()"
    )
    words = ["--home", str(tmp_path), "serve", "--host", "0.0.0.0", "--port", "0", "--no-watch"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=child,
        stdout=child,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LOOKALIKE_TOKEN": "right"},
    )
    os.close(child)
    shown = b""
    try:
        while b"Scan it" not in shown:
            shown += os.read(parent, 4096)
    finally:
        process.send_signal(signal.SIGTERM)
        _, notes = process.communicate(timeout=30)
        os.close(parent)
    link = re.search(r"http://192\.168\.1\.20:\d+/\?login=\S+", notes)
    assert link
    lines = [line for line in shown.decode().splitlines() if set(line) & set("▀▄█")]
    assert scan(photograph("\n".join(lines))) == link[0]
