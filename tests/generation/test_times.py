"""Timesteps of a run that are computed once: the same numbers, bit for bit, as in every forward pass."""

import pytest
import torch

import refilm
from refilm.backbones.cogvideox import sizes
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.diffusion import StepCache
from refilm.generation.times import AHEAD, Times
from refilm.model import Time, Trunk, swapped
from refilm.model.conditioning import Conditioning

from ..model.tiny import ROTARY, SINCOS, conditioned, transformer
from ..model.tiny import adapter as tiny_adapter

PLAN = (999, 749, 500, 250)


@pytest.mark.parametrize("size", [SINCOS, ROTARY])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_passes_give_the_same_bits(size, dtype):
    model, layer = transformer(size).to(dtype), tiny_adapter(size).to(dtype)
    layer.attach(model)
    latents, _, text, references = conditioned(layer, size, dtype=dtype)
    with torch.inference_mode():
        for timestep, time in zip(PLAN, model.times(PLAN), strict=True):
            plain = model(latents, torch.tensor([timestep]), text, references)
            assert torch.equal(model(latents, time, text, references), plain)
            each = model(latents, torch.tensor([timestep] * 2), text, references)
            torch.testing.assert_close(plain, each, rtol=0.02 if dtype == torch.bfloat16 else 1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_do_blocks_of_the_published_width(dtype):
    size = sizes.TransformerSize(layers=1, heads=30, text_dim=16, text_length=3)
    model = Transformer(size).to(dtype).requires_grad_(False)
    seen = []

    def noting(run, x, conditioning: Conditioning):
        seen.append(run(x, conditioning))
        return seen[-1]

    latents, text = torch.randn(2, 1, 16, 4, 4, dtype=dtype), torch.randn(2, 3, 16, dtype=dtype)
    with torch.inference_mode(), swapped(model, Trunk, wrap_blocks=lambda _: noting):
        outs = [model(latents, time, text) for time in (torch.tensor([420]), *model.times([420]))]
    assert torch.equal(*outs)
    assert torch.equal(*seen)


def test_a_part_of_the_rows_has_their_own_time():
    model = transformer()
    latents, _, text, _ = conditioned(tiny_adapter(), SINCOS)
    moved = latents + torch.tensor([1e-5, 1.0]).view(2, 1, 1, 1, 1)  # one row skips
    outs = []
    with torch.inference_mode():
        for time in (torch.tensor([500]), *model.times([500])):
            cache = StepCache(0.1)
            with swapped(model, Trunk, wrap_blocks=lambda _, cache=cache: cache):
                model(latents, time, text)
                outs.append(model(moved, time, text))
            assert cache.skipped == 1
    assert torch.equal(*outs)


@pytest.mark.parametrize("base", ["tiny_base", "tiny_wan"])
def test_videos_are_the_same(base, request, monkeypatch):
    pipeline = refilm.load(request.getfixturevalue(base), adapter=None)
    asked = pipeline.request(steps=4, guidance=3.0)

    def latents():
        *_, last = pipeline.sample(["a critter"], [None], seeds=[1], request=asked)
        return last.latents

    made, counted = latents(), []
    monkeypatch.setattr(Times, "__call__", lambda self, timestep: counted.append(timestep) or torch.tensor([timestep]))
    assert torch.equal(latents(), made)
    assert len(counted) == 4


def test_a_run_computes_them_in_parts_and_others_one_by_one():
    model, asked = transformer(), []
    times, plain = Times(model, range(2 * AHEAD, 0, -1)), model.times

    def counting(timesteps):
        asked.append(len(timesteps))
        return plain(timesteps)

    model.times = counting
    for timestep in range(2 * AHEAD, 0, -1):
        assert isinstance(times(timestep), Time)
    times(1.5)
    assert asked == [AHEAD, AHEAD, 1]


def test_weights_of_another_kind_get_the_timestep_itself():
    class Divided(torch.nn.Parameter):
        """As those of FSDP."""

    model = transformer()
    model.head.out.weight = Divided(model.head.out.weight.data)
    assert torch.equal(Times(model, PLAN)(PLAN[0]), torch.tensor([PLAN[0]]))
