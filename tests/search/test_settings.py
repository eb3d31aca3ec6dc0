"""Sources of settings, and messages about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from search import InputError, Settings, settings


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file in the test's own folder."""
    path = tmp_path / "config.toml"
    monkeypatch.setattr(settings, "CONFIG", path)
    return path


def test_an_argument_beats_the_environment_which_beats_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().decode_seconds == 30
    config.write_text("decode_seconds = 1\nworkers = 7")
    assert Settings.load().decode_seconds == 1
    monkeypatch.setenv("LOOKALIKE_DECODE_SECONDS", "2")
    assert Settings.load().decode_seconds == 2
    assert Settings.load(decode_seconds=3).decode_seconds == 3
    assert Settings.load(decode_seconds=None).workers == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = 0", "LOOKALIKE_WORKERS"),
        ("worker = 2", "worker"),
        ("max_pixels = 999999999", "LOOKALIKE_MAX_PIXELS"),
        ("workers =", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(InputError, match=message):
        Settings.load()


def test_a_file_that_is_not_utf8_is_named(config: Path) -> None:
    config.write_bytes(b'home = "/tmp/caf\xe9"')
    with pytest.raises(InputError, match="cannot be read"):
        Settings.load()


@pytest.mark.parametrize("name", ["catalog", "store_token", "token"])
def test_a_wrong_secret_is_not_shown(config: Path, name: str) -> None:
    config.write_text(f'{name} = ["a-secret"]')
    with pytest.raises(InputError, match=f"setting {name}") as caught:
        Settings.load()
    assert "a-secret" not in str(caught.value)
