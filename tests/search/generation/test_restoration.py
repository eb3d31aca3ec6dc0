"""Pictures of queries that are restored before they are embedded."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from helpers.libraries import close_library, open_library
from helpers.project import SAMPLES
from helpers.serving import problem, serving
from helpers.web_site import serve_site
from PIL import Image
from typer.testing import CliRunner

from search import Engine, Query, QueryError
from search.cli.app import app
from search.errors import MaskError, ModelError
from search.generation.restoration import choose_actions
from search.media.fetch import Fetcher
from search.records.restoration import Degradation

SHIRT = SAMPLES / "dress" / "06.jpg"
Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_library(tmp_path_factory.mktemp("restored"))
    engine.sync(SAMPLES)
    yield engine
    close_library(engine)


@pytest.fixture(scope="module")
def clean() -> Picture:
    with Image.open(SHIRT) as file:
        return np.asarray(file.convert("RGB").resize((160, 144)))


@pytest.fixture(scope="module")
def noisy(clean: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 60, clean.shape)
    return (clean + noise).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mask(clean: Picture) -> Picture:
    mask_data = np.zeros(clean.shape[:2], np.uint8)
    mask_data[50:90, 60:100] = 255
    return mask_data


def encode(picture: Picture) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def measure_error(one: object, other: Picture) -> float:
    """Root mean square difference."""
    return float(np.sqrt(np.square(np.asarray(one, np.float64) - other).mean()))


def test_a_noisy_query_is_denoised(engine: Engine, clean: Picture, noisy: Picture) -> None:
    restored = engine.restore_picture(noisy)
    assert restored.restoration.applied == ("denoise",)
    assert measure_error(restored.picture, clean) < measure_error(noisy, clean) / 2
    plain, better = engine.search(noisy), engine.search(noisy, restore=True)
    own = engine.find_id(SHIRT)
    assert better[0].id == own and better[0].score is not None
    assert better[0].score > next((hit.score or 0 for hit in plain if hit.id == own), 0)
    (record,) = better.query["restored"]
    assert record["term"] == 0 and record["applied"] == ["denoise"] and 40 < record["noise"] < 65


def test_a_dark_query_is_brightened(engine: Engine, clean: Picture) -> None:
    noise = np.random.default_rng(0).normal(0, 4, clean.shape)
    dark = (clean / 8 + noise).round().clip(0, 255).astype(np.uint8)
    restored = engine.restore_picture(dark)
    assert restored.restoration.applied == ("brighten", "denoise")
    assert np.asarray(restored.picture).mean() > 4 * dark.mean()


def test_a_clean_query_is_left_as_it_is(engine: Engine) -> None:
    plain = engine.search(str(SHIRT), k=50)
    answer = engine.search(str(SHIRT), k=50, restore=True)
    assert answer.hits == plain.hits
    assert answer.query["restored"][0]["applied"] == []
    stored = f"id:{plain[0].id}"
    assert engine.search(stored, restore=True).hits == engine.search(stored).hits


def test_the_page_of_a_restored_picture_is_named(
    engine: Engine, clean: Picture, noisy: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL may lead to a web page, whose main picture is restored."""
    fetcher = Fetcher(10**6, 5.0, resolve=lambda *_: ["127.0.0.1"], allowed=lambda _: True)
    monkeypatch.setattr(engine.library, "fetcher", fetcher)
    with serve_site() as site:
        for name, picture in {"clean": clean, "noisy": noisy}.items():
            site.files[f"/{name}"] = f'<meta property="og:image" content="/{name}.png">'
            site.files[f"/{name}.png"] = encode(picture)
        urls = [f"{site.url}/{name}" for name in ("noisy.png", "noisy", "clean")]
        answer = engine.search(urls, restore=True).to_json()
        assert [one["applied"] for one in answer["query"]["restored"]] == [["denoise"]] * 2 + [[]]
        assert answer["pages"] == engine.search(urls).to_json()["pages"]
        assert [one["page"] for one in answer["pages"]] == urls[1:]


def test_masked_parts_are_painted_and_the_rest_is_kept(
    engine: Engine, clean: Picture, mask: Picture
) -> None:
    covered = clean.copy()
    covered[mask > 0] = (255, 0, 255)
    restored = engine.restore_picture(covered, mask=mask)
    painted = np.asarray(restored.picture)
    assert restored.restoration.applied == ("paint",)
    np.testing.assert_array_equal(painted[mask == 0], clean[mask == 0])
    assert measure_error(painted[mask > 0], covered[mask > 0]) > 30
    again = engine.restore_picture(covered, mask=mask)
    np.testing.assert_array_equal(np.asarray(again.picture), painted)


def test_an_estimate_alone_changes_nothing(engine: Engine, noisy: Picture) -> None:
    restored = engine.restore_picture(noisy, estimate_only=True)
    assert restored.restoration.applied == ("denoise",)
    np.testing.assert_array_equal(np.asarray(restored.picture), noisy)


def test_a_crop_is_restored_alone(engine: Engine, noisy: Picture, mask: Picture) -> None:
    restored = engine.restore_picture(noisy, crop=(40, 30, 100, 80), mask=mask)
    assert restored.picture.size == (100, 80)
    assert restored.restoration.applied == ("denoise", "paint")


def test_the_size_of_a_mask_is_that_of_the_upright_picture(engine: Engine, clean: Picture) -> None:
    """Also for a part, and for a picture that is much larger than what is restored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    out = io.BytesIO()
    Image.fromarray(clean).resize((1600, 1440)).save(out, "JPEG", exif=exif)
    turned = engine.restore_picture(out.getvalue(), estimate_only=True)
    assert turned.size == (1440, 1600) and turned.can_paint
    options = {"crop": ["50%", "0%", "50%", "100%"]}
    white = np.zeros((1600, 1440), np.uint8)
    white[:400, -360:] = 255  # the upper right corner
    with serving(engine) as client:
        sent: list[Any] = [("image", ("a", out.getvalue())), ("mask", ("b", encode(white)))]
        answer = client.post(
            "/api/v1/restored", files=sent, data={"options": json.dumps(options)}
        ).json()
        assert (answer["width"], answer["height"], answer["paints"]) == (1440, 1600, True)
        own = engine.find_id(SHIRT)
        about = client.get(f"/api/v1/images/{own}").json()
        line = np.eye(about["height"], about["width"], dtype=np.uint8) * 255
        sent = [("mask", ("b", encode(line)))]
        named = {"options": json.dumps({"id": own, "estimate": True})}
        stored = client.post("/api/v1/restored", files=sent, data=named).json()
        assert (stored["width"], stored["height"]) == (about["width"], about["height"])
        assert stored["restored"]["applied"] == ["paint"] and stored["png"] is None
    with Image.open(io.BytesIO(base64.b64decode(answer["png"]))) as png:
        painted = np.asarray(png)
    upright = engine.restore_picture(
        out.getvalue(), crop=("50%", "0%", "50%", "100%"), estimate_only=True
    )
    changed = (painted != np.asarray(upright.picture)).any(axis=-1)
    rows, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
    height, width = changed.shape
    assert abs(rows.max() - height / 4) < 3 and abs(columns.min() - width / 2) < 3


def test_weights_that_cannot_be_read_do_not_paint(
    clean: Picture, mask: Picture, tmp_path: Path
) -> None:
    engine = open_library(tmp_path / "home", checkpoint=tmp_path / "missing.safetensors")
    assert not engine.restore_picture(clean, estimate_only=True).can_paint
    with pytest.raises(ModelError, match="is not there"):
        engine.restore_picture(clean, mask=mask)
    close_library(engine)


@pytest.mark.parametrize("side", ["large", "black", "white"])
def test_masks_that_do_not_fit_are_refused(engine: Engine, clean: Picture, side: str) -> None:
    shape, value = (200, 200) if side == "large" else clean.shape[:2], 255 * (side != "black")
    with pytest.raises(MaskError):
        engine.restore_picture(clean, mask=np.full(shape, value, np.uint8))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"text": "hat", "restore": True}, "restore needs a picture"),
        ({"image": "a.jpg", "mask": "b.png"}, "give restore with it"),
        ({"image": ["a.jpg", "b.jpg"], "mask": "b.png", "restore": True}, "one picture"),
        ({"image": "a.jpg", "kind": "identical", "restore": True}, "leave one of them out"),
    ],
)
def test_what_cannot_be_restored_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        Query.of(**options)


def test_the_interfaces_agree(
    engine: Engine, noisy: Picture, mask: Picture, tmp_path: Path
) -> None:
    picture, mask_data = encode(noisy), encode(mask)
    expected = engine.search(picture, restore=True, mask=mask_data)
    with serving(engine) as client:
        sent = [("image", ("a", picture)), ("mask", ("b", mask_data))]
        query = {"query": json.dumps({"restore": True})}
        answer = client.post("/api/v1/search", files=sent, data=query).json()
    assert answer["query"]["restored"] == expected.query["restored"]
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in expected]
    (tmp_path / "a.png").write_bytes(picture)
    (tmp_path / "b.png").write_bytes(mask_data)
    line = ["--home", str(engine.home), "search", str(tmp_path / "a.png"), "--restore", "--json"]
    result = CliRunner().invoke(app, [*line, "--mask", str(tmp_path / "b.png")])
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["query"]["restored"] == expected.query["restored"]
    assert [hit["id"] for hit in printed["hits"]] == [hit.id for hit in expected]


def test_wrong_requests_have_a_code(engine: Engine, noisy: Picture, mask: Picture) -> None:
    picture = ("image", ("a", encode(noisy)))
    small = ("mask", ("b", encode(mask[:40])))
    text = ("mask", ("b", b"no picture"))
    yes = {"query": json.dumps({"restore": True})}
    with serving(engine) as client:

        def post(*files: Any, data: dict[str, str] | None = None) -> httpx.Response:
            return client.post("/api/v1/search", files=list(files), data=data)

        assert problem(post(picture, small, data=yes), 400)["code"] == "mask_invalid"
        assert problem(post(picture, text, data=yes), 415)["code"] == "not_a_picture"
        assert problem(post(picture, small), 400, "give restore")["code"] == "query_invalid"
        assert problem(post(picture, small, small, data=yes), 422)["code"] == "fields_invalid"


@pytest.mark.parametrize(
    ("noise", "light", "short", "expected"),
    [
        (3, 220, 400, ()),
        (30, 220, 400, ("denoise",)),
        (25, 220, 64, ()),
        (60, 220, 64, ("denoise",)),
        (0.5, 30, 400, ("brighten",)),
        (4, 30, 400, ("brighten", "denoise")),
    ],
)
def test_it_is_decided_by_noise_light_and_size(
    noise: float, light: float, short: int, expected: tuple[str, ...]
) -> None:
    actions, gain, _ = choose_actions(Degradation(noise, 0.3, light, short, 1.0))
    assert actions == expected and 1 <= gain <= 8
