"""Encoders of transformers in local folders: found, checked, loaded without a network connection and without code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from refilm.errors import UserError
from refilm.files import sha256_of
from refilm.hub import cached
from refilm.weights.configs import read_object
from refilm.weights.libraries import tried

WEIGHTS = "model.safetensors"
Load = Callable[..., Any]


class EncoderFolder:
    """The folder of an encoder: `config.json`, `model.safetensors`, and the files of a tokenizer if it has one.

    Args:
        source: a folder, or `owner/name` in the Hub's cache.
        kinds: model types in `config.json` that are accepted.

    Raises:
        UserError: the encoder is not there, is of another kind, requests code, or has no safetensors; says how to fix
            it.
    """

    def __init__(self, source: str | Path, *, kinds: tuple[str, ...]):
        self.source = str(source)
        self.path = Path(source) if Path(source).is_dir() else cached(self.source)
        config = read_object(self.path / "config.json")
        self.kind = str(config.get("model_type"))[:100]
        if self.kind not in kinds:
            raise UserError(f"{self.path / 'config.json'}: model_type: {self.kind!r} is not {' or '.join(kinds)}")
        if not (self.path / WEIGHTS).is_file():
            raise UserError(
                f"{self.source}: has no {WEIGHTS}; convert it with transformers, "
                f"`AutoModel.from_pretrained({self.source!r}, trust_remote_code=False).save_pretrained(FOLDER)`, and "
                "pass the folder"
            )

    @property
    def identity(self) -> str:
        """The encoder's name and the hash of its weights."""
        return f"{Path(self.source).name}, sha256 {sha256_of(self.path / WEIGHTS)[:16]}"

    def model(self, load: Load, device: str) -> Any:
        """Load the model with a `from_pretrained` of transformers, in float32 and for inference."""
        options = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True, "dtype": "float32"}
        return tried(self.path, lambda: load(self.path, **options)).to(device).eval().requires_grad_(False)

    def tokenizer(self, load: Load) -> Any:
        """Load the tokenizer with a `from_pretrained` of transformers."""
        return tried(self.path, lambda: load(self.path, local_files_only=True, trust_remote_code=False))
