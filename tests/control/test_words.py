"""Words of a prompt as indices of its tokens, with the real tokenizers of two families."""

import pytest

import refilm
from refilm.control.words import word_tokens
from refilm.errors import UserError

PROMPT = "a critter  bounces, and the critter waits"


@pytest.fixture(scope="module", params=["tiny_base", "tiny_wan"])
def text(request):
    return refilm.load(request.getfixturevalue(request.param)).base.encoders.text


def spoken(text, places, prompt=PROMPT):
    """What the tokens at these places say."""
    ids = text.tokens([prompt])[0]
    return text.tokenizer.inner.decode([int(ids[place]) for place in places])


def test_places_are_those_of_the_words(text):
    assert spoken(text, text.places(PROMPT, "bounces")).split() == ["bounces"]
    assert "".join(spoken(text, text.places(PROMPT, "CRITTER")).split()) == "crittercritter"
    assert text.places(PROMPT, "critt") == ()
    assert text.places(PROMPT, "dragon") == ()


def found(text, words, required=None, prompt=PROMPT):
    names = [f"subject{number}" for number in range(len(words))]
    return word_tokens(prompt, words, required or [True] * len(words), names, text)


def test_articles_do_not_count_and_the_first_words_found_are_used(text):
    (critter,), (same,) = found(text, [["the critter"]]), found(text, [["dragon", "critter", "bounces"]])
    assert critter == same == text.places(PROMPT, "critter")
    assert found(text, [["critter"], []])[1] == ()


def test_missing_and_shared_words(text, caplog):
    with pytest.raises(UserError, match=r"subject0: the prompt .* contains none of its words \(dragon\); use words of"):
        found(text, [["dragon"]])
    assert found(text, [["dragon"]], [False]) == ((),)
    assert "subject0: the prompt" in caplog.text
    assert "so it is not bound to words" in caplog.text
    with pytest.raises(UserError, match="subject0 and subject1 are bound to the same words; give each its own"):
        found(text, [["critter"], ["a critter"]])
