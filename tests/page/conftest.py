"""Fixtures of the tests of the page: a server over the engine that a file of tests shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.serving import serving
from helpers.variants import HAT
from PIL import Image

from search import Engine


@pytest.fixture(scope="module")
def client(shared: Engine) -> Iterator[httpx.Client]:
    """A client of a server over `shared`, which each file defines."""
    with serving(shared) as client:
        yield client


@pytest.fixture(scope="module")
def base(client: httpx.Client) -> str:
    """The address of that server."""
    return str(client.base_url)


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """A picture that looks like the hat and is not in the library."""
    path = tmp_path / "my hat.png"
    with Image.open(HAT) as hat:
        hat.resize((300, 400)).save(path)
    return path
