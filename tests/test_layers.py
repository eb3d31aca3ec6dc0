"""Import rules, public names, and what an import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from helpers.project import ROOT

import diffusion
import search

LAYERS: tuple[set[str], ...] = (
    {"errors", "types", "files", "process", "extras", "tables"},
    {"records", "sheets"},
    {"settings", "runtime", "lock"},
    {"media"},
    {"catalog"},
    {"embedders", "vectors"},
    {"indexing", "querying"},
    {"generation"},
    {"library"},
    {"engine"},
    {"diagnosis"},
    {"api"},
    {"cli"},
    {"__main__"},
)
"""Folders and modules of search: each may import those of the rows before it, and within itself."""
DIFFUSION = (
    *("errors", "reading", "media", "sources", "files", "tensors", "data", "plots", "model"),
    *("sampling", "evaluation", "training", "cli"),
)
"""Folders and modules of diffusion: each may import those before it, and within itself."""
PACKAGES = (search, diffusion)
FACADE = {
    "engine",
    "diagnosis",
    "querying.query",
    "records",
    "settings",
    "errors",
    "extras",
    "files",
    "tables",
    "sheets",
}
"""What the API and the command line may import of search, beside themselves."""
PLAIN = {"torch", "numpy", "PIL", "safetensors"}  # all that diffusion needs
BESIDE = {
    "cli": {"typer", "rich"},
    "plots": {"matplotlib"},
    "sampling.process": {"matplotlib"},
    "media.images": {"pillow_heif"},  # optional
    "model.onnx_file": {"onnxruntime"},  # optional
}
BRIDGES = {
    "cli.app",
    "generation.generators.base",
    "generation.generators.own",
    "generation.generators.pipelines",
    "generation.restoration",
    "generation.variants",
    "embedders.diffusion",
}  # where search may see diffusion


def modules(package: ModuleType = search) -> dict[str, Path]:
    paths, folder = {}, Path(str(package.__file__)).parent
    for path in folder.rglob("*.py"):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        if not name.endswith("__init__"):
            paths[name] = path
    return paths


def named(path: Path) -> set[str]:
    """Return dotted names of all imports of a file, and of all names imported from modules."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported(path: Path, package: ModuleType = search) -> set[str]:
    """Modules of the package that a file imports anywhere, by dotted name within it."""
    start = f"{package.__name__}."
    inner = {name.removeprefix(start) for name in named(path) if name.startswith(start)}
    return inner & set(modules(package))


def top(name: str) -> str:
    """The folder or module of the package that a module belongs to."""
    return name.partition(".")[0]


def test_a_folder_imports_only_the_layers_before_it() -> None:
    for name, path in modules().items():
        (row,) = (i for i, layer in enumerate(LAYERS) if top(name) in layer)
        allowed = set[str]().union(*LAYERS[:row]) | {top(name)}
        assert {top(other) for other in imported(path)} <= allowed, name


@pytest.mark.parametrize("name", sorted(modules(diffusion)))
def test_a_folder_of_diffusion_imports_only_those_before_it(name: str) -> None:
    folder = name.partition(".")[0]
    if folder != "__main__":
        before = set(DIFFUSION[: DIFFUSION.index(folder) + 1])
        others = imported(modules(diffusion)[name], diffusion)
        assert {other.partition(".")[0] for other in others} <= before


@pytest.mark.parametrize("name", sorted(modules(diffusion)))
def test_diffusion_stands_alone(name: str) -> None:
    whence = {module.split(".")[0] for module in named(modules(diffusion)[name])}
    beside = BESIDE.get(name) or BESIDE.get(name.partition(".")[0], set())
    allowed = PLAIN | beside | {"diffusion"} | sys.stdlib_module_names
    assert whence <= allowed


def test_search_sees_diffusion_over_bridges_only() -> None:
    for name, path in modules().items():
        whence = {module.split(".")[0] for module in named(path)}
        assert "diffusion" not in whence or name in BRIDGES, name


def test_the_edge_sees_only_the_facade() -> None:
    for name, path in modules().items():
        if top(name) in ("api", "cli"):
            inner = {
                m for m in imported(path) if top(m) == top(name) or m in ("api.server", "process")
            }
            outer = imported(path) - inner
            assert all({m, top(m)} & FACADE for m in outer), name


def test_only_runtime_imports_torch_and_faiss() -> None:
    for name, path in modules().items():
        tree = ast.parse(path.read_text())
        plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        whence = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        heavy = {str(m).split(".")[0] for m in plain | whence} & {"torch", "faiss"}
        assert not heavy or name == "runtime", name


@pytest.mark.parametrize("package", PACKAGES)
def test_library_code_neither_asserts_nor_exits(package: ModuleType) -> None:
    for name, path in modules(package).items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), name
            if isinstance(node, ast.Attribute) and node.attr == "exit":
                assert name.partition(".")[0] == "cli"


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_what_they_say(package: ModuleType) -> None:
    assert package.__all__ == sorted(set(package.__all__))
    for name in package.__all__:
        thing = getattr(package, name)
        assert thing.__doc__ and thing.__module__.startswith(f"{package.__name__}.")
    with pytest.raises(AttributeError):
        package.nothing_of_the_kind  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_public_is_documented(package: ModuleType) -> None:
    for name, path in modules(package).items():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), name
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


@pytest.mark.parametrize(
    "what",
    ["search", "search.cli.app", "search.media.decoder", "search.engine", "search.api.server"]
    + ["diffusion", "diffusion.cli", "diffusion.training.options"],
)
def test_importing_stays_light(what: str) -> None:
    heavy = "{'torch', 'faiss', 'open_clip', 'huggingface_hub', 'matplotlib'}"
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


def test_diffusion_needs_neither_search_nor_a_plot_to_train() -> None:
    loaded = "{'search', 'matplotlib', 'typer'} & set(sys.modules)"
    code = f"import diffusion.training.run, diffusion.evaluation.report, sys; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_torch_and_faiss_share_one_pool() -> None:
    assert threads_that_faiss_adds("from search.runtime import faiss, torch") == 0
    assert threads_that_faiss_adds("from search.runtime import torch, faiss") == 0
    assert threads_that_faiss_adds("import faiss, torch") > 0  # so that the count means something


PARTICIPLES = {"said", "found", "given", "wanted", "told", "spelled", "asked", "meant"}
MORE_PARTICIPLES = {"made", "kept", "seen", "taken", "drawn", "heard", "once", "ahead"}
"""These name nothing either. Only names that a file defines count: records have public fields
`made`, `taken`, `kept` and `drawn`, and hypothesis has the decorator `given`."""
WITH_PARTICIPLES = {"records", "querying.pipeline", "querying.steps", "querying.texts"}
"""Modules and folders that still define such names."""


def test_names_are_nouns_and_verbs() -> None:
    """docs/glossary.md: one concept has one name, and a bare participle names none."""
    for package in PACKAGES:
        for name, path in modules(package).items():
            for node in ast.walk(ast.parse(path.read_text())):
                for key in ("id", "arg", "name", "attr"):
                    word = getattr(node, key, None)
                    assert not isinstance(word, str) or word.strip("_") not in PARTICIPLES, name


NO_VERBS = {
    *("alone", "among", "beside", "by_cluster", "by_labels", "by_name", "by_picture", "cached"),
    *("chosen", "embedded", "ended", "exactly", "killed", "listed", "of_itself", "serving"),
    *("stopping", "there", "unblocked", "whole"),
}
"""Participles, adverbs and fragments that name no function."""


def test_functions_are_named_by_verbs() -> None:
    wrong = [
        f"{name}:{node.lineno}: {node.name}"
        for package in PACKAGES
        for name, path in modules(package).items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.strip("_") in NO_VERBS | PARTICIPLES | MORE_PARTICIPLES
    ]
    assert wrong == []


def defined_names(path: Path) -> Iterator[tuple[str, int]]:
    """Names that a file defines: variables, attributes, parameters, functions; with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno


def test_what_the_packages_define_is_named_by_nouns_and_verbs() -> None:
    wrong = [
        f"{module}:{line}: {name}"
        for package in PACKAGES
        for module, path in modules(package).items()
        if not {module, top(module)} & WITH_PARTICIPLES
        for name, line in defined_names(path)
        if name.strip("_") in MORE_PARTICIPLES
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["tests", "scripts"])
def test_names_in_tests_and_scripts_are_nouns_and_verbs(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, line in defined_names(path)
        if name.strip("_").lower() in PARTICIPLES | MORE_PARTICIPLES
    ]
    assert wrong == []
