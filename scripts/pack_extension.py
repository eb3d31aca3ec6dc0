"""Pack the browser extension: `scripts/pack_extension.py [FILE.zip]`.

The zip has the manifest, what it names, and what these files name in turn; a file that nothing
names is an error, so that none is shipped or left behind by chance.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "extension"
TARGET = Path(__file__).parents[1] / "build" / "lookalike-extension.zip"
NAMED = re.compile(r"""(?:src|href)="([^":#]+)"|importScripts\(([^)]*)\)|iconUrl: '([^']+)'""")
TIME = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that the same files give the same zip."""


def list_named(manifest: dict[str, object]) -> Iterator[str]:
    """Yield the files that the manifest names, and the messages of its languages."""
    yield "manifest.json"
    texts = list[object]([manifest])
    while texts:
        value = texts.pop()
        if isinstance(value, dict):
            texts += value.values()
        elif isinstance(value, list):
            texts += value
        elif isinstance(value, str) and re.fullmatch(r"[\w-]+\.(?:js|html|png)", value):
            yield value
    if "default_locale" in manifest:
        yield from (f"_locales/{one.name}/messages.json" for one in FOLDER.glob("_locales/*"))


def list_files() -> list[str]:
    """Return the files of the extension, by name. Raises ValueError for one that is missing, and
    for one that nothing names."""
    pending = [*list_named(json.loads((FOLDER / "manifest.json").read_text()))]
    files = set[str]()
    while pending:
        name = pending.pop()
        if name in files:
            continue
        if not (FOLDER / name).is_file():
            raise ValueError(f"{name} is named and not there")
        files.add(name)
        if name.endswith((".js", ".html")):
            for match in NAMED.findall((FOLDER / name).read_text()):
                pending += re.findall(r"[\w./-]+\.\w+", " ".join(match))
    present = {str(one.relative_to(FOLDER)) for one in FOLDER.rglob("*") if one.is_file()}
    if unnamed := sorted(present - files):
        raise ValueError(f"nothing names {', '.join(unnamed)}")
    return sorted(files)


def pack(target: Path) -> list[str]:
    """Write the zip; return the names of its files."""
    names = list_files()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name, TIME), (FOLDER / name).read_bytes())
    return names


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    print(f"{place}: {len(pack(place))} files")
