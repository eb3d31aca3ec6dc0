"""Many clients while a folder is indexed: times, errors, and memory.

scripts/bench load [--queries 10000] [--clients 8] [--photos 4000] [--seed 0]

A server on this machine has the sample pictures. Each client sends its next query once the last one
is answered; half of the queries are uploads, half are ids. Meanwhile the server indexes a folder of
photographs of 400 px, again and again. Then a burst of more clients than the server has places
shows what a busy server answers. Memory is the resident set of the server and its processes.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from bench_index import SAMPLES, make
from bench_server import serving

BURST = 64  # clients; a server has places for 40 searches


class Load:
    """Queries of a bounded number of clients, and what they were answered."""

    def __init__(self, address: str, seed: int) -> None:
        self._api, self._seed = f"{address}/api/v1", seed
        self._pictures = [path.read_bytes() for path in sorted(SAMPLES.glob("*/*.jpg"))]
        with self._open_client() as client:
            images = client.get("/images").raise_for_status().json()["images"]
        self._ids = [one["id"] for one in images]
        self._reset()

    def _open_client(self) -> httpx.Client:
        return httpx.Client(base_url=self._api, timeout=120, trust_env=False)

    def _reset(self) -> None:
        self.milliseconds: list[float] = []
        self.answers = Counter[str]()
        self.without_retry = 0

    def run(self, clients: int, queries: int) -> str:
        """Send queries. Returns a row: number, rate, p50, p95, p99, and answers by status."""
        self._reset()
        shares = [queries // clients + (i < queries % clients) for i in range(clients)]
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            for one in [pool.submit(self._work, i, share) for i, share in enumerate(shares)]:
                one.result()
        rate = queries / (time.perf_counter() - start)
        times = np.percentile(self.milliseconds or [np.nan], (50, 95, 99))
        figures = " ".join(f"{value:8.0f}" for value in times)
        answers = ", ".join(f"{name}: {n}" for name, n in sorted(self.answers.items()))
        return f"{queries:7} {rate:8.1f} {figures}   {answers}"

    def _work(self, number: int, queries: int) -> None:
        """Send queries one after another, as one client."""
        rng = random.Random(f"{self._seed} {number}")
        with self._open_client() as client:
            for _ in range(queries):
                start = time.perf_counter()
                try:
                    answer = self._search(client, rng)
                except httpx.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                    continue
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    self.milliseconds.append(1000 * (time.perf_counter() - start))
                elif answer.status_code == 503 and not answer.headers.get("Retry-After"):
                    self.without_retry += 1

    def _search(self, client: httpx.Client, rng: random.Random) -> httpx.Response:
        if rng.random() < 0.5:
            picture = ("a.jpg", rng.choice(self._pictures), "image/jpeg")
            return client.post("/search", files={"image": picture})
        return client.post("/search", json={"terms": [{"image": f"id:{rng.choice(self._ids)}"}]})


@contextmanager
def indexing(address: str, folder: Path) -> Iterator[list[int]]:
    """Index a folder over HTTP until the block ends, with new files whenever it is done.

    Yields a list that gets the number of pictures of each run.
    """
    ended, counts = threading.Event(), list[int]()

    def work() -> None:
        with httpx.Client(base_url=f"{address}/api/v1", timeout=120, trust_env=False) as client:
            while not ended.is_set():
                name = client.post("/index", json={"path": str(folder)}).json()["job"]
                while (job := client.get(f"/jobs/{name}").json())["state"] in ("queued", "running"):
                    if ended.wait(0.2):
                        client.delete(f"/jobs/{name}")
                counts.append(int((job["progress"] or {}).get("done", 0)))
                for path in sorted(folder.iterdir()):  # the same pictures as new files
                    path.write_bytes(path.read_bytes() + b"x")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield counts
    finally:
        ended.set()
        thread.join()


def read_memory(folder: Path) -> float:
    """Return the MiB of this process's descendants that serve the library in a folder."""
    parents, sizes, servers = dict[int, int](), dict[int, float](), set[int]()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            lines = (path / "status").read_text().splitlines()
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        number = int(path.name)
        parents[number] = int(fields["PPid"])
        sizes[number] = int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
        if str(folder).encode() in words and b"serve" in words:
            servers.add(number)

    def serves(number: int) -> bool:
        return number in servers or (number in parents and serves(parents[number]))

    return sum(size for number, size in sizes.items() if serves(number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place) / "pictures", Path(place) / "home"
        folder.mkdir()
        make(folder, args.photos, None, args.seed)
        command = [sys.executable, "-m", "search", "--home", str(home), "index", str(SAMPLES)]
        subprocess.run(command, check=True, capture_output=True)
        with serving(home, folder) as address:
            load = Load(address, args.seed)
            load.run(args.clients, 20 * args.clients)  # warms up
            print(f"{args.clients} clients, seed {args.seed}")
            print(f"{'':18}{'n':>7} {'n/s':>8} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8}   answers")
            begin = read_memory(home)
            with indexing(address, folder) as counts:
                print(f"{'while it indexes':18}{load.run(args.clients, args.queries)}", flush=True)
            wrong = args.queries - load.answers["200"]
            print(f"{'burst of ' + str(BURST):18}{load.run(BURST, 4 * BURST)}", flush=True)
            print(
                f"503 without Retry-After: {load.without_retry}; indexed meanwhile: {sum(counts)}"
            )
            print(f"memory: {begin:.0f} MiB at the start, {read_memory(home):.0f} MiB at the end")
            held = not wrong and not load.without_retry and set(load.answers) <= {"200", "503"}
    sys.exit(not held)


if __name__ == "__main__":
    main()
