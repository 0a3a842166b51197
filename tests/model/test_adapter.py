"""The adapter: no effect before training, scaling of its output, and the trainable parameters."""

from dataclasses import replace

import pytest
import torch

from refilm.backbones.cogvideox.sizes import cogvideox_2b
from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.model import Adapter, References, freeze_all_but
from refilm.model.adapter import trained_parameters

from .tiny import ROTARY, SINCOS, SPANNING, adapter, conditioned, transformer

SIZES = pytest.mark.parametrize("size", [SINCOS, ROTARY, SPANNING])


def test_parameters_are_counted_as_published():
    with torch.device("meta"):
        published = Adapter(AdapterSize.of(cogvideox_2b()))
    assert sum(p.numel() for p in published.layers.parameters()) == 442_598_400
    assert sum(p.numel() for p in published.projection.parameters()) == 1_968_000


@SIZES
@pytest.mark.parametrize("query_norm", [False, True])
def test_fresh_adapter_is_nothing(size, query_norm):
    model, fresh = transformer(size), adapter(size, trained=False, query_norm=query_norm)
    given = conditioned(fresh, size)
    bare = model(*given[:3])
    fresh.attach(model)
    assert torch.equal(model(*given), bare)


@SIZES
def test_trained_adapter_without_reference_or_scale_is_nothing(size):
    model, trained = transformer(size), adapter(size)
    given = conditioned(trained, size)
    bare = model(*given[:3])
    trained.attach(model)
    assert torch.equal(model(*given[:3]), bare)
    assert torch.equal(model(*conditioned(trained, size, scale=0)), bare)
    assert (model(*given) - bare).norm() / bare.norm() > 0.1
    trained.detach(model)
    assert torch.equal(model(*given[:3]), bare)


def test_scale_of_each_sample():
    model, trained = transformer(), adapter()
    trained.attach(model)
    mixed = model(*conditioned(trained, scale=torch.tensor([0.0, 0.7])))
    torch.testing.assert_close(mixed[:1], model(*conditioned(trained, scale=0))[:1])
    torch.testing.assert_close(mixed[1:], model(*conditioned(trained, scale=0.7))[1:])


def test_each_sample_sees_its_own_reference():
    model, trained = transformer(), adapter()
    latents, timestep, text, references = conditioned(trained)
    trained.attach(model)
    both = model(latents, timestep, text, references)
    alone = model(latents[1:], timestep[1:], text[1:], references.select(torch.tensor([1])))
    torch.testing.assert_close(both[1:], alone)


def test_query_norm_is_blind_to_the_size_of_video_tokens():
    for query_norm in (True, False):
        layer = adapter(query_norm=query_norm).layers[0]
        video, references = torch.randn(1, 5, SINCOS.width), References(torch.randn(1, 1, 6, SINCOS.width))
        assert torch.allclose(layer(video, references), layer(9 * video, references), atol=1e-4) == query_norm


@pytest.mark.parametrize("trained", [False, True])
def test_gradients_reach_the_adapter_alone(trained):
    model, layers = transformer().requires_grad_(True), adapter(trained=trained)
    layers.attach(model)
    freeze_all_but(layers, model)
    model(*conditioned(layers)).square().mean().backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert touched == set(trained_parameters(model))
    assert all(p.grad is not None for p in layers.parameters())
    grads = {name: p.grad.abs().max() for name, p in layers.named_parameters()}
    moving = {name for name, grad in grads.items() if grad > 0}
    outs = {name for name in grads if ".out." in name}
    assert moving == (set(grads) if trained else outs)  # zeros behind hide all else for one step


def test_a_reference_needs_an_adapter():
    with pytest.raises(ValueError, match="no adapter is attached"):
        transformer()(*conditioned(adapter()))


def test_wrong_and_second_adapters_are_refused():
    model, first = transformer(), adapter()
    given = conditioned(first)
    bare = model(*given[:3])
    with pytest.raises(ValueError, match="2 layers, 96 channels does not fit a transformer with 2 layers, 64 channels"):
        adapter(ROTARY).attach(model)
    with pytest.raises(UserError, match="of the family wan does not fit a transformer of the family cogvideox"):
        Adapter(replace(first.size, family="wan")).attach(model)
    assert torch.equal(model(*given[:3]), bare)
    with pytest.raises(ValueError, match="no adapter is attached"):
        model(*given)
    first.attach(model)
    seen = model(*given)
    with pytest.raises(ValueError, match="already has an adapter"):
        adapter(trained=False).attach(model)
    assert torch.equal(model(*given), seen)
    first.detach(model)
    adapter(trained=False).attach(model)
    assert torch.equal(model(*given), bare)
