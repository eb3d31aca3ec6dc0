"""Pictures, libraries and a counted `mini` for the tests."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import save_file

os.environ["HF_HUB_OFFLINE"] = "1"  # no test uses the hub, or the user's own cache
os.environ["LOOKALIKE_OCR"] = "false"  # it takes a second for each picture; its tests turn it on
os.environ["HF_HUB_CACHE"] = os.path.join(tempfile.gettempdir(), "lookalike-no-weights")

from helpers.coca import write_coca
from helpers.libraries import close_library, open_library, parts
from helpers.postgres import close_server, create_catalog
from helpers.project import DATA, ROOT

from search import Engine
from search.embedders import openclip_models
from search.runtime import torch

if TYPE_CHECKING:
    from helpers.browsing import Page
    from helpers.object_storage import Bucket, S3Server


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small open_clip model with random weights in a file."""
    path = tmp_path_factory.mktemp("clip") / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = openclip_models.import_open_clip().create_model("ViT-S-32-alt")
    state = {key: value.half().contiguous() for key, value in net.state_dict().items()}
    save_file(state, path)
    return f"ViT-S-32-alt:{path}"


@pytest.fixture(scope="session")
def timm_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small timm model with random weights in a file."""
    path = tmp_path_factory.mktemp("timm") / "random.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = import_module("timm").create_model("test_vit.r160_in1k", num_classes=0)
    save_file(network.state_dict(), path)
    return f"timm:test_vit.r160_in1k:{path}"


@pytest.fixture(scope="session")
def coca(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a small CoCa model with random weights in a file."""
    return write_coca(tmp_path_factory.mktemp("coca"))


unexcused: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record tests that were skipped although their data is there, or the browser, nginx or
    axe-core that `scripts/test` installs."""
    if not report.skipped:
        return
    output = str(report.longrepr)
    installs = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")
    named = any(name in output for name in ("chromium-driver", "nginx"))
    tried = (ROOT / "build" / "page").is_dir()  # npm may lack a network
    lacks_axe = "axe-core" in output and shutil.which("npm") and not tried
    if ("../shared/data" in output and DATA.is_dir()) or (named and installs) or lacks_axe:
        unexcused.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if parts.cache_info().currsize:
        parts()[0].close()
        parts()[1].close()
    close_server()
    if unexcused and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in unexcused:
        terminalreporter.write_line(f"{name} was skipped although what it needs can be had here")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of the user who runs the tests."""
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOOKALIKE_OCR", "false")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for pictures."""
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each database of its marker `catalogs`."""
    marker = metafunc.definition.get_closest_marker("catalogs")
    if marker and "find_catalog" in metafunc.fixturenames:
        metafunc.parametrize("find_catalog", marker.args, indirect=True)


@pytest.fixture
def find_catalog(request: pytest.FixtureRequest) -> Callable[[Path], str | None]:
    """Returns the setting `catalog` of a home: None for SQLite, a database of its own for each home
    on PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return lambda _: None
    addresses: dict[Path, str] = {}
    return lambda home: addresses.get(home) or addresses.setdefault(home, create_catalog())


@pytest.fixture
def library(
    home: Path, find_catalog: Callable[[Path], str | None]
) -> Iterator[Callable[..., Engine]]:
    """Opens engines, by default on `home`, that are closed when the test ends."""
    opened: list[Engine] = []

    def open_one(where: Path = home, **settings: Any) -> Engine:
        settings = {"catalog": find_catalog(where), **settings}
        opened.append(open_library(where, **settings))
        return opened[-1]

    yield open_one
    for engine in opened:
        close_library(engine)


@pytest.fixture
def engine(library: Callable[..., Engine]) -> Engine:
    return library()


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the files in the system's bin, which is one of the test."""
    place = tmp_path / "Trash"
    trash = import_module("send2trash.plat_other")
    monkeypatch.setattr(trash, "HOMETRASH_B", os.fsencode(place))
    monkeypatch.setattr(trash, "HOMETRASH", str(place))
    monkeypatch.setattr("send2trash.send2trash", trash.send2trash)
    return place / "files"


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The one browser of all tests."""
    from helpers.browsing import browsing

    with browsing(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The browser in its initial state."""
    yield tab
    tab.driver.get("about:blank")
    tab.resize(1280, 800)
    tab.emulate_media()
    tab.driver.delete_all_cookies()
    tab.list_warnings(), tab.list_requests()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The one S3 server of all tests."""
    from helpers.object_storage import S3Server, environment

    server = S3Server()
    with environment(server):
        yield server
    server.close()


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """An empty bucket on a real S3 server."""
    from helpers.object_storage import Bucket

    one = Bucket(s3_server, f"test-{secrets.token_hex(4)}")
    yield one
    s3_server.reset()
    one.close()
