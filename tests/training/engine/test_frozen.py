"""No bit of a frozen weight changes unnoticed: at the first step, at validations, before delivery."""

import pytest
import torch

from refilm.training.engine.frozen import Frozen, checksum
from refilm.training.engine.loop import Findings, fit
from refilm.training.engine.step import Trainer
from refilm.training.settings import LoopSettings, TrainSettings

from ..tiny_task import steps, task


@pytest.mark.parametrize("shape", [(), (5,), (8,), (6, 3), (6, 4), (3, 2, 1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8], ids=str)
def test_every_single_bit_counts(shape, dtype):
    tensor = (10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
    raw = tensor.reshape(-1).view(torch.uint8)  # the same memory
    before = checksum(tensor)
    for at in range(len(raw)):
        for bit in range(8):
            raw[at] ^= 1 << bit
            assert checksum(tensor) != before, (at, bit)
            raw[at] ^= 1 << bit
    assert checksum(tensor) == before


def test_values_count_by_their_place_and_not_by_where_they_lie():
    tensor = torch.randn(6, 4)
    moved = torch.empty(25)[1:].view(6, 4).copy_(tensor)  # not on a multiple of 8 bytes
    assert checksum(moved) == checksum(tensor) == checksum(tensor.T.contiguous().T)
    assert checksum(tensor.flip(0)) != checksum(tensor)
    assert checksum(tensor[0].flip(0)) != checksum(tensor[0])
    assert checksum(torch.empty(0, 4)) == 0


def spoil_at(made, step: int, weight: torch.Tensor) -> None:
    """Change one value, in the last place, while the loss of a step is computed."""
    loss = made.loss

    def spoiled(number, samples):
        if number == step:
            with torch.no_grad():
                flat = weight.view(-1)
                flat[7] = torch.nextafter(flat[7], flat[7] + 1)
        return loss(number, samples)

    made.loss = spoiled


@pytest.mark.parametrize("step", [0, 1, 4], ids=["first step", "before a validation", "after the last validation"])
def test_a_frozen_weight_that_changes_stops_the_run_and_is_named(step, tmp_path):
    made, seen = task(), []
    settings = LoopSettings(**steps(steps=5).model_dump(), validate_every=2)
    spoil_at(made, step, made.transformer.trunk.blocks[0].mlp[0].weight)
    name = r"transformer\.trunk\.blocks\.0\.mlp\.0\.weight is frozen, but has changed"
    with pytest.raises(AssertionError, match=name):
        list(fit(made, settings, tmp_path, validate=lambda step: seen.append(step) or Findings()))
    assert seen == {0: [], 1: [], 4: [2, 4]}[step]


def test_what_a_validation_changes_is_found_before_delivery(tmp_path):
    made = task()
    weight = made.transformer.head.out.bias

    def validate(step: int) -> Findings:
        with torch.no_grad():
            weight[0] += 1
        return Findings()

    settings = LoopSettings(**steps(steps=2).model_dump())
    with pytest.raises(AssertionError, match=r"transformer\.head\.out\.bias is frozen, but has changed"):
        list(fit(made, settings, tmp_path, validate=validate))


def test_a_frozen_weight_with_a_gradient_is_named():
    made = task()
    run = Trainer(made, steps())
    weight = made.transformer.head.out.weight
    weight.grad = torch.zeros_like(weight)
    with pytest.raises(AssertionError, match=r"transformer\.head\.out\.weight is frozen, but has got a gradient"):
        run.advance()


def test_a_weight_in_8_bits_is_all_of_its_parts():
    made = task(training=TrainSettings(base_dtype="int8"), dtype=torch.bfloat16, checkpointing="full")
    frozen = Frozen.of(made.module)
    frozen.check()
    scale = made.transformer.trunk.blocks[1].mlp[0].weight.scale
    with torch.no_grad():
        scale.view(-1)[0] *= 2
    with pytest.raises(AssertionError, match=r"blocks\.1\.mlp\.0\.weight is frozen, but has changed"):
        frozen.check()


def test_what_trains_is_not_frozen():
    made = task(training=TrainSettings(what="all"))
    assert not Frozen.of(made.module).weights
