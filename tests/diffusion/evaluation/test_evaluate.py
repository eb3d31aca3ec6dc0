"""Distances against closed forms; reports; the bound on likelihood against oracles."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from diffusion.errors import CheckpointError, DataError
from diffusion.evaluation.distance import (
    Manifold,
    find_nearest,
    frechet,
    kid,
    mmd,
    moments,
    precision_recall,
)
from diffusion.evaluation.report import (
    Evaluator,
    Report,
    draw_nearest_pairs,
    load_feature_encoder,
    split_held_out,
    through_half_size,
    through_jpeg,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(rank: int, seed: int, size: int = 6) -> Tensor:
    """Return a random covariance matrix of this rank."""
    root = normal(size, rank, seed=seed)
    return root @ root.T / rank


# distances ---------------------------------------------------------------------------------------


def test_moments_are_numpys() -> None:
    x = normal(9000, 4) + 3  # in several parts
    mean, covariance = moments(x.float())
    assert mean.dtype == torch.float64
    np.testing.assert_allclose(mean, x.float().double().mean(0), atol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.float().numpy().astype(float).T), atol=1e-12)


def test_frechet_distance_of_axis_aligned_gaussians() -> None:
    m, n, s, t = normal(4, 5).unbind()
    distance = frechet((m, torch.diag(s**2)), (n, torch.diag(t**2)))
    expected = (m - n).square().sum() + (s.abs() - t.abs()).square().sum()
    assert distance == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("first", "second"), [(9, 12), (6, 2), (3, 2)])
def test_frechet_distance_agrees_with_the_root_of_a_matrix(first: int, second: int) -> None:
    m, n, s, t = normal(6, seed=1), normal(6, seed=2), spread(first, 3), spread(second, 4)
    root = scipy.linalg.sqrtm((s @ t).numpy()).real
    expected = float((m - n).square().sum() + s.trace() + t.trace()) - 2 * np.trace(root)
    assert frechet((m, s), (n, t)) == pytest.approx(expected, abs=1e-5)
    assert frechet((m, s), (n, t)) == pytest.approx(frechet((n, t), (m, s)), abs=1e-6)
    assert frechet((m, s), (m, s)) == pytest.approx(0, abs=1e-6)


def test_kid_of_gaussians_is_its_closed_form() -> None:
    """In one dimension (x y + 1)^3 compares three moments."""
    x, y = normal(20_000, 1), 0.3 + 1.2 * normal(20_000, 1, seed=1)
    m, s = 0.3, 1.2
    expected = 3 * m**2 + 3 * (s**2 + m**2 - 1) ** 2 + (m**3 + 3 * m * s**2) ** 2
    value, error = kid(x, y)
    assert abs(value - expected) < 4 * error < expected
    same, error = kid(x, normal(20_000, 1, seed=2))
    assert abs(same) < 4 * error


def test_mmd_leaves_out_what_is_compared_with_itself() -> None:
    x, y = normal(7, 3), normal(5, 3, seed=1)

    def k(u: Tensor, v: Tensor) -> float:
        return float((u @ v / 3 + 1) ** 3)

    within = [
        np.mean([k(u, v) for i, u in enumerate(z) for j, v in enumerate(z) if i != j])
        for z in (x, y)
    ]
    expected = sum(within) - 2 * np.mean([k(u, v) for u in x for v in y])
    assert float(mmd(x, y)) == pytest.approx(float(expected), rel=1e-12)


def test_precision_and_recall_see_what_is_left_out_and_what_is_invented() -> None:
    near, far = normal(60, 2), normal(60, 2, seed=1) + 100
    real = Manifold(torch.cat([near, far]))
    precision, recall = precision_recall(Manifold(near), real)
    assert (precision, recall) == (1.0, 0.5)
    precision, recall = precision_recall(real, Manifold(near))
    assert (precision, recall) == (0.5, 1.0)


def test_a_manifold_reaches_as_far_as_the_third_neighbour() -> None:
    line = torch.arange(5.0)[:, None]  # third neighbours at 3, 2, 2, 2, 3
    inside = Manifold(line).contains(torch.tensor([[-3.0], [-3.1], [7.0], [7.1], [2.5]]))
    assert inside.tolist() == [True, False, True, False, True]
    with pytest.raises(DataError):
        Manifold(line[:3])


def test_nearest_is_the_nearest() -> None:
    a, b = normal(300, 4), normal(50, 4, seed=1)
    index, distance = find_nearest(a, b)
    apart = (a[:, None] - b[None]).norm(dim=2)
    assert index.tolist() == apart.argmin(1).tolist()
    torch.testing.assert_close(distance, apart.min(1).values)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(DataError):
        kid(normal(19, 2), normal(50, 2))
    with pytest.raises(DataError):
        moments(normal(1, 2))


# reports -----------------------------------------------------------------------------------------


def photographs(n: int, seed: int) -> Tensor:
    """(n, 3, 16, 16) uint8 with detail of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        nn.functional.interpolate(torch.randn(n, 3, s, s, generator=generator), 16, mode="bilinear")
        for s in (2, 8, 16)
    ]
    return (sum(layers) * 30 + 128).clamp(0, 255).to(torch.uint8)


class Counted:
    """An encoder: averages over 4 x 4 and detail over 2 x 2. It counts its pictures."""

    count = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.count += len(images)
        x = images.float() / 32
        detail = (x[..., ::2] - x[..., 1::2]).square().mean((2, 3))
        return torch.cat([nn.functional.avg_pool2d(x, 8).flatten(1), detail], dim=1)


@pytest.fixture(scope="module")
def measure() -> Evaluator:
    return Evaluator(Counted(), "counted", photographs(300, seed=0))


def test_a_report_has_a_floor_and_yardsticks_of_the_same_n(measure: Evaluator) -> None:
    held, samples = photographs(60, seed=1), photographs(60, seed=2) // 2
    report = Report.from_rows(
        measure,
        [measure.evaluate("made", samples), *measure.evaluate_baselines(held)],
        {"step": 7},
    )
    made_row, floor, small, blocky = report.rows
    assert floor.frechet < min(small.frechet, blocky.frechet, made_row.frechet)
    assert floor.kid < min(small.kid, made_row.kid)
    assert floor.recall > made_row.recall and floor.near < made_row.near
    document = json.loads(json.dumps(report.to_json()))
    assert document["seed"] == 0 and document["encoder"] == "counted"
    assert document["reference"]["pictures"] == 300 and document["about"] == {"step": 7}
    assert [row["n"] for row in document["rows"]] == [60] * 4
    lines = report.table().splitlines()
    for row, line in zip(report.rows, lines[1:], strict=False):
        assert line.startswith(row.what) and f"{row.frechet:.2f}" in line
    assert "300" in lines[-1] and "counted" in lines[-1] and "seed 0" in lines[-1]


def test_rows_of_another_n_do_not_compare(measure: Evaluator) -> None:
    rows = [measure.evaluate("made", photographs(n, seed=1)) for n in (30, 40)]
    with pytest.raises(DataError, match="30 made, 40 made"):
        Report.from_rows(measure, rows, {})


def test_copies_of_training_pictures_are_found_and_come_first(measure: Evaluator) -> None:
    generated = photographs(30, seed=3)
    generated[17] = measure.reference.images[123]
    row = measure.evaluate("made", generated)
    assert row.places[17] == 123 and float(row.distances[17]) == 0
    pairs = np.asarray(draw_nearest_pairs(generated, measure.reference.images, row, count=8))
    scale, gap, side = 2, 2, 16
    assert pairs.shape == (scale * (2 * (side + gap) + gap), scale * (8 * (side + gap) + gap), 3)
    left = pairs[2 * gap : 2 * (gap + side), 2 * gap : 2 * (gap + side)]
    right = pairs[2 * gap : 2 * (gap + side), 2 * (2 * gap + side) : 2 * (2 * gap + 2 * side)]
    assert (left == right).all()
    np.testing.assert_array_equal(left[::2, ::2], generated[17].permute(1, 2, 0).numpy())


def test_features_of_real_pictures_are_kept(tmp_path: Path) -> None:
    reference, held = photographs(50, seed=0), photographs(25, seed=1)
    first = Evaluator(Counted(), "counted", reference, cache=tmp_path)
    floor = first.evaluate_baselines(held)[0]
    encode = Counted()
    again = Evaluator(encode, "counted", reference, cache=tmp_path)
    assert again.evaluate_baselines(held)[0].frechet == floor.frechet and encode.count == 0
    again.evaluate("made", held)
    assert encode.count == 25  # features of generated pictures are not cached
    Evaluator(encode, "another", reference, cache=tmp_path)
    assert encode.count == 75
    Evaluator(encode, "counted", reference.flip(0), cache=tmp_path)
    assert encode.count == 125
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    Evaluator(encode, "counted", reference, cache=tmp_path)
    assert encode.count == 175


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    Evaluator(Counted(), "counted", photographs(120, 0), on_progress=lambda *at: calls.append(at))
    assert calls[-1] == (120, 120) and calls == sorted(calls) and len(calls) > 1


def test_pictures_and_encoders_of_a_wrong_shape_are_refused(measure: Evaluator) -> None:
    for wrong in (torch.zeros(30, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(DataError):
            measure.evaluate("made", wrong)
    with pytest.raises(DataError, match="flat"):
        Evaluator(lambda images: images.float().mean((1, 2, 3)), "flat", photographs(5, 0))


def test_yardsticks_harm_what_they_should() -> None:
    flat = torch.full((1, 3, 8, 8), 90, dtype=torch.uint8)
    flat[:, 1] = 20
    assert torch.equal(through_half_size(flat), flat)
    board = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 255
    assert int(through_half_size(board).float().std()) < 10
    pictures = photographs(3, seed=0)
    error = (through_jpeg(pictures).float() - pictures.float()).abs().mean()
    gentle = (through_jpeg(pictures, quality=95).float() - pictures.float()).abs().mean()
    assert through_jpeg(pictures).shape == pictures.shape and gentle < error < 60


def test_pictures_that_are_held_out_are_not_in_the_reference() -> None:
    rest, held = split_held_out(100, 30, seed=1)
    assert len(held) == 30 and sorted(rest.tolist() + held.tolist()) == list(range(100))
    assert (
        held.tolist()
        == split_held_out(100, 30, seed=1)[1].tolist()
        != split_held_out(100, 30)[1].tolist()
    )
    with pytest.raises(DataError):
        split_held_out(100, 51)


class Pooled(nn.Module):
    """Means of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


class Inception(nn.Module):
    """The signature of the network behind published distances: features are an option."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        means = x.float().mean((2, 3))
        return means if return_features else means.softmax(1)


@pytest.mark.parametrize("net", [Pooled, Inception])
def test_an_encoder_comes_from_a_file(net: type[nn.Module], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(net()).save(str(tmp_path / "net.pt"))
    pictures = photographs(4, seed=0)
    features = load_feature_encoder(tmp_path / "net.pt")(pictures)
    torch.testing.assert_close(features, pictures.float().mean((2, 3)))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_text("not a network")
    for name in ("net.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_feature_encoder(tmp_path / name)
