"""The `lookalike` command. Exit status: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from diffusion import cli as diffusion
from diffusion.errors import ConfigError, DiffusionError
from search.cli import arguments, output
from search.errors import LibraryError, LookalikeError, QueryError
from search.records import Progress, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from search.engine import Engine


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Out = Annotated[
    Path,
    arguments.option("-o", "--out", metavar="DIR", help="Where they go.", parser=arguments.folder),
]
Many = Annotated[int, typer.Option("-n", help="How many of a picture, 1 to 64.")]
FirstSeed = Annotated[int, typer.Option(metavar="S", help="Of the first; the next has S + 1.")]
Checkpoint = Annotated[
    Path | None, arguments.option(metavar="C", help="Weights other than the shipped ones.")
]


class Commands(TyperGroup):
    """The commands there are, and a word about those that are to come."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As any group does."""
        arguments.later(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="lookalike",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(diffusion.app, name="diffusion")


class Encoder:
    """The library's model, for `lookalike diffusion`; opened when it is first asked."""

    def __init__(self, context: typer.Context) -> None:
        self._context = context
        self._engine: Engine | None = None

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 -> (B, D) float32, unit length."""
        return self._opened().encode(pictures)

    def __str__(self) -> str:
        return self._opened().encoder()

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = _open(self._context)
            self._context.call_on_close(self._engine.close)
        return self._engine


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lookalike {version('lookalike')}")
        raise typer.Exit


@app.callback()
def settings(
    context: typer.Context,
    home: Annotated[
        Path | None,
        arguments.option(
            metavar="DIR",
            help="Folder of the library (default: LOOKALIKE_HOME, or the user's data).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="auto, mini, or an open_clip ARCH, ARCH:TAG or ARCH:/path/to/weights."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device the models run on: cpu, cuda.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Find the pictures that look like this one, in your own folders."""
    context.obj = {"home": home, "model": model, "device": device, "encode": Encoder(context)}
    if device:  # of the commands of diffusion too, where they have none of their own
        names = ("train", "sample", "process", "evaluate")
        context.default_map = {"diffusion": dict.fromkeys(names, {"device": device})}


def _open(context: typer.Context, **more: Any) -> Engine:
    from search.engine import Engine

    said = {name: context.obj[name] for name in ("home", "model", "device")}
    return Engine.open(**said, **more, say=output.note)


def _print(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


@app.command()
def index(
    context: typer.Context,
    paths: Annotated[list[Path], arguments.argument("PATH...", "Folders of pictures.")],
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Leave out, such as raw or */raw/*; kept for the folder. Repeatable.",
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Believe a known folder that is empty now.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and sync whenever something changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sync folders: add what is new, follow what moved, take out what is gone."""
    if watch and as_json:
        raise typer.BadParameter("--json prints one document, and --watch has no end")
    reports, failed = [], False
    with _open(context) as engine:
        for path in paths:
            try:
                reports.append(output.follow(engine.index(path, exclude, allow_empty)))
            except LookalikeError as error:
                if len(paths) == 1:
                    raise
                output.note(f"lookalike: {error}")
                failed = True
        if reports:
            report = sum(reports[1:], reports[0])
            _print(report.to_json()) if as_json else output.indexed(report)
        if watch and reports:
            _watch(engine, [path for path in paths if os.path.isdir(path.expanduser())])
    if failed:
        raise typer.Exit(1)


def _watch(engine: Engine, paths: list[Path]) -> None:
    """Sync folders as they change, until Ctrl-C."""
    output.note("watching; Ctrl-C ends it")
    told: dict[Path, tuple[object, int]] = {}
    try:
        for path in engine.watch(paths):
            try:
                report = output.follow(engine.index(path))
            except LookalikeError as error:
                output.note(f"lookalike: {error}")
            else:
                done = report.added + report.changed + report.moved + report.removed
                left = report.skipped, report.offline
                if done or left != told.get(path, ((), 0)):
                    output.indexed(report)
                told[path] = left
    except (KeyboardInterrupt, _Stopped):
        output.note("stopped watching")


@app.command(cls=arguments.InOrder)
def search(
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="A file, a URL, id:ID, or - for standard input; several add up.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many pictures, 1 to 10000.")] = 10,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="T", help="What is to be seen; see `lookalike words`. Repeatable."),
    ] = None,
    away: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE", help="Search away from a picture. Repeatable."),
    ] = None,
    away_text: Annotated[
        list[str] | None,
        typer.Option("--not-text", metavar="T", help="Search away from a text. Repeatable."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W", help="Of the first IMAGE or --text; again for the second, and so on."
        ),
    ] = None,
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H", help="Part of the IMAGE before it: pixels, or shares like 25%."
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="S", help="Only pictures with at least this score.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the pictures that look like IMAGE, best first."""
    query = arguments.query(images or [], k, min_score)
    with _open(context) as engine:
        hits = engine.search(query)
    _print(hits.to_json()) if as_json else output.found(hits)


@app.command("words")
def list_words(
    context: typer.Context,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="What they begin with, such as ca or 汽.")
    ] = "",
    limit: Annotated[int, typer.Option("-n", help="How many at most.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """List the words that `search --text` knows under the library's model."""
    with _open(context) as engine:
        known = engine.words(prefix, limit)
    _print(known.to_json()) if as_json else output.list_words(known, prefix)


@app.command()
def variants(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="A file, a URL, id:ID, or - for standard input."),
    ],
    out: Out,
    n: Many = 4,
    regime: Annotated[
        str | None, typer.Option(metavar="R", help="near, same or concept (default: same).")
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(metavar="S", help="Noise instead of a regime: 0 to 80, pure noise."),
    ] = None,
    start: Annotated[
        str,
        typer.Option("--from", metavar="F", help="picture, or neighbours: the library's nearest."),
    ] = "picture",
    guidance: Annotated[
        float | None, typer.Option(metavar="W", help="Towards what IMAGE is of; 1 is none.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps back from the noise.")
    ] = None,
    seed: FirstSeed = 0,
    size: Annotated[int, typer.Option(metavar="PX", help="Long side, 64 to 512.")] = 256,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """Make pictures like IMAGE: PNG files, named by seed and sigma.

    The first n that are neither copies nor strangers are taken; -n 1 makes that of the seed. With
    --from neighbours, variants of the concept start from the library's nearest other pictures.
    """
    with _open(context, checkpoint=checkpoint) as engine:
        events = engine.vary(
            arguments.image(image),
            n=n,
            regime=regime,
            sigma=sigma,
            start=start,
            guidance=guidance,
            steps=steps,
            seed=seed,
            size=size,
        )
        last = output.watch(events, lambda event: Progress("draw", event.done, event.total))
    if last is None or last.result is None:
        raise LibraryError("the variants ended early; run it again")
    files = [(variant.save(out, arguments.stem(image)), variant) for variant in last.result]
    if n > 1:
        output.passed(last.result)
    if as_json:
        listed = [{"path": shown(str(path)), **variant.to_json()} for path, variant in files]
        _print({"variants": listed, "seconds": round(last.result.seconds, 3)})
    else:
        output.drawn(files)


@app.command()
def augment(
    context: typer.Context,
    path: Annotated[
        Path, arguments.argument("PATH", "A folder of pictures, or of classes of them.")
    ],
    out: Out,
    n: Many = 4,
    regime: Annotated[str, typer.Option(metavar="R", help="near, same or concept.")] = "near",
    seed: Annotated[int, typer.Option(metavar="S", help="From it each picture has its own.")] = 0,
    checkpoint: Checkpoint = None,
    as_json: AsJson = False,
) -> None:
    """Make a training set: n variants of each picture, in class folders, with a manifest.

    The same command goes on where it stopped.
    """
    with _open(context, checkpoint=checkpoint) as engine:
        events = engine.augment(path, output=out, n=n, regime=regime, seed=seed)
        last = output.watch(events, lambda e: Progress("draw", e.done, e.total, e.path))
    if last is None or last.report is None:
        raise LibraryError("the augmentation ended early; run it again")
    _print(last.report.to_json()) if as_json else output.augmented(last.report)


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what is in the library."""
    with _open(context) as engine:
        found = engine.status()
    _print(found.to_json()) if as_json else output.standing(found)


@app.command()
def check(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every file and compare its content.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Test that catalog, index, thumbnails and files agree; mend what can be made anew."""
    with _open(context) as engine:
        report = engine.check(deep)
    _print(report.to_json()) if as_json else output.checked(report)
    if report.problems:
        raise typer.Exit(1)


@app.command()
def forget(
    context: typer.Context,
    path: Annotated[
        Path,
        arguments.argument("PATH", "An indexed folder, a part of one, or a folder above some."),
    ],
    as_json: AsJson = False,
) -> None:
    """Take a folder out of the library. The pictures themselves stay where they are."""
    with _open(context) as engine:
        files = engine.forget(path)
        left = engine.status()
    if as_json:
        _print({"files": files, "pictures": left.pictures})
        return
    output.out().print(f"{files} files forgotten; {left.pictures} pictures in the library")
    if any(path.resolve().is_relative_to(root.path) for root in left.roots):
        output.note("the next sync of its folder takes it in again, unless given --exclude")


@app.command()
def embed(
    context: typer.Context,
    paths: Annotated[list[Path], arguments.argument("PATH...", "Folders of pictures, or zips.")],
    out: Annotated[
        Path, arguments.option("-o", "--out", metavar="FILE", help="A .safetensors file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write the vectors of pictures to a file, such as `diffusion train --embeddings` takes."""
    with _open(context) as engine:
        report = output.follow(engine.embed(paths, out))
    if as_json:
        said = report.to_json()
        _print({name: said[name] for name in ("embedded", "skipped", "seconds")})
    else:
        output.embedded(report, out)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(metavar="H", help="Address to listen on; others need LOOKALIKE_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", help="Port; 0 takes any free one.")] = 8000,
    allow: Annotated[
        list[Path] | None,
        arguments.option(
            metavar="DIR",
            help="Folder that may be used over HTTP, with all in it. Repeatable.",
        ),
    ] = None,
) -> None:
    """Serve the page and the HTTP API, until Ctrl-C."""
    from search.api.server import serve as run

    with _open(context) as engine:
        run(engine, host, port, allow or [], typer.echo)


class _Stopped(BaseException):
    """Ctrl-C."""


def _stop(*_: object) -> NoReturn:
    raise _Stopped


def main() -> None:
    """Run the command, and turn what goes wrong into a line and an exit status."""
    signal.signal(signal.SIGINT, _stop)
    try:
        app()
    except LookalikeError as error:
        output.note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, QueryError) else 1)
    except DiffusionError as error:
        output.note(f"lookalike: {error}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except _Stopped:
        output.note("lookalike: stopped; the same command goes on from here")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
