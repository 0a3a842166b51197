"""Small data sets and cheap encoders for these tests."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from refilm.backbones.cogvideox.sizes import pocket
from refilm.checkpoints import fingerprint, load_encoders
from refilm.data import Example
from refilm.data.drawn import Critters
from refilm.data.encoding import EncoderIdentity, EncodeSettings, encode, identify
from refilm.data.samples import Files, Source
from refilm.encoders import Encoders

SETTINGS = EncodeSettings(frames=5, height=32, width=32, batch=2, shard=4, workers=2)

CLIPS = Critters(5)


def encoders_of(base: Path) -> Encoders:
    return load_encoders(base, pocket(), device=torch.device("cpu"), dtype=torch.float32)


class Encoding:
    """Encodes repeatedly, and returns the number of encodings created each time."""

    def __init__(self, base: Path):
        self.encoders = encoders_of(base)
        self.identity = identify(self.encoders, fingerprint)

    def __call__(
        self,
        source: Source | Sequence[Example],
        folder: Path,
        *,
        settings: EncodeSettings = SETTINGS,
        identity: EncoderIdentity | None = None,
        **place: int,
    ) -> int:
        if not hasattr(source, "__getitem__") or isinstance(source, list | tuple):
            source = Files(source)
        identity = identity or self.identity
        steps = list(encode(source, self.encoders, folder, settings=settings, encoder_identity=identity, **place))
        assert all(step.done <= step.total for step in steps)
        return sum({step.what: step.done for step in steps}.values())

    def other(self, **parts: str) -> EncoderIdentity:
        """The encoders with some of them replaced."""
        return replace(self.identity, **parts)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}
