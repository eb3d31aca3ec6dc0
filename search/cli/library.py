"""Commands on the library itself: index, status, check, forget, embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import Interrupted, find_server, open_engine
from search.errors import LookalikeError
from search.records.indexing import Progress
from search.records.texts import TextReport

if TYPE_CHECKING:
    from search.engine import Engine


def index(
    context: typer.Context,
    paths: Annotated[
        list[str],
        arguments.argument(
            "SOURCE...",
            "Folders of pictures, s3://BUCKET/PREFIX, or https://SITE/ of your own.",
            arguments.source,
        ),
    ],
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Leave out, such as raw or */raw/*; kept for the folder. Repeatable.",
        ),
    ] = None,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty", help="Believe a known folder that has lost most of its files."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Read files again even if they seem unchanged.")
    ] = False,
    force_path: Annotated[
        list[str] | None,
        typer.Option(
            "--path", metavar="GLOB", help="With --force: only files that match. Repeatable."
        ),
    ] = None,
    follow_links: Annotated[
        bool | None,
        typer.Option(
            "--follow-links/--no-follow-links",
            help="Follow symbolic links, or not any more; kept for the folder.",
            show_default=False,
        ),
    ] = None,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="Keep the library's model; all pictures get vectors of --model NAME too, from now "
            "on (`forget --model NAME` ends it).",
        ),
    ] = False,
    sync_hours: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS|change|never",
            help="When a running server syncs the folder by itself: every so many hours, when it "
            "changes (as a new folder), or never; kept for the folder.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Decode and embed on a Ray cluster: auto, HOST:PORT, or local to start one here.",
        ),
    ] = None,
    pages: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of a web site: read at most N pages (default: the setting site_pages).",
        ),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=3600,
            metavar="SECONDS",
            help="Of a web site: time between two requests (default: the setting site_delay).",
        ),
    ] = None,
    ocr: Annotated[
        bool,
        typer.Option(
            "--ocr/--no-ocr",
            help="At the end, read the text in pictures that was not read yet (extra ocr).",
        ),
    ] = True,
    ocr_again: Annotated[
        bool,
        typer.Option(
            "--ocr-again", help="Read also what another model read, or what could not be read."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and sync whenever something changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sync folders: add what is new, follow what moved, take out what is gone."""
    if watch and as_json:
        raise typer.BadParameter("--json prints one document, and --watch has no end")
    if watch and (remote := next((path for path in paths if "://" in path), None)):
        raise typer.BadParameter(
            f"--watch: {remote} sends no notice of changes; index it regularly (--sync-hours)"
        )
    if force_path and not force:
        raise typer.BadParameter("--path goes with --force; give --force too")
    if ocr_again and not ocr:
        raise typer.BadParameter("--ocr-again and --no-ocr: give one of them")
    hours = None if sync_hours is None else arguments.sync_hours(sync_hours)
    forced = force_path or force
    has_server = not ocr_again and find_server(context) is not None
    reports, failed = [], False
    with open_engine(context, one_shot=not watch) as engine:
        for path in paths:
            try:
                options = (exclude, allow_empty, forced, follow_links, beside)
                run = engine.index(path, *options, ray=ray, pages=pages, delay=delay)
                reports.append(output.show_progress(run))
                if sync_hours is not None:
                    engine.set_schedule(path, hours)
            except LookalikeError as error:
                if len(paths) == 1:
                    raise
                output.note(f"lookalike: {error}")
                failed = True
        if reports:
            report = sum(reports[1:], reports[0])
            if not as_json:
                output.print_index_report(report)
            texts = _read_texts(engine, has_server, ocr_again) if ocr else None
            if as_json:
                document = report.to_json()
                output.print_json({**document, "texts": texts.to_json() if texts else None})
            elif texts:
                output.print_text_report(texts)
        if watch and reports:
            folders = [Path(path).expanduser() for path in paths]
            _watch(engine, [folder for folder in folders if folder.is_dir()], beside, ocr)
    if failed:
        raise typer.Exit(1)


def _read_texts(engine: Engine, has_server: bool, again: bool = False) -> TextReport | None:
    """Read the text in pictures, unless it cannot be read here, or a server reads it."""
    texts = engine.texts.status()
    if not (texts.enabled and texts.installed):
        if again:
            engine.texts.read(again=True)  # says why
        return None
    if not (texts.pending or again):
        return TextReport()
    if has_server:
        output.note("the running server reads the text in pictures, in the background")
        return None
    run = engine.texts.read(engine.settings.workers, again)
    last = output.show_events(run, lambda e: Progress("text", e.done, e.total, e.path))
    return last.report if last else None


def text(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="A file, a URL, id:ID, or - for standard input."),
    ],
    as_json: AsJson = False,
) -> None:
    """Print the text in IMAGE, a line each. Of a picture of the library (id:ID), what was read of
    it; anything else is read now."""
    with open_engine(context) as engine:
        source = arguments.read_image(image)
        name = source.removeprefix("id:") if isinstance(source, str) else ""
        read = engine.texts.of(name) if name != source and name else None
        if read is None or read.model is None:
            read = engine.texts.extract(source)
    output.print_json(read) if as_json else output.print_text(read)


def _watch(engine: Engine, paths: list[Path], beside: bool, ocr: bool) -> None:
    """Sync folders as they change, until Ctrl-C."""
    output.note("watching; Ctrl-C ends it")
    reported: dict[Path, tuple[object, int]] = {}
    try:
        for path in engine.watch(paths):
            try:
                report = output.show_progress(engine.index(path, beside=beside, still=True))
            except LookalikeError as error:
                output.note(f"lookalike: {error}")
            else:
                changes = report.added + report.changed + report.moved + report.removed
                missing = report.skipped, report.offline
                if changes or missing != reported.get(path, ((), 0)):
                    output.print_index_report(report)
                reported[path] = missing
                if ocr:
                    _read_texts(engine, has_server=False)
    except (KeyboardInterrupt, Interrupted):
        output.note("stopped watching")


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is in the library."""
    server = find_server(context)
    answer = server.status() if server else None
    if answer is None:
        with open_engine(context) as engine:
            answer = engine.status()
    output.print_json(answer) if as_json else output.print_status(answer)


def check(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file and compare its content.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test that catalog, index, thumbnails and files agree; mend what can be made anew."""
    with open_engine(context) as engine:
        report = engine.check(deep)
    output.print_json(report) if as_json else output.print_check_report(report)
    if report.problems:
        raise typer.Exit(1)


def forget(
    context: typer.Context,
    path: Annotated[
        str | None,
        arguments.argument(
            "PATH",
            "An indexed folder, a part of one, a folder above some, or such a URL.",
            arguments.source,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A model beside the library's own, whose vectors are deleted; instead of PATH.",
        ),
    ] = None,
    annotations: Annotated[
        bool,
        typer.Option(
            "--annotations",
            help="Forget the tags, ratings, captions and albums of the pictures too; without it "
            "they have them again when they come back.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a folder out of the library, or the vectors of a model. The pictures themselves stay
    where they are."""
    if (path is None) == (model is None):
        raise typer.BadParameter("give a PATH, or --model NAME")
    with open_engine(context) as engine:
        if path is None:
            vectors = engine.forget_model(str(model))
            if as_json:
                output.print_json({"vectors": vectors})
            else:
                output.write(f"{vectors} vectors of {output.line(str(model))} forgotten")
            return
        files = engine.forget(path, annotations)
        left, comes_back = engine.status(), engine.is_indexed(path)
    if as_json:
        output.print_json({"files": files, "pictures": left.pictures})
        return
    output.write(f"{files} files forgotten; {left.pictures} pictures in the library")
    if comes_back:
        output.note("the next sync of its folder takes it in again, unless given --exclude")


def embed(
    context: typer.Context,
    paths: Annotated[list[Path], arguments.argument("PATH...", "Folders of pictures, or zips.")],
    out: Annotated[
        Path, arguments.option("-o", "--out", metavar="FILE", help="A .safetensors file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write the vectors of pictures to a file, such as `diffusion train --embeddings` takes."""
    with open_engine(context) as engine:
        report = output.show_progress(engine.embed(paths, out))
    if as_json:
        document = report.to_json()
        output.print_json({name: document[name] for name in ("embedded", "skipped", "seconds")})
    else:
        output.print_embed_report(report, out)


def export(
    context: typer.Context,
    out: Annotated[
        Path,
        arguments.option(
            "-o", "--out", metavar="DIR", help="A new folder.", parser=arguments.folder
        ),
    ],
) -> None:
    """Write the library's model as an ONNX file, for other programs.

    `lookalike --model mini export -o DIR` writes the one that comes with lookalike.
    """
    with open_engine(context) as engine:
        folder = engine.export_model(out)
    output.note(f"{folder}: network.onnx, and model.json, which describes it")
