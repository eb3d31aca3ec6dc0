"""All errors of the package. A message says what happened, why, and what to do next.

DiffusionError
├── ConfigError      an option, or a combination of options, is invalid
├── DataError        pictures or vectors cannot be used
├── CheckpointError  a file is missing, damaged, newer, or not a checkpoint of this model
└── TrainingError    a training run cannot continue
"""

from __future__ import annotations


class DiffusionError(Exception):
    """Base class: catch it to catch all errors of the package."""


class ConfigError(DiffusionError, ValueError):
    """An option, or a combination of options, is invalid."""


class DataError(DiffusionError):
    """Pictures or vectors cannot be used for training or evaluation."""


class CheckpointError(DiffusionError):
    """A file is missing, damaged, newer, or not a checkpoint of this model."""


class TrainingError(DiffusionError):
    """A training run cannot continue: the loss is not finite, or the disk is full."""
