"""From a recipe to what it delivers: the model that is loaded is the model that was trained, whatever of it trains."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import refilm
from refilm.checkpoints import base_weights, copy_base, fingerprint, load_adapter, load_base, read_card, save_adapter
from refilm.checkpoints.sources import POCKET
from refilm.data.drawn import Critters
from refilm.media.preprocessing import ImagePreprocessing
from refilm.recipes import read_recipe
from refilm.training.batches.datasets import DataSets
from refilm.training.engine.loop import fit
from refilm.training.tasks.diffusion import use_eager_attention

from ..model.tiny import SINCOS

RECIPE = """
stage = "adapter"
base = "{base}"
out = "{out}"

[data]
cache = "{cache}"
clips = 6
held_out_clips = 4

[diffusion]
captions = [1.0, 0.0]
curriculum = [{{ until = 4, batch = 3 }}]

[loop]
steps = 3
precision = "fp32"
optimizer = {{ learning_rate = 1e-2, warm_up = 0, ema = 0.5 }}
"""

BASE = """
stage = "base"
base = "{base}"
init_from = "{init_from}"
size = {{}}
defaults = {{ frames = 17, height = 32, width = 32 }}
data = {{ cache = "{cache}", clips = 6, held_out_clips = 4 }}
diffusion = {{ captions = [0.5, 0.5], curriculum = [{{ until = 4, batch = 3 }}] }}
loop = {{ steps = 3, precision = "fp32", optimizer = {{ learning_rate = 1e-2, warm_up = 0 }} }}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trained(tiny_base, cache, tmp_path, tmp_path_factory):
    """Train by a recipe with some more lines; returns the recipe, its task and where the result is."""

    def train(lines: str, **changes):
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.format(base=tiny_base, out=tmp_path / "out", cache=cache) + lines)
        recipe = read_recipe(path, changes)
        for _ in recipe.prepare():
            pass
        task = recipe.task()
        for _ in fit(task, recipe.loop, tmp_path_factory.mktemp("run")):
            pass
        return task, recipe.deliver(task, {})

    return train


def inputs(transformer):
    size = transformer.size
    draw = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 3, size.channels, 8, 8, generator=draw),
        torch.tensor([100, 900]),
        torch.randn(2, size.text_length, size.text_dim, generator=draw),
        torch.randn(2, 5, 128, generator=draw),
    )


@torch.no_grad()
def said(transformer, adapter=None):
    use_eager_attention(transformer)  # as in training
    *given, reference = inputs(transformer)
    return transformer(*given, None if adapter is None else adapter.references(reference))


@torch.no_grad()
def stored(module):
    """What was trained, as files hold it."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.copy_(parameter.half())


def test_low_rank_changes_come_back_with_the_adapter(trained, tiny_base):
    task, out = trained('\n[train.lora]\nrank = 4\ntargets = ["attention.query_key_value", "mlp.2"]\n')
    rows = {row.name: row for row in task.trained().rows}
    assert rows["LoRA"].trains
    assert not rows["transformer"].trains
    base = load_base(tiny_base, device="cpu", dtype="float32")
    before = said(base.transformer)
    assert fingerprint(task.transformer) == base.fingerprint()
    weights = load_file(out / "lora.safetensors")
    assert weights["trunk.blocks.1.mlp.2.lora_A.weight"].shape == (4, 4 * base.size.width)
    assert all(weight.any() for weight in weights.values())  # all have been trained

    loaded = load_adapter(out, dtype=torch.float32, base_fingerprint=base.fingerprint())
    base.attach(loaded)
    stored(task.module)
    assert torch.equal(said(base.transformer, base.attached), said(task.transformer, task.adapter))
    assert not torch.equal(said(base.transformer), before)
    base.detach()
    assert torch.equal(said(base.transformer), before)
    assert not any("lora" in name for name, _ in base.transformer.named_parameters())


def test_a_video_is_made_with_low_rank_changes_also_where_memory_is_low(trained, tiny_base, fox):
    import refilm

    _, out = trained("\n[train.lora]\nrank = 2\n")
    videos = [
        refilm.load(tiny_base, adapter=out, device="cpu", memory=memory).generate("a critter", fox, seed=1).frames
        for memory in ("high", "low")
    ]
    assert (videos[0] == videos[1]).all()


def test_an_adapter_starts_from_another(trained, tiny_base, tmp_path):
    lora = "\n[train.lora]\nrank = 4\n"
    _, first = trained(lora)
    onward = {"init_from": str(first), "out": str(tmp_path / "onward")}
    base = load_base(tiny_base, device="cpu", dtype="float32")
    base.attach(load_adapter(first, dtype=torch.float32))
    begun = read_recipe(tmp_path / "recipe.toml", onward).task()
    assert torch.equal(said(begun.transformer, begun.adapter), said(base.transformer, base.attached))

    _, second = trained(lora, **onward)
    for file in ("adapter.safetensors", "lora.safetensors"):
        before, after = load_file(first / file), load_file(second / file)
        assert before.keys() == after.keys()
        assert not any(torch.equal(before[name], after[name]) for name in before)  # all have been trained on


def test_a_transformer_starts_from_another(tiny_base, cache, tmp_path):
    begun = load_base(tiny_base, device="cpu", dtype="float32")
    copy_base(tiny_base, tmp_path / "base")
    path = tmp_path / "base.toml"
    path.write_text(BASE.format(base=tmp_path / "base", init_from=tiny_base, cache=cache))
    recipe = read_recipe(path, {"size": dataclasses.asdict(begun.size)})
    for _ in recipe.prepare():
        pass
    task = recipe.task()
    assert torch.equal(said(task.transformer), said(begun.transformer))
    for _ in fit(task, recipe.loop, tmp_path / "run"):
        pass
    recipe.deliver(task, {})
    stored(task.module)
    onward = load_base(tmp_path / "base", device="cpu", dtype="float32")
    assert torch.equal(said(onward.transformer), said(task.transformer))
    assert onward.fingerprint() != begun.fingerprint()

    with pytest.raises(ValueError, match=r"init_from: \S+ has size\.layers = 2, this recipe 3"):
        next(read_recipe(path, {"size": dataclasses.asdict(begun.size) | {"layers": 3}}).prepare())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('hidden_state = "last"', "has hidden_state = 'penultimate', this recipe 'last'"),
        ("query_norm = false", "has query_norm = True, this recipe False"),
        ("train = { lora = {} }", "has train.lora = None, this recipe"),
        ('init_from = "nowhere"', r"nowhere/adapter\.json"),
    ],
)
def test_training_cannot_start_from_an_adapter_of_another_kind(trained, tmp_path, lines, words):
    _, first = trained("")
    path = tmp_path / "recipe.toml"
    path.write_text(f"{lines}\n{path.read_text()}")
    recipe = read_recipe(path, {} if "init_from" in lines else {"init_from": str(first)})
    with pytest.raises(ValueError, match=words):
        next(recipe.prepare())


def test_training_cannot_start_from_an_adapter_with_other_image_preprocessing(trained, tmp_path):
    task, first = trained("")
    save_adapter(
        task.adapter,
        first,
        base_fingerprint=None,
        facts={},
        preprocessing=ImagePreprocessing(image_fit="squash-bilinear", hidden_state="last"),
    )
    recipe = read_recipe(tmp_path / "recipe.toml", {"init_from": str(first), "hidden_state": "last"})
    with pytest.raises(ValueError, match="has image_fit = 'squash-bilinear', this recipe 'pad'"):
        next(recipe.prepare())


def test_training_can_start_from_the_pocket_adapter(cache, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(base="pocket", out=tmp_path / "out", cache=cache / "pocket"))
    recipe = read_recipe(path, {"init_from": "pocket", "hidden_state": read_card(POCKET / "adapter").hidden_state})
    for _ in recipe.prepare():
        pass
    base = load_base("pocket", device="cpu", dtype="float32")
    base.attach(load_adapter(POCKET / "adapter", dtype=torch.float32))
    task = recipe.task()
    assert torch.equal(said(task.transformer, task.adapter), said(base.transformer, base.attached))


def test_a_layer_that_is_not_there_is_refused(trained):
    with pytest.raises(
        ValueError, match=r"train\.lora: targets: no linear layer of the transformer is called 'mlp\.1'"
    ):
        trained('\n[train.lora]\ntargets = ["mlp.1"]\n')


def test_all_of_a_model_is_delivered_as_a_base_with_its_adapter(trained, tiny_base, fox):
    import refilm

    task, out = trained('\n[train]\nwhat = "all"\n')
    assert task.trained().frozen == 0
    base = load_base(out, device="cpu", dtype="float32")
    before = load_base(tiny_base, device="cpu", dtype="float32")
    moved = [not torch.equal(w, base_weights(before.transformer)[n]) for n, w in base_weights(base.transformer).items()]
    assert all(moved)
    base.attach(load_adapter(out / "adapter", dtype=torch.float32, base_fingerprint=base.fingerprint()))
    stored(task.module)
    assert torch.equal(said(base.transformer, base.attached), said(task.transformer, task.adapter))
    assert refilm.load(out, device="cpu").generate("a critter", fox, seed=1).frames.shape == (17, 32, 32, 3)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('\n[train]\nwhat = "all"\nlora = {}\n', ": train: lora: needs a frozen transformer"),
        ('\n[train]\nbase_dtype = "bf16"\n', "loop.precision fp32 needs weights in fp32"),
        ("\n[data.encode]\nviews = { count = -1 }\n", r"data\.encode\.views\.count"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(trained, lines, words):
    with pytest.raises(ValueError, match=words):
        trained(lines)


def test_clips_of_another_kind_of_model_are_refused(trained, cache):
    task, _ = trained("")
    other = dataclasses.replace(SINCOS, text_length=task.transformer.size.text_length)
    from refilm.training.settings import DataSettings

    with pytest.raises(
        ValueError, match=r"train: has captions of 128 channels, but the base model reads captions of 24"
    ):
        DataSets(DataSettings(cache=cache / "train")).encoded(other)


@pytest.mark.parametrize(("state", "skipped", "other"), [("last", 0, "penultimate"), ("penultimate", 1, "last")])
def test_an_adapter_is_used_with_the_hidden_state_of_its_training(trained, tiny_base, cache, state, skipped, other):
    size = load_base(tiny_base, device="cpu", memory="low").defaults.height
    image = Critters(6, size=size)[0].references[0].load((0, 0, 0))
    task, out = trained("", hidden_state=state)
    pipeline = refilm.load(tiny_base, adapter=out, dtype="float32")
    tokens, encoder = pipeline.encode_references([image]), pipeline.base.encoders.image
    with torch.no_grad():
        expected = encoder.model(encoder.pixels([image]), skipped=skipped)
    assert torch.equal(tokens, expected)
    assert torch.allclose(task.train[0].references[0, 0].float(), tokens[0], atol=2e-3, rtol=2e-3)  # kept in half
    with pytest.raises(
        ValueError, match=r"its references come from other encoders .* the recipe's --base and --hidden-state"
    ):
        trained("", hidden_state=other, data={"cache": str(cache / "train")})


def test_a_cache_that_other_encoders_made_is_refused(trained, cache, tiny_base, tmp_path):
    trained("")
    from refilm.training.settings import DataSettings

    def prepared(folder: Path) -> list:
        base = load_base(folder, device="cpu")
        base.read_images_with(ImagePreprocessing())
        data = DataSets(DataSettings(cache=cache / "train", held_out=cache / "held_out"))
        return list(data.prepare(base.encoders, base.defaults, tokens=24))

    assert prepared(tiny_base) == []
    other = shutil.copytree(tiny_base, tmp_path / "other")
    (file,) = (other / "image_encoder").glob("*.safetensors")
    weights = load_file(file)
    (name,) = (name for name in weights if name.endswith("class_embedding"))
    save_file(weights | {name: -weights[name]}, file)
    with pytest.raises(ValueError, match=r"train: its references come from other encoders than the base model's"):
        prepared(other)


def test_a_cache_alone_is_split_and_a_second_one_is_validated_on(trained, cache, tiny_base):
    trained("")
    from refilm.training.settings import DataSettings

    size = load_base(tiny_base, device="cpu", memory="low").size
    train, held_out = DataSets(DataSettings(cache=cache / "train")).encoded(size)
    assert (len(train), len(held_out)) == (6, 6)  # fewer than ten
    train, held_out = DataSets(DataSettings(cache=cache / "train", held_out=cache / "held_out")).encoded(size)
    assert (len(train), len(held_out)) == (6, 4)
