"""From the subjects of a batch of videos to the references that the blocks read and a strength for every step.

Letters: B videos, S subjects, V views, M reference tokens of a subject, N video tokens, E channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from refilm.control.encoded import EncodedSubject
from refilm.control.masks import mask_tokens
from refilm.control.shot import Shot
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.model import Adapter, References
from refilm.model.references import Binding
from refilm.settings.curves import values_along

Cast = Sequence[tuple[Subject, EncodedSubject]]
"""The subjects of one video."""


@dataclass(frozen=True, eq=False)
class Direction:
    """What the subjects of a batch of videos resolve to."""

    references: References
    """The projected references, with masks, scales per frame and block."""
    strength: Tensor | None
    """Factor on the references' scale at each step, (steps, B, S); None: always 1."""


def direct(
    casts: Sequence[Cast], adapter: Adapter, shot: Shot, *, place: Callable[[Tensor], Tensor], binding: Binding
) -> Direction:
    """Resolve the subjects of a batch of videos.

    Args:
        casts: the subjects of each video; their numbers may differ.
        adapter: projects their tokens.
        shot: sizes of the videos.
        place: moves tokens to the device and dtype of the adapter.
        binding: how video tokens read several subjects.

    Raises:
        UserError: a curve or a mask does not fit the video; names the subject.
    """
    subjects, tokens, weight = max(map(len, casts)), *_tokens(casts)
    references = adapter.references(
        place(tokens),
        weight=weight,
        where=_joined(casts, 1.0, lambda subject: _where(subject, shot)),
        scale=_scale(casts, subjects, adapter.size.layers),
        binding=binding,
    )
    strength = _joined(casts, 1.0, lambda subject: _curve(subject, "steps", shot.steps))
    return Direction(references, None if strength is None else strength.permute(2, 0, 1))


def _tokens(casts: Sequence[Cast]) -> tuple[Tensor, Tensor | None]:
    """Tokens of all subjects, (B, S, M, E), and their weights, (B, S, M), 0 for padding; None if all are 1."""
    encoded = [[one for _, one in cast] for cast in casts]
    length = max(one.weight.numel() for one in chain(*encoded))
    blank = next(chain(*encoded)).tokens.new_zeros(0, next(chain(*encoded)).tokens.shape[-1])
    count = max(map(len, casts))
    tokens, weights = [], []
    for cast in encoded:
        own = [one.tokens.flatten(0, 1) for one in cast] + [blank] * (count - len(cast))
        weighing = [one.weight.flatten() for one in cast] + [torch.zeros(0)] * (count - len(cast))
        tokens.append(torch.stack([_padded(one, length) for one in own]))
        weights.append(torch.stack([_padded(one, length) for one in weighing]))
    weight = torch.stack(weights)
    return torch.stack(tokens), None if (weight == 1).all() else weight


def _padded(rows: Tensor, length: int) -> Tensor:
    return torch.cat([rows, rows.new_zeros(length - len(rows), *rows.shape[1:])])


def _joined(casts: Sequence[Cast], neutral: float, of: Callable[[Subject], Tensor | None]) -> Tensor | None:
    """A value of every subject as one tensor (B, S, ...); None if it is neutral for all of them."""
    made = [[of(subject) for subject, _ in cast] for cast in casts]
    known = next((one for one in chain(*made) if one is not None), None)
    if known is None:
        return None
    count, blank = max(map(len, casts)), torch.full_like(known, neutral)
    filled = [[blank if one is None else one for one in row] + [blank] * (count - len(row)) for row in made]
    return torch.stack([torch.stack(row) for row in filled])


def _scale(casts: Sequence[Cast], count: int, blocks: int) -> Tensor | float:
    scales = {subject.scale for subject, _ in chain(*casts)}
    along = _joined(casts, 1.0, lambda subject: _curve(subject, "blocks", blocks))  # (B, S, blocks)
    if along is None and len(scales) == 1:
        return scales.pop()
    scale = torch.tensor([[subject.scale for subject, _ in cast] + [1.0] * (count - len(cast)) for cast in casts])
    return scale if along is None else along.permute(2, 0, 1) * scale


def _curve(subject: Subject, name: str, count: int) -> Tensor | None:
    """The values of a subject's curve; None if they are all 1."""
    try:
        values = values_along(getattr(subject, name), count, of=name)
    except UserError as error:
        raise UserError(f"{subject.name}: {name}: {error}") from error
    return None if all(value == 1 for value in values) else torch.tensor(values)


def _where(subject: Subject, shot: Shot) -> Tensor | None:
    """A subject's mask times its strength over the frames, (N,); None if it is 1 everywhere."""
    mask = None if subject.mask is None else mask_tokens(subject.mask, shot)
    frames = _curve(subject, "frames", shot.frames)
    if frames is None:
        return mask
    rest = frames[1:].unflatten(0, (-1, shot.compression.token_frames)).mean(dim=1)
    along = torch.cat([frames[:1], rest])  # the first token frame is the first frame alone
    over = along.repeat_interleave(shot.grid.height * shot.grid.width)
    return over if mask is None else mask * over
