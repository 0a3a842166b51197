"""A base model: encoders, transformer, autoencoder and noise schedule, loaded together or one at a time.

In diffusers' layout its folder contains

model_index.json  scheduler/  text_encoder/  tokenizer/  transformer/  vae/
image_encoder/  image_processor/      the encoder of reference images
refilm.json  adapter/                 generation defaults, and the adapter of the base model
preview.safetensors                   the linear preview of its latents

The published CogVideoX has only the first line. `sources` describes other layouts.
"""

import gc
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from refilm import previews
from refilm.arguments import checked
from refilm.backbones import Source, family_of
from refilm.checkpoints.defaults import load_defaults
from refilm.checkpoints.sources import DiffusersSource, image_encoder_is_local, open_image_encoder, open_source
from refilm.diffusion import Process
from refilm.encoders import Encoders, ImageEncoder, LatentCodec, TextEncoder
from refilm.errors import UserError
from refilm.geometry import Compression, Geometry
from refilm.media.preprocessing import BASE_PREPROCESSING, ImagePreprocessing
from refilm.model import Adapter, Backbone
from refilm.weights.fingerprints import fingerprint
from refilm.weights.tensors import DTYPES, unfilled, unread

logger = logging.getLogger("refilm")

Memory = Literal["high", "low"]
SHORT_DTYPES = {"fp32": torch.float32, "float": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHORT_DTYPES |= {"half": torch.float16}


class Parts:
    """Parts of a model by name, each loaded on first access.

    Args:
        loaders: a function per part that loads it.
        one_at_a_time: whether to release a part before the next is loaded; other references still keep it alive.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], Any]], *, one_at_a_time: bool):
        self.loaders, self._one_at_a_time = dict(loaders), one_at_a_time
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            if self._one_at_a_time:
                self.free()
            self._loaded[name] = self.loaders[name]()
        return self._loaded[name]

    def __contains__(self, name: str) -> bool:
        return name in self._loaded

    def free(self, *names: str) -> None:
        """Release some parts, or all; they are loaded again on the next access."""
        loaded = [name for name in names or tuple(self._loaded) if name in self._loaded]
        if not loaded:
            return
        for name in loaded:
            del self._loaded[name]
        gc.collect()  # modules have reference cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class _Encoders(Encoders):
    """The encoders of a base model, loaded as parts."""

    def __init__(self, parts: Parts):
        self._parts = parts

    @property
    def text(self) -> TextEncoder:
        return self._parts["text"]

    @property
    def image(self) -> ImageEncoder:
        return self._parts["image"]

    @property
    def autoencoder(self) -> LatentCodec:
        return self._parts["autoencoder"]

    @property
    def unread(self) -> Encoders:
        loaders = {name: unread()(load) for name, load in self._parts.loaders.items()}
        return _Encoders(Parts(loaders, one_at_a_time=False))


class Base:
    """A loaded base model; with `memory="low"` one part is loaded at a time."""

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        device: torch.device,
        dtype: torch.dtype,
        memory: Memory,
    ):
        self.source, self.name = source, name
        """The source of its parts, and its name."""
        self.size: Geometry = source.size
        self.compression: Compression = source.compression()
        """Compression factors from pixels to latents and tokens."""
        self.schedule: Process = source.schedule()
        self.defaults = load_defaults(source.folder)
        self.device, self.dtype = device, dtype
        """Device and dtype of its parts."""
        own = source.folder / "adapter"
        self.adapter: Path | None = own if own.is_dir() else None
        """The folder of its own adapter, if any."""
        self.attached: Adapter | None = None
        """The attached adapter; it is attached whenever the transformer is loaded."""
        self._fingerprint: str | None = None
        self.preprocessing = BASE_PREPROCESSING
        """How images are read, see `read_images_with`."""

        def transformer() -> Backbone:
            loaded = source.transformer(dtype, device).eval()
            if self.attached is not None:
                self.attached.attach(loaded)
            return loaded

        def image() -> ImageEncoder:
            encoder = open_image_encoder(self.preprocessing, source.folder, dtype=dtype, device=device)
            if self.attached is not None and encoder.width != self.attached.size.reference_dim:
                name = self.preprocessing.image_encoder or "the image encoder"
                raise UserError(
                    f"{name}: its tokens have {encoder.width} channels, the adapter needs "
                    f"{self.attached.size.reference_dim}; use the image encoder that it was trained with"
                )
            return encoder

        loaders = {
            "transformer": transformer,
            "text": lambda: source.text(self.size.text_length, dtype, device),
            "image": image,
            "autoencoder": lambda: source.autoencoder(dtype, device, decode_frames=self.defaults.decode_frames or None),
        }
        self._parts = Parts(loaders, one_at_a_time=memory == "low")
        self.encoders: Encoders = _Encoders(self._parts)
        if memory == "high":
            for part in ("transformer", "text", "autoencoder"):  # the image encoder is loaded when needed
                _ = self._parts[part]

    @property
    def transformer(self) -> Backbone:
        """The transformer with its attached adapter."""
        return self._parts["transformer"]

    @cached_property
    def preview(self) -> "previews.LinearPreview | None":  # imported when it is first used
        """The linear preview stored with it. None: there is none.

        Raises:
            UserError: its file is damaged, or is for another number of channels; names it.
        """
        path = self.source.folder / previews.PREVIEW
        if not path.is_file():
            return None
        return previews.LinearPreview.load(path, channels=self.size.channels, compression=self.compression)

    def create(self) -> Backbone:
        """A new transformer of this size."""
        return family_of(self.size).create(self.size)

    def compute_with(self, transformer: Backbone, adapter: Adapter | None) -> None:
        """Use another transformer of this size, for example one in training, with its attached adapter."""
        self._parts.free("transformer")
        self._parts.loaders["transformer"] = lambda: transformer
        self.attached = adapter

    def attach(self, adapter: Adapter) -> None:
        """Attach an adapter to the transformer, now or when it is loaded.

        Raises:
            UserError: the sizes do not match, or another adapter is attached.
        """
        if self.attached is not None:
            raise UserError("the transformer already has an adapter; detach it first")
        with unfilled():
            adapter.attach(self.create())  # checks the sizes only
        self.attached = adapter
        if "transformer" in self._parts:
            adapter.attach(self.transformer)

    def detach(self) -> None:
        """Detach the adapter, which restores the bare model."""
        attached, self.attached = self.attached, None
        if attached is not None and "transformer" in self._parts:
            attached.detach(self.transformer)

    def read_images_with(self, preprocessing: ImagePreprocessing) -> None:
        """Choose the image preprocessing that an adapter requires. The encoder is loaded when it is first used."""
        self.preprocessing = preprocessing
        self._parts.free("image")

    @property
    def image_encoder_is_local(self) -> bool:
        """Whether the image encoder can be loaded without a download."""
        return image_encoder_is_local(self.preprocessing, self.source.folder)

    def fingerprint(self) -> str:
        """The fingerprint that identifies this transformer; an adapter works only with the base it was trained on."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.transformer)
        return self._fingerprint


@checked
def load_base(
    source: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    memory: Memory = "high",
) -> Base:
    """Load a base model.

    Args:
        source: `pocket`; a Hub id, such as `THUDM/CogVideoX-2b`; or a folder in diffusers' layout or a SAT folder (a
            SAT checkpoint with its autoencoder and a T5).
        device: `cpu`, `cuda`, ... Default: the GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`, as a torch dtype or by name. Default: float32 on a CPU, bfloat16 on
            a GPU.
        memory: `low` loads text encoder, image encoder, transformer and autoencoder when needed and frees each for
            the next; `high` loads all but the image encoder at once and keeps them.

    Raises:
        UserError: the model does not exist, or a part is missing or cannot be read; names the part.
    """
    place = choose_device(device)
    numbers = choose_dtype(dtype, place)
    if place.type == "cpu" and numbers == torch.float16:
        logger.warning("float16 is many times slower on a CPU than float32: omit dtype, or use float32")
    return Base(open_source(source), name=str(source), device=place, dtype=numbers, memory=memory)


def load_encoders(folder: Path, size: Geometry, *, device: torch.device, dtype: torch.dtype) -> Encoders:
    """The text encoder, image encoder and autoencoder of a folder in diffusers' layout, for a transformer of that size.

    Each is loaded on first access, which raises a UserError if it is missing or damaged.
    """
    source, decode_frames = DiffusersSource(folder, size), load_defaults(folder).decode_frames or None
    loaders = {
        "text": lambda: source.text(size.text_length, dtype, device),
        "image": lambda: open_image_encoder(BASE_PREPROCESSING, folder, dtype=dtype, device=device),
        "autoencoder": lambda: source.autoencoder(dtype, device, decode_frames=decode_frames),
    }
    return _Encoders(Parts(loaders, one_at_a_time=False))


@checked
def choose_device(name: torch.device | str | None) -> torch.device:
    """The named device. Default: the GPU if there is one, else the CPU.

    Raises:
        UserError: the device does not exist on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # the device meta can create tensors, but has no data
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device {str(name)!r} cannot be used here: {str(error).splitlines()[0]}; try 'cpu'") from error
    return device


@checked
def choose_dtype(name: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """The named dtype, or the default for the device. Accepts torch dtypes, their names, and short names such as bf16.

    Raises:
        UserError: the dtype is not supported.
    """
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    found = (DTYPES | SHORT_DTYPES).get(str(name).removeprefix("torch."))
    if found is None:
        raise UserError(f"unknown dtype {str(name)!r}: choose {', '.join(DTYPES)}")
    return found
