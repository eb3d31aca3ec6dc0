"""The page's modules that need no browser: their tests run in node."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.project import ROOT

import search

WEB = Path(search.__file__).parent / "web"
NODE = shutil.which("node")


def loads_modules() -> bool:
    """Return whether node is installed and detects modules in `.js` files by syntax."""
    if NODE is None:
        return False
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True).stdout
    major, minor = map(int, version.removeprefix("v").split(".")[:2])
    return (major, minor) >= (22, 7) or (major == 20 and minor >= 19)


@pytest.mark.skipif(not loads_modules(), reason="needs node 20.19, or 22.7 and newer")
def test_the_unit_tests_of_the_page() -> None:
    tests = sorted((ROOT / "tests" / "page").glob("*.test.js"))
    command = [str(NODE), "--test", "--test-reporter", "tap", *map(str, tests)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^# pass [1-9]", run.stdout, re.M)


def test_the_document_has_no_text_of_its_own() -> None:
    """All texts are in texts.js, in both languages. This one is shown without JavaScript."""
    html = re.sub(r"<noscript>.*?</noscript>", "", (WEB / "index.html").read_text(), flags=re.S)
    shown = [text.strip("★ \n") for text in re.findall(r">([^<]*)<", html)]
    assert [*filter(None, shown)] == [
        "lookalike",
        "lookalike",
    ]  # the title and the name of the product
    named = re.findall(r' (?:alt|title|placeholder|aria-label|content)="([^"]*)"', html)
    assert [text for text in named if re.search(r"[a-z]{2,} [a-z]{2,}", text)] == ["light dark"]
