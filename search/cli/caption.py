"""The command for captions: those of a model, and those of a person."""

from __future__ import annotations

from typing import Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.cli.tags import change_pictures, resolve_images, split_words
from search.records.annotations import Change
from search.records.indexing import Progress

VERBS = ("list", "set", "remove")


def caption(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILTER...]|[IMAGE... VERB [TEXT]]",
            help="FILTER: conditions that the pictures hold, such as date>=2024. IMAGE: a file, "
            "id:ID, an ID, or - for ids from standard input.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A CoCa model of open_clip: ARCH, ARCH:TAG or ARCH:/path/to/weights (default: the "
            "setting caption_model).",
        ),
    ] = None,
    status: Annotated[
        bool,
        typer.Option("--status", help="Count captions, and list the models that make them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a model caption the pictures without a caption of a person, a file or this model.

    With a VERB, captions of pictures: IMAGE... list, IMAGE... set TEXT, IMAGE... remove.
    """
    words = words or []
    if status:
        if words or model is not None:
            raise typer.BadParameter("--status takes no FILTER, IMAGE or --model")
        with open_engine(context) as engine:
            counts = engine.caption_status()
        output.print_json(counts) if as_json else output.print_caption_status(counts)
        return
    if any(word in VERBS for word in words):
        if model is not None:
            raise typer.BadParameter("--model is for captions by a model; leave it out here")
        _run_on_images(context, words, as_json)
        return
    with open_engine(context) as engine:
        steps = engine.caption(words, model)
        last = output.show_events(steps, lambda e: Progress(e.phase, e.done, e.total, e.path))
    if last and last.report:
        output.print_json(last.report) if as_json else output.print_caption_report(last.report)


def _run_on_images(context: typer.Context, words: list[str], as_json: bool) -> None:
    images, verb, texts = split_words(words, VERBS)
    if len(texts) != (verb == "set"):
        raise typer.BadParameter("give IMAGE... list, IMAGE... set TEXT, or IMAGE... remove")
    if verb != "list":
        change_pictures(context, images, Change(caption=texts[0] if texts else None), as_json)
        return
    with open_engine(context) as engine:
        pictures = [engine.picture(one) for one in resolve_images(engine, images)]
    if as_json:
        names = ("caption", "caption_origin")
        listed = [{"id": p.id, **{n: getattr(p.annotations, n) for n in names}} for p in pictures]
        output.print_json({"pictures": listed})
        return
    for one in pictures:
        notes = one.annotations
        if notes.caption:
            suffix = "" if notes.caption_origin == "person" else f"  ({notes.caption_origin})"
            output.write(f"{one.id[:12]}  {output.line(notes.caption)}{suffix}")
