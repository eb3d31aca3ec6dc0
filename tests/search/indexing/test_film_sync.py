"""Films in a library: indexed as frames, found by screenshots and words, moved, checked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.films import SCENE_SECONDS as SECONDS, make_film, take_screenshot
from helpers.pictures import paint
from PIL import Image

from search import Engine, InputError
from search.media.decoder_pool import DecoderPool


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of five scenes with subtitles and a title."""
    return make_film(
        tmp_path_factory.mktemp("films") / "Harbour.mkv",
        range(5),
        metadata={"title": "Voyage"},
        subtitles=[(5.0, 6.0, "the lighthouse keeper"), (13.0, 14.0, "goodbye")],
    )


@pytest.fixture
def films(film: Path, folder: Path) -> Path:
    """A folder with the film."""
    shutil.copy(film, folder / film.name)
    return folder


def test_a_screenshot_finds_film_and_time(engine: Engine, films: Path) -> None:
    report = engine.sync(films)
    assert (report.added, report.skipped, report.left_out) == (1, (), {})
    assert report.embedded == report.pictures >= 5
    for seed in range(5):
        shot = take_screenshot(seed).crop((48, 27, 272, 153))
        hit = engine.search(image=shot, kind="copy")[0]
        assert Path(hit.path).name == "Harbour.mkv" and hit.kind in ("copy", "identical")
        assert hit.time == pytest.approx(SECONDS * (seed + 0.5), abs=2.1)
        assert hit.to_json()["time"] == hit.time
        assert engine.picture(hit.id).time == hit.time


def test_words_of_a_film_find_the_nearest_frame(engine: Engine, films: Path) -> None:
    engine.sync(films)
    for words, at in (("lighthouse keeper", 5.0), ("goodbye", 13.0), ("voyage", 0.0)):
        first = engine.search(text=words)[0]
        assert first.time == pytest.approx(at, abs=2.1), words


def test_frames_are_selected_by_their_type(engine: Engine, films: Path) -> None:
    engine.sync(films)
    everything = engine.status().pictures
    selected = engine.browse("type=film").total
    assert 0 < selected == everything - engine.browse("type!=film").total
    facet = next(one for one in engine.facets().fields["type"] if one.value == "film")
    assert (facet.where, facet.count) == ("type=film", selected)


def test_subtitles_beside_a_film_are_read_again_when_they_change(
    engine: Engine, films: Path
) -> None:
    engine.sync(films)
    beside = films / "Harbour.de.srt"
    beside.write_text("1\n00:00:09,000 --> 00:00:10,000\nGuten Abend\n")
    report = engine.sync(films)
    assert (report.unchanged, report.embedded) == (1, 0)
    assert engine.search(text="guten abend")[0].time == pytest.approx(9.0, abs=2.1)
    beside.write_bytes("1\n00:00:01,000 --> 00:00:02,000\n晚上好\n".encode("gb18030"))
    engine.sync(films)
    assert engine.search(text="晚上好")[0].time == pytest.approx(1.0, abs=2.1)
    words = engine.library.reader
    beside.unlink()
    engine.sync(films)
    assert not engine.search(text="晚上好", min_score=0.9) and words.list_wrong_texts() == []


def test_unchanged_and_moved_films_are_not_decoded(
    engine: Engine, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.sync(films)
    before = {one.id for one in engine.browse().pictures}
    spans = list[object]()
    real = DecoderPool.submit

    def submit(self: DecoderPool, source: object, *rest: object, **more: object) -> object:
        if getattr(source, "film", False) not in (True, False):
            spans.append(source)
        return real(self, source, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DecoderPool, "submit", submit)
    assert engine.sync(films).unchanged == 1
    (films / "sub").mkdir()
    (films / "Harbour.mkv").rename(films / "sub" / "Port.mkv")  # the same inode
    report = engine.sync(films)
    assert (report.moved, report.embedded) == (1, 0)
    shutil.copy(films / "sub" / "Port.mkv", films / "Copy.mkv")
    report = engine.sync(films)
    assert (report.added, report.embedded) == (1, 0)
    (films / "sub" / "Port.mkv").unlink()
    assert engine.sync(films, allow_empty=True).removed == 1
    assert {one.id for one in engine.browse().pictures} == before and not spans
    assert engine.check().problems == ()


def test_a_changed_film_is_read_again(engine: Engine, films: Path) -> None:
    engine.sync(films)
    make_film(films / "Harbour.mkv", range(3, 6))
    report = engine.sync(films)
    assert (report.changed, report.added, report.removed) == (1, 0, 0)
    assert engine.search(image=take_screenshot(5), kind="copy")[0].time == pytest.approx(10, abs=2)
    assert not engine.search(image=take_screenshot(0), kind="copy")
    assert engine.check(deep=True).problems == ()


def test_an_interrupted_film_is_read_to_its_end_by_the_next_sync(
    engine: Engine, films: Path
) -> None:
    for progress in engine.index(films):
        if progress.phase == "index" and progress.done == 0:
            break  # after the first frames, and before the film is complete
    report = engine.sync(films)
    assert report.skipped == () and report.pictures >= 5
    assert engine.sync(films).unchanged == 1 and engine.check().problems == ()


def test_frames_are_shown_like_pictures(engine: Engine, films: Path) -> None:
    engine.sync(films)
    one = engine.search(image=take_screenshot(2), kind="copy")[0]
    engine.library.thumbnails.delete(one.id)
    assert engine.thumbnail(one.id)[8:12] == b"WEBP"
    assert engine.preview(one.id).startswith(b"\xff\xd8")
    picture, file = engine.original(one.id)
    with file:
        assert file.read() == (films / "Harbour.mkv").read_bytes()
    assert engine.library.browser.content(one.id).startswith(b"\x89PNG")
    assert engine.search(image=f"id:{one.id}", kind="copy")[0].id == one.id
    assert engine.search(image=f"id:{one.id}", crop="10%,10%,80%,80%", kind="copy")
    assert b"".join(engine.archive([picture])).count(b".mkv 00.00.") == 2  # its entry and its list


def test_missing_thumbnails_of_frames_are_made_again(engine: Engine, films: Path) -> None:
    engine.sync(films)
    for one in engine.browse().pictures:
        engine.library.thumbnails.delete(one.id)
    report = engine.check()
    assert report.problems == () and "thumbnails were made again" in report.repaired[0]
    with (films / "Harbour.mkv").open("ab") as file:
        file.write(b"xxxx")
    assert "changed since it was indexed" in engine.check(deep=True).problems[0]


def test_forgetting_a_film_takes_its_frames(engine: Engine, films: Path) -> None:
    engine.sync(films)
    assert engine.forget(films) == 1
    assert engine.status().pictures == 0


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_the_frames_of_an_animation_are_found(engine: Engine, folder: Path, ending: str) -> None:
    frames = [take_screenshot(seed, 0) for seed in (0, 0, 1, 1, 2)]
    path = folder / f"animation.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=500)
    report = engine.sync(folder)
    assert (report.added, report.pictures, report.skipped) == (1, 3, ())
    for seed, at in ((1, 1.0), (2, 2.0)):
        hit = engine.search(image=take_screenshot(seed, 0).resize((200, 112)), kind="copy")[0]
        assert hit.time == pytest.approx(at, abs=0.02)
        assert engine.preview(hit.id).startswith(b"\xff\xd8")
    first = engine.search(image=take_screenshot(0, 0), kind="copy")[0]
    assert first.time is None and len(engine.frames(first.id).frames) == 2
    before = {one.id for one in engine.browse().pictures}
    shutil.copy(path, folder / f"copy.{ending}")
    assert engine.sync(folder).embedded == 0
    path.unlink()
    engine.sync(folder)
    assert {one.id for one in engine.browse().pictures} == before
    assert engine.check(deep=True).problems == ()


def test_a_single_film_is_indexed(engine: Engine, films: Path) -> None:
    paint(films / "poster.jpg", 1)
    shutil.copy(films / "Harbour.mkv", films / "Other [1].mkv")
    (films / "Harbour.en.srt").write_text("1\n00:00:09,000 --> 00:00:10,000\nlow tide\n")
    report = engine.sync(films / "Harbour.mkv")
    assert report.added == 1 and [one.path for one in engine.status().roots] == [str(films)]
    assert engine.search(text="low tide")[0].time == pytest.approx(9.0, abs=2.1)
    assert engine.sync(films).added == 0  # as a schedule does: only the film is read
    assert engine.sync(films / "Other [1].mkv").added == 1
    assert engine.sync(films, exclude=()).added == 1  # the rest of the folder
    assert engine.sync(films / "Harbour.mkv").unchanged == 3  # a part of what is read
    with pytest.raises(InputError, match="no film"):
        engine.sync(films / "poster.jpg")


def test_a_file_that_is_no_animation_any_more_lends_no_frames(engine: Engine, folder: Path) -> None:
    def write(name: str, colors: Sequence[str]) -> None:
        first, *rest = (draw_square(color) for color in colors)
        first.save(folder / name, save_all=True, append_images=rest, duration=500)

    moving, still = ("red", "green", "blue", "yellow"), ("white",)
    for name in ("b.gif", "c.gif"):
        write(name, moving)
    engine.sync(folder)
    write("b.gif", still)
    engine.sync(folder)
    shutil.copy(folder / "c.gif", folder / "d.gif")
    engine.sync(folder)
    paths = {Path(path).name for path in engine.picture(engine.find_id(folder / "d.gif")).paths}
    assert paths == {"c.gif", "d.gif"}
    (alone,) = engine.browse("name=b.gif").pictures
    assert {Path(path).name for path in alone.paths} == {"b.gif"}


def draw_square(color: str) -> Image.Image:
    """A picture with a square of a color on grey, whose place depends on the color."""
    picture = Image.new("RGB", (96, 96), "grey")
    at = 8 * (len(color) % 6)
    picture.paste(color, (at, at, at + 40, at + 40))
    return picture
