"""The file of a base model's `Magnitudes`, for the step cache by magnitudes; it is stored beside the base model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from refilm.arguments import checked
from refilm.checkpoints.bases import Base
from refilm.diffusion import Magnitudes
from refilm.errors import UserError
from refilm.files import write_json
from refilm.model import Branch
from refilm.settings import Settings
from refilm.weights.configs import read_config

MAGNITUDES = "magnitudes.json"
"""Name of the file in a base model's folder."""
FORMAT = 1


class MagnitudesFile(Settings):
    """A calibration and the transformer that it belongs to."""

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    """Version of the layout."""
    fingerprint: Annotated[str, Field(max_length=200)]
    """Of the base model's transformer."""
    timesteps: tuple[Annotated[float, Field(ge=0, le=1000)], ...] = Field(max_length=1000)
    """See `Magnitudes`."""
    logarithms: Mapping[Branch, tuple[Annotated[float, Field(ge=-1000, le=1000)], ...]]
    """See `Magnitudes`."""


@checked
def save_magnitudes(magnitudes: Magnitudes, base: Base, path: Path | None = None) -> Path:
    """Write the calibration of a base model, by default into its folder; an existing file is replaced."""
    path = base.source.folder / MAGNITUDES if path is None else path
    values = {"timesteps": magnitudes.timesteps, "logarithms": magnitudes.logarithms}
    write_json(path, MagnitudesFile(fingerprint=base.fingerprint(), **values).to_values())
    return path


@checked
def load_magnitudes(base: Base, path: Path | None = None) -> Magnitudes:
    """Read the calibration of a base model, by default from its folder.

    Raises:
        UserError: there is none, it is damaged, or it belongs to another transformer; says how to fix it.
    """
    path = base.source.folder / MAGNITUDES if path is None else path
    if not path.is_file():
        raise UserError(
            f"{base.name}: has no {MAGNITUDES}, which a step cache by magnitudes needs; measure them: refilm "
            f"calibrate PROMPT --base {base.name}, or use step_cache_rule change"
        )
    stored = read_config(path, MagnitudesFile)
    if stored.fingerprint != base.fingerprint():
        raise UserError(f"{path}: was measured with another transformer; measure them again: refilm calibrate")
    try:
        return Magnitudes(stored.timesteps, stored.logarithms)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
