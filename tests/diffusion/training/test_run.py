"""Training from end to end: its files, resuming, and errors."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import training
from helpers.training import CONFIG, finish, options, paint
from PIL import Image
from safetensors.torch import load_file, save_file

from diffusion import DiffusionError, Options, Run, load, sample
from diffusion.errors import ConfigError, DataError, TrainingError
from diffusion.model import checkpoint
from diffusion.training.folder import Folder
from diffusion.training.recipe import plateau

MODULE = sys.modules[Run.__module__]


@pytest.fixture(scope="module", autouse=True)
def preset() -> Iterator[None]:
    """Set the preset of these runs, and log by steps alone, so that speed does not matter."""
    with training.small_preset(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(MODULE, "LOOK_SECONDS", float("inf"))
        patched.setattr(MODULE, "SAVE_SECONDS", float("inf"))
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: fast for small networks, and the same sums in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Skip plots and make grids cheap where they are not tested. They take most of the time."""
    monkeypatch.setattr(MODULE, "PASSES", 1)
    if not request.node.name.endswith("[loss]"):
        monkeypatch.setattr(Folder, "plot", lambda _: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return paint(tmp_path / "data", 10)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def same(one: Path, other: Path) -> bool:
    """Whether two runs hold the same weights, averages and moments, and the same checkpoint."""
    ours, theirs = (load_file(run / "state.safetensors") for run in (one, other))
    names = ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
    files = [(run / "checkpoint.safetensors").read_bytes() for run in (one, other)]
    return names and files[0] == files[1]


def begin(run: Run, steps: int) -> None:
    """Do as many steps and stop, as a first Ctrl-C does."""
    advance = run.trainer.advance

    def counted(planned: int) -> torch.Tensor:
        run.stop = run.trainer.step + 1 >= steps
        return advance(planned)

    run.trainer.advance = counted  # type: ignore[method-assign]
    finish(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of 24 steps over ten pictures."""
    place, before = tmp_path_factory.mktemp("whole"), torch.get_num_threads()
    torch.set_num_threads(1)
    finish(Run(options(paint(place / "data", 10), place / "run", steps=24)))
    torch.set_num_threads(before)
    return place / "run"


def test_a_run_that_needs_too_much_memory_says_what_to_change(tmp_path: Path) -> None:
    run = Run(options(paint(tmp_path / "data", 4), tmp_path / "run", steps=4))
    advance = run.trainer.advance

    def run_out(planned: int) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    run.trainer.advance = run_out  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="--batch"):
        finish(run)
    run.trainer.advance = advance  # type: ignore[method-assign]
    assert finish(run)[-1].finished


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    paths = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    grids = {name for name in paths if name.startswith("grids/")}
    snapshots = {name for name in paths if name.startswith("snapshots/")}
    steps = [3, 6, 9, 12, 15, 18, 21, 24]
    kinds = ("power-0.1", "power-0.05")
    assert snapshots == {f"snapshots/{s:07d}-{k}.safetensors" for s in steps for k in kinds}
    assert paths - grids - snapshots == {
        *("config.json", "log.txt", "stats.jsonl", "loss.png"),
        *("checkpoint.safetensors", "checkpoint.json", "state.safetensors", "plateau.safetensors"),
    }
    config = json.loads((whole / "config.json").read_text())
    assert config["steps"] == 24 and config["options"]["seed"] == 0
    assert config["recipe"]["batch"] == 8 and config["config"]["preset"] == "small"
    messages = lines(whole)
    assert [line["step"] for line in messages] == [10, 18, 20, 24]
    assert set(messages[0]) == {"step", "pictures", "loss", "lr", "seconds"}
    assert messages[-1]["pictures"] == 24 * 8 and messages[-1]["loss"] < messages[0]["loss"]
    assert "24" in (whole / "log.txt").read_text()


def test_grids_and_plots_are_png(whole: Path) -> None:
    """The article's code saves its pictures as JPEG, which smears them."""
    grids = sorted((whole / "grids").iterdir())
    assert [grid.name for grid in grids] == ["0000000.png", "0000024.png"]
    for path in (*grids, whole / "loss.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
    with Image.open(grids[-1]) as picture:  # 10 pictures of 16 pixels, 4 in a row
        assert picture.size == (4 * 18 + 2, 3 * 18 + 2)


def test_a_checkpoint_of_a_run_needs_nothing_else(whole: Path, tmp_path: Path) -> None:
    for name in ("checkpoint.safetensors", "checkpoint.json"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    model = load(tmp_path / "checkpoint.safetensors")
    assert model.config == CONFIG and sample(model, 2).shape == (2, 3, 16, 16)
    about = model.about
    assert (about["step"], about["seen"], about["pictures"], about["data"]) == (
        24,
        192,
        10,
        ["data"],
    )


def test_a_finished_run_says_so_and_is_left_alone(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    (progress,) = finish(Run(options(whole.parent / "data", whole, steps=24)))
    assert progress.finished and progress.step == 24
    assert progress.message and "finished" in progress.message
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


def test_a_run_that_was_stopped_ends_where_it_would_have(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    for steps in (1, 11, 20):
        begin(Run(options(data, tmp_path / "run", steps=24)), steps)
        assert load(tmp_path / "run" / "checkpoint.safetensors").about["step"] == steps
    last = finish(Run(options(data, tmp_path / "run", steps=24)))[-1]
    assert last.finished and last.step == 24
    assert same(whole, tmp_path / "run")


def child(data: Path, run: Path, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, training.__file__, str(data), str(run), str(steps), "1"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_run_that_was_killed_ends_where_it_would_have(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with child(data, run, 24) as process:
        assert process.stdin and process.stdout
        for step in range(1, 8):
            assert process.stdout.readline() == f"{step}\n"
            process.stdin.write("\n")
            process.stdin.flush()
        os.kill(process.pid, signal.SIGKILL)  # in the middle of what follows step 7
    assert process.returncode == -signal.SIGKILL
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"step": 8, "pic')  # as if in the middle of a line
    again = Run(options(data, run, steps=24))
    assert 6 <= again.trainer.step <= 8
    finish(again)
    assert same(whole, run)
    steps = [line["step"] for line in lines(run)]
    assert steps == sorted(set(steps)) and steps[-1] == 24


def test_a_run_killed_before_its_first_state_begins_anew(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    begin(Run(options(data, run, steps=24)), 11)
    (run / "state.safetensors").unlink()
    again = Run(options(data, run, steps=24))
    assert again.trainer.step == 0
    finish(again)
    assert same(whole, run)
    assert [line["step"] for line in lines(run)] == [10, 18, 20, 24]


def test_a_loop_that_breaks_off_is_saved(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for progress in Run(options(data, run, steps=24)).go():
        if progress.loss is not None:
            break
    assert Run(options(data, run, steps=24)).trainer.step == 10
    assert load(run / "checkpoint.safetensors").about["step"] == 10


def test_a_larger_budget_lengthens_what_stays(data: Path, tmp_path: Path) -> None:
    """A finished run goes on from where its learning rate began to fall, as if it had been given
    the larger budget to begin with."""
    long, short = tmp_path / "long", tmp_path / "short"
    finish(Run(options(data, long, steps=32)))
    finish(Run(options(data, short, steps=16)))
    assert load_file(short / "plateau.safetensors").keys()
    longer = Run(options(data, short, steps=32))
    assert longer.trainer.step == plateau(16) == 12
    begin(longer, 14)  # and it may be stopped again
    finish(Run(options(data, short, steps=32)))
    assert same(long, short)
    assert [line["lr"] for line in lines(short)][-1] == [line["lr"] for line in lines(long)][-1]


def test_a_longer_run_killed_at_once_still_goes_on_from_the_plateau(
    data: Path, tmp_path: Path
) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    finish(Run(options(data, long, steps=32)))
    finish(Run(options(data, short, steps=16)))
    killed = Run(options(data, short, steps=32))

    def die(_: int) -> torch.Tensor:
        raise KeyboardInterrupt

    killed.trainer.advance = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        finish(killed)
    finish(Run(options(data, short, steps=32)))
    assert same(long, short)


@pytest.mark.parametrize("steps", [16, 32])
def test_a_run_broken_off_where_the_rate_falls_can_be_lengthened(
    data: Path, tmp_path: Path, steps: int
) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    finish(Run(options(data, long, steps=64)))
    finish(Run(options(data, short, steps=16)))
    (short / "stats.jsonl").write_text("{")  # torn in its first line
    if steps == 16:
        for name in ("state", "plateau"):
            (short / f"{name}.safetensors").unlink()
    for progress in Run(options(data, short, steps=steps)).go():
        if progress.step == plateau(steps) and progress.loss is not None:
            break
    finish(Run(options(data, short, steps=steps)))
    longer = Run(options(data, short, steps=64))
    assert longer.trainer.step == plateau(steps)
    finish(longer)
    assert same(long, short)


def test_a_run_without_its_plateau_is_not_lengthened_from_elsewhere(
    data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    finish(Run(options(data, run, steps=16)))
    (run / "plateau.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"no plateau.*from its checkpoint"):
        Run(options(data, run, steps=32))


def test_steps_may_be_given_where_minutes_had_not_become_any(data: Path, tmp_path: Path) -> None:
    begin(Run(options(data, tmp_path / "run", minutes=60.0)), 2)
    with pytest.raises(ConfigError, match="2 steps already"):
        Run(options(data, tmp_path / "run", steps=2))
    last = finish(Run(options(data, tmp_path / "run", steps=5)))[-1]
    assert last.finished and last.step == last.steps == 5


@pytest.mark.parametrize("less", [{"steps": 8}, {"minutes": 16.0}, {"minutes": 500.0}])
def test_a_smaller_budget_or_another_kind_is_refused(whole: Path, less: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="24"):
        Run(options(whole.parent / "data", whole, **less))


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"batch": 4}, {"lr": 0.1}, {"drop": 0.5}, {"size": 32}, {"preset": "tiny"}],
)
def test_other_options_are_refused(whole: Path, other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(other))):
        Run(options(whole.parent / "data", whole, **{"steps": 24, **other}))


def test_other_pictures_are_refused(data: Path, tmp_path: Path) -> None:
    begin(Run(options(data, tmp_path / "run", steps=24)), 2)
    training.blocks(99).save(data / "3.png")
    with pytest.raises(ConfigError, match="changed"):
        Run(options(data, tmp_path / "run", steps=24))


def vectors(path: Path, count: int, seed: int = 0, name: str = "abc") -> str:
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    names = json.dumps([f"{i}.png" for i in range(count)])
    rows = torch.nn.functional.normalize(rows, dim=1).half()
    save_file({"vectors": rows}, path, {"names": names, "model": "mini", "fingerprint": name})
    return str(path)


def test_other_vectors_are_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    arguments: dict[str, Any] = {"steps": 24, "embeddings": vectors(path, 10)}
    begin(Run(options(data, tmp_path / "run", **arguments)), 2)
    assert Run(options(data, tmp_path / "run", **arguments)).trainer.step == 2
    vectors(path, 10, seed=1)
    with pytest.raises(ConfigError, match="changed"):
        Run(options(data, tmp_path / "run", **arguments))


def test_a_model_under_vectors_names_its_encoder(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint.safetensors"
    arguments: dict[str, Any] = {"steps": 2, "embeddings": vectors(tmp_path / "v.safetensors", 7)}
    finish(Run(options(data, tmp_path / "run", **arguments)))
    model = load(path, encoder="abc")
    assert model.config.shape.condition == "vector" and model.config.shape.width == 6
    assert model.about["pictures"] == 7  # those that have a vector
    tuned = {"start": str(path), "steps": 2, "preset": "small"}
    for embeddings in ({"embeddings": arguments["embeddings"]}, {}):
        begin(Run(options(data, tmp_path / f"tuned{len(embeddings)}", **tuned, **embeddings)), 1)
        tuned_model = load(tmp_path / f"tuned{len(embeddings)}" / "checkpoint.safetensors")
        assert tuned_model.about["encoder"]["fingerprint"] == "abc"
    other = vectors(tmp_path / "w.safetensors", 7, name="xyz")
    with pytest.raises(ConfigError, match="xyz"):
        Run(options(data, tmp_path / "refused", **tuned, embeddings=other))
    assert not (tmp_path / "refused").exists()


def test_a_model_under_classes_names_them(tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 3, classes=True)
    finish(Run(options(data, tmp_path / "run", steps=2, classes=True)))
    model = load(tmp_path / "run" / "checkpoint.safetensors")
    assert model.about["classes"] == ["c0", "c1", "c2"]
    assert model.config.shape.condition == "class" and model.config.shape.width == 3
    with pytest.raises(ConfigError, match="folders"):
        Run(options(paint(tmp_path / "flat", 3), tmp_path / "no", steps=2, classes=True))


def test_a_model_of_classes_keeps_their_names_on_other_pictures(tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 3, classes=True)
    finish(Run(options(data, tmp_path / "run", steps=2, classes=True)))
    start = str(tmp_path / "run" / "checkpoint.safetensors")
    (data / "c1").rename(data / "eel")
    finish(Run(options(data, tmp_path / "tuned", steps=2, start=start)))
    model = load(tmp_path / "tuned" / "checkpoint.safetensors")
    assert model.about["classes"] == ["c0", "c1", "c2"]


def test_names_that_are_no_utf_8_are_trained_on(tmp_path: Path) -> None:
    data = paint(tmp_path / "data\udce9", 2, classes=True)
    (data / "c1").rename(data / "caf\udce9")
    finish(Run(options(data, tmp_path / "run", steps=2, classes=True)))
    assert "caf\udce9" in load(tmp_path / "run" / "checkpoint.safetensors").about["classes"]
    assert Run(options(data, tmp_path / "run", steps=2, classes=True)).trainer.step == 2


def test_a_checkpoint_tells_how_large_its_pictures_were(data: Path, tmp_path: Path) -> None:
    for i in range(10, 23):
        training.blocks(i).resize((90, 40)).save(data / f"{i}.png")
    finish(Run(options(data, tmp_path / "run", steps=1)))
    start = tmp_path / "run" / "checkpoint.safetensors"
    assert load(start).about["side"] == 40
    other = options(paint(tmp_path / "other", 3), tmp_path / "tuned", steps=1, start=str(start))
    finish(Run(other))  # without vectors, the encoder stays recorded
    assert load(tmp_path / "tuned" / "checkpoint.safetensors").about["side"] == 40


@pytest.mark.parametrize("start", [None, "shipped"])
def test_the_preset_is_tiny_or_that_of_the_start(
    data: Path, tmp_path: Path, start: str | None
) -> None:
    arguments: dict[str, Any] = {"steps": 1, "start": start, "size": 64}
    run = Run(options(data, tmp_path / "run", preset=None, **arguments))
    assert run.config.preset == "tiny"
    begin(run, 1)
    for preset in ("tiny", None):
        assert Run(options(data, tmp_path / "run", preset=preset, **arguments)).trainer.step == 1
    if start:
        with pytest.raises(ConfigError, match="preset tiny, not small"):
            Run(options(data, tmp_path / "other", preset="small", **arguments))


def test_a_run_goes_on_with_its_preset(data: Path, tmp_path: Path) -> None:
    begin(Run(options(data, tmp_path / "run", preset="small")), 1)
    run = Run(options(data, tmp_path / "run", preset=None))
    assert (run.config.preset, run.trainer.step) == ("small", 1)


def test_pictures_that_the_start_has_seen_are_counted(data: Path, tmp_path: Path) -> None:
    counts, start = [], None
    for name in ("first", "second"):
        finish(Run(options(data, tmp_path / name, steps=2, start=start)))
        start = str(tmp_path / name / "checkpoint.safetensors")
        counts.append(load(start).about["seen"])
    assert counts[1] == 2 * counts[0] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_between_two_steps(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run, before = Run(options(data, tmp_path / "run")), signal.getsignal(number)
    advance = run.trainer.advance

    def hit(planned: int) -> torch.Tensor:
        signal.raise_signal(number)
        return advance(planned)

    run.trainer.advance = hit  # type: ignore[method-assign]
    with run.until_stopped():
        last = list(run.go())[-1]
    assert not last.finished and signal.getsignal(number) is before
    assert Run(options(data, tmp_path / "run")).trainer.step == run.trainer.step == 1


def test_a_run_from_an_augmented_checkpoint_resumes(data: Path, tmp_path: Path) -> None:
    finish(Run(options(data, tmp_path / "first", steps=2, augment=0.5)))
    start = str(tmp_path / "first" / "checkpoint.safetensors")
    assert load(start).config.shape.augmentation == 9
    begin(Run(options(data, tmp_path / "run", steps=6, start=start)), 3)
    last = finish(Run(options(data, tmp_path / "run", steps=6, start=start)))[-1]
    assert last.finished and last.step == 6


def test_a_folder_with_weights_of_no_run_is_left_alone(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("checkpoint.safetensors", "checkpoint.json"):
        (tmp_path / "mine" / name).write_bytes((whole / name).read_bytes())
    start = str(tmp_path / "mine" / "checkpoint.safetensors")
    with pytest.raises(ConfigError, match="another run folder"):
        Run(options(data, tmp_path / "mine", steps=2, start=start))
    assert (tmp_path / "mine" / "checkpoint.json").read_bytes() == (
        whole / "checkpoint.json"
    ).read_bytes()


def test_a_command_without_a_length_keeps_that_of_the_run(whole: Path) -> None:
    (progress,) = finish(Run(options(whole.parent / "data", whole)))
    assert progress.finished and progress.step == 24


def test_a_signal_while_a_grid_is_drawn_loses_no_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(options(data, tmp_path / "run", steps=24))
    for name, value in (("GRID_SECONDS", 0.0), ("GRID_GROWTH", 0.0), ("GRID_SHARE", 1e9)):
        monkeypatch.setattr(MODULE, name, value)  # a grid is due after each step
    for progress in run.go():
        if progress.grid and progress.step == 3:
            run.stop = True
    assert Run(options(data, tmp_path / "run", steps=24)).trainer.step == 3


def test_fine_tuning_begins_with_the_weights(data: Path, whole: Path, tmp_path: Path) -> None:
    start = str(whole / "checkpoint.safetensors")
    run = Run(options(data, tmp_path / "run", steps=2, start=start))
    initial = load(start).net.state_dict()
    for name, weight in run.trainer.model.net.named_parameters():
        assert torch.equal(weight, initial[name])
        assert torch.equal(run.trainer.average.weights[name], initial[name])
    finish(run)
    assert Run(options(data, tmp_path / "run", steps=2, start=start)).trainer.step == 2


def test_weights_of_an_unknown_preset_are_refused(
    data: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.safetensors"
    model = load(whole / "checkpoint.safetensors")
    config = training.Config("own", CONFIG.shape, size=16)
    checkpoint.save(path, config, model.net.state_dict(), {})
    with pytest.raises(ConfigError, match="own"):
        Run(options(data, tmp_path / "run", steps=2, start=str(path)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], Run]:
    """Set a clock by which each step takes one second and nothing else takes time."""
    now = [0.0]
    monkeypatch.setattr(MODULE, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def timed(run: Run) -> Run:
        advance = run.trainer.advance

        def counted(planned: int) -> torch.Tensor:
            now[0] += 1
            return advance(planned)

        run.trainer.advance = counted  # type: ignore[method-assign]
        return run

    return timed


def test_a_budget_of_minutes_fixes_the_steps_from_the_rate(
    data: Path, tmp_path: Path, clock: Callable[[Run], Run]
) -> None:
    run = tmp_path / "run"
    last = finish(clock(Run(options(data, run, minutes=1.0))))
    looks = [progress for progress in last if progress.loss is not None]
    assert looks[0].steps is None and looks[0].rate == pytest.approx(8)
    steps = json.loads((run / "config.json").read_text())["steps"]
    assert last[-1].finished and last[-1].step == steps
    assert 50 < steps == lines(run)[-1]["seconds"] <= 60
    assert looks[-1].left == 0
    again = finish(Run(options(data, run, minutes=1.0)))
    assert again[0].finished and again[0].step == steps
    longer = clock(Run(options(data, run, minutes=2.0)))
    assert longer.trainer.step == plateau(steps)
    assert 108 < finish(longer)[-1].step <= 120
    assert 108 < lines(run)[-1]["seconds"] <= 120


def test_steps_fixed_late_still_leave_a_plateau(
    data: Path, tmp_path: Path, clock: Callable[[Run], Run]
) -> None:
    """Measuring may take most of a short budget: the rate was to fall from a step already done."""
    run = tmp_path / "run"
    finish(clock(Run(options(data, run, minutes=0.1))))
    steps = json.loads((run / "config.json").read_text())["steps"]
    assert plateau(steps) < 4 < steps  # measured over the step after the first three
    longer = Run(options(data, run, minutes=20.0))
    assert longer.trainer.step == 4


def spoiled(data: Path, run: Path, done: int) -> tuple[Run, dict[str, torch.Tensor]]:
    """A run that goes on after so many good steps with losses that are no numbers, and its state
    before."""
    begin(Run(options(data, run, steps=24)), done)
    again = Run(options(data, run, steps=24))
    again.trainer.model.net.stem.weight.register_hook(lambda grad: grad * float("nan"))
    return again, load_file(run / "state.safetensors")


def test_a_loss_that_is_no_number_stops_the_run_with_its_last_good_state(
    data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    again, good = spoiled(data, run, 5)
    with pytest.raises(TrainingError, match=r"nan at step 10 .* smaller lr"):
        finish(again)
    state = load_file(run / "state.safetensors")
    assert all(torch.equal(state[name], good[name]) for name in good)
    assert load(run / "checkpoint.safetensors").about["step"] == 5
    assert all(line["step"] <= 5 for line in lines(run))


def test_breaking_off_after_a_loss_that_is_no_number_keeps_the_last_good_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    again, good = spoiled(data, run, 3)
    again.stop = False
    monkeypatch.setattr(Run, "_elapsed", lambda _: 1e9)  # a grid is due after each step
    for progress in again.go():
        assert progress.grid and progress.step == 4
        break
    state = load_file(run / "state.safetensors")
    assert all(torch.equal(state[name], good[name]) for name in good)


@pytest.mark.parametrize("full", ["state", "checkpoint", "config", "grids", "loss", "stats", "log"])
def test_a_full_disk_stops_the_run_and_leaves_the_last_state(
    full: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    begin(Run(options(data, run, steps=6)), 3)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    real = Path.open, os.replace

    def refuse(path: Path) -> None:
        if full in Path(path).relative_to(run).as_posix():
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(self: Path, *args: Any, **options: Any) -> Any:
        if args and args[0] in ("a", "wb", "w"):
            refuse(self)
        return real[0](self, *args, **options)

    def replaced(one: Path, other: Path) -> None:
        refuse(other)
        real[1](one, other)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opened)
        patched.setattr(os, "replace", replaced)
        with pytest.raises(DiffusionError, match="No space left on device"):
            finish(Run(options(data, run, steps=6)))
    assert not [path for path in run.rglob("*") if ".part" in path.name]
    for name in ("state.safetensors", "checkpoint.safetensors", "checkpoint.json"):
        if full in name:
            assert (run / name).read_bytes() == before[run / name]
    load(run / "checkpoint.safetensors")
    finish(Run(options(data, run, steps=6)))  # there is room again


def test_a_run_is_not_finished_before_its_last_weights_are_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, real = Run(options(data, tmp_path / "run", steps=6)), checkpoint.save

    def refuse(*args: Any) -> None:
        if first.trainer.step == 6:
            raise DiffusionError("No space left on device")
        real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", refuse)
        with pytest.raises(DiffusionError, match="No space"):
            finish(first)
    finish(Run(options(data, tmp_path / "run", steps=6)))
    assert load(tmp_path / "run" / "checkpoint.safetensors").about["step"] == 6


def test_a_run_inside_its_data_goes_on(data: Path) -> None:
    begin(Run(options(data, data / "runs" / "mine", steps=12)), 8)
    assert list((data / "runs" / "mine" / "grids").iterdir())
    again = Run(options(data, data / "runs" / "mine", steps=12))
    assert again.inputs.count == 10 and again.trainer.step


@pytest.mark.parametrize("name", ["state", "plateau"])
def test_a_damaged_state_is_told(data: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    finish(Run(options(data, run, steps=8)))
    (run / f"{name}.safetensors").write_bytes(b"no state")
    with pytest.raises(TrainingError, match="damaged"):
        Run(options(data, run, steps=16))


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"options": []}', "{"])
def test_a_folder_of_something_else_is_refused(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="not readable"):
        Run(options(data, tmp_path / "run", steps=24))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": -1},
        {"minutes": 0.0},
        {"minutes": float("nan")},
        {"minutes": float("inf")},
        {"minutes": 1.0, "steps": 1},
        {"classes": True, "embeddings": "v"},
        {"size": 0},
        {"seed": -1},
        {"seed": 2**64},
        {"validation": 0.6},
        {"validation": -0.1},
        {"snapshots": -1},
        {"blocks": 0},
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Options(("data",), "run", **wrong)


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"size": 17}, ConfigError),
        ({"preset": "huge"}, ConfigError),
        ({"device": "cuda:99"}, ConfigError),
        ({"batch": 0}, ConfigError),
        ({"lr": -1.0}, ConfigError),
        ({"augment": 1.5}, ConfigError),
        ({"ema": ("power:2",)}, ConfigError),
        ({"channels": (17, 32)}, ConfigError),
        ({"precision": "fp8"}, ConfigError),
        ({"accumulate": 0}, ConfigError),
        ({"preset": "photo", "augment": 0.1}, ConfigError),
        ({"preset": "photo", "flip": False}, ConfigError),
        ({"guidance": 30.0}, ConfigError),
        ({"preset": "photo", "size": 100}, ConfigError),
        ({"start": "nothing.safetensors"}, DiffusionError),
        ({"embeddings": "nothing.safetensors"}, DataError),
    ],
)
def test_a_run_that_cannot_be_leaves_no_folder(
    data: Path, tmp_path: Path, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Run(options(data, tmp_path / "run", **{"steps": 2, **wrong}))
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError):
        (tmp_path / "empty").mkdir()
        Run(options(tmp_path / "empty", tmp_path / "run", steps=2))
    assert not (tmp_path / "run").exists()


def test_two_processes_end_where_one_does(data: Path, tmp_path: Path) -> None:
    """Two processes of torchrun train as one does, up to rounding of sums. The batch is odd, so
    that one of them has more of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[Run.__module__], "SAVE_SECONDS", -1)  # a line for each step
        finish(Run(options(data, tmp_path / "one", steps=5, batch=7)))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *(training.__file__, str(data), str(tmp_path / "two"), "5", "1", "7"),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "state.safetensors") for name in ("one", "two"))
    begun = load_file(tmp_path / "one" / "plateau.safetensors")
    assert one.keys() == two.keys()
    far = max((one[name] - two[name]).abs().max().item() for name in one)
    moved = max((one[name] - begun[name]).abs().max().item() for name in one if "adam" not in name)
    assert far < 1e-4 < moved
    ours, theirs = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["step"] for line in theirs] == [1, 2, 3, 4, 5]
    assert [one["loss"] for one in ours] == pytest.approx([one["loss"] for one in theirs], rel=1e-3)


@contextmanager
def two_children(data: Path, run: Path, steps: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that train together, as torchrun starts them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, training.__file__, str(data), str(run), steps, "1"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [
        subprocess.Popen(command, env={**os.environ, **world, "RANK": str(rank)}, **pipes)
        for rank in range(2)
    ]
    try:
        yield children
    finally:
        for one in children:
            one.kill()
            one.communicate()


def end_all(children: list[subprocess.Popen[str]]) -> list[str]:
    """Let processes go on to their ends, and return the last line of each."""
    for one in children:
        assert one.stdin
        one.stdin.close()
        one.stdin = None
    last = [one.communicate(timeout=120)[0].split("\n")[-2] for one in children]
    assert [one.returncode for one in children] == [0, 0]
    return last


def test_a_signal_to_one_process_stops_all_after_the_same_step(data: Path, tmp_path: Path) -> None:
    with two_children(data, tmp_path / "run", "50") as children:
        for step in (1, 2, 3):
            for one in children:
                assert one.stdout and one.stdin
                assert one.stdout.readline() == f"{step}\n"
                if step < 3:
                    one.stdin.write("\n")
                    one.stdin.flush()
        children[1].send_signal(signal.SIGTERM)
        answers = end_all(children)
    assert answers in (["end 3"] * 2, ["end 4"] * 2)
    stopped = int(answers[0].split()[1])
    assert Run(options(data, tmp_path / "run", steps=50)).trainer.step == stopped


def test_all_processes_of_a_budget_end_after_the_same_step(data: Path, tmp_path: Path) -> None:
    with two_children(data, tmp_path / "run", "0.05m") as children:
        answers = end_all(children)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert answers == [f"end {config['steps']}"] * 2
