"""The windows in which a request denoises a video that is longer than the model's."""

from refilm.diffusion import Windows
from refilm.errors import UserError
from refilm.generation.request import Request
from refilm.geometry import Compression, Geometry


def windows_of(request: Request, own: int, size: Geometry, compression: Compression) -> Windows:
    """Windows over the token frames of a request's video.

    Args:
        request: the settings.
        own: frames of a video that the model was trained for; the length of a window by default.
        size: sizes of the transformer.
        compression: compression factors from pixels to latents.

    Raises:
        UserError: the model does not support windows of this length or this overlap.
    """
    frames, whole = compression.token_frames, compression.latent_frames(request.frames) // size.patch_time
    if request.window is None and request.frames <= own:
        return Windows(whole, whole, 0, size.patch_time)
    try:
        length = compression.latent_frames(request.window or own) // size.patch_time
    except UserError as error:
        raise UserError(f"window: {error}") from error
    overlap = request.window_overlap
    if overlap is None:
        return Windows(whole, length, round(length / 3), size.patch_time)
    if overlap % frames or overlap // frames >= length:
        most = (length - 1) * frames
        raise UserError(
            f"window_overlap: {overlap} frames; give a multiple of {frames}, at most {most} for this window"
        )
    return Windows(whole, length, overlap // frames, size.patch_time)
