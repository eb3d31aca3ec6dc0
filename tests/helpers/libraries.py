"""Libraries that share the parts that take long to start."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from search import Engine
from search.embedders.mini import Mini
from search.media.decoder_pool import DecoderPool
from search.runtime import Runtime


class Counted(Mini):
    """`mini` that notes how many vectors it computed."""

    computed = 0

    def embed(self, pixels: Any) -> Any:
        self.computed += len(pixels)
        return super().embed(pixels)

    def embed_with_labels(self, pixels: Any) -> Any:
        self.computed += len(pixels)
        return super().embed_with_labels(pixels)


@cache
def parts() -> tuple[DecoderPool, Runtime, Counted]:
    """Return the parts that start slowly, shared by all tests."""
    return DecoderPool(2), Runtime(1), Counted()


def open_library(home: Path, **settings: Any) -> Engine:
    """An engine with the shared parts; close it with `close_library`."""
    engine = Engine.open(home, **settings)
    engine.library.decoders, engine.library.runtime, engine.library.models.opened["mini"] = parts()
    return engine


def find_id(engine: Engine, name: str) -> str:
    """The id of the first picture with a file of this name, without its ending."""
    return engine.browse(f"name={name}").pictures[0].id


def close_library(engine: Engine) -> None:
    engine.library.indexes.close()
    engine.library.features.close()
    engine.library.database.close()
