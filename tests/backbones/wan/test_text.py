"""Prompts as UMT5 embeddings, compared with diffusers' Wan pipeline and transformers' UMT5."""

import json
import shutil

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
    UMT5ForConditionalGeneration,
)

from refilm.backbones.wan.text import load_text_encoder, load_tokenizer
from refilm.checkpoints.sources import POCKET

LENGTH = 16
PROMPTS = [
    "a critter waits at night",
    "",
    "  a red   ball\n\tin the\u00a0meadow ",
    "cat &amp;amp; bunny &lt;star&gt;",
    "red, blue and green",
]
LONG = "a critter bounces in the meadow, red striped blue ball with wide eyes at night"
SIZES = {"d_model": 24, "d_kv": 12, "d_ff": 48, "num_layers": 3, "num_heads": 2}


def saved(folder, kind=UMT5EncoderModel, *, vocab_size=128, **options):
    """A random UMT5 of transformers in `folder/text_encoder`, with the pocket model's tokenizer."""
    torch.manual_seed(0)
    model = kind(UMT5Config(**SIZES, vocab_size=vocab_size)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder / "text_encoder", **options)
    shutil.copytree(POCKET / "tokenizer", folder / "tokenizer")
    return model


def loaded(folder, *, length=LENGTH, dtype=None):
    return load_text_encoder(folder / "text_encoder", folder / "tokenizer", length=length, dtype=dtype, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    saved(path, max_shard_size="20KB")
    return path


@pytest.fixture(scope="module")
def pipeline(folder):
    model = UMT5EncoderModel.from_pretrained(folder / "text_encoder")
    return WanPipeline(T5Tokenizer.from_pretrained(folder / "tokenizer"), model, vae=None, scheduler=None)


@torch.no_grad()
@pytest.mark.parametrize("length", [LENGTH, 40])
def test_embeddings_are_those_of_diffusers(folder, pipeline, length):
    encoder = loaded(folder, length=length)
    made, expected = encoder(PROMPTS), pipeline._get_t5_prompt_embeds(PROMPTS, max_sequence_length=length)
    assert made.shape == expected.shape == (len(PROMPTS), length, 24)
    assert (made - expected).norm() <= 1e-5 * expected.norm()
    for row, ids in zip(made, encoder.ids(PROMPTS), strict=True):
        assert row[: len(ids)].abs().amin(dim=0).all()
        assert not row[len(ids) :].any()


@torch.no_grad()
def test_a_long_prompt_is_cut_as_in_diffusers_only_on_request(folder, pipeline):
    encoder = loaded(folder)
    with pytest.raises(ValueError, match=r"the limit of this model is 16: shorten 'a critter bounces"):
        encoder([LONG])
    made, expected = encoder([LONG], cut=True), pipeline._get_t5_prompt_embeds([LONG], max_sequence_length=LENGTH)
    assert encoder.tokens([LONG], cut=True)[0, -1] == 1
    assert (made - expected).norm() <= 1e-5 * expected.norm()


def test_a_prompt_does_not_depend_on_its_length_or_its_neighbors(folder):
    short, long = loaded(folder), loaded(folder, length=64)
    assert torch.equal(short(PROMPTS), long(PROMPTS)[:, :LENGTH])
    assert torch.equal(short(PROMPTS)[:1], short(PROMPTS[:1]))


def test_the_null_prompt_is_an_empty_text(folder):
    encoder = loaded(folder)
    assert encoder.tokens([""])[0].tolist() == [1] + [0] * (LENGTH - 1)
    assert torch.equal(encoder.dropped(3), encoder(["", " ", "\n"]))
    assert encoder.dropped(1)[0, 0].all()


@torch.no_grad()
@pytest.mark.parametrize("kind", [UMT5EncoderModel, UMT5ForConditionalGeneration])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes_are_those_of_transformers(tmp_path, kind, dtype):
    saved(tmp_path, kind)
    ours = loaded(tmp_path, dtype=dtype)
    theirs = UMT5EncoderModel.from_pretrained(tmp_path / "text_encoder", dtype=dtype)
    assert {n: w.dtype for n, w in theirs.named_parameters()} == {n: w.dtype for n, w in ours.model.named_parameters()}
    (ids,) = ours.ids(["a red ball"])
    assert torch.equal(ours(["a red ball"])[:, : len(ids)], theirs(torch.tensor([ids])).last_hidden_state)


def umt5_tokenizer(folder):
    """A tokenizer of UMT5's form: another id for unknown pieces than T5's, and no splitting at spaces."""
    pieces = ["<pad>", "</s>", "<s>", "<unk>", "▁", "▁a", "▁red", "a", "b", "l", "d"]
    inner = Tokenizer(models.Unigram([(piece, -1.0 - n) for n, piece in enumerate(pieces)], unk_id=3))
    inner.add_special_tokens(["<pad>", "</s>", "<s>", "<unk>"])
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    inner.enable_truncation(2)
    inner.enable_padding(length=9)
    folder.mkdir()
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "bos_token": "<s>"}')


def test_tokens_are_those_in_the_tokenizers_file(tmp_path):
    umt5_tokenizer(tmp_path / "tokenizer")
    ours = load_tokenizer(tmp_path / "tokenizer", words=11)
    file = str(tmp_path / "tokenizer" / "tokenizer.json")
    theirs = PreTrainedTokenizerFast(tokenizer_file=file, pad_token="<pad>")
    texts = ["a red ball", "ball ☂ a", ""]
    assert ours(texts) == theirs(texts).input_ids
    assert 3 in ours(texts)[1]
    assert ours([" a  red&#32;ball\n"]) == ours(texts[:1])
    assert (ours.vocabulary, ours.padding) == (theirs.get_vocab(), 0)


def test_the_pocket_tokenizer_gives_the_same_tokens_in_both_families():
    theirs = T5Tokenizer.from_pretrained(POCKET / "tokenizer")
    assert load_tokenizer(POCKET / "tokenizer")(PROMPTS[:3]) == theirs(PROMPTS[:3]).input_ids


def changed(path, **values):
    path.write_text(json.dumps({k: v for k, v in (json.loads(path.read_text()) | values).items() if v is not ...}))


def without_weight(path):
    file = path / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight"]
    save_file(tensors, file)


def without_unknown(path):
    file = path / "tokenizer" / "tokenizer.json"
    changed(file, model=json.loads(file.read_text())["model"] | {"unk_id": None})


DAMAGES = {
    "t5": (lambda f: changed(f / "text_encoder" / "config.json", model_type="t5"), "model_type: "),
    "fewer layers": (
        lambda f: changed(f / "text_encoder" / "config.json", num_layers=2),
        "surplus key encoder.block.2",
    ),
    "too many layers": (lambda f: changed(f / "text_encoder" / "config.json", num_layers=900), "too few for the 900"),
    "a missing bias": (without_weight, "missing key encoder.block.2.layer.0.SelfAttention.relative_attention_bias"),
    "no tokenizer": (lambda f: (f / "tokenizer" / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
    "no end": (lambda f: changed(f / "tokenizer" / "tokenizer.json", post_processor=None), "must append the end token"),
    "another end": (lambda f: changed(f / "tokenizer" / "tokenizer_config.json", eos_token="<pad>"), "must append"),
    "no unknown token": (without_unknown, "`unk_id` is missing"),
    "no padding": (lambda f: changed(f / "tokenizer" / "tokenizer_config.json", pad_token="<none>"), "have a padding"),
    "not a tokenizer": (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), "tokenizer"),
    "a pointer": (
        lambda f: (f / "tokenizer" / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\n"),
        "is a Git LFS pointer",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_folders_are_refused(tmp_path, damage, message):
    saved(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=f"^{tmp_path}") as error:
        loaded(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(tmp_path):
    umt5_tokenizer(tmp_path / "tokenizer")
    with pytest.raises(ValueError, match=r"has a token 10, the text encoder has 10 tokens; use its own tokenizer"):
        load_tokenizer(tmp_path / "tokenizer", words=10)
    saved(tmp_path / "base", vocab_size=40)
    with pytest.raises(ValueError, match=r"the text encoder has 40 tokens; use its own tokenizer"):
        loaded(tmp_path / "base")
