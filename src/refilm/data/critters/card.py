"""The data set card of critters, in the form of the Hugging Face Hub: of critters in general, or of one draw.

`card.md` is its template. All numbers in it are counted from the code that draws.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from refilm.data.critters.clips import FPS, FRAMES, SIZE
from refilm.data.critters.motions import MOTIONS
from refilm.data.critters.scenes import SCENES
from refilm.data.critters.stories import PLACES, DoubleStory, Story, double_story, story
from refilm.data.critters.subjects import COLORS, EYES, PATTERNS, SHAPES, Split, subjects

Kind = Literal["one subject", "two subjects", "stills"]
SIZES = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000, "100K<n<1M": 1_000_000}  # of the Hub


@dataclass(frozen=True)
class Draw:
    """What was drawn: the first `clips` clips of (seed, split)."""

    clips: int
    split: Split
    seed: int
    size: int
    """Height and width in pixels before any enlargement."""
    references: int
    """Number of portraits of each subject of a clip."""
    kind: Kind

    @property
    def stories(self) -> list[Story | DoubleStory]:
        """The content of each clip."""
        tell = double_story if self.kind == "two subjects" else story
        return [tell(self.seed, index, self.split) for index in range(self.clips)]

    @property
    def category(self) -> str:
        """The Hub's category of the number of clips."""
        return next((name for name, end in SIZES.items() if self.clips < end), "n>1M")

    @property
    def command(self) -> str:
        """The command that draws the same clips."""
        kind = {"one subject": "", "two subjects": " --subjects 2", "stills": " --stills"}[self.kind]
        return f"refilm data critters OUT --clips {self.clips} --split {self.split} --seed {self.seed}{kind}"

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many subjects of clips have each shape, body color, ..., and how many clips each motion and scene."""
        stories = self.stories
        shown = [subject for one in stories for subject in one.subjects]
        motions = [] if self.kind == "stills" else [motion for one in stories for motion in _motions(one)]
        attributes = {name: [getattr(one, name) for one in shown] for name in ("shape", "color", "pattern", "eyes")}
        values = {**attributes, "motion": motions, "scene": [one.scene for one in stories]}
        return {name: dict(sorted(Counter(found).items())) for name, found in values.items() if found}

    @property
    def different(self) -> int:
        """Number of different subjects."""
        return len({subject for one in self.stories for subject in one.subjects})


def card(draw: Draw | None = None) -> str:
    """The card as Markdown with a YAML head; without a draw, that of critters in general."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    trained = {(one.shape, one.color, one.second, one.pattern) for one in subjects("train")}
    twins = sum((one.shape, one.color, one.second, one.pattern) in trained for one in subjects("held_out"))
    return environment.get_template("card.md").render(
        draw=draw,
        splits={split: len(subjects(split)) for split in get_args(Split)},
        subjects=len(subjects("train")) + len(subjects("held_out")),
        twins=twins,
        attributes={"shape": SHAPES, "body color": COLORS, "pattern": PATTERNS, "eyes": EYES},
        motions=MOTIONS,
        scenes=SCENES,
        places=PLACES,
        fps=FPS,
        frames=FRAMES,
        size=SIZE,
        example=story(0, 0, "train"),
        double=double_story(0, 0, "train"),
    )


def _motions(content: Story | DoubleStory) -> tuple[str, ...]:
    return (content.motion,) if isinstance(content, Story) else content.motions
