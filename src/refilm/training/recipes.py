"""Recipes of the stages `base` and `adapter`. A recipe creates its task and saves the trained weights."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import torch
from pydantic import Field, model_validator

from refilm.backbones import BackboneSize, family_of
from refilm.checkpoints import (
    Base,
    Defaults,
    TunedAdapter,
    copy_base,
    create_base,
    fingerprint,
    image_encoder_of,
    load_base,
    load_encoders,
    open_source,
    save_adapter,
    save_transformer,
    whole_base,
)
from refilm.data.encoding import EncodeProgress
from refilm.diffusion import scaled_linear
from refilm.errors import UserError
from refilm.geometry import AdapterSize, Geometry
from refilm.media.preprocessing import HiddenState, ImagePreprocessing
from refilm.model import Adapter, Backbone
from refilm.settings import Settings, shared
from refilm.training.batches.datasets import DataSets
from refilm.training.checks import require_delivery, require_fitting, require_steps, require_whole_tokens
from refilm.training.distributed.parallel import own_device, place, wait_for_all
from refilm.training.monitor.evaluation import Evaluation
from refilm.training.monitor.sample_videos import SampleVideos, prepare, require_sample_videos
from refilm.training.settings import DataSettings, DiffusionSettings, LoopSettings, SampleVideoSettings, TrainSettings
from refilm.training.tasks.diffusion import DiffusionTask
from refilm.training.tasks.task import Task
from refilm.training.tasks.warm_start import initial_adapter, initial_transformer, require_adapter, require_transformer

T = TypeVar("T", bound=Task)


class Recipe(Protocol[T]):
    """The interface of recipes. A recipe derives from `Settings` and is written to TOML."""

    @property
    def stage(self) -> str:
        """Name of the recipe class, see `refilm.recipes.STAGES`."""
        ...

    @property
    def loop(self) -> LoopSettings:
        """Settings of the training loop."""
        ...

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """As `Settings.from_values`."""
        ...

    def to_values(self) -> dict[str, Any]:
        """As `Settings.to_values`."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Notes for the user that are printed before the run, in sentences."""
        ...

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible. The returned generator encodes the clips that are not encoded yet.

        Raises:
            UserError: the run is not possible.
        """
        ...

    def task(self) -> T:
        """Create the task that the loop trains."""
        ...

    def sample_videos(self, task: T, folder: Path) -> SampleVideos | None:
        """What generates videos at validations; None: no videos."""
        ...

    def evaluation(self, task: T, folder: Path) -> Evaluation | None:
        """What scores a suite at validations; None: no suite is scored."""
        ...

    def deliver(self, task: T, facts: Mapping[str, Any]) -> Path:
        """Save the trained weights to the recipe's output folder, and return its path.

        Args:
            task: with its averaged weights in place.
            facts: about the run, for a model card.
        """
        ...


class BaseRecipe(Settings):
    """Trains a text-to-video transformer, from scratch or from another base model."""

    RENAMED: ClassVar = {"begin_from": "init_from"}

    stage: Literal["base"]
    """What is trained; selects the settings of this file."""
    base: Path = Field(examples=["base"])
    """Folder of the base model: contains the encoders and the noise schedule; transformer/ is written to it."""
    size: BackboneSize
    init_from: str | None = None
    """Base model whose transformer initializes this one: `pocket`, a folder or a Hub id. Default: random weights."""
    snr_shift: float = Field(default=1.0, gt=0, le=1000)
    """SNR shift of the noise schedule: 1 for small latents as in the pocket model, 3 for CogVideoX-2B."""
    defaults: Defaults
    """Default frames, size, sampler steps and guidance of the finished model."""
    data: DataSettings
    diffusion: DiffusionSettings
    loop: LoopSettings

    def notes(self) -> tuple[str, ...]:
        """No notes."""
        return ()

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible. The returned generator creates the base's folder and encodes the clips."""
        require_delivery(self.base / "transformer")
        require_steps(self.loop, self.diffusion.curriculum)
        require_whole_tokens(self.diffusion.curriculum, self.size)
        self._require_initial()
        encoders = load_encoders(self.base, self.size, device=own_device(), dtype=torch.float32)
        return self._laid_out(DataSets(self.data).prepare(encoders, self.defaults, tokens=self.size.text_length))

    def _laid_out(self, encodings: Generator[EncodeProgress, None, None]) -> Generator[EncodeProgress, None, None]:
        if place().first:
            create_base(self.base, self.defaults, self.size, snr_shift=self.snr_shift)
        wait_for_all()
        yield from encodings

    def task(self, within: AbstractContextManager[Any] | None = None) -> DiffusionTask:
        """The task that the loop trains. With `within` (a context such as device `meta`): a task without weights."""
        self._require_initial()
        torch.manual_seed(self.diffusion.seed)
        train, held_out = DataSets(self.data).encoded(self.size, by=self.diffusion.subjects.split_by)
        schedule = scaled_linear(snr_shift=self.snr_shift)  # as the folder has it once it is laid out
        with within or nullcontext():
            transformer = family_of(self.size).create(self.size) if within else self._initial().to(own_device())
            return DiffusionTask(
                self.diffusion,
                transformer,
                schedule,
                adapter=None,
                train=train,
                held_out=held_out,
                base_source=str(self.base),
            )

    def _initial(self) -> Backbone:
        return family_of(self.size).create(self.size) if self.init_from is None else initial_transformer(self.init_from)

    def _require_initial(self) -> None:
        if self.init_from is not None:
            require_transformer(self.init_from, self.size)

    def sample_videos(self, task: DiffusionTask, folder: Path) -> None:
        """None: without an adapter there are no sample videos."""

    def evaluation(self, task: DiffusionTask, folder: Path) -> Evaluation | None:
        """None: suites are for models that read references."""

    def deliver(self, task: DiffusionTask, facts: Mapping[str, Any]) -> Path:
        """Save the transformer in the base model's folder."""
        frames = self.defaults.frames
        save_transformer(task.transformer, self.base / "transformer", dtype=torch.float16, frames=frames)
        return self.base / "transformer"


class AdapterRecipe(Settings):
    """Trains an adapter on a frozen base model, or together with it."""

    RENAMED: ClassVar = {"begin_from": "init_from", "films": "videos"}

    stage: Literal["adapter"]
    """What is trained; selects the settings of this file."""
    base: str = "pocket"
    """Base model: `pocket`, a folder or a Hub id."""
    out: Path = Field(examples=["adapter"])
    """Output folder of the adapter; with train.what = "all", of a complete base model that contains the adapter."""
    query_norm: bool = True
    """Normalize video tokens before the reference attention. An adapter with this norm cannot be converted to SAT."""
    hidden_state: HiddenState = shared(ImagePreprocessing, "hidden_state")
    image_encoder: str | None = shared(ImagePreprocessing, "image_encoder")
    init_from: Path | None = None
    """Adapter that initializes this one: `pocket`, a folder or a Hub id; its base model must have the same size.
    Default: a new adapter, whose output layers start at zero."""
    train: TrainSettings = TrainSettings()
    data: DataSettings
    diffusion: DiffusionSettings
    videos: SampleVideoSettings = SampleVideoSettings()
    loop: LoopSettings

    @model_validator(mode="after")
    def _possible(self) -> "AdapterRecipe":
        if self.train.base_dtype != "fp32" and self.loop.precision == "fp32":
            raise UserError(
                "train.base_dtype: loop.precision fp32 needs weights in fp32; remove one of the two settings"
            )
        return self

    def notes(self) -> tuple[str, ...]:
        """Restrictions on the use of the trained adapter."""
        source = open_source(self.base, weights=False)
        native = source.family.native
        if native is None or not self.query_norm or not native.can_contain(source.size):
            return ()
        return (
            f"query_norm = true: this adapter cannot be converted to {native.NAME}; set query_norm = false if you "
            "need that",
        )

    @property
    def preprocessing(self) -> ImagePreprocessing:
        """How the adapter reads images."""
        return ImagePreprocessing.within(self)

    def open_base(self, dtype: str, device: torch.device) -> Base:
        """The base model, set to encode images as the adapter requires; its parts are loaded on first use."""
        base = load_base(self.base, device=str(device), dtype=dtype, memory="low")
        base.read_images_with(self.preprocessing)
        return base

    def prepare(self) -> Generator[EncodeProgress, None, None]:
        """Check that the run is possible. The returned generator encodes the clips that are not encoded yet."""
        require_delivery(self.out)
        require_steps(self.loop, self.diffusion.curriculum)
        if self.train.what == "all":
            whole_base(self.base)
        base = self.open_base("float32", own_device())
        require_whole_tokens(self.diffusion.curriculum, base.size)
        with torch.device("meta"):  # only to check shapes
            require_fitting(self._fresh(AdapterSize.of(base.size)), base.size, self.train.base_dtype)
        self._require_initial(base.size)
        require_sample_videos(self.videos, base)
        return DataSets(self.data).prepare(base.encoders, base.defaults, tokens=base.size.text_length)

    def task(self, within: AbstractContextManager[Any] | None = None) -> DiffusionTask:
        """The task that the loop trains. With `within` (a context such as device `meta`): a task without weights."""
        torch.manual_seed(self.diffusion.seed)
        dtype = "float32" if self.train.base_dtype == "fp32" else "bfloat16"
        base = self.open_base(dtype, own_device())
        self._require_initial(base.size)
        train, held_out = DataSets(self.data).encoded(base.size, by=self.diffusion.subjects.split_by)
        reference_dim = train[0].references.shape[-1]
        size = AdapterSize.of(base.size, reference_dim=reference_dim, query_norm=self.query_norm)
        with within or nullcontext():
            adapter = self._fresh(size) if within else self._initial(size)
            transformer = _shape(base) if within else base.transformer
            return DiffusionTask(
                self.diffusion,
                transformer,
                base.schedule,
                adapter=adapter,
                train=train,
                held_out=held_out,
                training=self.train,
                base_source=self.base,
                base_fingerprint=None if within else base.fingerprint(),
            )

    def _fresh(self, size: AdapterSize) -> Adapter:
        lora = self.train.lora
        return Adapter(size) if lora is None else TunedAdapter(size, lora, name="train.lora")

    def _initial(self, size: AdapterSize) -> Adapter:
        return self._fresh(size) if self.init_from is None else initial_adapter(self.init_from, size)

    def _require_initial(self, size: Geometry) -> None:
        if self.init_from is not None:
            require_adapter(
                self.init_from,
                size,
                query_norm=self.query_norm,
                preprocessing=self.preprocessing,
                lora=self.train.lora,
            )

    def sample_videos(self, task: DiffusionTask, folder: Path) -> SampleVideos | None:
        """What generates the videos of the setting `videos`."""
        if not self.videos.prompts:
            return None
        dtype = str(task.transformer.dtype).removeprefix("torch.")
        return prepare(
            self.videos,
            self.open_base(dtype, task.device),
            task.transformer,
            adapter=task.adapter,
            held_out=task.held_out,
            learned=task.stream.most(),
            folder=folder,
            autocast=task.autocast,
        )

    def evaluation(self, task: DiffusionTask, folder: Path) -> Evaluation | None:
        """None: the recipe of `refilm.evaluation` scores a suite."""

    def deliver(self, task: DiffusionTask, facts: Mapping[str, Any]) -> Path:
        """Save the adapter as a folder for `refilm generate --adapter`, or the complete model as one for `--base`.

        The model card is generated from the facts.
        """
        assert task.adapter is not None
        folder = self.out
        if self.train.what == "all":
            folder = self.out / "adapter"
            copy_base(whole_base(self.base), self.out)
            frames = self.open_base("float32", own_device()).defaults.frames
            save_transformer(task.transformer, self.out / "transformer", dtype=torch.float16, frames=frames)
        save_adapter(
            task.adapter,
            folder,
            base_fingerprint=task.base_fingerprint if self.train.what == "adapter" else fingerprint(task.transformer),
            facts=dict(facts),
            preprocessing=self.preprocessing.model_copy(
                update={"image_encoder": self.image_encoder or image_encoder_of(self.base)}
            ),
        )
        return self.out


def _shape(base: Base) -> Backbone:
    """A transformer of the base's size and dtype, without reading its weights. Fake modules do not support `.to`."""
    transformer = base.create()
    for weight in transformer.parameters():
        weight.data = weight.data.to(base.dtype)
    return transformer
