"""Write docs/cli.md from the real help of every command.

.venv/bin/python scripts/write_cli_docs.py
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from search.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Command line

`lookalike` is the command; `python -m search` is the same. `--json` prints one JSON document on
standard output; everything else goes to standard error. Exit status: 0 done (skipped files are no
failure), 1 failed, 2 wrong usage. [Settings](settings.md) can replace the options before the
command. `scripts/write_cli_docs.py` writes this page.
"""


def show_help(words: tuple[str, ...], home: Path) -> str:
    """Return the help of a command, in lines of 100 characters."""
    environment = {"COLUMNS": "100", "TERM": "dumb", "LOOKALIKE_HOME": str(home)}
    done = CliRunner().invoke(app, [*words, "--help"], "lookalike", env=environment)
    if done.exit_code:
        raise SystemExit(f"`lookalike {' '.join(words)} --help` fails: {done.output}")
    return done.stdout


def page(home: Path) -> str:
    """Return the whole page: all commands and subcommands."""
    parts = [HEAD]

    def add(words: tuple[str, ...]) -> None:
        text = show_help(words, home)
        line = " ".join(("lookalike", *words))
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## `{line}`\n\n```text\n{lines}\n```\n")
        commands = text.partition("Commands:\n")[2]
        for name in re.findall(r"^  ([\w-]+) +[A-Z]", commands, re.MULTILINE):
            add((*words, name))

    add(())
    return "\n".join(parts)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (ROOT / "docs" / "cli.md").write_text(page(Path(folder)), encoding="utf-8")
