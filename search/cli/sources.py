"""Where a picture comes from: `lookalike sources`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.sources import NO_PUBLIC_URL, Sources


def sources(
    context: typer.Context,
    image: Annotated[
        str, arguments.argument("IMAGE", "A picture of the library: a file, id:ID, or an ID.", str)
    ],
    as_json: AsJson = False,
) -> None:
    """Tell where IMAGE comes from: its files, pages that show it, its download, credits in it, and
    addresses of public search engines. Nothing is sent to an engine before you open its address."""
    with open_engine(context) as engine:
        name = image.removeprefix("id:")
        if name == image and os.path.isfile(image):
            name = engine.find_id(image)
        report = engine.sources(name)
    if as_json:
        output.print_json(report.to_json())
        return
    for label, value in _describe(report):
        output.write(f"{label:<14}{output.line(value)}")
    if not report.engines:
        output.note(NO_PUBLIC_URL)


def _describe(report: Sources) -> Iterator[tuple[str, str]]:
    """Yield lines: what is told, and what it is."""
    for path in report.paths:
        yield "file", path
    for one in report.pages:
        words = "; ".join(filter(None, (one.title, *one.text.split("\n"))))
        yield "page", f"{one.page}  {words}".rstrip()
    for download in report.downloads:
        origin = f" on {download.referrer}" if download.referrer else ""
        yield "downloaded", f"{download.url or 'a file'}{origin} ({download.by})"
    for name, value in (
        ("fetched from", report.source_url),
        ("original name", report.original_name),
        ("camera", report.camera),
    ):
        if value:
            yield name, value
    for credit in report.credits:
        by = " (sidecar)" if credit.by == "sidecar" else ""
        yield credit.name.replace("_", " "), f"{credit.value}{by}"
    if credentials := report.content_credentials:
        parts = (credentials.generator, credentials.title, *credentials.actions)
        text = ", ".join(filter(None, parts)) or "a manifest that cannot be read"
        yield "C2PA", f"{text} (the signature is not checked)"
    if report.problem:
        yield "problem", report.problem
    for name, url in report.engines.items():
        yield name, url
