"""How much indexing a folder slows the answers of a server, and how many answers it gives.

scripts/bench server [--folder DIR] [--photos 4000] [--seconds 30] [--rate 2] [--clients 8]
                     [--seed 0]

A server on this machine has the sample pictures. Queries are uploaded `rate` times a second,
whether or not the last answer has come. First the server does nothing else. Then it indexes a
folder over HTTP: photographs of 400 px as `bench index` makes them, or copies of those in --folder.
In between it indexes without queries for a while.

Then `clients` threads, each with a connection that it keeps, ask as fast as they get answers: by
ids, and by uploads, without indexing and beside it. Indexing then has to go on: see indexed/s.
Targets on 2 cores: 400 searches a second by id, 60 by upload, p99 at most 3 times p50.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from bench_index import SAMPLES, make


@contextmanager
def serving(home: Path, allow: Path) -> Iterator[str]:
    """Run a server in a process of its own. Yields its address."""
    command = [
        sys.executable,
        "-m",
        "search",
        "--home",
        str(home),
        "serve",
        "--port",
        "0",
        "--no-token",
    ]
    process = subprocess.Popen(
        [*command, "--allow", str(allow)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        match = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
        if match is None:
            raise SystemExit("the server did not start")
        yield match[0]
    finally:
        process.terminate()
        process.wait(30)


class Asker:
    """Queries at a steady rate."""

    def __init__(self, address: str, rate: float) -> None:
        self.rate = rate
        self._api = httpx.Client(base_url=f"{address}/api/v1", timeout=30, trust_env=False)
        self.pictures = [path.read_bytes() for path in sorted(SAMPLES.glob("*/*.jpg"))]
        self.milliseconds: list[float] = []
        self.errors: list[str] = []

    def ask(self, i: int) -> None:
        data = self.pictures[i % len(self.pictures)]
        start_time = time.perf_counter()
        try:
            answer = self._api.post("/search", files={"image": ("a.jpg", data, "image/jpeg")})
            answer.raise_for_status()
            self.milliseconds.append(1000 * (time.perf_counter() - start_time))
        except httpx.HTTPError as error:
            self.errors.append(repr(error))

    def run(self, seconds: float) -> str:
        """Query for so many seconds. Returns p50, p95, number and errors as a row.

        Sets `self.last` to p95.
        """
        self.milliseconds, self.errors, threads = [], [], []
        start_time = time.perf_counter()
        for i in range(int(seconds * self.rate)):
            time.sleep(max(0.0, start_time + i / self.rate - time.perf_counter()))
            threads.append(threading.Thread(target=self.ask, args=(i,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        for error in self.errors[:3]:
            print(error)
        middle, self.last = np.percentile(self.milliseconds or [np.nan], (50, 95))
        return f"{middle:9.0f} {self.last:9.0f} {len(self.milliseconds):6} {len(self.errors):7}"


def saturate(address: str, clients: int, seconds: float, bodies: list[tuple[str, bytes]]) -> str:
    """Ask as fast as answers come, over one kept connection a client; return a row of the table.

    bodies: content types and bodies of searches, which take turns.
    """
    milliseconds, errors, end = list[float](), list[str](), time.perf_counter() + seconds
    port = urlsplit(address).port

    def ask(client: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for i in itertools.count(client):
            if time.perf_counter() > end:
                return
            kind, body = bodies[i % len(bodies)]
            start = time.perf_counter()
            connection.request("POST", "/api/v1/search", body, {"Content-Type": kind})
            answer = connection.getresponse()
            answer.read()
            milliseconds.append(1000 * (time.perf_counter() - start))
            if answer.status != 200:
                errors.append(str(answer.status))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    middle, late = np.percentile(milliseconds, (50, 99))
    return (
        f"{len(milliseconds) / seconds:9.1f} {middle:9.1f} {late:9.1f} {late / middle:8.1f} "
        f"{len(errors):7}"
    )


def list_bodies(address: str, pictures: list[bytes]) -> dict[str, list[tuple[str, bytes]]]:
    """Return searches by the ids of the library's pictures, and by uploads."""
    page = httpx.get(f"{address}/api/v1/images", params={"size": 100}, trust_env=False).json()
    ids = [one["id"] for one in page["images"]]
    terms = [{"terms": [{"image": f"id:{one}"}], "k": 10} for one in ids]
    mark = "mark-of-the-bench"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return {
        "by id": [("application/json", json.dumps(term).encode()) for term in terms],
        "by upload": [
            (
                f"multipart/form-data; boundary={mark}",
                head.encode() + data + f"\r\n--{mark}--\r\n".encode(),
            )
            for data in pictures
        ],
    }


class Job:
    """Indexing of a folder over HTTP."""

    def __init__(self, address: str, folder: Path) -> None:
        self._api = httpx.Client(base_url=f"{address}/api/v1", timeout=60, trust_env=False)
        answer = self._api.post("/index", json={"path": str(folder)})
        answer.raise_for_status()
        self._job = f"/jobs/{answer.json()['job']}"

    def count_done(self) -> int:
        """Return how many pictures the job has indexed. Raises SystemExit if the job is over."""
        row = self._api.get(self._job).json()
        if row["state"] not in ("queued", "running"):
            raise SystemExit(f"the job ended early: {row}; give more --photos")
        return int((row["progress"] or {}).get("done", 0))

    def rate(self, seconds: float) -> float:
        """Return the pictures a second over the next `seconds`."""
        start_time, before = time.perf_counter(), self.count_done()
        time.sleep(seconds)
        return (self.count_done() - before) / (time.perf_counter() - start_time)

    def cancel(self) -> None:
        self._api.delete(self._job)
        while self._api.get(self._job).json()["state"] == "running":
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        if args.folder:
            shutil.copytree(args.folder, folder)
        else:
            folder.mkdir()
            make(folder, args.photos, None, args.seed)
        home = Path(place) / "home"
        command = [sys.executable, "-m", "search", "--home", str(home), "index", str(SAMPLES)]
        subprocess.run(command, check=True, capture_output=True)
        with serving(home, folder) as address:
            asker = Asker(address, args.rate)
            asker.run(4)  # warms up
            print(f"{os.cpu_count()} cores, {args.rate:g} queries/s, seed {args.seed}")
            print(f"{'':22}{'p50 ms':>9} {'p95 ms':>9} {'n':>6} {'errors':>7} {'indexed/s':>10}")
            print(f"{'idle':22}{asker.run(args.seconds)}", flush=True)
            idle = asker.last
            job = Job(address, folder)
            while not job.count_done():  # until the listing ends
                time.sleep(0.2)
            rate_alone = job.rate(args.seconds / 3)
            print(f"{'indexing, no queries':22}{'':34} {rate_alone:10.1f}", flush=True)
            start_time, before = time.perf_counter(), job.count_done()
            row = asker.run(args.seconds)
            rate = (job.count_done() - before) / (time.perf_counter() - start_time)
            print(f"{'indexing':22}{row} {rate:10.1f}")
            bodies = list_bodies(address, asker.pictures)
            title = f"{args.clients} clients"
            print(f"\n{title:32}{'/s':>9} {'p50 ms':>9} {'p99 ms':>9} {'p99/p50':>8} {'errors':>7}")
            rows = []
            for name, some in bodies.items():
                before, start_time = job.count_done(), time.perf_counter()
                row = saturate(address, args.clients, args.seconds / 3, some)
                rate = (job.count_done() - before) / (time.perf_counter() - start_time)
                rows.append(f"{f'{name}, indexing':32}{row}   indexed/s {rate:.1f}")
            job.cancel()
            asker.run(4)  # until the batch that was begun is in the index
            for name, some in bodies.items():
                print(f"{name:32}{saturate(address, args.clients, args.seconds / 3, some)}")
            print(*rows, sep="\n")
            print(f"p95: {asker.last - idle:+.0f} ms (target <= +100)")


if __name__ == "__main__":
    main()
