"""What goes wrong, under one root. A message says what was given, what was expected, what to do.

DiffusionError
├── ConfigError      an option or a combination of options that cannot be
├── DataError        pictures or vectors that cannot be trained on or compared with
├── CheckpointError  a file that is damaged, foreign, newer, or of another model
└── TrainingError    a run that cannot go on
"""

from __future__ import annotations


class DiffusionError(Exception):
    """The root: catch it to catch all."""


class ConfigError(DiffusionError, ValueError):
    """An option, or a combination of options, that cannot be."""


class DataError(DiffusionError):
    """Pictures or vectors that cannot be trained on, or compared with."""


class CheckpointError(DiffusionError):
    """A file that is missing, damaged, foreign, newer, or of another model."""


class TrainingError(DiffusionError):
    """A run that cannot go on: the loss is no number, the disk is full."""
