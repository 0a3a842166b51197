"""Read and write videos and images; no other package opens them. Does not depend on models or training."""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.media.images import as_image, border_color, open_image, pad_to_square
    from refilm.media.masks import as_mask, open_mask
    from refilm.media.reading import duration, open_frames, open_video
    from refilm.media.video import Video
    from refilm.media.writing import check_size, check_target, existing_files

__all__ = [
    "Video",
    "as_image",
    "as_mask",
    "border_color",
    "check_size",
    "check_target",
    "duration",
    "existing_files",
    "open_frames",
    "open_image",
    "open_mask",
    "open_video",
    "pad_to_square",
]

_IMAGES = ("as_image", "border_color", "open_image", "pad_to_square")
__getattr__ = attributes(
    __name__,
    {
        **dict.fromkeys(_IMAGES, "refilm.media.images"),
        **dict.fromkeys(("as_mask", "open_mask"), "refilm.media.masks"),
        **dict.fromkeys(("duration", "open_frames", "open_video"), "refilm.media.reading"),
        "Video": "refilm.media.video",
        **dict.fromkeys(("check_size", "check_target", "existing_files"), "refilm.media.writing"),
    },
)
