"""The inference thread: order of calls, waiting, and closing."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import search.runtime
from search.errors import LibraryError
from search.runtime import Runtime


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    created = Runtime(1)
    yield created
    created.close()


def test_urgent_work_goes_first_and_the_rest_in_order(runtime: Runtime) -> None:
    gate, done = threading.Event(), list[str]()
    runtime.submit(gate.wait)
    futures = [runtime.submit(lambda n=name: done.append(n)) for name in "ab"]
    futures += [runtime.submit(lambda n=name: done.append(n), urgent=True) for name in "uv"]
    gate.set()
    for future in futures:
        future.result()
    assert "".join(done) == "uvab"


def test_other_work_lets_one_pass_who_will_soon_ask(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search.runtime, "PATIENCE", 3600.0)
    done = list[str]()
    with runtime.expect_urgent(), runtime.expect_urgent():
        other = runtime.submit(lambda: done.append("other"))
        runtime.run(lambda: done.append("urgent"), urgent=True)
        assert not other.done()
    other.result()
    assert done == ["urgent", "other"]


def test_its_patience_has_an_end(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.runtime, "PATIENCE", 0.01)
    with runtime.expect_urgent():
        assert [runtime.run(lambda n=n: n) for n in range(3)] == [0, 1, 2]


def test_pieces_are_smaller_while_people_ask(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.portion(16) == 16
    with runtime.expect_urgent():
        pass
    monkeypatch.setattr(search.runtime, "RECENT", 3600.0)
    assert [runtime.portion(n) for n in (1, 3, 16)] == [1, 1, 4]
    monkeypatch.setattr(search.runtime, "RECENT", -1.0)
    assert runtime.portion(16) == 16


def test_errors_come_back_and_the_thread_goes_on(runtime: Runtime) -> None:
    with pytest.raises(ZeroDivisionError):
        runtime.run(lambda: 1 / 0)
    assert runtime.run(lambda: 5) == 5


def test_what_is_queued_is_finished_and_nothing_comes_after_the_end() -> None:
    runtime, gate = Runtime(1), threading.Event()
    first, second = runtime.submit(gate.wait), runtime.submit(lambda: 7)
    closing = threading.Thread(target=runtime.close)
    closing.start()
    gate.set()
    closing.join()
    assert first.done() and second.result() == 7
    with pytest.raises(LibraryError, match="closed"):
        runtime.submit(lambda: 1)


FAULTS = """
import resource, numpy
from search.process import tune_process
tune_process()
import search.runtime
from search.embedders.mini import Mini
mini = Mini()
pixels = [numpy.zeros(mini.preprocessing.shape, numpy.uint8)] * mini.batch
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    mini.embed(pixels)
before = faults()
for _ in range(5):
    mini.embed(pixels)
print((faults() - before) / 5 * resource.getpagesize() / len(pixels))
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)
def test_memory_of_a_network_is_not_asked_for_anew() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True)
    assert float(done.stdout) < 2e6  # bytes a picture; what passes through its layers is 15 MB


UNTOUCHED = """
import gc, os, sys, threading
state = lambda: (
    dict(os.environ), sys.getswitchinterval(), gc.get_threshold(), threading.active_count()
)
before = state()
import search, search.engine, search.runtime
search.Engine
assert state() == before
"""


def test_importing_the_library_leaves_the_process_as_it_is() -> None:
    subprocess.run([sys.executable, "-c", UNTOUCHED], check=True)


COLLECTIONS = """
import gc
from search.process import tune_process
tune_process()
before = sum(generation["collections"] for generation in gc.get_stats())
import search.runtime
print(sum(generation["collections"] for generation in gc.get_stats()) - before)
"""


def test_imports_of_a_command_are_seldom_interrupted_by_the_garbage_collector() -> None:
    command = [sys.executable, "-c", COLLECTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50  # several hundred with Python's own threshold
