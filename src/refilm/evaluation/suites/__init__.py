"""Suites: which videos an evaluation asks for, and which metrics score them. A suite is one file and one row here."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from refilm.errors import UserError
from refilm.evaluation.suites.suite import Suite
from refilm.settings import meant

SUITES = {
    "critters": "refilm.evaluation.suites.critters:Critters",
    "dreambooth-video": "refilm.evaluation.suites.dreambooth_video:DreamboothVideo",
    "opens2v": "refilm.evaluation.suites.opens2v:OpenS2V",
}
"""Each suite's name, and its class as `module:class`; it is called with the folder of its data, or None."""
FOLDER = "refilm.evaluation.suites.folder:Folder"


def suite_of(name: str, data: Path | None = None) -> Suite:
    """A suite by its name, or that of a folder of the user.

    Args:
        name: one of `SUITES`, or the path of a folder with references and prompts.
        data: folder with images and prompts of a suite that refilm does not include.

    Raises:
        UserError: there is no such suite, or its files are missing or invalid.
    """
    if name in SUITES:
        return _class(SUITES[name])(data)
    if Path(name).is_dir():
        if data is not None:
            raise UserError(f"{name}: is a folder, which contains its data; remove {data}")
        return _class(FOLDER)(Path(name))
    similar = meant(name, list(SUITES))
    hint = f"did you mean {similar}?" if similar else f"there are {', '.join(SUITES)}"
    raise UserError(f"{name}: neither a suite nor a folder; {hint}")


def _class(place: str) -> Callable[[Path | None], Suite]:
    module, name = place.split(":")
    return cast(Callable[[Path | None], Suite], getattr(import_module(module), name))
