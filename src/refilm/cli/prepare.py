"""`refilm data prepare`: references for clips that have none."""

from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import ImageColor
from pydantic import ValidationError

from refilm.cli.showing import bar, say, told, working
from refilm.data.preparing import PrepareSettings
from refilm.settings import explain


def setting(name: str) -> Any:
    """An option for a setting of `PrepareSettings`, with the setting's own sentence."""
    return typer.Option(help=told(PrepareSettings, name))


def prepare(
    manifest: Annotated[Path, typer.Argument(help="A manifest, or a folder of clips.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="The new manifest; pictures come into references/ beside it.", show_default=False)
    ],
    min_distance: Annotated[float, setting("min_distance")] = 1.0,
    frames: Annotated[int, setting("frames")] = 49,
    fps: Annotated[float, setting("fps")] = 8.0,
    candidates: Annotated[int, setting("candidates")] = 8,
    cut_out: Annotated[bool, typer.Option("--cut-out", help=told(PrepareSettings, "cut_out"))] = False,
    remove_background: Annotated[
        bool,
        typer.Option("--remove-background", help="Find the subject of frames without a mask by rembg, an extra."),
    ] = False,
    model: Annotated[str, typer.Option(help="rembg's model, which rembg fetches at its first use.")] = "u2net",
    background: Annotated[
        str, typer.Option(help="The plain ground of --cut-out and --remove-background: a color's name, or #rrggbb.")
    ] = "white",
    seed: Annotated[int, setting("seed")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read videos.", show_default="one for each core")
    ] = None,
    seconds: Annotated[float, typer.Option(help="The most that one picture may take.")] = 120.0,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Let the manifests name files outside of their folders.")
    ] = False,
) -> None:
    """Make references for the clips that have none: frames of other moments, on plain ground if you like."""
    from refilm.data.manifest import read_examples
    from refilm.data.preparing import background_remover, plan
    from refilm.data.preparing import prepare as steps

    try:
        settings = PrepareSettings(
            min_distance=min_distance,
            frames=frames,
            fps=fps,
            candidates=candidates,
            cut_out=cut_out,
            background=color_of(background),
            seed=seed,
        )
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    with working("reading what is there"):
        examples = read_examples(manifest, allow_outside=allow_outside)
        remover = background_remover(model) if remove_background else None
        planned = plan(examples, out, settings, remover=remover, allow_outside=allow_outside)
    with bar("making references", len(planned.jobs)) as advance:
        for fault in steps(planned, workers=workers, seconds=seconds):
            advance("making references")
            if fault is not None:
                typer.echo(f"no reference: {fault}", err=True)
    say(f"{out}: {len(examples)} clips, {planned.made} references made, {len(planned.jobs)} of them now")


def color_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue, from a color's name or "#rrggbb".

    Raises:
        ValueError: no such color.
    """
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError as error:
        raise ValueError(f"--background {text!r}: give a color's name, or red, green and blue as #rrggbb") from error
    return red, green, blue
