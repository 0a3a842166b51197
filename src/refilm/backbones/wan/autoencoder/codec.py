"""Encoding and decoding of videos with Wan's autoencoder: uint8 RGB pixels and normalized latents.

Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels. Each latent channel
is normalized to about zero mean and unit variance, in the transformer's axis order.
"""

import torch
from torch import Tensor

from refilm.backbones.autoencoders import from_pixels, to_pixels
from refilm.backbones.wan.autoencoder.model import Autoencoder
from refilm.geometry import Compression


class VideoAutoencoder:
    """A `LatentCodec`: encodes and decodes a few latent frames at a time, with the result of all at once.

    Args:
        model: the autoencoder.
        compression: its compression with the patch of the transformer. Default: a patch of 2 x 2 latent pixels.
        decode_frames: latent frames encoded or decoded at a time; fewer need less memory. None: all at once.
    """

    def __init__(self, model: Autoencoder, compression: Compression | None = None, *, decode_frames: int | None = 1):
        self.model, self.decode_frames = model, decode_frames
        self.compression = model.size.compression if compression is None else compression
        """The compression factors."""

    @property
    def scaling(self) -> tuple[float, ...]:
        """Mean and standard deviation of each channel, first all means."""
        return (*self.model.mean, *self.model.std)

    @torch.no_grad()
    def posterior(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents: (B, F, H, W, 3) uint8 -> (B, T, C, h, w) each.

        Raises:
            UserError: the autoencoder does not support this number of frames or this size.
        """
        self.compression.latent_frames(video.shape[1])
        pixels = from_pixels(video.to(self.model.device)).to(self.model.dtype)
        found = self.model.encode(pixels, at_once=self.decode_frames)
        mean, std = found.mean.float().transpose(1, 2), found.std.float().transpose(1, 2)
        return (mean - self._by_channel(self.model.mean)) / self._std, std / self._std

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, C, h, w) -> (B, F, H, W, 3) uint8.

        Raises:
            NotFiniteError: some pixels are not finite and would make the video black.
        """
        plain = latents.to(self.model.device).float() * self._std + self._by_channel(self.model.mean)
        parts = self.model.parts(plain.to(self.model.dtype).transpose(1, 2), at_once=self.decode_frames)
        return torch.cat([to_pixels(part) for part in parts], dim=1)

    @property
    def _std(self) -> Tensor:
        return self._by_channel(self.model.std)

    def _by_channel(self, values: tuple[float, ...]) -> Tensor:
        """(C,) -> (C, 1, 1)."""
        return torch.tensor(values, device=self.model.device)[:, None, None]
