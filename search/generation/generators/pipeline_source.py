"""Where the files of a diffusers pipeline are: in folders of this machine, or on the hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from search.embedders import hub
from search.errors import ModelError
from search.generation.generators.pipeline_files import (
    CONFIG,
    INDEX,
    SMALL_FILES,
    Family,
    choose_files,
    find_family,
    inspect_encoder,
    inspect_pipeline,
    list_components,
    list_files,
    read_json,
)

CARD = "README.md"
PROCESSORS = ("image_processor", "feature_extractor")
"""Folders of the preprocessing of a prior's image encoder; the first one that exists is used."""
HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w.-]+)(?:/(?P<file>[\w./-]+\.safetensors))?")
Announce = Callable[[str], None]
"""Takes a line for the user."""


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline that is complete on this machine.

    folder: of the pipeline. variant: of its weights, `fp16` or None. adapter: file of the
    IP-Adapter. encoder: folder of the image encoder of an adapter or prior; processor: folder of
    its preprocessing.
    """

    family: Family
    folder: Path
    variant: str | None
    adapter: Path | None = None
    encoder: Path | None = None
    processor: Path | None = None

    def list_paths(self) -> list[Path]:
        """List all files that determine what the pipeline makes."""
        folders = [self.folder, *(one for one in (self.encoder, self.processor) if one)]
        suffixes = *SMALL_FILES, ".safetensors"
        paths = {
            folder / name
            for folder in folders
            for name in list_files(folder)
            if Path(name).suffix in suffixes
        }
        return sorted(paths | ({self.adapter} if self.adapter else set()))


class Repository:
    """A folder of this machine, or a repository of the hub."""

    def __init__(self, name: str) -> None:
        """name: a path, or OWNER/NAME of the hub; a path that exists goes first."""
        path = Path(name).expanduser()
        self.name, self._folder = name, path
        self.is_local = path.exists() or not HUB_NAME.fullmatch(name)

    @property
    def label(self) -> str:
        """The name of the repository, or that of the folder alone."""
        return self._folder.name if self.is_local else self.name

    def find(self, file: str) -> Path | None:
        """Return the path of a file on this machine, None if it is not there."""
        if not self.is_local:
            return hub.find_cached(self.name, [file])
        path = self._folder / file
        return path if path.is_file() else None

    def read_license(self) -> str:
        """Return the license that the card names, `unknown` without one. It may ask the hub, for
        seconds at most."""
        card = self.find(CARD)
        if card is not None:
            return _read_license(card)
        try:
            return "unknown" if self.is_local else hub.describe(self.name).license
        except ConnectionError:
            return "unknown"

    def fetch(self, files: Collection[str], announce: Announce) -> Iterator[tuple[int, int]]:
        """Download files that are not on this machine, and the card.

        announce: takes a line with the size and the license, before the download. Yields the bytes
        that are there and the total. Raises ConnectionError.
        """
        about = hub.describe(self.name)
        names = [*files, *({CARD} & set(about.sizes))]
        missing = [file for file in names if self.find(file) is None]
        total, before = sum(about.sizes.get(file, 0) for file in missing), 0
        if set(missing) - {CARD}:
            announce(
                f"downloading {total / 1e6:,.0f} MB of {self.name} from the hub; its license is "
                f"{about.license}"
            )
        for file in missing:
            for done, _ in hub.fetch(self.name, [file]):
                yield before + done, total
            before += about.sizes.get(file, 0)
            yield before, total


class PipelineSource:
    """The pipeline that a name stands for, and its IP-Adapter or prior."""

    def __init__(self, name: str) -> None:
        """name: `BASE` or `BASE+ADDITION`, each a path or a name of the hub. An adapter is a
        .safetensors file, with the folder `image_encoder` beside it."""
        self.name = name
        base, plus, addition = name.rpartition("+")
        if not plus or Path(name).expanduser().exists():
            base, addition = name, ""
        self.base, self._addition = Repository(base), addition

    def locate(self) -> PipelineFiles:
        """Return the files, without asking the hub. Raises ModelError if any is missing, or must
        not be loaded."""
        index = self.base.find(INDEX)
        if index is None:
            raise ModelError(
                f"{self.base.name} is no folder of a diffusers pipeline: it has no {INDEX}; give "
                "one, or a name of the hub"
            )
        folder = index.parent
        family, variant = inspect_pipeline(self.base.name, folder)
        if family.addition is None:
            return PipelineFiles(family, folder, variant)
        repository, adapter_name, encoder_name = self._choose_addition(family)
        config = repository.find(f"{encoder_name}/{CONFIG}")
        if config is None:
            raise ModelError(
                f"{repository.name} has no image encoder {encoder_name}; {self._describe_need()}"
            )
        encoder = config.parent
        inspect_encoder(repository.name, encoder)
        if adapter_name is None:
            places = (encoder.with_name(one) for one in PROCESSORS)
            processor = next((one for one in places if one.is_dir()), None)
            if processor is None:
                raise ModelError(
                    f"{repository.name} has no {PROCESSORS[0]}; {self._describe_need()}"
                )
            return PipelineFiles(family, folder, variant, None, encoder, processor)
        adapter = repository.find(adapter_name)
        if adapter is None:
            raise ModelError(f"{repository.name} has no {adapter_name}; {self._describe_need()}")
        return PipelineFiles(family, folder, variant, adapter, encoder)

    def fetch(self, announce: Announce) -> Iterator[tuple[int, int]]:
        """Download what is missing. See `Repository.fetch`. Raises ModelError."""
        try:
            yield from self._fetch_base(announce)
            index = self.base.find(INDEX)
            family = find_family(self.name, read_json(index)) if index else None
            if family and family.addition:
                yield from self._fetch_addition(family, announce)
        except ConnectionError as error:
            raise ModelError(
                f"the generator {self.name} cannot be downloaded: {error}; try again later, or "
                "give the folder of a pipeline"
            ) from error

    def read_license(self) -> str:
        """Return the licenses of the pipeline and of what it needs beside it."""
        index = self.base.find(INDEX)
        parts = [self.base.read_license()]
        if index is not None:
            family = find_family(self.name, read_json(index))
            if family.addition:
                repository, _, _ = self._choose_addition(family)
                parts.append(f"{repository.label}: {repository.read_license()}")
        return "; ".join(parts)

    def _choose_addition(self, family: Family) -> tuple[Repository, str | None, str]:
        """Return where the addition is, the file of the adapter and the folder of the encoder."""
        name = self._addition or str(family.addition)
        if family.adapter is None:
            return Repository(name), None, family.encoder
        path, match = Path(name).expanduser(), HUB_NAME.fullmatch(name)
        if match is None or path.exists():
            if path.suffix != ".safetensors":
                raise ModelError(
                    f"{name} is not the .safetensors file of an IP-Adapter; {self._describe_need()}"
                )
            return Repository(str(path.parent)), path.name, "image_encoder"
        if match["file"]:
            beside = f"{match['file'].rpartition('/')[0]}/image_encoder".lstrip("/")
            return Repository(match["repo"]), match["file"], beside
        return Repository(name), family.adapter, family.encoder

    def _describe_need(self) -> str:
        return (
            f"add what it needs as {self.base.name}+ADDITION: the .safetensors file of an "
            "IP-Adapter with `image_encoder` beside it, the folder of a prior, or a name of the hub"
        )

    def _fetch_base(self, announce: Announce) -> Iterator[tuple[int, int]]:
        name, index = self.base.name, self.base.find(INDEX)
        if self.base.is_local or (index and _is_complete(name, index.parent)):
            return
        if INDEX not in hub.describe(name).sizes:
            raise ModelError(f"{name} is no diffusers pipeline: it has no {INDEX}; give another")
        yield from hub.fetch(name, [INDEX])
        index = self.base.find(INDEX)
        if index is None:
            raise ConnectionError(f"{INDEX} was not stored")
        document = read_json(index)
        find_family(name, document)
        names = list(hub.describe(name).sizes)
        yield from self.base.fetch(
            choose_files(name, names, list_components(document))[0], announce
        )

    def _fetch_addition(self, family: Family, announce: Announce) -> Iterator[tuple[int, int]]:
        try:
            self.locate()
            return
        except ModelError:
            repository, adapter, encoder = self._choose_addition(family)
            if repository.is_local:
                raise
        names = list(hub.describe(repository.name).sizes)
        folders = [encoder]
        if adapter is None:
            processors = (encoder.replace(encoder.rpartition("/")[2], one) for one in PROCESSORS)
            folders += [one for one in processors if f"{one}/preprocessor_config.json" in names][:1]
        files, _ = choose_files(repository.name, names, folders)
        yield from repository.fetch([*files, *([adapter] if adapter else [])], announce)


def _is_complete(name: str, folder: Path) -> bool:
    try:
        inspect_pipeline(name, folder)
    except ModelError:
        return False
    return True


def _read_license(card: Path) -> str:
    from huggingface_hub import ModelCard

    try:
        fields = dict(ModelCard(card.read_text("utf-8")).data.__dict__)
    except Exception:  # any YAML, or none
        return "unknown"
    return hub.read_license(fields)
