"""What a base model's folder holds beside its weights: defaults of generation, the schedule, and an index."""

from pathlib import Path
from typing import Any

from pydantic import Field

from refilm.checkpoints.domain import Domain
from refilm.checkpoints.schedules import save_schedule
from refilm.files import write_json, write_text
from refilm.settings import Settings
from refilm.weights.configs import read_config

_INDEX = {
    "_class_name": "CogVideoXPipeline",
    "scheduler": ["diffusers", "CogVideoXDPMScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLCogVideoX"],
}


class Defaults(Settings):
    """What a base model makes when it isn't told otherwise. The values here are CogVideoX-2B's."""

    fps: float = Field(default=8.0, gt=0, le=1000)
    frames: int = Field(default=49, ge=1, le=10_000)
    height: int = Field(default=480, ge=1, le=2**14)
    width: int = Field(default=720, ge=1, le=2**14)
    steps: int = Field(default=50, ge=1, le=999)
    guidance: float = Field(default=6.0, ge=0, le=50)
    decode_frames: int | None = Field(default=2, ge=0, le=10_000)
    """Latent frames decoded at a time; 0: all at once."""
    domain: Domain | None = None
    """What the model was trained on, where that is little."""

    def request(self) -> dict[str, Any]:
        """The part that a generation's settings take over."""
        return self.model_dump(include={"frames", "height", "width", "steps", "guidance"})


def create_base(folder: Path, defaults: Defaults, *, snr_shift: float) -> None:
    """Write what a base model's folder holds beside weights: schedule, defaults, and the index that diffusers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    save_schedule(folder / "scheduler", snr_shift=snr_shift)
    write_text(
        folder / "refilm.json",
        defaults.model_dump_json(indent=2, exclude=None if defaults.domain else {"domain"}) + "\n",
    )
    write_json(folder / "model_index.json", _INDEX)


def load_defaults(folder: Path) -> Defaults:
    """What the base model makes when it isn't told otherwise.

    Raises:
        ValueError: `refilm.json` is damaged, or has a number out of bounds; names the file and the key.
    """
    path = folder / "refilm.json"
    return read_config(path, Defaults) if path.is_file() else Defaults()
