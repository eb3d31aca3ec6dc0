"""The clients in docs/clients.md: their code runs against a served library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.browsing import CHROMIUM, DRIVER, MISSING, Page
from helpers.libraries import close_library, open_library
from helpers.project import ROOT, SAMPLES
from helpers.serving import serving

from search import Engine
from search.api.auth import Access

TOKEN = "t" * 32
QUERY = SAMPLES / "hat" / "03.jpg"
DOCUMENT = (ROOT / "docs" / "clients.md").read_text("utf-8")
NODE = shutil.which("node")


def find_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```\n", DOCUMENT, re.DOTALL)


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    engine = open_library(home)
    yield engine
    close_library(engine)


@pytest.fixture
def pictures(folder: Path) -> Path:
    """A folder with 22 samples."""
    for name in ("hat", "shoes"):
        shutil.copytree(SAMPLES / name, folder / name)
    return folder


@pytest.fixture
def client(engine: Engine, pictures: Path) -> Iterator[httpx.Client]:
    with serving(engine, Access(token=TOKEN), allow=[pictures]) as client:
        yield client


def run(command: list[str], client: httpx.Client, pictures: Path, cwd: Path) -> list[str]:
    """Run a program, and return the lines that it prints."""
    variables = {"LOOKALIKE_URL": str(client.base_url).rstrip("/"), "LOOKALIKE_TOKEN": TOKEN}
    environment = {**os.environ, **variables, "FOLDER": str(pictures), "QUERY": str(QUERY)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_answer(lines: list[str]) -> None:
    """Check what both clients print first and last."""
    assert lines[0] == "done 22"
    assert [line.split()[0] for line in lines[1:2]] == ["1.000"]
    assert all("/hat/" in line for line in lines[1:4])
    assert lines[-1].startswith("condition_field_unknown: ") and "color" in lines[-1]


@pytest.mark.slow
def test_the_client_in_python_runs(
    client: httpx.Client, engine: Engine, pictures: Path, tmp_path: Path
) -> None:
    program = tmp_path / "client.py"
    program.write_text("\n".join(find_blocks("python")), "utf-8")
    lines = run([sys.executable, str(program)], client, pictures, tmp_path)
    check_answer(lines)
    assert lines[4:-1] == ["1 tagged"]
    (tagged,) = engine.search(where="tag=found*")
    assert tagged.tags == ("found by words",)
    assert (tmp_path / "thumbnail.webp").read_bytes() == engine.thumbnail(tagged.id)


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_client_in_node_runs(client: httpx.Client, pictures: Path, tmp_path: Path) -> None:
    shared, node, _ = find_blocks("js")
    program = tmp_path / "client.mjs"
    program.write_text(node.replace("\n\n", f"\n\n{shared}\n", 1), "utf-8")
    lines = run([NODE or "", str(program)], client, pictures, tmp_path)
    check_answer(lines)
    assert lines[4:-1] == ["5 by words"]


@pytest.mark.slow
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)
def test_the_client_in_a_browser_runs(
    client: httpx.Client, engine: Engine, pictures: Path, page: Page
) -> None:
    engine.sync(pictures)
    shared, _, browser = find_blocks("js")
    address = str(client.base_url).rstrip("/")
    page.open(address, client.app.state.context.access.make_link())  # type: ignore[attr-defined]
    field = "Object.assign(document.createElement('input'), {type: 'file', id: 'chosen'})"
    page.evaluate(f"document.body.prepend({field})")
    page.find("#chosen").send_keys(str(QUERY))
    script = f"const done = arguments[0]; (async () => {{ {shared} {browser} done(hits); }})()"
    hits = page.driver.execute_async_script(script)
    assert len(hits) == 3 and hits[0]["path"].endswith("/hat/03.jpg")
    loaded = "[...document.querySelectorAll('body > img')].filter(one => one.naturalWidth).length"
    page.wait_for(f"{loaded} === 3")
