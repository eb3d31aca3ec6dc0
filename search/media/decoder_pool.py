"""Ordered, bounded decoding in worker processes: each source becomes a picture or a failure."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import PIL
import pillow_heif
from PIL import Image

from search.errors import (
    AddressError,
    CropError,
    InputError,
    LibraryError,
    PictureError,
    RemoteError,
    RemoteMissingError,
    SizeError,
)
from search.media import films, raw
from search.media.decoder_process import COMMAND, DecoderProcess, KilledError
from search.media.descriptions import MOST_BYTES
from search.media.images import FORMATS
from search.media.object_urls import is_remote, is_site_url
from search.media.objects import ObjectStores, object_state
from search.media.preprocessing import Preprocessing
from search.media.rules import DECODE_RULE, Crop, FilmSpan, FrameAt, Limits
from search.media.text import parse_lines
from search.media.urls import remove_address
from search.records.annotations import Description
from search.records.pictures import Metadata
from search.records.texts import TextLine
from search.types import Pixels

Features = Literal["compact", "dense", "query"]
T = TypeVar("T")
Result = TypeVar("Result")
QUERY_SECONDS = 10.0
FAILED = "decode_failed"
HASH_RATE = 10e6
"""Bytes of a film a second that a disk reads at least."""
TICK = 0.1  # seconds between looks at the deadlines
ROW = 3  # urgent pictures in a row, while others wait
ERRORS: dict[str, type[PictureError]] = {"CropError": CropError, "SizeError": SizeError}


def in_order(
    begun: Iterable[tuple[T, Future[Result]]], prefetch: int
) -> Generator[tuple[T, Result], None, None]:
    """Yield the results of futures in their order.

    prefetch: futures that are started before their results are taken. When the caller stops, the
    others are cancelled.
    """
    waiting: deque[tuple[T, Future[Result]]] = deque()
    try:
        for one in begun:
            waiting.append(one)
            if len(waiting) >= prefetch:
                key, future = waiting.popleft()
                yield key, future.result()
        while waiting:
            key, future = waiting.popleft()
            yield key, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


@dataclass(frozen=True)
class DecodeRequest:
    """Where a picture is, and what to return of it.

    path: a file, the URL of an object, or data: its bytes. version: number that the object must
    still have (`object_state`), None for any. known: ids of pictures that are hashed and not
    decoded. crop: cut before scaling. metadata: return the pixel hash, metadata and thumbnail.
    image: return the normalized image. preview: return a preview and nothing else. text: return
    what is written in it and nothing else (see `search.media.text`). describe: return what the
    file says of the picture and nothing else. sidecar: the same, of an XMP file. features: return
    local features of this kind (see `search.media.local_features`). query: someone waits for the
    answer to a search; there is a process for these alone, and they have a deadline of their own.
    film: read a film, and nothing else: True for what its container says, or a part of it. frame:
    the picture is a frame of the film or animation at the path. content: return a frame as a PNG
    and nothing else. frames: also return the frames of an animation, in `film`. subtitles: return
    the texts of a file of subtitles and nothing else; its ending.
    """

    path: str | None = None
    data: bytes | None = None
    known: Collection[str] = ()
    crop: Crop | None = None
    metadata: bool = True
    preview: bool = False
    image: bool = False
    query: bool = False
    text: bool = False
    describe: bool = False
    sidecar: bool = False
    features: Features | None = None
    version: int | None = None
    film: FilmSpan | bool = False
    frame: FrameAt | None = None
    content: bool = False
    frames: bool = False
    subtitles: str | None = None


@dataclass(frozen=True)
class FilmContent:
    """What was read of a film. duration: in seconds, None if it does not tell. words: texts by
    their time in seconds. frames: pictures of a part, each with its time. has_ended: the film ends
    in this part. resume: the part was read to this time in seconds; None if it was read to its end.
    is_thinned: frames were left out, since decoding them takes too long."""

    duration: float | None = None
    words: tuple[tuple[float, str], ...] = ()
    frames: tuple[DecodedPicture, ...] = ()
    has_ended: bool = False
    resume: float | None = None
    is_thinned: bool = False


@dataclass(frozen=True)
class DecodedPicture:
    """A decoded picture.

    Only `id` and `probe` are set if it was among the known ones. size: width and height of the
    upright original in pixels. pixel_hash (hash of the normalized pixels), metadata, thumbnail
    (WebP): set if the request asks for metadata. prepared: the picture under each preprocessing.
    preview: JPEG. image: the normalized image, if the request asks for it. text: its lines, if the
    request asks for them. probe: see `search.media.probe`. description: what the file says of the
    picture, set with the metadata. features: packed local features, if the request asks for them.
    time: of a frame, seconds from the start. grid: grey levels of a frame (see
    `search.media.films`). content: a frame as a PNG. film: what was read of a film, whose id is
    that of its bytes. words: the texts of a file of subtitles, by their time in seconds.
    """

    id: str
    size: tuple[int, int] | None = None
    pixel_hash: str | None = None
    metadata: Metadata | None = None
    thumbnail: bytes | None = None
    prepared: tuple[Pixels, ...] = ()
    preview: bytes | None = None
    image: Image.Image | None = None
    text: tuple[TextLine, ...] | None = None
    probe: bytes | None = field(default=None, compare=False)
    description: Description | None = None
    features: bytes | None = None
    time: float | None = None
    grid: bytes | None = field(default=None, compare=False)
    content: bytes | None = None
    film: FilmContent | None = None
    words: tuple[tuple[float, str], ...] = ()

    @property
    def pixels(self) -> Pixels | None:
        """The picture under the first preprocessing, if there is one."""
        return self.prepared[0] if self.prepared else None


@dataclass(frozen=True)
class DecodeFailure:
    """A picture that could not be loaded. again: worth another try with the same bytes; error:
    what to raise for it; slow: a try costs much time or memory; gone: there is no such object;
    code: of `records.SKIP_CODES`; by default that of the error."""

    reason: str
    again: bool
    error: type[PictureError] = PictureError
    slow: bool = field(default=False, compare=False)
    gone: bool = field(default=False, compare=False)
    code: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.code:
            object.__setattr__(self, "code", self.error.code)


class _Turn(NamedTuple):
    """A picture that waits for a process."""

    source: DecodeRequest
    preprocessings: tuple[Preprocessing, ...]
    future: Future[DecodedPicture | DecodeFailure]


class DecoderPool:
    """A pool of decoding processes. Use as a context manager, from any thread."""

    def __init__(
        self,
        workers: int,
        limits: Limits | None = None,
        command: tuple[str, ...] = COMMAND,
        query_seconds: float = QUERY_SECONDS,
        objects: ObjectStores | None = None,
    ) -> None:
        """workers: processes, at least 1, beside the one that is reserved for queries; command:
        what starts one (tests give bad ones); query_seconds: to decode a picture of a query;
        objects: read the objects of requests, so that no decoding process needs the network."""
        self._objects = objects
        self.limits = limits or Limits()
        self.workers = workers
        self._query_seconds = min(query_seconds, self.limits.seconds)
        versions = PIL.__version__, pillow_heif.__version__
        codecs = (*versions, DECODE_RULE, FORMATS, raw.IS_INSTALLED, films.IS_INSTALLED)
        text = repr((self.limits, codecs)).encode()
        self.rule = hashlib.sha256(text).hexdigest()[:16]
        """Changes when a picture that failed may succeed: with limits, codecs, decode rule."""
        self.failures = Counter[str]()
        """Pictures that could not be decoded, by the code of the error, or `retry`."""
        self._closed, self._warmed = threading.Event(), set[bool]()
        self._free: queue.LifoQueue[DecoderProcess] = queue.LifoQueue()
        self._all = [DecoderProcess(self.limits, command) for _ in range(workers + 1)]
        for worker in self._all[:-1]:
            self._free.put(worker)
        self._reserved, self._is_reserved_busy = self._all[-1], False
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._query_thread = ThreadPoolExecutor(1, thread_name_prefix="decode-query")
        self._queries: queue.Queue[_Turn] = queue.Queue()
        self._urgent: queue.Queue[_Turn] = queue.Queue()
        self._others: queue.Queue[_Turn] = queue.Queue()
        self._choosing, self._row = threading.Lock(), 0  # urgent pictures taken in a row
        threading.Thread(target=self._enforce, name="deadlines", daemon=True).start()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm(self, query: bool = True) -> None:
        """Start a process in the background, so that the first picture need not wait for it; later
        calls do nothing. query: the process that is reserved for queries."""
        if query in self._warmed:
            return
        self._warmed.add(query)

        def start() -> None:
            worker = self._free.get()
            try:
                worker.start()
            finally:
                self._free.put(worker)

        if query:
            self._begin(self._reserved.start, self._query_thread)
        else:
            self._begin(start, self._threads)

    def close(self) -> None:
        """Give up what is waiting and end the processes."""
        self._closed.set()
        for threads in (self._threads, self._query_thread):
            threads.shutdown(wait=False, cancel_futures=True)
        for waiting in (self._queries, self._urgent, self._others):
            with suppress(queue.Empty):
                while True:
                    waiting.get_nowait().future.cancel()
        for worker in self._all:
            worker.stop()
        self._threads.shutdown()
        self._query_thread.shutdown()
        for worker in self._all:  # a thread may have been about to start one
            worker.stop()

    def submit(
        self,
        source: DecodeRequest,
        preprocessing: Preprocessing | Sequence[Preprocessing] | None = None,
        urgent: bool = False,
    ) -> Future[DecodedPicture | DecodeFailure]:
        """Decode one picture; the future does not raise for what is wrong with the picture.

        preprocessing: one or several. urgent: before those that are not, as someone waits for it.
        """
        if isinstance(preprocessing, Preprocessing):
            preprocessing = (preprocessing,)
        turn = _Turn(source, tuple(preprocessing or ()), Future())
        if source.query:
            self._queries.put(turn)
            self._begin(self._next_query, self._query_thread)
        else:
            (self._urgent if urgent else self._others).put(turn)
        self._begin(self._next, self._threads)
        return turn.future

    def _begin(self, work: Callable[[], None], threads: ThreadPoolExecutor) -> None:
        if self._closed.is_set():
            raise LibraryError("the library was closed; open it again")
        threads.submit(work)

    def load(
        self,
        sources: Iterable[tuple[T, DecodeRequest]],
        preprocessing: Preprocessing | Sequence[Preprocessing] | None,
        prefetch: int = 64,
    ) -> Generator[tuple[T, DecodedPicture | DecodeFailure]]:
        """Decode many pictures; yield them in the order of the sources.

        preprocessing: one or several. prefetch: pictures that are decoded before the caller takes
        them.
        """
        begun = ((key, self.submit(source, preprocessing)) for key, source in sources)
        return in_order(begun, prefetch)

    def _next(self) -> None:
        """Decode what is most urgent of all that waits: as many calls as there are pictures.

        A query is left to the reserved process, whose start it need not wait for, unless that one
        has enough to do. After `ROW` urgent pictures one of the others is next, so that queries
        without end do not stop a long run.
        """
        try:
            with self._choosing:
                turn = self._choose()
        except queue.Empty:  # another call took it, or the loader was closed
            return
        worker = self._free.get()
        try:
            self._run(turn, worker)
        finally:
            self._free.put(worker)

    def _choose(self) -> _Turn:
        """Take the next picture from its queue. Raises queue.Empty."""
        if self._row < ROW or self._others.empty():
            urgent = self._urgent
            if self._queries.qsize() > (0 if self._is_reserved_busy else 1):
                urgent = self._queries
            with suppress(queue.Empty):
                turn = urgent.get_nowait()
                self._row += 1
                return turn
        self._row = 0
        return self._others.get_nowait()

    def _next_query(self) -> None:
        """Decode a picture of a query, if one waits, in the reserved process."""
        try:
            self._is_reserved_busy = True
            self._run(self._queries.get_nowait(), self._reserved)
        except queue.Empty:  # another process took it
            pass
        finally:
            self._is_reserved_busy = False

    def _run(self, turn: _Turn, worker: DecoderProcess) -> None:
        if turn.future.set_running_or_notify_cancel():
            try:
                result = self._load(turn.source, turn.preprocessings, worker)
                if isinstance(result, DecodeFailure):
                    self.failures["retry" if result.again else result.error.code] += 1
                turn.future.set_result(result)
            except BaseException as error:
                turn.future.set_exception(error)

    def _enforce(self) -> None:
        while not self._closed.wait(TICK):
            for worker in self._all:
                worker.enforce()

    def _load(
        self,
        source: DecodeRequest,
        preprocessings: tuple[Preprocessing, ...],
        worker: DecoderProcess,
    ) -> DecodedPicture | DecodeFailure:
        if source.path is not None and is_remote(source.path):
            read = self._read_object(source.path, source)
            if isinstance(read, DecodeFailure):
                return read
            source = replace(source, path=None, data=read)
        if source.data is not None and len(source.data) > self.limits.bytes:
            size, most = len(source.data), self.limits.bytes
            return DecodeFailure(
                f"the file has {size} bytes, more than the limit {most}",
                again=False,
                error=SizeError,
            )
        crop = source.crop
        job: dict[str, Any] = {
            "path": source.path,
            "known": list(source.known),
            "crop": asdict(crop) if crop else None,
            "metadata": source.metadata,
            "preview": source.preview,
            "image": source.image,
            "text": source.text,
            "describe": source.describe,
            "sidecar": source.sidecar,
            "features": source.features,
            "film": asdict(source.film) if isinstance(source.film, FilmSpan) else source.film,
            "frame": asdict(source.frame) if source.frame else None,
            "content": source.content,
            "frames": source.frames,
            "subtitles": source.subtitles,
            "prepare": [asdict(preprocessing) for preprocessing in preprocessings],
        }
        if self._closed.is_set():
            return DecodeFailure("the loader was closed", again=True, code=FAILED)
        killed = False
        seconds = self._query_seconds if source.query else self.limits.seconds
        if source.film is True:  # which hashes the file
            with suppress(OSError):
                seconds += os.path.getsize(source.path or "") / HASH_RATE
        elif source.film:
            seconds *= films.PART_DEADLINES
        job["seconds"] = seconds
        for _ in range(2):  # a process may have been killed for no fault of this picture
            try:
                data = [] if source.data is None else [source.data]
                reply, blobs = worker.ask(job, data, seconds)
                return _read_reply(reply, blobs, preprocessings)
            except ChildProcessError as error:  # says nothing about the picture
                reason = f"no decoding process could be started: {error}"
                return DecodeFailure(reason, again=True, code=FAILED)
            except TimeoutError:  # a stalled disk does that to a healthy picture
                late = f"decoding took longer than {seconds:g} s"
                return DecodeFailure(late, again=True, slow=True, code="decode_timeout")
            except (
                EOFError,
                LookupError,
                TypeError,
                ValueError,
                AttributeError,
                RecursionError,
                PictureError,  # the text that it sent is none
            ) as error:
                killed = isinstance(error, KilledError)
                if self._closed.is_set():
                    return DecodeFailure("the loader was closed", again=True, code=FAILED)
        if killed:  # a machine short of memory does that to a healthy picture
            return DecodeFailure("the decoder was killed on it", True, slow=True, code=FAILED)
        return DecodeFailure("the decoder died on it", again=False, code=FAILED)

    def _read_object(self, url: str, source: DecodeRequest) -> bytes | DecodeFailure:
        """Return the bytes of an object."""
        try:
            if self._objects is None:
                raise RemoteError("this pool reads no object storage")
            most = MOST_BYTES if source.sidecar else self.limits.bytes
            data, info = self._objects.read(url, most)
        except RemoteMissingError as error:
            reason = remove_address(str(error), url) if is_site_url(url) else "it is gone"
            return DecodeFailure(reason, again=True, gone=True, code=RemoteMissingError.code)
        except PictureError as error:
            return DecodeFailure(remove_address(str(error), url), False, type(error))
        except RemoteError as error:
            return DecodeFailure(remove_address(str(error), url), again=True, code=error.code)
        except InputError as error:
            code = error.code if isinstance(error, AddressError) else "file_unreadable"
            return DecodeFailure(remove_address(str(error), url), again=True, code=code)
        if source.version is not None and info and object_state(info)[1] != source.version:
            reason = "it changed while it was indexed; index it again"
            return DecodeFailure(reason, again=True, code="file_changed")
        return data


def _read_metadata(document: dict[str, Any]) -> Metadata:
    lists = {name: tuple(document[name]) for name in ("palette", "palette_shares")}
    return Metadata(**{**document, **lists})


def _read_reply(
    reply: dict[str, Any], blobs: list[bytes], preprocessings: tuple[Preprocessing, ...]
) -> DecodedPicture | DecodeFailure:
    if "error" in reply:
        error = ERRORS.get(str(reply.get("type")), PictureError)
        reason, code = str(reply["error"]), str(reply.get("code", ""))
        return DecodeFailure(reason, bool(reply["again"]), error, code=code)
    film = reply.get("film")
    count = int(reply.get("count", 0)) if film is not None else len(blobs)
    of_film, blobs = blobs[count:], blobs[:count]
    prepared = list[Pixels]()
    for preprocessing in reversed(preprocessings if "size" in reply else ()):
        prepared.insert(0, np.frombuffer(blobs.pop(), np.uint8).reshape(preprocessing.shape))
    features = blobs.pop() if "features" in reply else None
    image = Image.frombytes("RGB", reply["image"], blobs.pop()) if "image" in reply else None
    metadata = reply.get("metadata")
    return DecodedPicture(
        id=reply["id"],
        size=tuple(reply["size"]) if "size" in reply else None,
        pixel_hash=reply.get("pixel_hash"),
        metadata=metadata and _read_metadata(metadata),
        thumbnail=blobs.pop() if metadata else None,
        prepared=tuple(prepared),
        preview=blobs.pop() if "preview" in reply else None,
        image=image,
        text=parse_lines(reply["text"]) if "text" in reply else None,
        probe=bytes.fromhex(reply["probe"]) if "probe" in reply else None,
        description=Description.from_json(reply["description"]) if "description" in reply else None,
        features=features,
        time=reply.get("time"),
        grid=bytes.fromhex(reply["grid"]) if "grid" in reply else None,
        content=blobs.pop() if "content" in reply else None,
        film=None if film is None else _read_film(film, of_film, preprocessings),
        words=_read_words(reply.get("words", ())),
    )


def _read_words(words: Iterable[Sequence[Any]]) -> tuple[tuple[float, str], ...]:
    return tuple((float(at), str(text)) for at, text in words)


def _read_film(
    film: dict[str, Any], blobs: list[bytes], preprocessings: tuple[Preprocessing, ...]
) -> FilmContent:
    """Return what a reply has of a film. blobs: of its frames, one after the other."""
    frames, start = list[DecodedPicture](), 0
    for reply in film.get("frames", ()):
        count = int(reply["count"])
        frame = _read_reply(reply, blobs[start : start + count], preprocessings)
        if isinstance(frame, DecodedPicture):
            frames.append(frame)
        start += count
    return FilmContent(
        film.get("duration"),
        _read_words(film.get("words", ())),
        tuple(frames),
        bool(film.get("has_ended")),
        film.get("resume"),
        bool(film.get("is_thinned")),
    )
