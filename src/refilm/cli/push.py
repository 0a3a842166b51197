"""`refilm push`: upload an adapter to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.console import print_line, working
from refilm.hub import check_repository


def push(
    folder: Annotated[Path, typer.Argument(help="An adapter's folder.", show_default=False)],
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO", help="Repository on the Hub, owner/name; created if it does not exist.", show_default=False
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create a private repository; an error if REPO is already public.")
    ] = False,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="Result of refilm evaluate for this adapter; its table is written into the folder's model card first.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files that would be uploaded, without uploading.")
    ] = False,
) -> None:
    """Upload an adapter to the Hugging Face Hub: weights, adapter.json and model card."""
    check_repository(repository)  # also in a dry run
    with working("reading"):
        from refilm.checkpoints import adapter_files
        from refilm.checkpoints import push as run

        files = adapter_files(folder)
        if evaluation is not None:
            from refilm.evaluation.card import add_evaluation, require_result_of
            from refilm.evaluation.output import read_result

            (require_result_of if dry_run else add_evaluation)(folder, read_result(evaluation))
            files = adapter_files(folder)
    for file in files:
        print_line(f"{file.name}: {file.stat().st_size:,} bytes")
    if dry_run:
        print_line(f"{repository}: nothing was uploaded (dry run)")
        return
    with working("pushing"):
        address = run(files, repository, private=private)
    print_line(f"{repository}: {len(files)} files, {address}")
