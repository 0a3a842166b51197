"""References of several subjects: weights of tokens, masks, scales, and batches of them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refilm.errors import UserError
from refilm.model import References, eager, fused, swapped
from refilm.model.adapter import ReferenceAttention

from .tiny import SINCOS, adapter, conditioned, transformer

TOKENS = torch.randn(2, 3, 6, SINCOS.width, generator=torch.Generator().manual_seed(3))  # (B, S, M, D)
VIDEO = torch.randn(2, 5, SINCOS.width, generator=torch.Generator().manual_seed(4))
LAYER = adapter().layers[0].requires_grad_(False)


def term(tokens=TOKENS, **options):
    return LAYER(VIDEO, References(tokens, **options))


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def ones(**zeros):
    """Weights of all tokens, 0 where `hidden` says."""
    weight = torch.ones(TOKENS.shape[:3])
    weight[zeros["hidden"]] = 0
    return weight


def test_the_terms_of_subjects_are_added():
    close(term(), sum(term(TOKENS[:, [subject]]) for subject in range(3)))


def test_a_hidden_token_is_no_token():
    close(term(weight=ones(hidden=(..., slice(4, None)))), term(TOKENS[:, :, :4]))
    assert torch.equal(term(weight=torch.ones(2, 3, 6)), term())


def test_a_token_of_weight_two_is_two_tokens():
    weight = torch.ones(2, 3, 6)
    weight[..., 0] = 2
    close(term(weight=weight), term(torch.cat([TOKENS, TOKENS[:, :, :1]], dim=2)))


def test_a_subject_without_visible_tokens_adds_nothing():
    weight = ones(hidden=(slice(None), 1))
    close(term(weight=weight), term(TOKENS[:, [0, 2]]))
    assert not term(weight=torch.zeros(2, 3, 6)).any()


def test_weights_are_the_same_in_the_fused_kernel_and_its_twin():
    model, trained = transformer(), adapter()
    latents, timestep, text, references = conditioned(trained)
    trained.attach(model)
    weight = torch.rand(2, 1, 6, generator=torch.Generator().manual_seed(5))
    weight[0, 0, 2] = 0
    weighted = replace(references, weight=weight)
    velocity = model(latents, timestep, text, weighted)
    with swapped(model, ReferenceAttention, kernel=lambda _: eager):
        plain = model(latents, timestep, text, weighted)
    assert (plain - velocity).norm() / velocity.norm() < 5e-6
    assert (velocity - model(latents, timestep, text, references)).norm() / velocity.norm() > 0.01


def test_a_mask_says_which_video_tokens_see_a_subject():
    where = torch.zeros(2, 3, 5)
    where[:, 0, :2], where[:, 1, 2:] = 1, 0.5
    found, first, second = term(where=where), term(TOKENS[:, :1]), term(TOKENS[:, 1:2])
    close(found[:, :2], first[:, :2])
    close(found[:, 2:], 0.5 * second[:, 2:])
    assert torch.equal(term(where=torch.ones(2, 3, 5)), term())


def test_a_scale_per_subject_and_block():
    scale = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 2.0]])
    found = term(scale=scale)
    close(found[0], (term(TOKENS[:, :1]) + 0.5 * term(TOKENS[:, 1:2]))[0])
    close(found[1], 2 * term(TOKENS[:, 2:])[1])

    model, trained = transformer(), adapter()
    trained.attach(model)
    latents, timestep, text, references = conditioned(trained)
    last = replace(references, scale=torch.tensor([0.0, 1.0]).view(2, 1, 1))
    velocity = model(latents, timestep, text, last)
    model.trunk.blocks[0].reference = None
    close(velocity, model(latents, timestep, text, references))


options = st.fixed_dictionaries(
    {
        "weight": st.sampled_from([None, torch.rand(2, 3, 6)]),
        "where": st.sampled_from([None, torch.rand(2, 3, 5)]),
        "scale": st.sampled_from([0.5, torch.rand(2, 3), torch.rand(1, 3), torch.rand(4, 2, 3), torch.rand(4, 1, 1)]),
        "binding": st.sampled_from(["separate", "joint"]),
        "keys_values": st.sampled_from([None, LAYER.keys_values(TOKENS).expand(4, -1, -1, -1, -1, -1, -1)]),
    }
)


@given(options)
def test_one_subject_is_read_alike_both_ways(given):
    one = {
        name: part[..., :1, :] if name in ("weight", "where") else part
        for name, part in given.items()
        if part is not None
    }
    if isinstance(scale := one["scale"], torch.Tensor):
        one["scale"] = scale[..., :1]
    if "keys_values" in one:
        one["keys_values"] = one["keys_values"][:, :, :, :1]
    of_one = References(TOKENS[:, :1], **one).in_block(2)
    close(LAYER(VIDEO, replace(of_one, binding="joint")), LAYER(VIDEO, replace(of_one, binding="separate")))


def test_subjects_that_are_read_jointly_share_one_softmax():
    views = TOKENS.flatten(1, 2)[:, None]  # all tokens as one subject's
    close(term(binding="joint"), term(views))
    weight = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(6))
    close(term(weight=weight, binding="joint"), term(views, weight=weight.flatten(1)[:, None]))


def test_a_mask_moves_attention_between_subjects_that_are_read_jointly():
    where = torch.zeros(2, 3, 5)
    where[:, 0, 0], where[:, 1, 1], where[:, :2, 2], where[:, :2, 3] = 1, 1, 1, 0.5
    found, pair = term(where=where, binding="joint"), term(TOKENS[:, :2], binding="joint")
    close(found[:, 0], term(TOKENS[:, :1])[:, 0])
    close(found[:, 1], term(TOKENS[:, 1:2])[:, 1])
    close(found[:, 2], pair[:, 2])
    close(found[:, 3], 0.5 * pair[:, 3])
    assert not found[:, 4].any()


def test_scales_of_subjects_that_are_read_jointly():
    half = term(scale=torch.full((2, 3), 0.5), binding="joint")
    close(half, 0.5 * term(binding="joint"))
    assert not term(scale=torch.zeros(2, 3), binding="joint").any()


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_a_subject_of_scale_0_takes_no_part_in_a_joint_softmax(biased, masked):
    layer = adapter().layers[0].requires_grad_(False)
    layer.out.bias = torch.nn.Parameter(torch.randn(SINCOS.width), requires_grad=False) if biased else None
    where = torch.rand(2, 3, 5) if masked else None
    scale, hidden = torch.tensor([[0.5, 0.0, 0.0]]), ones(hidden=(slice(None), slice(1, None)))
    alone = layer(VIDEO, References(TOKENS[:, :1], where=None if where is None else where[:, :1], scale=scale[:, :1]))
    close(layer(VIDEO, References(TOKENS, where=where, scale=scale, binding="joint")), alone)
    close(layer(VIDEO, References(TOKENS, where=where, weight=hidden, binding="joint", scale=0.5)), alone)


@given(options)
def test_keys_and_values_computed_once_give_the_same_term(given):
    computed = References(TOKENS, **{**given, "keys_values": None})
    kept = replace(computed, keys_values=LAYER.keys_values(TOKENS)[None].expand(4, -1, -1, -1, -1, -1, -1))
    assert torch.equal(LAYER(VIDEO, kept.in_block(2)), LAYER(VIDEO, computed.in_block(2)))


def test_a_model_reads_prepared_references_without_computing_keys_and_values():
    model, trained = transformer(), adapter()
    trained.attach(model)
    latents, timestep, text, references = conditioned(trained)
    prepared = trained.prepared(references)
    velocity = model(latents, timestep, text, references)
    with swapped(model, ReferenceAttention, key_value=lambda _: None):
        assert torch.equal(model(latents, timestep, text, prepared), velocity)


@given(options)
def test_a_batch_is_its_samples(given):
    whole = References(TOKENS, **given).in_block(2)
    parts = [whole.select(torch.tensor([sample])) for sample in range(2)]
    assert parts[0].layout == parts[1].layout
    close(LAYER(VIDEO, References.joined(parts)), LAYER(VIDEO, whole))
    close(LAYER(VIDEO[1:], parts[1]), LAYER(VIDEO, whole)[1:])
    close(LAYER(VIDEO, parts[0].expand(2))[:1], LAYER(VIDEO, whole)[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": TOKENS[0]}, "tokens must be"),
        ({"scale": torch.ones(3, 3)}, r"scale must be \(2, 3\), or have one more axis .* received \(3, 3\)"),
        ({"weight": torch.ones(2, 6)}, r"weight must be \(2, 3, 6\), one per token, received \(2, 6\)"),
        ({"where": torch.ones(1, 3, 5)}, "where must be .* received \\(1, 3, 5\\)"),
        ({"scale": torch.ones(3)}, "scale must be"),
    ],
)
def test_shapes_that_do_not_match_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        References(**{"tokens": TOKENS, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": TOKENS[:1]}, "of 1 samples, but there are 2"),
        ({"where": torch.ones(2, 3, 5)}, "where has 5 video tokens, but these latents have 72"),
        ({"scale": torch.ones(3, 2, 3)}, "scale has 3 blocks, the transformer 2"),
    ],
)
def test_sizes_that_do_not_fit_the_forward_pass_are_refused(options, message):
    model, trained = transformer(), adapter()
    trained.attach(model)
    with pytest.raises(UserError, match=message):
        model(*conditioned(trained)[:3], References(**{"tokens": TOKENS, **options}))
    with pytest.raises(UserError, match=r"tokens must be \(B, M, 20\) or \(B, S, M, 20\), received \(2, 6, 21\)"):
        trained.references(torch.ones(2, 6, 21))


def test_every_gradient_is_finite_where_tokens_are_hidden():
    weight = torch.ones(2, 3, 6)
    weight[0, 0, :3] = weight[1, 1] = 0
    weight.requires_grad_()
    term(weight=weight).square().sum().backward()
    assert weight.grad.isfinite().all()
    assert weight.grad[0, 0, 3:].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_factors_in_float32_keep_tokens_in_half_precision(dtype):
    model, trained = transformer().to(dtype), adapter().to(dtype)
    trained.attach(model)
    latents, timestep, text, references = conditioned(trained, dtype=dtype)
    factors = {"scale": torch.tensor([[0.5], [1.0]]), "where": torch.rand(2, 1, 72), "weight": torch.rand(2, 1, 6)}
    assert model(latents, timestep, text, replace(references, **factors)).dtype == dtype


def test_a_kernel_without_bias_serves_references_without_weights():
    with swapped(LAYER, ReferenceAttention, kernel=lambda _: lambda q, k, v: fused(q, k, v)):
        assert torch.equal(term(), LAYER(VIDEO, References(TOKENS)))


def test_a_mask_is_cut_into_token_frames():
    where = torch.arange(24.0).view(1, 1, 24)  # 4 frames of 6 tokens
    references = References(TOKENS[:1, :1], where=where)
    cut = references.in_frames(torch.tensor([0, 3]), of=4)
    assert cut.where is not None
    assert cut.where.flatten().tolist() == [*range(6), *range(18, 24)]
    assert References(TOKENS).in_frames(torch.tensor([1]), of=4).where is None
    with pytest.raises(UserError, match="where has 24 video tokens, no multiple of 5 frames"):
        references.in_frames(torch.tensor([0]), of=5)
