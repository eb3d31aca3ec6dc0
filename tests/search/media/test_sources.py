"""All kinds of picture sources: the same pixels from each, or an error with a reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.libraries import parts
from helpers.pictures import identity, jpeg, paint
from PIL import Image

from search import Engine, Hit, InputError, NotFoundError, PictureError, QueryError, Term
from search.errors import SizeError
from search.media.decoder_pool import DecoderPool
from search.media.fetch import FetchedPicture
from search.media.preprocessing import Preprocessing
from search.media.rules import Crop, Limits
from search.media.source_kinds import ImageSource
from search.media.sources import PictureResolver

Open = Callable[..., Engine]
URL = "https://example.org/a.jpg"
HIT = Hit("ab" * 32, "/gone.jpg", ("/gone.jpg",), 0.5, None, None, 48, 40)
SMALL, SQUASHED = Preprocessing(16), Preprocessing(24, "squash", 40)


class Browser:
    """Knows one picture."""

    def content(self, picture_id: str) -> bytes:
        if not HIT.id.startswith(picture_id):
            raise NotFoundError("no such picture")
        return jpeg(1)


def resolver(decoders: DecoderPool) -> PictureResolver:
    fetcher = SimpleNamespace(fetch=lambda _: FetchedPicture(jpeg(1)))
    return PictureResolver(SimpleNamespace(decoders=decoders, fetcher=fetcher, browser=Browser()))


@pytest.fixture
def ours() -> PictureResolver:
    return resolver(parts()[0])


def pixels() -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(1))))


def make_source(kind: str, folder: Path) -> ImageSource:
    """Return one picture as a source of this kind."""
    path = paint(folder / "a.jpg", 1)
    ways: dict[str, Callable[[], ImageSource]] = {
        "path": lambda: str(path),
        "pathlike": lambda: path,
        "bytes": lambda: jpeg(1),
        "url": lambda: URL,
        "id": lambda: f"id:{HIT.id[:8]}",
        "hit": lambda: HIT,
        "file": lambda: path.open("rb"),
        "buffer": lambda: io.BytesIO(jpeg(1)),
        "pil": lambda: Image.open(path),
        "array": pixels,
    }
    return ways[kind]()


KINDS = ["path", "pathlike", "bytes", "url", "id", "hit", "file", "buffer", "pil", "array"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_pixels_in_one_decode(
    ours: PictureResolver, folder: Path, kind: str
) -> None:
    source = make_source(kind, folder)
    resolved = ours.resolve(source, [SMALL, SQUASHED], with_image=True)
    image = Image.open(io.BytesIO(jpeg(1)))
    expected = [SMALL(image), SQUASHED(image)]
    assert all(map(np.array_equal, resolved.prepared, expected))
    assert resolved.image is not None and np.array_equal(np.asarray(resolved.image), pixels())
    assert resolved.id == (None if kind in ("pil", "array") else identity(1))
    if kind == "file":
        source.close()  # type: ignore[union-attr]


def test_a_crop_is_cut_before_every_preprocessing(ours: PictureResolver) -> None:
    crop = Crop(10, 10, 20, 20)
    cut = Image.fromarray(pixels()).crop((10, 10, 30, 30))
    for source in (jpeg(1), pixels()):
        resolved = ours.resolve(source, [SMALL], crop, with_image=True)
        assert resolved.image is not None and resolved.image.size == (20, 20)
        assert np.array_equal(resolved.prepared[0], SMALL(cut))


def test_nothing_is_prepared_that_is_not_requested(ours: PictureResolver) -> None:
    resolved = ours.resolve(jpeg(1))
    assert resolved.prepared == () and resolved.image is None and resolved.id == identity(1)


def test_large_sources_are_scaled_to_the_normalized_size(ours: PictureResolver) -> None:
    array = np.zeros((1000, 3000, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    for source in (array, out.getvalue()):
        image = ours.resolve(source, with_image=True).image
        assert image is not None and image.size == (1536, 512)


def test_a_grey_array_is_a_grey_picture(ours: PictureResolver) -> None:
    grey = np.arange(400, dtype=np.uint16).reshape(20, 20).astype(np.uint8)
    image = ours.resolve(grey, with_image=True).image
    assert image is not None and np.array_equal(np.asarray(image), np.stack([grey] * 3, 2))


def test_a_slice_of_an_array_is_a_picture(ours: PictureResolver) -> None:
    flipped = pixels()[:, ::-1]
    image = ours.resolve(flipped, with_image=True).image
    assert image is not None and np.array_equal(np.asarray(image), flipped)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_another_form_is_refused(ours: PictureResolver, array: np.ndarray) -> None:
    with pytest.raises(PictureError, match=r"is no picture; give \(H, W, 3\) RGB or \(H, W\) grey"):
        ours.resolve(array)


def test_the_limits_hold_for_arrays_and_files() -> None:
    with DecoderPool(1, Limits(pixels=100, bytes=2000)) as decoders:
        ours = resolver(decoders)
        with pytest.raises(SizeError, match="20 x 10 pixels, more than 100"):
            ours.resolve(np.zeros((10, 20, 3), np.uint8))
        with pytest.raises(SizeError, match="more than the limit 2000"):
            ours.resolve(io.BytesIO(b"x" * 5000))


def test_an_open_file_is_read_from_where_it_is_and_stays_open(ours: PictureResolver) -> None:
    file = io.BytesIO(b"head" + jpeg(1))
    file.seek(4)
    assert ours.resolve(file).id == identity(1) and not file.closed
    assert ours.read_file(io.BytesIO(b"abc")) == b"abc" and ours.read_file("a.jpg") == "a.jpg"


def test_files_that_give_no_bytes_are_refused(ours: PictureResolver) -> None:
    with pytest.raises(InputError, match="open it in binary mode, `rb`"):
        ours.resolve(io.StringIO("text"))  # type: ignore[arg-type]
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(InputError, match="cannot be read: .*closed"):
        ours.resolve(closed)


@pytest.mark.parametrize("thing", [7, 1.5, object(), ["a.jpg"]])
def test_what_is_no_source_is_refused(ours: PictureResolver, thing: ImageSource) -> None:
    with pytest.raises(InputError, match=r"is no picture; give a path, URL, `id:ID`, bytes"):
        ours.resolve(thing)


def test_a_broken_source_is_named(ours: PictureResolver, folder: Path) -> None:
    path = folder / "text.jpg"
    path.write_text("text")
    with pytest.raises(PictureError, match=f"{path}: not a picture"):
        ours.resolve(path)
    with pytest.raises(PictureError, match="the picture: not a picture"):
        ours.resolve(io.BytesIO(b"text"))
    with pytest.raises(NotFoundError, match="no such picture"):
        ours.resolve("id:ffff")


def test_content_is_never_read_from_a_path(ours: PictureResolver, folder: Path) -> None:
    path = paint(folder / "a.jpg", 2)
    assert ours.read_content(b"abc") == b"abc"
    assert ours.read_content(f"id:{HIT.id}") == jpeg(1)
    assert ours.read_content(str(path)) == jpeg(1)  # the fetcher, which takes URLs alone


# through the engine ------------------------------------------------------------------------------


@pytest.fixture
def engine(library: Open, folder: Path) -> Iterator[Engine]:
    """A library of three pictures."""
    for seed in range(3):
        paint(folder / f"{seed}.jpg", seed)
    engine = library()
    engine.sync(folder)
    yield engine


def test_arrays_files_and_hits_are_queries(engine: Engine, folder: Path) -> None:
    by_path = engine.search(image=folder / "1.jpg", k=3)
    assert by_path[0].id == identity(1)
    with open(folder / "1.jpg", "rb") as file:
        for source in (pixels(), file, io.BytesIO(jpeg(1)), by_path[0]):
            hits = engine.search(image=source, k=3)
            assert [hit.id for hit in hits] == [hit.id for hit in by_path]
            scores = [hit.score for hit in by_path]
            assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-3)
    assert engine.search(pixels(), k=1)[0].id == identity(1)


def test_the_query_of_a_hit_is_spelled_by_its_id(engine: Engine) -> None:
    hits = engine.search(image=jpeg(1), k=3)
    assert engine.search(image=hits[0]).query["terms"][0]["image"] == f"id:{identity(1)}"
    assert engine.search(image=[pixels(), hits[0]]).query["terms"][0]["image"] == 0
    all_of_them = engine.search(image=hits)  # hits are a sequence of pictures
    assert len(all_of_them.query["terms"]) == 3


def test_a_hit_can_be_cropped(engine: Engine) -> None:
    hit = engine.search(image=jpeg(1), k=1)[0]
    cut = engine.search(image=hit, crop=("0%", "0%", "50%", "50%"), k=3)
    by_bytes = engine.search(image=jpeg(1), crop=("0%", "0%", "50%", "50%"), k=3)
    assert [h.score for h in cut] == pytest.approx([h.score for h in by_bytes], abs=1e-4)


def test_a_query_and_an_array_are_not_both_taken(engine: Engine) -> None:
    with pytest.raises(QueryError, match="not both"):
        engine.search(pixels(), image=pixels())
    assert Term(image=pixels()).picture_id is None


def test_what_is_no_picture_is_an_error_of_the_engine(engine: Engine) -> None:
    with pytest.raises(InputError, match="no picture"):
        engine.search(image=7)  # type: ignore[arg-type]
