import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refilm.diffusion import Condition, by_timestep, constant, guided, rising
from refilm.model import References

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
    assert without == (("unconditional", 0), ("unconditional", 1), ("text only", 0), ("text only", 1))
    assert conditional == (("conditional", 0), ("conditional", 1))


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
