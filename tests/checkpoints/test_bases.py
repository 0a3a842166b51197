"""Base models from every source: folders, the Hub's cache, SAT folders; loaded at once or one part at a time."""

import json
import os
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, T5Config, T5EncoderModel, T5ForConditionalGeneration

import refilm
from refilm.backbones.cogvideox.autoencoder import load_autoencoder
from refilm.backbones.cogvideox.sat import save_sat
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.checkpoints import Base, load_adapter, load_base, load_denoiser, read_card, save_adapter
from refilm.checkpoints.image_encoders import load_image_encoder
from refilm.geometry import AdapterSize
from refilm.media import as_image
from refilm.media.preprocessing import ImagePreprocessing
from refilm.model import Adapter

from ..model.tiny import wild
from ..parity.test_autoencoder import FIXTURES

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROMPT = "a critter bounces in the meadow"
MODEL = "refilm-tests/Tiny"


def cached(cache, name, folder):
    """A folder in the layout of the Hub's cache."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, place / "snapshots" / COMMIT)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub cache without network."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def clip(folder):
    """A complete CLIP with text tower and image processor, in the layout of CLIP ViT-L on the Hub."""
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(1)
    model = CLIPModel(
        CLIPConfig(
            text_config={**small, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
            vision_config={**small, "image_size": 32, "patch_size": 8},
            projection_dim=8,
        )
    )
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return model.eval()


def test_a_hub_id_is_found_in_the_cache(tiny_base, hub):
    cached(hub, MODEL, tiny_base)
    ours, theirs = refilm.load(MODEL), refilm.load(tiny_base)
    assert ours.base.fingerprint() == theirs.base.fingerprint()
    assert ours.adapter is not None
    asked = {"seed": 1, "steps": 2}
    assert np.array_equal(ours.generate(PROMPT, **asked).frames, theirs.generate(PROMPT, **asked).frames)
    assert load_denoiser(MODEL).adapter is not None


def test_the_environment_counts(tiny_base, tmp_path):
    """HF_HOME and HF_HUB_OFFLINE, in a separate process."""
    cached(tmp_path / "home" / "hub", MODEL, tiny_base)
    code = f"from refilm.checkpoints import load_denoiser; print(load_denoiser({MODEL!r}).transformer.size.layers)"
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_CACHE", "HF_TOKEN")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("2", 0), done.stderr


def test_what_is_not_in_the_cache_is_one_error_with_a_remedy(hub):
    message = (
        r"THUDM/CogVideoX-2b: not a local folder, not in the Hub cache, .* unset HF_HUB_OFFLINE, .* `hf download THUDM"
    )
    for load in (load_base, load_denoiser):
        with pytest.raises(ValueError, match=message) as error:
            load("THUDM/CogVideoX-2b")
        assert "\n" not in str(error.value)


def test_half_a_download_is_told(tiny_base, hub):
    cached(hub, MODEL, tiny_base / "vae")
    with pytest.raises(
        ValueError, match=r"is not a base model: transformer/config\.json is missing; download it again"
    ):
        load_base(MODEL)


def test_only_what_is_needed_is_fetched(monkeypatch):
    from fnmatch import fnmatch

    asked = {}
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda name, allow_patterns, **_: asked.update({name: allow_patterns})
    )
    with pytest.raises(ValueError, match="the download failed"):  # it answered with no folder
        load_base("THUDM/CogVideoX-2b")
    patterns = asked["THUDM/CogVideoX-2b"]
    published = {
        "model_index.json": True,
        "scheduler/scheduler_config.json": True,
        "text_encoder/model-00001-of-00002.safetensors": True,
        "text_encoder/model.safetensors.index.json": True,
        "tokenizer/spiece.model": True,
        "transformer/diffusion_pytorch_model.safetensors": True,
        "vae/config.json": True,
        "preview.safetensors": True,
        "magnitudes.json": True,
        "README.md": False,
        "tokenizer/tokenizer_config.json": True,
        "tokenizer/tokenization_t5.py": False,
        "transformer/transformer.py": False,
        "text_encoder/pytorch_model.bin": False,
        "assets/video.mp4": False,
    }
    assert {name: any(fnmatch(name, pattern) for pattern in patterns) for name in published} == published


def test_parts_come_and_go_where_memory_is_low(tiny_base, fox):
    ours = refilm.load(tiny_base, memory="low")
    seen = weakref.ref(ours.base.transformer)
    _ = ours.base.encoders.text
    assert seen() is None
    theirs = refilm.load(tiny_base)
    videos = [p.generate(PROMPT, fox, seed=3, steps=2).frames for p in (ours, ours, theirs)]
    assert np.array_equal(videos[0], videos[1])
    assert np.array_equal(videos[1], videos[2])
    assert list(ours.base._parts._loaded) == ["autoencoder"]
    assert sorted(theirs.base._parts._loaded) == ["autoencoder", "image", "text", "transformer"]
    with pytest.raises(ValueError, match=r"memory: Input should be 'high' or 'low' \(received 'some'\)"):
        refilm.load(tiny_base, memory="some")


def test_the_image_encoder_waits_for_a_image(tiny_base):
    base = load_base(tiny_base)
    assert "image" not in base._parts._loaded
    assert "image" in (base.encoders.image, base._parts._loaded)[1]


def test_adapters_that_do_not_fit_are_refused_at_once(tiny_base):
    base = load_base(tiny_base, memory="low")
    with pytest.raises(ValueError, match="an adapter with 3 layers"):
        base.attach(Adapter(AdapterSize(3, 2)))
    assert not base._parts._loaded
    base.attach(Adapter(AdapterSize.of(base.size)))
    with pytest.raises(ValueError, match="already has an adapter; detach it first"):
        base.attach(Adapter(AdapterSize.of(base.size)))
    assert base.transformer.has_adapter
    base.detach()
    assert not base.transformer.has_adapter
    base.attach(Adapter(AdapterSize.of(base.size)))
    assert base.transformer.has_adapter


def test_a_published_base_takes_the_image_encoder_of_the_adapters_card(tiny_base, tmp_path, hub, fox):
    folder = shutil.copytree(tiny_base, tmp_path / "published", ignore=shutil.ignore_patterns("image_*", "adapter"))
    bare = refilm.load(folder)
    assert bare.generate(PROMPT, seed=1, steps=1).frames.shape[0] == 17  # without an image no encoder is missed
    made = load_adapter(tiny_base / "adapter")
    size = replace(made.size, reference_dim=16)
    for name in ("Owner/Clip", None):
        save_adapter(
            wild(Adapter(size)), tmp_path / "a", base_fingerprint=bare.base.fingerprint(), facts={},
            preprocessing=ImagePreprocessing(image_encoder=name, image_fit="squash-bilinear", hidden_state="last"),
        )  # fmt: skip
        ours = refilm.load(folder, adapter=tmp_path / "a")
        wanted = name or "openai/clip-vit-large-patch14"
        with pytest.raises(ValueError, match=f"{wanted}: not a local folder, not in the Hub cache"):
            ours.generate(PROMPT, fox, seed=1, steps=1)
        theirs = clip(tmp_path / "clip")
        cached(hub, wanted, tmp_path / "clip")
        image = as_image(fox).resize((50, 30))
        tokens = ours.encode_references([image])
        squashed = CLIPImageProcessor(
            size={"height": 32, "width": 32}, resample=Image.Resampling.BILINEAR, do_center_crop=False
        )(image, return_tensors="pt")
        with torch.no_grad():
            expected = theirs.vision_model(**squashed).last_hidden_state
        assert torch.equal(tokens, expected)


def test_an_image_encoder_in_either_spelling(tmp_path):
    theirs = clip(tmp_path / "clip")
    theirs.vision_model.save_pretrained(tmp_path / "tower")
    pixels = torch.randn(1, 3, 32, 32)
    for dtype in (torch.float32, torch.bfloat16):
        for folder in ("clip", "tower"):
            ours = load_image_encoder(tmp_path / folder, tmp_path / "clip", dtype=dtype, device="cpu")
            with torch.no_grad():
                tokens = ours.model(pixels.to(dtype))
                expected = theirs.vision_model.to(dtype)(pixels.to(dtype)).last_hidden_state
            assert torch.equal(tokens, expected)


def spiece(folder):
    """A T5 tokenizer in one file."""
    import sentencepiece

    words = [f"{a} {b}" for a in ("critter", "bounces", "meadow", "night") for b in ("a", "in", "the", "at")]
    with (folder / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(words * 5), model_writer=file, vocab_size=40,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip


def t5(kind, folder, **options):
    torch.manual_seed(2)
    config = T5Config(
        vocab_size=160, d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    model = kind(config).eval()
    model.save_pretrained(folder, **options)
    return model


@pytest.mark.parametrize("kind", [T5EncoderModel, T5ForConditionalGeneration])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_t5_folder_with_spiece_model(tmp_path, kind, dtype):
    theirs = t5(kind, tmp_path, max_shard_size="20KB")
    spiece(tmp_path)
    ours = load_text_encoder(tmp_path, tmp_path, length=40, dtype=dtype, device="cpu")
    tokens = ours.tokens([PROMPT])
    assert tokens.shape == (1, 40)
    assert tokens[0, -1] == 0
    again = T5EncoderModel.from_pretrained(tmp_path, dtype=dtype)
    assert {n: w.dtype for n, w in again.named_parameters()} == {n: w.dtype for n, w in ours.model.named_parameters()}
    with torch.no_grad():
        assert torch.equal(ours([PROMPT]), again(tokens).last_hidden_state)
        if dtype == torch.float32:
            assert torch.allclose(ours([PROMPT]), theirs.encoder(tokens).last_hidden_state, atol=1e-6)


def test_a_t5_as_a_pickle(tmp_path):
    theirs = t5(T5EncoderModel, tmp_path)
    spiece(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    ours = load_text_encoder(tmp_path, tmp_path, length=40, dtype=None, device="cpu")
    with torch.no_grad():
        assert torch.equal(ours([PROMPT]), theirs(ours.tokens([PROMPT])).last_hidden_state)


def test_an_autoencoder_is_that_of_diffusers(tiny_base):
    ours, theirs = load_autoencoder(tiny_base / "vae"), AutoencoderKLCogVideoX.from_pretrained(tiny_base / "vae")
    assert ours.scaling_factor == theirs.config["scaling_factor"]
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, ours.state_dict()[name])


@pytest.mark.parametrize("part", ["vae", "text_encoder", "image_encoder"])
def test_damaged_parts_are_named(tiny_base, tmp_path, part, fox):
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    (path,) = (folder / part).glob("*.safetensors")
    tensors = load_file(path)
    key = sorted(key for key in tensors if tensors[key].ndim > 1)[3]
    tensors[key].view(-1)[5] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"{part}/.*\.safetensors: {key} contains NaN or infinity"):
        refilm.load(folder).generate(PROMPT, fox, seed=1, steps=1)
    (folder / part / "config.json").write_text(json.dumps({"_class_name": "Other", "model_type": "other"}))
    with pytest.raises(ValueError, match=rf"{part}/config.json: "):
        refilm.load(folder).generate(PROMPT, fox, seed=1, steps=1)
    (folder / part / "config.json").unlink()
    with pytest.raises(ValueError, match=rf"{part}/config.json: no such file"):
        refilm.load(folder).generate(PROMPT, fox, seed=1, steps=1)


SAT_SIZE = TransformerSize(
    layers=2, heads=2, head_dim=32, text_dim=24, text_length=40, time_dim=16, base_height=4, base_width=6,
    head_norm_eps=1e-6,
)  # fmt: skip


def sat_base(folder):
    """A SAT folder at a tiny size."""
    from refilm.backbones.cogvideox.transformer import Transformer

    adapter = wild(Adapter(AdapterSize.of(SAT_SIZE, reference_dim=16)), seed=1)
    save_sat(folder / "transformer", wild(Transformer(SAT_SIZE)), adapter, frames=9)
    (folder / "vae").mkdir()
    shutil.copyfile(FIXTURES / "3d-vae.pt", folder / "vae" / "3d-vae.pt")
    t5(T5EncoderModel, folder / "t5-v1_1-xxl")
    spiece(folder / "t5-v1_1-xxl")
    return folder


@pytest.mark.parametrize("place", [".", "transformer"])
def test_a_sat_folder_is_a_base_model(tmp_path, place, fox):
    folder = sat_base(tmp_path / "sat") / place
    pipeline = refilm.load(folder)
    assert pipeline.base.size == SAT_SIZE
    video = pipeline.generate(PROMPT, seed=1, steps=2, frames=5, height=32, width=48)
    assert video.frames.shape == (5, 32, 48, 3)
    assert refilm.load(folder, memory="low").base.compression == pipeline.base.compression


def test_missing_parts_of_a_sat_folder_are_told(tmp_path):
    folder = sat_base(tmp_path / "sat")
    (folder / "t5-v1_1-xxl").rename(folder / "away")
    assert isinstance(load_base(folder), Base)  # any name will do
    shutil.rmtree(folder / "away")
    with pytest.raises(ValueError, match=r"sat: no T5 in it or next to it; add a folder t5-v1_1-xxl"):
        load_base(folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(ValueError, match=r"sat: no autoencoder in it; copy 3d-vae\.pt there"):
        load_base(folder)


def test_the_card_of_old_adapters_is_still_read(tmp_path, tiny_base):
    folder = shutil.copytree(tiny_base / "adapter", tmp_path / "a")
    content = json.loads((folder / "adapter.json").read_text())
    del content["image_fit"]
    (folder / "adapter.json").write_text(json.dumps(content))
    assert read_card(folder).image_fit == "pad"
