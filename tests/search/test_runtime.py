"""The inference thread: order of calls, waiting, and closing."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import search.runtime
from search.errors import DeviceMemoryError, LibraryError
from search.runtime import SHARE, Runtime


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


def test_it_tells_whether_other_work_goes_on(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.run(lambda: None, urgent=True)
    assert not runtime.has_other_work
    assert runtime.run(lambda: runtime.has_other_work)
    assert runtime.has_other_work  # the next piece is often submitted soon
    now = search.runtime.time.monotonic()
    monkeypatch.setattr(search.runtime.time, "monotonic", lambda: now + 2)
    assert not runtime.has_other_work


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


class Clock:
    """Seconds that only work takes. `done` has the kinds of the pieces, each 20 ms long."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def work(self, kind: str) -> None:
        self.now += 0.02
        self.done.append(kind)


def run_all(runtime: Runtime, clock: Clock, urgent: int, others: int) -> str:
    """Let pieces of both kinds wait for the runtime; return the kinds in the order of the work."""
    gate, begun = threading.Event(), threading.Event()
    runtime.submit(lambda: (begun.set(), gate.wait()))
    begun.wait()
    futures = [runtime.submit(lambda: clock.work("o")) for _ in range(others)]
    futures += [runtime.submit(lambda: clock.work("u"), urgent=True) for _ in range(urgent)]
    gate.set()
    for future in futures:
        future.result()
    return "".join(clock.done)


@pytest.fixture
def clocked() -> Iterator[tuple[Runtime, Clock]]:
    clock = Clock()
    runtime = Runtime(1, clock)
    yield runtime, clock
    runtime.close()


def test_urgent_work_that_never_ends_leaves_other_work_its_share(
    clocked: tuple[Runtime, Clock],
) -> None:
    order = run_all(*clocked, urgent=60, others=30)
    contested = order[:60]  # then no urgent piece waits any more, or few
    assert contested.count("o") == pytest.approx((60 - 15) * SHARE, abs=3)  # 15: the credit
    assert "oo" not in contested  # and urgent work gets its own


def test_urgent_work_is_not_held_up_by_a_share_that_nobody_takes(
    clocked: tuple[Runtime, Clock],
) -> None:
    runtime, clock = clocked
    run_all(runtime, clock, urgent=50, others=0)
    clock.done.clear()
    assert run_all(runtime, clock, urgent=1, others=5)[0] == "u"


def test_a_long_piece_gets_its_share_although_queries_go_between_its_parts(
    clocked: tuple[Runtime, Clock],
) -> None:
    runtime, clock = clocked
    gate, begun = threading.Event(), threading.Event()

    def long_piece() -> None:
        begun.set()
        gate.wait()
        for _ in range(20):
            clock.work("o")
            runtime.breathe()

    last = runtime.submit(long_piece)
    begun.wait()
    queries = [runtime.submit(lambda: clock.work("u"), urgent=True) for _ in range(200)]
    gate.set()
    last.result()
    done = "".join(clock.done)
    end = done.rindex("o")  # not all queries went before its last part
    assert done.count("o") == 20 and 60 <= done[:end].count("u") <= 100
    for query in queries:
        query.result()


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


LIGHT = """
import sys
import search.runtime
assert not {"torch", "faiss"} & set(sys.modules)
runtime = search.runtime.Runtime(1)
def threads():
    from search.runtime import faiss
    assert "torch" not in sys.modules
    from search.runtime import torch
    return torch.get_num_threads()
assert runtime.run(threads) == 1
runtime.close()
"""


def test_torch_is_imported_when_it_is_needed_with_the_threads_of_the_settings() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


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
from search.runtime import torch
print(sum(generation["collections"] for generation in gc.get_stats()) - before)
"""


def test_imports_of_a_command_are_seldom_interrupted_by_the_garbage_collector() -> None:
    command = [sys.executable, "-c", COLLECTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50  # several hundred with Python's own threshold


CYCLE = """
import os
class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        os.write(1, b"collected")
Cycle()
"""


def test_a_command_ends_without_a_last_garbage_collection() -> None:
    """It took a fifth of the time of `status`."""
    tuned = f"from search.process import tune_process\ntune_process()\n{CYCLE}"
    for code, output in ((CYCLE, b"collected"), (tuned, b"")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stdout == output


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "MPS backend out of memory (MPS allocated: 9.07 GB)",
        "[enforce fail at alloc_cpu.cpp:83] err == 0. DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_too_little_memory_is_explained(runtime: Runtime, message: str) -> None:
    def embed(message: str) -> None:
        raise RuntimeError(message)

    for urgent in (True, False):
        with pytest.raises(DeviceMemoryError, match="--device cpu") as failure:
            runtime.run(lambda: embed(message), urgent)
        assert str(failure.value.__cause__) == message
    with pytest.raises(RuntimeError, match="wrong shape"):
        runtime.run(lambda: embed("wrong shape"))
