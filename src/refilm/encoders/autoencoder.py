"""Encoding and decoding of videos with CogVideoX's causal 3-D autoencoder.

Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels.
Pixels are uint8 RGB; latents are scaled to about unit variance, in the transformer's axis order.
"""

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from refilm.encoders.convolutions import fold
from refilm.model import require_finite
from refilm.sizes import Compression

WHOLE = 1 << 20


class VideoAutoencoder:
    """An `AutoencoderKLCogVideoX` that encodes all frames at once, like the original; batches change the latents.

    Args:
        model: the autoencoder.
        decode_frames: latent frames decoded at a time; 2 matches CogVideoX and saves memory. None: all at once.
    """

    def __init__(self, model: AutoencoderKLCogVideoX, *, decode_frames: int | None = 2):
        self.model = fold(model)
        self.model.num_sample_frames_batch_size = WHOLE
        self.model.num_latent_frames_batch_size = decode_frames or WHOLE

    @property
    def compression(self) -> Compression:
        """The compression factors."""
        config = self.model.config
        return Compression(2 ** (len(config["block_out_channels"]) - 1), int(config["temporal_compression_ratio"]))

    @torch.no_grad()
    def posterior(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents: (B, F, H, W, 3) uint8 -> (B, T, C, h, w) each.

        Raises:
            ValueError: the autoencoder does not support this number of frames or this size.
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

        With an even number of latent frames the decoder also doubles the first one. So an even number is decoded with
        its last latent frame repeated, and the surplus frames are dropped.

        Raises:
            FloatingPointError: some pixels are not finite and would make the video black.
        """
        frames = self.compression.frames(latents.shape[1])
        if latents.shape[1] % 2 == 0:
            latents = torch.cat([latents, latents[:, -1:]], dim=1)
        scaled = latents.to(self.model.device, self.model.dtype).transpose(1, 2) / self.model.config["scaling_factor"]
        (pixels,) = self.model.decode(scaled, return_dict=False)
        pixels = require_finite(pixels[:, :, :frames], maker="the autoencoder")
        video = (pixels.float().clamp(-1, 1) + 1) * 127.5
        return video.round().to(torch.uint8).permute(0, 2, 3, 4, 1)
