"""`refilm convert` and `refilm info`: weights from one format to another, and what a file or folder is."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.showing import clock, say, working
from refilm.cli.streams import require_printed

if TYPE_CHECKING:
    from refilm.checkpoints import Description


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A SAT checkpoint, its 3d-vae.pt, an adapter, a diffusers transformer, a Hub id, or pocket.",
            show_default=False,
        ),
    ],
    target: Annotated[Path, typer.Argument(help="What is to be written; not there yet.", show_default=False)],
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="Of a SAT checkpoint only the adapter, as an adapter's folder.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="The base model of an adapter, where its own file does not hold it.", show_default=False),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Of the weights written; left out: as they are stored.", show_default=False),
    ] = None,
) -> None:
    """Convert weights: the research code's to diffusers' layout and to adapters, and back."""
    started = time.perf_counter()
    with working("converting"):
        from refilm.checkpoints import convert as run

        done = run(source, target, only="adapter" if adapter_only else None, base=base, dtype=dtype)
    for note in done.notes:
        say(f"note: {note}")
    say(f"{target}: {done.what}, {clock(time.perf_counter() - started)}")


def info(
    source: Annotated[str, typer.Argument(metavar="PATH", help="A file or folder of weights, a Hub id, or pocket.")],
) -> None:
    """Tell what a file or folder of weights is, without loading its tensors."""
    from refilm.checkpoints import describe

    for line in lines(describe(source)):
        say(line)
    require_printed()


def lines(what: "Description", indent: str = "") -> list[str]:
    """A description in lines, its parts further in."""
    stored = ", ".join(f"{count:,} {dtype}" for dtype, count in what.dtypes.items())
    told = [f"{indent}{what.path}: {what.kind}", f"{indent}  parameters: {what.parameters:,} ({stored})"]
    if what.size is not None and not what.parts:
        told.append(f"{indent}  size: {what.size}")
    if what.fingerprint is not None:
        told.append(f"{indent}  base model's fingerprint: {what.fingerprint}")
    told += [f"{indent}  {name}: {value}" for name, value in what.facts.items()]
    return told + [line for part in what.parts for line in lines(part, indent + "  ")]
