"""SAT checkpoints: inferred sizes, ignored keys, rejected models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from refilm.backbones.cogvideox.position import sincos_table
from refilm.backbones.cogvideox.sat import PREFIX, PROJECTION, open_sat, sat_path, save_sat
from refilm.backbones.cogvideox.sat_sizes import TABLE, geometry_of
from refilm.backbones.cogvideox.sizes import cogvideox_2b
from refilm.checkpoints import load_denoiser
from refilm.geometry import AdapterSize, Grid
from refilm.model import Adapter

from ...model.tiny import ROTARY, SINCOS, adapter, conditioned, inputs, transformer

SIZE = replace(SINCOS, head_norm_eps=1e-6)
PATCHES = f"{PREFIX}mixins.patch_embed.proj.weight"


def states(path, change=None, wrapper="module", **beside):
    """A checkpoint file with a transformer and an adapter; `change` can change its weights; `beside` adds files."""
    save_sat(path, transformer(SIZE), adapter(SIZE), frames=9)
    weights = torch.load(path, weights_only=True)["module"]
    if change is not None:
        change(weights)
    torch.save({wrapper: weights, **beside} if wrapper else weights, path)
    return path


def table(weights):
    return weights[PREFIX + TABLE]


@pytest.mark.parametrize("name", ["folder", "file.pt", "file.safetensors"])
def test_saved_and_loaded_is_the_same(tmp_path, name):
    model, made, given = transformer(SIZE), adapter(SIZE), inputs(SIZE)
    save_sat(tmp_path / name, model, made, frames=9)
    loaded = load_denoiser(tmp_path / name)
    assert loaded.transformer.size == SIZE
    assert loaded.adapter.size == made.size
    made.attach(model)
    assert torch.equal(loaded(*given), model(*conditioned(made, SIZE)))
    assert torch.equal(loaded(*given[:3]), model(*given[:3]))


def test_a_projected_reference_is_not_projected_again(tmp_path):
    loaded = load_denoiser(states(tmp_path / "s.pt"))
    latents, timesteps, text, reference = inputs(SIZE)
    projected = loaded.adapter.projection(reference)
    expected = loaded(latents, timesteps, text, reference)
    assert torch.equal(loaded(latents, timesteps, text, loaded.references(projected, projected=True)), expected)
    nothing = loaded.references(torch.zeros_like(projected), projected=True)
    zeros = loaded(latents, timesteps, text, nothing)
    assert not torch.allclose(zeros, loaded(latents, timesteps, text))


def test_what_the_engine_adds_is_passed_over(tmp_path):
    def whole(weights):
        weights[f"{PREFIX}transformer.layers.0.post_cross_attention_layernorm.weight"] = torch.ones(64)
        weights["conditioner.embedders.0.transformer.shared.weight"] = torch.ones(4, 4)
        weights["conditioner.embedders.1.image_encoder.vision_model.pre_layrnorm.weight"] = torch.ones(4)
        weights["first_stage_model.encoder.conv_in.conv.weight"] = torch.ones(4)
        weights["denoiser.sigmas"] = torch.ones(1000)

    plain, file = states(tmp_path / "plain.pt"), states(tmp_path / "whole.pt", whole)
    assert len(open_sat(file).ignored) == 6
    assert torch.equal(load_denoiser(file)(*inputs(SIZE)), load_denoiser(plain)(*inputs(SIZE)))


def test_the_states_of_random_generators_beside_the_weights_do_no_harm(tmp_path):
    beside = {
        "np_rng_state": np.random.get_state(),
        "scalar": np.float32(3.5),
        "random_rng_state": (3, (1, 2, 3), None),
        "torch_rng_state": torch.get_rng_state(),
        "param_shapes": [{"weight": torch.Size([3, 4])}],
        "global_steps": 3,
        "ds_config": {"zero": {"stage": 2}},
    }
    file = states(tmp_path / "s.pt", **beside)
    assert torch.equal(load_denoiser(file)(*inputs(SIZE)), load_denoiser(states(tmp_path / "p.pt"))(*inputs(SIZE)))


@pytest.mark.parametrize("wrapper", ["module", "state_dict", None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_wrapper_and_precision(tmp_path, wrapper, dtype):
    def cast(weights):
        weights.update({key: weight.to(dtype) for key, weight in weights.items()})

    loaded = load_denoiser(states(tmp_path / "s.pt", cast, wrapper))
    assert loaded.transformer.size == SIZE
    assert {weight.dtype for weight in loaded.transformer.parameters()} == {dtype}
    assert load_denoiser(tmp_path / "s.pt", dtype=torch.float32)(*inputs(SIZE)).dtype == torch.float32


@pytest.mark.parametrize("grid", [Grid(3, 4, 6), Grid(1, 4, 6), Grid(2, 1, 5), Grid(4, 5, 1), Grid(1, 1, 1)])
@pytest.mark.parametrize(("spatial", "temporal"), [(1.875, 1.0), (1.0, 1.0), (1.25, 2.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_table_tells_what_it_was_computed_from(grid, spatial, temporal, dtype):
    computed = sincos_table(grid, 64, spatial, temporal)
    found = geometry_of(torch.cat([torch.zeros(7, 64), computed]).to(dtype))
    assert found is not None
    assert (found.text_length, found.grid) == (7, grid)
    near = 1e-9 if dtype == torch.float32 else 0.02
    assert found.spatial == (None if grid.height * grid.width == 1 else pytest.approx(spatial, rel=near))
    assert found.temporal == (None if grid.frames == 1 else pytest.approx(temporal, rel=near))


def test_other_tables_are_not_taken_for_it():
    computed = torch.cat([torch.zeros(7, 64), sincos_table(Grid(3, 4, 6), 64, 1.875, 1.0)])
    assert geometry_of(computed) is not None
    for other in (computed * 0.5, computed.roll(3, 1), torch.zeros(9, 64), torch.randn(40, 64), computed[:-1]):
        assert geometry_of(other) is None


def test_a_table_of_its_own_is_used_as_it_is(tmp_path):
    file = states(tmp_path / "s.pt", lambda w: table(w).mul_(0.5))
    ours, given = load_denoiser(file), inputs(SIZE)
    plain = load_denoiser(states(tmp_path / "p.pt"))
    assert not torch.allclose(ours(*given), plain(*given))
    assert ours.transformer.size.text_length == SIZE.text_length
    with pytest.raises(ValueError, match="120 video tokens: this model's position table has 72"):
        ours(torch.zeros(1, 5, 16, 8, 12), torch.zeros(1), torch.zeros(1, 5, 24))


def test_without_a_table_published_shapes_decide(tmp_path, caplog):
    def without(weights):
        del weights[PREFIX + TABLE]

    ours = load_denoiser(states(tmp_path / "s.pt", without))
    assert (ours.transformer.size.position, ours.transformer.size.text_length) == ("sincos", 226)
    assert "no position table" in caplog.text
    given = load_denoiser(tmp_path / "s.pt", size=SIZE)
    assert torch.equal(ours(*inputs(SIZE)), given(*inputs(SIZE)))

    rotary = replace(ROTARY, head_norm_eps=1e-6)
    save_sat(tmp_path / "r.pt", transformer(rotary))
    assert load_denoiser(tmp_path / "r.pt", size=ROTARY).transformer.size == rotary
    states(tmp_path / "f.pt", lambda w: w.update({f"{PREFIX}mixins.pos_embed.freqs_sin": table(w)}) or without(w))
    assert load_denoiser(tmp_path / "f.pt").transformer.size.position == "rotary"


def test_published_sizes_are_known():
    from refilm.backbones.cogvideox.sat import transformer_names
    from refilm.backbones.cogvideox.sat_sizes import read_sizes
    from refilm.backbones.cogvideox.transformer import Transformer

    for size in (cogvideox_2b(), replace(cogvideox_2b(), layers=42, heads=48, position="rotary")):
        with torch.device("meta"):
            model = Transformer(size)

        class Shapes(dict):
            name = "published"

            def shape(self, key, dimensions=None):
                return tuple(self[key].shape)

        named = Shapes({theirs: model.get_parameter(ours) for ours, theirs in transformer_names(size.layers).items()})
        assert read_sizes(named, "", None).size == replace(size, head_norm_eps=1e-6)


REFUSED = {
    "1.5": (
        lambda w: w.update({PATCHES: torch.ones(64, 128)}),
        r"is CogVideoX 1\.5, whose patches span frames; .*; use its folder in diffusers' layout",
    ),
    "1.5 with ofs": (
        lambda w: w.update({f"{PREFIX}ofs_embed.0.weight": torch.ones(2, 2)}),
        r"is CogVideoX 1\.5, whose patches span frames",
    ),
    "image-to-video": (
        lambda w: w.update({PATCHES: torch.ones(64, 32, 2, 2)}),
        r"is an image-to-video CogVideoX, with 32 - 16 additional latent channels",
    ),
    "two projections": (
        lambda w: w.update({"conditioner.embedders.2.image_proj.weight": torch.ones(2, 2)}),
        r"several image projections, conditioner\.embedders\.1\.image_proj and conditioner\.embedders\.2\.image_proj",
    ),
    "half a projection": (lambda w: w.pop(f"{PROJECTION}.bias"), rf"missing key {PROJECTION}\.bias"),
    "table with text": (lambda w: table(w).add_(1), r"pos_embedding is not CogVideoX's table"),
    "flat table": (lambda w: w.update({PREFIX + TABLE: torch.ones(8, 64)}), r"pos_embedding has shape \(8, 64\)"),
    "heads that do not fit": (
        lambda w: w.update({f"{PREFIX}mixins.adaln_layer.query_layernorm_list.0.weight": torch.ones(33)}),
        "64 channels cannot be divided into heads of 33",
    ),
    "no CogVideoX": (lambda w: (w.clear(), w.update({"denoiser.x": torch.ones(1)})), "contains no CogVideoX weights"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_models_are_refused(tmp_path, kind):
    change, message = REFUSED[kind]
    path = states(tmp_path / "s.pt", change)
    with pytest.raises(ValueError, match=message) as error:
        open_sat(path).adapter() if "projection" in kind else open_sat(path)
    assert str(path) in str(error.value)


def test_folders(tmp_path):
    save_sat(tmp_path / "c" / "transformer", transformer(SIZE), frames=9)
    file = tmp_path / "c" / "transformer" / "1" / "mp_rank_00_model_states.pt"
    for place in (tmp_path / "c", tmp_path / "c" / "transformer", file.parent, file):
        assert sat_path(place) == file
    (tmp_path / "c" / "transformer" / "latest").write_text("../1")
    with pytest.raises(ValueError, match=r"latest: must name a folder next to it \(received '\.\./1'\)"):
        sat_path(tmp_path / "c")
    (tmp_path / "c" / "transformer" / "latest").write_text("1\n")
    file.with_name("mp_rank_01_model_states.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="weights are split for several GPUs"):
        sat_path(tmp_path / "c")
    with pytest.raises(ValueError, match="latest: no such file"):
        sat_path(tmp_path)


def test_an_adapter_with_query_norm_has_no_place(tmp_path):
    with pytest.raises(ValueError, match="normalizes its queries"):
        save_sat(tmp_path / "s.pt", None, Adapter(AdapterSize.of(SIZE, query_norm=True)))
    assert not list(tmp_path.iterdir())


def test_a_file_without_projection_takes_references_as_they_are(tmp_path):
    def without(weights):
        for kind in ("weight", "bias"):
            del weights[f"{PROJECTION}.{kind}"]

    loaded = load_denoiser(states(tmp_path / "s.pt", without))
    assert isinstance(loaded.adapter.projection, nn.Identity)
    projection = adapter(SIZE).projection
    latents, timesteps, text, reference = inputs(SIZE)
    whole = load_denoiser(states(tmp_path / "w.pt"))
    assert torch.equal(
        loaded(latents, timesteps, text, projection(reference)), whole(latents, timesteps, text, reference)
    )
