import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refilm.diffusion import Condition, by_timestep, constant, guided, limited, rising
from refilm.model import References, Row

from ..model.tiny import adapter, inputs, transformer

LATENTS = torch.randn(2, 2, 4, 2, 2)


class Toy:
    """Velocity = latents + text + reference + timestep; every call is recorded."""

    def __init__(self):
        self.calls, self.rows = [], []

    def __call__(self, latents, timesteps, text, references, *, rows):
        assert len(rows) == len(latents)
        self.calls.append((len(latents), references is not None))
        self.rows.append(rows)
        total = text.mean((1, 2)) + timesteps / 1000
        total = total if references is None else total + references.tokens.mean((1, 2, 3))
        return latents + total.view(-1, 1, 1, 1, 1)


def condition(text, reference=None):
    references = None if reference is None else References(torch.full((1, 1, 5, 6), float(reference)))
    return Condition(torch.full((1, 3, 4), float(text)), references)


@pytest.mark.parametrize(
    ("empty", "likeness", "expected", "calls"),
    [
        (condition(0, 0), None, 4.0 * (1 + 10), [(4, True)]),
        (condition(0), None, 4.0 * (1 + 10), [(2, False), (2, True)]),
        (condition(0, 0), 2.0, 4.0 * 1 + 2.0 * 10, [(6, True)]),
        (condition(0), 2.0, 4.0 * 1 + 2.0 * 10, [(4, False), (2, True)]),
    ],
)
def test_what_is_added_and_how_it_is_batched(empty, likeness, expected, calls):
    model = Toy()
    predict = guided(
        model,
        condition(1, 10),
        unconditional=empty,
        guidance=constant(4.0),
        reference_guidance=None if likeness is None else constant(likeness),
    )
    torch.testing.assert_close(predict(LATENTS, 500, 0.5), LATENTS + 0.5 + expected, rtol=0, atol=1e-4)
    assert model.calls == calls


def test_every_row_is_named_by_its_branch_and_sample():
    model = Toy()
    guidance = {"guidance": constant(4.0), "reference_guidance": constant(2.0)}
    guided(model, condition(1, 10), unconditional=condition(0), **guidance)(LATENTS, 500, 0.5)
    without, conditional = model.rows
    assert without == (Row("unconditional", 0), Row("unconditional", 1), Row("text only", 0), Row("text only", 1))
    assert conditional == (Row("conditional", 0), Row("conditional", 1))


@given(scale=st.floats(-2, 12))
def test_equal_scales_apart_are_one_scale_together(scale):
    branches = {"unconditional": condition(0, 0), "guidance": constant(scale)}
    together = guided(Toy(), condition(1, 10), **branches)
    apart = guided(Toy(), condition(1, 10), **branches, reference_guidance=constant(scale))
    torch.testing.assert_close(together(LATENTS, 3, 0.0), apart(LATENTS, 3, 0.0), rtol=0, atol=1e-4)


def test_a_scale_of_one_runs_the_model_once():
    model = Toy()
    predict = guided(model, condition(1, 10), unconditional=condition(0, 0), guidance=rising(6.0))
    torch.testing.assert_close(predict(LATENTS, 999, 0.0), LATENTS + 0.999 + 11)
    predict(LATENTS, 19, 0.98)
    assert model.calls == [(2, True), (4, True)]


def test_conditions_may_differ_from_sample_to_sample():
    text = torch.arange(2.0).view(2, 1, 1).expand(2, 3, 4)
    predict = guided(Toy(), Condition(text), unconditional=condition(0), guidance=constant(3.0))
    expected = LATENTS + 3 * torch.arange(2.0).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(predict(LATENTS, 0, 0.0), expected, rtol=0, atol=1e-5)


PASSES = {
    "disabled": (1, condition(1, 10), condition(0), 1.0, None),
    "joint": (2, condition(1, 10), condition(0), 4.0, None),
    "scale 0": (1, condition(1, 10), condition(0), 0.0, None),
    "three-way": (3, condition(1, 10), condition(0), 4.0, 2.0),
    "three-way, equal scales": (2, condition(1, 10), condition(0), 4.0, 4.0),
    "three-way, only the reference": (2, condition(1, 10), condition(0), 1.0, 4.0),
    "three-way, only the text": (2, condition(1, 10), condition(0), 4.0, 0.0),
    "three-way, negative reference": (3, condition(1, 10), condition(0, 5), 4.0, 2.0),
    "three-way, equal texts": (2, condition(1, 10), condition(1), 4.0, 2.0),
    "three-way, equal texts, disabled": (1, condition(1, 10), condition(1), 4.0, 1.0),
    "three-way, no reference": (2, condition(1), condition(0), 4.0, 2.0),
    "three-way, nothing to drop": (1, condition(1), condition(1), 4.3, 2.1),
    "joint, nothing to drop": (1, condition(1), condition(1), 4.0, None),
}


@pytest.mark.parametrize(("passes", "given", "null", "scale", "likeness"), PASSES.values(), ids=PASSES)
def test_a_step_runs_as_few_branches_as_its_sum_needs(passes, given, null, scale, likeness):
    model = Toy()
    of_reference = None if likeness is None else constant(likeness)
    predict = guided(model, given, unconditional=null, guidance=constant(scale), reference_guidance=of_reference)
    found = predict(LATENTS, 500, 0.5)
    assert sum(rows for rows, _ in model.calls) == passes * len(LATENTS)

    text_only, likeness = Condition(given.text, null.references), scale if likeness is None else likeness
    one, two, three = (Toy()(LATENTS, 500, c.text, c.references, rows=[0, 0]) for c in (null, text_only, given))
    expected = one + scale * (two - one) + likeness * (three - two)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    if passes == 1:
        assert any(torch.equal(found, branch) for branch in (one, three))


def test_branches_that_run_as_one_have_the_name_of_the_fuller_condition():
    model = Toy()
    scales = {"guidance": constant(4.0), "reference_guidance": constant(2.0)}
    guided(model, condition(1), unconditional=condition(0), **scales)(LATENTS[:1], 500, 0.5)
    guided(model, condition(1, 10), unconditional=condition(1), **scales)(LATENTS[:1], 500, 0.5)
    assert model.rows == [
        (Row("unconditional", 0), Row("conditional", 0)),
        (Row("text only", 0),),
        (Row("conditional", 0),),
    ]


def test_samples_with_one_and_with_several_texts_are_compared():
    """The null prompt is one row, the prompts of a batch are several."""
    texts = torch.stack([torch.zeros(3, 4), torch.ones(3, 4)])
    for text, passes in ((texts, 2), (texts * 0, 1)):
        model = Toy()
        guided(model, Condition(text), unconditional=condition(0), guidance=constant(3.0))(LATENTS, 0, 0.0)
        assert model.calls == [(passes * 2, False)]


def test_guidance_only_at_some_steps_is_one_pass_at_the_others():
    model, steps = Toy(), 7
    scales = {
        "guidance": limited(constant(4.0), range(2, 5), steps=steps),
        "reference_guidance": limited(constant(2.0), range(2, 5), steps=steps),
    }
    predict = guided(model, condition(1, 10), unconditional=condition(0, 0), **scales)
    for index in range(steps):
        predict(LATENTS, 500, index / steps)
    assert [rows // len(LATENTS) for rows, _ in model.calls] == [1, 1, 3, 3, 3, 1, 1]
    assert [rows[0].branch for rows in model.rows][:3] == ["conditional", "conditional", "unconditional"]


def test_a_range_of_steps_survives_the_rounding_of_fractions():
    for steps in range(1, 1000):
        for index in {0, steps // 3, steps // 2, 29 % steps, steps - 1}:
            here = limited(constant(4.0), {index}, steps=steps)
            assert [here(other / steps, 0) for other in (index - 1, index, index + 1)] == [1.0, 4.0, 1.0]


def test_the_reference_guidance_moves_away_from_a_negative_reference():
    """On a complete transformer: another image, with other tokens, in place of no image wherever it is dropped."""
    made, images = adapter().requires_grad_(False), inputs(seed=3)[3]
    model = transformer()
    made.attach(model)
    latents, _, text, tokens = inputs()
    given = Condition(text, made.references(tokens))
    scales = {"guidance": constant(4.0), "reference_guidance": constant(2.0)}
    for negative in (made.references(images[:1]), made.references(images[:1, :4])):
        null = Condition(torch.zeros_like(text), negative)
        found = guided(model, given, unconditional=null, **scales)(latents, 500, 0.5)
        alone = [
            model(latents, torch.full((2,), 500), text, references)
            for text, references in (
                (null.text, negative.expand(2)),
                (text, negative.expand(2)),
                (text, given.references),
            )
        ]
        expected = alone[0] + 4 * (alone[1] - alone[0]) + 2 * (alone[2] - alone[1])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        without = guided(model, given, unconditional=Condition(null.text), **scales)(latents, 500, 0.5)
        assert (found - without).abs().max() > 0.01


def test_rising_starts_at_none_and_never_falls():
    scales = [rising(6.0)(index / 50, 0) for index in range(51)]
    assert scales[0] == 1.0
    assert scales[-1] == pytest.approx(7.0)
    assert scales == sorted(scales)
    scales = [rising(6.0)(fraction, 0) for fraction in (0.25, 0.5, 0.8, 0.9, 0.98)]
    assert scales == pytest.approx([1.00001, 1.01445, 2.4541, 4.84141, 6.86437], abs=1e-5)
    assert rising(6.0, power=1.0)(0.5, 0) == pytest.approx(4.0)


def test_by_timestep_jumps_about_as_published():
    scales = [by_timestep(5)(0.0, timestep) for timestep in (999, 799, 599, 399, 199)]
    assert scales == pytest.approx([6.81703, 2.99902, 2.45931, 6.96550, 1.76017], abs=1e-5)
