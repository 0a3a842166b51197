"""Recipes of the pocket model's encoders: its video autoencoder, and its text and image encoders."""

from collections.abc import Generator, Mapping
from pathlib import Path
from shutil import copytree
from typing import Any, Literal

from diffusers import AutoencoderKLCogVideoX, ModelMixin
from pydantic import model_validator
from transformers import PreTrainedModel

from refilm.data.encoding import EncodeProgress
from refilm.files import atomic_folder
from refilm.pocket.autoencoder import AutoencoderSettings, AutoencoderTask
from refilm.pocket.contrastive import EncodersSettings, EncodersTask
from refilm.settings import Settings
from refilm.training.checks import require_delivery, require_steps
from refilm.training.engine.loop import LoopSettings
from refilm.weights.tensors import saving


class AutoencoderRecipe(Settings):
    """Trains the video autoencoder on critters."""

    stage: Literal["autoencoder"]
    out: Path
    """The base model's folder; the autoencoder is delivered in vae/."""
    autoencoder: AutoencoderSettings
    loop: LoopSettings

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """See whether the run is possible; nothing needs to be encoded."""
        require_delivery(self.out / "vae")
        require_steps(self.loop, self.autoencoder.curriculum)
        return (made for made in ())

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def sample_videos(self, task: AutoencoderTask, folder: Path) -> None:
        """None."""

    def task(self) -> AutoencoderTask:
        """What the loop trains."""
        return AutoencoderTask(self.autoencoder)

    def deliver(self, task: AutoencoderTask, facts: Mapping[str, Any]) -> Path:
        """Save the autoencoder with the factor that brings its latents to unit variance."""
        model: AutoencoderKLCogVideoX = task.module
        model.register_to_config(scaling_factor=task.scale)
        _save_half(model, self.out / "vae")
        return self.out / "vae"


class EncodersRecipe(Settings):
    """Trains the text and image encoders on critters."""

    stage: Literal["encoders"]
    out: Path
    """The base model's folder; delivered in text_encoder/, tokenizer/, image_encoder/, image_processor/."""
    encoders: EncodersSettings
    loop: LoopSettings

    @model_validator(mode="after")
    def _possible(self) -> "EncodersRecipe":
        if self.loop.accumulate > 1:
            raise ValueError("loop.accumulate: all pairs of a batch are compared at once; leave it out")
        return self

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """See whether the run is possible; nothing needs to be encoded."""
        for name in ("text_encoder", "tokenizer", "image_encoder", "image_processor"):
            require_delivery(self.out / name)
        require_steps(self.loop, ())
        return (made for made in ())

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def sample_videos(self, task: EncodersTask, folder: Path) -> None:
        """None."""

    def task(self) -> EncodersTask:
        """What the loop trains."""
        return EncodersTask(self.encoders)

    def deliver(self, task: EncodersTask, facts: Mapping[str, Any]) -> Path:
        """Save both encoders, the tokenizer and the image processor."""
        for made in Path(task.kept.name).iterdir():
            with atomic_folder(self.out / made.name, "*") as temporary:
                copytree(made, temporary, dirs_exist_ok=True)
        _save_half(task.module.text, self.out / "text_encoder")
        _save_half(task.module.image, self.out / "image_encoder")
        return self.out


def _save_half(model: ModelMixin | PreTrainedModel, folder: Path) -> None:
    """A library's model in half precision; other files in the folder stay."""
    with atomic_folder(folder, "config.json", "*.safetensors*") as temporary, saving(folder):
        model.half().save_pretrained(temporary)
