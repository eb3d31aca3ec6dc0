"""The files of the container: the image, the composition of servers, and the proxy.

Docker is not needed: each file is checked by a tool of its own.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from compose_spec import PyCompose
from helpers.libraries import close_library, open_library
from helpers.project import ROOT
from helpers.serving import serving

from search.api.auth import Access
from search.settings import PREFIX, Settings

CONTAINER = ROOT / "scripts" / "container"
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::(?:-(\w*)|\?))?\}")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")


def read_example() -> dict[str, str]:
    """The variables of `example.env`."""
    lines = (CONTAINER / "example.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def fill(value: Any, variables: dict[str, str]) -> Any:
    """Fill variables in as Compose does. Raises KeyError for one that is neither set nor has a
    default."""
    if isinstance(value, dict):
        return {key: fill(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        return variables[match[1]] if match[2] is None else variables.get(match[1], match[2])

    return VARIABLE.sub(look_up, value).replace("$$", "$")


@pytest.fixture(scope="module")
def composition() -> dict[str, Any]:
    document = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
    filled: dict[str, Any] = fill(document, read_example())
    return filled


@pytest.fixture(scope="module")
def services(composition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    by_name: dict[str, dict[str, Any]] = composition["services"]
    return by_name


def test_the_composition_follows_the_specification(composition: dict[str, Any]) -> None:
    plain = {key: value for key, value in composition.items() if not key.startswith("x-")}
    parsed = PyCompose.from_yaml(yaml.safe_dump(plain))
    assert {"web1", "web2", "proxy", "postgres", "objects", "milvus", "etcd"} <= set(
        parsed.service_names()
    )
    with pytest.raises(Exception, match="memlimit"):  # the tool notices what is misspelled
        PyCompose.from_yaml("services: {a: {image: x, memlimit: 1}}")


def test_every_service_has_limits_and_says_whether_it_works(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        is_job = service["restart"] == "no"
        assert is_job or service["healthcheck"]["test"][0] == "CMD", name
        for other, how in service.get("depends_on", {}).items():
            other_is_job = services[other]["restart"] == "no"
            done = "service_completed_successfully" if other_is_job else "service_healthy"
            assert how == {"condition": done}, (name, other)


def test_images_have_fixed_versions_and_secrets_no_default(
    services: dict[str, dict[str, Any]],
) -> None:
    text = (CONTAINER / "compose.yaml").read_text()
    for name, service in services.items():
        assert "build" in service or re.search(r":\S*\d", service["image"]), name
    assert not re.findall(r"\$\{\w*(?:PASSWORD|TOKEN|USER)\w*:-", text)
    assert set(read_example()) == {name for name, _ in VARIABLE.findall(text)}


def test_servers_keep_nothing_and_may_do_nothing(services: dict[str, dict[str, Any]]) -> None:
    for name in ("web1", "web2", "proxy"):
        service = services[name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    assert services["web1"] == services["web2"]
    published = [name for name, service in services.items() if service.get("ports")]
    assert published == ["proxy"] and services["proxy"]["ports"][0].startswith("127.0.0.1:")


def test_every_setting_of_the_composition_is_one(services: dict[str, dict[str, Any]]) -> None:
    names = [name for name in services["web1"]["environment"] if name.startswith(PREFIX)]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert len(names) >= 5 and set(names) <= known


def test_every_extra_of_the_composition_is_one(services: dict[str, dict[str, Any]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = services["web1"]["build"]["args"]["EXTRAS"].split(",")
    assert extras and set(extras) <= set(project["optional-dependencies"])


def test_the_image_passes_its_linter_and_runs_as_nobody() -> None:
    path = CONTAINER / "Dockerfile"
    tool = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([tool, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    lines = path.read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in lines)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, list[int]]]:
    """The address of nginx with the project's configuration, and the ports of its two servers."""
    if NGINX is None:
        pytest.skip("needs nginx")
    ports = []
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    text = (CONTAINER / "nginx.conf").read_text()
    for old, port in zip(("web1:8000", "web2:8000"), ports[:2], strict=True):
        assert old in text
        text = text.replace(old, f"127.0.0.1:{port}")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{ports[2]};")
    text = text.replace("/tmp/", f"{tmp_path}/")
    config = tmp_path / "nginx.conf"
    config.write_text(text)
    command = [NGINX, "-c", str(config), "-e", str(tmp_path / "error.log")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{ports[2]}"
    try:
        for _ in range(200):
            try:
                if httpx.get(f"{address}/proxy-health", trust_env=False).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield address, ports[:2]
    finally:
        process.terminate()
        process.wait()


def test_the_proxy_goes_on_with_one_server(proxy: tuple[str, list[int]], tmp_path: Path) -> None:
    address, ports = proxy
    homes = [tmp_path / f"home{i}" for i in range(2)]
    engines = [open_library(home) for home in homes]
    client = httpx.Client(base_url=address, trust_env=False, timeout=30)
    with client, ExitStack() as first, ExitStack() as second:
        for stack, engine, port in zip((first, second), engines, ports, strict=True):
            stack.enter_context(serving(engine, Access(host="127.0.0.1"), port=port))
        answers = [client.get("/api/v1/status").json()["home"] for _ in range(5)]
        assert len(set(answers)) == 1  # a client stays with one server
        used = homes.index(Path(answers[0]))
        (first, second)[used].close()
        for _ in range(5):
            answer = client.get("/api/v1/status")
            assert answer.status_code == 200
            assert answer.json()["home"] == str(homes[1 - used])
    for engine in engines:
        close_library(engine)
