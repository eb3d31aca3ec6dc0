"""The house: who may import whom, what is exported, what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import search

PACKAGE = Path(search.__file__).parent

# A module may import only what stands above it (search/__init__.py is lazy and imports nothing).
ORDER = (
    "errors",
    "records",
    "settings",
    "images",
    "facts",
    "scan",
    "fetch",
    "query",
    "schema",
    "runtime",
    "embedders.base",
    "decoder",
    "worker",
    "loader",
    "database",
    "recording",
    "catalog",
    "diff",
    "originals",
    "lookup",
    "lock",
    "thumbnails",
    "keeper",
    "album",
    "embedders.mobilenet",
    "embedders.mini",
    "embedders.notes",
    "embedders.hub",
    "embedders.zoo",
    "embedders.openclip",
    "embedders.registry",
    "vectors.snapshot",
    "vectors.base",
    "vectors.faiss",
    "vectors.flat",
    "vectors.clusters",
    "vectors.ivf",
    "vectors.live",
    "vectors.shelf",
    "forget",
    "indexer",
    "models",
    "searcher",
    "checker",
    "engine",
    "api.problems",
    "api.auth",
    "api.metrics",
    "api.jobs",
    "api.deps",
    "api.schemas",
    "api.docs",
    "api.search",
    "api.images",
    "api.index",
    "api.system",
    "api.web",
    "api.app",
    "api.server",
    "console",
    "words",
    "cli",
    "__main__",
)
FACADE = {"engine", "query", "records", "settings", "errors"}
EDGES = {"cli": FACADE | {"console", "words", "api.server"}, "words": FACADE} | {
    name: FACADE | {other for other in ORDER if other.startswith("api.")}
    for name in ORDER
    if name.startswith("api.")
}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith("__init__"):
            found[name] = path
    return found


def imported(path: Path) -> set[str]:
    """Modules of `search` that a file imports anywhere, by dotted name within the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inner = {name.removeprefix("search.") for name in names if name.startswith("search.")}
    return inner & set(modules())


def test_every_module_has_its_place() -> None:
    assert sorted(ORDER) == sorted(modules())


@pytest.mark.parametrize("name", ORDER)
def test_a_module_imports_only_what_stands_above_it(name: str) -> None:
    above = set(ORDER[: ORDER.index(name)])
    assert imported(modules()[name]) <= above


def test_the_edge_sees_only_the_facade() -> None:
    for name, allowed in EDGES.items():
        assert imported(modules()[name]) <= allowed


def test_only_runtime_imports_torch_and_faiss() -> None:
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        whence = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        heavy = {str(m).split(".")[0] for m in plain | whence} & {"torch", "faiss"}
        assert not heavy or name == "runtime", name


def test_library_code_neither_asserts_nor_exits() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), name
            if isinstance(node, ast.Attribute) and node.attr == "exit":
                assert name == "cli"


def test_files_stay_small() -> None:
    longest = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: n for name, n in longest.items() if n > 420} == {}


def test_exports_are_what_they_say() -> None:
    assert search.__all__ == sorted(set(search.__all__))
    for name in search.__all__:
        thing = getattr(search, name)
        assert thing.__doc__ and thing.__module__.startswith("search.")
    with pytest.raises(AttributeError):
        search.nothing_of_the_kind  # noqa: B018


def test_everything_public_is_documented() -> None:
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), name
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


@pytest.mark.parametrize(
    "what", ["search", "search.cli", "search.decoder", "search.engine", "search.api.server"]
)
def test_importing_stays_light(what: str) -> None:
    heavy = "{'torch', 'faiss', 'open_clip', 'huggingface_hub'}"
    code = f"import {what}, sys; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def threads_that_faiss_adds(imports: str) -> int:
    """Threads of a process after torch and then faiss have worked, beyond those after torch."""
    code = f"""
import os
{imports}
import numpy as np
torch.set_num_threads(2); faiss.omp_set_num_threads(2)
x = np.random.default_rng(0).random((20000, 64), np.float32); index = faiss.IndexFlatIP(64)
count = lambda: len(os.listdir('/proc/self/task'))
torch.rand(9_000_000).sin().sum()
before = count()
index.add(x); index.search(x[:400], 5)
print(count() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_torch_and_faiss_share_one_pool() -> None:
    assert threads_that_faiss_adds("from search.runtime import faiss, torch") == 0
    assert threads_that_faiss_adds("import faiss, torch") > 0  # so that the count means something
