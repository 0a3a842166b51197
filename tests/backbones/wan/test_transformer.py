"""Wan's transformer is that of diffusers, an adapter acts only when it was trained, and files come back."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel

from refilm.backbones import family_in
from refilm.backbones.wan.diffusers_format import load_transformer, load_transformer_file, save_transformer, size_of
from refilm.backbones.wan.sizes import WanSize, wan_1_3b, wan_14b
from refilm.backbones.wan.transformer import WanTransformer
from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.model import Adapter

SIZE = WanSize(layers=2, heads=2, hidden=40, head_dim=14, text_dim=20, text_length=7, frequencies=16, channels=4)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(*shape: int, size: WanSize = SIZE) -> tuple[torch.Tensor, ...]:
    latents = torch.randn(shape, generator=seeded(1))
    text = torch.randn(shape[0], size.text_length, size.text_dim, generator=seeded(2))
    return latents, torch.tensor([37.5, 999.0])[: shape[0]], text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random transformer, written by diffusers."""
    torch.manual_seed(0)
    model = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=14, in_channels=4, out_channels=4, text_dim=20, freq_dim=16,
        ffn_dim=40, num_layers=2,
    )  # fmt: skip
    for weight in model.parameters():  # those that start at zero, too
        torch.nn.init.normal_(weight, std=0.2)
    path = tmp_path_factory.mktemp("wan") / "transformer"
    model.save_pretrained(path)
    return path


@pytest.mark.parametrize("shape", [(1, 1, 4, 4, 6), (2, 3, 4, 6, 4), (2, 5, 4, 2, 10)])
def test_it_is_that_of_diffusers(folder, shape):
    ours, theirs = load_transformer(folder), WanTransformer3DModel.from_pretrained(folder)
    latents, timestep, text = inputs(*shape, size=replace(ours.size, text_length=7))
    with torch.no_grad():
        found = ours(latents, timestep, text)
        wanted = theirs(latents.transpose(1, 2), timestep, text).sample.transpose(1, 2)
    assert (found - wanted).norm() / wanted.norm() < 5e-6


def test_half_precision_is_that_of_diffusers(folder):
    """Time embedding, tables and norms stay in float32."""
    ours = load_transformer(folder, dtype=torch.bfloat16)
    theirs = WanTransformer3DModel.from_pretrained(folder, dtype=torch.bfloat16)
    kept = {name for name, weight in theirs.named_parameters() if weight.dtype == torch.float32}
    assert ours.dtype == torch.bfloat16
    assert ours.trunk.blocks[0].table.dtype == ours.head.table.dtype == torch.float32
    assert ours.time_embedding.hidden.weight.dtype == ours.trunk.blocks[0].text_norm.weight.dtype == torch.float32
    assert sum(weight.dtype == torch.float32 for weight in ours.parameters()) == len(kept)
    latents, timestep, text = inputs(2, 3, 4, 6, 4)
    with torch.no_grad():
        found = ours(latents.bfloat16(), timestep, text.bfloat16())
        wanted = theirs(latents.transpose(1, 2).bfloat16(), timestep, text.bfloat16()).sample.transpose(1, 2)
        exact = load_transformer(folder)(latents, timestep, text)
    assert found.dtype == torch.bfloat16
    assert (found - exact).norm() < 1.5 * (wanted - exact).norm()


@pytest.mark.parametrize(
    ("size", "layers", "heads", "hidden", "adapter"),
    [(wan_1_3b(), 30, 12, 8960, 284_874_240), (wan_14b(), 40, 40, 13824, 4_200_371_200)],
)
def test_published_sizes_have_the_parameters_that_diffusers_counts(size, layers, heads, hidden, adapter):
    with torch.device("meta"):
        ours = WanTransformer(size)
        theirs = WanTransformer3DModel(num_layers=layers, num_attention_heads=heads, ffn_dim=hidden)
        made = Adapter(AdapterSize.of(size))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert sum(p.numel() for p in made.parameters()) == adapter


def test_an_adapter_changes_nothing_before_training_and_something_after():
    model, tokens = WanTransformer(SIZE), torch.randn(2, 5, 12, generator=seeded(3))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    given = inputs(2, 3, 4, 6, 4)
    bare = model(*given)
    adapter = Adapter(AdapterSize.of(SIZE, reference_dim=12))
    adapter.attach(model)
    assert torch.equal(model(*given), bare)
    assert torch.equal(model(*given, adapter.references(tokens)), bare)
    torch.nn.init.normal_(adapter.layers[0].out.weight)
    changed = model(*given, adapter.references(tokens))
    assert not torch.equal(changed, bare)
    alone = model(*(one[1:] for one in given), adapter.references(tokens[1:]))
    torch.testing.assert_close(changed[1:], alone)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_it_is_saved_and_loaded(tmp_path, folder, dtype):
    model = load_transformer(folder)
    save_transformer(model, tmp_path, dtype=dtype, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = family_in(tmp_path).load_transformer(tmp_path, dtype=torch.float32)
    assert again.size == model.size
    wanted = {name: weight.to(dtype).float() for name, weight in model.state_dict().items()}
    torch.testing.assert_close(again.state_dict(), wanted, rtol=0, atol=0)
    theirs = WanTransformer3DModel.from_pretrained(tmp_path)
    latents, timestep, text = inputs(2, 3, 4, 6, 4)
    with torch.no_grad():
        wanted = theirs(latents.transpose(1, 2), timestep, text).sample.transpose(1, 2)
        assert (again(latents, timestep, text) - wanted).norm() / wanted.norm() < 5e-6


def test_a_single_file_needs_its_sizes(tmp_path, folder):
    file = tmp_path / "model.safetensors"
    (folder / "diffusion_pytorch_model.safetensors").rename(file)
    try:
        with pytest.raises(UserError, match=r"model\.safetensors: its sizes are unknown; put its config\.json next"):
            load_transformer_file(file, size=None)
        model = load_transformer_file(file, size=size_of(folder / "config.json"))
        assert model.size.layers == 2
    finally:
        file.rename(folder / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_dim": 1280, "added_kv_proj_dim": 5120}, "is an image-to-video Wan"),
        ({"in_channels": 36}, r"is an image-to-video Wan \(in_channels 36, out_channels 4"),
        ({"patch_size": [2, 2, 2]}, r"patch_size: must be 1, p, p \(received \[2, 2, 2\]\)"),
        ({"patch_size": 2}, r"patch_size: must be 1, p, p \(received 2\)"),
        ({"qk_norm": None}, "qk_norm: must be 'rms_norm_across_heads'"),
        ({"num_layers": "two"}, r"num_layers: .*integer"),
        ({"attention_head_dim": 7}, "head_dim: must be even"),
        ({"eps": 0.0}, "eps"),
    ],
)
def test_other_models_are_refused(tmp_path, folder, changes, message):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError, match=message) as error:
        size_of(tmp_path / "config.json")
    assert "config.json" in str(error.value)


def test_autocast_keeps_norms_in_float32_and_warns_of_nothing(recwarn):
    torch.manual_seed(0)
    model, given = WanTransformer(SIZE), inputs(2, 3, 4, 6, 4)
    with torch.no_grad():
        exact = model(*given)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(*given)
    assert not recwarn.list
    assert 0 < (found - exact).norm() / exact.norm() < 0.05
