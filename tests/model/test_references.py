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
    }
)


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
