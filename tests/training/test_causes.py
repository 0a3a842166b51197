"""A loss that is not finite is blamed on what caused it: a clip, the base's weights, or the learning rate."""

from dataclasses import replace

import pytest
import torch

from refilm.data.encoding import EncodedSet
from refilm.training.engine.step import Trainer
from refilm.training.overfit import overfit
from refilm.training.settings import OptimizerSettings, StepSettings

from .encoded import encoded, task_on

SETTINGS = StepSettings(steps=20, precision="fp32", optimizer=OptimizerSettings(kind="adamw", warm_up=0))
RATE = "lower loop.optimizer.learning_rate"


@pytest.fixture(scope="module")
def cache(tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    encoded(tiny_base, folder, 6)
    return folder


def spoiled(cache, name: str, value: float) -> EncodedSet:
    """A cache whose clip 4 has a value that is not finite."""
    clips = EncodedSet(cache)
    read = clips._cache.clip

    def clip(place: int):
        made = read(place)
        if place != 4:
            return made
        tensor = getattr(made, name).clone()
        tensor.view(-1)[-1] = value
        return replace(made, **{name: tensor})

    clips._cache.clip = clip
    return clips


def advance(run: Trainer, steps: int) -> None:
    for _ in range(steps):
        run.advance()


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("mean", torch.nan, "latents"),
        ("logvar", torch.inf, "latents"),
        ("text", torch.nan, "text"),
        ("references", -torch.inf, "references"),
    ],
)
def test_a_clip_is_named_with_its_file(cache, tiny_base, name, value, kind):
    clips = spoiled(cache, name, value)
    task = task_on(clips, tiny_base, captions=(0.0, 1.0) if name == "text" else None)
    (shard,) = cache.glob(f"{kind}-*.safetensors")
    named = f"{name} of {clips.entries[4].video}, in {shard}; delete that file and run refilm data encode again"
    with pytest.raises(FloatingPointError, match=r"step \d: loss nan, .* because its input is not finite: ") as error:
        advance(Trainer(task, SETTINGS), 20)
    assert named in str(error.value)
    assert RATE not in str(error.value)


def test_a_held_out_clip_is_named(cache, tiny_base):
    clips = spoiled(cache, "mean", torch.nan)
    task = task_on(clips, tiny_base)
    with pytest.raises(FloatingPointError, match=r"validation: .* because its input is not finite: mean of"):
        task.validate()


def test_a_self_test_names_the_clip_too(cache, tiny_base):
    test = overfit(task_on(spoiled(cache, "mean", torch.nan), tiny_base), SETTINGS, 6)
    with pytest.raises(FloatingPointError, match="mean of "):
        next(test)


def test_a_weight_of_the_base_is_named(cache, tiny_base):
    task = task_on(EncodedSet(cache), tiny_base)
    with torch.no_grad():
        task.transformer.head.out.weight[0, 0] = torch.nan
    with pytest.raises(
        FloatingPointError, match=r"the base model's weight transformer\.head\.out\.weight is not fin"
    ) as error:
        Trainer(task, SETTINGS).advance()
    assert RATE not in str(error.value)


def test_the_first_step_blames_no_learning_rate_and_later_ones_do(cache, tiny_base):
    task = task_on(EncodedSet(cache), tiny_base)
    run = Trainer(task, SETTINGS)
    with torch.no_grad():
        before = task.adapter.layers[0].out.bias.clone()
        task.adapter.layers[0].out.bias.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="in samples 0 to 7, with the initial weights") as error:
        run.advance()
    assert RATE not in str(error.value)
    with torch.no_grad():
        task.adapter.layers[0].out.bias.copy_(before)
    run.advance()
    with torch.no_grad():
        task.adapter.layers[0].out.bias.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=f"in samples 8 to 15; resuming unchanged would fail again, so {RATE}"):
        run.advance()
