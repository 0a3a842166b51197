"""What data sets, training and generation need of a model family's encoders."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from refilm.encoders.image import ImageEncoder
from refilm.geometry import Compression


class Tokenizer(Protocol):
    """Splits text into tokens."""

    def __call__(self, texts: Sequence[str], /) -> list[list[int]]:
        """The token ids of each text, with the end token."""
        ...


class TextEncoder(Protocol):
    """Encodes prompts of at most `length` tokens."""

    length: int

    @property
    def model(self) -> nn.Module:
        """The module whose weights determine the embeddings."""
        ...

    @property
    def vocabulary(self) -> Sequence[tuple[str, int]]:
        """All tokens with their ids, sorted."""
        ...

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: truncate longer prompts and keep the end token, as in CogVideoX's training; the caller should warn.

        Raises:
            UserError: a prompt has too many tokens and `cut` is false.
        """
        ...

    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype. Arguments and errors as in `tokens`."""
        ...

    def places(self, prompt: str, words: str) -> tuple[int, ...]:
        """Indices of the tokens that `words` have in a prompt, wherever they stand in it; empty if it lacks them."""
        ...

    def dropped(self, count: int) -> Tensor:
        """The null prompt of the base model, (count, L, D): guidance moves away from it."""
        ...


class LatentCodec(Protocol):
    """Converts videos, uint8 RGB, to latents of about unit variance and back.

    Letters: B videos, F frames, H x W pixels; T latent frames, C latent channels, h x w latent pixels.
    """

    @property
    def model(self) -> nn.Module:
        """The module whose weights, together with `scaling`, determine the latents."""
        ...

    @property
    def scaling(self) -> tuple[float, ...]:
        """The numbers that scale latents to unit variance."""
        ...

    @property
    def compression(self) -> Compression:
        """The compression factors."""
        ...

    def posterior(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents: (B, F, H, W, 3) uint8 -> (B, T, C, h, w) each.

        Raises:
            UserError: the codec does not support this number of frames or this size.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(B, T, C, h, w) -> (B, F, H, W, 3) uint8.

        Raises:
            NotFiniteError: some pixels are not finite and would make the video black.
        """
        ...


class Encoders(Protocol):
    """The encoders of a base model. An implementation may load each one on first access."""

    @property
    def text(self) -> TextEncoder:
        """Encodes prompts to embeddings."""
        ...

    @property
    def image(self) -> ImageEncoder:
        """Encodes images to tokens."""
        ...

    @property
    def autoencoder(self) -> LatentCodec:
        """Encodes videos to latents and decodes them."""
        ...

    @property
    def unread(self) -> "Encoders":
        """The same encoders for inspection only: weights stay mapped in their files and are read on access."""
        ...
