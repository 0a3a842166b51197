"""Training the video autoencoder: from small stills to clips with motion, minding detail and what moves."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from refilm.checkpoints import load_autoencoder
from refilm.data import critters
from refilm.encoders import fold
from refilm.pocket.growing import grow
from refilm.pocket.widening import widen
from refilm.settings import Seed, Settings
from refilm.training.batches.curriculum import Lesson, lesson_at
from refilm.training.tasks.task import Reporting

Channels = Annotated[int, Field(ge=1, le=2**16)]


class CropLesson(Lesson):
    """Crops of stills or clips."""

    frames: int = Field(ge=1, le=10_000)
    """Frames of a crop: 1, 9, 17 and so on. The decoder takes an odd number of latent frames in one go."""
    crop: int = Field(ge=8, le=2**14)
    """Height and width of a crop in pixels."""
    objective: Literal["detail", "rms", "psnr"] = "detail"
    """What is made small: absolute and squared errors, more so where there is detail; `rms`, the root of a clip's mean
    squared error, by which a hard clip counts more than an easy one; or minus the `psnr` in hundreds of dB, by which
    all count the same. The two pull with the same force at 27 dB."""
    noise: float = Field(default=0.0, ge=0, le=100)
    """The most noise that the decoder must put up with, in standard deviations of a crop's latents; every crop has its
    own share of it. A transformer never makes quite the latents that an encoder would."""

    @field_validator("frames")
    @classmethod
    def _possible(cls, frames: int) -> int:
        if frames % 8 != 1:
            raise ValueError(f"{frames} frames cannot be decoded in one go; give 1, 9, 17 or another 8k + 1")
        return frames


class AutoencoderSettings(Settings):
    """The autoencoder's shape and the terms of its loss."""

    RENAMED: ClassVar = {"double_share": "double_fraction"}

    size: int = Field(default=critters.SIZE, ge=8, le=2**14)
    """Height and width of the clips that it learns from, in pixels."""
    channels: tuple[Channels, ...] = Field(default=(16, 64, 96), min_length=1)
    """Channels of each resolution, finest first; each further one halves height and width."""
    latent_channels: Channels = 16
    temporal_compression: int = Field(default=4, ge=1, le=64)
    layers: int = Field(default=1, ge=1, le=100)
    norm_groups: Channels = 8
    kl_weight: float = Field(default=5e-4, ge=0, le=1e6)
    """Weight of the divergence from a unit normal, a latent value's mean."""
    detail_weight: float = Field(default=3.0, ge=0, le=1e6)
    """How much more a pixel counts that differs from its surroundings or from the next frame."""
    grown_from: Path | None = None
    """Begin as this trained autoencoder for videos of half the height and width; its folder. None: as nothing."""
    kept_latents: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of how far the latents go from those of `grown_from`, in units of their standard deviation, squared, a
    latent value's mean. A transformer that was trained on those can go on with these."""
    widened_from: Path | None = None
    """Begin as this trained autoencoder with fewer channels, which must divide these; its folder. None: as nothing."""
    decoder_of: Path | None = None
    """Train the decoder alone of this trained autoencoder, whose latents stay as they are; its folder."""
    split: critters.Split = "train"
    """Which subjects it learns from; it is validated on those of `held_out`."""
    double_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of the clips that show two critters."""
    curriculum: tuple[CropLesson, ...]
    seed: Seed = 0

    @model_validator(mode="after")
    def _possible(self) -> "AutoencoderSettings":
        beginnings = [name for name in ("grown_from", "widened_from", "decoder_of") if getattr(self, name)]
        if len(beginnings) > 1:
            raise ValueError(f"{' and '.join(beginnings)} both say what to begin with; leave one of them out")
        if self.kept_latents and not self.grown_from:
            raise ValueError("kept_latents: there are none to keep without grown_from")
        return self


def make_autoencoder(settings: AutoencoderSettings) -> AutoencoderKLCogVideoX:
    """A fresh autoencoder in CogVideoX's class."""
    depth = len(settings.channels)
    config = {
        "down_block_types": ("CogVideoXDownBlock3D",) * depth,
        "up_block_types": ("CogVideoXUpBlock3D",) * depth,
        "block_out_channels": settings.channels,
        "latent_channels": settings.latent_channels,
        "layers_per_block": settings.layers,
        "norm_num_groups": settings.norm_groups,
        "temporal_compression_ratio": settings.temporal_compression,
        "sample_height": settings.size,
        "sample_width": settings.size,
    }
    model = AutoencoderKLCogVideoX.from_config(config)
    assert isinstance(model, AutoencoderKLCogVideoX)
    return model


def whole(autoencoder: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """Set it to take a clip in one go: batches of frames have statistics of their own, and so other latents."""
    autoencoder.num_sample_frames_batch_size = 1 << 20
    autoencoder.num_latent_frames_batch_size = 1 << 20
    return fold(autoencoder)


def detail(video: Tensor) -> Tensor:
    """How much each pixel stands out, in space or time: (B, 3, F, H, W) -> (B, 1, F, H, W), 0..1."""
    around = F.avg_pool3d(video, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False)
    standing_out = (video - around).abs().amax(1, keepdim=True)
    if video.shape[2] > 1:
        change = (video[:, :, 1:] - video[:, :, :-1]).abs().amax(1, keepdim=True)
        change = torch.maximum(F.pad(change, (0, 0, 0, 0, 1, 0)), F.pad(change, (0, 0, 0, 0, 0, 1)))
        standing_out = torch.maximum(standing_out, change)
    return standing_out.clamp(max=1.0)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of values in -1..1."""
    return 10 * (4 / mse).log10()


def _trained(folder: Path) -> AutoencoderKLCogVideoX:
    """A trained autoencoder, which stays as it is."""
    return whole(load_autoencoder(folder, dtype=torch.float32, device="cpu")).requires_grad_(False)


def _begin(settings: AutoencoderSettings, small: AutoencoderKLCogVideoX | None) -> AutoencoderKLCogVideoX:
    """The autoencoder as its training begins."""
    if settings.decoder_of:
        trained = _trained(settings.decoder_of)
        trained.decoder.requires_grad_(True)
        return trained
    model = make_autoencoder(settings)
    if small is not None:
        grow(small, model)
    if settings.widened_from:
        widen(_trained(settings.widened_from), model)
    return model


class AutoencoderTask(Reporting):
    """Trains on critters drawn on the spot."""

    def __init__(self, settings: AutoencoderSettings):
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.small = _trained(settings.grown_from) if settings.grown_from else None
        self.module = whole(_begin(settings, self.small))
        self.held_out = torch.stack([self._clip(10_000_000 + i, critters.FRAMES, "held_out") for i in range(8)])

    def _clip(self, index: int, frames: int, split: critters.Split, *, double_fraction: float = 0.0) -> Tensor:
        """A clip (3, F, H, W) in -1..1; shorter ones begin anywhere in the story."""
        seed = self.settings.seed
        rng = np.random.default_rng((seed, index, 1))
        start = int(rng.integers(0, critters.FRAMES - frames + 1))
        double = np.random.default_rng((seed, index, 3)).random() < double_fraction
        story = (critters.double_story if double else critters.story)(seed, index, split)
        pixels = critters.render(story, rng, size=self.settings.size, start=start, frames=frames)
        return torch.from_numpy(pixels).permute(3, 0, 1, 2) / 127.5 - 1

    def samples(self, step: int) -> range:
        """The numbers of a step's clips."""
        return range(step * 4096, step * 4096 + lesson_at(self.settings.curriculum, step).batch)

    def _batch(self, lesson: CropLesson, samples: range) -> Tensor:
        crops = []
        for index in samples:
            share = self.settings.double_fraction
            clip = self._clip(index, lesson.frames, self.settings.split, double_fraction=share)
            rng = np.random.default_rng((self.settings.seed, index, 2))
            top, left = rng.integers(0, self.settings.size - lesson.crop + 1, size=2)
            crops.append(clip[:, :, top : top + lesson.crop, left : left + lesson.crop])
        return torch.stack(crops)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        lesson, first = lesson_at(self.settings.curriculum, step), self.samples(step).start
        video = self._batch(lesson, samples)
        (posterior,) = self.module.encode(video, return_dict=False)
        draw = torch.Generator().manual_seed(step)
        shape, own = (lesson.batch, *posterior.mean.shape[1:]), [index - first for index in samples]
        latents = posterior.mean + posterior.std * torch.randn(shape, generator=draw)[own]
        if lesson.noise:
            share = torch.rand(lesson.batch, 1, 1, 1, 1, generator=draw)[own]
            spread = posterior.mean.detach().std(dim=(1, 2, 3, 4), keepdim=True)
            latents = latents + lesson.noise * share * spread * torch.randn(shape, generator=draw)[own]
        decoded = self.module.decode(latents, return_dict=False)[0].float()
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        terms = self._errors(decoded, video, lesson) | {"kl": kl}
        if self.small is not None and self.settings.kept_latents:
            moved = self.scale * (posterior.mean.float() - self._latents_of_small(video))
            terms["moved"] = moved.square().mean()
        weights = {"kl": self.settings.kl_weight, "moved": self.settings.kept_latents}
        return {"loss": sum((weights.get(name, 1.0) * term for name, term in terms.items()), torch.zeros(()))} | terms

    def _errors(self, decoded: Tensor, video: Tensor, lesson: CropLesson) -> dict[str, Tensor]:
        """What the lesson makes small, as terms."""
        error = (decoded - video).abs()
        if lesson.objective == "detail":
            weight = 1 + self.settings.detail_weight * detail(video)
            weight = weight / weight.mean()
            return {"l1": (weight * error).mean(), "l2": (weight * error.square()).mean()}
        mse = error.square().mean(dim=(1, 2, 3, 4))
        return {"rms": mse.sqrt().mean()} if lesson.objective == "rms" else {"psnr": -0.01 * psnr(mse).mean()}

    @torch.no_grad()
    def _latents_of_small(self, video: Tensor) -> Tensor:
        """What the autoencoder that this one grew from makes of the video at its own size."""
        assert self.small is not None
        (posterior,) = self.small.encode(F.avg_pool3d(video, (1, 2, 2)), return_dict=False)
        return posterior.mean.float()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        mean = self._held_out_latents()
        decoded = self.module.decode(mean, return_dict=False)[0].clamp(-1, 1)
        mse = (decoded - self.held_out).square().mean(dim=(1, 2, 3, 4))
        return {"psnr": psnr(mse).mean().item(), "latent_std": mean.std().item()}

    @property
    def scale(self) -> float:
        """The factor that brings latents to unit variance; where they are kept, the one that they have already."""
        kept = self.module if self.settings.decoder_of else self.small if self.settings.kept_latents else None
        return 1 / self._held_out_latents().std().item() if kept is None else kept.config["scaling_factor"]

    def _held_out_latents(self) -> Tensor:
        (posterior,) = self.module.encode(self.held_out, return_dict=False)
        return posterior.mean
