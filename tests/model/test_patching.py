"""Attention kernels and temporary replacement of attributes."""

import pytest
import torch
from torch import nn

from refilm.backbones.cogvideox.attention import JointAttention
from refilm.model import ReferenceAttention, eager, fused, swapped

from .tiny import ROTARY, SINCOS, SPANNING, adapter, conditioned, inputs, transformer


@pytest.mark.parametrize("size", [SINCOS, ROTARY, SPANNING])
def test_eager_is_fused(size):
    model, trained = transformer(size), adapter(size)
    given = conditioned(trained, size)
    trained.attach(model)
    quick = model(*given)
    with (
        swapped(model, JointAttention, kernel=lambda _: eager),
        swapped(model, ReferenceAttention, kernel=lambda _: eager),
    ):
        plain = model(*given)
    assert (plain - quick).norm() / quick.norm() < 5e-6
    assert torch.equal(model(*given), quick)


def interrupted(model, within):
    with swapped(model, JointAttention, kernel=lambda _: eager):
        within.extend(block.attention.kernel for block in model.trunk.blocks)
        raise KeyboardInterrupt


def test_swapped_restores_after_an_exception():
    model, within = transformer(), []
    with pytest.raises(KeyboardInterrupt):
        interrupted(model, within)
    assert within == [eager, eager]
    assert [block.attention.kernel for block in model.trunk.blocks] == [fused, fused]


def test_swapped_undoes_what_a_failing_maker_left_half_done():
    model, made = transformer(), []

    def second_fails(kernel):
        made.append(kernel)
        return eager if len(made) == 1 else 1 / 0

    with pytest.raises(ZeroDivisionError), swapped(model, JointAttention, kernel=second_fails):
        pytest.fail("must not get here")
    assert [block.attention.kernel for block in model.trunk.blocks] == [fused, fused]


def test_swapped_modules_nest_and_keep_their_place():
    model, given = transformer(), inputs()[:3]
    names, plain = list(model.state_dict()), model(*given)
    with swapped(model, JointAttention, out=lambda out: nn.Sequential(out, nn.Identity())):
        assert torch.equal(model(*given), plain)
        with swapped(model, JointAttention, query_norm=lambda _: nn.Identity()):
            assert not torch.allclose(model(*given), plain)
    assert list(model.state_dict()) == names
    assert torch.equal(model(*given), plain)


def test_swapping_nothing_is_loud():
    model = transformer()
    with pytest.raises(ValueError, match="no ReferenceAttention below Transformer"), swapped(model, ReferenceAttention):
        pytest.fail("must not get here")
    with (
        pytest.raises(ValueError, match="JointAttention has no attribute 'kernl'"),
        swapped(model, JointAttention, kernl=lambda _: eager),
    ):
        pytest.fail("must not get here")
    assert not hasattr(model.trunk.blocks[0].attention, "kernl")
