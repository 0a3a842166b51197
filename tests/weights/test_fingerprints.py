"""Fingerprints: independent of storage and adapters, and different for other models."""

from dataclasses import replace
from typing import ClassVar

import torch

from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import base_weights, fingerprint, load_base, load_transformer, read_card, save_transformer

from ..model.tiny import ROTARY, SINCOS, adapter, transformer, wild


def test_adapters_do_not_count():
    model, made = transformer(), adapter()
    bare = fingerprint(model)
    made.attach(model)
    assert fingerprint(model) == bare
    made.detach(model)
    assert fingerprint(model) == bare
    assert len(bare) == 16
    assert int(bare, 16)


def test_precision_does_not_count(tmp_path):
    model = transformer()
    trained = fingerprint(model)
    save_transformer(model, tmp_path, dtype=torch.float16)
    for dtype in (None, torch.float32, torch.bfloat16):
        assert fingerprint(load_transformer(tmp_path, dtype=dtype)) == trained
    assert fingerprint(model.bfloat16().float()) == trained


def test_tiny_weights_keep_their_sign_in_half_precision():
    model = transformer()
    with torch.no_grad():
        model.text_embedding.weight.mul_(1e-8)
    trained = fingerprint(model)
    assert fingerprint(model.half()) == trained


def test_other_models_differ():
    models = [
        transformer(),
        wild(Transformer(SINCOS), seed=5),
        transformer(ROTARY),
        transformer(replace(SINCOS, layers=1)),
        transformer(replace(SINCOS, heads=1, head_dim=64)),
        transformer(replace(SINCOS, text_dim=25)),
    ]
    assert len({fingerprint(model) for model in models}) == len(models)


def test_a_short_training_changes_it():
    model = transformer().requires_grad_(True)
    before = fingerprint(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(3):
        sum(p.square().sum() for p in model.parameters()).backward()
        optimizer.step()
    assert fingerprint(model) != before


def test_every_sampled_value_counts():
    """All values of a small tensor and evenly spaced values of a large one, for the first and last tensors alike."""
    model = transformer()
    weights, before = base_weights(model), fingerprint(model)
    for name in sorted(weights)[:: max(1, len(weights) // 12)]:
        values = weights[name].view(-1)
        stride = -(-len(values) // 4096)
        sampled = range(0, len(values), stride)
        for index in {sampled[0], sampled[1], sampled[len(sampled) // 2], sampled[-1]}:
            values[index] *= -1
            assert fingerprint(model) != before, (name, index)
            values[index] *= -1
    assert fingerprint(model) == before


def test_a_renamed_module_keeps_the_fingerprint():
    class Renamed(Transformer):
        CANONICAL: ClassVar = {"final.": "head."}

        def __init__(self, size):
            super().__init__(size)
            self.final = self.head
            del self.head

    model = transformer()
    renamed = Renamed(SINCOS)
    renamed.load_state_dict({name.replace("head.", "final."): w for name, w in model.state_dict().items()})
    assert fingerprint(renamed) == fingerprint(model)
    Renamed.CANONICAL = {}
    assert fingerprint(renamed) != fingerprint(model)


def test_the_shipped_adapter_still_fits_its_base():
    """Its adapter.json was written by 0.1: the names in fingerprints must never change."""
    assert read_card("pocket").base_fingerprint == load_base("pocket", device="cpu", dtype="float32").fingerprint()
