"""`refilm push`: an adapter to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.showing import say, working


def push(
    folder: Annotated[Path, typer.Argument(help="An adapter's folder.", show_default=False)],
    repository: Annotated[
        str,
        typer.Argument(metavar="REPO", help="Where to: owner/name. Made if it is not there.", show_default=False),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="For you and those you let in; refused where REPO is public already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and send nothing.")] = False,
) -> None:
    """Push an adapter to the Hugging Face Hub: its weights, what they are, and its model card."""
    with working("reading"):
        from refilm.checkpoints import adapter_files
        from refilm.checkpoints import push as run

        files = adapter_files(folder)
    for file in files:
        say(f"{file.name}: {file.stat().st_size:,} bytes")
    if dry_run:
        say(f"{repository}: nothing was sent")
        return
    with working("pushing"):
        address = run(files, repository, private=private)
    say(f"{repository}: {len(files)} files, {address}")
