"""Critters as training samples: clips of one subject or of two, with their images, drawn when they are read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.data.samples import Clip, ImageSource, Sample, Source
from refilm.media.colors import Color


@dataclass(frozen=True)
class Critters(Source):
    """Clips of critters with two captions each: the first without the subject's appearance, the second with it. With
    `classes`, a third caption names the subject's shape only."""

    clips: int
    split: critters.Split = "train"
    seed: int = 0
    references: int = 2
    size: int = critters.SIZE
    classes: bool = False

    def __len__(self) -> int:
        return self.clips

    def __getitem__(self, index: int, /) -> Sample:
        story = critters.story(self.seed, index, self.split)
        place = (self.seed, index, self.split, self.size)
        return Sample(
            clip=DrawnClip(*place),
            captions=self._captions(story),
            references=tuple(DrawnImage(*place, number) for number in range(self.references)),
            subject=story.subject.appearance,
        )

    def _captions(self, story: critters.Story | critters.DoubleStory) -> tuple[str, ...]:
        return (story.caption, story.appearance_caption, *([story.class_caption] if self.classes else []))


@dataclass(frozen=True)
class StillCritters(Critters):
    """Stills of critters: a random frame of each clip of `Critters`, with captions that name no motion."""

    def __getitem__(self, index: int, /) -> Sample:
        still = DrawnStill(self.seed, index, self.split, self.size)
        return replace(super().__getitem__(index), clip=still)

    def _captions(self, story: critters.Story | critters.DoubleStory) -> tuple[str, ...]:
        return super()._captions(story.still if isinstance(story, critters.Story) else story)


@dataclass(frozen=True)
class DoubleCritters(Critters):
    """Clips of two critters, each as two samples: one per subject, with its references and its mask.

    The first caption names the subjects' shapes with their motions; the second one has the appearance of both, too.
    With `classes`, the first one is repeated, as `Critters` has a third one then.
    """

    def __len__(self) -> int:
        return 2 * self.clips

    def __getitem__(self, index: int, /) -> Sample:
        index, subject = divmod(index, 2)
        story = critters.double_story(self.seed, index, self.split)
        place = (self.seed, index, self.split, self.size)
        return Sample(
            clip=DrawnDouble(*place),
            captions=self._captions(story),
            references=tuple(DrawnPortrait(*place, subject, number) for number in range(self.references)),
            subject=story.subjects[subject].appearance,
            mask=DrawnMask(*place, subject),
        )


@dataclass(frozen=True)
class Place:
    """Which clip of critters something belongs to."""

    seed: int
    index: int
    split: critters.Split
    size: int = critters.SIZE

    @property
    def name(self) -> str:
        return f"critters {self.split} {self.seed} {self.index}"

    @property
    def identity(self) -> str:
        return repr(self)  # keys of caches are made from it


@dataclass(frozen=True)
class DrawnClip(Place, Clip):
    """A clip of one critter."""

    @property
    def identity(self) -> str:
        # the words of version 0.1: keys of caches and seeds of augmentation are made from them
        return f"DrawnFilm(seed={self.seed}, index={self.index}, split={self.split!r}, size={self.size})"

    def pixels(self) -> np.ndarray:
        """All frames, (F, H, W, 3) uint8."""
        return critters.draw_video(self.seed, self.index, self.split, size=self.size)

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        return drawn_frames(self.pixels(), fps)


@dataclass(frozen=True)
class DrawnStill(Place, Clip):
    """A random frame of a clip of one critter."""

    @property
    def name(self) -> str:
        return f"{super().name}, still"

    @property
    def still(self) -> bool:
        return True

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        yield critters.draw_still(self.seed, self.index, self.split, size=self.size)


@dataclass(frozen=True)
class DrawnImage(Place, ImageSource):
    """A portrait of the subject of a clip."""

    number: int = 0

    @property
    def name(self) -> str:
        return f"{super().name}, portrait {self.number}"

    @property
    def identity(self) -> str:
        # the words of version 0.1, as above
        place = f"seed={self.seed}, index={self.index}, split={self.split!r}, size={self.size}"
        return f"DrawnPicture({place}, number={self.number})"

    def load(self, background: Color) -> Image.Image:
        drawn = critters.draw_portrait(self.seed, self.index, self.split, number=self.number, size=2 * self.size)
        return Image.fromarray(drawn)


@dataclass(frozen=True)
class DrawnDouble(Place, Clip):
    """A clip of two critters."""

    @property
    def name(self) -> str:
        return f"{super().name}, two subjects"

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        return drawn_frames(critters.draw_double(self.seed, self.index, self.split, size=self.size).frames, fps)


@dataclass(frozen=True)
class DrawnMask(Place, Clip):
    """The mask of one of two subjects."""

    subject: int = 0

    @property
    def name(self) -> str:
        return f"{super().name}, mask of subject {self.subject + 1}"

    def frames(self, fps: float) -> Iterator[np.ndarray]:
        mask = critters.draw_double(self.seed, self.index, self.split, size=self.size).masks[self.subject]
        return drawn_frames(np.repeat(255 * mask[..., None].astype(np.uint8), 3, axis=-1), fps)


@dataclass(frozen=True)
class DrawnPortrait(Place, ImageSource):
    """A portrait of one of two subjects."""

    subject: int = 0
    number: int = 0

    @property
    def name(self) -> str:
        return f"{super().name}, subject {self.subject + 1}, portrait {self.number}"

    def load(self, background: Color) -> Image.Image:
        drawn = critters.draw_double_portrait(
            self.seed, self.index, self.split, subject=self.subject, number=self.number, size=2 * self.size
        )
        return Image.fromarray(drawn)


def drawn_frames(pixels: np.ndarray, fps: float) -> Iterator[np.ndarray]:
    """The frames of a drawn clip, (F, H, W, 3), that are nearest in time at another rate."""
    places = np.ceil(np.arange(0, len(pixels) - 0.5, critters.FPS / fps) - 0.5).astype(int)
    return (pixels[place] for place in places)
