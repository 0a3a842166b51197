"""`refilm demo`: generate videos of an unseen critter, and a web page that shows them."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.console import bar, print_line, working
from refilm.cli.options import Base, Device, Dtype


def demo(
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("demo"),
    base: Base = "pocket",
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Random seed of the critter and of the noise of its videos.")
    ] = 7,
    steps: Annotated[
        int | None, typer.Option(help="Number of sampler steps; fewer are faster.", show_default="the base model's")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Generate videos of an unseen critter from one image, and a web page that shows them."""
    with working("loading"):
        from refilm.generation import load
        from refilm.pocket.demo import Demo

        pipeline = load(base, device=device, dtype=dtype)
    work = Demo(out, seed=seed)
    request = pipeline.request(steps=steps)
    with bar("", len(work.videos) * request.steps) as advance:
        for step in work.make(pipeline, request):
            advance(f"video {step.video} of {step.videos}")
    print_line(f"videos: {out.resolve()}")
    print_line(f"page:   {work.page.resolve()}")
    if show:
        typer.launch(str(work.page))
