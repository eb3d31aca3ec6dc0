"""The program of a decoding process: requests in, decoded pictures out, over standard streams.

Started by `search.media.decoder_pool` as `python -P -m search.media.decoder`; it imports Pillow and
numpy and nothing else that is heavy. A message is a 4-byte length, a JSON header, and the blobs
whose lengths are its `blobs`. It is never pickle: an answer of a process that read a hostile file
is not trusted.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
import time
from dataclasses import asdict, replace
from typing import Any, BinaryIO

from PIL import Image

from search.errors import FilmError, PictureError
from search.media import descriptions, images, metadata
from search.media.job_parts import add_pixels, read_file as read_file
from search.media.probe import probe_data
from search.media.reading import open_for_metadata, read_picture
from search.media.rules import ANIMATED, Crop, Limits
from search.process import keep_freed_memory

try:
    import resource
except ImportError:  # not on Windows: there only the deadline holds
    resource = None  # type: ignore[assignment]

FREED_BYTES = 64 << 20
"""Freed memory that a decoding process keeps."""


def send(stream: BinaryIO, header: dict[str, Any], *blobs: bytes) -> None:
    """Write one message."""
    head = json.dumps({**header, "blobs": [len(b) for b in blobs]}).encode()
    stream.write(struct.pack(">I", len(head)) + head)
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def receive(stream: BinaryIO, most: int = 2**31) -> tuple[dict[str, Any], list[bytes]]:
    """Read one message. Raises EOFError when the other side is gone or talks nonsense."""
    try:
        (length,) = struct.unpack(">I", _read_exactly(stream, 4))
        header = json.loads(_read_exactly(stream, min(length, 2**26)))
        lengths = header.pop("blobs")
        if not all(0 <= n <= most for n in lengths):
            raise ValueError("a blob of impossible length")
        blobs = [_read_exactly(stream, n) for n in lengths]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EOFError(f"no message: {error}") from error
    return header, blobs


def _read_exactly(stream: BinaryIO, n: int) -> bytes:
    data = stream.read(n)
    if len(data) != n:
        raise EOFError("the stream ended")
    return data


def decode(
    job: dict[str, Any], data: bytes | None, limits: Limits
) -> tuple[dict[str, Any], list[bytes]]:
    """One job -> the reply. A picture whose id is in `known` is hashed and not decoded."""
    if job["film"] or job["frame"]:
        from search.media import film_jobs  # needs an extra, and most pictures are no films

        return film_jobs.decode(job, limits, data)
    if data is None:
        is_small = job["sidecar"] or job["subtitles"]
        most = descriptions.MOST_BYTES if is_small else limits.bytes
        data = read_file(job["path"], replace(limits, bytes=min(most, limits.bytes)))
    picture_id, probe = images.content_hash(data), probe_data(data).hex()
    if picture_id in job["known"]:
        return {"id": picture_id, "probe": probe}, []
    if job["subtitles"]:
        from search.media import subtitles

        return {"id": picture_id, "words": subtitles.read_subtitles(data, job["subtitles"])}, []
    if job["sidecar"]:
        return {"id": picture_id, "description": descriptions.parse_xmp(data).to_json()}, []
    if job["describe"]:
        opened = open_for_metadata(data, limits)
        return {"id": picture_id, "description": descriptions.read_embedded(opened).to_json()}, []
    if job["preview"]:
        side = images.PREVIEW
        normalized = read_picture(data, limits, short=side, long=side).normalized
        return {"id": picture_id, "preview": True}, [images.preview(normalized)]
    if job["text"]:
        from search.media import text  # needs an extra

        normalized = read_picture(data, limits, short=text.SHORT, long=text.LONG).normalized
        return {"id": picture_id, "text": text.read_lines(normalized)}, []
    crop = Crop(**job["crop"]) if job["crop"] else None
    opened, normalized, size, is_truncated = read_picture(data, limits, crop)
    reply: dict[str, Any] = {"id": picture_id, "probe": probe, "size": size}
    blobs = []
    if job["metadata"]:
        reply["pixel_hash"] = images.pixel_hash(normalized)
        facts = metadata.read(opened, normalized, size, len(data), is_truncated)
        reply["metadata"] = asdict(facts)
        reply["description"] = descriptions.read_embedded(opened).to_json()
        blobs.append(images.thumbnail(normalized))
    add_pixels(job, normalized, reply, blobs)
    if job["frames"] and opened.format in ANIMATED:
        from search.media import film_jobs

        reply["count"] = len(blobs)
        reply["film"], own = film_jobs.read_animation(job, data, limits, picture_id, normalized)
        blobs += own
    return reply, blobs


def answer(
    job: dict[str, Any], data: bytes | None, limits: Limits
) -> tuple[dict[str, Any], list[bytes]]:
    """As `decode`; a failure becomes `error`, and `again` says whether a retry may succeed."""
    try:
        return decode(job, data, limits)
    except FilmError as error:
        again = error.skip_code == "file_changed"
        return {"error": str(error), "again": again, "code": error.skip_code}, []
    except PictureError as error:
        return {"error": str(error), "again": False, "type": type(error).__name__}, []
    except MemoryError:
        reason = f"it needs more memory than the limit {limits.memory}"
        return {"error": reason, "again": False, "code": "decode_failed"}, []
    except OSError as error:
        reason = error.strerror or str(error)
        return {"error": reason, "again": True, "code": "file_unreadable"}, []
    except Exception as error:  # an unexpected error costs one picture as well
        return {"error": f"it cannot be decoded: {error!r}", "again": False}, []


def limit(limits: Limits) -> None:
    """Cap this process's address space, and yield to the inference thread. Memory that a picture
    frees is kept for the next one: clearing new pages takes a fifth of the time of a picture."""
    keep_freed_memory(FREED_BYTES)
    Image.MAX_IMAGE_PIXELS = None  # `images.identify` holds the limit of the settings
    if resource is not None:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        except (ValueError, OSError):
            pass  # a system without this limit still has the deadline
    if hasattr(os, "nice"):
        os.nice(5)


def leave_with(parent: int) -> None:
    """End this process once its parent is gone, even while a codec hangs."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def main() -> None:
    """Answer jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends this one
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a codec prints must not end up among the replies
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    header, _ = receive(requests)
    limits = Limits(**header["limits"])
    limit(limits)
    send(replies, {"ready": True})
    while True:
        try:
            job, blobs = receive(requests, limits.bytes + 1)
        except EOFError:
            return
        if resource is not None:  # even a codec that never lets go of the interpreter ends
            used = resource.getrusage(resource.RUSAGE_SELF)
            soft = int(used.ru_utime + used.ru_stime + job["seconds"]) + 5
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        reply, out = answer(job, blobs[0] if blobs else None, limits)
        send(replies, reply, *out)


if __name__ == "__main__":
    main()
