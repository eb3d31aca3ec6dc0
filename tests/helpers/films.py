"""Films that tests and benchmarks make: scenes of moving pictures, with PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Frame = npt.NDArray[np.uint8]
RATE = 25
ASS_HEADER = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\n"
    b"Style: Default,Arial,16\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n"
)
"""What encoders of subtitles ask for."""


@dataclass(frozen=True)
class Scene:
    """A picture under a moving camera.

    picture: (H, W, 3), larger than the film. seconds: how long it lasts. start, end: the box of the
    camera, as left, top and width in shares of the picture's width and height.
    """

    picture: Image.Image
    seconds: float
    start: tuple[float, float, float] = (0.0, 0.0, 0.7)
    end: tuple[float, float, float] = (0.25, 0.25, 0.7)

    def draw(self, share: float, size: tuple[int, int]) -> Image.Image:
        """Return what the camera sees. share: of the scene's time, 0 to 1. size: in pixels."""
        left, top, width = (a + (b - a) * share for a, b in zip(self.start, self.end, strict=True))
        w = width * self.picture.width
        h = min(w * size[1] / size[0], self.picture.height)
        x = min(left * self.picture.width, self.picture.width - w)
        y = min(top * self.picture.height, self.picture.height - h)
        return self.picture.resize(size, Image.Resampling.BILINEAR, (x, y, x + w, y + h))


def make_picture(seed: int) -> Image.Image:
    """Return a picture of coloured shapes, 640 x 480."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (640, 480), tuple(random.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, w, h = random.integers(0, (640, 480, 120, 120)).tolist()
        color = tuple(random.integers(0, 256, 3).tolist())
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + w + 8, y + h + 8), color)
    return image


def draw_scenes(
    scenes: Sequence[Scene], size: tuple[int, int], rate: int = RATE
) -> Iterator[Image.Image]:
    """Yield the frames of scenes, one after the other."""
    for scene in scenes:
        count = max(1, round(scene.seconds * rate))
        for i in range(count):
            yield scene.draw(i / count, size)


def write_film(
    path: Path,
    frames: Iterator[Image.Image] | Sequence[Image.Image],
    codec: str = "libx264",
    rate: int = RATE,
    options: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    subtitles: Sequence[tuple[float, float, str]] = (),
    subtitle_codec: str = "subrip",
    container_format: str | None = None,
    time_of: Callable[[int], float] | None = None,
) -> Path:
    """Write a film; return its path.

    options: of the codec. subtitles: start and end in seconds, and text. time_of: returns the time
    of a frame in seconds by its number, for a variable frame rate.
    """
    frames = iter(frames)
    first = next(frames)
    with av.open(path, "w", format=container_format) as film:
        film.metadata.update(metadata or {})
        stream = film.add_stream(codec, rate=rate, options=dict(options or {"preset": "ultrafast"}))
        stream.width, stream.height = first.size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if time_of is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        words = None
        if subtitles:
            words = film.add_stream(subtitle_codec)
            words.codec_context.subtitle_header = ASS_HEADER
        left = list(subtitles)

        def write_subtitles(until: float) -> None:
            while words is not None and left and left[0][0] <= until:
                start, end, text = left.pop(0)
                data = text.encode()
                if subtitle_codec == "mov_text":
                    data = len(data).to_bytes(2, "big") + data
                packet = av.Packet(data)
                packet.stream, packet.time_base = words, Fraction(1, 1000)
                packet.pts = packet.dts = round(start * 1000)
                packet.duration = round((end - start) * 1000)
                film.mux(packet)

        picture: Image.Image | None = first
        number = 0
        while picture is not None:
            frame = av.VideoFrame.from_image(picture)
            at = number / rate if time_of is None else time_of(number)
            frame.pts = number if time_of is None else round(at * 1000)
            frame.time_base = Fraction(1, rate) if time_of is None else Fraction(1, 1000)
            film.mux(stream.encode(frame))
            write_subtitles(at)
            number, picture = number + 1, next(frames, None)
        film.mux(stream.encode(None))
        write_subtitles(float("inf"))
    return path


SCENE_SECONDS = 4.0
SCENE_RATE = 8
SIZE = (320, 180)


def make_film(path: Path, seeds: range, codec: str = "libx264", **options: Any) -> Path:
    """Write a film of a scene for each seed, of `SCENE_SECONDS` at `SCENE_RATE` frames a second."""
    scenes = [Scene(make_picture(seed), SCENE_SECONDS) for seed in seeds]
    return write_film(
        path, draw_scenes(scenes, SIZE, SCENE_RATE), codec, rate=SCENE_RATE, **options
    )


def take_screenshot(seed: int, share: float = 0.5) -> Image.Image:
    """Return what a scene of such a film shows. share: of its time."""
    return Scene(make_picture(seed), SCENE_SECONDS).draw(share, SIZE)
