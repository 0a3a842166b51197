"""Clips with two critters as training samples: two for each clip, one per subject, with its references and its mask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.data.samples import Clip, ImageSource, Sample, Source, drawn_frames
from refilm.media.colors import Color


@dataclass(frozen=True)
class DoubleCritters(Source):
    """Clips of two critters. Their captions name the subjects' shapes, with their motions; the second caption has the
    appearance of both, too. With `classes`, the first one is repeated, as `Critters` has a third one then.
    """

    clips: int
    split: critters.Split = "train"
    seed: int = 0
    references: int = 2
    size: int = critters.SIZE
    classes: bool = False

    def __len__(self) -> int:
        return 2 * self.clips

    def __getitem__(self, index: int, /) -> Sample:
        index, subject = divmod(index, 2)
        story = critters.double_story(self.seed, index, self.split)
        double = (self.seed, index, self.split, self.size)
        return Sample(
            clip=DrawnDouble(*double),
            captions=(story.caption, story.appearance_caption, *([story.class_caption] if self.classes else [])),
            references=tuple(DrawnPortrait(*double, subject, number) for number in range(self.references)),
            subject=story.subjects[subject].appearance,
            mask=DrawnMask(*double, subject),
        )


@dataclass(frozen=True)
class Joined(Source):
    """Several sources, one after the other."""

    sources: Sequence[Source]

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, index: int, /) -> Sample:
        for source in self.sources:
            if index < len(source):
                return source[index]
            index -= len(source)
        raise IndexError(index)


@dataclass(frozen=True)
class DrawnDouble(Clip):
    """A generated clip of two critters."""

    seed: int
    index: int
    split: critters.Split
    size: int = critters.SIZE

    @property
    def name(self) -> str:
        return f"critters {self.split} {self.seed} {self.index}, two subjects"

    @property
    def identity(self) -> str:
        return repr(self)  # keys of caches are made from it

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        return drawn_frames(critters.draw_double(self.seed, self.index, self.split, size=self.size).frames, fps)


@dataclass(frozen=True)
class DrawnMask(Clip):
    """The mask of one of two subjects."""

    seed: int
    index: int
    split: critters.Split
    size: int
    subject: int

    @property
    def name(self) -> str:
        return f"critters {self.split} {self.seed} {self.index}, mask of subject {self.subject + 1}"

    @property
    def identity(self) -> str:
        return repr(self)  # keys of caches are made from it

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        mask = critters.draw_double(self.seed, self.index, self.split, size=self.size).masks[self.subject]
        return drawn_frames(np.repeat(255 * mask[..., None].astype(np.uint8), 3, axis=-1), fps)


@dataclass(frozen=True)
class DrawnPortrait(ImageSource):
    """A generated portrait of one of two subjects."""

    seed: int
    index: int
    split: critters.Split
    size: int
    subject: int
    number: int

    @property
    def name(self) -> str:
        subject = f"subject {self.subject + 1}"
        return f"critters {self.split} {self.seed} {self.index}, {subject}, portrait {self.number}"

    @property
    def identity(self) -> str:
        return repr(self)  # keys of caches are made from it

    def load(self, background: Color) -> Image.Image:
        drawn = critters.draw_double_portrait(
            self.seed, self.index, self.split, subject=self.subject, number=self.number, size=2 * self.size
        )
        return Image.fromarray(drawn)
