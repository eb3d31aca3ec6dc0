"""What a user may give as a picture, told apart without reading it.

NumPy and Pillow are not imported: a command that asks a server decodes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from search.media.urls import has_scheme, is_address
from search.records.hits import Hit

if TYPE_CHECKING:
    from os import PathLike
    from typing import BinaryIO

    import numpy as np
    import numpy.typing as npt
    from PIL import Image

ImageSource: TypeAlias = (
    "str | PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8] | BinaryIO | Hit"
)
"""A picture as a user gives it: a path, a URL, `id:ID`, the bytes of a file, a PIL picture, an
array (H, W, 3) RGB or (H, W) grey of uint8, a file opened in binary mode, or a hit."""


def is_url(text: str) -> bool:
    """Whether a text is a URL. `//HOST` and `www.HOST` are not if there is a file of this name."""
    return has_scheme(text) or (is_address(text) and not os.path.exists(text))


def picture_id_of(image: object) -> str | None:
    """Return the id, or the beginning of one, of a picture that is given as `id:ID` or a hit."""
    if isinstance(image, Hit):
        return image.id
    return image[3:] if isinstance(image, str) and image.startswith("id:") else None


def has_no_name(image: object) -> bool:
    """Whether a source is data that the caller holds: bytes, pixels or an open file."""
    pixels = hasattr(type(image), "__array_interface__")  # a PIL picture or an array
    return isinstance(image, bytes) or pixels or hasattr(image, "read")
