"""Time and memory of one execution, on a GPU without stopping it in between."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

Facts = dict[str, Any]
Execution = Callable[["Clock"], Mapping[str, Any]]
"""Runs what is measured once, with a tick before, between its steps if it has any, and after; returns further facts."""


class Clock:
    """The seconds between ticks. On a GPU a tick is an event among its work, so that no tick waits for it."""

    def __init__(self, device: torch.device):
        self._events = device.type == "cuda"
        self._ticks: list[Any] = []

    def tick(self) -> None:
        """Mark the moment when the work so far is done."""
        if self._events:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._ticks.append(event)
        else:
            self._ticks.append(time.perf_counter())

    def laps(self) -> list[float]:
        """Seconds from each tick to the next."""
        pairs = zip(self._ticks, self._ticks[1:], strict=False)
        if not self._events:
            return [end - start for start, end in pairs]
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1000 for start, end in pairs]


def once(run: Callable[[], Any]) -> Execution:
    """The execution of a function without steps."""

    def execution(clock: Clock) -> Facts:
        clock.tick()
        run()
        clock.tick()
        return {}

    return execution


def executed(execution: Execution, device: torch.device) -> Facts:
    """Execute once: `seconds`; on a GPU `working_gb`, the most memory that was allocated beyond what was before."""
    on_gpu = device.type == "cuda"
    before = 0
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    clock = Clock(device)
    further = execution(clock)
    memory = {"working_gb": (torch.cuda.max_memory_allocated() - before) / 1e9} if on_gpu else {}
    return {"seconds": sum(clock.laps()), **further, **memory}


def summary(turns: Sequence[Facts]) -> Facts:
    """One for several executions: medians, the range of the seconds, and the last of what is no number."""
    facts = dict(turns[-1])
    for name, value in facts.items():
        if isinstance(value, float):
            facts[name] = statistics.median(turn[name] for turn in turns)
    seconds = [turn["seconds"] for turn in turns]
    return facts | {"least": min(seconds), "most": max(seconds), "turns": len(turns)}
