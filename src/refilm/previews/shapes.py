"""The shape of the latents that previews show."""

from torch import Tensor

from refilm.errors import UserError


def require_latents(latents: Tensor, *, channels: int) -> None:
    """Check that these are the latents of one video.

    Raises:
        UserError: they have another shape; says how to fix it.
    """
    shape = tuple(latents.shape)
    if len(shape) == 5:
        raise UserError(f"latents: received a batch, {shape}; give those of one video, such as latents[0]")
    if len(shape) != 4 or shape[1] != channels or 0 in shape:
        raise UserError(f"latents must be (T, {channels}, h, w), received {shape}")
