"""The judge for videos with several critters: finds each, judges it, and compares them with the subjects of a story.

Does not know how a video was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Self

import numpy as np

from refilm.arguments import checked
from refilm.data.critters import DoubleStory, Story
from refilm.pocket.finder import Finder
from refilm.pocket.region_judge import REGION_ATTRIBUTES, RegionJudge, SubjectJudgement
from refilm.pocket.regions import Region, regions

NAMED = ("shape", "motion")  # what the caption of two critters says of each


@dataclass(frozen=True)
class Seen:
    """A critter in a video."""

    region: Region
    judgement: SubjectJudgement


@dataclass(frozen=True)
class SubjectScore:
    """How a video shows one of its story's subjects."""

    seen: Seen | None
    """The critter that was compared; None if there was none left."""
    right: dict[str, bool]
    """For each attribute, whether it is the subject's; False if the subject was not found."""
    leaked: dict[str, bool]
    """For each attribute in which the other subject differs, whether it is the other's; empty if the subject was not
    found, or is alone."""

    @classmethod
    def of(cls, seen: Seen | None, wanted: SubjectJudgement, other: SubjectJudgement | None) -> Self:
        """Compare a critter with the subject that it should show, and with the story's other subject."""
        if seen is None:
            return cls(None, dict.fromkeys(REGION_ATTRIBUTES, False), {})
        swapped = {} if other is None else seen.judgement.matches(other)
        differs = {} if other is None else wanted.matches(other)
        return cls(seen, seen.judgement.matches(wanted), {a: hit for a, hit in swapped.items() if not differs[a]})


def judge_two(video: np.ndarray, finder: Finder, judge: RegionJudge) -> list[Seen]:
    """Find and classify the critters of a video: two if it shows what its prompt says, but any number is possible.

    Args:
        video: (F, H, W, 3) uint8, square, at least 9 frames of at least 64 pixels.
        finder: trained weights.
        judge: trained weights.

    Returns:
        The critters, largest first; their masks are 64 x 64 pixels.

    Raises:
        UserError: the video has another shape or dtype.
    """
    found = regions(finder.find(video))
    return [Seen(region, judge.judge(video, region.masks)) for region in found]


@checked
def score_subjects(seen: Sequence[Seen], story: Story | DoubleStory) -> tuple[SubjectScore, ...]:
    """Compare the critters of a video with its story's subjects, in the order of `story.subjects`.

    Each subject is compared with another critter: with those whose shapes and motions, which the caption says, agree
    best; of equally good ones, with the first. So colors, pattern and eyes, which come from the reference images, do
    not decide which critter is compared.
    """
    wanted = SubjectJudgement.all_of(story)
    choices = permutations([*seen, *(None for _ in wanted)], len(wanted))
    best = max(choices, key=lambda chosen: sum(_agree(one, want) for one, want in zip(chosen, wanted, strict=True)))
    return score_in_order(best, story)


def score_in_order(seen: Sequence[Seen | None], story: Story | DoubleStory) -> tuple[SubjectScore, ...]:
    """Compare a critter, or None, with each of the story's subjects, where masks say which critter should be which."""
    wanted = SubjectJudgement.all_of(story)
    others = wanted[::-1] if len(wanted) == 2 else (None,)
    return tuple(SubjectScore.of(*three) for three in zip(seen, wanted, others, strict=True))


def _agree(one: Seen | None, wanted: SubjectJudgement) -> int:
    """How many of the attributes in the caption agree; any critter is better than none."""
    return -1 if one is None else sum(one.judgement.matches(wanted)[name] for name in NAMED)
