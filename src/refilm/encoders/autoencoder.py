"""Videos to latents and back through CogVideoX's causal 3-D autoencoder.

Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels.
Pixels are uint8 RGB; latents are scaled to about unit variance, in the transformer's order of axes.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from refilm.encoders.convolutions import fold
from refilm.model import require_finite
from refilm.sizes import Compression

WHOLE = 1 << 20


class VideoAutoencoder:
    """An `AutoencoderKLCogVideoX` that encodes in one go, as the original does: frame batches give other latents.

    Args:
        model: the autoencoder.
        decode_frames: latent frames decoded at a time (2 is CogVideoX's own way and saves memory); none: all.
    """

    def __init__(self, model: AutoencoderKLCogVideoX, *, decode_frames: int | None = 2):
        self.model = fold(model)
        self.model.num_sample_frames_batch_size = WHOLE
        self.model.num_latent_frames_batch_size = decode_frames or WHOLE

    @property
    def compression(self) -> Compression:
        """How it shrinks a video."""
        config = self.model.config
        return Compression(2 ** (len(config["block_out_channels"]) - 1), int(config["temporal_compression_ratio"]))

    @torch.no_grad()
    def posterior(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents: (B, F, H, W, 3) uint8 -> (B, T, C, h, w) each.

        Raises:
            ValueError: frames or size that the autoencoder cannot take.
        """
        self.compression.latent_frames(video.shape[1])
        pixels = video.to(self.model.device).permute(0, 4, 1, 2, 3) / 127.5 - 1  # (B, 3, F, H, W)
        (distribution,) = self.model.encode(pixels.to(self.model.dtype), return_dict=False)
        scale = self.model.config["scaling_factor"]
        mean, std = (x.float().transpose(1, 2) * scale for x in (distribution.mean, distribution.std))
        return mean, std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, C, h, w) -> (B, F, H, W, 3) uint8.

        The decoder doubles an even number of latent frames without keeping the first apart, so an even number is
        decoded with its last frame repeated, and the surplus frames are dropped.

        Raises:
            FloatingPointError: pixels that are not finite, which would become a black video.
        """
        frames = self.compression.frames(latents.shape[1])
        if latents.shape[1] % 2 == 0:
            latents = torch.cat([latents, latents[:, -1:]], dim=1)
        scaled = latents.to(self.model.device, self.model.dtype).transpose(1, 2) / self.model.config["scaling_factor"]
        (pixels,) = self.model.decode(scaled, return_dict=False)
        pixels = require_finite(pixels[:, :, :frames], maker="the autoencoder")
        video = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return video.round().to(torch.uint8).permute(0, 2, 3, 4, 1)
