"""What a preview is: a cheap look at latents, without the autoencoder's decoder."""

from typing import Protocol

import numpy as np
from torch import Tensor

from refilm.media import Video


class Preview(Protocol):
    """Shows the latents of one video, (T, C, h, w) as a sampler has them, such as `SamplerStep.clean[0]`."""

    def frames(self, latents: Tensor) -> np.ndarray:
        """Frames in order, uint8 RGB, in the number and at the size that the preview makes without scaling.

        Raises:
            UserError: the latents have another shape.
            NotFiniteError: some colors are not finite.
        """
        ...

    def video(self, latents: Tensor, fps: float) -> Video:
        """A video of the size and length of the decoded one. Errors as in `frames`."""
        ...
