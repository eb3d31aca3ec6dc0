"""Write the vectors of folders and zips of pictures to a file. No library changes."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from search import files
from search.embedders.base import Embedder
from search.errors import InputError, NotFoundError, StorageError
from search.indexing.scan import ENDINGS, scan
from search.media.decoder_pool import DecodeFailure, DecodeRequest, DecoderPool
from search.records.indexing import IndexReport, Progress, Skip
from search.types import Pixels, Vectors

BATCH = 64
AHEAD = 3 * BATCH
"""Decoded pictures that may wait to be embedded."""


def export(
    paths: Sequence[Path],
    out: Path,
    decoders: DecoderPool,
    embedder: Embedder,
    embed: Callable[[Sequence[Pixels]], Vectors],
    most: int,
) -> Iterator[Progress]:
    """Embed all pictures and write a safetensors file; the last progress carries the report.

    The file has `vectors` (n, dim) float16. Its metadata have `names` (JSON: paths relative to
    `paths`), `model` and `fingerprint`. embed: returns the (n, dim) vectors of pictures. most:
    bytes of a picture in a zip. A picture that cannot be read is skipped. Raises InputError if
    there are no pictures, two have the same name, or `out` is another kind of file; NotFoundError
    for a path that does not exist; StorageError if the disk fails.
    """
    start = time.monotonic()
    _reject_other_file(out)
    yield Progress("scan", 0, 0, str(paths[0]))
    embedded, rows, skips = list[str](), list[Vectors](), list[Skip]()
    places = [(path, name) for path in paths for name in _list_names(path, skips)]
    names = [name for _, name in places]
    if not names:
        raise InputError(f"there is no picture in {', '.join(map(str, paths))}")
    if len(set(names)) < len(names):
        twice = next(name for name in sorted(names) if names.count(name) > 1)
        raise InputError(f"{twice} is there twice, and vectors go by name; give one at a time")
    pixels: list[Pixels] = []
    zipped = not all(os.path.isdir(path) for path in paths)
    prefetch = 2 * decoders.workers if zipped else AHEAD  # whole files, or decoded pictures
    loaded = decoders.load(_open_sources(places, most, skips), embedder.preprocessing, prefetch)
    for name, result in loaded:
        if isinstance(result, DecodeFailure):
            skips.append(Skip(name, result.reason, result.code))
        elif result.pixels is None:
            skips.append(Skip(name, "it was not decoded", "decode_failed"))
        else:
            embedded.append(name)
            pixels.append(result.pixels)
        if len(pixels) == BATCH:
            rows.append(embed(pixels))
            pixels = []
            yield Progress("embed", len(embedded), len(names), name)
    rows.append(embed(pixels))
    if not embedded:
        raise InputError(f"no picture can be read: {skips[0].path}: {skips[0].reason}")
    about = {
        "names": json.dumps(embedded),
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
    }
    _write(out, save({"vectors": np.concatenate(rows).astype(np.float16)}, about))
    report = IndexReport(
        embedded=len(embedded), skipped=tuple(skips), seconds=time.monotonic() - start
    )
    yield Progress("finish", len(names), len(names), str(out), report)


def _reject_other_file(out: Path) -> None:
    """Raise InputError if `out` exists and is not a file of vectors."""
    if not os.path.lexists(out):
        return
    try:
        with safe_open(out, framework="numpy") as file:
            if "fingerprint" in (file.metadata() or {}):
                return
    except (OSError, SafetensorError):
        pass  # not a safetensors file
    raise InputError(f"{out} is there, and holds no vectors: give another name")


def _list_names(path: Path, skips: list[Skip]) -> list[str]:
    """Return the sorted relative paths of the pictures in a folder or zip; add to `skips`."""
    if os.path.isdir(path):
        try:
            listing = scan(path)
        except OSError as error:
            raise InputError(f"{path} cannot be listed: {error.strerror}") from error
        skips += listing.unreadable
        return sorted(listing.entries)
    if not os.path.exists(path):
        raise NotFoundError(f"{path} is not there; give folders or zips of pictures")
    try:
        with zipfile.ZipFile(path) as archive:
            return sorted(name for name in archive.namelist() if _is_picture(name))
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is neither a folder nor a zip of pictures: {error}") from error


def _is_picture(name: str) -> bool:
    """Return whether a name in a zip is that of a picture that is not hidden."""
    shown = not any(part.startswith(".") for part in name.split("/"))
    return shown and name.rpartition(".")[2].lower() in ENDINGS


def _open_sources(
    places: Sequence[tuple[Path, str]], most: int, skips: list[Skip]
) -> Iterator[tuple[str, DecodeRequest]]:
    """Yield the source of each picture, a path or bytes from a zip. Add failures to `skips`."""
    opened: zipfile.ZipFile | None = None
    try:
        for path, name in places:
            if os.path.isdir(path):
                yield name, DecodeRequest(str(path / name), metadata=False)
                continue
            if opened is None or opened.filename != str(path):
                if opened:
                    opened.close()
                opened = zipfile.ZipFile(path)
            if (size := opened.getinfo(name).file_size) > most:
                reason = f"the file has {size} bytes, more than the limit {most}"
                skips.append(Skip(name, reason, "picture_too_large"))
                continue
            try:
                data = opened.read(name)
            except Exception as error:  # each compression raises its own errors
                skips.append(Skip(name, f"it cannot be unpacked: {error}", "not_a_picture"))
                continue
            yield name, DecodeRequest(data=data, metadata=False)
    finally:
        if opened:
            opened.close()


def _write(out: Path, data: bytes) -> None:
    """Write a file. Raises StorageError."""
    try:
        files.write(out, data)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror}; free some space") from error
