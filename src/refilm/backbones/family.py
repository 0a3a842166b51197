"""What a model family provides: its transformer, encoders and file formats.

A family is a module, `refilm.backbones.NAME.family`, with these names; a `native` format is a module too. They read
sizes from config files, and weights only when a part is loaded. Errors are `UserError`s that name the file and the key.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from refilm.diffusion import Process
from refilm.encoders import LatentCodec, TextEncoder, Tokenizer
from refilm.geometry import AdapterSize, Compression, Geometry
from refilm.model import Adapter, Backbone
from refilm.weights.tensors import TensorFiles


class Source(Protocol):
    """The files of a base model."""

    folder: Path

    @property
    def family(self) -> "Family":
        """The family of the model."""
        ...

    @property
    def size(self) -> Geometry:
        """Sizes of the transformer."""
        ...

    def compression(self) -> Compression:
        """Compression factors of the autoencoder, with the patch of the transformer."""
        ...

    def schedule(self) -> Process:
        """The noise schedule."""
        ...

    def transformer(self, dtype: torch.dtype, device: torch.device) -> Backbone:
        """The transformer."""
        ...

    def text(self, length: int, dtype: torch.dtype, device: torch.device) -> TextEncoder:
        """The text encoder and its tokenizer."""
        ...

    def tokenizer(self) -> Tokenizer:
        """The text encoder's tokenizer alone."""
        ...

    def autoencoder(self, dtype: torch.dtype, device: torch.device, *, decode_frames: int | None) -> LatentCodec:
        """The autoencoder, which decodes `decode_frames` latent frames at a time; None: all at once."""
        ...

    def adapter(self, dtype: torch.dtype) -> Adapter | None:
        """The adapter in the same files; None: there is none, or it has its own folder."""
        ...


class NativeFile(Protocol):
    """An open checkpoint in a family's own format."""

    path: Path
    projection: str | None
    """Key of the image projection. None: there is none, and references have the width of the transformer."""
    ignored: tuple[str, ...]
    """Keys that are not used, or are read elsewhere."""

    @property
    def size(self) -> Geometry | None:
        """Sizes of the transformer. None: the file has no transformer."""
        ...

    def defaults(self) -> dict[str, int]:
        """Height, width and, if known, number of frames of the training videos."""
        ...

    @property
    def adapter_size(self) -> AdapterSize | None:
        """Size of the adapter in the file, if there is one."""
        ...

    def transformer(self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Backbone:
        """Load the transformer."""
        ...

    def adapter(self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Adapter:
        """Load the adapter."""
        ...

    def tensors(self) -> Iterable[Any]:
        """The tensors of transformer and adapter, mapped."""
        ...

    def notes(self) -> list[str]:
        """Notes about keys that are not converted."""
        ...


@runtime_checkable
class NativeFormat(Protocol):
    """A family's own format of checkpoints, other than diffusers' layout."""

    NAME: str
    """As users know it."""

    def is_checkpoint(self, folder: Path, /) -> bool:
        """Whether a folder is such a checkpoint, decided from its file names."""
        ...

    def has_keys(self, keys: Iterable[str], /) -> bool:
        """Whether a file has the keys of such a transformer or adapter."""
        ...

    def can_contain(self, size: Geometry, /) -> bool:
        """Whether the format has transformers of that size."""
        ...

    def open_file(self, path: Path, /, *, size: Geometry | None = None) -> NativeFile:
        """Open a checkpoint: its folder, or the file."""
        ...

    def save(
        self,
        target: Path,
        transformer: Backbone | None,
        adapter: Adapter | None,
        /,
        *,
        dtype: torch.dtype | None,
        frames: int | None = None,
    ) -> None:
        """Write a checkpoint atomically."""
        ...

    def source(self, folder: Path, /) -> Source:
        """The source of a base model in this format."""
        ...

    def is_autoencoder(self, files: TensorFiles, /) -> bool:
        """Whether these are the weights of an autoencoder in this format."""
        ...

    def find_autoencoder(self, folder: Path, /) -> Path | None:
        """The autoencoder in or next to a checkpoint's folder."""
        ...

    def autoencoder(self, path: Path, size: Geometry | None, /, *, dtype: torch.dtype | None) -> tuple[Any, str]:
        """Load an autoencoder for a transformer of that size, with a note on what its file does not say."""
        ...

    def save_autoencoder(self, model: Any, folder: Path, /) -> None:
        """Write an autoencoder atomically in diffusers' layout."""
        ...

    def describe_autoencoder(self, files: TensorFiles, /) -> dict[str, Any]:
        """The facts in an autoencoder's file."""
        ...

    def find_text_encoder(self, folder: Path, /) -> tuple[Path, Path] | None:
        """The folders of the text encoder and of its tokenizer, in or next to a checkpoint's folder."""
        ...

    def differences(self, transformer: Backbone, /) -> list[str]:
        """Notes about what this format cannot express."""
        ...


@runtime_checkable
class Family(Protocol):
    """A model family."""

    NAME: str
    """As users know it."""
    TRANSFORMER: str
    """Class of the transformer in diffusers' layout."""
    native: NativeFormat | None
    """Its own format of checkpoints. None: it has only diffusers' layout."""

    def create(self, size: Geometry, /) -> Backbone:
        """A new transformer."""
        ...

    def size_of(self, config: Path, /) -> Geometry:
        """Read the sizes from a transformer's `config.json`."""
        ...

    def defaults_of(self, config: Path, /) -> dict[str, Any]:
        """Defaults of generation for a transformer's `config.json`: at least `frames`, the number of video frames."""
        ...

    def load_transformer(
        self, folder: Path, /, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Backbone:
        """Load a transformer from a folder in diffusers' layout."""
        ...

    def load_transformer_file(
        self,
        path: Path,
        /,
        *,
        size: Geometry | None,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> Backbone:
        """Load a transformer from a single weights file in diffusers' layout."""
        ...

    def save_transformer(
        self,
        transformer: Backbone,
        folder: Path,
        /,
        *,
        dtype: torch.dtype | None = None,
        frames: int = 49,
        max_shard_size: str = "10GB",
    ) -> None:
        """Write a transformer atomically in diffusers' layout."""
        ...

    def load_text_encoder(
        self, folder: Path, tokenizer: Path, /, *, length: int, dtype: torch.dtype | None, device: torch.device | str
    ) -> TextEncoder:
        """Load a text encoder and its tokenizer."""
        ...

    def load_tokenizer(self, folder: Path, /) -> Tokenizer:
        """Load only a tokenizer."""
        ...

    def load_codec(
        self,
        folder: Path,
        size: Geometry,
        /,
        *,
        dtype: torch.dtype | None,
        device: torch.device | str,
        decode_frames: int | None,
    ) -> LatentCodec:
        """Load an autoencoder, for a transformer of that size."""
        ...

    def compression_of(self, folder: Path, size: Geometry, /) -> Compression:
        """Compression factors of an autoencoder's folder, with the patch of a transformer of that size."""
        ...

    def load_schedule(self, folder: Path, /) -> Process:
        """Load a noise schedule."""
        ...

    def create_layout(self, folder: Path, size: Geometry, /, *, snr_shift: float | None = None) -> None:
        """Write the noise schedule and the index of a base model's folder. Default: the published schedule."""
        ...
