"""What there is to learn from, before encoding: a clip with its captions and reference pictures."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.data.examples import Example
from refilm.data.manifest import load_example, read_examples


@dataclass(frozen=True)
class Sample:
    """One clip. Its captions are alternatives; so are its references."""

    video: np.ndarray
    """(F, H, W, 3) uint8."""
    captions: tuple[str, ...]
    references: tuple[Image.Image, ...]


class Source(Protocol):
    """Samples by number; the same number is always the same sample."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    @property
    def identity(self) -> str:
        """Tells this source from any other, so that an encoded set knows what it was made from."""
        ...


@dataclass(frozen=True)
class Critters(Source):
    """Clips of critters; two captions each, the first without the looks, the second with them."""

    clips: int
    split: critters.Split = "train"
    seed: int = 0
    references: int = 2
    size: int = critters.SIZE

    def __len__(self) -> int:
        return self.clips

    def __getitem__(self, index: int, /) -> Sample:
        rng = np.random.default_rng((self.seed, index, 4))
        story = critters.story(self.seed, index, self.split)
        pictures = (critters.portrait(story.subject, rng, size=2 * self.size) for _ in range(self.references))
        return Sample(
            video=critters.film(story, rng, size=self.size),
            captions=(story.caption, story.looks_caption),
            references=tuple(Image.fromarray(picture) for picture in pictures),
        )

    @property
    def identity(self) -> str:
        return repr(self)


@dataclass(frozen=True)
class Files(Source):
    """Clips from files. A clip's caption and its references are what the folder or manifest says."""

    examples: tuple[Example, ...]
    frames: int
    height: int
    width: int

    @classmethod
    def split(cls, path: Path, *, frames: int, height: int, width: int) -> "tuple[Files, Files]":
        """What to learn from, and every tenth clip to validate on; below ten clips, both are all of them."""
        examples = tuple(read_examples(path))
        held_out = examples[::10]
        train = tuple(example for example in examples if example not in held_out)
        if len(examples) < 10:
            train = held_out = examples
        return cls(train, frames, height, width), cls(held_out, frames, height, width)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int, /) -> Sample:
        example = self.examples[index]
        video, references = load_example(example, frames=self.frames, height=self.height, width=self.width)
        return Sample(video, (example.caption,), tuple(references))

    @property
    def identity(self) -> str:
        files = (path for example in self.examples for path in example.files)
        digest = hashlib.sha256(repr((self.frames, self.height, self.width)).encode())
        for path in files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        for example in self.examples:
            digest.update(example.caption.encode())
        return f"files {digest.hexdigest()[:16]}"
