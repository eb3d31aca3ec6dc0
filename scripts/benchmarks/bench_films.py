"""How well screenshots find a film and the time, and how fast films are indexed.

scripts/bench films [--minutes 10] [--screenshots 200] [--size 1280x720] [--preset veryfast]
                    [--key-frames N] [--seed 0]

The film has many scenes: first the sample pictures, then pictures of coloured shapes. No picture
comes twice. In each scene the camera moves for 2 to 8 s, and three things move before it. The film
is encoded with H.264 (CRF 23) and indexed by `mini`.

The queries are frames of random times: cropped to 70 % at a random place, letterboxed, shown with
subtitles or the controls of a player, or all of these, and encoded as JPEG (quality 70). A
screenshot counts as found if the first hit of `--kind copy` is within 2 s of its time. Intervals
are of 95 %, by Wilson's method. User CPU leaves out what starting costs, as a film of one second
measures it.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts" / "train")]

import av  # noqa: E402
from helpers.films import Scene, draw_scenes, make_picture, write_film  # noqa: E402
from intervals import compute_interval  # noqa: E402

import search  # noqa: E402
from search import Engine  # noqa: E402
from search.records.indexing import IndexReport  # noqa: E402

NEAR_SECONDS = 2.0
RATE = 25
FIRST_STRANGER = 100_000
"""Seed of the first picture of the other film."""


def make_scenes(seconds: float, rng: random.Random) -> list[Scene]:
    """Return scenes of different pictures that last so long together."""
    paths = sorted((Path(search.__file__).parent / "samples").glob("*/*.jpg"))
    rng.shuffle(paths)
    scenes, total = list[Scene](), 0.0
    while total < seconds:
        number = len(scenes)
        if number < len(paths):
            picture = Image.open(paths[number]).convert("RGB")
        else:
            picture = make_picture(number)
        picture = picture.resize((1400, round(1400 * picture.height / picture.width)))
        length = min(rng.uniform(2, 8), max(1.0, seconds - total))
        boxes = [(rng.uniform(0, 0.3), rng.uniform(0, 0.3), rng.uniform(0.55, 0.7)) for _ in "ab"]
        scenes.append(Scene(picture, length, *boxes))
        total += length
    return scenes


def draw_film(
    scenes: list[Scene], size: tuple[int, int], rng: random.Random
) -> Iterator[Image.Image]:
    """Yield the frames of scenes with things that move: parts of other scenes, which cross the
    frame at 5 to 20 % of its width a second and turn back at its border."""
    width, height = size
    for scene in scenes:
        things = list[tuple[Image.Image, float, float, float]]()
        for _ in range(3):
            other = rng.choice(scenes).picture
            side = round(other.width * rng.uniform(0.15, 0.3))
            x, y = rng.randrange(other.width - side), rng.randrange(max(1, other.height - side))
            shown = round(height * rng.uniform(0.2, 0.35))
            part = other.crop((x, y, x + side, y + side)).resize((shown, shown))
            speed = rng.choice((-1, 1)) * rng.uniform(0.05, 0.2) * width
            things.append((part, rng.uniform(0, width), rng.uniform(0, height - shown), speed))
        count = max(1, round(scene.seconds * RATE))
        for i in range(count):
            frame = scene.draw(i / count, size)
            for part, start, top, speed in things:
                room = width - part.width
                at = abs((start + speed * i / RATE) % (2 * room) - room)
                frame.paste(part, (round(at), round(top)))
            yield frame


def crop(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Keep 70 % of width and height."""
    w, h = round(0.7 * picture.width), round(0.7 * picture.height)
    x, y = rng.randrange(picture.width - w + 1), rng.randrange(picture.height - h + 1)
    return picture.crop((x, y, x + w, y + h))


def add_bars(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Black bars above and below, each 15 % of the height."""
    bar = round(0.15 * picture.height)
    page = Image.new("RGB", (picture.width, picture.height + 2 * bar))
    page.paste(picture, (0, bar))
    return page


def add_subtitles(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Two lines of outlined text at the foot."""
    page = picture.copy()
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(page.height * 0.06)
    for text, y in (("We should have turned left", 0.82), ("at the lighthouse.", 0.9)):
        place = page.width / 2, page.height * y
        draw.text(place, text, "white", font, anchor="ma", stroke_width=2, stroke_fill="black")
    return page


def add_controls(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The controls of a player: a dark strip with a bar and times, and a button in the middle."""
    page, h, w = picture.copy(), picture.height, picture.width
    draw = ImageDraw.Draw(page, "RGBA")
    draw.rectangle((0, 0.88 * h, w, h), (0, 0, 0, 170))
    at = rng.uniform(0.05, 0.95)
    draw.rectangle((0.03 * w, 0.91 * h, 0.97 * w, 0.92 * h), (255, 255, 255, 120))
    draw.rectangle((0.03 * w, 0.91 * h, (0.03 + 0.94 * at) * w, 0.92 * h), (230, 30, 30, 255))
    draw.text((0.04 * w, 0.94 * h), "1:02:03 / 1:58:21", "white", ImageFont.load_default(h * 0.04))
    draw.ellipse((w / 2 - h / 10, h * 0.4, w / 2 + h / 10, h * 0.6), (0, 0, 0, 150))
    return page


def do_all(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Crop, then subtitles, controls and bars."""
    cropped = crop(picture, rng)
    return add_bars(add_controls(add_subtitles(cropped, rng), rng), rng)


ATTACKS: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "cropped to 70 %": crop,
    "letterboxed": add_bars,
    "subtitles": add_subtitles,
    "player controls": add_controls,
    "all of these": do_all,
}


def take_frames(path: Path, times: list[float]) -> dict[float, Image.Image]:
    """Return the frames of a film at some times, by decoding all of it."""
    frames, left = dict[float, Image.Image](), sorted(times)
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            while left and frame.time is not None and frame.time >= left[0] - 1e-6:
                frames[left.pop(0)] = frame.to_image()
            if not left:
                break
    return frames


def take_strangers(count: int, size: tuple[int, int], rng: random.Random) -> list[Image.Image]:
    """Return frames of another film: coloured shapes that the first film does not show."""
    scenes = [
        Scene(make_picture(FIRST_STRANGER + i), 1 / RATE, (rng.random() / 3, rng.random() / 3, 0.6))
        for i in range(count)
    ]
    return list(draw_film(scenes, size, rng))


def compress(picture: Image.Image) -> bytes:
    """Return a picture as a JPEG of quality 70."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=70)
    return out.getvalue()


def measure_cpu() -> float:
    """Return the user seconds of this process and of its processes that ended."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + others.ru_utime


def write_short(folder: Path) -> Path:
    """Write a film of a second to a folder, and return the folder."""
    folder.mkdir()
    write_film(folder / "short.mkv", draw_scenes([Scene(make_picture(0), 1.0)], (320, 180), RATE))
    return folder


def index(home: Path, folder: Path) -> tuple[IndexReport, float, float]:
    """Index a folder in a new library; return the report, seconds, and seconds of user CPU."""
    cpu, start = measure_cpu(), time.perf_counter()
    with Engine.open(home, "mini") as engine:
        report = engine.sync(folder)
        wall = time.perf_counter() - start
    return report, wall, measure_cpu() - cpu  # with the decoding processes, which have ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--screenshots", type=int, default=200)
    parser.add_argument("--others", type=int, default=50, help="screenshots of the other edits")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--key-frames", type=int, help="most frames from one key frame to the next")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    width, height = map(int, args.size.split("x"))
    scenes = make_scenes(60 * args.minutes, rng)
    seconds = sum(round(one.seconds * RATE) for one in scenes) / RATE
    options = {"preset": args.preset, "crf": "23"}
    if args.key_frames:
        options |= {"g": str(args.key_frames), "sc_threshold": "0"}
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder, "films")
        films.mkdir()
        film = write_film(
            films / "film.mkv",
            draw_film(scenes, (width, height), rng),
            rate=RATE,
            options=options,
        )
        size = film.stat().st_size / 1e6
        print(
            f"a film of {seconds / 60:.1f} minutes, {len(scenes)} scenes, {width} x {height}, "
            f"{RATE} frames a second, H.264 {options}, {size:.0f} MB; seed {args.seed}",
            flush=True,
        )
        start_up = index(Path(folder, "first"), write_short(Path(folder, "short")))
        report, wall, cpu = index(Path(folder, "home"), films)
        cpu -= start_up[2]
        print(
            f"start-up, of a film of a second: {start_up[1]:.1f} s, {start_up[2]:.1f} s of user CPU"
        )
        hours = seconds / 3600
        print(
            f"indexed in {wall:.1f} s with the start: {60 * hours / wall:.2f} hours of film a "
            f"minute; {cpu:.1f} s of user CPU without it: for two hours of film "
            f"{2 / hours * cpu:.0f} s of user CPU; {report.pictures} pictures, "
            f"{report.pictures / hours:.0f} an hour",
            flush=True,
        )
        times = [
            round(rng.uniform(0, seconds - 0.1) * RATE) / RATE for _ in range(args.screenshots)
        ]
        frames = take_frames(film, times)
        with Engine.open(Path(folder, "home"), "mini") as engine:
            strangers = take_strangers(args.others, (width, height), rng)
            wrong = sum(
                bool(engine.search(image=compress(crop(one, rng)), kind="copy", k=1))
                for one in strangers
            )
            low, high = compute_interval(wrong, len(strangers))
            print(
                f"frames of another film, cropped, taken for this one: {wrong} of "
                f"{len(strangers)} ({low:.3f} to {high:.3f})",
                flush=True,
            )
            print(
                "edit                n    found within 2 s    right film    median error of the "
                "found"
            )
            for name, attack in ATTACKS.items():
                some = times if name == "cropped to 70 %" else times[: args.others]
                errors = list[float]()
                hits = 0
                for at in some:
                    answer = engine.search(
                        image=compress(attack(frames[at], rng)), kind="copy", k=5
                    )
                    first = answer[0] if answer else None
                    hits += first is not None
                    if first is not None and first.time is not None:
                        errors.append(abs(first.time - at))
                near = sorted(one for one in errors if one <= NEAR_SECONDS)
                low, high = compute_interval(len(near), len(some))
                median = near[len(near) // 2] if near else float("nan")
                print(
                    f"{name:18}{len(some):4}    {len(near) / len(some):.3f} "
                    f"({low:.3f} to {high:.3f})   {hits / len(some):.3f}   {median:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
