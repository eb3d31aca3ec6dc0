"""Frames of films that are indexed, decoded again from the file."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from search.media.object_urls import join_place
from search.media.rules import FrameAt

if TYPE_CHECKING:
    from search.media.decoder_pool import DecodeRequest, DecoderPool
    from search.media.open_file import FilePlace


def request_frame(
    place: FilePlace, open_file: Callable[[FilePlace], BinaryIO | None], picture_id: str = ""
) -> DecodeRequest | None:
    """Return a request for a frame, or None if its film is not as it was indexed.

    place: with the time of the frame. The decoding process compares the film with its probe once
    more. picture_id: the id of what is decoded.
    """
    from search.media.decoder_pool import DecodeRequest

    if place.time is None or (file := open_file(place)) is None:
        return None
    file.close()
    probe = None if place.probe is None else place.probe.hex()
    frame = FrameAt(picture_id, place.time, probe)
    return DecodeRequest(join_place(place.root, place.path), frame=frame)


def open_frame(
    place: FilePlace, open_file: Callable[[FilePlace], BinaryIO | None], decoders: DecoderPool
) -> BinaryIO | None:
    """Return a frame as a PNG; None if its film is not as it was indexed, or cannot be decoded."""
    from search.media.decoder_pool import DecodedPicture

    request = request_frame(place, open_file)
    if request is None:
        return None
    result = decoders.submit(replace(request, content=True), urgent=True).result()
    has_content = isinstance(result, DecodedPicture) and result.content is not None
    return io.BytesIO(result.content) if has_content else None  # type: ignore[union-attr, arg-type]
