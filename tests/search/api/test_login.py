"""The token of a server, and the one-time links that log a browser in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import httpx
import pytest
from helpers.serving import problem, serving
from pydantic import SecretStr

from search import Engine, InputError, Settings
from search.api.auth import Access, Links
from search.api.token_file import choose_token
from search.records.transient import MemoryItems

TOKEN = "f" * 64


def token_of(home: Path, **settings: object) -> str | None:
    return choose_token(Settings(home=home, **settings), "127.0.0.1", True, False)


def test_a_server_without_settings_has_a_token_of_its_own(tmp_path: Path) -> None:
    token = token_of(tmp_path)
    assert token and len(token) == 64
    path = tmp_path / "token"
    assert path.read_text().strip() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token_of(tmp_path) == token  # cookies outlive a restart


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize("fault", ["mode", "short", "link", "bytes"])
def test_a_token_that_others_may_know_is_replaced(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "token"
    if fault == "link":
        (tmp_path / "theirs").write_text(TOKEN)
        path.symlink_to(tmp_path / "theirs")
    else:
        path.write_bytes(b"short" if fault == "short" else TOKEN.encode())
        path.chmod(0o644 if fault == "mode" else 0o600)
    if fault == "bytes":
        path.write_bytes(b"\xff" * 64)
        assert len(token_of(tmp_path) or "") == 64
        return
    token = token_of(tmp_path)
    assert token not in (TOKEN, "short", None) and path.read_text().strip() == token
    assert not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_token_of_the_settings_comes_first(tmp_path: Path) -> None:
    assert token_of(tmp_path, token=SecretStr("mine")) == "mine"
    (tmp_path / "elsewhere").write_text("theirs\n")
    assert token_of(tmp_path, token_file=tmp_path / "elsewhere") == "theirs"
    assert not (tmp_path / "token").exists()


def test_no_token_is_a_choice_for_this_machine_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert choose_token(settings, "127.0.0.1", True, True) is None
    with pytest.raises(InputError, match="LOOKALIKE_TOKEN"):
        choose_token(settings, "0.0.0.0", False, True)
    with pytest.raises(InputError, match="leave one of them out"):
        choose_token(Settings(home=tmp_path, token=SecretStr("t")), "127.0.0.1", True, True)


def test_a_link_logs_in_once(engine: Engine) -> None:
    now = [1000.0]
    access = Access(token=TOKEN, links=Links(MemoryItems(lambda: now[0])))
    with serving(engine, access) as client:
        problem(client.get("/api/v1/status"), 401)
        problem(client.post("/api/v1/login/links"), 401)
        link = access.make_link()
        assert client.head(link).status_code == 200 and not client.cookies  # a preview of it
        opened = client.get(link)
        assert (opened.status_code, opened.headers["Location"]) == (303, "/")
        assert opened.headers["Cache-Control"] == "no-store"
        message = opened.headers["Set-Cookie"].lower()
        assert "httponly" in message and "samesite=strict" in message and TOKEN not in message
        assert client.get("/api/v1/status").status_code == 200
        assert client.get(link).status_code == 303  # in the same browser
        more = access.make_link()
        assert client.get(more).status_code == 303
        with httpx.Client(base_url=client.base_url, trust_env=False) as other:
            assert other.get(more).status_code == 200 and not other.cookies  # used up as well
        with httpx.Client(base_url=client.base_url, trust_env=False) as other:
            for used in (link, "/?login=guess", "/?login=", "/"):
                page = other.get(used)
                assert page.status_code == 200 and not other.cookies
                assert page.headers["Content-Type"].startswith("text/html")
            problem(other.get("/api/v1/status"), 401)
            path = client.post("/api/v1/login/links").json()["path"]
            now[0] += 86401
            assert other.get(path).status_code == 200 and not other.cookies
            assert other.get(access.make_link()).status_code == 303 and other.cookies


def test_links_are_limited_and_differ() -> None:
    links = Links(MemoryItems())
    paths = [links.make() for _ in range(150)]
    codes = [path.removeprefix("/?login=") for path in paths]
    assert len({*codes}) == 150 and all(len(code) >= 32 for code in codes)
    assert [links.use(code) for code in codes] == [False] * 50 + [True] * 100
    assert not links.use(codes[-1])


def test_without_a_token_a_link_is_the_page(engine: Engine) -> None:
    with serving(engine) as client:
        document = client.post("/api/v1/login/links").json()
        assert document == {"path": "/", "urls": [], "qr": None}
        assert client.get("/?login=old").status_code == 303
