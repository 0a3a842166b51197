"""Recipes of the pocket model's encoders: the video autoencoder, and the text and image encoders."""

from collections.abc import Generator, Mapping
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from refilm.backbones.cogvideox.autoencoder import save_autoencoder
from refilm.data.encoding import EncodeProgress
from refilm.errors import UserError
from refilm.files import atomic_folder
from refilm.pocket.autoencoder import AutoencoderSettings, AutoencoderTask
from refilm.pocket.contrastive import EncodersSettings, EncodersTask
from refilm.settings import Settings
from refilm.training.checks import require_delivery, require_steps
from refilm.training.settings import LoopSettings
from refilm.weights.tensors import saving

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class AutoencoderRecipe(Settings):
    """Trains the video autoencoder on critters."""

    stage: Literal["autoencoder"]
    """What is trained; selects the settings of this file."""
    out: Path = Field(examples=["base"])
    """Folder of the base model; the autoencoder is written to its `vae/`."""
    autoencoder: AutoencoderSettings
    loop: LoopSettings

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible; no clips need encoding."""
        require_delivery(self.out / "vae")
        require_steps(self.loop, self.autoencoder.curriculum)
        return (made for made in ())

    def notes(self) -> tuple[str, ...]:
        """No notes."""
        return ()

    def sample_videos(self, task: AutoencoderTask, folder: Path) -> None:
        """No sample videos: this stage generates none."""

    def evaluation(self, task: AutoencoderTask, folder: Path) -> None:
        """No suite is scored: this stage generates no videos."""

    def task(self) -> AutoencoderTask:
        """The task that the loop trains."""
        return AutoencoderTask(self.autoencoder)

    def deliver(self, task: AutoencoderTask, facts: Mapping[str, Any]) -> Path:
        """Save the autoencoder with the factor that scales its latents to unit variance."""
        task.module.scaling_factor = task.scale
        save_autoencoder(task.module.half(), self.out / "vae")
        return self.out / "vae"


class EncodersRecipe(Settings):
    """Trains the text and image encoders on critters."""

    stage: Literal["encoders"]
    """What is trained; selects the settings of this file."""
    out: Path = Field(examples=["base"])
    """Folder of the base model; the encoders are written to its `text_encoder/`, `tokenizer/`, `image_encoder/` and
    `image_processor/`."""
    encoders: EncodersSettings
    loop: LoopSettings

    @model_validator(mode="after")
    def _possible(self) -> "EncodersRecipe":
        if self.loop.accumulate > 1:
            raise UserError("loop.accumulate: all pairs of a batch are compared at once; remove this setting")
        return self

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible; no clips need encoding."""
        for name in ("text_encoder", "tokenizer", "image_encoder", "image_processor"):
            require_delivery(self.out / name)
        require_steps(self.loop, ())
        return (made for made in ())

    def notes(self) -> tuple[str, ...]:
        """No notes."""
        return ()

    def sample_videos(self, task: EncodersTask, folder: Path) -> None:
        """No sample videos: this stage generates none."""

    def evaluation(self, task: EncodersTask, folder: Path) -> None:
        """No suite is scored: this stage generates no videos."""

    def task(self) -> EncodersTask:
        """The task that the loop trains."""
        return EncodersTask(self.encoders)

    def deliver(self, task: EncodersTask, facts: Mapping[str, Any]) -> Path:
        """Save both encoders, the tokenizer and the image processor."""
        for made in Path(task.kept.name).iterdir():
            with atomic_folder(self.out / made.name, "*") as temporary:
                copytree(made, temporary, dirs_exist_ok=True)
        _save_half(task.module.text, self.out / "text_encoder")
        _save_half(task.module.image, self.out / "image_encoder")
        return self.out


def _save_half(model: "PreTrainedModel", folder: Path) -> None:
    """Save an encoder in half precision; other files in the folder are kept."""
    with atomic_folder(folder, "config.json", "*.safetensors*") as temporary, saving(folder):
        model.half().save_pretrained(temporary)
