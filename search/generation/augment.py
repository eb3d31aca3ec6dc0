"""A training set out of a folder: variants of each picture in its class folder, and a manifest.

    OUTPUT/CLASS/NAME-seedS-sigmaX.png      torchvision's ImageFolder reads these
    OUTPUT/metadata.jsonl                   and Hugging Face's imagefolder this with them

A line of the manifest has a picture's `file_name`, `label`, `source`, `modified` (the source's
time in nanoseconds), `seed`, `sigma`, `similarity` and `accepted`. A picture is written before its
line, so every line has its picture. If a source was edited, its variants are made again. If it is
gone or moved to another class, its variants are deleted.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from PIL import Image

from search import files
from search.errors import InputError, LockedError, NotFoundError, StorageError
from search.generation.variants import VariantGenerator
from search.indexing.scan import scan
from search.media.decoder_pool import in_order
from search.records.indexing import SKIP_CODES, Skip
from search.records.variants import AugmentProgress, AugmentReport, Variants

MANIFEST = "metadata.jsonl"
ABOUT = ".lookalike.json"
LOCK = ".lookalike.lock"
PREFETCH = 4  # pictures that are decoded before their turn

Row = dict[str, Any]


class Augmentation:
    """The training set of one folder. The constructor checks the options; `run` does the work."""

    def __init__(
        self,
        generator: VariantGenerator,
        source: Path,
        output: Path,
        n: int,
        regime: str,
        seed: int,
        name: str | os.PathLike[str] | None = None,
    ) -> None:
        """name: of the generator; None for that of the settings. Raises InputError, NotFoundError
        and QueryError."""
        generator.request(name, n=n, seed=seed + 2**32)  # a source adds up to 32 bits to the seed
        request = generator.request(name, n=n, regime=regime, seed=seed)
        self._request = replace(request, regime=regime)
        self._generator = generator
        full = Path(os.path.realpath(source.expanduser()))
        if not os.path.exists(full):
            raise NotFoundError(f"{full} is not there; give a folder of pictures")
        single = full.is_file()
        self._source, self._unreadable = full.parent if single else full, list[Skip]()
        try:
            if single:
                self._sources = {full.name: full.stat().st_mtime_ns}
            else:
                listing = scan(full)
                self._sources = {name: e.mtime_ns for name, e in sorted(listing.entries.items())}
                self._unreadable = listing.unreadable
        except OSError as error:
            raise InputError(
                f"{full} cannot be listed: {error.strerror}; give a folder of pictures"
            ) from error
        if not self._sources:
            raise InputError(f"there is no picture in {full}")
        self._output = Path(os.path.realpath(output.expanduser()))
        if self._output.is_relative_to(self._source) or self._source.is_relative_to(self._output):
            raise InputError(
                f"one of {self._output} and {self._source} is inside the other; give another "
                "output folder, so that originals and variants do not mix"
            )
        options = {"source": str(self._source), "n": n, "regime": regime, "seed": seed}
        self._about = options | generator.fingerprints(request)
        self._require_own_output()

    def _require_own_output(self) -> None:
        """Raise InputError if the output has anything but a part of the same training set."""
        try:
            names = os.listdir(self._output)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self._output}: {error.strerror}; give another output") from error
        try:
            known = json.loads((self._output / ABOUT).read_text())
        except (OSError, ValueError):
            known = None
        if set(names) - {LOCK} and known != self._about:
            raise InputError(f"{self._output} {self._describe_other(known)}; give a new folder")

    def _describe_other(self, known: Any) -> str:
        """Say how the output differs from the request. known: the content of its `ABOUT` file."""
        if not isinstance(known, dict):
            return "holds something else"
        differing = {k: v for k, v in self._about.items() if known.get(k) != v}
        parts = [
            f"other {k}" if k in ("weights", "model") else f"{k} {known.get(k)}, not {v}"
            for k, v in differing.items()  # digests are of no use to a reader
        ]
        return f"was made with {'; '.join(parts)}"

    def run(self) -> Iterator[AugmentProgress]:
        """Make the variants that are missing. Raises LookalikeError; finished variants stay."""
        start, total = time.monotonic(), len(self._sources)
        skips, written = list(self._unreadable), 0
        yield AugmentProgress(0, total, next(iter(self._sources)))
        with self._lock_output():
            rows, removed = self._clean_output()
            missing = [name for name in self._sources if name not in rows]
            done = total - len(missing)
            with closing(self._load_pictures(missing)) as pictures:
                for name, picture in pictures:
                    if isinstance(picture, InputError):
                        reason = str(picture).removeprefix(f"{self._source / name}: ")
                        code = picture.code if picture.code in SKIP_CODES else "file_unreadable"
                        skips.append(Skip(name, reason, code))
                    else:
                        written += self._write(name, self._make_variants(name, picture))
                    done += 1
                    yield AugmentProgress(done, total, name, len(skips))
        unchanged = total - len(missing)
        seconds = time.monotonic() - start
        report = AugmentReport(
            str(self._output), total, written, unchanged, removed, tuple(skips), seconds
        )
        yield AugmentProgress(total, total, None, len(skips), report)

    @contextmanager
    def _lock_output(self) -> Iterator[None]:
        """Hold the lock of the output. Raises InputError, LockedError and StorageError."""
        try:
            self._output.mkdir(parents=True, exist_ok=True)
            with FileLock(self._output / LOCK, timeout=0, thread_local=False):
                self._require_own_output()  # another run may have finished since
                files.write(self._output / ABOUT, json.dumps(self._about).encode())
                yield
        except Timeout:
            raise LockedError(f"another run is writing to {self._output}; wait for it") from None
        except OSError as error:
            raise StorageError(
                f"cannot write to {self._output}: {error.strerror or error}; free some space or "
                "give another output"
            ) from error

    def _clean_output(self) -> tuple[dict[str, list[Row]], int]:
        """Delete the variants of sources that are incomplete, were edited or are gone.

        Returns the manifest's rows of the other sources, by source, and how many variants were
        deleted because their source is gone.
        """
        path, by_source = self._output / MANIFEST, dict[str, list[Row]]()
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
                source, _ = row["source"], row["file_name"]
                by_source.setdefault(source, []).append(row)
            except (ValueError, LookupError, TypeError):
                pass  # an incomplete line: the variants of its source are made again
        complete = {
            source: rows
            for source, rows in by_source.items()
            if len(rows) == self._request.n and all(self._is_current(source, row) for row in rows)
        }
        removed = 0
        for source in by_source.keys() - complete:
            for row in by_source[source]:
                file = Path(os.path.realpath(self._output / row["file_name"]))
                if file.suffix == ".png" and file.is_relative_to(self._output):
                    file.unlink(missing_ok=True)
                    removed += self._is_gone(source)
                    with suppress(OSError):  # ImageFolder refuses an empty class
                        os.removedirs(file.parent)
        # after the pictures, so that every file on disk has a manifest entry
        files.write(path, "".join(_lines(rows) for rows in complete.values()).encode())
        return complete, removed

    def _is_current(self, source: str, row: Row) -> bool:
        """Whether a variant exists and its source is as it was when the variant was made."""
        # a source that cannot be seen counts as unchanged
        modified = self._sources.get(source, row.get("modified"))
        return (
            not self._is_gone(source)
            and row.get("modified") == modified
            and (self._output / row["file_name"]).is_file()
        )

    def _is_gone(self, source: str) -> bool:
        """Whether a source was deleted. False if its folder cannot be read."""
        if source in self._sources:
            return False
        try:
            os.lstat(self._source / source)
        except OSError as error:
            return isinstance(error, FileNotFoundError | NotADirectoryError)
        return False

    def _load_pictures(
        self, names: list[str]
    ) -> Generator[tuple[str, Image.Image | InputError], None, None]:
        """Load sources in order, some ahead. Yields each name with its picture or its error."""

        def load(name: str) -> Image.Image | InputError:
            try:
                return self._generator.pictures.load(str(self._source / name), urgent=False)
            except InputError as error:
                return error

        with ThreadPoolExecutor(PREFETCH, thread_name_prefix="augment") as pool:
            yield from in_order(((name, pool.submit(load, name)) for name in names), PREFETCH + 1)

    def _make_variants(self, name: str, picture: Image.Image) -> Variants:
        """Make the variants of a source. Its seed depends on its name, so that sources differ."""
        seed = self._request.seed + zlib.crc32(os.fsencode(name))
        request = replace(self._request, seed=seed)
        *_, last = self._generator.generate(picture, request, patient=True)
        if last.result is None:
            raise StorageError(f"the variants of {name} ended early; run it again")
        return last.result

    def _write(self, name: str, variants: Variants) -> int:
        """Write the variants of a source, then their rows of the manifest. Returns how many."""
        place = name if "/" in name else f"{self._source.name}/{name}"
        folder, _, stem = place.rpartition("/")
        rows = []
        for variant in variants:
            path = variant.save(self._output / folder, stem, replace=True)
            rows.append(
                {
                    "file_name": path.relative_to(self._output).as_posix(),
                    "label": place.partition("/")[0],
                    "source": name,
                    "modified": self._sources[name],
                    "seed": variant.seed,
                    "sigma": variant.sigma,
                    "similarity": variant.similarity,
                    "accepted": variant.accepted,
                }
            )
        with open(self._output / MANIFEST, "a") as manifest:
            manifest.write(_lines(rows))
        return len(rows)


def _lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
