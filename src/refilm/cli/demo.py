"""`refilm demo`: generate videos of an unseen critter, and a web page that shows them."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.console import bar, print_line, working
from refilm.cli.options import BaseOption, Computing, given, with_options
from refilm.generation.request import Request
from refilm.settings import Seed, Settings


class DemoOptions(Computing, BaseOption):
    """What the demo makes."""

    out: Path = Path("demo")
    """Output folder."""
    seed: Seed = 7
    """Random seed of the critter and of the noise of its videos."""
    show: Annotated[bool, typer.Option("--open")] = False
    """Open the page in a browser."""


@with_options(DemoOptions, given(Request, "steps"))
def demo(options: DemoOptions, sampling: Settings) -> None:
    """Generate videos of an unseen critter from one image, and a web page that shows them."""
    with working("loading"):
        from refilm.generation import load
        from refilm.pocket.demo import Demo

        pipeline = load(options.base, device=options.device, dtype=options.dtype)
    work = Demo(options.out, seed=options.seed)
    request = pipeline.request(**dict(sampling))
    with bar("", len(work.videos) * request.steps) as advance:
        for step in work.make(pipeline, request):
            advance(f"video {step.video} of {step.videos}")
    print_line(f"videos: {options.out.resolve()}")
    print_line(f"page:   {work.page.resolve()}")
    if options.show:
        typer.launch(str(work.page))
