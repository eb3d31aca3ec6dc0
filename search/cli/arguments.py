"""The words of `lookalike search`, which keep their order, and those that are still to come."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from search.querying.query import Query

MARK = "\0"  # before what stays in its place among the images; no argument can hold it
ORDERED = ("--crop", "--text", "--not", "--not-text", "--weight")
STDIN = 2**30  # bytes of standard input that are read at most
LATER = frozenset(
    "duplicates tag backup"
    " --query --where --kind --collapse --expand --restore --mask --verify --html".split()
)


def path(word: str) -> Path:
    """A path; an empty one, such as an unset variable leaves, is none, and not the folder that one
    is in."""
    if not word:
        raise typer.BadParameter("an empty path; give a folder, or . for this one")
    return Path(word)


def folder(word: str) -> Path:
    """As `path`, where a folder is, or is to be made: told of a file before the work, not after."""
    if os.path.lexists(word) and not os.path.isdir(word):
        raise typer.BadParameter(f"{word} is a file; give a folder")
    return path(word)


def argument(metavar: str, help: str) -> Any:
    """A path of a command, or several."""
    return typer.Argument(metavar=metavar, parser=path, help=help)


def option(*names: str, metavar: str, help: str, parser: Callable[[str], Path] = path) -> Any:
    """An option that is a path."""
    return typer.Option(*names, metavar=metavar, parser=parser, help=help)


def later(word: str) -> None:
    """Refuse what the contract promises and this version does not have."""
    if word.partition("=")[0] in LATER:
        raise typer.BadParameter(f"{word.partition('=')[0]} is not part of this version yet")


class InOrder(TyperCommand):
    """A command whose terms, and the options of each, stay in the order they were written in."""

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
            later(word if word.startswith("--") else "")
            ordered.append(word)
        return super().parse_args(ctx, ordered)


def query(arguments: list[str], k: int, min_score: float | None) -> Query:
    """Images and the ordered options among them -> a query. Raises QueryError and BadParameter."""
    from search.querying.query import Query, Term, parse_crop

    terms: list[Term] = []
    weights: list[float] = []
    for word in arguments:
        option, _, value = word.removeprefix(MARK).partition("=")
        if not word.startswith(MARK):
            terms.append(Term(image=image(word)))
        elif option == "--not":
            terms.append(Term(image=image(value), weight=-1))
        elif option in ("--text", "--not-text"):
            terms.append(Term(text=value, weight=1 if option == "--text" else -1))
        elif option == "--weight":
            weights.append(_weight(value))
        elif terms and terms[-1].image is not None and terms[-1].crop is None:
            terms[-1] = replace(terms[-1], crop=parse_crop(value))
        else:
            raise typer.BadParameter("--crop follows the IMAGE that it is of")
    if not terms:
        raise typer.BadParameter("give an IMAGE, or --text with what is to be seen")
    positive = [i for i, term in enumerate(terms) if term.weight > 0]
    if len(weights) > len(positive):
        raise typer.BadParameter(f"{len(weights)} times --weight for {len(positive)} terms")
    for i, weight in zip(positive, weights, strict=False):
        terms[i] = replace(terms[i], weight=weight)
    return Query(tuple(terms), k, min_score)


def image(word: str) -> str | bytes:
    """What an IMAGE stands for: standard input where it is `-`."""
    return sys.stdin.buffer.read(STDIN) if word == "-" else word


def stem(word: str) -> str:
    """What files made of an IMAGE are called."""
    if word.startswith("id:"):
        return word[3:15]
    name = PurePath(urlsplit(word).path if "://" in word else word).stem
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:80]
    return plain or "picture"


def _weight(value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise typer.BadParameter(
            f"--weight {value}: give a number above 0; --not and --not-text search away"
        )
    return weight
