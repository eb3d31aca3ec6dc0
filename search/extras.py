"""Optional packages: the extras of pyproject.toml."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import requires

EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")


def describe_install(extra: str) -> str:
    """Return the command that installs what an extra needs into this environment.

    It names the packages themselves, so that it does not matter where lookalike came from.
    """
    names = [
        line.partition(";")[0].strip()
        for line in requires("lookalike") or ()
        if (match := EXTRA.search(line)) and match[1] == extra
    ]
    return f"`{shlex.join([sys.executable, '-m', 'pip', 'install', *names])}`"
