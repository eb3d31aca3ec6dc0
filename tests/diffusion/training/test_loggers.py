"""Training runs in TensorBoard and in Weights & Biases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.training import finish, options, paint, small_preset
from typer.testing import CliRunner

from diffusion import ConfigError, Run
from diffusion.cli.app import app
from diffusion.training import loggers
from diffusion.training.loggers import TensorBoardTracker, WandbTracker, follow

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def preset() -> Iterator[None]:
    with small_preset():
        yield


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return paint(tmp_path / "data", 12)


def train(data: Path, run: Path, steps: int, *more: str) -> Any:
    arguments = ["train", str(data), "--preset", "small", "--steps", str(steps), "--run", str(run)]
    return CliRunner().invoke(app, [*arguments, "--device", "cpu", "--precision", "fp32", *more])


def read_events(run: Path) -> Any:
    """Read what TensorBoard shows of a run."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def test_tensorboard_has_the_numbers_and_grids(data: Path, tmp_path: Path) -> None:
    """Also of a run that was made longer: each step once."""
    run = tmp_path / "run"
    for steps in (4, 7):
        result = train(data, run, steps, "--log", "tensorboard")
        assert result.exit_code == 0, result.output
    events = read_events(run)
    tags = events.Tags()
    assert {"loss", "rate"} <= set(tags["scalars"]) and tags["images"] == ["grid"]
    steps = [one.step for one in events.Scalars("loss")]
    assert steps == sorted(set(steps)) and steps[-1] == 7
    assert [one.step for one in events.Images("grid")][0] == 0


class FakeWandb:
    """Notes what wandb would be sent."""

    def __init__(self) -> None:
        self.started = list[dict[str, Any]]()
        self.logged = list[tuple[int, dict[str, Any]]]()
        self.finished = 0

    def init(self, **options: Any) -> Any:
        self.started.append(options)
        return SimpleNamespace(id="abc123", log=self.log, finish=self.finish)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1

    def Image(self, picture: Any) -> Any:
        return picture.size


def test_wandb_gets_the_numbers_and_the_same_run_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    for steps in (3, 5):
        result = train(data, tmp_path / "run", steps, "--log", "wandb")
        assert result.exit_code == 0, result.output
    assert [one["id"] for one in fake.started] == [None, "abc123"] and fake.finished == 2
    assert fake.started[0]["name"] == "run" and fake.started[0]["config"]["preset"] == "small"
    assert [step for step, values in fake.logged if "loss" in values][-1] == 5
    assert any("grid" in values for _, values in fake.logged)


def test_wandb_itself_takes_a_run_offline(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = Run(options(data, tmp_path / "run", steps=2))
    tracker = WandbTracker(run.folder.path)
    assert [*follow(run.go(), [tracker])][-1].finished
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert (tmp_path / "run" / loggers.RUN_ID).read_text()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_before_the_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    result = train(data, tmp_path / "run", 2, "--log", name)
    assert isinstance(result.exception, ConfigError)
    assert f"pip install {name}" in str(result.exception)
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_an_unknown_log_is_refused(data: Path, tmp_path: Path) -> None:
    result = train(data, tmp_path / "run", 2, "--log", "paper")
    assert "tensorboard, wandb" in str(result.exception)


def test_trackers_are_closed_when_a_run_is_left(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = Run(options(data, tmp_path / "run", steps=5))
    events = follow(run.go(), [TensorBoardTracker(run.folder.path)])
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert "grid" in read_events(tmp_path / "run").Tags()["images"]
    assert finish(run)[-1].finished
