"""The MCP server: a real client over standard input and output, and each tool."""

from __future__ import annotations

import base64
import builtins
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from helpers.pictures import identity, jpeg
from helpers.project import ROOT
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.mcpserver.exceptions import ToolError
from PIL import Image

from search import Engine, InputError
from search.cli.mcp import make_server

TOOLS = {"search_pictures", "browse_pictures", "get_picture", "make_variants", "get_status"}


@pytest.fixture
def filled(engine: Engine, folder: Path) -> Engine:
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(jpeg(i))
    engine.sync(folder)
    return engine


def call(engine: Engine, tool: str, **arguments: Any) -> tuple[Any, list[Image.Image]]:
    """Call a tool; return its document and its pictures."""

    async def run() -> Any:
        return await make_server(engine).call_tool(tool, arguments)

    answer = anyio.run(run)
    first, *others = answer.content
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.data))) for one in others]
    return json.loads(first.text), pictures


def test_pictures_are_found_by_picture_and_condition(filled: Engine, folder: Path) -> None:
    path = str(folder / "1.jpg")
    document, pictures = call(filled, "search_pictures", image=[path], k=2, thumbnails=1)
    assert document["hits"][0]["id"] == identity(1) and len(document["hits"]) == 2
    assert len(pictures) == 1 and pictures[0].format == "WEBP"
    document, pictures = call(filled, "search_pictures", where="name=2.jpg", thumbnails=0)
    assert [hit["id"] for hit in document["hits"]] == [identity(2)] and not pictures
    both = call(filled, "search_pictures", image=[f"id:{identity(1)}"], where="name=0*")[0]
    assert [hit["id"] for hit in both["hits"]] == [identity(0)]


def test_pictures_are_listed_and_shown(filled: Engine, folder: Path) -> None:
    document, pictures = call(filled, "browse_pictures", sort="name", size=2)
    assert document["total"] == 3
    assert [one["id"] for one in document["images"]] == [identity(0), identity(1)]
    assert len(pictures) == 2
    for name in (f"id:{identity(1)}", str(folder / "1.jpg")):
        document, (picture,) = call(filled, "get_picture", image=name)
        assert document["path"].endswith("1.jpg") and picture.format == "JPEG"
        assert picture.size == (document["width"], document["height"])
    assert call(filled, "get_status")[0]["pictures"] == 3


def test_variants_are_made(filled: Engine) -> None:
    name = f"id:{identity(0)}"
    document, pictures = call(filled, "make_variants", image=name, n=2, regime="near", seed=5)
    assert len(document["variants"]) == len(pictures) == 2
    assert all(picture.format == "PNG" for picture in pictures)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search_pictures", {}, "query_invalid"),
        ("search_pictures", {"image": ["/no/such.jpg"]}, "/no/such.jpg"),
        ("search_pictures", {"where": "nothing=1"}, "nothing"),
        ("search_pictures", {"text": "a", "k": 1000}, "100"),
        ("browse_pictures", {"sort": "beauty"}, "beauty"),
        ("get_picture", {"image": "id:ffff"}, "ffff"),
        ("make_variants", {"image": "/no/such.jpg"}, "/no/such.jpg"),
        ("make_variants", {"image": "a.jpg", "regime": "far"}, "near"),
    ],
)
def test_a_wrong_call_is_told(
    filled: Engine, tool: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ToolError) as caught:
        call(filled, tool, **arguments)
    assert message in str(caught.value)


def test_without_the_package_it_says_what_to_install(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "mcp":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match="pip install"):
        make_server(engine)


def test_a_client_talks_to_the_command(filled: Engine, folder: Path) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "search", "--home", str(filled.home), "mcp"],
        env={**os.environ, "PYTHONPATH": path},
    )

    async def talk() -> None:
        async with stdio_client(command) as streams, ClientSession(*streams) as session:
            await session.initialize()
            listed = await session.list_tools()
            assert {tool.name for tool in listed.tools} == TOOLS
            assert all(tool.description and tool.annotations for tool in listed.tools)
            answer = await session.call_tool("search_pictures", {"image": [str(folder / "0.jpg")]})
            assert not answer.is_error
            assert json.loads(answer.content[0].text)["hits"][0]["id"] == identity(0)
            wrong = await session.call_tool("search_pictures", {"image": ["/no/such.jpg"]})
            assert wrong.is_error and "/no/such.jpg" in wrong.content[0].text

    anyio.run(talk)
