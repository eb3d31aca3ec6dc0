"""Settings of the whole process that make inference, and its end, faster.

The command line makes them at its start. Importing the library makes none: a program that embeds it
may call `tune_process` first.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys

SWITCH_INTERVAL = 0.0005  # seconds
GC_OBJECTS = 200_000  # new objects until the garbage collector looks at them
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, as malloc.h has them."""
LARGE_BLOCK = 64 << 20
"""Bytes from which a block has pages of its own, which go back to the system when it is freed."""


def limit_blas() -> None:
    """Let numpy compute with one thread, unless the environment has another number. Call it before
    numpy is imported.

    For a command that embeds one picture: the idle threads of a pool wait in a loop, which took
    more time than the picture.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def keep_freed_memory(most: int) -> None:
    """Let glibc keep memory that is freed, at most so many bytes: clearing new pages takes time.
    Another C library keeps its ways."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, most)


def tune_process() -> None:
    """Tune the process for inference. Call it before torch is imported.

    Idle OpenMP threads sleep, so that decoding gets the cores while nothing is embedded
    (`OMP_WAIT_POLICY`, unless it is set). glibc keeps the memory that a network frees: clearing new
    pages took a quarter of the time of an embedding. The interpreter changes threads after 0.5 ms
    instead of 5: a network is hundreds of calls that each need the interpreter back, and one busy
    thread beside it made it seven times slower. The garbage collector runs less often: importing
    torch makes a million objects that stay, and looking at them took a tenth of a search. At the
    exit it does not look at them either: the system takes the memory back at once.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory(512 << 20)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # the first that is registered runs last
