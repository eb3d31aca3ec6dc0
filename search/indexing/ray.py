"""Index with a Ray cluster: tasks decode, actors embed, this process commits.

`RayCluster` is an `Executor` and an `Analyzer`, so a sync runs as it does locally. Ray moves the
data, finds free processors and notices dead nodes.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from search.catalog.writes import SeenContent, Space
from search.embedders.base import Embedder
from search.embedders.models import Models
from search.errors import ClusterError, InputError, LookalikeError, ModelError
from search.extras import describe_install
from search.indexing.extract import BATCH, Extracted
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.objects import ObjectStores
from search.media.preprocessing import Preprocessing
from search.media.rules import Limits
from search.types import Pixels, Vectors

T = TypeVar("T")
CHUNK = 8
"""Pictures of a task, and of a call of an actor."""
TRIES = 3
"""How often a picture is sent to a worker that dies, before it is skipped; and how often workers
are started when all have died."""
PAUSE_SECONDS = 1.0
"""Time before a worker that could not be reached is asked again."""
WAIT_SECONDS = 5.0
"""Time between looks at whether a node is alive."""
CONNECT_SECONDS = 5.0
PORT = 6379
log = logging.getLogger(__name__)

Analysis = list[tuple[Vectors, SeenContent]]
FileStamp = tuple[int, int]
"""Size in bytes and mtime_ns."""


@dataclass
class DecodeTask:
    """A picture for a node. stamp: of the file on this machine. content: its bytes, for a node that
    does not have the file."""

    request: DecodeRequest
    stamp: FileStamp | None
    content: bytes | None = None


# on the nodes ----------------------------------------------------------------------------------


@cache
def open_pool(limits: Limits) -> DecoderPool:
    """Return the decoding process of this worker of Ray, with its limits."""
    pool = DecoderPool(1, limits, objects=ObjectStores())
    atexit.register(pool.close)
    return pool


def decode_pictures(
    limits: Limits, preprocessings: Sequence[Preprocessing], tasks: Sequence[DecodeTask]
) -> tuple[str, list[Extracted | None]]:
    """Decode pictures on a node, as locally: a picture that kills the decoder costs itself alone.

    Returns the rule of `DecoderPool`, and each picture, failure, or None for a file that this node
    does not have as it is on the machine that commits.
    """
    pool = open_pool(limits)
    with tempfile.TemporaryDirectory() as folder:
        pending: list[Future[Extracted] | None] = []
        for i, task in enumerate(tasks):
            request = task.request
            if task.content is not None:
                path = Path(folder, f"{i}{Path(request.path or '').suffix}")
                path.write_bytes(task.content)
                request = replace(request, path=str(path))
            elif request.path is not None and read_stamp(request.path) != task.stamp:
                pending.append(None)
                continue
            pending.append(pool.submit(request, preprocessings))
        return pool.rule, [None if future is None else future.result() for future in pending]


def read_stamp(path: str) -> FileStamp | None:
    """Return size and mtime_ns of a file, or None if it cannot be read."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns


class EmbeddingWorker:
    """The models on a node; an actor of Ray."""

    def __init__(self, models: Sequence[tuple[str, str]], device: str, threads: int) -> None:
        """models: names and fingerprints. device: of torch. threads: of the OpenMP pool.

        Raises ModelError if a model has other weights here.
        """
        from search.runtime import Runtime

        runtime, folder = Runtime(threads), Path(tempfile.gettempdir(), "lookalike-ray")
        self._models = Models(None, device, folder, lambda: runtime, log.info)
        self._embedders: dict[str, Embedder] = {}
        for name, fingerprint in models:
            for _ in self._models.fetch_name(name):
                pass
            try:
                embedder = self._models.open_version(name, fingerprint)
            except ModelError:
                other = self._models.open(name).fingerprint
                raise ModelError(
                    f"{name} has the fingerprint {other} on {socket.gethostname()} "
                    f"and {fingerprint} on the machine that indexes; install the same version and "
                    "weights on all nodes"
                ) from None
            self._embedders[fingerprint] = embedder

    def is_ready(self) -> bool:
        """Return True once the models are open."""
        return True

    def embed(self, fingerprint: str, pixels: Sequence[Pixels]) -> Analysis:
        """Return vectors and labels of pictures. fingerprint: of the model."""
        # Ray's arrays are shared and cannot be written, which torch warns of
        copies = [np.array(one) for one in pixels]
        return self._models.analyze(self._embedders[fingerprint], copies)


# on the machine that commits -------------------------------------------------------------------


@dataclass
class _Decoding:
    """A chunk that is being decoded."""

    keys: list[Any]
    tasks: list[DecodeTask]
    steps: tuple[Preprocessing, ...]
    ref: Any = None
    is_repeated: bool = False


@dataclass
class _Embedding:
    """A chunk that is being embedded."""

    fingerprint: str
    pixels: list[Pixels]
    worker: int = -1
    ref: Any = None
    result: Analysis | None = field(default=None, repr=False)
    is_repeated: bool = False


class RayCluster:
    """Decodes and embeds on the nodes of a Ray cluster. Use as a context manager.

    It is an `Executor` and an `Analyzer` for one sync. So many pictures are under way that all
    processors have work, and no more. repeated: pictures that were sent again because a worker or
    a node died.
    """

    def __init__(
        self,
        address: str,
        decoders: DecoderPool,
        models: Models,
        embedders: Sequence[Embedder],
        list_embedded: Callable[[Embedder, Collection[str]], Collection[str]] = lambda *_: (),
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """address: `auto`, `HOST:PORT`, or `local`, which starts Ray here. decoders: their limits
        and rule hold on the nodes as well. embedders: of the spaces that are indexed.
        list_embedded: returns which hashes of normalized images have a vector. report: takes a line
        for the user. Raises ClusterError, and InputError without the extra."""
        if find_spec("ray") is None:
            raise InputError(f"--ray needs Ray; run {describe_install('ray')}")
        self.rule, self.repeated = decoders.rule, 0
        self._limits, self._models, self._embedders = decoders.limits, models, list(embedders)
        self._list_embedded, self._sends_content = list_embedded, False
        self._pending: dict[tuple[str, int], tuple[_Embedding, int]] = {}
        self._workers: dict[int, Any] = {}
        self._loads: dict[int, int] = {}
        self._next_worker, self._is_closed = 0, False
        self._starts_left = TRIES - 1
        import ray

        self._ray, self._is_own = ray, not ray.is_initialized()
        if self._is_own:
            _connect(ray, address)
        try:
            self._start(report)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the actors and the connection, and Ray itself if it was started here."""
        self._is_closed = True
        for worker in self._workers.values():
            with suppress(Exception):
                self._ray.kill(worker)
        self._workers.clear()
        if self.repeated:
            log.warning("%d pictures were done again after a worker of Ray ended", self.repeated)
        if self._is_own:
            self._ray.shutdown()

    def can_answer(self, space: Space) -> bool:
        """See `search.indexing.commit.Analyzer`."""
        return self._models.can_answer(space)

    def load(
        self,
        sources: Iterable[tuple[T, DecodeRequest]],
        preprocessing: Preprocessing | Sequence[Preprocessing] | None,
        prefetch: int = 64,
    ) -> Iterator[tuple[T, Extracted]]:
        """See `search.indexing.extract.Executor`. Embedding begins as soon as a chunk is decoded.

        prefetch: not used; the processors of the cluster decide. Raises ClusterError.
        """
        steps = (preprocessing,) if isinstance(preprocessing, Preprocessing) else preprocessing
        prefetched: deque[tuple[list[T], list[Extracted]]] = deque()
        for keys, pictures in self._decode(sources, tuple(steps or ())):
            self._embed_ahead(pictures, steps)
            prefetched.append((keys, pictures))
            if len(prefetched) > self._embed_window:
                yield from zip(*prefetched.popleft(), strict=True)
        while prefetched:
            yield from zip(*prefetched.popleft(), strict=True)

    def prepare(self, embedder: Embedder, count: int) -> None:
        """Do nothing: each node opens its models when the cluster is joined."""

    def analyze(self, embedder: Embedder, pixels: Sequence[Pixels]) -> Analysis:
        """See `search.indexing.commit.Analyzer`. Raises ClusterError."""
        key = embedder.fingerprint
        entries = [self._pending.pop((key, id(one)), None) for one in pixels]
        late = [one for one, entry in zip(pixels, entries, strict=True) if entry is None]
        chunks = [self._embed(key, late[i : i + CHUNK]) for i in range(0, len(late), CHUNK)]
        rest = iter((chunk, i) for chunk in chunks for i in range(len(chunk.pixels)))
        return [
            self._take_embedded(chunk)[i]
            for chunk, i in (next(rest) if entry is None else entry for entry in entries)
        ]

    def _start(self, report: Callable[[str], None]) -> None:
        """Start the actors, and wait until their models are open."""
        nodes = self._list_nodes()
        cpus = _count(nodes, "CPU")
        if not cpus:
            raise ClusterError("the Ray cluster has no processor; start a node with `ray start`")
        self._decode_window = 2 * cpus
        self._decode_remotely = self._ray.remote(num_cpus=1, max_retries=0)(decode_pictures)
        self._start_workers()
        self._embed_window = 2 * len(self._workers)
        try:
            for worker in self._workers.values():
                self._get(worker.is_ready.remote())
        except self._ray.exceptions.RayError as error:
            raise _describe(error) from error
        gpus = _count(nodes, "GPU")
        report(f"Ray: {len(nodes)} nodes, {cpus} processors, {gpus} graphics processors")

    def _list_nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _start_workers(self) -> None:
        """Start an actor on each graphics processor, or on each node if there is none."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = self._list_nodes()
        models = [(one.name, one.fingerprint) for one in self._embedders]
        gpus = _count(nodes, "GPU")
        for _ in range(gpus):
            self._start_worker(models, "cuda", 1, num_gpus=1, num_cpus=0)
        for node in () if gpus else nodes:
            share = max(1, _count([node], "CPU") // 2)
            affinity = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
            # decoding counts the processors; torch takes what it leaves
            self._start_worker(models, "cpu", share, num_cpus=0, scheduling_strategy=affinity)

    def _start_worker(self, *arguments: Any, **options: Any) -> None:
        actor = self._ray.remote(max_restarts=0, **options)(EmbeddingWorker)
        self._workers[self._next_worker] = actor.remote(*arguments)
        self._loads[self._next_worker] = 0
        self._next_worker += 1

    def _decode(
        self, sources: Iterable[tuple[T, DecodeRequest]], steps: tuple[Preprocessing, ...]
    ) -> Iterator[tuple[list[T], list[Extracted]]]:
        """Yield chunks of keys and pictures, in order."""
        rest, under_way = iter(sources), deque[_Decoding]()
        try:
            while True:
                while len(under_way) < self._decode_window and (part := list(islice(rest, CHUNK))):
                    tasks = [
                        DecodeTask(one, read_stamp(one.path) if one.path else None)
                        for _, one in part
                    ]
                    under_way.append(self._begin(_Decoding([k for k, _ in part], tasks, steps)))
                if not under_way:
                    return
                chunk = under_way.popleft()
                yield chunk.keys, self._take_decoded(chunk)
        finally:
            for chunk in () if self._is_closed else under_way:  # a call would start Ray again
                with suppress(Exception):
                    self._ray.cancel(chunk.ref)

    def _begin(self, chunk: _Decoding) -> _Decoding:
        """Send a chunk; with the bytes, once a node has turned out not to have the files."""
        if self._sends_content:
            chunk.tasks = [_with_content(task) for task in chunk.tasks]
        chunk.ref = self._decode_remotely.remote(self._limits, chunk.steps, chunk.tasks)
        return chunk

    def _take_decoded(self, chunk: _Decoding) -> list[Extracted]:
        """Wait for a chunk; send it again if its worker died, and each picture alone at last."""
        for attempt in range(TRIES):
            try:
                rule, pictures = self._get(chunk.ref)
                break
            except self._ray.exceptions.RayTaskError as error:
                raise _describe(error) from error
            except self._ray.exceptions.RayError as error:
                log.warning("a worker of Ray ended while it decoded: %s", error)
                self._count_repeated(chunk, len(chunk.tasks))
            if len(chunk.tasks) > 1 and attempt == TRIES - 2:
                alone = [
                    _Decoding([key], [task], chunk.steps, is_repeated=True)
                    for key, task in _pairs(chunk)
                ]
                return [self._take_decoded(self._begin(one))[0] for one in alone]
            if attempt < TRIES - 1:
                self._begin(chunk)
        else:
            reason = "the worker of Ray that decoded it ended each time"
            return [
                DecodeFailure(reason, True, slow=True, code="decode_failed") for _ in chunk.tasks
            ]
        if rule != self.rule:
            raise ClusterError(
                "a node of the Ray cluster has other versions of the picture codecs (Pillow, "
                "pillow-heif, rawpy); install the same versions on all nodes"
            )
        return self._send_missing(chunk, pictures)

    def _send_missing(
        self, chunk: _Decoding, pictures: Sequence[Extracted | None]
    ) -> list[Extracted]:
        """Send the bytes of the files that a node does not have."""
        tasks = [task for task, picture in zip(chunk.tasks, pictures, strict=True) if not picture]
        if not tasks:
            return [one for one in pictures if one is not None]
        if not self._sends_content:
            log.info("a node does not have the files at the same path, so they are sent to it")
        self._sends_content = True
        filled = [_with_content(task) for task in tasks]
        readable = [task for task in filled if task.content is not None]
        sent = iter(
            self._take_decoded(self._begin(_Decoding(readable, readable, chunk.steps)))
            if readable
            else ()
        )
        gone = DecodeFailure("the file cannot be read", again=True, code="file_unreadable")
        missing = iter([gone if task.content is None else next(sent) for task in filled])
        return [next(missing) if one is None else one for one in pictures]

    def _embed_ahead(
        self, pictures: Sequence[Extracted], steps: Sequence[Preprocessing] | None
    ) -> None:
        """Begin to embed what the committer will ask for."""
        decoded = [one for one in pictures if isinstance(one, DecodedPicture) and one.pixel_hash]
        for place, embedder in enumerate(self._embedders if decoded else ()):
            if steps is None or len(steps) != len(self._embedders):
                return  # of one space alone; `analyze` embeds these
            hashes = [str(one.pixel_hash) for one in decoded]
            known = set(self._list_embedded(embedder, hashes))
            pixels = [one.prepared[place] for one in decoded if one.pixel_hash not in known]
            if pixels:
                chunk = self._embed(embedder.fingerprint, pixels)
                for i, one in enumerate(pixels):
                    self._pending[embedder.fingerprint, id(one)] = chunk, i
        most = 2 * len(self._embedders) * (BATCH + CHUNK * (self._embed_window + 2))
        for key in list(self._pending)[: max(0, len(self._pending) - most)]:
            del self._pending[key]  # of copies, which the committer does not ask for

    def _embed(self, fingerprint: str, pixels: list[Pixels]) -> _Embedding:
        return self._send_embedding(_Embedding(fingerprint, pixels))

    def _send_embedding(self, chunk: _Embedding) -> _Embedding:
        """Send a chunk to the actor that has the least to do."""
        if not self._workers and self._starts_left:
            log.warning("all workers of Ray have ended; new ones are started")
            self._starts_left -= 1
            self._start_workers()
        if not self._workers:
            raise ClusterError(
                f"all workers of the Ray cluster have ended, {TRIES} times; see `ray status`, then "
                "run the same command again: it goes on where it stopped"
            )
        chunk.worker = min(self._workers, key=self._loads.__getitem__)
        self._loads[chunk.worker] += 1
        worker = self._workers[chunk.worker]
        chunk.ref = worker.embed.remote(chunk.fingerprint, chunk.pixels)
        return chunk

    def _take_embedded(self, chunk: _Embedding) -> Analysis:
        """Wait for a chunk; send it to another actor if its own died."""
        while chunk.result is None:
            try:
                chunk.result = self._get(chunk.ref)
            except self._ray.exceptions.RayTaskError as error:
                raise _describe(error) from error
            except self._ray.exceptions.RayError as error:
                log.warning("a worker of Ray ended while it embedded: %s", error)
                self._count_repeated(chunk, len(chunk.pixels))
                self._loads[chunk.worker] -= 1
                if isinstance(error, self._ray.exceptions.ActorUnavailableError):
                    time.sleep(PAUSE_SECONDS)  # it is back soon, or Ray says that it died
                elif isinstance(error, self._ray.exceptions.RayActorError):
                    self._workers.pop(chunk.worker, None)
                self._send_embedding(chunk)
            else:
                self._loads[chunk.worker] -= 1
                chunk.ref = None
        return chunk.result

    def _count_repeated(self, chunk: _Decoding | _Embedding, count: int) -> None:
        """Count the pictures of a chunk that is sent again, once."""
        self.repeated += 0 if chunk.is_repeated else count
        chunk.is_repeated = True

    def _get(self, ref: Any) -> Any:
        """Return a result of Ray. Raises ClusterError when no node is alive any more."""
        while True:
            try:
                return self._ray.get(ref, timeout=WAIT_SECONDS)
            except self._ray.exceptions.GetTimeoutError:
                if not _count(self._list_nodes(), "CPU"):
                    raise ClusterError(
                        "no node of the Ray cluster is alive any more; start one, then run the "
                        "same command again: it goes on where it stopped"
                    ) from None


def _count(nodes: Iterable[dict[str, Any]], kind: str) -> int:
    """Return how many processors of a kind nodes have. kind: CPU or GPU."""
    return sum(int(node["Resources"].get(kind, 0)) for node in nodes)


def _pairs(chunk: _Decoding) -> Iterator[tuple[Any, DecodeTask]]:
    return zip(chunk.keys, chunk.tasks, strict=True)


def _with_content(task: DecodeTask) -> DecodeTask:
    """Return a task with the bytes of its file; without them if it cannot be read here."""
    if task.content is not None or task.request.path is None:
        return task
    try:
        return replace(task, content=Path(task.request.path).read_bytes())
    except OSError:
        return task


def _connect(ray: Any, address: str) -> None:
    """Connect to a cluster, or start one. Raises ClusterError."""
    local = address == "local"
    if not local and address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise InputError(f"--ray {address}: give auto, local or HOST:PORT, such as HOST:{PORT}")
        try:  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ClusterError(
                f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`"
            ) from error
    options: dict[str, Any] = {"include_dashboard": False} if local else {}
    if local:
        options["_node_ip_address"] = "127.0.0.1"
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except ConnectionError as error:
        raise ClusterError(
            "no Ray cluster runs on this machine; start one with `ray start --head`, or give its "
            "HOST:PORT, or `local`"
        ) from error
    except (Exception, SystemExit) as error:  # Ray ends the process when it cannot connect
        raise ClusterError(
            f"Ray at {address} cannot be used: {error}; see `ray status`, and install the same "
            "versions of Python and Ray on all nodes"
        ) from error
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before


def _describe(error: Exception) -> LookalikeError:
    """Return what went wrong on a node as an error for the user."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, LookalikeError):
        return ClusterError(f"a node of the Ray cluster cannot be used: {cause}")
    last = "".join(str(error).strip().splitlines()[-1:])
    return ClusterError(
        f"a node of the Ray cluster cannot be used: {last}; see `ray status`, and install the same "
        "version of lookalike on all nodes"
    )
