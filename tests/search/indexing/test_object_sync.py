"""Syncing object storage: a real S3 server on loopback, and storage in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.libraries import Counted, parts
from helpers.object_storage import DENIED, GONE, Bucket
from helpers.pictures import identity, jpeg, paint

from search import Engine, IndexReport, InputError, NotFoundError
from search.errors import NotUploadError, RemoteDeniedError, RemoteError
from search.media.decoder_pool import DecoderPool
from search.media.objects import ObjectStores
from search.media.rules import Limits

Open = Callable[..., Engine]
LIMIT = 20_000
"""Bytes of the largest object that is read."""


@pytest.fixture(scope="module")
def stores() -> Iterator[ObjectStores]:
    one = ObjectStores(20.0)
    yield one
    one.close()


@pytest.fixture(scope="module")
def decoders(stores: ObjectStores) -> Iterator[DecoderPool]:
    with DecoderPool(2, Limits(bytes=LIMIT), objects=stores) as pool:
        yield pool


@pytest.fixture
def open_one(library: Open, decoders: DecoderPool) -> Iterator[Open]:
    """Opens engines whose decoding processes get their bytes from object storage."""
    opened = []

    def start(**settings: object) -> Engine:
        engine = library(**{"object_seconds": 20.0, **settings})
        engine.library.decoders = decoders
        opened.append(engine)
        return engine

    yield start
    for engine in opened:
        engine.library.stores.close()


@pytest.fixture
def engine(open_one: Open) -> Engine:
    return open_one()


def computed() -> int:
    """How many vectors were computed."""
    mini = parts()[2]
    assert isinstance(mini, Counted)
    return mini.computed


def counts(report: IndexReport) -> dict[str, int]:
    names = "added changed moved removed unchanged offline embedded pictures".split()
    return {name: value for name in names if (value := getattr(report, name))}


class Memory:
    """Storage in memory with the interface of a bucket."""

    def __init__(self) -> None:
        self.stores, self.url = ObjectStores(), f"memory://{secrets.token_hex(4)}"

    def put(self, key: str, data: bytes) -> None:
        self.stores.write(f"{self.url}/{key}", data)

    def copy(self, key: str, to: str) -> None:
        self.put(to, self.stores.read(f"{self.url}/{key}", 10**6)[0])

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.stores.delete(f"{self.url}/{key}")


@pytest.fixture(params=["s3", "memory"])
def place(request: pytest.FixtureRequest) -> Iterator[Bucket | Memory]:
    if request.param == "s3":
        yield request.getfixturevalue("bucket")
    else:
        memory = Memory()
        yield memory
        memory.stores.close()


def test_pictures_are_indexed_found_and_shown(engine: Engine, place: Bucket | Memory) -> None:
    for seed in range(3):
        place.put(f"p/{seed}.jpg", jpeg(seed))
    place.put("other/9.jpg", jpeg(9))
    report = engine.sync(f"{place.url}/p/")
    assert counts(report) == {"added": 3, "embedded": 3, "pictures": 3}
    hit = engine.search(image=jpeg(1), k=1)[0]
    assert hit.path == f"{place.url}/p/1.jpg" and hit.score > 0.999
    picture, file = engine.original(hit.id)
    with file:
        assert file.read() == jpeg(1) and picture.path == hit.path
    assert engine.preview(hit.id)[:2] == b"\xff\xd8" and engine.thumbnail(hit.id)[:4] == b"RIFF"
    assert engine.search(image=f"id:{hit.id}", k=1)[0].id == hit.id
    (root,) = engine.status().roots
    assert (root.path, root.state, root.files) == (f"{place.url}/p", "online", 3)
    assert not engine.check(deep=True).problems


def test_a_second_sync_reads_nothing_and_follows_changes(
    engine: Engine, place: Bucket | Memory
) -> None:
    for seed in range(6):
        place.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(place.url)
    before = computed()
    assert counts(engine.sync(place.url)) == {"unchanged": 6, "pictures": 6}
    place.copy("0.jpg", "moved/zero.jpg")
    place.delete("0.jpg", "1.jpg")
    place.put("2.jpg", jpeg(22))
    place.put("new.jpg", jpeg(7))
    report = engine.sync(place.url)
    assert counts(report) == {
        "added": 1,
        "changed": 1,
        "moved": 1,
        "removed": 1,
        "unchanged": 3,
        "embedded": 2,
        "pictures": 6,
    }
    assert computed() == before + 2  # what moved is known by its content
    assert engine.picture(identity(0)).path == f"{place.url}/moved/zero.jpg"


def make_xmp(*tags: str) -> bytes:
    items = "".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags)
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:subject><rdf:Bag>{items}</rdf:Bag></dc:subject>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def tags_of(engine: Engine, seed: int) -> dict[str, str]:
    return dict(engine.picture(identity(seed)).annotations.tags)


def test_sidecars_are_read_followed_and_forgotten(engine: Engine, place: Bucket | Memory) -> None:
    for name, seed in (("a.jpg", 1), ("in/b.jpg", 2), ("c.jpg", 3), ("no/d.jpg", 4)):
        place.put(name, jpeg(seed))
    place.put("a.jpg.xmp", make_xmp("lake"))
    place.put("a.xmp", make_xmp("other"))  # that of the whole name comes first
    place.put("in/b.XMP", make_xmp("hill"))
    place.put("no/d.xmp", make_xmp("left out"))
    report = engine.sync(place.url, exclude=["no/d.xmp"])
    assert report.skipped == () and report.left_out == {}
    assert [tags_of(engine, seed) for seed in (1, 2, 3, 4)] == [
        {"lake": "file"},
        {"hill": "file"},
        {},
        {},
    ]
    place.put("a.jpg.xmp", make_xmp("boat"))  # as many bytes
    assert counts(engine.sync(place.url)) == {"unchanged": 4, "pictures": 4}
    assert tags_of(engine, 1) == {"boat": "file"}
    place.delete("a.jpg.xmp", "in/b.XMP")
    engine.sync(place.url)
    assert tags_of(engine, 1) == {"other": "file"} and tags_of(engine, 2) == {}


def test_a_sidecar_that_did_not_change_is_not_read_again(engine: Engine, bucket: Bucket) -> None:
    bucket.put("a.jpg", jpeg(1))
    bucket.put("a.xmp", make_xmp("lake"))
    engine.sync(bucket.url)
    bucket.server.requests.clear()
    engine.sync(bucket.url)
    assert bucket.server.count("GET") == bucket.server.count("GET", "list-type=2")


@pytest.mark.parametrize("data", [b"no XMP", b"x" * 2**23])
def test_a_sidecar_that_cannot_be_read_costs_nothing_else(
    engine: Engine, bucket: Bucket, data: bytes
) -> None:
    bucket.put("a.jpg", jpeg(1))
    bucket.put("a.xmp", data)
    report = engine.sync(bucket.url)
    assert [one.path for one in report.skipped] == [f"{bucket.url}/a.xmp"]
    assert "the sidecar is not read" in report.skipped[0].reason
    assert engine.status().pictures == 1 and engine.sync(bucket.url).skipped == ()


def test_sidecars_are_exported_into_a_folder_and_never_into_a_bucket(
    engine: Engine, place: Bucket | Memory, tmp_path: Path
) -> None:
    place.put("in/a.jpg", jpeg(1))
    engine.sync(place.url)
    engine.tags.add([identity(1)], ["mine"])
    target = tmp_path / "sidecars"
    assert engine.export_annotations(target).pictures == 1
    scheme, _, rest = place.url.partition("://")
    assert (target / scheme / rest / "in" / "a.jpg.xmp").is_file()
    engine.tags.remove([identity(1)], ["mine"])
    report = engine.import_annotations(target)
    assert (report.pictures, report.unknown) == (1, ())
    assert tags_of(engine, 1) == {"mine": "person"}
    for call in (engine.export_annotations, engine.import_annotations):
        with pytest.raises(InputError, match="is a URL, and annotations"):
            call(f"{place.url}/sidecars")


def test_a_moved_object_of_s3_is_not_even_read(engine: Engine, bucket: Bucket) -> None:
    for seed in range(3):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(bucket.url)
    bucket.copy("0.jpg", "a/0.jpg")
    bucket.delete("0.jpg")
    bucket.server.requests.clear()
    assert counts(engine.sync(bucket.url)) == {"moved": 1, "unchanged": 2, "pictures": 3}
    assert bucket.server.count("GET") == bucket.server.count("GET", "list-type=2") == 1


def test_three_thousand_objects_come_in_four_pages(engine: Engine, bucket: Bucket) -> None:
    bucket.fill(3001, *(jpeg(seed) for seed in range(4)))
    run = engine.index(bucket.url)
    for progress in run:
        if progress.phase == "index":
            break
    run.close()  # type: ignore[attr-defined]
    assert bucket.server.count("GET", "list-type=2") == 4
    assert bucket.server.count("HEAD") == 0
    assert progress.total == 3001


def test_the_same_names_are_left_out_and_counted_as_on_a_disk(
    engine: Engine, place: Bucket | Memory, folder: Path, home: Path
) -> None:
    names = {
        "a.jpg": jpeg(1),
        "clip.mp4": b"film",
        "notes.txt": b"text",
        "noending": b"text",
        "hashed": jpeg(2),
        ".hidden.jpg": jpeg(3),
        ".git/x.jpg": jpeg(3),
        "@eaDir/x.jpg": jpeg(3),
        "private/.nomedia": b"",
        "private/x.jpg": jpeg(3),
        "library/catalog.sqlite": b"x",
        "library/thumbnails/ab/x.webp": b"x",
        "library/x.jpg": jpeg(3),
        "raw/x.jpg": jpeg(3),
        "ruled/.lookalikeignore": b"# of this folder\nno*\n",
        "ruled/no.jpg": jpeg(3),
        "ruled/yes.jpg": jpeg(4),
        "deep/er/.nomedia": b"",
        "deep/er/y.png": jpeg(3),
        "deep/z.jpg": jpeg(5),
    }
    for name, data in names.items():
        place.put(name, data)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    remote = engine.sync(place.url, exclude=["raw"])
    paths = {p.path.removeprefix(f"{place.url}/") for p in engine.pictures().pictures}
    assert paths == {"a.jpg", "hashed", "ruled/yes.jpg", "deep/z.jpg"}
    engine.forget(place.url)
    local = engine.sync(folder, exclude=["raw"])
    # films are read from a disk alone, where this one is skipped
    assert remote.left_out == {**local.left_out, "film": 1}
    assert [one.code for one in local.skipped] == ["not_a_film"]
    assert counts(remote)["added"] == counts(local)["added"] == 4


def test_only_the_first_bytes_of_an_object_without_an_ending_are_read(
    engine: Engine, bucket: Bucket
) -> None:
    bucket.put("data", bytes(10_000))
    bucket.put("hashed", jpeg(1))
    sent: list[str] = []
    bucket.server.watch = lambda environ: sent.append(environ.get("HTTP_RANGE", ""))
    assert counts(engine.sync(bucket.url)) == {"added": 1, "embedded": 1, "pictures": 1}
    assert sorted(filter(None, sent)) == ["bytes=0-31", "bytes=0-31"]
    sent.clear()
    engine.sync(bucket.url)  # what is known as a picture is not looked at again
    assert list(filter(None, sent)) == ["bytes=0-31"]


def test_a_subfolder_and_its_root(engine: Engine, place: Bucket | Memory) -> None:
    for name in ("a/1.jpg", "a/b/2.jpg", "ab/3.jpg"):
        place.put(name, jpeg(int(name[-5])))
    assert counts(engine.sync(f"{place.url}/a/b"))["added"] == 1
    report = engine.sync(place.url)  # it takes the inner one in
    assert counts(report) == {"added": 2, "embedded": 2, "unchanged": 1, "pictures": 3}
    assert [root.path for root in engine.status().roots] == [place.url]
    place.put("a/4.jpg", jpeg(4))
    place.put("ab/5.jpg", jpeg(5))
    assert counts(engine.sync(f"{place.url}/a"))["added"] == 1
    assert engine.forget(f"{place.url}/a") == 3 and engine.status().pictures == 1
    assert engine.is_indexed(f"{place.url}/a") and not engine.is_indexed("s3://elsewhere")
    assert engine.forget(place.url) == 1
    with pytest.raises(NotFoundError, match="is not in the library"):
        engine.forget(place.url)


def test_a_disk_and_a_bucket_live_side_by_side(
    engine: Engine, place: Bucket | Memory, folder: Path
) -> None:
    paint(folder / "a.jpg", 1)
    place.put("b.jpg", jpeg(1))
    place.put("c.jpg", jpeg(2))
    engine.sync(folder)
    assert counts(engine.sync(place.url)) == {"added": 2, "embedded": 1, "pictures": 2}
    picture = engine.picture(identity(1))
    assert picture.path == str(folder / "a.jpg")  # no network is needed for it
    assert set(picture.paths) == {str(folder / "a.jpg"), f"{place.url}/b.jpg"}
    assert counts(engine.sync(folder)) == {"unchanged": 1, "pictures": 2}
    (folder / "a.jpg").unlink()
    assert engine.library.browser.content(identity(1)) == jpeg(1)


@pytest.mark.parametrize("fault", [DENIED, GONE, (500, "InternalError")], ids=str)
def test_a_bucket_that_cannot_be_listed_loses_nothing_and_says_so(
    engine: Engine, bucket: Bucket, fault: tuple[int, str]
) -> None:
    for seed in range(3):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(bucket.url)
    bucket.server.fault = lambda *_: fault
    report = engine.sync(bucket.url)
    assert counts(report) == {"offline": 3, "pictures": 3}
    (skip,) = report.skipped
    code = {403: "source_denied", 404: "source_missing", 500: "source_unavailable"}[fault[0]]
    assert (skip.path, skip.code) == (bucket.url, code)
    assert engine.status().roots[0].state == "offline"
    assert any(bucket.url in line for line in engine.check().problems)
    assert engine.search(image=jpeg(1), k=1)[0].id == identity(1)  # answers need no bucket
    if fault != GONE:
        with pytest.raises(RemoteError):
            engine.original(identity(1))
    bucket.server.reset()
    assert counts(engine.sync(bucket.url)) == {"unchanged": 3, "pictures": 3}


def test_a_listing_that_breaks_off_removes_nothing(engine: Engine, bucket: Bucket) -> None:
    bucket.fill(1003, b"")
    bucket.put("z.jpg", jpeg(2))
    bucket.put("0.jpg", jpeg(1))
    engine.sync(bucket.url, exclude=["0???.jpg", "1???.jpg"])
    before = engine.status().files
    bucket.server.fault = lambda method, path, query: (
        (500, "InternalError") if "continuation-token" in query else None
    )
    bucket.delete("0.jpg")
    report = engine.sync(bucket.url)
    assert counts(report) == {"offline": before, "pictures": 2} and before == 2
    assert report.skipped[0].code == "source_unavailable"


def test_a_new_bucket_that_cannot_be_listed_is_an_error(engine: Engine, bucket: Bucket) -> None:
    with pytest.raises(NotFoundError, match="no object is below"):
        engine.sync(bucket.url)
    with pytest.raises(NotFoundError):
        engine.sync("s3://no-such-bucket-here")
    bucket.server.fault = lambda *_: DENIED
    with pytest.raises(RemoteDeniedError):
        engine.sync(bucket.url)
    assert not engine.status().roots


def test_most_objects_deleted_at_once_are_kept_until_confirmed(
    engine: Engine, bucket: Bucket
) -> None:
    for seed in range(6):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(bucket.url)
    bucket.delete(*(f"{seed}.jpg" for seed in range(5)))
    assert counts(engine.sync(bucket.url)) == {"unchanged": 1, "offline": 5, "pictures": 6}
    bucket.delete("5.jpg")
    assert counts(engine.sync(bucket.url)) == {"offline": 6, "pictures": 6}
    assert counts(engine.sync(bucket.url, allow_empty=True)) == {"removed": 6}


def test_what_globs_leave_out_now_is_not_lost(engine: Engine, bucket: Bucket) -> None:
    for seed in range(6):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(bucket.url)
    report = engine.sync(bucket.url, exclude=["[0-4].jpg"])
    assert counts(report) == {"removed": 5, "unchanged": 1, "pictures": 1}


def test_a_bucket_that_vanishes_midway_loses_nothing(engine: Engine, bucket: Bucket) -> None:
    for seed in range(4):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    engine.sync(bucket.url)
    for seed in range(10, 14):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    bucket.server.fault = lambda method, path, query: None if "list-type" in query else GONE
    report = engine.sync(bucket.url)
    assert counts(report) == {"unchanged": 4, "pictures": 4}
    bucket.server.fault = lambda method, path, query: None if "list-type" in query else DENIED
    report = engine.sync(bucket.url)
    assert {skip.code for skip in report.skipped} == {"source_denied"} and report.pictures == 4
    bucket.server.reset()
    assert counts(engine.sync(bucket.url))["added"] == 4


def test_a_server_that_hangs_costs_its_deadline_and_not_the_sync(
    engine: Engine, bucket: Bucket
) -> None:
    slow = ObjectStores(1.0)
    for seed in range(8):
        bucket.put(f"{seed}.jpg", jpeg(seed))
    bucket.server.fault = lambda method, path, query: (  # type: ignore[func-returns-value]
        None if "list-type" in query else bucket.server.hang()
    )
    with DecoderPool(2, objects=slow) as pool:
        engine.library.decoders = pool
        report = engine.sync(bucket.url)
        assert {skip.code for skip in report.skipped} == {"source_unavailable"}
        assert len(report.skipped) == 8
        assert bucket.server.count("GET", path=".jpg") < 8  # it is not asked for each
        bucket.server.reset()
    slow.close()


def test_an_object_that_changes_between_listing_and_reading_is_read_by_the_next_sync(
    engine: Engine, bucket: Bucket
) -> None:
    bucket.put("a.jpg", jpeg(1))

    def change(method: str, path: str, query: str) -> None:
        if method == "GET" and path.endswith("a.jpg"):
            bucket.server.fault = lambda *_: None
            bucket.put("a.jpg", jpeg(2))

    bucket.server.fault = change
    report = engine.sync(bucket.url)
    assert [skip.path for skip in report.skipped] == [f"{bucket.url}/a.jpg"]
    assert "changed while it was indexed" in report.skipped[0].reason and not report.pictures
    assert counts(engine.sync(bucket.url)) == {"added": 1, "embedded": 1, "pictures": 1}
    assert engine.picture(identity(2)).path == f"{bucket.url}/a.jpg"


def test_an_object_above_the_limit_is_skipped_once(engine: Engine, place: Bucket | Memory) -> None:
    place.put("large.jpg", jpeg(1) + bytes(LIMIT))
    place.put("a.jpg", jpeg(2))
    for _ in range(2):
        report = engine.sync(place.url)
        assert [skip.path for skip in report.skipped] == [f"{place.url}/large.jpg"]
        assert f"more than the limit {LIMIT}" in report.skipped[0].reason


def test_odd_keys_are_indexed_and_opened(engine: Engine, bucket: Bucket) -> None:
    keys = ["a//b.jpg", "/c.jpg", "%2e%2e/d.jpg", "x y/雪.jpg", "q?versionId=1.jpg", "a::b.jpg"]
    for seed, key in enumerate(keys):
        bucket.put(f"base/{key}", jpeg(seed))
    bucket.put("base/../up.jpg", jpeg(20))  # a name that programs take for another one
    bucket.put("base/folder/", b"")
    bucket.put("base/", b"")
    bucket.put("base/slash.jpg/", jpeg(21))
    root = f"{bucket.url}/base"
    report = engine.sync(root)
    assert counts(report) == {"added": 6, "embedded": 6, "pictures": 6} and not report.skipped
    for seed, key in enumerate(keys):
        picture, file = engine.original(identity(seed))
        with file:
            assert picture.path == f"{root}/{key}" and file.read() == jpeg(seed)
    assert counts(engine.sync(root)) == {"unchanged": 6, "pictures": 6}
    assert not engine.check(deep=True).problems
    assert engine.forget(root) == 6


def test_broken_objects_cost_themselves(engine: Engine, place: Bucket | Memory) -> None:
    place.put("a.jpg", jpeg(1))
    place.put("broken.jpg", b"\xff\xd8\xff no picture")
    place.put("empty.jpg", b"")
    report = engine.sync(place.url)
    assert counts(report) == {"added": 1, "embedded": 1, "pictures": 1}
    assert {skip.path.rpartition("/")[2] for skip in report.skipped} == {"broken.jpg", "empty.jpg"}


def test_no_password_reaches_the_library(engine: Engine) -> None:
    with pytest.raises(InputError, match="without a name and password"):
        engine.sync("s3://key:word@bucket/p")
    with pytest.raises(InputError, match="no object storage"):
        engine.sync("file:///etc")
    assert not engine.status().roots


# what the library keeps itself -----------------------------------------------------------------


@pytest.fixture
def remote(open_one: Open, place: Bucket | Memory) -> Engine:
    """A library that keeps thumbnails and uploads in object storage."""
    return open_one(objects=f"{place.url}/own")


def test_thumbnails_and_uploads_are_in_object_storage(
    remote: Engine, place: Bucket | Memory, home: Path
) -> None:
    place.put("p/1.jpg", jpeg(1))
    remote.sync(f"{place.url}/p")
    picture = remote.keep(jpeg(2), "two.jpg")
    assert picture.path == f"{place.url}/own/kept/two.jpg" and picture.is_new
    assert remote.keep(jpeg(2)).is_new is False
    assert remote.keep(jpeg(3), "two.jpg").path == f"{place.url}/own/kept/two (2).jpg"
    for seed in (1, 2, 3):
        assert remote.thumbnail(identity(seed))[:4] == b"RIFF"
        assert remote.library.thumbnails.has(identity(seed))
    assert not (home / "thumbnails").exists() and not (home / "kept").exists()
    assert remote.library.browser.content(identity(2)) == jpeg(2)
    assert remote.search(image=jpeg(2), k=1)[0].path == picture.path
    assert not remote.check(deep=True).problems


def test_the_librarys_own_objects_are_not_a_source(remote: Engine, place: Bucket | Memory) -> None:
    place.put("a.jpg", jpeg(1))
    remote.keep(jpeg(2), "two.jpg")
    report = remote.sync(place.url)
    assert counts(report) == {"added": 1, "unchanged": 1, "embedded": 1, "pictures": 2}
    with pytest.raises(InputError, match="the library's own folder"):
        remote.sync(f"{place.url}/own")
    assert counts(remote.sync(f"{place.url}/own/kept")) == {"unchanged": 1, "pictures": 2}


def test_missing_thumbnails_are_made_again_and_strays_deleted(
    remote: Engine, place: Bucket | Memory
) -> None:
    for seed in (1, 2):
        place.put(f"p/{seed}.jpg", jpeg(seed))
    remote.sync(f"{place.url}/p")
    thumbnails = remote.library.thumbnails
    thumbnails.delete(identity(1))
    thumbnails.write("ab" * 32, b"stray")
    assert remote.thumbnail(identity(1))[:4] == b"RIFF"  # from the original
    thumbnails.delete(identity(1))
    report = remote.check()
    assert not report.problems and len(report.repaired) == 2
    assert thumbnails.has(identity(1)) and not thumbnails.has("ab" * 32)
    remote.forget(place.url)
    assert not thumbnails.has(identity(2))


def test_a_deleted_upload_can_be_taken_back(remote: Engine, place: Bucket | Memory) -> None:
    place.put("p/1.jpg", jpeg(1))
    remote.sync(f"{place.url}/p")
    remote.keep(jpeg(2), "two.jpg")
    remote.delete(identity(2))
    with pytest.raises(NotFoundError):
        remote.picture(identity(2))
    stores = remote.library.stores
    assert stores.read(f"{place.url}/own/bin/two.jpg", 10**6)[0] == jpeg(2)
    assert not stores.exists(f"{place.url}/own/kept/two.jpg")
    with pytest.raises(NotUploadError):
        remote.delete(identity(1))


def test_uploads_on_the_disk_stay_when_object_storage_takes_over(
    open_one: Open, bucket: Bucket, home: Path
) -> None:
    first = open_one()
    first.keep(jpeg(1), "one.jpg")
    later = open_one(objects=f"{bucket.url}/own")
    assert later.library.browser.content(identity(1)) == jpeg(1)
    later.keep(jpeg(2), "two.jpg")
    assert later.picture(identity(1)).path == str(home / "kept" / "one.jpg")
    assert counts(later.sync(home / "kept")) == {"unchanged": 1, "pictures": 2}
    assert later.library.browser.content(identity(2)) == jpeg(2)


def test_storage_that_denies_keeps_no_half_upload(open_one: Open, bucket: Bucket) -> None:
    from search import StorageError

    engine = open_one(objects=f"{bucket.url}/own")
    bucket.server.fault = lambda method, *_: DENIED if method == "PUT" else None
    with pytest.raises(StorageError, match="denies access"):
        engine.keep(jpeg(1), "one.jpg")
    bucket.server.fault = lambda method, path, _: (
        DENIED if method == "PUT" and "thumbnails" in path else None
    )
    with pytest.raises(StorageError):
        engine.keep(jpeg(1), "one.jpg")
    assert bucket.keys() == [] and engine.status().pictures == 0
    bucket.server.reset()
    assert engine.keep(jpeg(1), "one.jpg").is_new


def test_a_setting_that_is_no_url_is_refused(library: Open) -> None:
    with pytest.raises(InputError, match="no URL of object storage"):
        library(objects="/srv/pictures")
