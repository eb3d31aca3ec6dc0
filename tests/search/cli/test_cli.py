"""The installed command, end to end: output and exit codes."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.pictures import paint
from helpers.project import SAMPLES
from PIL import Image

from search.cli import output
from search.records.indexing import Progress

COMMAND = Path(sys.executable).with_name("lookalike")


def run(
    home: Path, *words: str | bytes | Path, stdin: bytes = b"", code: int = 0
) -> subprocess.CompletedProcess[bytes]:
    """Run the command; its exit status must be `code`, and no stack trace may show."""
    environment = {**os.environ, "LOOKALIKE_HOME": str(home), "COLUMNS": "200"}
    done = subprocess.run([COMMAND, *words], input=stdin, capture_output=True, env=environment)
    assert b"Traceback" not in done.stderr
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home that has 33 sample pictures, and their folder."""
    place = tmp_path_factory.mktemp("cli")
    for kind in ("hat", "pants", "shoes"):
        shutil.copytree(SAMPLES / kind, place / "photos" / kind)
    run(place / "home", "index", place / "photos")
    return place / "home", place / "photos"


def search_json(home: Path, *words: str | Path, stdin: bytes = b"") -> dict:
    return json.loads(run(home, "search", "--json", *words, stdin=stdin).stdout)


def test_a_new_library_says_which_model_it_takes_and_its_terms(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "hat", tmp_path / "hat")
    done = run(tmp_path / "home", "index", tmp_path / "hat", "--json")
    report = json.loads(done.stdout)
    assert report.pop("seconds") > 0
    assert report == {
        "added": 11,
        "changed": 0,
        "moved": 0,
        "removed": 0,
        "unchanged": 0,
        "offline": 0,
        "embedded": 11,
        "pictures": 11,
        "skipped": [],
        "left_out": {},
        "texts": None,
    }
    line = done.stderr.decode().splitlines()[0]
    assert line.startswith("model: mini") and "commercially" in line
    again = run(tmp_path / "home", "index", tmp_path / "hat", "--json")
    assert json.loads(again.stdout)["unchanged"] == 11
    assert json.loads(again.stdout)["embedded"] == 0
    assert again.stderr == b""


def test_files_that_are_not_read_and_links_are_told(tmp_path: Path) -> None:
    home, photos = tmp_path / "home", tmp_path / "photos"
    for path, seed in (("a.jpg", 1), ("x.jpg?name=large", 2), ("@eaDir/b.jpg", 3)):
        paint(photos / path, seed)
    for name in ("c.CR3", "d.nef", "e.psd"):
        (photos / name).touch()
    paint(tmp_path / "away" / "f.jpg", 4)
    (photos / "link").symlink_to(tmp_path / "away")
    kinds = {"raw": 2, "psd": 1, "link": 1, "system_folder": 1}
    report = json.loads(run(home, "index", photos, "--json").stdout)
    assert report["left_out"] == kinds and report["pictures"] == 2
    assert json.loads(run(home, "status", "--json").stdout)["left_out"] == kinds
    done = run(home, "index", photos)
    line = b"left out  2 RAW, 1 PSD, 1 link, 1 system folder"
    assert line in done.stdout and line in run(home, "status").stdout
    assert b"--follow-links" in done.stderr and b"LOOKALIKE_DEFAULT_EXCLUDES" in done.stderr
    report = json.loads(run(home, "index", photos, "--follow-links", "--json").stdout)
    assert report["pictures"] == 3 and "link" not in report["left_out"]
    assert json.loads(run(home, "index", photos, "--json").stdout)["unchanged"] == 3


def test_a_file_finds_itself_first(library: tuple[Path, Path]) -> None:
    home, photos = library
    answer = search_json(home, photos / "hat" / "03.jpg", "-k", "5")
    first = answer["hits"][0]
    assert first["path"] == str(photos / "hat" / "03.jpg") and first["score"] >= 0.999
    assert list(first) == [
        "id",
        "path",
        "paths",
        "score",
        "kind",
        "probability",
        "width",
        "height",
        "tags",
        "source",
        "time",
        "low_content",
        "favourite",
        "copies",
        "evidence",
    ]
    assert len(answer["hits"]) == 5 and answer["model"] == "mini"
    assert set(answer["took_ms"]) == {"decode", "embed", "search", "verify", "total"}
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_file_standard_input_and_id_agree(library: tuple[Path, Path]) -> None:
    home, photos = library
    path = photos / "shoes" / "05.jpg"
    by_file = search_json(home, path)["hits"]
    by_stdin = search_json(home, "-", stdin=path.read_bytes())["hits"]
    by_id = search_json(home, f"id:{by_file[0]['id']}")["hits"]
    short = search_json(home, f"id:{by_file[0]['id'][:12]}")["hits"]
    assert by_stdin == by_file and short == by_id
    assert [h["id"] for h in by_id] == [h["id"] for h in by_file]
    for one, other in zip(by_id, by_file, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)  # stored in half precision


def test_k_is_bounded_by_the_library(library: tuple[Path, Path]) -> None:
    home, photos = library
    assert len(search_json(home, photos / "hat" / "01.jpg", "-k", "1000")["hits"]) == 33


def test_min_score_leaves_out_the_rest(library: tuple[Path, Path]) -> None:
    home, photos = library
    hits = search_json(home, photos / "hat" / "01.jpg", "--min-score", "0.999")["hits"]
    assert len(hits) == 1
    nothing = Image.new("RGB", (64, 64), "red")
    data = io.BytesIO()
    nothing.save(data, "PNG")
    done = run(home, "search", "-", "--min-score", "0.99", stdin=data.getvalue())
    assert done.stdout.decode() == "nothing at or above that score\n"


def test_a_crop_belongs_to_the_image_before_it(library: tuple[Path, Path]) -> None:
    home, photos = library
    a, b = photos / "hat" / "02.jpg", photos / "pants" / "02.jpg"
    terms = search_json(home, a, "--crop", "25%,25%,50%,50%", b)["query"]["terms"]
    assert [term.get("crop") for term in terms] == [["25%", "25%", "50%", "50%"], None]
    terms = search_json(home, a, b, "--crop=0,0,100,100", "-k", "2")["query"]["terms"]
    assert [term.get("crop") for term in terms] == [None, [0, 0, 100, 100]]


def test_a_crop_is_the_same_as_a_cropped_file(library: tuple[Path, Path], tmp_path: Path) -> None:
    home, photos = library
    path = photos / "pants" / "04.jpg"
    with Image.open(path) as picture:
        picture.crop((50, 60, 250, 300)).save(tmp_path / "part.png")
    cropped = search_json(home, path, "--crop", "50,60,200,240")["hits"]
    part = search_json(home, tmp_path / "part.png")["hits"]
    assert [h["id"] for h in cropped[:3]] == [h["id"] for h in part[:3]]
    assert cropped[0]["score"] == pytest.approx(part[0]["score"], abs=0.02)


def test_several_pictures_add_up(library: tuple[Path, Path]) -> None:
    home, photos = library
    pair = [photos / "hat" / "06.jpg", photos / "shoes" / "06.jpg"]
    hits = search_json(home, *pair, "-k", "2")["hits"]
    assert {h["path"] for h in hits} == {str(p) for p in pair}


def test_people_get_lines_and_no_escapes_in_a_pipe(library: tuple[Path, Path]) -> None:
    home, photos = library
    done = run(home, "search", photos / "hat" / "03.jpg", "-k", "2")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith(f"1.000  {photos}/hat/03.jpg  400x") and len(lines) == 2
    assert b"\x1b" not in done.stdout + done.stderr


def test_status_and_check_tell_the_state(library: tuple[Path, Path]) -> None:
    home, photos = library
    status = json.loads(run(home, "status", "--json").stdout)
    assert list(status) == [
        "home",
        "model",
        "fingerprint",
        "pictures",
        "embedded",
        "files",
        "roots",
        "index",
        "version",
        "left_out",
        "spaces",
        "catalog",
        "backend",
        "texts",
        "inbox",
    ]
    assert status["spaces"] == [
        {"name": "mini", "fingerprint": status["fingerprint"], "embedded": 33}
    ]
    assert status["roots"] == [
        {
            "path": str(photos),
            "state": "online",
            "files": 33,
            "left_out": {},
            "exclude": [],
            "sync_hours": None,
            "watched": False,
            "collection": None,
        }
    ]
    assert set(status["index"]) == {"kind", "generation"}
    checked = json.loads(run(home, "check", "--deep", "--json").stdout)
    assert checked == {"pictures": 33, "files": 33, "problems": [], "repaired": []}


def test_forget_leaves_the_pictures(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "hat", tmp_path / "hat")
    home = tmp_path / "home"
    run(home, "index", tmp_path / "hat")
    assert json.loads(run(home, "forget", tmp_path / "hat", "--json").stdout) == {
        "files": 11,
        "pictures": 0,
    }
    assert len(list((tmp_path / "hat").iterdir())) == 11
    assert not list((home / "thumbnails").rglob("*.webp"))


def test_the_schedule_of_a_folder_is_set_and_told(tmp_path: Path) -> None:
    home, photos = tmp_path / "home", tmp_path / "photos"
    paint(photos / "a.jpg", 1)

    def read_hours(*words: str) -> int | None:
        run(home, "index", photos, *words)
        hours: int | None = json.loads(run(home, "status", "--json").stdout)["roots"][0][
            "sync_hours"
        ]
        return hours

    assert [read_hours("--sync-hours", value) for value in ("6", "never", "change")] == [6, 0, None]
    assert (read_hours("--sync-hours", "24"), read_hours()) == (24, 24)
    assert b"synced every 24 h" in run(home, "status").stdout
    for wrong in ("0", "9000", "often", "-1"):
        message = run(home, "index", photos, f"--sync-hours={wrong}", code=2).stderr
        assert b"change or never" in message


def test_a_library_answers_with_two_models(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "hat", tmp_path / "hat")
    home, photos, other = tmp_path / "home", tmp_path / "hat", ("--model", "mini-1")
    run(home, "index", photos)
    refused = run(home, "index", photos, "--beside", code=1)
    assert b"--model NAME index FOLDER --beside" in refused.stderr
    query = ("search", photos / "01.jpg", "--json")
    assert b"add --beside to keep both" in run(home, *other, *query, code=1).stderr
    added = run(home, *other, "index", photos, "--beside", "--json")
    assert json.loads(added.stdout)["embedded"] == 11
    assert added.stderr.startswith(b"model: mini stays; all pictures get vectors of mini-1 too\n")
    assert json.loads(run(home, *query).stdout)["model"] == "mini"
    answer = json.loads(run(home, *other, *query).stdout)
    assert answer["model"] == "mini-1" and answer["hits"][0]["score"] > 0.99
    assert b"\nbeside    mini-1: 11 searchable\n" in run(home, "status").stdout
    for wrong in ((), (photos, "--model", "mini-1")):
        run(home, "forget", *wrong, code=2)
    done = run(home, "forget", "--model", "mini-1", "--json")
    assert json.loads(done.stdout) == {"vectors": 11}
    run(home, *other, *query, code=1)
    assert b"library's own model" in run(home, "forget", "--model", "mini", code=1).stderr


def test_broken_pictures_are_skipped_with_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(SAMPLES / "hat", folder)
    whole = (folder / "01.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.webp").write_text("hello")
    done = run(tmp_path / "home", "index", folder, "--json")
    report = json.loads(done.stdout)
    assert report["added"] == 11
    reasons = {Path(s["path"]).name: s["reason"] for s in report["skipped"]}
    assert set(reasons) == {"cut.jpg", "empty.png", "text.webp"}
    assert "truncated" in reasons["cut.jpg"]
    assert "empty" in reasons["empty.png"]
    assert "not a picture" in reasons["text.webp"]
    assert {s["code"] for s in report["skipped"]} == {"not_a_picture"}
    again = json.loads(run(tmp_path / "home", "index", folder, "--json").stdout)
    assert again["skipped"] == report["skipped"]  # from the catalog


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("search", "/nowhere/a.jpg"), 1, "is not there"),
        (("search", "s3://bucket/a.jpg"), 1, "s3://bucket/a.jpg is in object storage"),
        (
            ("variants", "s3://bucket/a.jpg", "-o", "/nowhere/v"),
            1,
            "s3://bucket/a.jpg is in object storage",
        ),
        (("search", "id:0000000000"), 1, "no picture"),
        (("search", "id:xyz"), 2, "hexadecimal"),
        (("search", "."), 1, "is a folder"),
        (("search", "http://127.0.0.1:9/a.jpg"), 1, "not on the public internet"),
        (("search", str(SAMPLES / "LICENSE")), 1, "not a picture"),
        (("search", str(SAMPLES / "hat/01.jpg"), "-k", "0"), 2, "1 to 10000"),
        (("search", str(SAMPLES / "hat/01.jpg"), "--crop", "1,2,3"), 2, "X,Y,W,H"),
        (("search", str(SAMPLES / "hat/01.jpg"), "--crop", "0,0,9000,9000"), 1, "not within"),
        (("search", "--crop", "0,0,1,1", str(SAMPLES / "hat/01.jpg")), 2, "follows the IMAGE"),
        (("search",), 2, "IMAGE"),
        (("search", str(SAMPLES / "hat/01.jpg"), "-k", "many"), 2, "-k"),
        (("index",), 2, "SOURCE"),
        (("index", "/nowhere"), 1, "is not there"),
        (("index", str(SAMPLES / "hat/01.jpg")), 1, "is a file"),
        (("forget", "/nowhere"), 1, "is not in the library"),
        (("forget", ""), 2, "an empty path"),
        (("index", str(SAMPLES / "hat"), ""), 2, "an empty path"),
        (("--home", "", "status"), 2, "an empty path"),
        (("serve", "--port", "99999"), 2, "--port 99999: give 0 to 65535"),
        (("--device", "foo", "diffusion", "sample", "-o", "/nowhere"), 2, "no such device"),
        (("variants", str(SAMPLES / "hat/01.jpg"), "-o", str(SAMPLES / "LICENSE")), 2, "is a file"),
        (("--device", "foo", "search", str(SAMPLES / "hat/01.jpg")), 1, "the device 'foo'"),
        (("--model", "nonsense", "status"), 1, "there is no model nonsense"),
        (("--model", "diffusion:x", "status"), 1, "diffusion takes no file"),
        (("--model", "mini:/nowhere", "search", str(SAMPLES / "hat/01.jpg")), 1, "index FOLDER"),
        (("frobnicate",), 2, "No such command"),
        (("search", "a.jpg", "--mask", "b.png"), 2, "give restore with it"),
        (("search", "a.jpg", "--expand", "-1"), 2, "give 0 to 100"),
        (("search", "--text", "hat", "--restore"), 2, "restore needs a picture"),
        (("search", "--text", "hat", "--verify"), 2, "verify needs a picture"),
        (("duplicates", "--kind", "twin"), 2, "give one of exact, copy, similar"),
        (("duplicates", "--keep", "biggest"), 2, "there is no rule 'biggest'"),
        (("duplicates", "--remove"), 2, "--remove needs --kind"),
        (("duplicates", "--kind", "copy", "--remove"), 2, "give --yes"),
        (("duplicates", "--in", "/nowhere"), 1, "is in no indexed folder"),
        (("search", "--where", "widht>3"), 2, "did you mean width?"),
        (("--home", "/proc/nowhere", "status"), 1, "--home"),
    ],
)
def test_what_is_wrong_is_said_and_what_to_do(
    library: tuple[Path, Path], words: tuple[str, ...], code: int, message: str
) -> None:
    done = run(library[0], *words, code=code)
    assert message in done.stderr.decode()
    assert done.stdout == b""


def test_an_empty_library_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path / "home", "search", SAMPLES / "hat/01.jpg", code=1)
    assert b"lookalike index FOLDER" in done.stderr
    (tmp_path / "nothing").mkdir()
    assert b"0 pictures" in run(tmp_path / "home", "index", tmp_path / "nothing").stdout


def test_one_bad_folder_does_not_stop_the_others(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "hat", tmp_path / "hat")
    done = run(tmp_path / "home", "index", "--json", "/nowhere", tmp_path / "hat", code=1)
    assert json.loads(done.stdout)["added"] == 11
    assert b"/nowhere is not there" in done.stderr


def test_names_that_are_not_utf8_are_found_and_printed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.fsencode(folder) + b"/caf\xe9 \n[bold].jpg"
    shutil.copy(SAMPLES / "hat/01.jpg", name)
    home = tmp_path / "home"
    assert json.loads(run(home, "index", "--json", folder).stdout)["added"] == 1
    assert search_json(home, os.fsdecode(name))["hits"][0]["path"].endswith("caf\\xe9 \n[bold].jpg")
    assert b"caf\\xe9 \\n[bold].jpg" in run(home, "search", name).stdout


def test_an_interrupt_is_no_stack_trace(tmp_path: Path) -> None:
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [COMMAND, "index", SAMPLES], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.readline()  # the model's line: indexing has begun
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Traceback" not in errors and b"goes on from here" in errors


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("lookalike ")


@pytest.mark.slow
def test_watching_takes_in_what_comes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(SAMPLES / "hat", folder)
    environment = {**os.environ, "LOOKALIKE_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [COMMAND, "index", folder, "--watch"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stdout is not None
    while "watching" not in process.stderr.readline():
        assert process.poll() is None
    assert process.stdout.readline().startswith("11 added")
    assert "11 pictures" in process.stdout.readline()
    shutil.copy(SAMPLES / "pants" / "01.jpg", folder / "new.jpg")
    assert process.stdout.readline().startswith("1 added, 11 unchanged; 1 embedded")
    assert "12 pictures" in process.stdout.readline()
    (folder / "torn.jpg").write_bytes(b"no picture")
    assert process.stdout.readline().startswith("12 unchanged; 0 embedded")
    assert "torn.jpg" in process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "stopped watching" in errors
    wrong = run(tmp_path / "home", "index", folder, "--watch", "--json", code=2)
    assert b"no end" in wrong.stderr


def test_progress_in_lines_has_a_rate_from_the_first_one_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [Progress("fetch", 300, 600), Progress("index", 3, 9), Progress("finish", 9, 9)]
    times = iter([0.0, 6.0, 12.0, 12.0])
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(times)))
    output.show_progress(events)
    assert capsys.readouterr().err.splitlines() == [
        "fetching the model, MB 300 of 600, 50/s, 6 s left",
        "indexing 3 of 9, 0/s, 12 s left",
    ]


def test_variants_are_files_that_tell_how_to_make_them_again(
    library: tuple[Path, Path], tmp_path: Path
) -> None:
    home, photos = library
    query = photos / "hat" / "03.jpg"
    words = ("variants", query, "--steps", "1", "--seed", "7", "--size", "96", "--json", "-o")
    reports = [json.loads(run(home, *words, tmp_path / name).stdout) for name in ("a", "b")]
    first, again = (document["variants"] for document in reports)
    assert reports[0]["seconds"] > 0 and len(first) == 4
    for one, same in zip(first, again, strict=True):
        assert set(one) == {"path", "seed", "sigma", "similarity", "accepted", "source"}
        assert Path(one["path"]).read_bytes() == Path(same["path"]).read_bytes()
        assert f"seed{one['seed']}-sigma{one['sigma']:g}" in one["path"]
        with Image.open(one["path"]) as picture:
            assert max(picture.size) == 96
    result = run(
        home, "variants", "-", "-n", "1", "--sigma", "0.5", "-o", tmp_path, stdin=query.read_bytes()
    )
    assert str(tmp_path / "picture-seed0-sigma0.5.png") in result.stdout.decode()
    assert (tmp_path / "picture-seed0-sigma0.5.png").exists()


def test_variants_from_neighbours_name_their_sources(
    library: tuple[Path, Path], tmp_path: Path
) -> None:
    home, photos = library
    words = ("variants", photos / "hat" / "03.jpg", "--from", "neighbours", "--steps", "1")
    listed = json.loads(run(home, *words, "-n", "2", "--json", "-o", tmp_path).stdout)["variants"]
    sources = [Path(one["source"]["path"]) for one in listed]
    assert len(set(sources)) == 2 and photos / "hat" / "03.jpg" not in sources
    assert all(path.is_relative_to(photos) and path.is_file() for path in sources)
    shown = run(home, *words, "-n", "1", "-o", tmp_path).stdout.decode()
    assert shown.strip().endswith(f"from {sources[0]}")


def test_a_training_set_goes_on(library: tuple[Path, Path], tmp_path: Path) -> None:
    home, photos = library
    words = ("augment", photos / "shoes", "-n", "1", "-o", tmp_path / "set", "--json")
    first, again = (json.loads(run(home, *words).stdout) for _ in range(2))
    assert (first["made"], again["made"], again["unchanged"]) == (11, 0, 11)
    assert len(list((tmp_path / "set" / "shoes").glob("*.png"))) == 11


@pytest.mark.parametrize(
    "more, code",
    [
        (("-n", "0"), 2),
        (("--sigma", "-1"), 2),
        (("--from", "afar"), 2),
        (("--checkpoint", "/nowhere"), 1),
    ],
)
def test_variants_that_cannot_be_are_refused(
    library: tuple[Path, Path], tmp_path: Path, more: tuple[str, ...], code: int
) -> None:
    words = ("variants", library[1] / "hat" / "01.jpg", "-o", tmp_path / "out", *more)
    assert run(library[0], *words, code=code).stdout == b""
    assert not (tmp_path / "out").exists()


def test_verbose_logs_what_the_library_does(tmp_path: Path) -> None:
    paint(tmp_path / "photos" / "a.jpg", 1)
    (tmp_path / "photos" / "b.jpg").write_text("no picture")
    quiet = run(tmp_path / "home", "index", tmp_path / "photos")
    assert b"opened the model" not in quiet.stderr
    (tmp_path / "photos" / "c.jpg").write_text("no picture either")
    done = run(tmp_path / "home", "--verbose", "index", tmp_path / "photos")
    assert b"opened the model mini" in done.stderr
    assert b"skipped c.jpg: " in done.stderr
