"""Films, read with PyAV: key frames, scene changes, words, and single frames. Needs the extra
`video`.

A film is read in parts, so that several processes share one film, and so that no answer is large.
All of this runs in the decoding processes, under their limits. FFmpeg gets an open file and never a
path: it opens nothing else, whatever a playlist in the file names.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from search.errors import FilmError, SizeError
from search.media.images import LONG, SHORT, scale_to_limits
from search.media.rules import Limits
from search.media.subtitles import MOST_WORDS, read_texts

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

IS_INSTALLED = find_spec("av") is not None
SUFFIXES = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .webm .wmv".split()
)
FORMATS = "mov,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,asf,ogg"
"""Demuxers of FFmpeg that may read a file. Playlists (HLS, DASH, concat) open other files."""
PART_SECONDS = 60.0
"""Seconds of a film that one request reads."""
MOST_SECONDS = 24 * 3600.0
"""Seconds of a film that are read; the rest is left out."""
FRAMES_PER_HOUR = 3000
"""Most frames of an hour of film."""
GAP_SECONDS = 2.0
"""If key frames are further apart, frames between them are added, at most this far apart."""
CUT_SHARE = 0.5
"""A frame between key frames is likely to begin a scene if it has at least this share of the bytes
of its key frame."""
GRID = (32, 18)
"""Columns and rows of grey levels by which frames are compared."""
CUT_CHANGE = 18.0
"""Mean difference of two grids, in grey levels of 255, from which a scene has changed."""
LEAST_CHANGE, LEAST_CELL = 2.0, 12.0
"""A frame is left out if its grid differs from that of the frame before it by less than this: on
average, and in each cell."""
LOOK_SECONDS = 0.2
"""Seconds between two frames that are looked at for a change of scene."""
PART_DEADLINES = 4.0
"""Deadline of a part, as a multiple of that of a picture."""
WORK_SHARE = 0.5
"""Share of the time of a picture that decoding a part may take on the processor, for frames between
key frames and for key frames each, and of the time of a part that it may take by the clock; what is
left is for describing its frames."""
MOST_BETWEEN = 600.0
"""Most seconds after a key frame that are decoded."""
HEADER = 2**22
"""Bytes at the beginning and the end of a file where the index of an MP4 may be."""
ENCRYPTED = "it is encrypted, so that it cannot be read; index a copy without protection"
TAGS = "title artist album_artist album show episode_id description synopsis comment genre".split()
DATES = ("com.apple.quicktime.creationdate", "creation_time", "date")
PLACE = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")
Grid = npt.NDArray[np.int16]


@dataclass(frozen=True)
class FilmFacts:
    """What the container of a film says. duration: in seconds, None if not known. words: of its
    tags and chapters, by their time in seconds. size: width and height of a frame in pixels.
    date: when it was taken, as `Metadata.taken`.
    latitude, longitude: in degrees."""

    duration: float | None
    size: tuple[int, int]
    words: tuple[tuple[float, str], ...] = ()
    date: str | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    exif: dict[str, str | int | float] = field(default_factory=dict)


@dataclass
class FilmFrame:
    """A frame. time: seconds from the start. size: of the upright original. grid: grey levels,
    (18, 32). change: how far its grid is from that of the frame before it."""

    time: float
    image: Image.Image
    size: tuple[int, int]
    grid: Grid
    change: float = math.inf


@dataclass(frozen=True)
class FilmPart:
    """Frames and words of a part. has_ended: the film ends in it. resume: the part was read to this
    time in seconds, and must be read on from there; None if it was read to its end. is_thinned:
    frames were left out, since decoding them takes too long."""

    frames: list[FilmFrame]
    words: list[tuple[float, str]]
    has_ended: bool
    resume: float | None = None
    is_thinned: bool = False


@dataclass
class _Key:
    """A key frame. largest: most bytes of a frame until the next one. until: its time."""

    time: float
    packet: av.Packet[Any]
    largest: int = 0
    until: float = math.inf


class WorkLimit:
    """How long a part of a film is decoded.

    The time of the processor decides what is left out, so that a film gives the same frames on a
    busy machine. The clock decides when a request ends, so that its deadline is held; the part is
    then read on by another request, and nothing is left out. resume, is_thinned: as of `FilmPart`.
    """

    def __init__(self, seconds: float) -> None:
        """seconds: the deadline of one picture."""
        self._cpu = time.process_time() + WORK_SHARE * seconds
        self._clock = time.monotonic() + WORK_SHARE * PART_DEADLINES * seconds
        self.resume: float | None = None
        self.is_thinned = False

    def is_costly(self) -> bool:
        """Return whether only key frames are to be decoded from here on."""
        if time.process_time() <= self._cpu:
            return False
        self.is_thinned = True
        return True

    def is_over(self, at: float) -> bool:
        """Return whether this request ends. at: seconds of the film, from where the next one reads
        on."""
        if time.monotonic() <= self._clock:
            return False
        self.resume = at
        return True


class Film:
    """An open film. Use as a context manager. Raises FilmError, SizeError."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        """file: at its beginning; FFmpeg moves in it."""
        import av

        self._file, self._limits = file, limits
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
        try:
            self._container = av.open(
                file, "r", options=options, metadata_errors="replace", buffer_size=2**18
            )
        except MemoryError:
            raise
        except Exception as error:  # such as a text, or a film whose index is cut off
            reason = getattr(error, "strerror", None) or error
            raise FilmError(f"not a film that can be read: {reason}", "not_a_film") from error
        try:
            self._stream = self._choose_stream()
            self._origin = self._find_origin()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _choose_stream(self) -> VideoStream:
        """Return the first stream of pictures that is no cover."""
        cover = 0x400  # AV_DISPOSITION_ATTACHED_PIC
        streams = [s for s in self._container.streams.video if not int(s.disposition) & cover]
        if not streams:
            raise FilmError("it has no pictures, such as sound alone", "no_video")
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            if _names_encryption(self._file):
                raise FilmError(ENCRYPTED, "film_encrypted")
            raise FilmError("its pictures are of a codec that is not known", "no_video")
        self._check_size(codec.width, codec.height)
        codec.thread_count = 1  # there is a process for each core
        codec.options = {"max_pixels": str(self._limits.pixels)}
        return stream

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.pixels or max(width, height) > self._limits.side:
            raise SizeError(
                f"a frame has {width} x {height} pixels, more than {self._limits.pixels}, or than "
                f"{self._limits.side} on a side"
            )

    def _find_origin(self) -> float:
        """Return the time stamp, in seconds, that counts as the start."""
        if self._container.start_time is not None:
            return self._container.start_time / 1e6
        if self._stream.start_time is not None and self._stream.time_base is not None:
            return float(self._stream.start_time * self._stream.time_base)
        return 0.0

    # what it says of itself -----------------------------------------------------------------------

    def describe(self) -> FilmFacts:
        """Return what the container says."""
        metadata = {k.lower(): v for k, v in self._container.metadata.items()}
        for key, value in self._stream.metadata.items():
            metadata.setdefault(key.lower(), value)
        words = [(0.0, metadata[tag]) for tag in TAGS if metadata.get(tag)]
        with suppress(Exception):  # of a container without chapters, or with nonsense for them
            for chapter in self._container.chapters():
                title = chapter["metadata"].get("title")
                if title:
                    at = float(chapter["start"] * (chapter["time_base"] or 0)) - self._origin
                    words.append((max(0.0, at), title))
        make = metadata.get("com.apple.quicktime.make", metadata.get("make", ""))
        model = metadata.get("com.apple.quicktime.model", metadata.get("model", ""))
        camera = (model if model.startswith(make) else f"{make} {model}").strip() or None
        location = metadata.get(
            "com.apple.quicktime.location.iso6709", metadata.get("location", "")
        )
        latitude, longitude = _read_place(location)
        duration = self._duration()
        codec = self._stream.codec_context
        exif: dict[str, str | int | float] = {"VideoCodec": codec.name}
        if duration is not None:
            exif["Duration"] = round(duration, 3)
        if self._stream.average_rate:
            exif["FrameRate"] = round(float(self._stream.average_rate), 3)
        if metadata.get("title"):
            exif["Title"] = metadata["title"][:200]
        return FilmFacts(
            duration,
            (codec.width, codec.height),
            tuple((at, text[:2000]) for at, text in words),
            _read_date(metadata),
            camera and camera[:200],
            latitude,
            longitude,
            exif,
        )

    def _duration(self) -> float | None:
        """Return seconds, as far as they can be believed."""
        if self._container.duration is not None:
            seconds = self._container.duration / 1e6
        elif self._stream.duration is not None and self._stream.time_base is not None:
            seconds = float(self._stream.duration * self._stream.time_base)
        else:
            return None
        return seconds if 0 < seconds < 1e9 else None

    def require_clear(self) -> None:
        """Raise FilmError if the pictures are encrypted."""
        for packet in self._demux(0.0):
            if packet.has_sidedata("encryption_info"):
                raise FilmError(ENCRYPTED, "film_encrypted")
            return

    # parts ----------------------------------------------------------------------------------------

    def read_part(self, start: float, stop: float, resume: float = 0.0) -> FilmPart:
        """Return the frames from key frames at `start` until before `stop`, in seconds, with what
        follows them until the next key frame, and the words in that time.

        resume: leave out what is before this time, in seconds; an earlier request read it. Near-
        equal frames that follow one another are left out. If there are too many frames, those that
        differ least from the frame before them are dropped. See `WorkLimit` for how much is
        decoded. Raises FilmError if the time was over before anything new was reached.
        """
        limit = WorkLimit(self._limits.seconds)
        keys, words, has_ended = self._list_keys(start, stop, limit)
        most = max(1, round(FRAMES_PER_HOUR * (stop - max(start, resume)) / 3600))
        frames = list[FilmFrame]()
        for frame in self._iterate_frames(keys, resume, limit):
            if frames:
                frame.change = measure_change(frames[-1].grid, frame.grid)
                if is_near_equal(frames[-1].grid, frame.grid):
                    continue
            frames.append(frame)
            if len(frames) > most:
                least = min(range(1, len(frames)), key=lambda i: frames[i].change)
                del frames[least]
                if least < len(frames):
                    before, after = frames[least - 1], frames[least]
                    after.change = measure_change(before.grid, after.grid)
        if limit.resume is None:
            return FilmPart(frames, words, has_ended, None, limit.is_thinned)
        if limit.resume <= max(start, resume):
            raise FilmError("decoding took too long", "decode_timeout")
        return FilmPart(frames, words, False, limit.resume, limit.is_thinned)

    def _list_keys(
        self, start: float, stop: float, limit: WorkLimit
    ) -> tuple[list[_Key], list[tuple[float, str]], bool]:
        """Return the key frames of a part, its words, and whether the film ends in it.

        Only subtitles are decoded.
        """
        keys, words, characters = list[_Key](), list[tuple[float, str]](), 0
        count = intra = 0
        last = start
        for packet in self._demux(start, with_words=True):
            at = self._time_of(packet)
            if at is None:
                continue
            if packet.stream.type == "subtitle":
                if start <= at < stop and characters < MOST_WORDS:
                    texts = read_texts(packet)
                    characters += sum(map(len, texts))
                    words += [(at, text) for text in texts]
                continue
            count, intra = count + 1, intra + packet.is_keyframe
            last = max(last, at)
            if packet.is_keyframe:
                if keys:
                    keys[-1].until = min(keys[-1].until, at)
                if at >= stop:
                    return keys, words, False
                is_dense = intra > 20 and intra > count / 2  # as of films without other frames
                if at >= start and not (is_dense and keys and at - keys[-1].time < 1.0):
                    keys.append(_Key(at, packet))
            elif keys:
                keys[-1].largest = max(keys[-1].largest, packet.size)
            if limit.is_over(last) or at > stop + MOST_BETWEEN:
                break
        else:
            if keys:
                keys[-1].until = min(keys[-1].until, last)
            return keys, words, True
        if keys:
            keys[-1].until = min(keys[-1].until, last)
        return keys, words, False

    def _iterate_frames(
        self, keys: list[_Key], resume: float, limit: WorkLimit
    ) -> Iterator[FilmFrame]:
        """Yield frames in the order of time: key frames, and those between them where these are far
        apart or a scene seems to change. resume: seconds from which frames count."""
        spent, count, skip = 0.0, 0, 1
        for number, key in enumerate(keys):
            if key.until <= resume:
                continue
            if limit.is_over(key.time):
                return
            is_far = key.until - key.time > GAP_SECONDS
            may_cut = key.largest > CUT_SHARE * key.packet.size and key.until - key.time > 1.0
            if (is_far or may_cut) and math.isfinite(key.until) and not limit.is_costly():
                yield from self._decode_between(key, resume, limit)
                if limit.resume is not None:
                    return
                continue
            if number % skip or is_before(key.time, resume):
                continue
            began = time.process_time()
            frame = self._decode_key(key)
            spent, count = spent + time.process_time() - began, count + 1
            if frame is not None:
                yield frame
            if count == 8:  # key frames alone may be too much, as of a film of 8K
                needed = spent / count * len(keys)
                skip = max(1, math.ceil(needed / max(1e-3, WORK_SHARE * self._limits.seconds)))
                limit.is_thinned |= skip > 1

    def _decode_key(self, key: _Key) -> FilmFrame | None:
        """Decode one key frame without what is around it."""
        codec = self._stream.codec_context
        try:
            codec.flush_buffers()
            codec.skip_frame = "NONKEY"
            frames = [*codec.decode(key.packet), *codec.decode(None)]
        except MemoryError:
            raise
        except Exception:  # a damaged one
            return None
        finally:
            with suppress(Exception):
                codec.flush_buffers()
        return self._make_frame(frames[0], key.time) if frames else None

    def _decode_between(self, key: _Key, resume: float, limit: WorkLimit) -> Iterator[FilmFrame]:
        """Yield a key frame, and frames behind it where a scene changes, or else so often that
        none are further apart than `GAP_SECONDS`. resume: seconds from which frames count."""
        length = key.until - key.time
        step = length / math.ceil(length / GAP_SECONDS)
        last_target = key.until - step if length > GAP_SECONDS else key.until
        target, looked = key.time, -math.inf
        before: Grid | None = None
        for frame, at in self._decode_from(key.time, "NONREF"):
            if at >= key.until - 1e-6 or limit.is_over(at) or limit.is_costly():
                return
            if at < target - 1e-6 and at - looked < LOOK_SECONDS:
                continue
            looked = at
            grid = make_grid(frame)
            is_cut = before is not None and measure_change(before, grid) >= CUT_CHANGE
            before = grid
            if at >= target - 1e-6 or is_cut:
                is_new = not is_before(at, resume)
                picture = self._make_frame(frame, at, grid) if is_new else None
                if picture is not None:
                    yield picture
                if at >= target - 1e-6:
                    target += step
            if target > last_target + 1e-6 and key.largest <= CUT_SHARE * key.packet.size:
                return

    def _decode_from(
        self, at: float, skip: Literal["DEFAULT", "NONREF"]
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        """Yield frames and their times, from the key frame at or before a time on.

        skip: what need not be decoded, as FFmpeg names it. Damaged frames are left out.
        """
        codec = self._stream.codec_context
        codec.flush_buffers()
        codec.skip_frame = skip
        has_begun, damaged = False, 0
        for packet in self._demux(at):
            stamp = self._time_of(packet)
            if not has_begun:
                if not packet.is_keyframe or stamp is None:
                    continue
                has_begun = True
            try:
                frames = codec.decode(packet)
            except MemoryError:
                raise
            except Exception:
                damaged += 1
                if damaged > 100:
                    return
                continue
            for frame in frames:
                moment = frame.time
                if moment is None:
                    moment = None if stamp is None else stamp + self._origin
                if moment is not None:
                    yield frame, moment - self._origin
        with suppress(Exception):
            for frame in codec.decode(None):
                if frame.time is not None:
                    yield frame, frame.time - self._origin

    def read_frame(self, at: float, sides: tuple[int, int] | None = None) -> FilmFrame:
        """Return the frame at a time. at: seconds, as `read_part` returned it. sides: most pixels
        of the short and the long side; None for the whole. Raises FilmError."""
        best: tuple[float, av.VideoFrame] | None = None
        for decoded, moment in self._decode_from(at + 2e-3, "NONREF"):
            if best is None or abs(moment - at) < abs(best[0] - at):
                best = moment, decoded
            if moment >= at - 2e-3:
                break
        if best is None:
            raise FilmError("it has no frame at this time any more", "no_video")
        frame = self._make_frame(best[1], at, sides=sides)
        if frame is None:
            raise FilmError("its pixels are of a format that cannot be read", "no_video")
        return frame

    # packets and pixels ---------------------------------------------------------------------------

    def _demux(self, at: float, with_words: bool = False) -> Iterator[av.Packet[Any]]:
        """Yield packets from the key frame at or before a time on; ends at damaged data."""
        from av.stream import Discard

        streams: list[Any] = [self._stream]
        if with_words:
            streams += [s for s in self._container.streams.subtitles if s.codec_context]
        for stream in self._container.streams:
            stream.discard = Discard.default if stream in streams else Discard.all
        try:
            self._container.seek(round((max(0.0, at) + self._origin) * 1e6))
        except Exception:  # a film that cannot be wound: its packets come from where it is
            with suppress(Exception):
                self._container.seek(0)
        with suppress(*_damage()):
            for packet in self._container.demux(streams):
                if packet.size:
                    yield packet

    def _time_of(self, packet: av.Packet[Any]) -> float | None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or packet.time_base is None:
            return None
        return float(stamp * packet.time_base) - self._origin

    def _make_frame(
        self,
        frame: av.VideoFrame,
        at: float,
        grid: Grid | None = None,
        sides: tuple[int, int] | None = (SHORT, LONG),
    ) -> FilmFrame | None:
        try:
            width, height = self._shown_size(frame)
            target = scale_to_limits(width, height, *sides) if sides else (width, height)
            image = self._to_image(frame, target)
            turned = image.size != target and image.size == (target[1], target[0])
            size = (height, width) if turned else (width, height)
            grid = make_grid(frame) if grid is None else grid
        except (SizeError, MemoryError):
            raise
        except Exception:  # a format of pixels that cannot be converted
            return None
        return FilmFrame(round(max(0.0, at), 3), image, size, grid)

    def _shown_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return width and height with square pixels, before the frame is turned."""
        self._check_size(frame.width, frame.height)
        ratio = self._stream.sample_aspect_ratio or 1
        if not 0.1 < ratio < 10:
            ratio = 1
        return max(1, round(frame.width * ratio)), frame.height

    @staticmethod
    def _to_image(frame: av.VideoFrame, size: tuple[int, int]) -> Image.Image:
        """Return an upright picture. size: before it is turned."""
        converted = frame.reformat(*size, "rgb24", interpolation="BICUBIC")
        image = Image.fromarray(converted.to_ndarray())
        turn = round(frame.rotation / 90) % 4
        return image.rotate(90 * turn, expand=True) if turn else image


def _names_encryption(file: BinaryIO) -> bool:
    """Whether the beginning or the end of an MP4 names an encrypted track."""
    size = file.seek(0, 2)
    for start in (0, max(0, size - HEADER)):
        file.seek(start)
        data = file.read(HEADER)
        if b"encv" in data or b"drmi" in data:
            return True
    return False


def frame_id(content: str, at: float) -> str:
    """Return the id of the picture of a frame. content: SHA-256 of the film. at: in seconds."""
    return hashlib.sha256(f"{content}@{at:.3f}".encode()).hexdigest()


def is_film_name(name: str) -> bool:
    """Whether a name ends like that of a film that can be read; False without PyAV."""
    return IS_INSTALLED and os.path.splitext(name)[1].lower() in SUFFIXES


def _damage() -> tuple[type[Exception], ...]:
    """Return the errors of damaged data."""
    import av

    return (av.FFmpegError, ValueError, EOFError, OSError)


def is_before(at: float, resume: float) -> bool:
    """Whether a frame is before a time; times of frames are rounded to milliseconds."""
    return at < resume - 1e-3


def make_grid(frame: av.VideoFrame) -> Grid:
    """Return the grey levels of a frame in a small grid, (18, 32)."""
    small = frame.reformat(*GRID, "gray", interpolation="AREA")
    return small.to_ndarray().astype(np.int16)


def measure_change(one: Grid, other: Grid) -> float:
    """Return the mean difference of two grids, in grey levels."""
    return float(np.abs(one - other).mean())


def is_near_equal(one: Grid, other: Grid) -> bool:
    """Whether two frames show the same, apart from noise."""
    difference = np.abs(one - other)
    return bool(difference.mean() < LEAST_CHANGE and difference.max() < LEAST_CELL)


def _read_date(metadata: dict[str, str]) -> str | None:
    """Return when a film was taken, as `YYYY-MM-DDTHH:MM:SS` where it was taken if that is known,
    else in UTC."""
    for name in DATES:
        try:
            moment = datetime.fromisoformat(metadata[name].strip())
        except (KeyError, ValueError):
            continue
        if 1900 < moment.year < 2200 and len(metadata[name]) >= 10:
            return moment.replace(tzinfo=None, microsecond=0).isoformat()
    return None


def _read_place(text: str) -> tuple[float | None, float | None]:
    """Return latitude and longitude of a text as ISO 6709 has them, such as `+48.85+002.35/`."""
    match = PLACE.match(text)
    if not match:
        return None, None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None, None
    return latitude, longitude
