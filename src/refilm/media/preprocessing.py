"""How reference images become tokens: the choices that an adapter, its training data and its use must share."""

from typing import Literal, Self

from refilm.settings import Settings

Fit = Literal["pad", "squash-bilinear"]
HiddenState = Literal["last", "penultimate"]


class ImagePreprocessing(Settings):
    """The image encoder, what it is given, and which of its outputs are the tokens."""

    image_encoder: str | None = None
    """Image encoder, a folder or a Hub id. Default: the base model's, or CLIP ViT-L if it has none."""
    image_fit: Fit = "pad"
    """How an image becomes a square for the image encoder: `pad` pads it with its border color; `squash-bilinear`
    stretches it, as in the SAT fork with reference cross-attention."""
    hidden_state: HiddenState = "penultimate"
    """Hidden state of the image encoder that becomes the reference tokens: `last` or `penultimate`."""

    @classmethod
    def within(cls, settings: Settings) -> Self:
        """The choices among other settings, such as those of an adapter or a recipe; the default of those missing."""
        return cls(**{name: value for name, value in settings if name in cls.model_fields})


BASE_PREPROCESSING = ImagePreprocessing(hidden_state="last")
"""How a base model without an adapter reads images; the stage `base` encoded its caches this way in version 0.1."""
