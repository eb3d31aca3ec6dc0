"""Checks of an installation and its library: what works, what is missing, and what to do."""

from __future__ import annotations

import io
import platform
import re
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from search.catalog.database import CATALOG
from search.engine import Engine
from search.errors import LookalikeError
from search.extras import EXTRA, describe_install
from search.records.diagnosis import Diagnosis, Finding
from search.settings import CONFIG, Settings

PURPOSES = {
    "generators": "pipelines of diffusers cannot make variants",
    "mcp": "assistants cannot search the library (`lookalike mcp`)",
    "milvus": "vectors cannot be kept in Milvus",
    "ocr": "the text in pictures is not read",
    "onnx": "ONNX Runtime cannot embed pictures, which may be quicker",
    "openvino": "OpenVINO cannot embed pictures, which may be quicker",
    "postgres": "the catalog cannot be in PostgreSQL",
    "ray": "indexing cannot be spread over machines",
    "raw": "RAW files are counted and not read",
    "video": "films are counted and not read",
    "s3": "pictures in object storage cannot be indexed",
}
"""Extras, and what is not possible without them."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF")
LEAST_FREE = 2**30
"""Bytes that the disk of the library should have free."""
WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
LEAST_WATCHES = 65_536
NAME = re.compile(r"[\w.-]+")


def diagnose(**options: Any) -> Diagnosis:
    """Check the installation and the library.

    options: as `Engine.open` takes them. Never raises LookalikeError: it is a finding.
    """
    return Diagnosis(tuple(_check(options)))


def _check(options: dict[str, Any]) -> Iterator[Finding]:
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("python", "ok", f"{system}: {sys.executable}")
    yield from _check_packages(requires("lookalike") or ())
    try:
        settings = Settings.load(**options)
    except LookalikeError as error:
        yield Finding("settings", "wrong", str(error))
        return
    yield Finding("settings", "ok", f"{CONFIG}" if CONFIG.is_file() else "no configuration file")
    yield from _check_disk(settings.home.expanduser())
    yield from _check_watches()
    yield _check_browser()
    has_library = settings.catalog is not None or (settings.home.expanduser() / CATALOG).exists()
    with tempfile.TemporaryDirectory() as empty:
        if not has_library:
            remedy = "add pictures: lookalike index FOLDER"
            yield Finding("library", "ok", f"none yet in {settings.home}", remedy)
            options = options | {"home": empty}  # a check makes no library
        try:
            engine = Engine.open(**options, one_shot=True)
        except LookalikeError as error:
            yield Finding("library", "wrong", str(error))
            return
        with engine:
            if has_library:
                yield from _check_library(engine)
            yield _check_formats(engine)
            yield _check_model(engine)


def _check_packages(requirements: Iterable[str]) -> Iterator[Finding]:
    """Check that the required packages are installed, and which extras are."""
    missing = dict[str, list[str]]()
    for line in requirements:
        extra = match[1] if (match := EXTRA.search(line)) else ""
        name = NAME.match(line)
        if name is None or (not extra and ";" in line):  # for another system
            continue
        with suppress(PackageNotFoundError):
            version(name[0])
            missing.setdefault(extra, [])
            continue
        missing.setdefault(extra, []).append(name[0])
    if core := missing.get("", []):
        remedy = f"run {sys.executable} -m pip install {' '.join(core)}"
        yield Finding("packages", "wrong", f"missing: {', '.join(core)}", remedy)
    else:
        text = f"lookalike {version('lookalike')} and all packages that it needs"
        yield Finding("packages", "ok", text)
    for extra, purpose in PURPOSES.items():
        if missing.get(extra):
            remedy = describe_install(extra)
            yield Finding(f"extra {extra}", "missing", purpose, f"if you want it, run {remedy}")
        elif extra in missing:
            yield Finding(f"extra {extra}", "ok", "installed")


def _check_disk(home: Path) -> Iterator[Finding]:
    place = next(one for one in (home, *home.parents) if one.exists())
    free = shutil.disk_usage(place).free
    text = f"{home}, {free / 2**30:.1f} GiB free"
    if free < LEAST_FREE:
        yield Finding("home", "wrong", text, "free some space, or give another --home")
    else:
        yield Finding("home", "ok", text)


def _check_watches() -> Iterator[Finding]:
    """Check how many folders the system can watch. Only Linux has a limit."""
    with suppress(OSError, ValueError):
        count = int(WATCHES.read_text())
        text = f"the system watches up to {count:,} folders"
        if count < LEAST_WATCHES:
            remedy = f"for large trees raise it: sysctl fs.inotify.max_user_watches={2**19}"
            yield Finding("watching", "missing", text, remedy)
        else:
            yield Finding("watching", "ok", text)


def _check_browser() -> Finding:
    try:
        webbrowser.get()
    except webbrowser.Error:
        remedy = "open the address that `lookalike serve` prints on another machine"
        return Finding("browser", "missing", "no browser was found", remedy)
    return Finding("browser", "ok", "found")


def _check_library(engine: Engine) -> Iterator[Finding]:
    status = engine.status()
    where = status.catalog or status.home
    text = f"{status.pictures:,} pictures in {where}"
    if engine.library.database.read_only:
        remedy = "make the folder writable to index, tag and upload"
        yield Finding("library", "missing", f"{text}; it can only be read", remedy)
    elif not status.pictures:
        yield Finding("library", "ok", text, "add pictures: lookalike index FOLDER")
    else:
        yield Finding("library", "ok", text)
    for root in status.roots:
        if root.state == "offline":
            remedy = "plug its disk in; or, if it is gone for good, `lookalike forget` it"
            yield Finding("folder", "missing", f"{root.path} is not there", remedy)
    if problem := status.index.get("problem"):
        yield Finding("vector store", "wrong", str(problem))


def _check_formats(engine: Engine) -> Finding:
    """Decode a small picture of each format in a process that decodes."""
    from PIL import Image
    from pillow_heif import register_heif_opener

    register_heif_opener()
    broken = list[str]()
    for name in FORMATS:
        out = io.BytesIO()
        try:
            Image.new("RGB", (64, 64), "#c08040").save(out, name)
            engine.preview(out.getvalue())
        except (LookalikeError, OSError, KeyError, ValueError) as error:
            broken.append(f"{name} ({error})")
    if broken:
        remedy = "install pillow and pillow-heif again, from wheels"
        return Finding("formats", "wrong", f"cannot be read: {', '.join(broken)}", remedy)
    return Finding("formats", "ok", f"{', '.join(FORMATS)} can be read")


def _check_model(engine: Engine) -> Finding:
    """Embed a picture with the library's model."""
    import numpy as np

    try:
        vectors = engine.encode([np.full((64, 64, 3), 128, np.uint8)])
        name = engine.encoder().split()[0]
    except LookalikeError as error:
        return Finding("model", "wrong", str(error))
    device = engine.settings.device
    return Finding("model", "ok", f"{name} on {device}, {vectors.shape[1]} numbers a picture")
