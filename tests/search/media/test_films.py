"""Films in the decoding processes: parts, single frames, odd films, and hostile ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.films import (
    SCENE_RATE,
    SCENE_SECONDS,
    SIZE,
    make_film,
    make_picture,
    take_screenshot,
    write_film,
)
from PIL import Image

from search.errors import FilmError
from search.media import films
from search.media.decoder_pool import (
    DecodedPicture,
    DecodeFailure,
    DecodeRequest,
    DecoderPool,
    FilmContent,
)
from search.media.films import Film, is_near_equal
from search.media.rules import FilmSpan, FrameAt, Limits
from search.media.subtitles import read_subtitles

LIMITS = Limits(seconds=20.0)
PACKETS = round(4 * SCENE_SECONDS * SCENE_RATE)
"""Packets of a film of four scenes."""


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1, LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of four scenes."""
    return make_film(tmp_path_factory.mktemp("films") / "film.mp4", range(4))


def inspect(pool: DecoderPool, path: Path) -> DecodedPicture | DecodeFailure:
    return pool.submit(DecodeRequest(str(path), film=True)).result()


def read_part(pool: DecoderPool, path: Path, start: float = 0, stop: float = 120) -> FilmContent:
    """Return a part of a film, which must be readable."""
    inspected = inspect(pool, path)
    assert isinstance(inspected, DecodedPicture) and inspected.probe
    span = FilmSpan(inspected.id, inspected.probe.hex(), start, stop)
    part = pool.submit(DecodeRequest(str(path), film=span)).result()
    assert isinstance(part, DecodedPicture) and part.film
    return part.film


def list_times(content: FilmContent) -> list[float]:
    return [one.time for one in content.frames if one.time is not None]


def test_every_scene_has_a_frame_and_none_is_far(pool: DecoderPool, film: Path) -> None:
    part = read_part(pool, film)
    times = list_times(part)
    assert part.has_ended and times == sorted(set(times))
    assert {int(one // SCENE_SECONDS) for one in times} == {0, 1, 2, 3}
    assert max(np.diff(times)) <= films.GAP_SECONDS + 0.2
    sizes = {(one.size, one.metadata and one.metadata.type) for one in part.frames}
    assert sizes == {(SIZE, "film")}


def test_parts_together_are_the_film(pool: DecoderPool, film: Path) -> None:
    whole = list_times(read_part(pool, film))
    pieces = [read_part(pool, film, start, start + 5) for start in (0, 5, 10, 15)]
    assert {time for one in pieces for time in list_times(one)} >= {0.0}
    assert len(whole) >= 4 and pieces[-1].has_ended


def test_a_frame_is_decoded_again_by_its_time(pool: DecoderPool, film: Path) -> None:
    inspected = inspect(pool, film)
    assert isinstance(inspected, DecodedPicture) and inspected.probe
    for one in read_part(pool, film).frames[::2]:
        at = FrameAt(one.id, one.time or 0.0, inspected.probe.hex())
        again = pool.submit(DecodeRequest(str(film), frame=at)).result()
        assert isinstance(again, DecodedPicture) and again.id == one.id
        assert again.pixel_hash == one.pixel_hash
    other = replace(at, probe="00" * 16)
    changed = pool.submit(DecodeRequest(str(film), frame=other)).result()
    assert isinstance(changed, DecodeFailure) and changed.code == "file_changed"


def test_near_equal_frames_are_left_out(pool: DecoderPool, tmp_path: Path) -> None:
    still = [take_screenshot(1, 0)] * 200
    path = write_film(tmp_path / "still.mkv", still, rate=10, options={"g": "10"})
    assert list_times(read_part(pool, path)) == [0.0]
    grid = np.zeros((18, 32), np.int16)
    speck = grid.copy()
    speck[3, 3] = 40
    assert is_near_equal(grid, grid + 1) and not is_near_equal(grid, speck)


def test_frames_of_an_hour_are_bounded(
    pool: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [make_picture(seed % 7).resize((96, 64)) for seed in range(120)]
    path = write_film(tmp_path / "flicker.mkv", frames, rate=4, options={"g": "1"})
    monkeypatch.setattr(films, "FRAMES_PER_HOUR", 900)
    with path.open("rb") as file, Film(file, LIMITS) as film:
        times = [one.time for one in film.read_part(0, 30).frames]
    assert len(times) <= 8 and times == sorted(times)


def test_a_film_without_further_key_frames_is_read(pool: DecoderPool, tmp_path: Path) -> None:
    options = {"preset": "ultrafast", "g": "9999", "sc_threshold": "0"}
    path = make_film(tmp_path / "one.mkv", range(4), options=options)
    scenes = {int(one // SCENE_SECONDS) for one in list_times(read_part(pool, path))}
    assert scenes == {0, 1, 2, 3}


def test_a_variable_frame_rate_keeps_its_times(pool: DecoderPool, tmp_path: Path) -> None:
    times = np.cumsum([0.04, 0.5, 0.1, 1.7] * 8).tolist()
    frames = [take_screenshot(i, 0) for i in range(len(times))]
    options = {"g": "1", "preset": "ultrafast"}
    path = write_film(
        tmp_path / "vfr.mkv", frames, rate=25, options=options, time_of=times.__getitem__
    )
    start = times[0]
    stamps = list_times(read_part(pool, path))
    assert len(stamps) > 8
    assert all(min(abs(one - (t - start)) for t in times) < 0.05 or one < 0.05 for one in stamps)


def test_black_frames_at_the_end_do_no_harm(pool: DecoderPool, tmp_path: Path) -> None:
    frames = [take_screenshot(0, 0)] * 10 + [Image.new("RGB", SIZE)] * 10
    path = write_film(tmp_path / "end.mp4", frames, rate=5)
    assert len(read_part(pool, path).frames) in (1, 2)


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_a_film_that_is_cut_off_is_read_as_far_as_it_goes(
    pool: DecoderPool, tmp_path: Path
) -> None:
    path = make_film(tmp_path / "cut.mkv", range(4))
    cut(path, 0.6)
    times = list_times(read_part(pool, path))
    assert 0 in times and max(times) < 4 * SCENE_SECONDS


def write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream("aac", rate=48000)
        for i in range(20):
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            frame.sample_rate, frame.pts = 48000, 1024 * i
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def write_cut(path: Path) -> None:
    cut(make_film(path, range(2)), 0.5)  # the index of an MP4 is at its end


def write_encrypted(path: Path) -> None:
    data = make_film(path, range(1)).read_bytes()
    path.write_bytes(data.replace(b"avc1", b"encv"))


def write_playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n")


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "text": ("a.mp4", lambda path: path.write_text("no film\n" * 100), "not_a_film"),
    "empty": ("a.mkv", lambda path: path.write_bytes(b""), "not_a_film"),
    "noise": ("a.avi", lambda path: path.write_bytes(bytes(range(256)) * 400), "not_a_film"),
    "playlist": ("a.mp4", write_playlist, "not_a_film"),
    "sound alone": ("a.m4v", write_sound, "no_video"),
    "without index": ("a.mp4", write_cut, "not_a_film"),
    "encrypted": ("a.mp4", write_encrypted, "film_encrypted"),
    "picture": ("a.mov", lambda path: take_screenshot(0).save(path, "JPEG"), "not_a_film"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_films_have_a_code(pool: DecoderPool, tmp_path: Path, name: str) -> None:
    file, write, code = BAD[name]
    path = tmp_path / file
    write(path)
    failure = inspect(pool, path)
    assert isinstance(failure, DecodeFailure) and failure.code == code, failure
    assert not failure.again and str(tmp_path) not in failure.reason


def test_a_huge_resolution_is_refused(tmp_path: Path, film: Path) -> None:
    with DecoderPool(1, replace(LIMITS, pixels=SIZE[0] * SIZE[1] - 1)) as small:
        failure = inspect(small, film)
    assert isinstance(failure, DecodeFailure) and failure.code == "picture_too_large"


class Clock:
    """Stands for the module `time`. wall, cpu: seconds that each look at the clock, or at the time
    of the processor, takes. free: first looks at the clock that take none, while packets are
    listed."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0, free: int = 0) -> None:
        self._steps, self._wall, self._cpu, self._free = (wall, cpu), 0.0, 0.0, free

    def monotonic(self) -> float:
        self._free -= 1
        self._wall += self._steps[0] if self._free < 0 else 0.0
        return self._wall

    def process_time(self) -> float:
        self._cpu += self._steps[1]
        return self._cpu


def read_on_a_busy_machine(path: Path, limits: Limits, seconds: float) -> tuple[list[float], int]:
    """Return the times of the frames of a film, and how many requests read them. seconds: what each
    look at the clock takes."""
    times, requests, resume = list[float](), 0, 0.0
    while True:
        with path.open("rb") as file, Film(file, limits) as film, pytest.MonkeyPatch.context() as m:
            m.setattr(films, "time", Clock(wall=seconds, free=PACKETS))
            part = film.read_part(0, 120, resume)
        times += [one.time for one in part.frames]
        requests += 1
        if part.resume is None:
            return times, requests
        assert part.resume > resume and not part.has_ended
        resume = part.resume


@pytest.mark.parametrize(("key_frames", "seconds"), [("8", 5.0), ("32", 1.0)])
def test_a_busy_machine_loses_no_frames(
    pool: DecoderPool, tmp_path: Path, key_frames: str, seconds: float
) -> None:
    options = {"preset": "ultrafast", "g": key_frames, "sc_threshold": "0"}
    path = make_film(tmp_path / "film.mkv", range(4), options=options)
    times, requests = read_on_a_busy_machine(path, LIMITS, seconds)
    assert requests > 1 and times == list_times(read_part(pool, path))


def test_a_film_that_is_never_reached_is_a_failure(tmp_path: Path, film: Path) -> None:
    with pytest.raises(FilmError, match="too long") as failure:
        read_on_a_busy_machine(film, LIMITS, 1e6)
    assert failure.value.skip_code == "decode_timeout"


def test_a_film_that_is_slow_to_decode_keeps_its_key_frames(
    pool: DecoderPool, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = list_times(read_part(pool, film))
    monkeypatch.setattr(films, "time", Clock(cpu=LIMITS.seconds))
    with film.open("rb") as file, Film(file, LIMITS) as opened:
        part = opened.read_part(0, 120)
    assert part.is_thinned and part.resume is None
    assert 0 < len(part.frames) < len(every) and {one.time for one in part.frames} <= {*every}


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".srt", "1\n00:00:01,500 --> 00:00:02,000\n<i>Hello</i>\nworld\n"),
        (".vtt", "WEBVTT\n\n00:01.500 --> 00:02.000\nHello world\n"),
        (
            ".ass",
            "[Script Info]\nScriptType: v4.00+\n\n[Events]\n"
            "Format: Layer, Start, End, Style, Name, "
            "MarginL, MarginR, MarginV, Effect, Text\n"
            "Dialogue: 0,0:00:01.50,0:00:02.00,Default,,0,0,0,,{\\b1}Hello\\Nworld\n",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_subtitles_of_each_format(suffix: str, text: str, encoding: str) -> None:
    assert read_subtitles(text.encode(encoding), suffix) == [(1.5, "Hello world")]


def test_noise_is_no_subtitles(pool: DecoderPool, tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_bytes(bytes(range(256)) * 100)
    result = pool.submit(DecodeRequest(str(path), subtitles=".srt")).result()
    if isinstance(result, DecodeFailure):
        assert result.code == "not_a_film"
    else:
        assert result.words == ()
