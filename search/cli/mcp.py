"""The command that serves the library to programs that speak MCP, such as assistants.

MCP is the Model Context Protocol, https://modelcontextprotocol.io. Needs the extra `mcp`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar

import typer
from pydantic import Field

from search.cli.session import open_engine
from search.errors import InputError, LookalikeError
from search.extras import describe_install

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from search.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")
INSTRUCTIONS = (
    "Searches the pictures of one library by pictures, by words and by conditions, and makes "
    "variants of a picture. A picture is named by the path of a file, by a URL, or by `id:ID` with "
    "an id of an answer."
)
WHERE = (
    "Conditions that the pictures hold, such as type=jpeg, width>=1000, shape=landscape, "
    "color=red, date>=2024-05, folder=holiday, tag=beach, near=48.85,2.35,10km; with and, or, not"
)
Image = Annotated[str, Field(description="Path of a file, URL, or id:ID")]
Where = Annotated[str, Field(description=WHERE)]
Shown = Annotated[int, Field(ge=0, le=20, description="Thumbnails of the first ones to send")]


def mcp(context: typer.Context) -> None:
    """Serve the library to an assistant by MCP, over standard input and output.

    Needs the extra `mcp`. An assistant starts this command itself; docs/mcp.md tells how to add it.
    """
    with open_engine(context) as engine:
        make_server(engine).run("stdio")


def make_server(engine: Engine) -> MCPServer[Any]:
    """Return an MCP server whose tools read a library. Raises InputError without the extra."""
    try:
        from mcp.server.mcpserver import Image as Picture, MCPServer
        from mcp_types import ToolAnnotations
    except ImportError as error:
        raise InputError(f"MCP needs a package; run {describe_install('mcp')}") from error

    server: MCPServer[Any] = MCPServer("lookalike", instructions=INSTRUCTIONS)

    def add(call: Callable[..., Any], title: str) -> None:
        reading = ToolAnnotations(title=title, read_only_hint=True)
        server.add_tool(_tell_errors(call), annotations=reading, structured_output=False)

    def list_thumbnails(ids: list[str]) -> list[Any]:
        return [Picture(data=engine.thumbnail(one), format="webp") for one in ids]

    def search_pictures(
        image: Annotated[
            list[Image], Field(max_length=20, description="Pictures to find similar ones of")
        ] = [],  # noqa: B006
        text: Annotated[str, Field(description="Words that describe the picture")] = "",
        where: Where = "",
        k: Annotated[int, Field(ge=1, le=100, description="How many pictures")] = 10,
        verify: Annotated[
            bool, Field(description="Tell edited copies from look-alikes by geometry; slower")
        ] = False,
        thumbnails: Shown = 4,
    ) -> list[Any]:
        """Find pictures of the library that look like pictures, that words describe, or that hold
        conditions. Returns hits as JSON, best first, then thumbnails of the first ones. `score` is
        a cosine, `probability` that of being the same picture, edited."""
        hits = engine.search(
            image=image or None,
            text=text or None,
            where=(where,) if where else (),
            k=k,
            verify=verify,
        )
        document = hits.to_json()
        del document["query"], document["took_ms"]
        return [json.dumps(document), *list_thumbnails([hit.id for hit in hits[:thumbnails]])]

    def browse_pictures(
        where: Where = "",
        sort: Annotated[
            str, Field(description="date, added, name, size, folder or color; - before it reverses")
        ] = "-added",
        page: Annotated[int, Field(ge=1)] = 1,
        size: Annotated[int, Field(ge=1, le=100, description="Pictures on a page")] = 20,
        thumbnails: Shown = 4,
    ) -> list[Any]:
        """List pictures of the library that hold conditions, a page at a time, as JSON, then
        thumbnails of the first ones."""
        listed = engine.browse((where,) if where else (), sort, page, size)
        ids = [picture.id for picture in listed.pictures[:thumbnails]]
        return [json.dumps(listed.to_json()), *list_thumbnails(ids)]

    def get_picture(image: Image) -> list[Any]:
        """Return what is known of a picture of the library as JSON: files, size, date, camera,
        place, tags, caption, text; then the picture, its long side at most 1600 pixels."""
        name = image.removeprefix("id:") if image.startswith("id:") else engine.find_id(image)
        picture = engine.picture(name)
        return [
            json.dumps(picture.to_json()),
            Picture(data=engine.preview(picture.id), format="jpeg"),
        ]

    def make_variants(
        image: Image,
        n: Annotated[int, Field(ge=1, le=8, description="How many")] = 4,
        regime: Annotated[
            Literal["near", "same", "concept"],
            Field(
                description="near: almost a copy; same: the same subject; concept: the same kind"
            ),
        ] = "same",
        seed: Annotated[int, Field(ge=0, lt=2**63, description="Of the first variant")] = 0,
    ) -> list[Any]:
        """Make new pictures like a picture by a diffusion model; takes some seconds. Returns seed
        and similarity of each as JSON, then the pictures."""
        variants = engine.variants(image, n=n, regime=regime, seed=seed)
        content: list[Any] = [json.dumps({"variants": [one.to_json() for one in variants]})]
        content += [Picture(data=one.to_png(), format="png") for one in variants]
        return content

    def get_status() -> list[Any]:
        """Return as JSON how many pictures the library has, and its indexed folders."""
        return [json.dumps(engine.status().to_json())]

    add(search_pictures, "Search pictures")
    add(browse_pictures, "Browse pictures")
    add(get_picture, "Get a picture")
    add(make_variants, "Make variants of a picture")
    add(get_status, "Status of the library")
    return server


def _tell_errors(call: Callable[P, R]) -> Callable[P, R]:
    """Return a tool whose errors say what was wrong, instead of being logged as crashes."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except LookalikeError as error:
            raise ToolError(f"{error} ({error.code})") from error

    return run
