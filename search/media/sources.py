"""What a user gives as a picture -> decoded pixels. This is the only place that reads sources."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from search.errors import InputError, NotFoundError, PictureError, SizeError
from search.files import absolute_path, find_shown
from search.media.decoder_pool import (
    DecodedPicture,
    DecodeFailure,
    DecodeRequest,
    DecoderPool,
    Features,
)
from search.media.images import render, upright_size
from search.media.object_urls import is_object_url
from search.media.preprocessing import Preprocessing
from search.media.rules import Crop
from search.media.source_kinds import ImageSource, is_url, picture_id_of
from search.records.hits import Hit
from search.types import Pixels

if TYPE_CHECKING:
    from search.media.fetch import FetchedPicture, Fetcher

NAME = "the picture"  # of a source that has no name of its own


class ContentReader(Protocol):
    """Reads the files of a library's pictures."""

    def content(self, picture_id: str) -> bytes:
        """The bytes of a picture's file, by its id or the beginning of it."""
        ...


class SourceParts(Protocol):
    """The parts of a library that read and decode pictures; each is opened when it is first used.

    decoders: decode files. fetcher: fetches URLs. browser: reads the files of known pictures.
    """

    @property
    def decoders(self) -> DecoderPool: ...
    @property
    def fetcher(self) -> Fetcher: ...
    @property
    def browser(self) -> ContentReader: ...


@dataclass(frozen=True)
class ResolvedPicture:
    """A decoded source.

    id: SHA-256 of the file; None for pixels, which are no file. prepared: the picture under each
    preprocessing. image: the normalized image, upright RGB, if it was requested. fetched: where a
    URL led to. features: packed local features, if they were requested. size: width and height of
    the upright picture in pixels, before a crop and scaling.
    """

    id: str | None
    prepared: tuple[Pixels, ...]
    image: Image.Image | None = None
    fetched: FetchedPicture | None = None
    features: bytes | None = None
    size: tuple[int, int] = (0, 0)


class PictureResolver:
    """Reads and decodes whatever a user gives as a picture. Threads may share it."""

    def __init__(self, parts: SourceParts) -> None:
        self._parts = parts

    def resolve(
        self,
        image: ImageSource,
        preprocessings: Sequence[Preprocessing] = (),
        crop: Crop | None = None,
        with_image: bool = False,
        urgent: bool = True,
        features: Features | None = None,
    ) -> ResolvedPicture:
        """Decode a source once.

        preprocessings: one array of pixels is returned for each. crop: of the upright picture, cut
        before scaling. with_image: also return the normalized image, whose short side has at most
        512 pixels and whose long side at most 2048. urgent: decode it as a picture of a query:
        before others, and within `query_seconds`. features: also return local features of this
        kind. Raises InputError.
        """
        if isinstance(image, np.ndarray):
            image = self._open_array(image)
        if isinstance(image, Image.Image):
            normalized = _render_copy(image, crop)
            prepared = tuple(prepare(normalized) for prepare in preprocessings)
            data = None
            if features is not None:
                from search.media import local_features  # OpenCV is slow to import

                data = local_features.extract(normalized, features)
            shown = normalized if with_image else None
            return ResolvedPicture(None, prepared, shown, None, data, upright_size(image))
        source, name, fetched = self._open(image)
        source = replace(source, crop=crop, metadata=False, image=with_image, query=urgent)
        source = replace(source, features=features)
        decoded = self.decode(source, preprocessings, name, urgent)
        if len(decoded.prepared) != len(preprocessings):
            raise PictureError(f"{name} could not be decoded; try again")
        pixels, size = (decoded.prepared, decoded.image), decoded.size or (0, 0)
        return ResolvedPicture(decoded.id, *pixels, fetched, decoded.features, size)

    def decode(
        self,
        source: DecodeRequest,
        preprocessings: Preprocessing | Sequence[Preprocessing] = (),
        name: str = NAME,
        urgent: bool = True,
    ) -> DecodedPicture:
        """Decode a file or its bytes.

        name: of the picture, for messages. urgent: decode it before others. Raises PictureError.
        """
        result = self._parts.decoders.submit(source, preprocessings, urgent).result()
        if isinstance(result, DecodeFailure):
            raise result.error(f"{name}: {result.reason}")
        return result

    def read_content(self, image: bytes | str) -> bytes:
        """Return the bytes of a file that is given as bytes, a URL or `id:ID`.

        Never reads a path: who sends a URL may not be who owns the files. Raises InputError.
        """
        if isinstance(image, bytes):
            return image
        picture_id = picture_id_of(image)
        if picture_id is not None:
            return self._parts.browser.content(picture_id)
        return self._parts.fetcher.fetch(image).data

    def read_file(self, image: ImageSource) -> ImageSource:
        """Replace an open file by its bytes, so that the source can be read again.

        Returns other sources as they are. Raises InputError when the file cannot be read.
        """
        if isinstance(image, Image.Image) or not hasattr(image, "read"):
            return image
        try:
            data: object = image.read(self._parts.decoders.limits.bytes + 1)
        except (OSError, ValueError) as error:
            raise InputError(f"the file of the picture cannot be read: {error}") from error
        if not isinstance(data, bytes):
            raise InputError("the file of the picture gives text; open it in binary mode, `rb`")
        return data

    def _open(self, image: ImageSource) -> tuple[DecodeRequest, str, FetchedPicture | None]:
        """Return where the file of a source is, or its bytes; its name for messages; and where a
        URL led to."""
        image = self.read_file(image)
        if isinstance(image, bytes):
            return DecodeRequest(data=image), NAME, None
        if isinstance(image, Hit):
            image = f"id:{image.id}"
        if isinstance(image, str) and picture_id_of(image) is not None:
            return DecodeRequest(data=self.read_content(image)), image, None
        if isinstance(image, str) and is_url(image):
            fetched = self._parts.fetcher.fetch(image)
            return DecodeRequest(data=fetched.data), fetched.url or NAME, fetched
        path = find_file(image)
        return DecodeRequest(path), path, None

    def _open_array(self, array: npt.NDArray[np.uint8]) -> Image.Image:
        """Convert an array to a PIL picture. Raises PictureError for other shapes and types."""
        grey, color = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
        if array.dtype != np.uint8 or not (grey or color) or not array.size:
            raise PictureError(
                f"an array of shape {array.shape} and type {array.dtype} is no picture; give "
                "(H, W, 3) RGB or (H, W) grey of uint8"
            )
        most = self._parts.decoders.limits.pixels
        if array.shape[0] * array.shape[1] > most:
            raise SizeError(
                f"the array has {array.shape[1]} x {array.shape[0]} pixels, more than {most}"
            )
        return Image.fromarray(np.ascontiguousarray(array))


def find_file(image: object) -> str:
    """Return the absolute path of a file, which may be as `shown` returns it.

    Raises InputError, NotFoundError when it is missing.
    """
    if not isinstance(image, str | PathLike):
        raise InputError(
            f"{type(image).__name__} is no picture; give a path, URL, `id:ID`, bytes, PIL picture, "
            "array, binary file or hit"
        )
    if isinstance(image, str) and is_object_url(image) and not os.path.exists(image):
        raise InputError(
            f"{image} is in object storage, which searches do not read; give `id:ID` of a picture "
            "of the library, or a file on this machine"
        )
    full = find_shown(absolute_path(image))
    if os.path.isdir(full):
        raise InputError(f"{full} is a folder; give a picture (`lookalike index` takes folders)")
    if not os.path.exists(full):
        raise NotFoundError(f"{full} is not there; give a picture file, `id:ID` or `-`")
    return full


def _render_copy(image: Image.Image, crop: Crop | None) -> Image.Image:
    """Normalize a PIL picture, which stays as it is. Raises PictureError."""
    try:
        copy = image.copy()
    except OSError as error:
        raise PictureError(f"the picture cannot be decoded: {error}") from error
    return render(copy, crop)
