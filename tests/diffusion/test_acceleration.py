"""The step cache on a complete tiny transformer."""

from typing import get_args

import pytest
import torch

from refilm.diffusion import Condition, StepCache, Windows, constant, gaussian, guided, run, scaled_linear, windowed
from refilm.model import Branch, References, Row, Trunk, swapped

from ..model.tiny import adapter, inputs, transformer

ADAPTER = adapter().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    made = transformer()
    ADAPTER.attach(made)
    return made.requires_grad_(False)


def sample(model, cache, seeds=(1,), steps=8):
    """The final latents of a batch of videos with guidance."""
    _, _, text, reference = inputs(batch=max(seeds) + 1)
    text, references = text[list(seeds)], ADAPTER.references(reference[list(seeds)])
    nothing = Condition(torch.zeros_like(text), References(torch.zeros_like(references.tokens)))
    draw = gaussian((len(seeds), 3, 16, 8, 12), [torch.Generator().manual_seed(seed) for seed in seeds])
    predict = guided(model, Condition(text, references), unconditional=nothing, guidance=constant(3.0))
    with swapped(model, Trunk, wrap_blocks=lambda _: cache):
        *_, last = run("ddim", predict, schedule=scaled_linear(), steps=steps, draw=draw)
    return last.latents


def test_threshold_0_is_the_plain_run(model):
    cache = StepCache(0)
    assert torch.equal(sample(model, cache), sample(model, None))
    assert (cache.calls, cache.skipped) == (16, 0)


def test_a_higher_threshold_skips_more_and_strays_further(model):
    plain, skipped, strayed = sample(model, None), [], []
    for threshold in (0.2, 0.6, 2.0):
        cache = StepCache(threshold)
        strayed.append((sample(model, cache) - plain).norm() / plain.norm())
        skipped.append(cache.skipped)
    assert 0 < skipped[0] < skipped[1] < skipped[2] < 16
    assert 0 < strayed[0] < strayed[2]


def test_branches_share_nothing_and_reuse_what_was_added(model):
    latents, timestep, text, reference = inputs()
    later = latents + 0.01 * inputs(seed=5)[0]
    conditions = [(text, ADAPTER.references(reference)), (text, None), (torch.zeros_like(text), None)]
    branches = dict(zip(get_args(Branch), conditions, strict=True))

    def run_as(branch, latents):
        rows = [Row(branch, sample) for sample in range(2)]
        return model(latents, timestep, *branches[branch], rows=rows)

    cache = StepCache(0.1)
    with swapped(model, Trunk, wrap_blocks=lambda _: cache):
        first = [run_as(branch, latents) for branch in branches]
        again = [run_as(branch, later) for branch in branches]
    assert (cache.calls, cache.skipped) == (12, 6)
    for condition, out, reused in zip(branches.values(), first, again, strict=True):
        assert torch.equal(out, model(latents, timestep, *condition))
        added = adds(model, latents, timestep, condition)
        with swapped(model, Trunk, wrap_blocks=lambda _, added=added: added):
            torch.testing.assert_close(reused, model(later, timestep, *condition))


def adds(model, latents, timestep, condition):
    """A `wrap_blocks` that adds the trunk's residual for these latents."""
    seen = []

    def note(run, x, conditioning):
        seen.append(run(x, conditioning) - x)
        return x

    with swapped(model, Trunk, wrap_blocks=lambda _: note):
        model(latents, timestep, *condition)
    return lambda run, x, conditioning: x + seen[0]


def test_videos_side_by_side_skip_each_by_itself(model):
    """One sample changes, the other hardly does: the results equal those of separate runs."""
    latents, timestep, text, reference = inputs()
    later = latents + torch.tensor([0.001, 1.0]).view(2, 1, 1, 1, 1)
    last = later + 0.001

    def all_three(rows):
        cache = StepCache(0.1)
        with swapped(model, Trunk, wrap_blocks=lambda _: cache):
            given = timestep[rows], text[rows], ADAPTER.references(reference[rows])
            outs = [model(x[rows], *given) for x in (latents, later, last)]
        return torch.stack(outs, dim=1), cache.skipped

    together, skipped = all_three([0, 1])
    (one, ones), (two, twos) = all_three([0]), all_three([1])
    torch.testing.assert_close(together, torch.cat([one, two]))
    assert (skipped, ones, twos) == (3, 2, 1)


def test_windows_in_time_share_nothing(model):
    """Both windows hardly change between two steps: each reuses its own output, and none that of the other."""
    _, timestep, text, reference = inputs()
    latents, references = inputs(frames=5)[0], ADAPTER.references(reference)
    windows, cache = Windows(5, 3, 1), StepCache(0.1)
    long = windowed(model, windows)
    with swapped(model, Trunk, wrap_blocks=lambda _: cache):
        first = long(latents, timestep, text, references)
        assert cache.skipped == 0
        again = long(latents + 1e-4, timestep, text, references)
    assert (cache.calls, cache.skipped) == (8, 4)
    assert torch.equal(first, long(latents, timestep, text, references))
    torch.testing.assert_close(again, long(latents + 1e-4, timestep, text, references), rtol=0.01, atol=0.01)


def test_reset_forgets(model):
    cache = StepCache(1.0)
    before = sample(model, cache)
    asked, skipped = cache.calls, cache.skipped
    cache.reset()
    assert torch.equal(sample(model, cache), before)
    assert (cache.calls, cache.skipped) == (asked, skipped)
    assert skipped > 0


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
def test_nonsense_is_refused(threshold):
    with pytest.raises(ValueError, match="the threshold must be 0 or more"):
        StepCache(threshold)
