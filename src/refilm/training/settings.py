"""Everything that a recipe may say: the settings of data, samples, loss, optimizer, loop, validation and videos.

Declarations only; what they mean is in the packages of `training/`. `refilm recipe STAGE` prints them all.
"""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, field_serializer, field_validator, model_validator

from refilm.checkpoints import LoraSettings
from refilm.data.encoding import EncodeSettings
from refilm.errors import UserError
from refilm.generation.request import BindingName, Request
from refilm.settings import DefaultsFrom, Seed, Settings, shared

SILENT_AFTER, GIVE_UP_AFTER = 60.0, 3600.0  # seconds
Positive = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
Checkpointing = Literal["none", "selective", "full"]
"""What a block keeps for its backward pass: everything; its input and the attention outputs; only its input."""
OF_BASE = ("frames", "fps", "height", "width")
"""Settings of encoding whose defaults are the base model's."""


class DataSettings(Settings):
    """Sources of the clips, and the folder of their encodings."""

    cache: Path = Field(examples=["cache"])
    """Cache folder: written by `refilm data encode`, or filled before the first step from `manifest` or `clips`."""
    held_out: Path | None = None
    """Cache folder of the validation set. Default: at least a tenth of the clips, split by subject."""
    manifest: Path | None = None
    """Checked manifest or folder (`refilm data check`) that is encoded into `cache` before the first step."""
    clips: int | None = Field(default=None, ge=1)
    """Number of training clips of critters that are generated and encoded into `cache` before the first step."""
    held_out_clips: int = Field(default=64, ge=1)
    """Number of validation clips of critters, of held-out subjects."""
    hold_out: Literal["subjects", "combinations"] = "subjects"
    """Which critters are held out: `subjects`, which may differ from training subjects only in the eyes, or
    `combinations`: whole combinations of shape, colors and pattern."""
    double_fraction: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the clips of critters that show two, each with its own motion; see `diffusion.subjects`."""
    classes: bool = False
    """Add a third caption to critters that names the subject's shape, as a caption would name the kind of subject."""
    encode: Annotated[EncodeSettings, DefaultsFrom("the base model's", OF_BASE)] = EncodeSettings()
    """How clips are encoded; frames, fps, height and width default to the base model's."""
    seed: int = Field(default=0, ge=0, lt=2**63 - 1)
    """Random seed of the critters."""

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if self.clips is not None and (self.manifest is not None or self.held_out is not None):
            raise UserError(
                "clips: critters have their own validation set; remove manifest and held_out, or remove clips"
            )
        return self

    @field_serializer("encode")
    def _as_given(self, settings: EncodeSettings) -> dict[str, Any]:
        """Settings that were not given default to the base model's, and so are not written to a recipe either."""
        return settings.model_dump(mode="json", exclude_unset=True)


class Lesson(Settings):
    """One stage of a curriculum."""

    until: int = Field(ge=1, examples=[1000])
    """Training step at which the lesson ends; the last lesson continues to the end of the run."""
    batch: int = Field(ge=1, le=10**6, examples=[16])
    """Batch size: samples per step, over all processes together."""


class ClipLesson(Lesson):
    """A lesson on encoded clips, or on their first frames."""

    latent_frames: int | None = Field(default=None, ge=1)
    """Maximum latent frames of a clip; 1 trains on stills, or a token's latent frames if it covers several. Default:
    all."""


class DropSettings(Settings):
    """How often conditions are dropped, so that a trained transformer learns the predictions that guidance needs."""

    text: float = Field(default=0.0, ge=0, le=1)
    """Probability of dropping only the caption."""
    reference: float = Field(default=0.0, ge=0, le=1)
    """Probability of dropping only the reference image."""
    both: float = Field(default=0.0, ge=0, le=1)
    """Probability of dropping both."""

    @model_validator(mode="after")
    def _possible(self) -> "DropSettings":
        if self.text + self.reference + self.both > 1:
            raise UserError(
                "text, reference and both are probabilities of disjoint events: their sum must not exceed 1"
            )
        return self


class SubjectSettings(Settings):
    """Several subjects in one sample: clips of the same part of the same video, each with its own subject."""

    most: int = Field(default=1, ge=1, le=16)
    """Maximum number of subjects of a sample. Above 1, clips of the same part of the same video become one sample; with
    1, each is a sample of its own."""
    drop: float = Field(default=0.0, ge=0, le=1)
    """Probability that a sample of several subjects drops one of them, so that only the caption describes it."""
    masks: float = Field(default=0.0, ge=0, le=1)
    """Probability that the subjects of a sample are limited to their masks, as masks of generation limit them. A clip
    without a mask is not limited."""
    binding: BindingName = shared(Request, "binding")

    @property
    def split_by(self) -> Literal["subject", "video"]:
        """How validation clips are split off: a video with several subjects must not be divided."""
        return "subject" if self.most == 1 else "video"


class TimestepSettings(Settings):
    """Distribution of the training timesteps."""

    distribution: Literal["uniform", "logit-normal"] = "uniform"
    """`uniform`, or `logit-normal`: more timesteps in the middle (Esser et al. 2024, section 3.1)."""
    mean: float = Field(default=0.0, ge=-20, le=20)
    """Mean of the logit-normal distribution before the sigmoid; larger means more noise."""
    std: float = Field(default=1.0, gt=0, le=20)
    """Standard deviation before the sigmoid; smaller means more timesteps in the middle."""


class StreamSettings(Settings):
    """How training samples are drawn from the encoded clips."""

    RENAMED: ClassVar = {"still_share": "still_fraction"}

    captions: tuple[NonNegativeFloat, ...] | None = None
    """Relative frequencies of a clip's captions, one number per caption. Default: all equal."""
    drop: DropSettings | None = None
    """Probabilities of dropping text and reference. Default: 0 if only the adapter trains, 0.05 each if the
    transformer or LoRA trains too."""
    subjects: SubjectSettings = SubjectSettings()
    timesteps: TimestepSettings = TimestepSettings()
    still_fraction: float = Field(default=0.0, ge=0, le=1)
    """Fraction of batches that consist of stills: of the images among the clips, or, without images, of the first
    frames of clips; a model that also trains on stills keeps them distinct from motion. With 0, images are drawn as
    often as other clips."""
    curriculum: tuple[ClipLesson, ...]
    """Lessons in order; each sets batch size and latent frames until a step."""
    seed: Seed = 0
    """Random seed of the samples and of the initial weights."""

    @field_validator("curriculum")
    @classmethod
    def _learned(cls, lessons: tuple[ClipLesson, ...]) -> tuple[ClipLesson, ...]:
        if not lessons:
            raise UserError("is empty; give at least one lesson")
        return lessons

    @field_validator("captions")
    @classmethod
    def _some(cls, frequencies: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if frequencies is not None and not sum(frequencies) > 0:
            raise UserError("give at least one caption a frequency above 0")
        return frequencies


class LossSettings(Settings):
    """Weighting of the loss."""

    RENAMED: ClassVar = {"mask_share": "mask_fraction"}

    weighting: Literal["uniform", "min-snr"] = "uniform"
    """`uniform`: all timesteps have the same weight; `min-snr`: timesteps with little noise have a smaller weight
    (Hang et al. 2023), and the last one, if the noise schedule ends in pure noise, has none."""
    gamma: float = Field(default=5.0, gt=0, le=1e6)
    """Signal-to-noise ratio above which `min-snr` reduces the weight of a timestep."""
    mask_fraction: float = Field(default=0.0, ge=0, le=1)
    """Weight of the loss inside the subject's mask, from 0 (whole frame) to 1 (mask only); a clip without a mask counts
    as all subject."""


class ValidationSettings(Settings):
    """Validation during a run."""

    samples: int = Field(default=64, ge=8)
    """Number of validation samples; more give smaller standard errors. Each has the same clip, timestep and noise at
    every validation."""
    batch: int | None = Field(default=None, ge=1)
    """Samples computed at once. Default: the last lesson's batch size."""
    stop_if_unused: int = Field(default=0, ge=0)
    """End the run after this many consecutive validations that find that the reference is not used; 0 never ends it."""


class DiffusionSettings(StreamSettings):
    """How samples are drawn, and how they are trained on."""

    loss: LossSettings = LossSettings()
    validation: ValidationSettings = ValidationSettings()
    checkpointing: Checkpointing = "none"
    """Activation checkpointing: what blocks recompute in the backward pass. `none`: nothing; `selective`: all but
    self-attention; `full`: everything. Saves memory and costs time."""
    compile: bool = False
    """Compile the transformer's blocks in the first step (`torch.compile`)."""


class TrainSettings(Settings):
    """Which parameters train."""

    what: Literal["adapter", "all"] = "adapter"
    """`adapter`: only the adapter, on a frozen transformer; `all`: the transformer too."""
    lora: LoraSettings | None = None
    """LoRA on the frozen transformer's linear layers, trained together with the adapter. Default: no LoRA."""
    base_dtype: Literal["fp32", "bf16", "int8"] = "fp32"
    """Storage dtype of the frozen transformer. int8 (torchao) saves memory only with activation checkpointing."""

    @model_validator(mode="after")
    def _possible(self) -> "TrainSettings":
        if self.what == "all" and self.lora is not None:
            raise UserError("lora: needs a frozen transformer, but what = 'all' trains it; remove one of the two")
        if self.what == "all" and self.base_dtype != "fp32":
            raise UserError("base_dtype: trained weights are always fp32; remove it with what = 'all'")
        return self

    @property
    def changes_transformer(self) -> bool:
        """Whether the transformer's own layers change, by training or by LoRA."""
        return self.what == "all" or self.lora is not None


class OptimizerSettings(Settings):
    """Optimizer, learning-rate schedule and moving average."""

    RENAMED: ClassVar = {"decay_share": "decay_fraction"}

    kind: Literal["muon", "adamw", "adamw8bit", "adamw8bit-bitsandbytes"] = "muon"
    """`muon`: Muon for the hidden matrices, AdamW for the rest; `adamw`: AdamW for all; `adamw8bit`: AdamW with 8-bit
    moments (torchao); `adamw8bit-bitsandbytes`: the same by bitsandbytes, on CUDA only."""
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    """Learning rate of AdamW after the warm-up."""
    muon_learning_rate: float = Field(default=5e-3, gt=0, le=10)
    """Learning rate of Muon after the warm-up; at equal rates its updates are about as large as AdamW's (Liu et al.
    2025)."""
    muon_names: str = r"\.\d+\.(?!.*lora_)"
    """Regex of the parameters that Muon optimizes. Default: matrices in numbered layers, without LoRA."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Decoupled weight decay."""
    beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of AdamW's second moment."""
    warm_up: int = Field(default=100, ge=0)
    """Training steps over which the learning rate rises from 0."""
    decay: Literal["linear", "cosine"] = "linear"
    """Shape of the learning-rate decay."""
    decay_fraction: float = Field(default=0.3, ge=0, le=1)
    """Fraction of all steps, at the end, over which the learning rate decays to 0; 1 decays from the first step."""
    clip: float = Field(default=1.0, gt=0)
    """Maximum gradient norm; larger gradients are clipped to it."""
    ema: float = Field(default=0.997, ge=0, lt=1)
    """Decay of the moving average of the weights, which is the result of a run; 0 saves the last weights instead."""

    @field_validator("muon_names")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:  # OverflowError: a count with too many digits
            raise UserError(f"is not a valid regular expression: {error}") from error
        return pattern


class StepSettings(Settings):
    """How a step is computed."""

    steps: int = Field(ge=1, le=10**9, examples=[1000])
    """Total number of optimizer steps."""
    precision: Precision = "auto"
    """Precision of matrix products, also those of the optimizer (with fp16, the optimizer's are fp32 and the loss is
    scaled). Trained weights are always fp32. `auto` is bf16 if the device supports it in hardware, otherwise fp32; set
    one of them for identical training on every machine."""
    accumulate: int = Field(default=1, ge=1, le=10**6)
    """Gradient accumulation: number of parts in which each process computes its batch; more parts need less memory."""
    shard: bool = False
    """Shard weights, gradients and moments over the processes (FSDP2) instead of replicating them (DDP); only for
    train.what = "all"."""
    optimizer: OptimizerSettings = OptimizerSettings()


class LoopSettings(StepSettings):
    """Length, saving and validation of a run."""

    save_every: Positive = 500
    """Training steps between checkpoints."""
    validate_every: Positive = 500
    """Training steps between validations."""
    keep: Positive = 2
    """Number of newest checkpoints to keep."""
    silent_after: float = Field(default=SILENT_AFTER, gt=0, le=10**6)
    """Seconds without a heartbeat from a process after which a warning names it (runs with several processes)."""
    give_up_after: float = Field(default=GIVE_UP_AFTER, gt=0, le=10**6)
    """Seconds without a heartbeat after which the other processes end; the last checkpoint is kept."""


class SampleVideoSettings(Settings):
    """Sample videos that are generated during a run."""

    prompts: tuple[str, ...] = ()
    """Prompts of the sample videos. Default: no videos."""
    references: tuple[Path, ...] = ()
    """Reference images: one per prompt, or one for all. Default: references of the validation set."""
    every: int = Field(default=1, ge=1)
    """Number of validations between sample videos; the last validation always has videos."""
    steps: int | None = Field(default=None, ge=1, le=999)
    """Number of sampler steps. Default: the base model's."""
    frames: int | None = Field(default=None, ge=1, le=10**6)
    """Frames of a video. Default: those of the last lesson's clips."""
    height: int | None = Field(default=None, ge=1, le=10**6)
    """Height in pixels. Default: that of the most frequent size of training clips."""
    width: int | None = Field(default=None, ge=1, le=10**6)
    """Width in pixels. Default: that of the most frequent size of training clips."""
    seed: Seed = 0
    """Seed of the first video; each further prompt adds one."""
