"""The `lookalike` command: its arguments, its commands (a file per noun), and what it prints."""

from __future__ import annotations


def main() -> None:
    """Run the command. It exits with 0 when done, 1 when it failed, 2 for wrong usage."""
    from search.process import tune_process

    tune_process()  # before anything imports torch
    from search.cli import app

    app.main()
