"""`refilm evaluate`: make or find the videos of a suite, score them, and compare results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from pydantic import Field

from refilm.cli.asking import SamplingOptions
from refilm.cli.batch import Options, Rows, loaded
from refilm.cli.console import plain, print_error, print_line, screen
from refilm.cli.options import Size, chosen, option_name, with_options
from refilm.cli.parsing import size_of
from refilm.cli.steps import with_bars
from refilm.cli.values import named_value, typed
from refilm.errors import UserError
from refilm.settings import Settings, shared

if TYPE_CHECKING:
    from refilm.evaluation.answer import Answers
    from refilm.evaluation.case import Case, Control
    from refilm.evaluation.suites.suite import Suite
    from refilm.evaluation.table import Table

CONTROLS = "right,wrong,none,scale0"
LARGEST = 2**53  # up to which every JSON reader has the same integers


class Asked(Settings):
    """What is evaluated, and where the result is saved."""

    suite: Annotated[str, typer.Argument(show_default=False)]
    """A suite: critters, dreambooth-video, opens2v, or a folder of your own with subjects and prompts."""
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER")]
    """Output folder: result.json, table.md, index.html, plots, and the videos that are made."""
    data: Path | None = None
    """Folder with the images and prompts of a suite that refilm does not include."""
    controls: str = CONTROLS
    """What the model gets as reference, separated by commas: right, wrong (another subject's), none, and scale0 (the
    right one at reference scale 0). Only right is evaluated; the others show what a score is worth."""
    metrics: str | None = None
    """Metrics to compute, separated by commas, in the order of the columns. Default: all metrics of the suite."""
    limit: int | None = Field(default=None, ge=1, le=10**6)
    """Number of groups, the first ones of the suite. Default: all."""
    list: bool = False
    """Print the cases as JSON lines instead: prompt, references, seed, and the name of each video."""


class Sources(Settings):
    """Where the videos come from, if refilm does not make them."""

    videos: Path | None = None
    """Videos that were made elsewhere: a folder with CASE.mp4, or a .jsonl of lines with case and file."""
    url: str | None = None
    """A server with the API of OpenAI's videos, for instance http://127.0.0.1:8000/v1/videos."""
    field: Annotated[tuple[str, ...], typer.Option(metavar="NAME=VALUE")] = ()
    """A field of each request to the server, for instance model=sora-2. Repeat it for more fields."""
    send_seeds: Annotated[bool, typer.Option("--send-seeds/--no-send-seeds")] = True
    """Send the seeds of the cases to the server; OpenAI's own refuses them."""


class Making(Settings):
    """How refilm makes the videos."""

    size: Size = None
    """Width x height in pixels, for instance 720x480."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Is added to the seed of each case: another number gives other videos of the same cases."""
    claim: bool = shared(Rows, "claim")
    stale_after: float = shared(Rows, "stale_after")


class Files(Settings):
    """What is compared."""

    first: Annotated[Path, typer.Argument(show_default=False)]
    """A result: result.json, or its folder."""
    second: Annotated[Path, typer.Argument(show_default=False)]
    """Another result of the same suite."""


@with_options(Asked, Sources, Options, Making, SamplingOptions)
def run(asked: Asked, sources: Sources, model: Options, making: Making, sampling: Settings) -> None:
    """Score the videos of a suite: those that a model makes, or --videos, or those of a server (--url).

    If interrupted, run it again to continue: videos and scores that are done are kept. Videos that are missing or
    broken count with the worst value of each metric.
    """
    from refilm.evaluation.evaluating import chosen_cases
    from refilm.evaluation.suites import suite_of

    suite = suite_of(asked.suite, asked.data)
    cases = chosen_cases(suite, asked.output, controls=_controls(asked.controls), limit=asked.limit)
    if asked.list:
        for case in cases:
            print_line(_listed(case))
        return
    if sources.videos is None and sources.url is None:
        source = _model(suite, cases, model, making, sampling)
    else:
        _require_unmade(making, sampling)
        source = _others(sources)
    metrics = () if asked.metrics is None else _split(asked.metrics)
    if asked.metrics is not None and not metrics:
        raise UserError("--metrics: names no metric; give some, or leave it out for all of the suite")
    _evaluate(suite, source, cases, asked.output, device=model.device, metrics=metrics)


@with_options(Files)
def compare(files: Files) -> None:
    """Say which differences between two results are real, and refuse results that were measured otherwise."""
    from refilm.evaluation.compare import compare as compared
    from refilm.evaluation.compare import comparison_table, one_sided
    from refilm.evaluation.output import read_result

    first, second = read_result(files.first), read_result(files.second)
    _print(comparison_table(compared(first, second)))
    for line in one_sided(first, second):
        print_line(line)


def _evaluate(
    suite: "Suite",
    source: "Answers",
    cases: "Sequence[Case]",
    out: Path,
    *,
    device: str | None,
    metrics: Sequence[str],
) -> None:
    import torch

    from refilm.evaluation.evaluating import evaluate
    from refilm.evaluation.output import write_result
    from refilm.evaluation.result import Result
    from refilm.evaluation.table import notes_on, table_of

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for event in with_bars(evaluate(suite, source, cases, out, device=device, metrics=metrics)):
        if isinstance(event, Result):
            files = write_result(event, out)
            _print(table_of(event))
            for line in (*event.warnings, *notes_on(event)):
                print_error(f"note: {line}")
            print_line(f"{out}: {', '.join(str(file.relative_to(out)) for file in files)}")
        elif event.error is not None:
            print_error(f"{event.case}: {event.error}")


def _model(suite: "Suite", cases: "Sequence[Case]", model: Options, making: Making, sampling: Settings) -> "Answers":
    if model.adapter == "none" and any(case.reference for case in cases):
        raise UserError("a reference needs an adapter: remove --adapter none, or give --controls none")
    from refilm.evaluation.making import Model, model_identity

    size_of(making.size)
    given = sampling.model_dump(mode="json", exclude_none=True)
    settings = {**suite.settings, **given, **({"size": making.size} if making.size else {})}
    others = model.model_dump(include={"image_encoder", "dtype"}, exclude_defaults=True)
    return Model(
        lambda: loaded(model),
        model_identity(model.base, model.adapter, **others),
        settings,
        **making.model_dump(include={"seed", "claim", "stale_after"}),
    )


def _others(sources: Sources) -> "Answers":
    """A folder or a server."""
    from refilm.evaluation.collecting import Videos
    from refilm.evaluation.server import Server

    if sources.videos is not None and sources.url is not None:
        raise UserError("--videos and --url: give one of them")
    if sources.videos is not None:
        return Videos(sources.videos)
    assert sources.url is not None
    pairs = (named_value(text, "--field", "model=sora-2") for text in sources.field)
    return Server(sources.url, fields=dict(_field(*pair) for pair in pairs), seeds=sources.send_seeds)


def _field(name: str, text: str) -> tuple[str, str | int | float]:
    """A field as a number if it is one; nan and inf are texts, since JSON has no such numbers."""
    value = typed(text)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    return name, value if is_number else text


def _require_unmade(making: Making, sampling: Settings) -> None:
    given: Mapping[str, Any] = {**chosen(sampling), **making.model_dump(exclude_defaults=True)}
    if given:
        names = ", ".join(map(option_name, given))
        raise UserError(f"{names}: the videos are made elsewhere; remove it, or --videos and --url")


def _controls(text: str) -> "tuple[Control, ...]":
    from refilm.evaluation.case import Control

    known = get_args(Control)
    names = _split(text)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--controls {unknown[0]!r:.60}: unknown; give some of {', '.join(known)}")
    return names  # pyright: ignore[reportReturnType]  # compared with them above


def _split(text: str) -> tuple[str, ...]:
    """The names in a list with commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _listed(case: "Case") -> str:
    values = {
        "case": case.name,
        "file": f"{case.name}.mp4",
        "prompt": case.prompt,
        "seed": case.seed,
        "control": case.control,
        "reference": [str(path) for path in case.reference],
    }
    return json.dumps(values)


def _print(table: "Table") -> None:
    from rich.table import Table as Shown

    shown = Shown(box=None)
    for place, name in enumerate(table.head):
        shown.add_column(name, justify="right" if place else "left")
    for row in table.rows:
        shown.add_row(*map(plain, row))
    screen().print(shown)
