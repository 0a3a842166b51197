"""Loading and saving of transformer and noise schedule in diffusers' layout, and rejected models."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

from refilm.backbones.cogvideox.diffusers_format import defaults_of, size_of
from refilm.backbones.cogvideox.schedules import load_schedule, save_schedule
from refilm.backbones.cogvideox.sizes import cogvideox_2b, cogvideox_15_5b
from refilm.backbones.cogvideox.transformer import Transformer
from refilm.checkpoints import base_weights, load_transformer, save_transformer
from refilm.diffusion import scaled_linear
from refilm.geometry import AdapterSize
from refilm.model import Adapter

from ...model.tiny import ROTARY, SINCOS, SPANNING, adapter, transformer

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
TO_Q = "transformer_blocks.1.attn1.to_q.weight"


def same(a, b):
    a, b = base_weights(a), base_weights(b)
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def retensored(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


@pytest.fixture
def folder(tmp_path):
    save_transformer(transformer(), tmp_path / "transformer")
    return tmp_path / "transformer"


@pytest.mark.parametrize(
    "size",
    [
        SINCOS,
        ROTARY,
        SPANNING,
        replace(SINCOS, head_norm_eps=1e-6, spatial_interpolation=1.0, temporal_interpolation=2.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_and_loaded_is_the_same(tmp_path, size, dtype):
    model = transformer(size).to(dtype)
    adapter(size).attach(model)
    save_transformer(model, tmp_path)
    loaded = load_transformer(tmp_path)
    assert loaded.size == size
    assert same(loaded, model)
    assert list(loaded.state_dict()) == list(base_weights(model))  # the adapter is not among them


@pytest.mark.parametrize("size", [SINCOS, ROTARY, SPANNING])
def test_through_diffusers_in_pieces_and_back(tmp_path, size):
    model = transformer(size)
    save_transformer(model, tmp_path / "ours", frames=17)
    theirs, info = CogVideoXTransformer3DModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    assert theirs.config.sample_frames == 17
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="200KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    loaded = load_transformer(tmp_path / "theirs")
    assert loaded.size == size
    assert same(loaded, model)


def test_dtypes(folder):
    model = transformer()
    assert same(load_transformer(folder, dtype=torch.bfloat16), model.bfloat16())
    save_transformer(transformer(), folder, dtype=torch.float16)
    assert same(load_transformer(folder), transformer().half())


def test_loaded_weights_are_free_of_the_file(folder):
    before = (folder / WEIGHTS).read_bytes()
    loaded = load_transformer(folder)
    for weight in base_weights(loaded).values():
        weight.zero_()
    assert (folder / WEIGHTS).read_bytes() == before
    assert all(p.requires_grad for p in loaded.parameters())


def test_saving_replaces_the_older_model_and_nothing_else(tmp_path, folder):
    theirs = CogVideoXTransformer3DModel.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "t", max_shard_size="200KB")
    (tmp_path / "t" / "README.md").write_text("mine")
    save_transformer(transformer(), tmp_path / "t")
    assert {path.name for path in (tmp_path / "t").iterdir()} == {"config.json", WEIGHTS, "README.md"}
    assert {path.name for path in tmp_path.iterdir()} == {"t", "transformer"}


def test_the_published_config_of_2b(folder):
    published = json.loads("""{
        "_class_name": "CogVideoXTransformer3DModel", "_diffusers_version": "0.30.0.dev0",
        "activation_fn": "gelu-approximate", "attention_bias": true, "attention_head_dim": 64, "dropout": 0.0,
        "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 16, "max_text_seq_length": 226,
        "norm_elementwise_affine": true, "norm_eps": 1e-05, "num_attention_heads": 30, "num_layers": 30,
        "out_channels": 16, "patch_size": 2, "sample_frames": 49, "sample_height": 60, "sample_width": 90,
        "spatial_interpolation_scale": 1.875, "temporal_compression_ratio": 4, "temporal_interpolation_scale": 1.0,
        "text_embed_dim": 4096, "time_embed_dim": 512, "timestep_activation_fn": "silu"}""")
    (folder / "config.json").write_text(json.dumps(published))
    assert size_of(folder / "config.json") == cogvideox_2b()
    assert defaults_of(folder / "config.json") == {"frames": 49}


def test_the_published_config_of_15(tmp_path):
    """As many parameters as in diffusers; the size of its adapter; its videos."""
    published = json.loads("""{
        "_class_name": "CogVideoXTransformer3DModel", "activation_fn": "gelu-approximate", "attention_bias": true,
        "attention_head_dim": 64, "dropout": 0.0, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 16,
        "max_text_seq_length": 226, "norm_elementwise_affine": true, "norm_eps": 1e-05, "num_attention_heads": 48,
        "num_layers": 42, "ofs_embed_dim": null, "out_channels": 16, "patch_bias": false, "patch_size": 2,
        "patch_size_t": 2, "sample_frames": 81, "sample_height": 300, "sample_width": 300,
        "spatial_interpolation_scale": 1.875, "temporal_compression_ratio": 4, "temporal_interpolation_scale": 1.0,
        "text_embed_dim": 4096, "time_embed_dim": 512, "timestep_activation_fn": "silu",
        "use_learned_positional_embeddings": false, "use_rotary_positional_embeddings": true}""")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(published))
    size = size_of(path)
    assert size == cogvideox_15_5b()
    assert defaults_of(path) == {"frames": 81, "fps": 16.0, "height": 768, "width": 1360}
    with torch.device("meta"):
        theirs = CogVideoXTransformer3DModel.from_config(published)
        assert parameters(Transformer(size)) == parameters(theirs)
        assert parameters(Adapter(AdapterSize.of(size, query_norm=True))) == 1_589_111_808


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"in_channels": 32, "use_learned_positional_embeddings": True},
            r"an image-to-video CogVideoX \(in_channels 32, out_channels 16, ofs",
        ),
        ({"patch_size_t": 2, "ofs_embed_dim": 512}, r"an image-to-video CogVideoX .* ofs_embed_dim 512\); refilm"),
        ({"patch_size_t": 2}, r"config\.json: patch_time: 2 needs rotary positions"),
        ({"patch_size_t": 1}, r"patch_size_t: must be null, or at least 2 \(received 1\)"),
        ({"patch_size_t": "2"}, r"patch_size_t: .* \(received '2'\)"),
        ({"_class_name": "MochiTransformer3DModel"}, "config.json: is the config of a 'MochiTransformer3DModel'"),
        ({"norm_eps": 1e-6}, r"norm_eps: must be 1e-05 \(received 1e-06\)"),
        ({"attention_bias": False}, r"attention_bias: must be True \(received False\)"),
        ({"num_layers": ...}, r"config.json: num_layers: Input should be a valid integer \(received None\)"),
        ({"num_layers": "2"}, r"num_layers: .* \(received '2'\)"),
        (
            {"spatial_interpolation_scale": 0},
            r"spatial_interpolation_scale: Input should be greater than 0 \(received 0",
        ),
        ({"num_layers": 1}, rf"{WEIGHTS}: surplus key transformer_blocks\.1\.attn1\.norm_k\.bias and \d+ more"),
        ({"num_layers": 3}, rf"{WEIGHTS}: missing key transformer_blocks\.2\.attn1\.norm_k\.bias and \d+ more"),
        ({"text_embed_dim": 23}, rf"{WEIGHTS}: patch_embed\.text_proj\.weight has shape \(64, 24\), not \(64, 23\)"),
    ],
)
def test_other_models_and_wrong_configs_are_refused(folder, changes, message):
    edit(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        load_transformer(folder)


DAMAGE = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: no such file"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: not JSON"),
    "config not text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json: not UTF-8 text"),
    "config not an object": (lambda f: (f / "config.json").write_text("[]"), "config.json: must contain a JSON object"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"{WEIGHTS}: no such file"),
    "weights cut off": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]),
        f"{WEIGHTS}: is truncated or not",
    ),
    "weights never fetched": (
        lambda f: (f / WEIGHTS).write_bytes(b"version https://git-lfs"),
        f"{WEIGHTS}: is truncated or not",
    ),
    "missing key": (lambda f: retensored(f, lambda t: t.pop(TO_Q)), f"{WEIGHTS}: missing key {TO_Q}$"),
    "surplus key": (lambda f: retensored(f, lambda t: t.update(extra=t[TO_Q] + 1)), f"{WEIGHTS}: surplus key extra$"),
    "wrong shape": (
        lambda f: retensored(f, lambda t: t.update({TO_Q: t[TO_Q][:3].clone()})),
        rf"{WEIGHTS}: {TO_Q} has shape \(3, 64\), not \(64, 64\)",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(folder, kind):
    damage, message = DAMAGE[kind]
    damage(folder)
    with pytest.raises(ValueError, match=message):
        load_transformer(folder)


def test_damage_of_pieces_is_named(tmp_path, folder):
    CogVideoXTransformer3DModel.from_pretrained(folder).save_pretrained(tmp_path / "t", max_shard_size="200KB")
    second = sorted((tmp_path / "t").glob("*.safetensors"))[1]
    second.unlink()
    with pytest.raises(ValueError, match=f"{second.name}: no such file"):
        load_transformer(tmp_path / "t")
    edit(tmp_path / "t" / INDEX, weight_map=[])
    with pytest.raises(ValueError, match=f"{INDEX}: weight_map: must map"):
        load_transformer(tmp_path / "t")


def test_an_old_files_position_table_is_passed_over(folder):
    table = "patch_embed.pos_embedding"
    retensored(folder, lambda tensors: tensors.update({table: torch.zeros(1, 77, 64)}))
    assert same(load_transformer(folder), transformer())


@pytest.mark.parametrize("kind", [CogVideoXDPMScheduler, CogVideoXDDIMScheduler])
@pytest.mark.parametrize("settings", [{}, {"snr_shift": 1.0}, {"zero_terminal_snr": False}, {"beta_end": 0.02}])
def test_schedule_is_that_of_diffusers(tmp_path, kind, settings):
    saved = save_schedule(tmp_path, **settings)
    theirs = kind.from_pretrained(tmp_path)
    assert theirs.config.prediction_type == "v_prediction"
    assert theirs.config.timestep_spacing == "trailing"
    theirs.save_pretrained(tmp_path / "theirs")
    for schedule in (saved, load_schedule(tmp_path), load_schedule(tmp_path / "theirs")):
        assert torch.equal(schedule.alphas_cumprod, scaled_linear(**settings).alphas_cumprod)
    torch.testing.assert_close(theirs.alphas_cumprod.double(), saved.alphas_cumprod, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction_type": "epsilon"}, r"prediction_type: Input should be 'v_prediction' \(received 'epsilon'\)"),
        ({"beta_schedule": "linear"}, "beta_schedule: Input should be 'scaled_linear'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "_class_name: Input should be 'CogVideoXDPMScheduler' or"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas: Input should be null"),
        ({"snr_shift_scale": ...}, "snr_shift_scale: Field required"),
        ({"rescale_betas_zero_snr": 1}, "rescale_betas_zero_snr: Input should be a valid boolean"),
        ({"num_train_timesteps": 1e3}, "num_train_timesteps: Input should be a valid integer"),
        ({"beta_start": 0.5}, "scheduler_config.json: betas: must increase between 0 and 1"),
    ],
)
def test_other_schedules_are_refused(tmp_path, changes, message):
    save_schedule(tmp_path)
    edit(tmp_path / "scheduler_config.json", **changes)
    with pytest.raises(ValueError, match=message):
        load_schedule(tmp_path)
