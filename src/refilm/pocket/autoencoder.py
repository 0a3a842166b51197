"""Trains the video autoencoder: from small stills to clips with motion, with more weight on details and motion.

Knows critters, the data set, but nothing of the training loop.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderSize, Posterior, load_autoencoder
from refilm.data import critters
from refilm.errors import UserError
from refilm.pocket.growing import grow
from refilm.pocket.widening import widen
from refilm.settings import Seed, Settings
from refilm.training.batches.curriculum import lesson_at
from refilm.training.engine.precision import products_in
from refilm.training.settings import Lesson
from refilm.training.tasks.task import Reporting

Channels = Annotated[int, Field(ge=1, le=2**16)]


class CropLesson(Lesson):
    """A lesson on crops of stills or clips."""

    frames: int = Field(ge=1, le=10_000, examples=[9])
    """Frames of a crop: 1, 9, 17 or another 8k + 1, so that the decoder takes the latents in one pass."""
    crop: int = Field(ge=8, le=2**14, examples=[32])
    """Height and width of a crop in pixels."""
    objective: Literal["detail", "rms", "psnr"] = "detail"
    """Reconstruction loss. `detail`: absolute and squared errors, weighted more where there is detail. `rms`: the root
    of a clip's mean squared error; clips that are hard to reconstruct weigh more. `psnr`: minus the PSNR in hundreds of
    dB; all clips weigh the same. The gradients of `rms` and `psnr` are equal at 27 dB."""
    noise: float = Field(default=0.0, ge=0, le=100)
    """Largest standard deviation of the noise that is added to a crop's latents before decoding, in standard deviations
    of these latents; each crop gets a random fraction of it. Larger values make the decoder more tolerant of a
    transformer's inexact latents and its reconstructions less sharp."""

    @field_validator("frames")
    @classmethod
    def _possible(cls, frames: int) -> int:
        if frames % 8 != 1:
            raise UserError(f"{frames} frames cannot be decoded in one pass; use 1, 9, 17 or another 8k + 1")
        return frames


class AutoencoderSettings(Settings):
    """The autoencoder's architecture and the terms of its loss."""

    RENAMED: ClassVar = {"double_share": "double_fraction"}

    size: int = Field(default=critters.SIZE, ge=8, le=2**14)
    """Height and width of the training clips in pixels."""
    channels: tuple[Channels, ...] = Field(default=(16, 64, 96), min_length=1)
    """Channels of each resolution, finest first; each further entry halves height and width."""
    latent_channels: Channels = 16
    """Channels of a latent; more keep more detail and are harder to generate."""
    temporal_compression: int = Field(default=4, ge=1, le=64)
    """Frames per latent frame, after the first."""
    layers: int = Field(default=1, ge=1, le=100)
    """Residual layers per resolution."""
    norm_groups: Channels = 8
    """Groups of the group norms."""
    kl_weight: float = Field(default=5e-4, ge=0, le=1e6)
    """Weight of the KL divergence from a unit normal, averaged over the latent values."""
    detail_weight: float = Field(default=3.0, ge=0, le=1e6)
    """Extra weight of pixels that differ from their surroundings or the neighboring frames; 0 weights all equally."""
    grown_from: Path | None = None
    """Folder of a trained autoencoder for videos of half the height and width, to start from. Default: random
    weights."""
    kept_latents: float = Field(default=0.0, ge=0, le=1e6)
    """Weight of the mean squared distance of the latents from those of `grown_from`, in units of their standard
    deviation. A larger value keeps the latents closer, so that a transformer trained on the old ones stays usable."""
    widened_from: Path | None = None
    """Folder of a trained autoencoder with fewer channels, which must divide `channels`, to start from. Default: random
    weights."""
    decoder_of: Path | None = None
    """Folder of a trained autoencoder of which only the decoder is trained; its latents do not change. Default: train
    encoder and decoder."""
    split: critters.Split = "train"
    """Split of the training subjects; validation uses `held_out`."""
    double_fraction: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the clips that show two critters."""
    curriculum: tuple[CropLesson, ...]
    """The lessons, in order."""
    seed: Seed = 0
    """Seed of the weights and of the training clips."""

    @model_validator(mode="after")
    def _possible(self) -> "AutoencoderSettings":
        sources = [name for name in ("grown_from", "widened_from", "decoder_of") if getattr(self, name)]
        if len(sources) > 1:
            raise UserError(f"{' and '.join(sources)} are both set; set only one, the autoencoder to start from")
        if self.kept_latents and not self.grown_from:
            raise UserError(
                "kept_latents: requires grown_from, the autoencoder whose latents are kept; set it or remove this"
            )
        return self


def make_autoencoder(settings: AutoencoderSettings) -> Autoencoder:
    """A fresh autoencoder."""
    return Autoencoder(
        AutoencoderSize(
            channels=settings.channels,
            latent_channels=settings.latent_channels,
            layers=settings.layers,
            norm_groups=settings.norm_groups,
            temporal_compression=settings.temporal_compression,
            height=settings.size,
            width=settings.size,
        )
    )


def detail(video: Tensor) -> Tensor:
    """How much each pixel stands out, in space or time: (B, 3, F, H, W) -> (B, 1, F, H, W), 0..1."""
    around = F.avg_pool3d(video, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False)
    contrast = (video - around).abs().amax(1, keepdim=True)
    if video.shape[2] > 1:
        change = (video[:, :, 1:] - video[:, :, :-1]).abs().amax(1, keepdim=True)
        change = torch.maximum(F.pad(change, (0, 0, 0, 0, 1, 0)), F.pad(change, (0, 0, 0, 0, 0, 1)))
        contrast = torch.maximum(contrast, change)
    return contrast.clamp(max=1.0)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of values in -1..1."""
    return 10 * (4 / mse).log10()


def _trained(folder: Path) -> Autoencoder:
    """Load a trained autoencoder, frozen."""
    return load_autoencoder(folder, dtype=torch.float32, device="cpu").requires_grad_(False)


def _initial(settings: AutoencoderSettings, small: Autoencoder | None) -> Autoencoder:
    """The autoencoder before its first step."""
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
    """Trains on critters that are drawn on the fly."""

    products = torch.float32

    def __init__(self, settings: AutoencoderSettings):
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.small = _trained(settings.grown_from) if settings.grown_from else None
        self.module = _initial(settings, self.small)
        self.held_out = self._held_out_clips(double_fraction=0.0)
        self.held_out_doubles = self._held_out_clips(double_fraction=1.0) if settings.double_fraction else None

    def _held_out_clips(self, *, double_fraction: float) -> Tensor:
        """The clips of the validation, (8, 3, F, H, W)."""
        numbers = range(10_000_000, 10_000_008)
        clips = [self._clip(i, critters.FRAMES, "held_out", double_fraction=double_fraction) for i in numbers]
        return torch.stack(clips)

    def _clip(self, index: int, frames: int, split: critters.Split, *, double_fraction: float = 0.0) -> Tensor:
        """A clip (3, F, H, W) in -1..1; a shorter one starts anywhere in the story."""
        seed = self.settings.seed
        rng = np.random.default_rng((seed, index, 1))
        start = int(rng.integers(0, critters.FRAMES - frames + 1))
        double = np.random.default_rng((seed, index, 3)).random() < double_fraction
        story = (critters.double_story if double else critters.story)(seed, index, split)
        pixels = critters.render(story, rng, size=self.settings.size, start=start, frames=frames)
        return torch.from_numpy(pixels).permute(3, 0, 1, 2) / 127.5 - 1

    def samples(self, step: int) -> range:
        """The indices of a step's clips."""
        return range(step * 4096, step * 4096 + lesson_at(self.settings.curriculum, step).batch)

    def _batch(self, lesson: CropLesson, samples: range) -> Tensor:
        crops = []
        for index in samples:
            fraction = self.settings.double_fraction
            clip = self._clip(index, lesson.frames, self.settings.split, double_fraction=fraction)
            rng = np.random.default_rng((self.settings.seed, index, 2))
            top, left = rng.integers(0, self.settings.size - lesson.crop + 1, size=2)
            crops.append(clip[:, :, top : top + lesson.crop, left : left + lesson.crop])
        return torch.stack(crops)

    def loss(self, step: int, samples: range) -> dict[str, Tensor]:
        lesson, first = lesson_at(self.settings.curriculum, step), self.samples(step).start
        video = self._batch(lesson, samples)
        posterior = self._posterior(self.module, video)
        rng = torch.Generator().manual_seed(step)
        shape, own = (lesson.batch, *posterior.mean.shape[1:]), [index - first for index in samples]
        latents = posterior.mean + posterior.std * torch.randn(shape, generator=rng)[own]
        if lesson.noise:
            level = torch.rand(lesson.batch, 1, 1, 1, 1, generator=rng)[own]
            spread = posterior.mean.detach().std(dim=(1, 2, 3, 4), keepdim=True)
            latents = latents + lesson.noise * level * spread * torch.randn(shape, generator=rng)[own]
        decoded = self._decoded(latents)
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        terms = self._errors(decoded, video, lesson) | {"kl": kl}
        if self.small is not None and self.settings.kept_latents:
            moved = self.scale * (posterior.mean - self._latents_of_small(video))
            terms["moved"] = moved.square().mean()
        weights = {"kl": self.settings.kl_weight, "moved": self.settings.kept_latents}
        return {"loss": sum((weights.get(name, 1.0) * term for name, term in terms.items()), torch.zeros(()))} | terms

    def _posterior(self, model: Autoencoder, video: Tensor) -> Posterior:
        """The posterior of a video's latents, in float32."""
        with products_in(self.products, video.device):
            posterior = model.encode(video)
        return Posterior(posterior.mean.float(), posterior.logvar.float())

    def _decoded(self, latents: Tensor) -> Tensor:
        """The decoded video, in float32."""
        with products_in(self.products, latents.device):
            return self.module.decode(latents).float()

    def _errors(self, decoded: Tensor, video: Tensor, lesson: CropLesson) -> dict[str, Tensor]:
        """The reconstruction terms of the lesson's objective."""
        error = (decoded - video).abs()
        if lesson.objective == "detail":
            weight = 1 + self.settings.detail_weight * detail(video)
            weight = weight / weight.mean()
            return {"l1": (weight * error).mean(), "l2": (weight * error.square()).mean()}
        mse = error.square().mean(dim=(1, 2, 3, 4))
        return {"rms": mse.sqrt().mean()} if lesson.objective == "rms" else {"psnr": -0.01 * psnr(mse).mean()}

    @torch.no_grad()
    def _latents_of_small(self, video: Tensor) -> Tensor:
        """The latents of the autoencoder that this one was grown from, for the video at half size."""
        assert self.small is not None
        return self._posterior(self.small, F.avg_pool3d(video, (1, 2, 2))).mean

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        scores = {"psnr": self._reconstruction(self.held_out), "latent_std": self._held_out_latents().std().item()}
        if self.held_out_doubles is not None:
            scores["psnr_doubles"] = self._reconstruction(self.held_out_doubles)
        return scores

    def _reconstruction(self, videos: Tensor) -> float:
        """The mean PSNR in dB of reconstructed videos."""
        decoded = self._decoded(self._posterior(self.module, videos).mean).clamp(-1, 1)
        return psnr((decoded - videos).square().mean(dim=(1, 2, 3, 4))).mean().item()

    @property
    def scale(self) -> float:
        """The factor that scales latents to unit variance; where latents are kept, their present factor."""
        kept = self.module if self.settings.decoder_of else self.small if self.settings.kept_latents else None
        return 1 / self._held_out_latents().std().item() if kept is None else kept.scaling_factor

    def _held_out_latents(self) -> Tensor:
        return self._posterior(self.module, self.held_out).mean
