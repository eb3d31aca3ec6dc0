"""Interrupt and damage libraries, and check that nothing is lost.

scripts/chaos [CLASS...] [--tries N] [--seed S]

Each try begins with a small library. `kill-*` end a process by SIGKILL in the middle of an
operation, `full-*` and `readonly-*` let the disk refuse from some moment on, at a counted event
that the seed chooses. `writers` starts two processes at once. `rows`, `pages`, `thumbnails` and
`snapshots` damage files of the library. Afterwards: the library opens; `check` has no problems, or
repairs them; there are as many vectors as pictures, in the catalog and in the index; a search
answers as before; the same command finishes the work, with at most one batch computed twice; no
original was written. A class prints one line; a seed repeats a try. Exit status 1 if one failed.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tries import parse_arguments, run_tries  # first: it makes the helpers importable

# isort: split
import damage
from helpers.libraries import close_library, open_library, parts
from helpers.old_catalogs import OLD_VERSIONS
from helpers.pictures import identity, jpeg
from worlds import OPERATIONS, World, read_refusal

from search import Engine
from search.errors import LookalikeError

FAULTS = {"kill": 40, "full": 10, "readonly": 10}  # tries of each operation in the long form
DAMAGES: dict[str, Callable[[Path, random.Random], str]] = {
    "rows": damage.damage_row,
    "thumbnails": damage.damage_thumbnail,
    "snapshots": damage.damage_snapshot,
}
CLASSES = {f"{fault}-{name}": n for fault, n in FAULTS.items() for name in OPERATIONS} | {
    "writers": 20,
    "rows": 100,
    "pages": 100,
    "thumbnails": 50,
    "snapshots": 50,
}
Worlds = Callable[[str, int], World]


class Faults:
    """Tries of one fault in one operation."""

    def __init__(self, worlds: Worlds, name: str) -> None:
        self._worlds = worlds
        self._fault, _, self._operation = name.partition("-")

    def __call__(self, rng: random.Random) -> list[str]:
        version = rng.choice(OLD_VERSIONS) if self._operation == "migrate" else 0
        world = self._worlds(self._operation, version)
        moment = rng.randrange(1, world.events + 1)
        world.reset()
        process = world.start(self._fault, moment)
        if self._fault == "kill":
            process.communicate()
            wrong = [] if process.returncode == -signal.SIGKILL else ["it was not killed"]
        else:
            wrong = read_refusal(process, {"storage_failed"})
        wrong += world.judge()
        return [f"event {moment} of {world.events}: {one}" for one in wrong]


def try_writers(worlds: Worlds, _: random.Random) -> list[str]:
    """Two processes write at once: both come to their end, or one names the other."""
    world = worlds("index", 0)
    world.reset()
    processes = [world.start("kill", 0, f"index-{name}") for name in "ab"]
    wrong = [one for process in processes for one in read_refusal(process, {"library_locked"})]
    return wrong + world.judge()


def try_damage(worlds: Worlds, name: str, rng: random.Random) -> list[str]:
    """Damage what can be repaired: `check` and a sync repair it."""
    world = worlds("damage", 0)
    world.reset()
    what = DAMAGES[name](world.home, rng)
    wrong = use_damaged(world)
    return [f"{what}: {one}" for one in wrong + world.judge()]


def try_pages(worlds: Worlds, rng: random.Random) -> list[str]:
    """Damage the catalog's file: it answers, or says that it is damaged."""
    world = worlds("damage", 0)
    world.reset()
    what = damage.damage_pages(world.home, rng)
    return [f"{what}: {one}" for one in use_damaged(world)]


def use_damaged(world: World) -> list[str]:
    """Use a library in all ways. A refusal of the library is right, and any other error is not."""
    steps: dict[str, Callable[[Engine], object]] = {
        "search": lambda engine: engine.search(image=jpeg(3), k=1),
        "pictures": lambda engine: engine.pictures(),
        "picture": lambda engine: engine.picture(identity(3)),
        "thumbnail": lambda engine: engine.thumbnail(identity(3)),
        "status": lambda engine: engine.status(),
        "check": lambda engine: engine.check(deep=True),
        "sync": lambda engine: engine.sync(world.folder),
    }
    wrong = []
    try:
        engine = open_library(world.home)
    except LookalikeError:
        return []
    try:
        for name, step in steps.items():
            try:
                step(engine)
            except LookalikeError:
                pass
            except Exception as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
    finally:
        close_library(engine)
    return wrong


def main() -> None:
    args = parse_arguments(__doc__ or "", CLASSES)
    with tempfile.TemporaryDirectory() as place:
        worlds_by_key = dict[tuple[str, int], World]()

        def worlds(operation: str, version: int) -> World:
            key = operation, version
            if key not in worlds_by_key:
                worlds_by_key[key] = World(
                    Path(place) / f"{operation}{version}", operation, version
                )
            return worlds_by_key[key]

        attempts: dict[str, Callable[[random.Random], list[str]]] = {
            "writers": partial(try_writers, worlds),
            "pages": partial(try_pages, worlds),
            **{name: partial(try_damage, worlds, name) for name in DAMAGES},
        }
        held = [
            run_tries(name, attempts.get(name) or Faults(worlds, name), tries, args.seed)
            for name in args.classes
            for tries in [args.tries or CLASSES[name]]
        ]
    parts()[0].close()
    parts()[1].close()
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
