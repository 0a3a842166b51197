"""Encoding and decoding of videos with CogVideoX's autoencoder: uint8 RGB pixels and scaled latents.

Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels. Latents are scaled
to about unit variance, in the transformer's axis order.
"""

import torch
from torch import Tensor

from refilm.backbones.autoencoders import from_pixels, to_pixels
from refilm.backbones.cogvideox.autoencoder.model import Autoencoder
from refilm.geometry import Compression


class VideoAutoencoder:
    """A `LatentCodec`: encodes all frames at once, like the original, and decodes a few latent frames at a time.

    Args:
        model: the autoencoder.
        compression: its compression with the patch of the transformer. Default: a patch of 2 x 2 latent pixels.
        decode_frames: latent frames decoded at a time; 2 matches CogVideoX and saves memory. None: all at once.
    """

    def __init__(self, model: Autoencoder, compression: Compression | None = None, *, decode_frames: int | None = 2):
        self.model, self.decode_frames = model, decode_frames
        self.compression = model.size.compression if compression is None else compression
        """The compression factors."""

    @property
    def scaling(self) -> tuple[float, ...]:
        """The factor that scales latents to unit variance."""
        return (self.model.scaling_factor,)

    @torch.no_grad()
    def posterior(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents: (B, F, H, W, 3) uint8 -> (B, T, C, h, w) each.

        Where a token covers several latent frames, the first one is repeated in front, as in the published fine-tuning
        of CogVideoX 1.5.

        Raises:
            UserError: the autoencoder does not support this number of frames or this size.
        """
        self.compression.latent_frames(video.shape[1])
        found = self.model.encode(from_pixels(video.to(self.model.device)).to(self.model.dtype))
        mean, std = (x.float().transpose(1, 2) * self.model.scaling_factor for x in (found.mean, found.std))
        return self._repeated(mean), self._repeated(std)

    def _repeated(self, latents: Tensor) -> Tensor:
        return torch.cat([*[latents[:, :1]] * (self.compression.patch_time - 1), latents], dim=1)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, C, h, w) -> (B, F, H, W, 3) uint8.

        Repetitions of the first latent frame are dropped. With an even number of latent frames the decoder also doubles
        the first one. So an even number is decoded with its last latent frame repeated, and the surplus frames are
        dropped.

        Raises:
            NotFiniteError: some pixels are not finite and would make the video black.
        """
        frames = self.compression.frames(latents.shape[1])
        latents = latents[:, self.compression.patch_time - 1 :]
        if latents.shape[1] % 2 == 0:
            latents = torch.cat([latents, latents[:, -1:]], dim=1)
        scaled = latents.to(self.model.device, self.model.dtype).transpose(1, 2) / self.model.scaling_factor
        parts = [to_pixels(part) for part in self.model.parts(scaled, at_once=self.decode_frames)]
        return torch.cat(parts, dim=1)[:, :frames]
