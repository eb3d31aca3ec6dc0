"""What was measured of the backends of this machine. Imports nothing heavy, for `status`."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from search.embedders.json_cache import JsonCache

EXPORTED = ("onnxruntime", "openvino")
"""Backends that run a network from a file, which torch exports."""


class Measurements:
    """Cached records by model, machine, versions and setting.

    A record has `rates`, pictures a second by backend that can be used, and `failures`, why others
    cannot.
    """

    def __init__(self, setting: str, cache: JsonCache, threads: int) -> None:
        """setting: `auto` or the name of a backend. threads: that a network computes with."""
        self.setting, self._cache, self._threads = setting, cache, threads

    def read(self, fingerprint: str) -> dict[str, Any] | None:
        """Return the record of a model, or None."""
        record: dict[str, Any] | None = self._cache.get(self._key(fingerprint))
        return record

    def write(self, fingerprint: str, record: dict[str, Any]) -> None:
        """Note the record of a model."""
        self._cache.put(self._key(fingerprint), record)

    def delete(self, fingerprint: str) -> None:
        """Forget the record of a model."""
        self._cache.delete(self._key(fingerprint))

    def describe(self, fingerprint: str, device: str = "cpu") -> str:
        """Return the backend that runs many pictures of a model on a device; open nothing."""
        if self.setting == "torch-bf16" or not is_cpu(device):
            return self.setting if self.setting == "torch-bf16" else "torch"
        record = None if self.setting == "torch" else self.read(fingerprint)
        return (record and choose_quickest(record["rates"])) or "torch"

    def _key(self, fingerprint: str) -> str:
        versions = [_find_version(name) for name in ("torch", *EXPORTED)]
        return f"backend {self.setting} {fingerprint} {_name_machine()} {self._threads} {versions}"


def is_cpu(device: str) -> bool:
    """Whether a device of torch is the processor: `cpu`, or `cpu:0`."""
    return device.partition(":")[0] == "cpu"


def is_bf16_quick(device: str = "cpu") -> bool:
    """Whether a device computes in bfloat16 quicker than in float32."""
    return not is_cpu(device) or has_bf16_instructions()


@cache
def has_bf16_instructions() -> bool:
    """Whether the processor has instructions for products of bfloat16 numbers. False where that
    cannot be read: it is known on Linux alone."""
    try:
        with open("/proc/cpuinfo") as lines:
            flags = next((one for one in lines if one.startswith("flags")), "")
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())


def choose_quickest(rates: dict[str, float]) -> str | None:
    """Return the backend with the highest rate."""
    return max(rates, key=lambda name: rates[name], default=None)


@cache
def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _name_machine() -> str:
    """Return the processor and the number of its cores."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next((one.strip() for one in lines if one.startswith("model name")), name)
    except OSError:
        name = platform.processor() or name
    return f"{name} {os.cpu_count()}"
