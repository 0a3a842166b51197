"""Checkpointed blocks: the same bits, really computed again, whatever is frozen and whichever mode modules are in."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from refilm.backbones.cogvideox.attention import JointAttention
from refilm.model import Adapter, ReferenceAttention, eager, freeze_all_but, fused, swapped
from refilm.training.tasks.activation_checkpointing import apply_checkpointing, compile_blocks

from ...model.tiny import adapter, conditioned, transformer

MODES = ("selective", "full")


def frozen(mode="none", *, train=False):
    """A frozen transformer with an adapter that trains, and the adapter."""
    model, trained = transformer(), adapter()
    trained.attach(model)
    freeze_all_but(trained, model)
    model.train(train)
    apply_checkpointing(model, mode)
    return model, trained


def gradients(model, module, *, autocast=False):
    """Of a loss, by the parameters' names, with the loss itself and the state that random draws are left in."""
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model(*conditioned(module if isinstance(module, Adapter) else adapter())).float().square().mean()
    loss.backward()
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return {"loss": loss.detach(), "draws": torch.get_rng_state(), **found}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("autocast", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("mode", MODES)
def test_losses_and_gradients_are_the_same_bits(mode, train, autocast):
    model, trained = frozen(train=train)
    kept = gradients(model, trained, autocast=autocast)
    assert len(kept) > 10
    apply_checkpointing(model, mode)
    assert same(gradients(model, trained, autocast=autocast), kept)


@pytest.mark.parametrize("mode", MODES)
def test_random_draws_are_the_same_again(mode):
    model, trained = frozen(train=True)
    for block in model.trunk.blocks:
        block.mlp.append(nn.Dropout(0.5))
    kept = gradients(model, trained)
    apply_checkpointing(model, mode)
    assert same(gradients(model, trained), kept)


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_transformer_trains_the_same(mode):
    model, _ = frozen()
    model.requires_grad_(True)
    kept = gradients(model, model)
    apply_checkpointing(model, mode)
    assert same(gradients(model, model), kept)


def runs_of(model):
    """How often each block ran."""
    runs = [0] * len(model.trunk.blocks)

    def count(index):
        def hook(*_):
            runs[index] += 1

        return hook

    for index, block in enumerate(model.trunk.blocks):
        block.register_forward_pre_hook(count(index))
    return runs


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("mode", MODES)
def test_every_block_is_recomputed_though_the_first_input_requires_no_gradient(mode, train):
    """The fault that is known from others: frozen, or never in train mode, and checkpointing is silently off."""
    model, trained = frozen(mode, train=train)
    runs = runs_of(model)
    gradients(model, trained)
    assert runs == [2, 2]
    gradients(model, trained)
    assert runs == [4, 4]


@pytest.mark.parametrize("mode", MODES)
def test_a_block_that_no_gradient_reaches_has_nothing_to_compute_again(mode):
    model, trained = frozen(mode)
    model.trunk.blocks[0].reference = None
    runs = runs_of(model)
    gradients(model, trained)
    assert runs == [1, 2]


def test_without_gradients_nothing_is_kept_or_computed_again():
    model, trained = frozen("full")
    runs = runs_of(model)
    with torch.no_grad():
        model(*conditioned(trained))
    assert runs == [1, 1]


class Calls(TorchDispatchMode):
    """Counts how often an operation really runs."""

    def __init__(self, operation):
        super().__init__()
        self.operation, self.count = operation, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is self.operation
        return func(*args, **(kwargs or {}))


aten = torch.ops.aten
FUSED, PRODUCT = aten._scaled_dot_product_flash_attention_for_cpu.default, aten.bmm.default


@pytest.mark.parametrize(("kernel", "operation", "an_attention"), [(fused, FUSED, 1), (eager, PRODUCT, 2)])
def test_selective_does_not_compute_self_attention_again(kernel, operation, an_attention):
    counts = {}
    for mode in ("none", *MODES):
        model, trained = frozen(mode)
        with (
            swapped(model, JointAttention, kernel=lambda _: kernel),
            swapped(model, ReferenceAttention, kernel=lambda _: kernel),
            Calls(operation) as calls,
        ):
            gradients(model, trained)
        counts[mode] = calls.count
    blocks = 2
    assert counts["full"] - counts["none"] == 2 * blocks * an_attention  # to itself and to the reference
    assert counts["full"] - counts["selective"] == blocks


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["none", *MODES])
def test_compiled_blocks_give_the_same(mode):
    model, trained = frozen()
    kept = gradients(model, trained)
    apply_checkpointing(model, mode)
    compile_blocks(model)
    for _ in range(2):
        compiled = gradients(model, trained)
        for name, tensor in kept.items():
            torch.testing.assert_close(compiled[name], tensor, rtol=1e-4, atol=1e-5)


def kept(out, model):
    """Bytes that the last block keeps for its backward pass, without its weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved = {x.untyped_storage().data_ptr(): x.nbytes for x in out.grad_fn.saved_tensors}
    return sum(size for place, size in saved.items() if place not in weights)


@pytest.mark.slow
def test_compiled_blocks_keep_little_more_than_their_input():
    """Compiled blocks run no Python when they are recomputed, so their runs cannot be counted."""
    sizes = {}
    for mode in ("none", "selective"):
        model, trained = frozen(mode)
        compile_blocks(model)
        compiled, outputs = model.trunk.run_block, []

        def run(block, x, conditioning, compiled=compiled, outputs=outputs):
            outputs.append((x, compiled(block, x, conditioning)))
            return outputs[-1][1]

        model.trunk.run_block = run
        model(*conditioned(trained))
        x, out = outputs[-1]
        sizes[mode] = kept(out, model) / x.nbytes
    assert 0 < sizes["selective"] <= 4 < sizes["none"]
