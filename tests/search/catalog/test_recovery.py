"""SIGKILL at any moment of indexing loses at most the batch that was being computed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.pictures import identity, jpeg, paint
from helpers.project import ROOT

from search import Engine
from search.vectors.faiss.replica import IndexReplica

BATCH, KILLS, PICTURES = 32, 8, 330

INDEX = """
import hashlib, sys
from search import Engine
from search.embedders.mini import Mini

log, embed = open(sys.argv[3], "ab", buffering=0), Mini.embed_with_labels

def noted(self, pixels):
    embedded = embed(self, pixels)
    for one in pixels:
        log.write(hashlib.sha256(one.tobytes()).hexdigest().encode() + b"\\n")
    return embedded

Mini.embed_with_labels = noted
with Engine.open(sys.argv[1], threads=1, workers=1) as engine:
    for progress in engine.index(sys.argv[2]):
        print(progress.phase, progress.done, flush=True)
"""


def start(home: Path, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """An indexing process that notes each vector it computes, and prints its progress."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", INDEX, str(home), str(folder), str(log)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def lines(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


@pytest.mark.slow
def test_eight_kills_cost_a_batch_each_and_nothing_else(
    library: Callable[..., Engine], home: Path, folder: Path, tmp_path: Path
) -> None:
    for seed in range(PICTURES):
        paint(folder / f"{seed % 7}" / f"{seed}.jpg", seed)
    paint(folder / "copy.jpg", 5)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*.jpg")}
    log, moments = tmp_path / "computed", random.Random(1)
    for _ in range(KILLS):
        computed = lines(log)
        with start(home, folder, log) as process:
            assert process.stdout is not None
            for _ in range(moments.choice([0, 1, 2, 2, 3, 3])):  # scan, then batches of pictures
                process.stdout.readline()
            time.sleep(moments.random() * 0.3)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        again = set(lines(log)[len(computed) :]) & set(computed)
        assert len(again) <= BATCH
    engine = library(lock_seconds=0)  # the lock went with its holder
    assert engine.check().problems == ()
    held = engine.status().embedded
    assert held == engine.status().pictures < PICTURES
    report = engine.sync(folder)
    assert (report.embedded, report.pictures) == (PICTURES - held, PICTURES)
    assert not report.skipped
    check = engine.check(deep=True)
    assert check.problems == () and (check.pictures, check.files) == (PICTURES, PICTURES + 1)
    assert len(lines(log)) + report.embedded <= PICTURES + KILLS * BATCH
    files = {path: name for name, _, path in engine.library.reader.iterate_files()}
    assert files == {str(p): hashlib.sha256(data).hexdigest() for p, (data, _) in before.items()}
    space = engine.library.catalog.find_own_space()
    assert space is not None
    live = IndexReplica(engine.library.reader, space, home / "index")
    assert live.refresh().count == PICTURES and not live.rebuilt
    for seed in (0, PICTURES // 2, PICTURES - 1):
        assert engine.search(image=jpeg(seed), k=1)[0].id == identity(seed)
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*.jpg")}
