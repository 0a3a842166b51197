"""Recipes: what `refilm train` can do, each a TOML file. A recipe makes its task and delivers what was trained."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from diffusers import AutoencoderKLCogVideoX
from pydantic import Field, TypeAdapter, ValidationError

from refilm.checkpoints import (
    Defaults,
    begin_base,
    fingerprint,
    load_base,
    load_encoders,
    load_schedule,
    save_adapter,
    save_transformer,
)
from refilm.data.encoded import EncodedSet, encode
from refilm.data.samples import Critters, Files, Source
from refilm.encoders import Encoders
from refilm.model import Adapter, Transformer
from refilm.settings import Settings, explain, read_toml
from refilm.sizes import AdapterSize, TransformerSize
from refilm.training.autoencoder import AutoencoderSettings, AutoencoderTask
from refilm.training.contrastive import EncodersSettings, EncodersTask
from refilm.training.diffusion import DiffusionSettings, DiffusionTask
from refilm.training.loop import LoopSettings
from refilm.training.parallel import place

CPU = torch.device("cpu")


class DataSettings(Settings):
    """Where the clips come from, and where their encodings are kept."""

    cache: Path
    """Folder of the encoded clips; encoded once, then read."""
    folder: Path | None = None
    """Your clips: a folder with videos/, labels/ and ref_images/, or a manifest; none: critters."""
    clips: int = 8192
    """Clips of critters to learn from."""
    held_out_clips: int = 64
    """Clips of critters for validation, of subjects that are not learned from."""
    seed: int = 0

    def sources(self, *, frames: int, height: int, width: int) -> tuple[Source, Source]:
        """What to learn from, and what to validate on."""
        if self.folder is not None:
            return Files.split(self.folder, frames=frames, height=height, width=width)
        return (
            Critters(self.clips, "train", self.seed, size=height),
            Critters(self.held_out_clips, "held_out", self.seed + 1, size=height),
        )


class AutoencoderRecipe(Settings):
    """Trains the video autoencoder on critters."""

    stage: Literal["autoencoder"]
    out: Path
    """The base model's folder; the autoencoder is delivered in vae/."""
    autoencoder: AutoencoderSettings
    loop: LoopSettings

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Nothing needs to be encoded."""
        return iter(())

    def task(self) -> AutoencoderTask:
        """What the loop trains."""
        return AutoencoderTask(self.autoencoder)

    def deliver(self, task: AutoencoderTask) -> Path:
        """Save the autoencoder with the factor that brings its latents to unit variance."""
        model: AutoencoderKLCogVideoX = task.module
        model.register_to_config(scaling_factor=1 / task.latent_std())
        model.half().save_pretrained(self.out / "vae")
        return self.out / "vae"


class EncodersRecipe(Settings):
    """Trains the text and image encoders on critters."""

    stage: Literal["encoders"]
    out: Path
    """The base model's folder; delivered in text_encoder/, tokenizer/, image_encoder/, image_processor/."""
    encoders: EncodersSettings
    loop: LoopSettings

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Nothing needs to be encoded."""
        return iter(())

    def task(self) -> EncodersTask:
        """What the loop trains."""
        return EncodersTask(self.encoders, self.out)

    def deliver(self, task: EncodersTask) -> Path:
        """Save both encoders; the tokenizer and the image processor are there already."""
        task.module.text.half().save_pretrained(self.out / "text_encoder")
        task.module.image.half().save_pretrained(self.out / "image_encoder")
        return self.out


class _OnEncodedClips(Settings):
    """What both diffusion recipes share: clips are encoded by the base model's encoders, then learned from."""

    data: DataSettings
    frames: int = 17
    height: int = 32
    width: int = 32
    diffusion: DiffusionSettings
    loop: LoopSettings

    def encode(self, encoders: Encoders) -> Iterator[tuple[int, int]]:
        """Encode what is not encoded yet, yielding (clips done, clips in all)."""
        identity = " ".join(fingerprint(e.model) for e in (encoders.autoencoder, encoders.text, encoders.image))
        sources = self.data.sources(frames=self.frames, height=self.height, width=self.width)
        rank, ranks = place()
        for source, name in zip(sources, ("train", "held_out"), strict=True):
            folder = self.data.cache / name
            yield from encode(source, encoders, folder, encoder_identity=identity, rank=rank, ranks=ranks)

    def encoded(self) -> tuple[EncodedSet, EncodedSet]:
        """The encoded clips: to learn from, and to validate on."""
        return EncodedSet(self.data.cache / "train"), EncodedSet(self.data.cache / "held_out")


class BaseRecipe(_OnEncodedClips):
    """Trains a text-to-video transformer from nothing."""

    stage: Literal["base"]
    base: Path
    """The base model's folder: has the encoders and the schedule, gets transformer/."""
    size: TransformerSize
    snr_shift: float = 1.0
    """Of the noise schedule: 1 for latents as small as the pocket model's, 3 for CogVideoX-2B."""
    defaults: Defaults
    """What the finished model makes when it isn't told otherwise."""

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Lay out the base model's folder and encode the clips."""
        if place().first:
            begin_base(self.base, self.defaults, snr_shift=self.snr_shift)
        encoders = load_encoders(self.base, text_length=self.size.text_length, device=CPU, dtype=torch.float32)
        yield from self.encode(encoders)

    def task(self) -> DiffusionTask:
        """What the loop trains."""
        torch.manual_seed(self.diffusion.seed)
        train, held_out = self.encoded()
        schedule = load_schedule(self.base / "scheduler")
        transformer = Transformer(self.size)
        return DiffusionTask(self.diffusion, transformer, schedule, adapter=None, train=train, held_out=held_out)

    def deliver(self, task: DiffusionTask) -> Path:
        """Save the transformer in the base model's folder."""
        save_transformer(task.transformer, self.base / "transformer", dtype=torch.float16, frames=self.frames)
        return self.base / "transformer"


class AdapterRecipe(_OnEncodedClips):
    """Trains an adapter on a frozen base model."""

    stage: Literal["adapter"]
    base: str = "pocket"
    """The base model: `pocket` or a folder."""
    out: Path
    """The folder of the finished adapter."""
    query_norm: bool = True
    """Normalize video tokens before they ask the reference; the published form does not."""

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Encode the clips."""
        base = load_base(self.base, device="cpu", dtype="float32")
        yield from self.encode(base.encoders)

    def task(self) -> DiffusionTask:
        """What the loop trains."""
        torch.manual_seed(self.diffusion.seed)
        train, held_out = self.encoded()
        base = load_base(self.base, device="cpu", dtype="float32")
        reference_dim = base.encoders.image.model.config.hidden_size
        adapter = Adapter(
            AdapterSize.of(base.transformer.size, reference_dim=reference_dim, query_norm=self.query_norm)
        )
        return DiffusionTask(
            self.diffusion, base.transformer, base.schedule, adapter=adapter, train=train, held_out=held_out
        )

    def deliver(self, task: DiffusionTask) -> Path:
        """Save the adapter as a folder that `refilm generate --adapter` takes."""
        assert task.adapter is not None
        facts = {"recipe": self.model_dump(mode="json"), "scores": task.validate()}
        save_adapter(task.adapter, self.out, base_fingerprint=fingerprint(task.transformer), facts=facts)
        return self.out


Recipe = Annotated[AutoencoderRecipe | EncodersRecipe | BaseRecipe | AdapterRecipe, Field(discriminator="stage")]


def read_recipe(
    path: Path, changes: Mapping[str, Any] | None = None
) -> AutoencoderRecipe | EncodersRecipe | BaseRecipe | AdapterRecipe:
    """Read a recipe.

    Args:
        path: a TOML file.
        changes: values by dotted name, such as "loop.steps", that take the place of the file's.

    Raises:
        ValueError: the file is missing, is not TOML, or holds an unknown or impossible setting; says which.
    """
    try:
        return TypeAdapter(Recipe).validate_python(changed(read_toml(path), changes or {}))
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested tables in which some values, by dotted name, are others.

    Raises:
        ValueError: a name leads through something that is no table.
    """
    copy = dict(values)
    for name, value in changes.items():
        key, _, rest = name.partition(".")
        if rest:
            table = copy.get(key, {})
            if not isinstance(table, Mapping):
                raise ValueError(f"{name}: {key} is {table!r}, no table of settings; change it as a whole")
            value = changed(table, {rest: value})
        copy[key] = value
    return copy
