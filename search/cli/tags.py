"""Commands on what people say of pictures: tag, favourite, rating, hidden, album.

Each reads as NOUN IMAGE... VERB VALUE..., such as `lookalike tag a.jpg b.jpg add beach`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli import output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.annotations import Change

if TYPE_CHECKING:
    from search.engine import Engine

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE... VERB VALUE...",
        help="IMAGE: a file, id:ID, an ID, or - for ids from standard input, one a line.",
    ),
]
MOST_INPUT = 2**24  # characters of standard input that are read at most


def tag(context: typer.Context, words: Words, as_json: AsJson = False) -> None:
    """Tag pictures: IMAGE... add TAG..., IMAGE... remove TAG..., IMAGE... list.

    Of the library: list [PREFIX], rename OLD NEW, and all that people say of pictures: export
    FILE.json|FOLDER, import FILE.json|FOLDER (in a folder as XMP files).
    """
    if words[0] in ("export", "import") and len(words) == 2:
        with open_engine(context) as engine:
            call = engine.export_annotations if words[0] == "export" else engine.import_annotations
            report = call(os.path.expanduser(words[1]))
        for path in report.unknown:
            output.note(f"not in the library, or not readable: {path}")
        _print(as_json, report.to_json(), f"{report.pictures} pictures")
        return
    if words[0] == "list" and len(words) <= 2:
        with open_engine(context) as engine:
            tags = engine.tags.all("".join(words[1:]), limit=10_000)
        if as_json:
            output.print_json({"tags": [one.to_json() for one in tags]})
            return
        for one in tags:
            origins = ", ".join(f"{count} {origin}" for origin, count in one.origins.items())
            output.write(f"{one.count:>7}  {output.line(one.tag)}  ({origins})")
        return
    if words[0] == "rename":
        if len(words) != 3:
            raise typer.BadParameter("give the two names: lookalike tag rename OLD NEW")
        with open_engine(context) as engine:
            count = engine.tags.rename(*words[1:])
        _print(as_json, {"pictures": count}, f"{count} pictures")
        return
    images, verb, names = split_words(words, ("add", "remove", "list"))
    if (verb == "list") == bool(names):
        raise typer.BadParameter(f"give {'no tag' if names else 'a tag'} after {verb}")
    if verb == "list":
        with open_engine(context) as engine:
            pictures = [engine.picture(one) for one in resolve_images(engine, images)]
        if as_json:
            listed = [{"id": p.id, "tags": dict(p.annotations.tags)} for p in pictures]
            output.print_json({"pictures": listed})
            return
        for picture in pictures:
            for name, origin in picture.annotations.tags.items():
                suffix = "" if origin == "person" else f"  ({origin})"
                output.write(f"{picture.id[:12]}  {output.line(name)}{suffix}")
        return
    change = Change(add_tags=tuple(names)) if verb == "add" else Change(remove_tags=tuple(names))
    change_pictures(context, images, change, as_json)


def favourite(context: typer.Context, words: Words, as_json: AsJson = False) -> None:
    """Mark favourites: IMAGE... add, IMAGE... remove."""
    _mark(context, words, lambda on: Change(favourite=on), as_json)


def hidden(context: typer.Context, words: Words, as_json: AsJson = False) -> None:
    """Hide pictures from lists and searches: IMAGE... add, IMAGE... remove, list."""
    if words == ["list"]:
        with open_engine(context) as engine:
            pages = engine.pictures(size=10_000, hidden=True)
        if as_json:
            output.print_json(pages)
            return
        for picture in pages.pictures:
            output.write(f"{picture.id[:12]}  {output.line(picture.path)}")
        return
    _mark(context, words, lambda on: Change(hidden=on), as_json)


def rating(context: typer.Context, words: Words, as_json: AsJson = False) -> None:
    """Rate pictures: IMAGE... set STARS (0 to 5), IMAGE... remove."""
    images, verb, values = split_words(words, ("set", "remove"))
    if len(values) != (verb == "set") or not all(one.isdecimal() for one in values):
        raise typer.BadParameter("give IMAGE... set STARS, 0 to 5, or IMAGE... remove")
    change_pictures(context, images, Change(rating=int(values[0]) if values else None), as_json)


def album(context: typer.Context, words: Words, as_json: AsJson = False) -> None:
    """Collect pictures: IMAGE... add ALBUM, IMAGE... remove ALBUM.

    Of the library: list [ALBUM], rename OLD NEW, delete ALBUM.
    """
    if words[0] in ("list", "rename", "delete"):
        _run_on_albums(context, words, as_json)
        return
    images, verb, names = split_words(words, ("add", "remove"))
    if len(names) != 1:
        raise typer.BadParameter(f"give one album after {verb}")
    change = Change(album=names[0]) if verb == "add" else Change(remove_album=names[0])
    change_pictures(context, images, change, as_json)


def _run_on_albums(context: typer.Context, words: Sequence[str], as_json: bool) -> None:
    verb, *names = words
    if len(names) not in {"list": (0, 1), "rename": (2,), "delete": (1,)}[verb]:
        raise typer.BadParameter("give list [ALBUM], rename OLD NEW, or delete ALBUM")
    with open_engine(context) as engine:
        if verb == "rename":
            renamed = engine.albums.rename(*names)
            _print(as_json, renamed.to_json(), f"{renamed.count} pictures")
        elif verb == "delete":
            engine.albums.delete(names[0])
            _print(as_json, {"deleted": names[0]}, f"{names[0]} is deleted; its pictures stay")
        elif names:
            ids = engine.albums.pictures(names[0])
            _print(as_json, {"ids": ids}, *ids)
        else:
            albums = engine.albums.all()
            lines = [f"{one.count:>7}  {output.line(one.name)}" for one in albums]
            _print(as_json, {"albums": [one.to_json() for one in albums]}, *lines)


def _mark(
    context: typer.Context, words: Sequence[str], make: Callable[[bool], Change], as_json: bool
) -> None:
    images, verb, values = split_words(words, ("add", "remove"))
    if values:
        raise typer.BadParameter(f"nothing follows {verb}")
    change_pictures(context, images, make(verb == "add"), as_json)


def split_words(words: Sequence[str], verbs: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Split words at the first verb. Raises BadParameter if there is none, or no image before."""
    place = next((i for i, word in enumerate(words) if word in verbs), 0)
    if not place:
        raise typer.BadParameter(
            f"give IMAGE... {'|'.join(verbs)}; a file of such a name is ./{verbs[0]}"
        )
    return list(words[:place]), words[place], list(words[place + 1 :])


def change_pictures(
    context: typer.Context, images: Sequence[str], change: Change, as_json: bool
) -> None:
    """Change what a person says of pictures, and print how many changed."""
    with open_engine(context) as engine:
        changed = engine.tags.change(resolve_images(engine, images), change)
    count = sum(len(ids) for ids, _ in changed.undo)
    _print(as_json, changed.to_json(), f"{count} of {len(changed.ids)} pictures changed")


def resolve_images(engine: Engine, images: Sequence[str]) -> list[str]:
    """Return the ids of pictures. Raises InputError for what is no picture of the library."""
    ids = []
    for image in images:
        if image == "-":
            ids += [one.removeprefix("id:") for one in sys.stdin.read(MOST_INPUT).split()]
        elif image.startswith("id:"):
            ids.append(image[3:])
        elif os.path.exists(image):
            ids.append(engine.find_id(image))
        else:
            ids.append(image)
    return ids


def _print(as_json: bool, document: dict[str, object], *lines: str) -> None:
    if as_json:
        output.print_json(document)
        return
    for one in lines:
        output.write(one)
