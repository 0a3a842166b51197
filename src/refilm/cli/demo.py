"""`refilm demo`: videos of a critter that the model has never seen, and a page that shows them."""

from pathlib import Path
from typing import Annotated

import typer

from refilm.cli.options import Base, Device, Dtype
from refilm.cli.showing import bar, say, working


def demo(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("demo"),
    base: Base = "pocket",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Chooses the critter and the noise of its videos.")] = 7,
    steps: Annotated[
        int | None, typer.Option(help="Sampler steps; fewer are quicker.", show_default="the base model's")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page when it is made.")] = False,
) -> None:
    """Make videos of a critter that the model has never seen, from one image, and a page that shows them."""
    with working("loading"):
        from refilm.generation import load
        from refilm.pocket.demo import Demo

        pipeline = load(base, device=device, dtype=dtype)
    plan = Demo(out, seed=seed)
    request = pipeline.request(steps=steps)
    with bar("", len(plan.takes) * request.steps) as advance:
        for step in plan.make(pipeline, request):
            advance(f"video {step.take} of {step.takes}")
    say(f"the videos: {out.resolve()}")
    say(f"the page:  {plan.page.resolve()}")
    if show:
        typer.launch(str(plan.page))
