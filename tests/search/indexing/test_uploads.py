"""Uploads and single pictures: which pictures are shown, and which never."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.pictures import identity, jpeg, paint
from PIL import Image

from search import (
    Engine,
    InputError,
    LockedError,
    NotFoundError,
    PictureError,
    QueryError,
    StorageError,
)
from search.errors import NotUploadError
from search.indexing.uploads import make_file_name
from search.lock import WriteLock, hold_lock
from search.media.fetch import FetchedPicture

Open = Callable[..., Engine]


def upload_path(engine: Engine, seed: int) -> Path:
    return engine.home / "kept" / f"{identity(seed)[:12]}.jpg"


def list_uploads(engine: Engine) -> list[str]:
    """The names of the files that the library keeps."""
    folder = engine.home / "kept"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_kept_picture_is_found_at_once_and_unchanged(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    assert len(engine.search(image=jpeg(2))) == 1
    picture = engine.keep(jpeg(2))
    assert picture.id == identity(2) and picture.path == str(upload_path(engine, 2))
    assert upload_path(engine, 2).read_bytes() == jpeg(2)
    first = engine.search(image=jpeg(2))[0]
    assert first.path == picture.path and first.score >= 0.999
    assert engine.check(deep=True).problems == ()


def test_a_library_may_begin_with_a_kept_picture(engine: Engine, folder: Path) -> None:
    engine.keep(jpeg(1))
    assert engine.status().model == "mini" and engine.status().pictures == 1
    assert engine.search(image=jpeg(1))[0].score >= 0.999
    paint(folder / "b.jpg", 2)
    assert engine.sync(folder).pictures == 2


def test_what_is_kept_moves_with_the_library(library: Open, home: Path) -> None:
    library().keep(jpeg(1))
    moved = home.rename(home.with_name("moved"))
    engine = library(moved)
    assert engine.picture(identity(1)).path == str(upload_path(engine, 1))
    _, file = engine.original(identity(1))
    with file:
        assert file.read() == jpeg(1)
    assert engine.check(deep=True).problems == ()
    assert engine.sync(moved / "kept").unchanged == 1 and len(engine.status().roots) == 1


def test_keeping_twice_is_keeping_once(engine: Engine) -> None:
    engine.keep(jpeg(1))
    before = upload_path(engine, 1).stat()
    assert engine.keep(jpeg(1)).paths == (str(upload_path(engine, 1)),)
    assert upload_path(engine, 1).stat() == before
    assert engine.status().files == 1


def test_what_is_no_picture_is_not_kept(engine: Engine) -> None:
    for data in (b"", b"hello", jpeg(1)[:-100]):
        with pytest.raises(PictureError):
            engine.keep(data)
    assert not list(engine.home.glob("kept/*/*")) and engine.status().pictures == 0


def test_syncs_around_it_never_take_what_is_kept_for_gone(library: Open, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    engine = library(pictures / "inner" / "home")  # a home inside an indexed folder
    paint(pictures / "a.jpg", 1)
    engine.sync(pictures)
    engine.keep(jpeg(2))
    for place in (pictures, pictures / "inner", pictures, tmp_path, pictures):
        report = engine.sync(place, allow_empty=True)
        assert (report.removed, report.pictures) == (0, 2), place
    assert engine.search(image=jpeg(2))[0].path == str(upload_path(engine, 2))


def test_the_kept_folder_follows_its_files_and_the_rest_of_home_is_no_folder(
    engine: Engine,
) -> None:
    (engine.home / "kept").mkdir()
    with pytest.raises(InputError, match="own folder"):
        engine.sync(engine.home / "kept")
    for seed in (1, 2):
        engine.keep(jpeg(seed))
    report = engine.sync(engine.home / "kept")
    assert (report.unchanged, report.added, report.removed) == (2, 0, 0)
    for place in (engine.home, engine.home / "thumbnails"):
        with pytest.raises(InputError, match="own folder"):
            engine.sync(place)
    upload_path(engine, 1).unlink()
    assert engine.sync(engine.home / "kept").removed == 1
    engine.keep(jpeg(1))
    assert engine.status().pictures == 2


def test_nothing_is_left_where_the_catalog_does_not_take_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.keep(jpeg(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine.library.catalog, "record", full)
    with pytest.raises(OSError, match="No space"):
        engine.keep(jpeg(2))
    assert not engine.keep(jpeg(1)).is_new
    assert list_uploads(engine) == [f"{identity(1)[:12]}.jpg"]


@pytest.mark.catalogs("sqlite", "postgresql")
def test_a_picture_is_kept_between_the_batches_of_a_run(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    run = engine.index(folder)
    assert next(run).phase == "scan"  # the run holds the write lock from here on
    engine.keep(jpeg(9))
    assert engine.search(image=jpeg(9))[0].path == str(upload_path(engine, 9))
    *_, last = run
    assert last.report is not None and (last.report.added, last.report.pictures) == (3, 4)


def test_an_upload_waits_for_a_step_and_not_for_the_run(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(folder / "a.jpg", 1)
    engine.keep(jpeg(8))
    inside, go, done = threading.Event(), threading.Event(), threading.Event()
    real = engine.library.catalog.record

    def slow(*words: object) -> None:
        inside.set()
        go.wait(10)
        real(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.library.catalog, "record", slow)
    run = threading.Thread(target=lambda: engine.sync(folder))
    run.start()
    inside.wait(10)
    monkeypatch.setattr(engine.library.catalog, "record", real)
    other = threading.Thread(target=lambda: (engine.keep(jpeg(9)), done.set()))
    other.start()
    assert not done.wait(0.3)
    go.set()
    assert done.wait(10)
    run.join()
    other.join()
    assert engine.status().pictures == 3


def test_another_writer_is_waited_for_and_named(library: Open, home: Path) -> None:
    engine = library(home, lock_seconds=0.1)
    engine.keep(jpeg(1))
    with hold_lock(home, 1, lambda _: None), pytest.raises(LockedError, match="is writing"):
        engine.keep(jpeg(2))
    engine.keep(jpeg(2))


def test_a_borrower_that_waited_first_does_not_keep_the_run_from_its_lock() -> None:
    """The run got the file lock while another thread of the same engine was waiting for it."""
    waiting, held, done = threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def hold_busy_lock(seconds: float, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
        if threading.current_thread() is not main and not done.is_set():
            waiting.set()
            held.wait(10)
            time.sleep(seconds)
            raise LockedError("it is held")
        yield lambda: None

    main, pen, got = threading.current_thread(), WriteLock(hold_busy_lock, 60, lambda _: None), []

    def borrow() -> None:
        with pen.borrow():
            got.append(pen._held)

    other = threading.Thread(target=borrow)
    other.start()
    waiting.wait(10)

    def run() -> Generator[None, None, None]:
        until = time.monotonic() + 30
        while not got and time.monotonic() < until:
            yield

    with pen.hold():
        held.set()
        list(pen.lend_between(run()))
    done.set()
    other.join()
    assert got == [True]


def test_an_abandoned_run_gives_the_lock_back(engine: Engine, folder: Path) -> None:
    for seed in range(80):
        paint(folder / f"{seed}.jpg", seed)
    run = engine.index(folder)
    for progress in run:
        if progress.phase == "index":
            break
    run.close()  # type: ignore[attr-defined]
    assert 0 < engine.status().pictures < 80
    assert engine.sync(folder).pictures == 80
    assert len(engine.search(image=jpeg(79), k=100)) == 80


# names and sources -----------------------------------------------------------------------------


def test_a_kept_picture_keeps_its_name(engine: Engine) -> None:
    pictures = [engine.keep(jpeg(seed), "Uncle 1999.jpg") for seed in range(2)]
    assert list_uploads(engine) == ["Uncle 1999 (2).jpg", "Uncle 1999.jpg"]
    assert [os.path.basename(one.path) for one in pictures] == list_uploads(engine)[::-1]
    for seed, picture in enumerate(pictures):
        assert picture.is_new and picture.original_name == "Uncle 1999.jpg"
        assert Path(picture.path).read_bytes() == jpeg(seed)
    report = engine.sync(engine.home / "kept")
    assert (report.unchanged, report.pictures) == (2, 2)
    assert engine.search(text="uncle")[0].id in {one.id for one in pictures}


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("Uncle 1999.jpg", "Uncle 1999.jpg"),
        ("../../etc/passwd", "passwd.jpg"),
        ("C:\\pictures\\a.PNG", "a.PNG"),
        (".hidden.jpg", "hidden.jpg"),
        ("what?<>:*.jpg", "what_____.jpg"),
        ("line\nbreak.jpg", "line_break.jpg"),
        ("con.jpg", "_con.jpg"),
        ("照片 1.heic", "照片 1.heic"),
        ("archive.tar.gz", "archive.tar.gz.jpg"),
        ("a. . ", "a.jpg"),
        ("...", "default.jpg"),
        ("", "default.jpg"),
        ("é" * 300 + ".jpg", "é" * 100 + ".jpg"),
        ("\udcff.jpg", "_.jpg"),
    ],
)
def test_names_are_made_safe(original: str, name: str) -> None:
    assert make_file_name(original, "jpg", "default") == name


def test_a_url_gives_name_and_source(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.library.fetcher, "fetch", lambda _: FetchedPicture(jpeg(1)))
    picture = engine.keep("https://me:secret@example.org/pictures/My%20Uncle.jpg?size=2#top")
    assert list_uploads(engine) == ["My Uncle.jpg"]
    assert picture.original_name == "My Uncle.jpg"
    assert picture.source_url == "https://example.org/pictures/My%20Uncle.jpg?size=2"
    assert engine.picture(identity(1)).to_json()["source_url"] == picture.source_url


def test_a_picture_that_the_library_has_is_not_stored_twice(
    engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = paint(folder / "mine.jpg", 1)
    engine.sync(folder)
    monkeypatch.setattr(engine.library.fetcher, "fetch", lambda _: FetchedPicture(jpeg(1)))
    picture = engine.keep("https://example.org/a.jpg")
    assert not picture.is_new and picture.paths == (str(path),) and list_uploads(engine) == []
    assert picture.source_url == "https://example.org/a.jpg"
    path.unlink()
    assert engine.keep(jpeg(1), "again.jpg").is_new  # its only file is gone
    assert list_uploads(engine) == ["again.jpg"]


def test_the_users_own_file_comes_first(library: Open, tmp_path: Path) -> None:
    engine = library(tmp_path / "a home that sorts first")
    engine.keep(jpeg(1), "a.jpg")
    own = paint(tmp_path / "pictures" / "z.jpg", 1)
    engine.sync(tmp_path / "pictures")
    upload = str(engine.home / "kept" / "a.jpg")
    assert engine.picture(identity(1)).paths == (str(own), upload)
    assert engine.search(image=jpeg(1))[0].paths == (str(own), upload)
    with engine.original(identity(1))[1] as file:
        assert file.name is not None and os.path.samestat(os.fstat(file.fileno()), own.stat())


# deleting --------------------------------------------------------------------------------------


def test_an_upload_is_deleted_to_the_bin(engine: Engine, bin_folder: Path) -> None:
    for seed in range(2):
        engine.keep(jpeg(seed), f"{seed}.jpg")
    engine.delete(identity(1))
    assert list_uploads(engine) == ["0.jpg"]
    assert (bin_folder / "1.jpg").read_bytes() == jpeg(1)
    assert [hit.id for hit in engine.search(image=jpeg(1))] == [identity(0)]
    with pytest.raises(NotFoundError):
        engine.delete(identity(1))
    assert engine.keep(jpeg(1), "1.jpg").is_new and engine.status().pictures == 2


def test_a_file_of_the_user_is_never_deleted(
    engine: Engine, folder: Path, bin_folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with pytest.raises(NotUploadError, match="file of your own"):
        engine.delete(identity(1))
    engine.keep(jpeg(2), "b.jpg")
    paint(folder / "b.jpg", 2)
    engine.sync(folder)
    engine.delete(identity(2))
    assert engine.picture(identity(2)).paths == (str(folder / "b.jpg"),)
    assert list_uploads(engine) == [] and len(list(folder.iterdir())) == 2


def test_without_a_bin_nothing_is_deleted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.keep(jpeg(1), "a.jpg")

    def refuse(path: str) -> None:
        raise PermissionError(13, "no bin here", path)

    monkeypatch.setattr("send2trash.send2trash", refuse)
    with pytest.raises(StorageError, match="bin"):
        engine.delete(identity(1))
    assert list_uploads(engine) == ["a.jpg"] and engine.status().pictures == 1


# single pictures -------------------------------------------------------------------------------


def test_a_picture_tells_its_facts(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    paint(folder / "copy.jpg", 1)
    engine.sync(folder)
    description = engine.picture(identity(1)[:10]).to_json()
    assert description["id"] == identity(1) and description["paths"] == [
        str(folder / "a.jpg"),
        str(folder / "copy.jpg"),
    ]
    assert (description["type"], description["width"], description["height"]) == ("jpeg", 48, 40)
    assert (
        description["bytes"] == len(jpeg(1))
        and len(description["palette"]) > 0
        and description["tags"] == []
    )
    with pytest.raises(NotFoundError):
        engine.picture("0" * 64)
    with pytest.raises(QueryError):
        engine.picture("../../etc")


@pytest.mark.catalogs("sqlite", "postgresql")
def test_pages_hold_every_picture_once_and_the_newest_first(engine: Engine, folder: Path) -> None:
    for seed in range(7):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    engine.keep(jpeg(50))
    pages = [engine.pictures(page, size=3) for page in (1, 2, 3, 4)]
    assert [len(page.pictures) for page in pages] == [3, 3, 2, 0]
    assert {(page.total, page.pages) for page in pages} == {(8, 3)}
    ids = [picture.id for page in pages for picture in page.pictures]
    assert ids[0] == identity(50) and len(set(ids)) == 8


def test_thumbnails_are_made_again_where_they_are_missing(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    before = engine.thumbnail(identity(1))
    engine.library.thumbnails.delete(identity(1))
    assert engine.thumbnail(identity(1)) == before
    with Image.open(engine.library.thumbnails.path(identity(1))) as picture:
        assert picture.format == "WEBP"


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "HEIF"])
def test_a_preview_is_a_jpeg_whatever_the_picture_is(
    engine: Engine, folder: Path, kind: str
) -> None:
    picture = Image.new("RGB", (2400, 1200), "red")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    picture.save(folder / f"a.{kind.lower()}", kind, exif=exif)
    engine.sync(folder)
    data = engine.preview(engine.pictures().pictures[0].id)
    with Image.open(io.BytesIO(data)) as preview:
        assert preview.format == "JPEG" and sorted(preview.size) == [800, 1600]
        assert not preview.getexif()


@pytest.mark.parametrize(
    "what", ["changed", "touched", "gone", "link", "folder link", "root link", "fifo", "folder"]
)
def test_a_file_that_is_not_what_was_indexed_is_not_opened(
    engine: Engine, folder: Path, tmp_path: Path, what: str
) -> None:
    path = paint(folder / "inner" / "a.jpg", 1)
    engine.sync(folder)
    with engine.original(identity(1))[1] as file:
        assert file.read() == jpeg(1)
    times = path.stat().st_mtime_ns
    if what == "changed":
        path.write_bytes(b"s" * len(jpeg(1)))
    elif what == "touched":
        os.utime(path, ns=(times, times + 1))
    elif what == "folder link":
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
    elif what == "root link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        path.rename(tmp_path / "elsewhere.jpg")
        if what == "link":
            path.symlink_to(tmp_path / "elsewhere.jpg")
        elif what == "fifo":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
    engine.library.thumbnails.delete(identity(1))
    for show in (engine.original, engine.preview, engine.thumbnail):
        with pytest.raises(NotFoundError, match="index its folder again"):
            show(identity(1))


def test_a_url_is_kept_and_shown_as_its_picture(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = []

    def fetch(url: str) -> FetchedPicture:
        requests.append(url)
        return FetchedPicture(jpeg(1))

    monkeypatch.setattr(engine.library.fetcher, "fetch", fetch)
    with Image.open(io.BytesIO(engine.preview("https://example.org/a.jpg"))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (48, 40))
    assert engine.status().pictures == 0
    assert engine.keep("https://example.org/a.jpg").id == identity(1)
    assert (engine.home / "kept" / "a.jpg").read_bytes() == jpeg(1)
    assert requests == ["https://example.org/a.jpg"] * 2


def test_a_crop_of_a_kept_picture_is_that_of_its_file(engine: Engine) -> None:
    for seed in range(4):
        engine.keep(jpeg(seed))
    by_id = engine.search(image=f"id:{identity(1)[:12]}", crop="10%,0,60%,50%")
    by_file = engine.search(image=jpeg(1), crop="10%,0,60%,50%")
    assert [(h.id, h.score) for h in by_id] == [(h.id, h.score) for h in by_file]
    assert by_id[0].score < 0.9999
    upload_path(engine, 1).unlink()
    with pytest.raises(NotFoundError, match="as it was indexed"):
        engine.search(image=f"id:{identity(1)}", crop="10%,0,60%,50%")
