"""Arguments of the command line: paths, pictures, and the ordered terms of `lookalike search`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from search.querying.query import Query

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

MARK = "\0"  # before an option that keeps its place among the images; no argument can hold it
ORDERED = ("--crop", "--text", "--not", "--not-text", "--weight")
MAX_STDIN = 2**30  # bytes of standard input that are read at most


def path(value: str) -> Path:
    """Return a path. Raises BadParameter for an empty one, as an unset variable gives."""
    if not value:
        raise typer.BadParameter("an empty path; give a folder, or . for this one")
    return Path(value)


def source(value: str) -> str:
    """Return a path or a URL as it is. Raises BadParameter as `path`."""
    return value if "://" in value else str(path(value))


def folder(value: str) -> Path:
    """Return the path of a folder that exists or can be made. Raises BadParameter for a file."""
    if os.path.lexists(value) and not os.path.isdir(value):
        raise typer.BadParameter(f"{value} is a file; give a folder")
    return path(value)


def sync_hours(value: str) -> int | None:
    """Return the hours of a schedule as `Engine.set_schedule` takes them. Raises BadParameter."""
    from search.engine import MOST_SYNC_HOURS

    names = {"change": None, "never": 0}
    if value in names:
        return names[value]
    if not re.fullmatch(r"[1-9]\d{0,3}", value, re.ASCII) or int(value) > MOST_SYNC_HOURS:
        raise typer.BadParameter(
            f"--sync-hours {value}: give 1 to {MOST_SYNC_HOURS}, change or never"
        )
    return int(value)


def argument(metavar: str, help: str, parser: Callable[[str], Path | str] = path) -> Any:
    """Describe an argument that is a path, or several."""
    return typer.Argument(metavar=metavar, parser=parser, help=help)


def option(*names: str, metavar: str, help: str, parser: Callable[[str], Path | str] = path) -> Any:
    """Describe an option that is a path."""
    return typer.Option(*names, metavar=metavar, parser=parser, help=help)


class OrderedCommand(TyperCommand):
    """A command whose images, and the options `ORDERED` among them, keep their order."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Turn each ordered option into a marked argument, since arguments keep their order."""
        rest, ordered = list(args), []
        while rest:
            word = rest.pop(0)
            if word == "--":
                ordered += [word, *rest]
                break
            name, equals, value = word.partition("=")
            if name in ORDERED and (equals or rest):
                ordered.append(f"{MARK}{name}={value if equals else rest.pop(0)}")
                continue
            ordered.append(word)
        return super().parse_args(ctx, ordered)


def parse_query(
    arguments: list[str],
    k: int,
    min_score: float | None,
    line: str | None = None,
    where: Sequence[str] = (),
    **options: Any,
) -> Query:
    """Build the query of `search` from its images and the marked options among them.

    k: hits at most, 1 to 10000. min_score: cosine in [-1, 1]. line: see `search.querying.line`; its
    terms and conditions come last. options: others of `Query`. Raises QueryError and BadParameter.
    """
    from search.querying.query import Query, Term, parse_crop, read_line

    terms: list[Term] = []
    weights: list[float] = []
    for argument in arguments:
        option, _, value = argument.removeprefix(MARK).partition("=")
        if not argument.startswith(MARK):
            terms.append(Term(image=read_image(argument)))
        elif option == "--not":
            terms.append(Term(image=read_image(value), weight=-1))
        elif option in ("--text", "--not-text"):
            terms.append(Term(text=value, weight=1 if option == "--text" else -1))
        elif option == "--weight":
            weights.append(_parse_weight(value))
        elif terms and terms[-1].image is not None and terms[-1].crop is None:
            terms[-1] = replace(terms[-1], crop=parse_crop(value))
        else:
            raise typer.BadParameter("--crop follows the IMAGE that it is of")
    if not terms and not where and line is None:
        raise typer.BadParameter(
            "give an IMAGE, --text with what is to be seen, --query or --where"
        )
    positive = [i for i, term in enumerate(terms) if term.weight > 0]
    if len(weights) > len(positive):
        raise typer.BadParameter(f"{len(weights)} times --weight for {len(positive)} terms")
    for i, weight in zip(positive, weights, strict=False):
        terms[i] = replace(terms[i], weight=weight)
    more_terms, conditions = read_line(line, files=True)
    conditions = (*where, *conditions)
    return Query((*terms, *more_terms), k, min_score, where=conditions, **options)


def read_image(argument: str) -> str | bytes:
    """Return an IMAGE argument, or the bytes of standard input if it is `-`."""
    return sys.stdin.buffer.read(MAX_STDIN) if argument == "-" else argument


def file_stem(argument: str) -> str:
    """Return the name that files made from an IMAGE argument begin with."""
    if argument.startswith("id:"):
        return argument[3:15]
    name = PurePath(urlsplit(argument).path if "://" in argument else argument).stem
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:80]
    return plain or "picture"


def parse_fuse(values: Sequence[str]) -> dict[str, float]:
    """Return the weights of `MODEL=WEIGHT`, by model. Raises BadParameter for anything else."""
    weights = dict[str, float]()
    for value in values:
        model, _, weight = value.rpartition("=")
        if not model:
            raise typer.BadParameter(f"--fuse {value}: give MODEL=WEIGHT, such as diffusion=0.2")
        if model in weights:
            raise typer.BadParameter(f"--fuse {value}: {model} is named twice; give it once")
        try:
            weights[model] = float(weight)
        except ValueError:
            raise typer.BadParameter(f"--fuse {value}: {weight!r} is no weight") from None
    return weights


def _parse_weight(value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise typer.BadParameter(
            f"--weight {value}: give a number above 0; --not and --not-text search away"
        )
    return weight
