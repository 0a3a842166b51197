"""What subjects resolve to: tokens, weights, masks, scales and strengths of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refilm import Subject
from refilm.control.directing import direct
from refilm.control.encoded import EncodedSubject, SubjectCard
from refilm.control.shot import Shot
from refilm.errors import UserError
from refilm.geometry import Compression

from ..model.tiny import REFERENCE_DIM, SINCOS, SPANNING, adapter

SHOT = Shot(SINCOS, Compression(space=8, time=4, patch=2), 8.0, frames=9, height=32, width=32, steps=4)  # 3 x 2 x 2
LEFT = np.pad(np.full((32, 16), 255, np.uint8), ((0, 0), (0, 16)))


def encoded(views=1, seed=0):
    tokens = torch.randn(views, 5, REFERENCE_DIM, generator=torch.Generator().manual_seed(seed))
    card = SubjectCard(name="a", images=("0" * 64,) * views, encoder="0" * 32)
    return EncodedSubject(card, tokens, torch.ones(views, 5), np.zeros((2, 2, 3), np.uint8))


def subject(name="a", **controls):
    return Subject(name=name, images="a.png", **controls)


def resolved(*casts, shot=SHOT, of=SINCOS):
    return direct(casts, adapter(of), shot, place=lambda tokens: tokens, binding="separate")


def test_a_subject_without_controls_is_neutral():
    direction = resolved([(subject(), encoded())])
    references = direction.references
    assert (references.weight, references.where, references.scale, direction.strength) == (None, None, 1.0, None)
    assert torch.equal(references.tokens, adapter().projection(encoded().tokens[:, None]))


def test_frames_are_means_over_token_frames_times_the_mask():
    frames = (1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    where = resolved([(subject(frames=frames), encoded())]).references.where
    assert torch.equal(where.view(3, 4), torch.tensor([1.0, 0.5, 0.25])[:, None].expand(3, 4))
    masked = resolved([(subject(frames=frames, mask=LEFT), encoded())]).references.where
    assert torch.equal(masked.view(3, 2, 2), where.view(3, 2, 2) * torch.tensor([1.0, 0.0]))


def test_tokens_that_span_latent_frames_average_eight_frames():
    shot = replace(SHOT, size=SPANNING, compression=replace(SHOT.compression, patch_time=2))
    where = resolved([(subject(frames="1-5"), encoded())], shot=shot, of=SPANNING).references.where
    assert torch.equal(where.view(2, 4), torch.tensor([1.0, 0.5])[:, None].expand(2, 4))


def test_steps_and_blocks_are_in_order():
    direction = resolved([(subject(steps="2-3", blocks="1:1 2:0.5", scale=0.5), encoded())])
    assert torch.equal(direction.strength.flatten(), torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert direction.strength.shape == (4, 1, 1)
    assert torch.equal(direction.references.scale, torch.tensor([0.5, 0.25]).view(2, 1, 1))
    curve = resolved([(subject(steps=[0.1, 0.2, 0.3, 0.4]), encoded())]).strength.flatten()
    assert torch.equal(curve, torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_a_batch_is_padded_with_what_adds_nothing():
    two = [(subject("a", scale=0.5), encoded(2)), (subject("b", mask=LEFT, steps="1-2"), encoded(1, seed=1))]
    one = [(subject("c", frames="1-5"), encoded(1, seed=2))]
    direction = resolved(two, one)
    references = direction.references
    assert references.tokens.shape[:3] == (2, 2, 10)
    assert torch.equal(references.weight[0], torch.tensor([[1.0] * 10, [1.0] * 5 + [0.0] * 5]))
    assert torch.equal(references.weight[1], torch.tensor([[1.0] * 5 + [0.0] * 5, [0.0] * 10]))
    assert torch.equal(references.scale, torch.tensor([[0.5, 1.0], [1.0, 1.0]]))
    assert torch.equal(references.where[:, :, 0], torch.ones(2, 2))
    assert torch.equal(references.where[0, 1].view(3, 2, 2), torch.tensor([1.0, 0.0]).expand(3, 2, 2))
    assert torch.equal(direction.strength[:, 0, 1], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert torch.equal(direction.strength[:, 1, 0], torch.ones(4))


def test_an_error_names_the_subject_and_the_control():
    with pytest.raises(UserError, match="b: frames: '1-10': there are 9 frames"):
        resolved([(subject("b", frames="1-10"), encoded())])
