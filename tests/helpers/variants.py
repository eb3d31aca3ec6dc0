"""Requests for variants, small checkpoints, and generation that waits for the test."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from diffusion import Config, Denoiser, Shape
from diffusion.model import checkpoint
from helpers.project import SAMPLES
from helpers.serving import files, until
from search import Engine, VariantProgress
from search.embedders.mini import Mini

HAT = SAMPLES / "hat" / "03.jpg"
ID = hashlib.sha256(HAT.read_bytes()).hexdigest()
QUICK = {"n": 2, "size": 64, "steps": 2, "seed": 5}
SMALL = Config("small", Shape((16, 32), 1, (False, True), head=16), size=16)


def save(path: Path, encoder: dict[str, str] | None = None) -> Path:
    """A small checkpoint of random weights, conditioned on mini's vectors unless told otherwise."""
    mini = Mini()
    config = SMALL.with_condition("vector", mini.dim)
    torch.manual_seed(0)
    model = Denoiser(config)
    for weight in model.net.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    about = {"encoder": encoder or {"name": "mini", "fingerprint": mini.fingerprint}}
    checkpoint.save(path, config, model.net.state_dict(), about)
    return path


def ask(client: httpx.Client, data: bytes | None = None, **options: Any) -> httpx.Response:
    """Ask for variants of the hat, or of other bytes."""
    text = {"options": json.dumps({**QUICK, **options})}
    picture = HAT.read_bytes() if data is None else data
    return client.post("/api/v1/variants", files=files(picture), data=text)


class Paced:
    """The engine's own `vary`, whose steps each wait for a release."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.at_once, self.most, self.closed = threading.Semaphore(0), 0, 0, 0
        self.reached = 0  # steps that were taken in
        self._real = engine.vary
        monkeypatch.setattr(engine, "vary", self.vary)

    def vary(self, image: Any, **options: Any) -> Iterator[VariantProgress]:
        return self._steps(self._real(image, **options))

    def step(self) -> None:
        """Release one step, and wait for the next one."""
        before = self.reached
        self.go.release()
        until(lambda: self.reached > before, 60)

    def release_all(self) -> None:
        """Release all steps, and wait for their end."""
        self.go.release(10_000)
        until(lambda: self.at_once == 0, 60)

    def _steps(self, steps: Iterator[VariantProgress]) -> Iterator[VariantProgress]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            for step in steps:
                yield step
                self.reached += 1
                self.go.acquire()
        finally:
            self.at_once -= 1
            self.closed += 1
            steps.close()  # type: ignore[attr-defined]
