"""The token of a server: that of the settings, or one of its own in the library's folder."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from search.errors import InputError
from search.settings import Settings

FILE = "token"
log = logging.getLogger(__name__)


def choose_token(settings: Settings, host: str, local: bool, no_token: bool) -> str | None:
    """Return the token that clients must send, or None without one.

    local: whether the host is this machine alone. no_token: what the user chose. Raises InputError.
    """
    token = _read_setting(settings)
    if no_token and token is not None:
        raise InputError("--no-token, but there is a token in the settings; leave one of them out")
    if not local and token is None:
        raise InputError(
            f"{host} can be reached by others, so it needs a token: set LOOKALIKE_TOKEN, or "
            "token_file in the configuration"
        )
    return None if no_token else token or _open_file(settings.home.expanduser().resolve() / FILE)


def _open_file(path: Path) -> str:
    """Return the token in a file that its owner alone can read. Write a new one if there is none,
    or if others could have read it."""
    try:
        if _is_private(path):
            token = path.read_text().strip()
            if len(token) >= 32:
                return token
        token = secrets.token_hex(32)
        path.unlink(missing_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "w") as file:
            file.write(f"{token}\n")
    except (OSError, UnicodeError) as error:
        log.warning("no token could be kept in %s: %s; it changes at the next start", path, error)
        return secrets.token_hex(32)
    return token


def _is_private(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if os.name != "posix":  # a folder of the user's own is private there
        return True
    info = path.stat()
    return info.st_uid == os.getuid() and not info.st_mode & 0o077


def _read_setting(settings: Settings) -> str | None:
    """Return the token of the settings, or None. Raises InputError for a file without one."""
    if settings.token is not None:
        return settings.token.get_secret_value() or None
    if settings.token_file is None:
        return None
    try:
        token = settings.token_file.expanduser().read_text().strip()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{settings.token_file} cannot be read for the token: {error}") from error
    if not token:
        raise InputError(f"{settings.token_file} is empty; write the token into it")
    return token
