"""The test set: pairs of a held-out subject's image and the story in which it should appear. Does not know videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as numbers
from itertools import islice

import numpy as np
from PIL import Image

from refilm.arguments import checked
from refilm.data import critters
from refilm.pocket.novelty import Novelty, novelty


@dataclass(frozen=True)
class Pair:
    """A held-out subject's image, and the story in which the subject should appear."""

    index: int
    story: critters.Story
    image: Image.Image


@checked
def held_out_pairs(
    seed: int, count: int, kind: Novelty | None = None, training: critters.Split = "train"
) -> list[Pair]:
    """The first pairs of a seed, with held-out subjects of one kind or of all kinds."""
    by_combination = training == "train_combinations" and kind == "combination"
    split: critters.Split = "held_out_combinations" if by_combination else "held_out"
    stories = ((index, critters.story(seed, index, split)) for index in numbers())
    chosen = islice((one for one in stories if kind is None or novelty(one[1].subject, training) == kind), count)
    return [
        Pair(i, s, Image.fromarray(critters.portrait(s.subject, np.random.default_rng((seed, i, 2)))))
        for i, s in chosen
    ]


def next_with_other_subject(pair: Pair, pairs: Sequence[Pair]) -> Pair:
    """The next pair, cyclically, that shows another subject."""
    place = pairs.index(pair)
    others = (pairs[(place + step) % len(pairs)] for step in range(1, len(pairs)))
    return next(other for other in others if other.story.subject != pair.story.subject)
