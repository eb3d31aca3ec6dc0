"""Settings: the only reader of the environment and of the configuration file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from platformdirs import user_config_path, user_data_path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from search.errors import InputError

CONFIG = user_config_path("lookalike") / "config.toml"
PREFIX = "LOOKALIKE_"


def _count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_list(text: str) -> list[str]:
    """Split a list at commas; spaces do not count."""
    return [part.strip() for part in text.split(",") if part.strip()]


def hide_password(address: str) -> str:
    """Return a database URL without its password and options, for messages.

    hide_password("postgresql+psycopg://me:secret@host/pictures")
    """
    if "://" not in address:  # no URL, so the name and the password cannot be told apart
        return address.rpartition("@")[2]
    plain, _, options = re.sub(r"://([^:/@?]*):.*@", r"://\1@", address, flags=re.S).partition("?")
    shown = [(k, v) for k, v in parse_qsl(options) if k in ("host", "port", "dbname", "user")]
    return f"{plain}?{urlencode(shown, safe='/')}" if shown else plain


# pydantic-settings would do the same in these lines, but its import costs every command 0.14 s.
def _read_file() -> dict[str, Any]:
    """Return the values in the configuration file. Raises OSError and ValueError."""
    return tomllib.loads(CONFIG.read_text("utf-8")) if CONFIG.is_file() else {}


def _read_environment(names: Iterable[str]) -> dict[str, str]:
    """Return the values of the environment. Case does not matter, and an empty one is not set."""
    values = {name.upper(): value for name, value in os.environ.items() if value}
    variables = {name: f"{PREFIX}{name.upper()}" for name in names}
    return {name: values[variable] for name, variable in variables.items() if variable in values}


class Settings(BaseModel):
    """The settings of a library.

    A value comes from an argument, or else from the environment variable `LOOKALIKE_<NAME>`, or
    else from `config.toml` in the user's configuration folder, or else from here. An empty
    environment variable counts as not set.
    """

    # not `use_attribute_docstrings`: pydantic would read this file again for it in every command
    model_config = ConfigDict(extra="forbid", validate_default=True)

    home: Path = Field(default_factory=lambda: user_data_path("lookalike"))
    """Folder of the library: catalog, index, thumbnails. On a local disk."""
    catalog: SecretStr | None = None
    """Database of the catalog, as `postgresql+psycopg://USER@HOST/DATABASE` (see docs/scale.md). By
    default it is a SQLite file in `home`."""
    model: str | None = None
    """Model for a new library, or to change to: `auto`, `mini`, `diffusion`, or one of open_clip or
    timm."""
    device: str = "cpu"
    """torch device that the model runs on."""
    backend: Literal["auto", "torch", "onnxruntime", "openvino", "torch-bf16"] = "auto"
    """What runs the model on a CPU: `torch`, `onnxruntime`, `openvino`, the quickest of them
    (`auto`), or `torch-bf16` for vectors of bfloat16 (see docs/models.md)."""
    checkpoint: Path | None = None
    """Weights of the diffusion model that makes variants."""
    generator: str = "lookalike"
    """What makes variants: `lookalike`, its own diffusion model, or a diffusers pipeline by its
    folder or its name on the hub (see docs/models.md). Several, separated by commas, are offered on
    the page; the first is the default."""
    store: str = "faiss"
    """Vector store: `faiss` in the home, or Milvus: `http://HOST:19530`, or a path that ends in
    `.db` for Milvus Lite (see docs/scale.md)."""
    store_token: SecretStr | None = None
    """`USER:PASSWORD` or a key for the vector store."""
    store_seconds: float = Field(5.0, gt=0)
    """Longest time in seconds for the vector store to answer. Without it, the catalog's vectors are
    searched."""
    index: Literal["auto", "flat", "ivf"] = "auto"
    """Index: exact (`flat`), clustered (`ivf`), or chosen by the number of pictures (`auto`)."""
    threads: int = Field(default_factory=_count_cores, ge=1)
    """Threads of the one OpenMP pool."""
    workers: int = Field(default_factory=_count_cores, ge=1)
    """Processes that decode pictures, beside one for queries alone."""
    max_pixels: int = Field(178_956_970, ge=1, le=2**29)
    """Most pixels of a picture. Larger ones are skipped. A JPEG may have four times as many, since
    it is decoded at a smaller scale. To raise it may need more `decode_memory` and `max_decoded` as
    well."""
    max_bytes: int = Field(512 * 2**20, ge=1)
    """Largest file in bytes. Larger ones are skipped."""
    default_excludes: bool = True
    """Leave out system folders, such as bins and thumbnails of a NAS (see docs/files.md)."""
    max_side: int = Field(65_535, ge=1)
    """Most pixels of the longer side. Larger pictures are skipped."""
    max_decoded: int = Field(2**30, ge=1)
    """Most bytes of a picture's pixels, as its file has them before compression."""
    decode_seconds: float = Field(30.0, gt=0)
    """Longest time to decode a picture in seconds. Others are skipped."""
    query_seconds: float = Field(10.0, gt=0)
    """Longest time to decode a picture of a query in seconds."""
    verify_seconds: float = Field(3.0, gt=0)
    """Time in seconds after which a search that verifies compares no further hit."""
    decode_memory: int = Field(4 * 2**30, ge=2**28)
    """Most address space of a decoding process in bytes."""
    ocr: bool = True
    """Read the text in pictures, if the extra `ocr` is installed (see docs/files.md)."""
    ocr_seconds: float = Field(300.0, gt=0)
    """Longest time to read the text of a picture in seconds. Others count as unreadable."""
    caption_model: str = "coca_ViT-B-32"
    """Model that makes captions (`lookalike caption`): a CoCa model of open_clip, as `ARCH`,
    `ARCH:TAG` or `ARCH:/path/to/weights`."""
    token: SecretStr | None = None
    """Token that clients of the server must send. A server that others can reach needs one."""
    token_file: Path | None = None
    """File with the token, used when `token` is not set."""
    upload_bytes: int = Field(64 * 2**20, ge=1)
    """Largest HTTP request in bytes."""
    upload_files: int = Field(16, ge=1)
    """Most pictures of an HTTP request."""
    fetch_bytes: int = Field(64 * 2**20, ge=1)
    """Largest answer of a URL in bytes."""
    fetch_seconds: float = Field(20.0, gt=0)
    """Longest time for a URL to answer."""
    allow_hosts: str = ""
    """Hosts and networks that URLs may lead to although they are not on the public internet, such
    as `nas.lan, 192.168.1.0/24`."""
    site_pages: int = Field(10_000, ge=1)
    """Most pages of a web site that are read (see docs/sites.md)."""
    site_delay: float = Field(0.2, ge=0)
    """Seconds between two requests to a web site that is indexed. Its robots.txt may ask for
    more."""
    site_seconds: float = Field(14_400.0, gt=0)
    """Longest time to list a web site, in seconds. What is not reached stays as it is."""
    contact: str | None = Field(None, pattern=r"^[!-'*-~]{1,200}$")
    """Mail address or web page of who runs this. Sites that a URL leads to are told it."""
    log_json: bool = False
    """The server writes its log as JSON lines, with one for each request (see docs/api.md)."""
    inbox: Path | None = None
    """Folder whose new pictures the server copies into the library, within seconds (see
    docs/collections.md)."""
    inbox_move: bool = False
    """Move the files that were taken from the inbox to its subfolder `done`."""
    lock_seconds: float = Field(10.0, ge=0)
    """Time that a writer waits for another one."""
    objects: str | None = None
    """URL in object storage, such as `s3://bucket/lookalike`, for thumbnails and uploads, which are
    in `home` without it (see docs/scale.md)."""
    object_seconds: float = Field(60.0, gt=0)
    """Longest time for object storage to answer a request, in seconds."""

    @property
    def catalog_address(self) -> str | None:
        """The URL of the catalog's database with its password, None for the SQLite file."""
        return self.catalog.get_secret_value() if self.catalog else None

    @property
    def catalog_location(self) -> str | None:
        """The URL of the catalog's database without its password, None for the SQLite file."""
        return hide_password(self.catalog_address) if self.catalog_address else None

    @field_validator("allow_hosts")
    @classmethod
    def _check_hosts(cls, value: str) -> str:
        """Raise ValueError for a wrong network, and for a URL in place of a host."""
        for entry in split_list(value):
            if "/" in entry:
                ip_network(entry, strict=False)
        return value

    @classmethod
    def load(cls, **values: object) -> Settings:
        """Load the settings. values: arguments by name; None counts as not set.

        Raises InputError, which names the setting and what it takes.
        """
        arguments = {name: value for name, value in values.items() if value is not None}
        try:
            return cls(**{**_read_file(), **_read_environment(cls.model_fields), **arguments})
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"{CONFIG} cannot be read: {error}; mend it or move it away"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            field = cls.model_fields.get(name)
            is_secret = field is not None and "SecretStr" in str(field.annotation)
            value = "" if is_secret else f", not {first['input']!r}"
            raise InputError(
                f"setting {name}: {first['msg']}{value}; give it as {PREFIX}{name.upper()} or in "
                f"{CONFIG}"
            ) from error
