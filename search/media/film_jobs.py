"""Jobs of a decoding process about films and frames: what a film says, a part of it, one frame."""

from __future__ import annotations

import hashlib
import io
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, BinaryIO

from PIL import Image

from search.errors import FilmError
from search.media import animations, images, metadata
from search.media.films import (
    Film,
    FilmFacts,
    FilmFrame,
    frame_id,
    is_film_name,
)
from search.media.images import LONG, SHORT
from search.media.job_parts import add_pixels, open_regular, read_file
from search.media.probe import probe_file
from search.media.rules import Crop, Limits
from search.records.annotations import Description
from search.records.pictures import Metadata

Reply = tuple[dict[str, Any], list[bytes]]
PART = 2**20  # bytes that are read at once
ANIMATION = FilmFacts(None, (0, 0))
LAST_SHARE = 0.9
"""Share of the deadline of a part after which its other frames are left to a further request."""
CHANGED = "it has changed since it was indexed; index its folder again"


def decode(job: dict[str, Any], limits: Limits, data: bytes | None = None) -> Reply:
    """Return the reply to a job about a film or a frame. data: of an animation that is no file of
    this machine. Raises PictureError."""
    if job["path"] is None:
        return _decode_animation_frame(job, data or b"", limits)
    with open_regular(job["path"]) as file:
        if job["frame"]:
            return _decode_frame(job, file, limits)
        if job["film"] is True:
            return _inspect(file, limits)
        return _read_part(job, file, limits)


def _inspect(file: BinaryIO, limits: Limits) -> Reply:
    """Hash a film, and return what its container says."""
    with Film(file, limits) as film:  # first: what is no film needs no hash
        facts = film.describe()
        film.require_clear()
    file.seek(0)
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size
    while left > 0 and (data := file.read(min(PART, left))):  # no more, if it grows meanwhile
        digest.update(data)
        left -= len(data)
    probe = probe_file(file.fileno()).hex()
    document = {"duration": facts.duration, "words": facts.words}
    return {"id": digest.hexdigest(), "probe": probe, "film": document}, []


def _read_part(job: dict[str, Any], file: BinaryIO, limits: Limits) -> Reply:
    """Return the frames of a part of a film, each with what the job asks for. `resume` in the reply
    is the time from which the part must be read on."""
    span = job["film"]
    end = time.monotonic() + LAST_SHARE * job["seconds"]
    _require_probe(file, span["probe"])
    length = os.fstat(file.fileno()).st_size
    replies, blobs = list[dict[str, Any]](), list[bytes]()
    with Film(file, limits) as film:
        facts = film.describe()
        part = film.read_part(span["start"], span["stop"], span["resume"])
    resume = part.resume
    for frame in part.frames:
        if replies and time.monotonic() > end:
            resume = frame.time
            break
        reply: dict[str, Any] = {"id": frame_id(span["content"], frame.time), "time": frame.time}
        reply["grid"] = frame.grid.astype("<i2").tobytes().hex()
        own = _describe(job, frame, reply, facts, length)
        replies.append(reply | {"count": len(own)})
        blobs += own
    until = math.inf if resume is None else resume
    document = {
        "frames": replies,
        "words": [(at, text) for at, text in part.words if span["resume"] <= at < until],
        "has_ended": part.has_ended and resume is None,
        "resume": resume,
        "is_thinned": part.is_thinned,
    }
    return {"id": span["content"], "film": document}, blobs


def read_animation(
    job: dict[str, Any], data: bytes, limits: Limits, content: str, shown: Image.Image
) -> Reply:
    """Return the frames of an animation as a part of a film; none for other pictures.

    content: SHA-256 of the data. shown: the normalized image that stands for all.
    """
    frames, duration = animations.read_frames(data, limits, shown)
    replies, blobs = list[dict[str, Any]](), list[bytes]()
    for frame in frames:
        reply: dict[str, Any] = {"id": frame_id(content, frame.time), "time": frame.time}
        own = _describe(job, frame, reply, ANIMATION, len(data), "animation")
        replies.append(reply | {"count": len(own)})
        blobs += own
    return {"duration": duration, "frames": replies, "has_ended": True}, blobs


def _describe(
    job: dict[str, Any],
    frame: FilmFrame,
    reply: dict[str, Any],
    facts: FilmFacts,
    length: int,
    kind: str = "film",
) -> list[bytes]:
    """Add what a job asks for of a frame to its reply; return the blobs. length: of the film in
    bytes. kind: the type of the picture."""
    blobs = list[bytes]()
    reply["size"] = frame.size
    if job["metadata"]:
        reply["pixel_hash"] = images.pixel_hash(frame.image)
        reply["metadata"] = asdict(_make_metadata(frame, facts, length, kind))
        reply["description"] = Description().to_json()  # it was read, and says nothing
        blobs.append(images.thumbnail(frame.image))
    if job["features"] == "compact":
        job = job | {"features": "frame"}
    add_pixels(job, frame.image, reply, blobs)
    return blobs


def _make_metadata(frame: FilmFrame, facts: FilmFacts, length: int, kind: str) -> Metadata:
    colors = metadata.palette(frame.image)
    return Metadata(
        type=kind,
        width=frame.size[0],
        height=frame.size[1],
        bytes=length,
        taken=facts.date,
        camera=facts.camera,
        latitude=facts.latitude,
        longitude=facts.longitude,
        palette=tuple(colors),
        palette_shares=tuple(colors.values()),
        exif=facts.exif,
    )


def _decode_frame(job: dict[str, Any], file: BinaryIO, limits: Limits) -> Reply:
    """Return what a job asks for of one frame."""
    at = job["frame"]
    if at["probe"] is not None:
        _require_probe(file, at["probe"])
    length = os.fstat(file.fileno()).st_size
    reply: dict[str, Any] = {"id": at["id"], "time": at["time"]}
    if not is_film_name(job["path"]):
        return _decode_animation_frame(job, read_file(job["path"], limits), limits)
    with Film(file, limits) as film:
        facts = film.describe()

        def read(sides: tuple[int, int] | None) -> FilmFrame:
            return film.read_frame(at["time"], sides)

        return _answer(job, read, reply, facts, length)


def _decode_animation_frame(job: dict[str, Any], data: bytes, limits: Limits) -> Reply:
    """Return what a job asks for of one frame of an animation."""
    at = job["frame"]
    frame = animations.read_frame(data, limits, at["time"])
    reply: dict[str, Any] = {"id": at["id"], "time": at["time"]}
    return _answer(job, lambda sides: frame, reply, ANIMATION, len(data), "animation")


def _answer(
    job: dict[str, Any],
    read: Callable[[tuple[int, int] | None], FilmFrame],
    reply: dict[str, Any],
    facts: FilmFacts,
    length: int,
    kind: str = "film",
) -> Reply:
    """Return what a job asks for of one frame. read: returns it, with the most pixels of its short
    and long side, or the whole."""
    if job["content"]:
        return reply | {"content": True}, [_encode(read(None).image)]
    if job["preview"]:
        return reply | {"preview": True}, [images.preview(read(None).image)]
    if job["text"]:
        from search.media import text  # needs an extra

        image = read((text.SHORT, text.LONG)).image
        return reply | {"text": text.read_lines(image)}, []
    if job["crop"]:
        whole = read(None)
        image = images.render(whole.image, Crop(**job["crop"]))
        frame = FilmFrame(whole.time, image, whole.size, whole.grid)
    else:
        frame = read((SHORT, LONG))
    return reply, _describe(job, frame, reply, facts, length, kind)


def _encode(image: Image.Image) -> bytes:
    """Return a picture as a PNG, without loss."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _require_probe(file: BinaryIO, probe: str) -> None:
    """Raise FilmError if a file has changed since it was hashed."""
    if probe_file(file.fileno()).hex() != probe:
        raise FilmError(CHANGED, "file_changed")
    file.seek(0)
