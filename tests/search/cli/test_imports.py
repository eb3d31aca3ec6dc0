"""What a command imports: only what it needs, since imports are most of its time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.libraries import close_library, open_library
from PIL import Image

from search import Engine
from search.cli.app import COMMANDS

HEAVY = {
    *("torch", "open_clip", "timm", "onnxruntime", "openvino", "faiss", "numpy", "PIL"),
    *("pillow_heif", "matplotlib", "fastapi", "uvicorn", "httpx", "fsspec", "ray", "pymilvus"),
    *("rich", "sqlalchemy", "pydantic", "diffusion.cli", "search.engine", "search.api"),
}
RUN = f"""
import sys
from search.cli import main
try:
    main()
finally:
    print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of one picture, a.png in the folder `pictures` beside it."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "pictures").mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "pictures" / "a.png")
    engine = open_library(folder / "home", model="mini")
    engine.sync(folder / "pictures")
    yield engine
    close_library(engine)


def list_imports(home: Path, *words: str) -> set[str]:
    """Run a command in a process of its own; return what it imported of `HEAVY`."""
    command = [sys.executable, "-c", RUN, "--home", str(home), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_status_imports_the_catalog_alone(engine: Engine) -> None:
    imports = list_imports(engine.home, "status")
    assert imports == {"pydantic", "search.engine", "sqlalchemy"}


def test_a_search_imports_no_torch(engine: Engine) -> None:
    picture = engine.home.parent / "pictures" / "a.png"
    needed = {"pydantic", "search.engine", "sqlalchemy", "numpy", "PIL", "pillow_heif", "faiss"}
    assert list_imports(engine.home, "search", str(picture)) == needed
    assert list_imports(engine.home, "search", f"id:{engine.pictures().pictures[0].id}") == needed


def test_help_imports_no_library(engine: Engine) -> None:
    for name in sorted(COMMANDS.keys() - {"diffusion"}):
        assert list_imports(engine.home, name, "--help") <= {"pydantic"}, name
    assert list_imports(engine.home, "--version") <= {"pydantic"}
    assert list_imports(engine.home, "--help") <= {"pydantic", "diffusion.cli"}
