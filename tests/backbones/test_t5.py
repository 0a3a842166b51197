"""The encoders of T5 and UMT5 compared with those of transformers, with the same weights."""

import pytest
import torch
import transformers
from transformers import PreTrainedModel, T5EncoderModel, UMT5EncoderModel

from refilm.backbones.t5 import T5Config, T5Encoder, UMT5Config, bucket

MODELS = {
    "t5": (T5Config, transformers.T5Config, T5EncoderModel),
    "umt5": (UMT5Config, transformers.UMT5Config, UMT5EncoderModel),
}


def both(model: str = "t5", **options) -> tuple[T5Encoder, PreTrainedModel]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "d_model": 24, "d_kv": 12, "d_ff": 48, "num_layers": 3, "num_heads": 2, **options}
    our_config, their_config, their_model = MODELS[model]
    ours, theirs = T5Encoder(our_config(model_type=model, **sizes)), their_model(their_config(**sizes))
    for weight in theirs.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    weights = theirs.state_dict()
    del weights["encoder.embed_tokens.weight"]  # the same as shared.weight
    ours.load_state_dict(weights)
    return ours.eval(), theirs.eval()


@torch.no_grad()
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["relu", "gated-gelu"])
@pytest.mark.parametrize("options", [{}, {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16}])
@pytest.mark.parametrize("length", [1, 7, 226])
def test_embeddings_are_those_of_transformers(model, kind, options, length):
    ours, theirs = both(model, feed_forward_proj=kind, layer_norm_epsilon=0.1, **options)
    tokens = torch.randint(0, 40, (2, length))
    assert torch.allclose(ours(tokens), theirs(input_ids=tokens).last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_defaults_are_those_of_transformers(model):
    ours, theirs, _ = MODELS[model]
    made, expected = ours(model_type=model).model_dump(), theirs().to_dict()
    assert made == {name: expected[name] for name in made}


@torch.no_grad()
def test_float16_does_not_overflow():
    ours, theirs = both()
    for model in (ours, theirs):
        model.half()
        model.shared.weight.mul_(3e4)
        model.encoder.block[1].layer[0].SelfAttention.o.weight.fill_(6e4)
    tokens = torch.randint(0, 40, (2, 9))
    made = ours(tokens)
    assert made.isfinite().all()
    assert torch.equal(made, theirs(input_ids=tokens).last_hidden_state)


def test_each_distance_has_a_bucket():
    """Keys before and after the query have their own; near ones are exact, distant ones share."""
    found = bucket(torch.arange(-200, 201), buckets=32, farthest=128)
    assert found[200 - 8 : 201].tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert found[201:209].tolist() == [17, 18, 19, 20, 21, 22, 23, 24]
    assert found[0] == found[200 - 128] == 15
    assert found[-1] == 31
    assert found[200:].diff()[1:].min() >= 0
