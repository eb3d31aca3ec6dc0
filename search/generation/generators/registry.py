"""The generators of a library. One that is not ours is in memory at a time.

A new kind is a module like `search.generation.generators.pipelines` and a line of `KINDS`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType

from search.embedders.json_cache import JsonCache
from search.embedders.models import Models
from search.errors import GeneratorError
from search.generation.generators.base import Generator
from search.generation.generators.own import OwnGenerator
from search.generation.generators.pipelines import PipelineGenerator
from search.records.variants import OWN_GENERATOR, GeneratorInfo
from search.runtime import Runtime

Open = Callable[["Generators", str], Generator]


class Generators:
    """Opens generators by their names. Threads may share it, but one alone uses a generator."""

    def __init__(
        self,
        names: Sequence[str],
        models: Models,
        runtime: Runtime,
        notes: JsonCache,
        checkpoint: Path | None,
        device: str,
        say: Callable[[str], None],
    ) -> None:
        """names: of the generators in the settings, the default one first. checkpoint: weights of
        our model; None for the shipped ones. say: takes the line before a download."""
        self.names = tuple(dict.fromkeys([*names, OWN_GENERATOR]))
        self.models, self.runtime, self.notes = models, runtime, notes
        self.checkpoint, self.device, self.say = checkpoint, device, say
        self._opening = threading.RLock()
        self._own: OwnGenerator | None = None
        self._other: Generator | None = None

    @property
    def own(self) -> OwnGenerator:
        """The generator that is our model."""
        with self._opening:
            if self._own is None:
                parts = (self.models, self.runtime, self.notes, self.checkpoint, self.device)
                self._own = OwnGenerator(*parts)
            return self._own

    def open(self, name: str | PathLike[str] | None) -> Generator:
        """Return the generator of a name, None for the default one. Nothing is loaded yet.

        name: as `list_info` returns it, a folder, or a name of the hub. Raises GeneratorError.
        """
        full = self._spell(self.names[0] if name is None else fspath(name))
        if not full.strip():
            raise GeneratorError(
                f"no generator is named; give {OWN_GENERATOR}, the folder of a diffusers pipeline, "
                "or a name of the hub"
            )
        return KINDS.get(full, _open_pipeline)(self, full)

    def take(self, name: str) -> Generator:
        """Return the generator of a name for use, and free the other one that is not ours.

        name: as a generator has it.
        """
        with self._opening:
            if name == OWN_GENERATOR:
                return self.own
            if self._other is None or self._other.name != name:
                if self._other is not None:
                    self._other.close()
                self._other = self.open(name)
            return self._other

    def list_names(self) -> list[str]:
        """List the names of the generators of the settings, as `list_info` does."""
        return [shorten(name) for name in self.names]

    def list_info(self) -> list[GeneratorInfo]:
        """List the generators of the settings, the default one first. A path is shown as the name
        of its folder, and may be given so."""
        infos = list[GeneratorInfo]()
        for name in self.names:
            one = self.open(name)
            infos.append(GeneratorInfo(shorten(name), one.license, one.native_size))
        return infos

    def _spell(self, name: str) -> str:
        """Return the full name of a generator of the settings; other names stay."""
        return next((full for full in self.names if name == shorten(full)), name)


def shorten(name: str) -> str:
    """Return the name of a generator without the folders that a path is in.

    Users of a server need not know where its files are.
    """
    parts = name.split("+")
    return "+".join(Path(one).name if Path(one).expanduser().exists() else one for one in parts)


def _open_own(generators: Generators, name: str) -> Generator:
    return generators.own


def _open_pipeline(generators: Generators, name: str) -> Generator:
    parts = (generators.runtime, generators.notes, generators.device, generators.say)
    return PipelineGenerator(name, *parts)


KINDS: Mapping[str, Open] = MappingProxyType({OWN_GENERATOR: _open_own})
"""Name -> what opens the generator. All other names are of pipelines of diffusers."""
