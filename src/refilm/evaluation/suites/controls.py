"""A case in all controls: what a score is worth is seen beside those of a wrong reference, none, and scale 0."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

from refilm.evaluation.case import Case, Control


def in_all_controls(case: Case, other: tuple[Path, ...]) -> Iterator[Case]:
    """A case with the control right, and its copies with the others; their names end in the control.

    Args:
        case: the subject's images are its reference; prompt, group and seed are the same in all controls.
        other: images of another subject, the reference of the control wrong. Empty: there is none, nor that control.
    """
    references = {"right": case.subject, "wrong": other, "none": (), "scale0": case.subject}
    for control in get_args(Control):
        if control != "wrong" or other:
            yield replace(case, name=f"{case.name}-{control}", reference=references[control], control=control)
