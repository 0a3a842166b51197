"""A frozen base in 8 bits: nearly the same velocity, and the adapter's gradients flow."""

import sys

import pytest
import torch
from torch import nn

from refilm.checkpoints import load_denoiser
from refilm.model import freeze_all_but
from refilm.training.engine.quantized import quantize_base
from refilm.training.tasks.activation_checkpointing import apply_checkpointing

from ...model.tiny import adapter, conditioned, transformer


def pair():
    model, trained = transformer(), adapter()
    trained.attach(model)
    freeze_all_but(trained, model)
    return model, trained


def gradient(model, trained):
    trained.zero_grad()
    model(*conditioned(trained)).square().mean().backward()
    return torch.cat([weight.grad.flatten() for weight in trained.parameters()])


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_outputs_and_gradients_stay_close():
    model, trained = pair()
    with torch.no_grad():
        velocity = model(*conditioned(trained))
    plain = gradient(model, trained)
    assert quantize_base(model) < sum(p.nbytes for p in model.trunk.parameters()) / 3
    with torch.no_grad():
        assert 0 < distance(model(*conditioned(trained)), velocity) < 0.01
    assert 0 < distance(gradient(model, trained), plain) < 0.015


def test_the_pocket_model_stays_as_close_as_rounded_weights_allow():
    denoiser = load_denoiser("pocket", dtype=torch.float32)
    model, size = denoiser.transformer, denoiser.transformer.size
    model.requires_grad_(False)
    draw = torch.Generator().manual_seed(0)
    given = (
        torch.randn(2, 5, size.channels, 8, 8, generator=draw),
        torch.tensor([100, 800]),
        torch.randn(2, size.text_length, size.text_dim, generator=draw),
        torch.randn(2, 65, 128, generator=draw),
    )
    ours = {layer for block in model.trunk.blocks for layer in block.reference.modules()}
    layers = [layer for layer in model.trunk.modules() if isinstance(layer, nn.Linear) and layer not in ours]
    exact = [layer.weight.clone() for layer in layers]
    with torch.no_grad():
        velocity = denoiser(*given)
        for layer in layers:
            scale = layer.weight.abs().amax(dim=1, keepdim=True) / 127
            layer.weight.copy_((layer.weight / scale).round() * scale)
        rounded = distance(denoiser(*given), velocity)
        for layer, weight in zip(layers, exact, strict=True):
            layer.weight.copy_(weight)
        quantize_base(model)
        assert 0 < distance(denoiser(*given), velocity) < 1.2 * rounded < 0.015


@pytest.mark.parametrize("mode", ["selective", "full"])
def test_checkpointing_gives_the_same_bits(mode):
    model, trained = pair()
    quantize_base(model)
    kept = gradient(model, trained)
    apply_checkpointing(model, mode)
    assert torch.equal(gradient(model, trained), kept)


def test_under_autocast_layers_give_what_plain_ones_give():
    model, _ = pair()
    layer, x = model.trunk.blocks[0].mlp[0], torch.randn(2, 7, model.size.width)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain = layer(x)
        quantize_base(model)
        assert layer(x).dtype == plain.dtype == torch.bfloat16
        assert distance(layer(x).float(), plain.float()) < 0.01


def test_what_trains_is_left_alone():
    model, trained = pair()
    before = [weight.clone() for weight in trained.parameters()]
    model.trunk.blocks[0].attention.out.requires_grad_(True)
    quantize_base(model)
    assert all(torch.equal(one, other) for one, other in zip(trained.parameters(), before, strict=True))
    assert type(model.trunk.blocks[0].attention.out.weight) is torch.nn.Parameter
    assert type(model.head.out.weight) is torch.nn.Parameter


def test_a_base_that_trains_is_refused():
    with pytest.raises(ValueError, match="no linear layer of the transformer's blocks is frozen"):
        quantize_base(transformer().requires_grad_(True))


def test_without_torchao_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ValueError, match=r'need torchao: pip install "refilm\[quant\]"'):
        quantize_base(transformer())
