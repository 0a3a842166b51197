"""`refilm convert` and `refilm info`: convert weights between formats, and describe a file or folder of weights."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.console import clock, print_line, working
from refilm.cli.streams import require_printed
from refilm.cli.subject_texts import FILE

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
    target: Annotated[Path, typer.Argument(help="Output file or folder; must not exist.", show_default=False)],
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="Convert only the adapter of a SAT checkpoint, to an adapter folder.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="Base model of the adapter, if the adapter's file does not contain it.", show_default=False),
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Dtype of the written weights. Default: as stored.", show_default=False),
    ] = None,
) -> None:
    """Convert weights between CogVideoX SAT checkpoints, diffusers' layout and adapter folders."""
    started = time.perf_counter()
    with working("converting"):
        from refilm.checkpoints import convert as run

        done = run(source, target, only="adapter" if adapter_only else None, base=base, dtype=dtype)
    for note in done.notes:
        print_line(f"note: {note}")
    print_line(f"{target}: {done.what}, {clock(time.perf_counter() - started)}")


def info(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A file or folder of weights, a Hub id, pocket, a subject file, a video or its recipe, or a state.",
        ),
    ],
) -> None:
    """Describe how a video was made, a file or folder of weights (without loading its tensors), or a subject file."""
    for line in _described(source):
        print_line(line)
    require_printed()


def _described(source: str) -> list[str]:
    from refilm.cli.described_videos import SUFFIXES, video_lines

    if source.endswith(FILE):
        return _subject(source)
    if source.lower().endswith(SUFFIXES):
        return video_lines(Path(source))
    from refilm.checkpoints import describe

    return lines(describe(source))


def _subject(source: str) -> list[str]:
    from refilm.cli.subject_files import lines, loaded

    return [f"{source}: subject file", *(f"  {line}" for line in lines(loaded(source, "info")))]


def lines(what: "Description", indent: str = "") -> list[str]:
    """A description as lines; parts are indented."""
    stored = ", ".join(f"{count:,} {dtype}" for dtype, count in what.dtypes.items())
    result = [f"{indent}{what.path}: {what.kind}", f"{indent}  parameters: {what.parameters:,} ({stored})"]
    if what.size is not None and not what.parts:
        result.append(f"{indent}  size: {what.size}")
    if what.fingerprint is not None:
        result.append(f"{indent}  base model's fingerprint: {what.fingerprint}")
    result += [f"{indent}  {name}: {value}" for name, value in what.facts.items()]
    return result + [line for part in what.parts for line in lines(part, indent + "  ")]
