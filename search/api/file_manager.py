"""The file manager of the computer that the server runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

START_SECONDS = 10.0  # until the command must have handed the window over


def find_command(
    path: str, platform: str = sys.platform, environment: Mapping[str, str] = os.environ
) -> list[str] | None:
    """Return the command that shows a file in its folder, or None if there is no file manager.

    path: absolute. No shell reads it, and it begins with a separator or a drive, so that it is
    never an option.
    """
    if platform == "darwin":
        return ["open", "-R", path]
    if platform == "win32":
        return ["explorer", f"/select,{path}"]
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    if (gdbus := shutil.which("gdbus")) and environment.get("DBUS_SESSION_BUS_ADDRESS"):
        target = ["--dest", "org.freedesktop.FileManager1"]
        target += ["--object-path", "/org/freedesktop/FileManager1"]
        method = ["--method", "org.freedesktop.FileManager1.ShowItems"]
        url = f"file://{quote(os.fsencode(path))}"
        return [gdbus, "call", "--session", *target, *method, f"['{url}']", ""]
    if xdg_open := shutil.which("xdg-open"):
        return [xdg_open, str(Path(path).parent)]
    return None


def show_file(path: str) -> bool:
    """Show a file in its folder. path: absolute. Returns whether the file manager took it."""
    command = find_command(path)
    if command is None:
        return False
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError:
        return False
    return done.returncode == 0 or command[0] == "explorer"  # which ends with 1 in any case
