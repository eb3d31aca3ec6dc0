"""What a sync notices of edits, and what it opens to notice them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.pictures import identity, jpeg, paint
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from search import Engine, InputError, NotFoundError
from search.catalog import schema
from search.cli.app import app
from search.media import probe
from search.media.decoder_pool import DecoderPool

Open = Callable[..., Engine]


def edit_and_keep_date(path: Path, seed: int) -> None:
    """Replace a picture by another one of the same size in place, and set its date back."""
    before = path.stat()
    data = jpeg(seed)
    with path.open("r+b") as file:
        file.write(data + b"\0" * (before.st_size - len(data)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def paint_padded(path: Path, seed: int) -> None:
    """Write a picture with bytes behind its end, so that all such files have one size."""
    paint(path, seed)
    path.write_bytes(jpeg(seed).ljust(3000, b"\0"))


def shown_path(engine: Engine, seed: int) -> str:
    return os.path.basename(engine.search(image=jpeg(seed), k=1)[0].path)


@pytest.fixture
def opened(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Paths of the files that a sync reads and probes from now on."""
    paths: dict[str, list[str]] = {"read": [], "probed": []}
    real_submit, real_probe = DecoderPool.submit, probe.probe_file

    def submit(pool: DecoderPool, source: Any, *args: Any, **more: Any) -> Any:
        paths["read"].append(os.path.basename(source.path or ""))
        return real_submit(pool, source, *args, **more)

    def probe_file(path: Any) -> bytes:
        paths["probed"].append(os.path.basename(path))
        return real_probe(path)

    monkeypatch.setattr(DecoderPool, "submit", submit)
    monkeypatch.setattr("search.indexing.folders.probe_file", probe_file)
    return paths


def test_an_edit_that_keeps_size_and_date_is_noticed(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint_padded(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    edit_and_keep_date(folder / "1.jpg", 7)
    report = engine.sync(folder)
    assert (report.changed, report.unchanged, report.embedded) == (1, 2, 1)
    assert shown_path(engine, 7) == "1.jpg"
    assert engine.sync(folder).unchanged == 3


def test_an_edit_of_a_file_that_also_moved_is_noticed(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint_padded(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    edit_and_keep_date(folder / "1.jpg", 7)
    (folder / "1.jpg").rename(folder / "new.jpg")
    (folder / "2.jpg").rename(folder / "moved.jpg")
    report = engine.sync(folder)
    assert (report.added, report.removed, report.moved, report.unchanged) == (1, 1, 1, 1)
    assert shown_path(engine, 7) == "new.jpg"


def test_a_change_of_attributes_reads_no_whole_file_and_only_once_a_part(
    engine: Engine, folder: Path, opened: dict[str, list[str]]
) -> None:
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    assert len(opened["read"]) == 3
    (folder / "1.jpg").chmod(0o600)
    os.link(folder / "2.jpg", folder / "link.txt")
    assert engine.sync(folder).unchanged == 3
    assert sorted(opened["probed"]) == ["1.jpg", "2.jpg"] and len(opened["read"]) == 3
    assert engine.sync(folder).unchanged == 3
    assert len(opened["probed"]) == 2 and len(opened["read"]) == 3


def test_a_copy_of_the_disk_with_the_same_dates_is_probed_and_not_read(
    engine: Engine, folder: Path, opened: dict[str, list[str]]
) -> None:
    path = paint(folder / "a.jpg", 1)
    engine.sync(folder)
    info, data = path.stat(), path.read_bytes()
    path.rename(folder / "keeps its inode.txt")
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert engine.sync(folder).unchanged == 1
    assert opened == {"read": ["a.jpg"], "probed": ["a.jpg"]}


def test_a_catalog_of_an_earlier_version_is_completed_without_opening_a_file(
    engine: Engine, folder: Path, opened: dict[str, list[str]]
) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with engine.library.database.write() as c:
        c.execute(update(schema.files).values(ctime_ns=None, probe=None))
    assert engine.sync(folder).unchanged == 1
    with engine.library.database.read() as c:
        assert c.scalar(select(schema.files.c.ctime_ns)) == (folder / "a.jpg").stat().st_ctime_ns
    assert opened == {"read": ["a.jpg"], "probed": []}
    (folder / "a.jpg").chmod(0o600)
    assert engine.sync(folder).unchanged == 1  # no probe to compare with: it is read
    assert opened == {"read": ["a.jpg", "a.jpg"], "probed": []}


def test_an_edited_file_that_keeps_its_date_is_not_shown_as_the_picture(
    engine: Engine, folder: Path
) -> None:
    path = folder / "a.jpg"
    paint_padded(path, 1)
    engine.sync(folder)
    (picture,) = engine.pictures().pictures
    path.chmod(0o600)
    engine.original(picture.id)[1].close()
    edit_and_keep_date(path, 2)
    with pytest.raises(NotFoundError, match="as it was indexed"):
        engine.original(picture.id)


# --force ---------------------------------------------------------------------------------------


def forge(engine: Engine, path: Path) -> None:
    """Let the catalog hold the state that a file has now, as if nothing told of an edit."""
    info = path.stat()
    with engine.library.database.write() as c:
        where = schema.files.c.path == os.fsencode(path.name)
        values = {"ctime_ns": info.st_ctime_ns, "probe": probe.probe_file(str(path))}
        c.execute(update(schema.files).where(where).values(values))


def test_force_reads_again_what_seems_unchanged(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint_padded(folder / f"{seed}.jpg", seed)
        paint_padded(folder / "sub" / f"{seed}.jpg", seed)
    engine.sync(folder)
    for name in ("1.jpg", "2.jpg"):
        edit_and_keep_date(folder / name, 7)
        forge(engine, folder / name)
    assert engine.sync(folder).unchanged == 6
    report = engine.sync(folder, force=["2.jpg", "sub/0.jpg"])
    assert (report.changed, report.unchanged) == (1, 5)
    report = engine.sync(folder, force=True)
    assert (report.changed, report.unchanged, report.embedded) == (1, 5, 0)


def test_force_makes_thumbnails_and_metadata_again(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    thumbnail = engine.library.thumbnails.path(identity(1))
    before = thumbnail.read_bytes()
    thumbnail.write_bytes(b"noise")
    with engine.library.database.write() as c:
        c.execute(update(schema.pictures).values(width=1))
    report = engine.sync(folder, force=True)
    assert (report.unchanged, report.embedded) == (1, 0)
    assert thumbnail.read_bytes() == before and engine.picture(identity(1)).metadata.width == 48


def test_a_glob_that_matches_nothing_is_refused(engine: Engine, folder: Path) -> None:
    paint(folder / "a.jpg", 1)
    engine.sync(folder)
    with pytest.raises(InputError, match=r"no picture .* matches b\.jpg"):
        engine.sync(folder, force=["b.jpg"])


def test_the_command_takes_force_and_paths(home: Path, folder: Path) -> None:
    run, start = CliRunner().invoke, ["--home", str(home), "--model", "mini", "index"]
    paint_padded(folder / "a.jpg", 1)
    assert run(app, [*start, str(folder)]).exit_code == 0
    edit_and_keep_date(folder / "a.jpg", 2)
    with Engine.open(home) as engine:
        forge(engine, folder / "a.jpg")
    assert "1 unchanged" in run(app, [*start, str(folder)]).output
    assert run(app, [*start, str(folder), "--path", "a.jpg"]).exit_code == 2
    forced = run(app, [*start, str(folder), "--force", "--path", "a.jpg"])
    assert "1 changed" in forced.output


# check -----------------------------------------------------------------------------------------


def test_what_a_deep_check_advises_works(engine: Engine, folder: Path) -> None:
    for seed in range(3):
        paint_padded(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    edit_and_keep_date(folder / "1.jpg", 7)
    forge(engine, folder / "1.jpg")
    assert engine.sync(folder).unchanged == 3
    (problem,) = engine.check(deep=True).problems
    assert problem == f"{folder / '1.jpg'}: changed since it was indexed; index its folder again"
    assert engine.sync(folder).changed == 1
    assert engine.check(deep=True).problems == ()


def test_a_picture_without_a_file_is_taken_out(engine: Engine, folder: Path) -> None:
    for seed in range(2):
        paint(folder / f"{seed}.jpg", seed)
    engine.sync(folder)
    with engine.library.database.write() as c:
        c.execute(delete(schema.places).where(schema.places.c.picture == 1))
    engine.library.catalog.repair_counts()
    report = engine.check()
    assert report.repaired == ("1 pictures without a file were taken out",)
    assert report.problems == () and engine.status().pictures == 1
    assert [hit.id for hit in engine.search(image=jpeg(0))] == [identity(1)]
    report = engine.sync(folder)
    assert (report.added, report.embedded, report.pictures) == (1, 0, 2)


# the probe -------------------------------------------------------------------------------------


def test_a_probe_sees_any_byte_of_a_small_file_and_the_samples_of_a_large_one(
    tmp_path: Path,
) -> None:
    small, large = os.urandom(5000), os.urandom(probe.WHOLE * 4)
    for data, places in ((small, range(0, 5000, 501)), (large, (0, 4000, len(large) - 1))):
        for place in places:
            changed = bytearray(data)
            changed[place] ^= 1
            assert probe.probe_data(bytes(changed)) != probe.probe_data(data), place
        path = tmp_path / "data"
        path.write_bytes(data)
        assert probe.probe_file(str(path)) == probe.probe_data(data)
    assert probe.probe_data(small) != probe.probe_data(small + b"\0")
