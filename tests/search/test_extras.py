"""The commands that install optional packages."""

from __future__ import annotations

import shlex
import sys
import tomllib

import pytest
from helpers.project import ROOT

from search.extras import describe_install

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_the_command_installs_what_the_extra_needs(extra: str) -> None:
    python, *words = shlex.split(describe_install(extra).strip("`"))
    assert python == sys.executable and words[:3] == ["-m", "pip", "install"]
    assert sorted(words[3:]) == sorted(PROJECT["optional-dependencies"][extra])
