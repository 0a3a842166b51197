"""The files of a base model's folder besides its weights: generation defaults, noise schedule and index."""

from pathlib import Path
from typing import Any

from pydantic import Field

from refilm.backbones import family_in, family_of
from refilm.checkpoints.domain import Domain
from refilm.files import write_text
from refilm.geometry import Geometry
from refilm.settings import Settings
from refilm.settings.choices import SamplerName
from refilm.weights.configs import read_config


class Defaults(Settings):
    """Generation defaults of a base model. The values here are those of CogVideoX-2B."""

    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frame rate, in frames per second."""
    frames: int = Field(default=49, ge=1, le=10_000)
    """Number of video frames."""
    height: int = Field(default=480, ge=1, le=2**14)
    """Video height in pixels."""
    width: int = Field(default=720, ge=1, le=2**14)
    """Video width in pixels."""
    steps: int = Field(default=50, ge=1, le=999)
    """Number of sampler steps."""
    guidance: float = Field(default=6.0, ge=0, le=50)
    """Classifier-free guidance scale; 1 disables guidance."""
    sampler: SamplerName = "dpmpp-2m-sde"
    """Sampler."""
    decode_frames: int | None = Field(default=2, ge=0, le=10_000)
    """Latent frames decoded at a time; 0 decodes all at once."""
    domain: Domain | None = None
    """The training domain of the model, if it is narrow."""

    def request(self) -> dict[str, Any]:
        """The defaults that are settings of a generation."""
        return self.model_dump(include={"frames", "height", "width", "steps", "guidance", "sampler"})


def create_base(folder: Path, defaults: Defaults, size: Geometry, *, snr_shift: float | None = None) -> None:
    """Write the files besides the weights: noise schedule, defaults, and the index of diffusers.

    Args:
        folder: the base model's folder.
        defaults: generation defaults.
        size: sizes of the transformer.
        snr_shift: SNR shift of the noise schedule. Default: that of the published model of this kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    family_of(size).create_layout(folder, size, snr_shift=snr_shift)
    write_text(
        folder / "refilm.json",
        defaults.model_dump_json(indent=2, exclude=None if defaults.domain else {"domain"}) + "\n",
    )


def load_defaults(folder: Path) -> Defaults:
    """Read the generation defaults of a base model. Without `refilm.json` they are those of the published model.

    Raises:
        UserError: `refilm.json` or the transformer's config is damaged, or a value is out of range; names the file and
            the key.
    """
    path, transformer = folder / "refilm.json", folder / "transformer"
    if path.is_file():
        return read_config(path, Defaults)
    config = transformer / "config.json"
    return Defaults(**family_in(transformer).defaults_of(config)) if config.is_file() else Defaults()
