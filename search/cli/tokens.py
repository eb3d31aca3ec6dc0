"""Commands on the tokens of the users of a server."""

from __future__ import annotations

import time
from typing import Annotated, cast

import typer

from search.cli import arguments, output
from search.cli.arguments import AsJson
from search.cli.session import open_engine
from search.records.tokens import ROLES, Role

app = typer.Typer(
    name="token",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Add, list and revoke the tokens of the users of a server.",
)


def _parse_role(value: str) -> str:
    if value not in ROLES:
        raise typer.BadParameter(f"give one of {', '.join(ROLES)}")
    return value


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the token, such as the user's.")],
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            callback=_parse_role,
            help="read: search and see; write: also keep, delete and index; admin: everything.",
        ),
    ] = "read",
    collections: Annotated[
        list[str] | None,
        arguments.option(
            "--collection",
            parser=arguments.source,
            metavar="ROOT|NAME",
            help="An indexed folder that the token is for, or a collection, which stands for the "
            "folders that it has now; without one, the whole library. Repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a token, and print it. It is shown only once: the library keeps its SHA-256."""
    with open_engine(context) as engine:
        token = engine.add_token(name, cast(Role, role), collections or None)
    if as_json:
        output.print_json({"name": name, "role": role, "token": token})
        return
    output.write(token)
    output.note(f"this is the token of {name}; it is not shown again")


@app.command(name="list")
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens: their names, roles and collections."""
    with open_engine(context) as engine:
        tokens = engine.tokens()
    if as_json:
        output.print_json({"tokens": [token.to_json() for token in tokens]})
        return
    for token in tokens:
        day = time.strftime("%Y-%m-%d", time.localtime(token.created))
        paths = token.collections or ("the whole library",)
        where = ", ".join(output.line(path) for path in paths)
        output.write(f"{token.name}  {token.role}  {day}  {where}")
    if not tokens:
        output.note("no tokens; `lookalike token add NAME` adds one")


@app.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the token.")],
    as_json: AsJson = False,
) -> None:
    """End a token at once, and the logins of the page that it opened."""
    with open_engine(context) as engine:
        engine.revoke_token(name)
    output.print_json({"revoked": name}) if as_json else output.write(f"{name} is revoked")
