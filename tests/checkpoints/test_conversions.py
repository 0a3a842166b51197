"""Conversions copy every tensor bit-exactly and report ignored keys."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import refilm
from refilm.backbones.cogvideox.autoencoder import load_autoencoder
from refilm.backbones.cogvideox.sat import PREFIX, PROJECTION, save_sat
from refilm.checkpoints import (
    convert,
    describe,
    fingerprint,
    load_adapter,
    load_denoiser,
    read_card,
    save_adapter,
)
from refilm.checkpoints.sources import SAT_PREPROCESSING
from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter

from ..model.tiny import REFERENCE_DIM, ROTARY, SINCOS, adapter, conditioned, inputs, transformer
from ..parity.test_autoencoder import FIXTURES as AUTOENCODER
from ..parity.test_transformer import CHECKPOINT, weights
from .test_bases import PROMPT, sat_base

SIZE = replace(SINCOS, head_norm_eps=1e-6)
NEVER_CALLED = "post_cross_attention_layernorm"


def module(path):
    file = path if path.suffix == ".pt" else path / "1" / "mp_rank_00_model_states.pt"
    return torch.load(file, weights_only=True)["module"]


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(
        ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]) for key in ours
    )


def test_to_diffusers_and_back_bit_by_bit(tmp_path):
    """The original file with its adapter and its position table."""
    there = convert(CHECKPOINT, tmp_path / "base")
    assert {path.name for path in there.written} == {
        "transformer",
        "scheduler",
        "adapter",
        "model_index.json",
        "refilm.json",
    }
    assert any(
        f"{NEVER_CALLED}.bias and 5 more" in note or f"{NEVER_CALLED}.weight and 5 more" in note for note in there.notes
    )
    assert any("no image projection in the file" in note for note in there.notes)
    convert(tmp_path / "base", tmp_path / "back")
    back, original = module(tmp_path / "back"), weights()
    dropped = {key for key in original if NEVER_CALLED in key}
    assert len(dropped) == 6
    made = {f"{PROJECTION}.{kind}" for kind in ("weight", "bias")}  # the identity, for there was none
    assert same(
        {k: w for k, w in back.items() if k not in made}, {k: w for k, w in original.items() if k not in dropped}
    )
    latents, timesteps, _, _ = inputs(SIZE)
    given = latents, timesteps, torch.randn(2, 7, 48), torch.randn(2, 10, 64)
    expected = load_denoiser(CHECKPOINT)(*given)
    for place in ("base", "back"):
        torch.testing.assert_close(load_denoiser(tmp_path / place)(*given), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [SIZE, replace(ROTARY, head_norm_eps=1e-6)])
def test_every_precision_and_position_comes_back(tmp_path, dtype, size, caplog):
    model, made = transformer(size).to(dtype), adapter(size).to(dtype)
    save_sat(tmp_path / "a.pt", model, made, frames=9)
    if size.position == "rotary":
        tensors = module(tmp_path / "a.pt") | {f"{PREFIX}mixins.pos_embed.freqs_cos": torch.ones(3, 3)}
        torch.save({"module": tensors}, tmp_path / "a.pt")
    convert(tmp_path / "a.pt", tmp_path / "base")
    assert load_denoiser(tmp_path / "base").transformer.size.position == size.position
    convert(tmp_path / "base", tmp_path / "b.pt")
    theirs = {key: w for key, w in module(tmp_path / "a.pt").items() if "freqs" not in key}
    assert same(module(tmp_path / "b.pt"), theirs)
    convert(tmp_path / "base", tmp_path / "half", dtype="float16")
    assert {weight.dtype for weight in module(tmp_path / "half").values()} == {torch.float16}


def test_an_adapter_there_and_back(tmp_path):
    save_sat(tmp_path / "s.pt", transformer(SIZE), adapter(SIZE), frames=9)
    done = convert(tmp_path / "s.pt", tmp_path / "adapter", only="adapter")
    assert done.written == (tmp_path / "adapter",)
    card = read_card(tmp_path / "adapter")
    assert card.base_fingerprint == fingerprint(transformer(SIZE))
    assert (card.image_encoder, card.image_fit) == ("openai/clip-vit-large-patch14", "squash-bilinear")
    assert card.size.reference_dim == REFERENCE_DIM
    page = (tmp_path / "adapter" / "README.md").read_text()
    assert card.base_fingerprint in page
    assert "squashed to a square" in page
    for name, weight in load_adapter(tmp_path / "adapter").state_dict().items():
        assert torch.equal(weight, adapter(SIZE).state_dict()[name])

    for target in ("alone.safetensors", "alone.pt", "alone"):
        convert(tmp_path / "adapter", tmp_path / target)
    alone = load_file(tmp_path / "alone.safetensors")
    whole = module(tmp_path / "s.pt")
    assert same(alone, {key: w for key, w in whole.items() if "cross_attention" in key or PROJECTION in key})
    assert same(alone, module(tmp_path / "alone.pt"))
    assert same(alone, module(tmp_path / "alone"))


def test_an_adapter_alone_needs_its_base(tmp_path):
    save_sat(tmp_path / "s.pt", transformer(SIZE), frames=9)
    save_sat(tmp_path / "alone.pt", None, adapter(SIZE))
    with pytest.raises(
        ValueError, match=r"alone\.pt: the number of heads of this adapter is unknown; pass its base model"
    ):
        convert(tmp_path / "alone.pt", tmp_path / "a")
    convert(tmp_path / "alone.pt", tmp_path / "a", base=tmp_path / "s.pt")
    ours, given = load_denoiser(tmp_path / "s.pt", adapter=tmp_path / "a"), inputs(SIZE)
    assert read_card(tmp_path / "a").base_fingerprint == fingerprint(ours.transformer)
    model, made = transformer(SIZE), adapter(SIZE)
    made.attach(model)
    assert torch.equal(ours(*given), model(*conditioned(made, SIZE)))
    other = transformer(replace(SIZE, heads=4, head_dim=16))
    save_sat(tmp_path / "other.pt", other, frames=9)
    with pytest.raises(
        ValueError, match=f"trained on the base model {fingerprint(model)}, does not fit the base model"
    ):
        load_denoiser(tmp_path / "other.pt", adapter=tmp_path / "a")


def test_a_published_adapter_alone_is_for_any_base_of_its_size(tmp_path):
    small = Adapter(AdapterSize(1, 30, 64, 8))
    torch.nn.init.normal_(small.layers[0].out.weight)
    save_sat(tmp_path / "alone.pt", None, small, dtype=torch.bfloat16)
    done = convert(tmp_path / "alone.pt", tmp_path / "a")
    assert any("base model is unknown" in note for note in done.notes)
    card = read_card(tmp_path / "a")
    assert (card.base_fingerprint, card.size.heads, card.size.head_dim, card.dtype) == (None, 30, 64, "bfloat16")
    assert load_adapter(tmp_path / "a", base_fingerprint="feed").size == small.size
    assert "unknown" in (tmp_path / "a" / "README.md").read_text()


def test_an_adapter_is_converted_to_the_format_of_its_family(tmp_path):
    other = Adapter(AdapterSize(1, 2, family="newer"))
    save_adapter(other, tmp_path / "a", base_fingerprint=None, facts={})
    assert load_adapter(tmp_path / "a").size.family == "newer"
    with pytest.raises(UserError, match=r"unknown model family 'newer': this refilm has cogvideox.*; update refilm"):
        convert(tmp_path / "a", tmp_path / "alone.pt")


@pytest.mark.parametrize("family", ["../../x", "", "wan\n", "W" * 100_000, 7])
def test_an_adapter_with_a_family_that_is_no_name_is_refused(tmp_path, family):
    save_adapter(Adapter(AdapterSize(1, 2)), tmp_path / "a", base_fingerprint=None, facts={})
    path = tmp_path / "a" / "adapter.json"
    card = json.loads(path.read_text())
    card["size"]["family"] = family
    path.write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"adapter\.json: size\.family"):
        read_card(tmp_path / "a")


def test_back_to_the_research_code_it_is_told_what_that_does_otherwise(tmp_path):
    reads = {"base_fingerprint": None, "facts": {}}
    save_adapter(adapter(SIZE), tmp_path / "same", preprocessing=SAT_PREPROCESSING, **reads)
    assert convert(tmp_path / "same", tmp_path / "same.pt").notes == ()
    save_adapter(adapter(SIZE), tmp_path / "other", preprocessing=ImagePreprocessing(), **reads)
    padded, penultimate = convert(tmp_path / "other", tmp_path / "other.pt").notes
    assert "squashes" in padded
    assert "the penultimate hidden state; SAT uses the last" in penultimate


def test_an_autoencoder(tmp_path):
    convert(AUTOENCODER / "3d-vae.pt", tmp_path / "vae")
    model = load_autoencoder(tmp_path / "vae", dtype=torch.float32)
    given = load_file(AUTOENCODER / "io.safetensors")
    with torch.no_grad():
        close = model.encoder(given["x_17"].float()) - given["moments_17"]
    assert close.abs().max() < 2e-5


def test_a_whole_sat_folder_makes_the_same_videos_converted(tmp_path):
    source = sat_base(tmp_path / "sat")
    convert(source, tmp_path / "base")
    asked = {"seed": 1, "steps": 2, "frames": 5, "height": 32, "width": 48}
    ours, theirs = (refilm.load(place, adapter=None).generate(PROMPT, **asked) for place in (tmp_path / "base", source))
    assert (ours.frames == theirs.frames).all()
    converted = refilm.load(tmp_path / "base")
    assert converted.adapter is not None
    assert converted.base.defaults.frames == 9
    assert (converted.base.defaults.height, converted.base.defaults.width) == (32, 48)


def test_nothing_stays_where_a_conversion_fails(tmp_path):
    broken = weights()
    broken[f"{PREFIX}transformer.layers.2.cross_attention.dense.bias"][3] = float("inf")  # the adapter is written last
    torch.save({"module": broken}, tmp_path / "broken.pt")
    with pytest.raises(
        ValueError, match=r"broken\.pt: .*layers\.2\.cross_attention\.dense\.bias contains NaN or infinity"
    ):
        convert(tmp_path / "broken.pt", tmp_path / "base")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pt"]
    convert(CHECKPOINT, tmp_path / "base")
    with pytest.raises(ValueError, match="base: is not empty; choose an empty or new folder"):
        convert(CHECKPOINT, tmp_path / "base")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing: no such file or folder"),
        ("video.mp4", r"video\.mp4: is neither a folder nor a weights file"),
        ("plain.safetensors", r"plain\.safetensors: unknown weights format \(its first key is x\)"),
        ("empty", r"config\.json: no such file"),
    ],
)
def test_what_cannot_be_converted_is_told(tmp_path, name, message):
    from safetensors.torch import save_file

    (tmp_path / "video.mp4").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    save_file({"x": torch.ones(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / name, tmp_path / "target")
    with pytest.raises(ValueError, match="unknown dtype 'int8': choose float32, bfloat16, float16"):
        convert(tmp_path / name, tmp_path / "target", dtype="int8")
    with pytest.raises(ValueError, match="is the source of the conversion"):
        convert(tmp_path / "empty", tmp_path / "empty")
    assert not (tmp_path / "target").exists()


def test_descriptions(tmp_path, tiny_base):
    description = describe(CHECKPOINT)
    assert description.kind == "SAT checkpoint: transformer and adapter"
    assert description.size.layers == 3
    assert description.parameters == 300_800 - 3 * 128 - 79 * 64
    assert description.dtypes == {"float32": description.parameters}
    assert any(NEVER_CALLED in key for key in description.facts["ignored keys"])

    base = describe(tiny_base)
    assert base.kind == "base model, diffusers' layout"
    assert [part.path.name for part in base.parts] == ["transformer", "text_encoder", "image_encoder", "vae", "adapter"]
    assert base.parts[0].size == load_denoiser(tiny_base).transformer.size == base.size
    assert base.parts[0].dtypes == {
        "float32": sum(w.numel() for w in load_denoiser(tiny_base, adapter=None).transformer.parameters())
    }
    assert base.parameters == sum(part.parameters for part in base.parts)
    token = "pixels of 4 frames; the first token covers the first frame alone"
    assert base.facts == {"video token": f"8 x 8 {token}"}
    assert base.parts[4].fingerprint == fingerprint(load_denoiser(tiny_base).transformer)

    sat = describe(sat_base(tmp_path / "sat"))
    assert [part.kind for part in sat.parts] == [
        "SAT checkpoint: transformer and adapter",
        "SAT autoencoder",
        "T5EncoderModel",
    ]
    assert sat.parts[1].facts["block_out_channels"] == [32, 32, 64, 32]
    assert sat.facts == {"video token": f"16 x 16 {token}"}
    save_sat(tmp_path / "alone.safetensors", None, adapter(SIZE))
    with pytest.raises(ValueError, match="the number of heads of this adapter is unknown"):
        describe(tmp_path / "alone.safetensors")
    with pytest.raises(ValueError, match="is neither a model's folder nor a weights file"):
        describe(tmp_path)


def adapter_count(base):
    return sum(weight.numel() for weight in load_adapter(base / "adapter").state_dict().values())
