"""Pictures are returned in order, whatever a codec does, and all processes end."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import search.media.decoder_process
from search.media import images, metadata
from search.media.decoder_pool import DecodedPicture, DecodeFailure, DecodeRequest, DecoderPool
from search.media.preprocessing import Preprocessing
from search.media.rules import Crop, Limits

PREPROCESSING = Preprocessing(32)
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# The decoder, which misbehaves on some bytes. It writes its process ids to $MARKS.
HOSTILE = """
import os, re, signal, sys, time
from pathlib import Path
from search.media import decoder
from search.media import images
marks, real = Path(os.environ["MARKS"]), images.identify
(marks / f"process {os.getpid()}").touch()
def identify(data, limits):
    if data == b"hang":
        (marks / "hanging").touch()
        time.sleep(600)
    if data == b"spin":
        (marks / "hanging").touch()
        re.match("(a+)+$", "a" * 60 + "b")  # for ages, and no other thread gets to run
    if data == b"exit":
        os._exit(0)
    if data.endswith(b"exit once") and not (marks / "once").exists():
        (marks / "once").touch()
        os._exit(0)
    if data == b"short of memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if data == b"segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"raise":
        raise BaseException("a codec gone mad")
    if data == b"surprise":
        raise KeyError("nobody thought of this")
    if data == b"chatter":
        os.write(1, b"chatter" * 100)
        print("chatter", flush=True)
    return real(data, limits)
images.identify = identify
decoder.main()
"""
COMMAND = (sys.executable, "-P", "-c", HOSTILE)

# A parent that leaves one child hanging in a job and one idle, and tells when that is so.
PARENT = """
import sys, time
from search.media.rules import Limits
from search.media.decoder_pool import DecoderPool, DecodeRequest
command = (sys.executable, "-P", "-c", sys.argv[1])
loader = DecoderPool(2, Limits(seconds=float(sys.argv[3])), command)
loader.submit(DecodeRequest(data=sys.argv[2].encode()), None)
loader.submit(DecodeRequest(data=sys.stdin.buffer.read()), None).result()
print("ready", flush=True)
time.sleep(600)
"""


def encoded(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def noise(width, height, seed=0):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


PICTURE = encoded(noise(60, 40))
PLAIN = DecodeRequest(data=PICTURE)


@pytest.fixture(scope="module")
def loader():
    with DecoderPool(2) as loader:
        yield loader


@pytest.fixture
def marks(tmp_path, monkeypatch):
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("MARKS", str(folder))
    return folder


def processes(marks):
    return sorted(int(p.name.split()[1]) for p in marks.glob("process *"))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # one that nobody has waited for yet has ended all the same
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self/stat").exists()


def until(condition, seconds=60):
    """Return whether a condition becomes true. The limit only ends a failing test."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def one(loader, source, preprocessing=None):
    return loader.submit(source, preprocessing).result()


def test_a_loaded_picture_is_what_the_modules_make_of_it(loader):
    data = encoded(noise(1500, 1100), "JPEG", comment=b"hello")
    opened = images.identify(data, Limits())
    normalized = images.render(opened)
    loaded = one(loader, DecodeRequest(data=data), PREPROCESSING)
    assert loaded.id == images.content_hash(data)
    assert loaded.size == (1500, 1100)
    assert loaded.pixel_hash == images.pixel_hash(normalized)
    assert loaded.metadata == metadata.read(opened, normalized, (1500, 1100), len(data))
    assert loaded.thumbnail == images.thumbnail(normalized)
    assert np.array_equal(loaded.pixels, PREPROCESSING(normalized))


def test_only_what_was_asked_for_comes_back(loader):
    identity = images.content_hash(PICTURE)
    assert one(loader, DecodeRequest(data=PICTURE, metadata=False)) == DecodedPicture(
        identity, (60, 40)
    )
    bare = one(loader, DecodeRequest(data=PICTURE, metadata=False), PREPROCESSING)
    assert bare.pixels.shape == (32, 32, 3)
    assert (bare.pixel_hash, bare.metadata, bare.thumbnail) == (None, None, None)
    full = one(loader, PLAIN)
    assert full.pixels is None and full.metadata and full.thumbnail and full.pixel_hash


def test_a_path_and_its_bytes_give_the_same(loader, tmp_path):
    path = tmp_path / "picture with spaces, ü and no suffix"
    path.write_bytes(PICTURE)
    assert one(loader, DecodeRequest(path=str(path))) == one(loader, PLAIN)


@LINUX
def test_a_file_name_need_not_be_text(loader, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    Path(path).write_bytes(PICTURE)
    assert one(loader, DecodeRequest(path=path)) == one(loader, PLAIN)


def test_a_known_picture_is_only_hashed(loader):
    broken = b"no picture at all"
    known = (images.content_hash(broken), images.content_hash(PICTURE))
    assert one(loader, DecodeRequest(data=broken, known=known), PREPROCESSING) == DecodedPicture(
        known[0]
    )
    assert one(loader, DecodeRequest(data=PICTURE, known=known[:1])).size == (60, 40)


def test_a_crop_is_cut_before_scaling(loader):
    picture = noise(3000, 1000)
    crop = Crop(2100, 300, 64, 64)
    request = DecodeRequest(data=encoded(picture), crop=crop, metadata=False)
    cut = one(loader, request, PREPROCESSING)
    assert cut.size == (3000, 1000)
    assert np.array_equal(cut.pixels, PREPROCESSING(picture.crop((2100, 300, 2164, 364))))
    shares = Crop(0.7, 0.3, 64, 64, (True, True, False, False))
    same = one(
        loader, DecodeRequest(data=encoded(picture), crop=shares, metadata=False), PREPROCESSING
    )
    assert np.array_equal(same.pixels, cut.pixels)


def test_a_crop_beyond_the_picture_fails_and_says_so(loader):
    failure = one(loader, DecodeRequest(data=PICTURE, crop=Crop(0, 0, 100, 10)))
    assert "not within the picture of 60 x 40" in failure.reason
    assert not failure.again


@pytest.mark.parametrize("workers", (1, 3))
def test_the_order_is_kept_and_a_bad_picture_costs_only_itself(workers):
    large, broken = encoded(noise(900, 900)), PICTURE[:500]
    datas = [(large, PICTURE, broken, b"")[i % 4] + bytes(i * (i % 4 < 2)) for i in range(24)]
    with DecoderPool(workers) as loader:
        results = list(
            loader.load(enumerate(DecodeRequest(data=d) for d in datas), PREPROCESSING, prefetch=7)
        )
    assert [key for key, _ in results] == list(range(24))
    for key, result in results:
        if key % 4 < 2:
            assert result.id == images.content_hash(datas[key])
        else:
            assert isinstance(result, DecodeFailure) and not result.again


@pytest.mark.parametrize("prefetch", (1, 4))
def test_look_ahead_is_bounded(loader, prefetch):
    consumed = []

    def sources():
        for number in range(20):
            consumed.append(number)
            yield number, PLAIN

    for done, (key, _) in enumerate(loader.load(sources(), None, prefetch=prefetch)):
        assert key == done
        assert len(consumed) <= min(done + prefetch, 20)
    assert len(consumed) == 20


def test_a_load_may_be_given_up(loader):
    endless = loader.load(((n, PLAIN) for n in iter(int, 1)), None, prefetch=4)
    next(endless)
    endless.close()
    assert one(loader, PLAIN).size == (60, 40)


def test_a_picture_that_someone_waits_for_goes_first():
    done = []
    with DecoderPool(1) as one:
        worker = one._free.get()  # so that all of them wait
        futures = {name: one.submit(DecodeRequest(data=b"x"), None) for name in "abc"}
        assert until(lambda: one._others.qsize() == 2)  # the first has its turn already
        futures["u"] = one.submit(DecodeRequest(data=b"x"), None, urgent=True)
        for name, future in futures.items():
            future.add_done_callback(lambda _, name=name: done.append(name))
        one._free.put(worker)
        for future in futures.values():
            assert isinstance(future.result(), DecodeFailure)
    assert done == list("aubc")


def test_urgent_pictures_without_end_leave_a_long_run_its_share():
    """Of four pictures that a process takes, one at least is of the long run."""
    done = []
    with DecoderPool(1) as one:
        worker = one._free.get()
        first = one.submit(DecodeRequest(data=b"x"), None)
        assert until(lambda: one._others.empty())
        futures = [(name, one.submit(DecodeRequest(data=b"x"), None)) for name in "ooo"]
        urgent = DecodeRequest(data=b"x")
        futures += [(name, one.submit(urgent, None, urgent=True)) for name in "u" * 9]
        for name, future in futures:
            future.add_done_callback(lambda _, name=name: done.append(name))
        one._free.put(worker)
        for future in [first, *(future for _, future in futures)]:
            assert isinstance(future.result(), DecodeFailure)
    assert "".join(done) == "uuuouuuouuuo"


def test_what_waits_is_given_up_when_the_loader_is_closed():
    one = DecoderPool(1)
    worker = one._free.get()
    waiting = [one.submit(DecodeRequest(data=b"x"), None) for _ in range(5)]
    assert until(lambda: one._others.qsize() == 4)
    threading.Timer(0.1, lambda: one._free.put(worker)).start()
    one.close()
    assert isinstance(waiting[0].result(), DecodeFailure)
    assert all(future.cancelled() for future in waiting[1:])


def test_many_threads_may_share_a_loader(loader):
    pictures = [encoded(noise(20 + n, 20)) for n in range(8)]
    results = {}

    def work(n):
        results[n] = [one(loader, DecodeRequest(data=pictures[n])).size for _ in range(5)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: [(20 + n, 20)] * 5 for n in range(8)}


# Input that is not a picture, or not a file


@POSIX
@pytest.mark.parametrize("kind", ("folder", "fifo", "missing", "loop", "nul", "device"))
def test_what_is_no_file_fails_with_a_reason_and_never_waits(loader, tmp_path, kind):
    path = str(tmp_path / "thing")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        os.symlink(path, path)
    path = {"nul": "a\0b", "device": "/dev/zero"}.get(kind, path)
    result = one(loader, DecodeRequest(path=path))
    reason, again = {
        "folder": ("not a regular file", False),
        "fifo": ("not a regular file", False),
        "device": ("not a regular file", False),
        "missing": ("No such file", True),
        "loop": ("symbolic link", True),
        "nul": ("null byte", False),
    }[kind]
    assert reason in result.reason
    assert result.again == again
    assert one(loader, PLAIN).size == (60, 40)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read anything")
def test_an_unreadable_file_may_be_tried_again(loader, tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(PICTURE)
    path.chmod(0)
    assert one(loader, DecodeRequest(path=str(path))) == DecodeFailure(
        "Permission denied", again=True
    )


@LINUX
def test_a_file_that_cannot_be_read_may_be_tried_again(loader):
    failure = one(loader, DecodeRequest(path="/proc/self/mem"))
    assert failure == DecodeFailure("Input/output error", again=True)
    assert failure.code == "file_unreadable"


@LINUX
def test_failures_leave_no_file_open(tmp_path, marks):
    with DecoderPool(1, command=COMMAND) as loader:
        one(loader, PLAIN)
        (pid,) = processes(marks)
        before = os.listdir(f"/proc/{pid}/fd")
        for path in (tmp_path, tmp_path / "missing", "/dev/zero"):
            one(loader, DecodeRequest(path=str(path)))
        assert os.listdir(f"/proc/{pid}/fd") == before


def test_bytes_and_pixels_are_limited(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(5001))
    with DecoderPool(1, Limits(bytes=5000, pixels=500)) as loader:
        for source in (
            DecodeRequest(data=bytes(5001)),
            DecodeRequest(path=str(path)),
            DecodeRequest(data=bytes(9**7)),
        ):
            failure = one(loader, source)
            assert "bytes, more than" in failure.reason and not failure.again
        failure = one(loader, DecodeRequest(data=encoded(Image.new("RGB", (60, 40)))))
        assert "60 x 40 pixels" in failure.reason
        assert one(loader, DecodeRequest(data=encoded(Image.new("RGB", (20, 20))))).size == (20, 20)


@LINUX
def test_memory_is_limited():
    glass = Image.new("P", (13000, 13000))  # small as a file, 700 MB as RGBA
    data = encoded(glass, transparency=0, compress_level=1)
    with DecoderPool(1, Limits(memory=400 * 2**20)) as loader:
        failure = one(loader, DecodeRequest(data=data))
        assert failure == DecodeFailure(
            f"it needs more memory than the limit {400 * 2**20}", again=False
        )
        assert one(loader, PLAIN).size == (60, 40)


# A codec that misbehaves


def test_a_process_that_was_killed_costs_nothing(marks):
    with DecoderPool(1, command=COMMAND) as loader:
        result = loader.submit(DecodeRequest(data=PICTURE + b"exit once"), PREPROCESSING).result()
    assert isinstance(result, DecodedPicture) and (marks / "once").exists()


@POSIX
@pytest.mark.parametrize("how", ("exit", "segfault", "raise"))
def test_a_codec_that_dies_costs_one_picture(marks, how):
    sources = [PLAIN, DecodeRequest(data=how.encode()), PLAIN, PLAIN]
    with DecoderPool(1, command=COMMAND) as loader:
        results = [result for _, result in loader.load(enumerate(sources), None)]
    assert results[1] == DecodeFailure("the decoder died on it", again=False)
    assert isinstance(results[1], DecodeFailure) and results[1].code == "decode_failed"
    assert {type(r) for r in results[:1] + results[2:]} == {DecodedPicture}
    assert len(processes(marks)) == 3  # the first, one that tried again, one for the others


@POSIX
def test_a_picture_whose_decoder_is_killed_is_tried_again_later(marks):
    with DecoderPool(1, command=COMMAND) as loader:
        failure = one(loader, DecodeRequest(data=b"short of memory"))
    assert failure == DecodeFailure("the decoder was killed on it", again=True)


def test_a_codec_that_hangs_costs_one_picture(marks):
    sources = [PLAIN, DecodeRequest(data=b"hang"), DecodeRequest(data=b"spin"), PLAIN, PLAIN]
    with DecoderPool(2, Limits(seconds=2), COMMAND) as loader:
        results = [result for _, result in loader.load(enumerate(sources), None)]
    assert results[1] == results[2] == DecodeFailure("decoding took longer than 2 s", again=True)
    assert isinstance(results[1], DecodeFailure) and results[1].slow
    assert results[1].code == "decode_timeout"
    assert {type(r) for r in results[:1] + results[3:]} == {DecodedPicture}


def test_a_codec_that_prints_or_raises_does_not_end_its_process(marks):
    with DecoderPool(1, command=COMMAND) as loader:
        assert isinstance(one(loader, PLAIN), DecodedPicture)
        assert "not a picture" in one(loader, DecodeRequest(data=b"chatter")).reason
        assert "nobody thought of this" in one(loader, DecodeRequest(data=b"surprise")).reason
        assert isinstance(one(loader, PLAIN), DecodedPicture)
    assert len(processes(marks)) == 1


@pytest.mark.parametrize(
    "answer",
    (
        '{"id": "x", "size": [1, 2]}, []',
        '{"id": "x", "size": [1, 2]}, [b"pixels"]',
        '{"id": "x", "size": 3}, [b"x" * 3072]',
        '{"id": "x", "metadata": {"type": "png"}}, []',
        '{"id": "x", "metadata": "png"}, []',
        '{"size": [1, 2]}, [b"x" * 3072]',
        '{"error": "no again"}, []',
    ),
)
def test_a_nonsensical_answer_is_a_failure(answer):
    replaced = f"decoder.answer = lambda *_: ({answer})"
    code = f"from search.media import decoder; {replaced}; decoder.main()"
    with DecoderPool(1, command=(sys.executable, "-P", "-c", code)) as loader:
        failure = one(loader, PLAIN, PREPROCESSING)
    assert failure == DecodeFailure("the decoder died on it", again=False)


@pytest.mark.parametrize("command", ((sys.executable, "-c", ""), ("/does/not/exist",)))
def test_a_process_that_does_not_start_says_nothing_about_the_picture(command):
    with DecoderPool(1, command=command) as loader:
        failure = one(loader, PLAIN)
    assert "could be started" in failure.reason and failure.again


# Processes come and go


@pytest.mark.parametrize("workers", (1, 2))
def test_there_are_as_many_processes_as_workers_and_none_before_the_first_picture(marks, workers):
    with DecoderPool(workers, command=COMMAND) as loader:
        assert processes(marks) == []
        list(loader.load(((n, PLAIN) for n in range(20)), None))
        assert len(processes(marks)) == workers


@pytest.mark.parametrize("query", (True, False))
def test_a_warm_loader_has_its_first_process(marks, query):
    with DecoderPool(1, command=COMMAND) as loader:
        loader.warm(query)
        assert until(lambda: len(processes(marks)) == 1)
        (before,) = processes(marks)
        one(loader, DecodeRequest(data=PICTURE, query=query))
        assert processes(marks) == [before]


@POSIX
def test_a_query_has_a_process_of_its_own(marks):
    with DecoderPool(2, Limits(seconds=3600), COMMAND) as loader:
        slow = [loader.submit(DecodeRequest(data=b"hang"), None, urgent=True) for _ in range(4)]
        query = DecodeRequest(data=PICTURE, query=True)
        for _ in range(3):
            assert isinstance(loader.submit(query).result(60), DecodedPicture)
        assert not any(future.done() for future in slow)


@POSIX
def test_queries_take_any_process_that_is_free(marks):
    with DecoderPool(1, Limits(seconds=3600), COMMAND, query_seconds=3600) as loader:
        slow = loader.submit(DecodeRequest(data=b"hang", query=True))
        assert until((marks / "hanging").exists)
        query = DecodeRequest(data=PICTURE, query=True)
        assert isinstance(loader.submit(query).result(60), DecodedPicture)
        assert isinstance(one(loader, PLAIN), DecodedPicture)
        assert not slow.done()


@POSIX
def test_a_query_has_a_shorter_deadline(marks):
    with DecoderPool(1, Limits(seconds=3600), COMMAND, query_seconds=0.3) as loader:
        late = loader.submit(DecodeRequest(data=b"hang", query=True)).result(60)
        assert late == DecodeFailure("decoding took longer than 0.3 s", again=True)


@POSIX
def test_closing_ends_every_process_even_a_hanging_one(marks):
    loader = DecoderPool(2, Limits(seconds=3600), COMMAND)
    hanging = loader.submit(DecodeRequest(data=b"hang"), None)
    one(loader, PLAIN)
    assert until((marks / "hanging").exists)
    pids = processes(marks)
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    threading.Thread(target=loader.close, daemon=True).start()
    assert until(lambda: not any(alive(pid) for pid in pids))
    assert hanging.result() == DecodeFailure("the loader was closed", again=True)


def test_closing_ends_a_process_that_is_just_being_started(monkeypatch):
    real, begun, started = subprocess.Popen, threading.Event(), []

    def slow(*args, **options):
        begun.set()
        time.sleep(0.3)  # long enough for `close` to look for processes and find none
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(search.media.decoder_process.subprocess, "Popen", slow)
    loader = DecoderPool(1)
    loader.warm()
    assert begun.wait(60)
    loader.close()
    assert [process.poll() is not None for process in started] == [True]


@POSIX
@pytest.mark.parametrize(
    "how, seconds",
    [
        ("hang", 600),
        # only a limit on its processor time, the deadline and 5 s, can end this one
        pytest.param("spin", 1, marks=[pytest.mark.slow, LINUX]),
    ],
)
def test_children_are_gone_when_the_parent_is_killed(marks, how, seconds):
    command = (sys.executable, "-c", PARENT, HOSTILE, how, str(seconds))
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        parent.stdin.write(PICTURE)
        parent.stdin.close()
        assert parent.stdout.readline() == b"ready\n"
        assert until((marks / "hanging").exists)
        pids = processes(marks)
        assert len(pids) == 2
        if how == "hang":
            assert all(alive(pid) for pid in pids)
        parent.kill()
    assert until(lambda: not any(alive(pid) for pid in pids))


@POSIX
def test_ctrl_c_is_the_parents(marks):
    with DecoderPool(1, command=COMMAND) as loader:
        one(loader, PLAIN)
        (pid,) = processes(marks)
        os.kill(pid, signal.SIGINT)
        assert isinstance(one(loader, PLAIN), DecodedPicture)
        assert processes(marks) == [pid]


def test_a_decoding_process_imports_nothing_from_where_it_runs(tmp_path, monkeypatch):
    for name in ("json", "PIL", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with DecoderPool(1) as loader:
        assert isinstance(one(loader, PLAIN), DecodedPicture)


def test_a_decoding_process_knows_no_model():
    code = "import search.media.decoder, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    out = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True)
    assert {"torch", "faiss", "sqlalchemy", "open_clip"}.isdisjoint(out.stdout.split())
