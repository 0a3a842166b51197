"""A base model: a folder in diffusers' layout with encoders, transformer, autoencoder and schedule.

model_index.json  scheduler/  text_encoder/  tokenizer/  transformer/  vae/
image_encoder/  image_processor/      what reads reference pictures
refilm.json  adapter/                 defaults of generation, and the adapter that comes with the base
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from pydantic import ValidationError
from transformers import AutoImageProcessor, AutoTokenizer, CLIPVisionModel, T5EncoderModel

from refilm.checkpoints.diffusers_format import load_schedule, load_transformer, save_schedule
from refilm.checkpoints.fingerprints import fingerprint
from refilm.diffusion import Schedule
from refilm.encoders import Encoders, ImageEncoder, TextEncoder, VideoAutoencoder
from refilm.model import Transformer
from refilm.settings import Settings, explain
from refilm.sizes import Compression

POCKET = Path(__file__).parents[1] / "pocket"
_INDEX = {
    "_class_name": "CogVideoXPipeline",
    "scheduler": ["diffusers", "CogVideoXDPMScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "CogVideoXTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLCogVideoX"],
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Defaults(Settings):
    """What a base model makes when it isn't told otherwise. The values here are CogVideoX-2B's."""

    fps: float = 8.0
    frames: int = 49
    height: int = 480
    width: int = 720
    steps: int = 50
    guidance: float = 6.0
    decode_frames: int | None = 2
    """Latent frames decoded at a time; 0: all at once."""

    def request(self) -> dict[str, Any]:
        """The part that a generation's settings take over."""
        return self.model_dump(include={"frames", "height", "width", "steps", "guidance"})


@dataclass(frozen=True)
class Base:
    """A base model, loaded."""

    encoders: Encoders
    transformer: Transformer
    schedule: Schedule
    defaults: Defaults
    adapter: Path | None
    """The folder of the adapter that comes with it."""

    @property
    def compression(self) -> Compression:
        """How pixels become latents and tokens."""
        own = self.encoders.autoencoder.compression
        return Compression(own.space, own.time, self.transformer.size.patch)

    @property
    def device(self) -> torch.device:
        """Where the transformer is."""
        return next(self.transformer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer computes in."""
        return next(self.transformer.parameters()).dtype

    def fingerprint(self) -> str:
        """Tells this transformer from any other; an adapter is made for one."""
        return fingerprint(self.transformer)


def load_base(source: str | Path, *, device: str | None = None, dtype: str | None = None) -> Base:
    """Load a base model.

    Args:
        source: `pocket`, or a folder in diffusers' layout.
        device: `cpu`, `cuda`, ...; none: a GPU if there is one.
        dtype: `float32`, `bfloat16` or `float16`; none: float32 on a CPU, bfloat16 on a GPU.

    Raises:
        ValueError: no such model, or a part of it is missing or cannot be read; names the part.
    """
    folder = base_folder(source)
    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    transformer = load_transformer(folder / "transformer", dtype=kind).to(place).eval()
    adapter = folder / "adapter"
    return Base(
        encoders=load_encoders(folder, text_length=transformer.size.text_length, device=place, dtype=kind),
        transformer=transformer,
        schedule=load_schedule(folder / "scheduler"),
        defaults=load_defaults(folder),
        adapter=adapter if adapter.is_dir() else None,
    )


def load_encoders(folder: Path, *, text_length: int, device: torch.device, dtype: torch.dtype) -> Encoders:
    """Load the text encoder, the image encoder and the autoencoder of a base model's folder.

    Raises:
        ValueError: one is missing or cannot be read; names it.
    """
    text = _part(folder, "text_encoder", T5EncoderModel, dtype).to(device).eval()
    image = _part(folder, "image_encoder", CLIPVisionModel, dtype).to(device).eval()
    autoencoder = _part(folder, "vae", AutoencoderKLCogVideoX, dtype).to(device).eval()
    return Encoders(
        text=TextEncoder(_part(folder, "tokenizer", AutoTokenizer), text, text_length),
        image=ImageEncoder(_part(folder, "image_processor", AutoImageProcessor), image),
        autoencoder=VideoAutoencoder(autoencoder, decode_frames=load_defaults(folder).decode_frames or None),
    )


def begin_base(folder: Path, defaults: Defaults, *, snr_shift: float) -> None:
    """Write what a base model's folder holds beside weights: schedule, defaults, and the index that diffusers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    save_schedule(folder / "scheduler", snr_shift=snr_shift)
    (folder / "refilm.json").write_text(defaults.model_dump_json(indent=2) + "\n")
    (folder / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n")


def base_folder(source: str | Path) -> Path:
    """The folder of a base model.

    Raises:
        ValueError: it is neither `pocket` nor a folder that holds a model.
    """
    folder = POCKET if source == "pocket" else Path(source)
    if not (folder / "transformer" / "config.json").is_file():
        raise ValueError(
            f"unknown base model {str(source)!r}: give 'pocket', or a folder in diffusers' layout "
            "(model_index.json, transformer/, vae/, text_encoder/, ...)"
        )
    return folder


def choose_device(name: str | None) -> torch.device:
    """The named device, or a GPU if there is one, or the CPU.

    Raises:
        ValueError: no such device, or not on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}; try 'cpu'") from error
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The named dtype, or what suits the device.

    Raises:
        ValueError: an unknown name.
    """
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}: choose {', '.join(DTYPES)}")
    return DTYPES[name]


def load_defaults(folder: Path) -> Defaults:
    """What the base model makes when it isn't told otherwise."""
    path = folder / "refilm.json"
    if not path.is_file():
        return Defaults()
    try:
        return Defaults.model_validate_json(path.read_text())
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error)}") from error


def _part(folder: Path, name: str, kind: Any, dtype: torch.dtype | None = None) -> Any:
    options = {} if dtype is None else {"torch_dtype" if kind is AutoencoderKLCogVideoX else "dtype": dtype}
    try:
        return kind.from_pretrained(folder / name, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ValueError(f"{folder / name}: cannot be loaded: {str(error).splitlines()[0]}") from error
