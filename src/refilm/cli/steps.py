"""Progress bars of videos that are made one after another."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from refilm.cli.console import bar

if TYPE_CHECKING:
    from refilm.jobs import Progress

Event = TypeVar("Event")


def with_bars(events: "Generator[Progress | Event, None, Any]") -> Iterator[Event]:
    """All events but the sampler steps, which are shown as a progress bar for each video."""
    from refilm.jobs import Progress  # imports torch, as whatever makes the events does

    advance: Callable[[str], object] = str  # replaced at the first step of a video
    current: object = None
    with closing(events), ExitStack() as shown:
        for event in events:
            if not isinstance(event, Progress):
                shown.close()
                yield cast(Event, event)
                continue
            if event.job is not current:
                shown.close()
                advance = shown.enter_context(bar(event.job.output, event.steps - event.step + 1))
                current = event.job
            advance(event.job.output)
