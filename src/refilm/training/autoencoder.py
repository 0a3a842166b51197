"""Training the video autoencoder: from small stills to clips with motion, minding detail and what moves."""

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX
from pydantic import field_validator
from torch import Tensor

from refilm.data import critters
from refilm.settings import Settings
from refilm.training.curriculum import Lesson, lesson_at


class CropLesson(Lesson):
    """Crops of stills or clips."""

    frames: int
    """Frames of a crop: 1, 9, 17 and so on. The decoder takes an odd number of latent frames in one go."""
    crop: int
    """Height and width of a crop in pixels."""
    noise: float = 0.0
    """The most noise that the decoder must put up with, in standard deviations of a crop's latents; every crop has its
    own share of it. A transformer never makes quite the latents that an encoder would."""

    @field_validator("frames")
    @classmethod
    def _possible(cls, frames: int) -> int:
        if frames < 1 or frames % 8 != 1:
            raise ValueError(f"{frames} frames cannot be decoded in one go; give 1, 9, 17 or another 8k + 1")
        return frames


class AutoencoderSettings(Settings):
    """The autoencoder's shape and the terms of its loss."""

    channels: tuple[int, ...] = (16, 64, 96)
    """Channels of each resolution, finest first; each further one halves height and width."""
    latent_channels: int = 16
    temporal_compression: int = 4
    layers: int = 1
    norm_groups: int = 8
    kl_weight: float = 5e-4
    """Weight of the divergence from a unit normal, a latent value's mean."""
    detail_weight: float = 3.0
    """How much more a pixel counts that differs from its surroundings or from the next frame."""
    curriculum: tuple[CropLesson, ...]
    seed: int = 0


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
        "sample_height": critters.SIZE,
        "sample_width": critters.SIZE,
    }
    model = AutoencoderKLCogVideoX.from_config(config)
    assert isinstance(model, AutoencoderKLCogVideoX)
    return model


def whole(autoencoder: AutoencoderKLCogVideoX) -> AutoencoderKLCogVideoX:
    """Set it to take a clip in one go: batches of frames have statistics of their own, and so other latents."""
    autoencoder.num_sample_frames_batch_size = 1 << 20
    autoencoder.num_latent_frames_batch_size = 1 << 20
    return autoencoder


def detail(video: Tensor) -> Tensor:
    """How much each pixel stands out, in space or time: (B, 3, F, H, W) -> (B, 1, F, H, W), 0..1."""
    around = F.avg_pool3d(video, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False)
    standing_out = (video - around).abs().amax(1, keepdim=True)
    if video.shape[2] > 1:
        change = (video[:, :, 1:] - video[:, :, :-1]).abs().amax(1, keepdim=True)
        change = torch.maximum(F.pad(change, (0, 0, 0, 0, 1, 0)), F.pad(change, (0, 0, 0, 0, 0, 1)))
        standing_out = torch.maximum(standing_out, change)
    return standing_out.clamp(max=1.0)


class AutoencoderTask:
    """Trains on critters drawn on the spot."""

    def __init__(self, settings: AutoencoderSettings):
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.module = whole(make_autoencoder(settings))
        self.held_out = torch.stack([self._clip(10_000_000 + i, critters.FRAMES, "held_out") for i in range(8)])

    def _clip(self, index: int, frames: int, split: critters.Split) -> Tensor:
        """A clip (3, F, H, W) in -1..1; shorter ones begin anywhere in the story."""
        rng = np.random.default_rng((self.settings.seed, index, 1))
        start = int(rng.integers(0, critters.FRAMES - frames + 1))
        story = critters.story(self.settings.seed, index, split)
        pixels = critters.film(story, rng, start=start, frames=frames)
        return torch.from_numpy(pixels).permute(3, 0, 1, 2) / 127.5 - 1

    def samples(self, step: int) -> range:
        """The numbers of a step's clips."""
        return range(step * 4096, step * 4096 + lesson_at(self.settings.curriculum, step).batch)

    def _batch(self, lesson: CropLesson, samples: range) -> Tensor:
        crops = []
        for index in samples:
            clip = self._clip(index, lesson.frames, "train")
            rng = np.random.default_rng((self.settings.seed, index, 2))
            top, left = rng.integers(0, critters.SIZE - lesson.crop + 1, size=2)
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
        weight = 1 + self.settings.detail_weight * detail(video)
        weight = weight / weight.mean()
        error = (decoded - video).abs()
        l1, l2 = (weight * error).mean(), (weight * error.square()).mean()
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()
        return {"loss": l1 + l2 + self.settings.kl_weight * kl, "l1": l1, "l2": l2, "kl": kl}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        mean = self._held_out_latents()
        decoded = self.module.decode(mean, return_dict=False)[0].clamp(-1, 1)
        mse = ((decoded - self.held_out) / 2).square().mean(dim=(1, 2, 3, 4))
        return {"psnr": (-10 * mse.log10()).mean().item(), "latent_std": mean.std().item()}

    @torch.no_grad()
    def latent_std(self) -> float:
        """The standard deviation of the held-out clips' latents, before scaling."""
        return self._held_out_latents().std().item()

    def _held_out_latents(self) -> Tensor:
        (posterior,) = self.module.encode(self.held_out, return_dict=False)
        return posterior.mean
