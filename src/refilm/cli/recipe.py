"""`refilm recipe`: print a recipe with all settings, to edit."""

from typing import Annotated, Literal

import typer

from refilm.cli.console import working
from refilm.cli.streams import require_printed


def recipe(
    stage: Annotated[Literal["adapter", "base", "encoders", "autoencoder"], typer.Argument(help="What is trained.")],
) -> None:
    """Print a recipe with all settings of a stage, to edit: refilm recipe adapter > mine.toml"""
    with working("reading"):
        from refilm.recipes import STAGES
        from refilm.settings.template import template

    typer.echo(template(STAGES[stage]), nl=False)
    require_printed()
