"""Checks and their results. A check that raises is a problem with its name, so that an examination always ends."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """The result of a check."""

    name: str
    status: Status
    finding: str
    """What was found."""
    fix: str = ""
    """How to fix it, in full sentences; empty if there is nothing to fix."""


def ok(name: str, finding: str) -> Check:
    """Nothing to fix."""
    return Check(name, "ok", finding)


def warning(name: str, finding: str, fix: str) -> Check:
    """refilm works, but slower than it could, or not in every respect."""
    return Check(name, "warning", finding, fix)


def problem(name: str, finding: str, fix: str) -> Check:
    """refilm, or a part of it, does not work."""
    return Check(name, "problem", finding, fix)


@dataclass(frozen=True)
class Section:
    """Checks that are made from the same facts."""

    name: str
    run: Callable[[], Iterable[Check]]


def examined(sections: Iterable[Section]) -> Iterator[Check]:
    """Run all sections; what one raises becomes a problem with its name."""
    for section in sections:
        try:
            yield from section.run()
        except Exception as error:
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            yield problem(
                section.name,
                f"this check failed with {type(error).__name__}: {reason:.200}",
                "If the message does not explain it, report it as a bug of refilm, with the output of this command.",
            )


def gib(count: float) -> str:
    """A readable number of bytes: 9.3 GiB, 512 MiB."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"
