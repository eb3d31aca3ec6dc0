"""Settings: the only reader of the environment and of the configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Literal

from platformdirs import user_config_path, user_data_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from search.errors import InputError

CONFIG = user_config_path("lookalike") / "config.toml"


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """Set by argument, else by `LOOKALIKE_<NAME>`, else by `config.toml` in the user's
    configuration folder, else as here."""

    model_config = SettingsConfigDict(
        env_prefix="LOOKALIKE_",
        toml_file=CONFIG,
        extra="forbid",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
    )

    home: Path = Field(default_factory=lambda: user_data_path("lookalike"))
    """Folder of the library: catalog, index, thumbnails. On a local disk."""
    model: str | None = None
    """Model for a new library, or to change to: `auto`, `mini`, or one of open_clip or timm."""
    device: str = "cpu"
    """torch device that the model runs on."""
    checkpoint: Path | None = None
    """Weights of the diffusion model that makes variants."""
    index: Literal["auto", "flat", "ivf"] = "auto"
    """Search of every vector (`flat`), of those in the nearest clusters (`ivf`), or by size."""
    threads: int = Field(default_factory=_cores, ge=1)
    """Threads of the one OpenMP pool."""
    workers: int = Field(default_factory=_cores, ge=1)
    """Processes that decode pictures."""
    max_pixels: int = Field(178_956_970, ge=1, le=178_956_970)
    """Pictures with more pixels are skipped."""
    max_bytes: int = Field(512 * 2**20, ge=1)
    """Files larger than this are skipped."""
    decode_seconds: float = Field(30.0, gt=0)
    """A picture that takes longer to decode is skipped."""
    decode_memory: int = Field(4 * 2**30, ge=2**28)
    """Bytes of address space that a decoding process may take."""
    token: SecretStr | None = None
    """Asked for by `lookalike serve`; a server that others can reach needs one."""
    token_file: Path | None = None
    """File that holds the token, where `token` is not set."""
    upload_bytes: int = Field(64 * 2**20, ge=1)
    """An HTTP request may not be larger."""
    upload_files: int = Field(16, ge=1)
    """An HTTP request may not bring more pictures."""
    fetch_bytes: int = Field(64 * 2**20, ge=1)
    """What a URL answers with may not be larger."""
    fetch_seconds: float = Field(20.0, gt=0)
    """A URL that takes longer to answer is refused."""
    lock_seconds: float = Field(10.0, ge=0)
    """How long a writer waits for another one."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **given: object) -> Settings:
        """Settings with what was given (None counts as not given).

        Raises InputError that names the setting and what it takes.
        """
        try:
            return cls(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
        except (OSError, TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{CONFIG} cannot be read: {error}; mend it or move it away"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"setting {name}: {first['msg']}, not {first['input']!r}; give it as "
                f"LOOKALIKE_{name.upper()} or in {CONFIG}"
            ) from error
