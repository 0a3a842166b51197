"""Tokenizers compared with those that transformers loads."""

import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5Tokenizer

from refilm.backbones import tokenizer as module
from refilm.backbones.tokenizer import load_tokenizer
from refilm.checkpoints.sources import POCKET

TEXTS = ["a critter waits at night", "", " two  spaces\tand a tab ", "unknown ☂ and é", "</s> <pad> ▁a <unk>a red"]
THROUGH_TRANSFORMERS = {
    "another end": {"eos_token": "<pad>"},
    "another unknown": {"unk_token": "▁a"},
    "a new token": {"extra_special_tokens": ["<new>"]},
    "a token with options": {
        "additional_special_tokens": [{"content": "<pad>", "lstrip": True, "__type": "AddedToken"}]
    },
    "sentinels": {"extra_ids": 2},
    "numbered tokens": {"added_tokens_decoder": {"0": {"content": "<pad>", "special": True}}},
}


@pytest.fixture(scope="module", params=["tokenizer.json", "spiece.model"])
def both(request, tmp_path_factory):
    """The pocket model's tokenizer from one of its two files, here and in transformers."""
    folder = shutil.copytree(POCKET / "tokenizer", tmp_path_factory.mktemp("tokenizer") / "copy")
    (other,) = {"tokenizer.json", "spiece.model"} - {request.param}
    (folder / other).unlink()
    return load_tokenizer(folder), T5Tokenizer.from_pretrained(folder)


@settings(deadline=None, max_examples=60)
@given(text=st.one_of(st.sampled_from(TEXTS), st.text(max_size=40)))
def test_tokens_are_those_of_transformers(both, text):
    ours, theirs = both
    assert ours([text, TEXTS[0]]) == theirs([text, TEXTS[0]]).input_ids
    assert (ours.vocabulary, ours.padding) == (theirs.get_vocab(), theirs.pad_token_id)


@pytest.fixture
def converted(monkeypatch):
    """Counts the tokenizers that transformers loads."""
    calls, convert = [], module._converted
    monkeypatch.setattr(module, "_converted", lambda *given: calls.append(1) or convert(*given))
    return calls


def test_a_whole_file_is_read_without_transformers(converted):
    load_tokenizer(POCKET / "tokenizer")
    assert not converted


@pytest.mark.parametrize("values", THROUGH_TRANSFORMERS.values(), ids=THROUGH_TRANSFORMERS)
def test_what_the_file_does_not_say_is_left_to_transformers(converted, tmp_path, values):
    folder = shutil.copytree(POCKET / "tokenizer", tmp_path / "copy")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    ours, theirs = load_tokenizer(folder), T5Tokenizer.from_pretrained(folder)
    assert converted
    assert ours(TEXTS) == theirs(TEXTS).input_ids


@pytest.mark.parametrize("name", ["pre_tokenizer", "post_processor"])
def test_a_file_of_another_form_is_left_to_transformers(converted, tmp_path, name):
    folder = shutil.copytree(POCKET / "tokenizer", tmp_path / "copy")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: None}))
    load_tokenizer(folder)
    assert converted
