"""Tokenizers of T5 and UMT5, loaded from their vocabulary and the validated fields of their configuration files."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tokenizers
from pydantic import Field

from refilm.errors import UserError
from refilm.weights.configs import LARGEST, Config, Words, read_config, read_object, validated
from refilm.weights.files import refuse_pointer
from refilm.weights.libraries import clean_folder, tried

_WHOLE, _PIECES = "tokenizer.json", "spiece.model"
_END = "</s>"
_UNKNOWN = "\U0010ffff"  # in no vocabulary; a tokenizer without a token for unknown text fails only here
Number = Annotated[int, Field(ge=0, le=1 << 20)]


class _Token(Config):
    """A token with its options."""

    content: Words
    kind: Literal["AddedToken"] | None = Field(default=None, alias="__type")
    lstrip: bool = False
    normalized: bool = False
    rstrip: bool = False
    single_word: bool = False
    special: bool = False


_Tokens = Annotated[list[Words | _Token], Field(max_length=10_000)] | None


class _SpecialTokens(Config):
    """The content of `special_tokens_map.json`."""

    eos_token: Words | _Token = "</s>"
    unk_token: Words | _Token = "<unk>"
    pad_token: Words | _Token = "<pad>"
    additional_special_tokens: _Tokens = None
    extra_special_tokens: _Tokens = None

    @property
    def named(self) -> list[str | _Token]:
        """All tokens that the file names."""
        more = [*(self.additional_special_tokens or ()), *(self.extra_special_tokens or ())]
        return [self.eos_token, self.unk_token, self.pad_token, *more]


class _TokenizerFields(_SpecialTokens):
    """The content of `tokenizer_config.json`."""

    tokenizer_class: Literal["T5Tokenizer", "T5TokenizerFast"] = "T5Tokenizer"
    extra_ids: Annotated[int, Field(ge=0, le=10_000)] = 100
    added_tokens_decoder: dict[Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], _Token] | None = None

    @property
    def named(self) -> list[str | _Token]:
        return [*super().named, *(self.added_tokens_decoder or {}).values()]


class Tokenizer:
    """Splits text into tokens.

    Args:
        inner: the tokenizer.
        padding: id of the padding token.
    """

    def __init__(self, inner: tokenizers.Tokenizer, padding: int):
        self.inner, self.padding = inner, padding

    @property
    def vocabulary(self) -> dict[str, int]:
        """All tokens with their ids."""
        return self.inner.get_vocab()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, with the end token."""
        return [made.ids for made in self.inner.encode_batch([self.cleaned(text) for text in texts])]

    def cleaned(self, text: str) -> str:
        """The text as it is split; families can clean it first."""
        return text

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Indices of the tokens that `words` have in a text, wherever they stand in it; upper case does not matter."""
        text, pattern = self.cleaned(text), rf"(?<!\w){re.escape(self.cleaned(words))}(?!\w)"
        found = [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
        spans = enumerate(self.inner.encode(text).offsets)
        return tuple(
            index for index, (start, end) in spans if any(start < last and end > first for first, last in found)
        )


def load_tokenizer(folder: Path, *, words: int | None = None) -> Tokenizer:
    """Load only a T5 tokenizer.

    Args:
        folder: its folder.
        words: vocabulary size of the text encoder. None: not checked.

    Raises:
        UserError: it is missing or damaged, requires custom code, or has more tokens than the text encoder.
    """
    files: dict[str, Any] = {}
    for name, kind in (
        ("tokenizer_config.json", _TokenizerFields),
        ("special_tokens_map.json", _SpecialTokens),
    ):
        if (folder / name).is_file():
            files[name] = read_config(folder / name, kind)
    added = folder / "added_tokens.json"
    if added.is_file():
        files[added.name] = validated(read_object(added), dict[str, Number], added)
    for name in (_WHOLE, _PIECES):
        if (folder / name).is_file():
            files[name] = _vocabulary(folder / name)
    if not files.keys() & {_WHOLE, _PIECES}:
        raise UserError(f"{folder / _WHOLE}: no such file; a tokenizer needs it or {_PIECES}")
    return _within(words, _read(folder, files) or _converted(folder, files), folder)


def load_stored_tokenizer(folder: Path, *, words: int | None = None) -> Tokenizer:
    """Load a tokenizer exactly as its `tokenizer.json` defines it, without the truncation and padding in the file.

    Args:
        folder: its folder.
        words: vocabulary size of the text encoder. None: not checked.

    Raises:
        UserError: it is missing or damaged, does not append an end token, or has more tokens than the text encoder.
    """
    path, config = folder / _WHOLE, folder / "tokenizer_config.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; download it, or save the tokenizer with transformers")
    tokens = read_config(config, _SpecialTokens) if config.is_file() else _SpecialTokens()
    name = str(_vocabulary(path))
    inner = tried(folder, lambda: tokenizers.Tokenizer.from_file(name))
    inner.no_truncation()
    inner.no_padding()
    empty, unknown = tried(folder, lambda: [inner.encode(text).ids for text in ("", _UNKNOWN)])
    end, padding = (inner.token_to_id(_content(token)) for token in (tokens.eos_token, tokens.pad_token))
    if padding is None or empty != [end] or unknown[-1] != end:
        raise UserError(f"{path}: must append the end token (eos_token) and have a padding token (pad_token)")
    return _within(words, Tokenizer(inner, padding), folder)


def _content(token: str | _Token) -> str:
    return token if isinstance(token, str) else token.content


def _within(words: int | None, tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    highest = max(tokenizer.vocabulary.values())
    if words is not None and highest >= words:
        raise UserError(f"{folder}: has a token {highest}, the text encoder has {words} tokens; use its own tokenizer")
    return tokenizer


def _read(folder: Path, files: Mapping[str, Any]) -> Tokenizer | None:
    """Read `tokenizer.json`; None if it alone does not determine the tokenizer.

    Then the configuration files name other tokens, or the file has another form than transformers writes for T5.
    """
    if _WHOLE not in files or "added_tokens.json" in files:
        return None
    inner = tried(folder, lambda: tokenizers.Tokenizer.from_file(str(files[_WHOLE])))
    config = files.get("tokenizer_config.json", _TokenizerFields())
    more = files.get("special_tokens_map.json", _SpecialTokens())
    named = {*config.named, *more.named, *(f"<extra_id_{number}>" for number in range(config.extra_ids))}
    content = json.loads(inner.to_str())
    usual = _usual(inner.token_to_id(_END))
    if (
        named - {token["content"] for token in content["added_tokens"]}
        or {config.eos_token, more.eos_token} != {_END}
        or {config.unk_token, more.unk_token} != {inner.id_to_token(2)}
        or config.pad_token != more.pad_token
        or (content["model"]["type"], content["model"].get("unk_id")) != ("Unigram", 2)
        or {key: content[key] for key in usual} != usual
    ):
        return None
    return Tokenizer(inner, inner.token_to_id(config.pad_token))


def _usual(end_id: int) -> dict[str, Any]:
    """What is the same in each T5's `tokenizer.json`: text is split at spaces, and the end token is appended."""
    parts = ("Sequence", "A"), ("SpecialToken", _END), ("Sequence", "B")
    first, end, second = ({kind: {"id": name, "type_id": 0}} for kind, name in parts)
    return {
        "truncation": None,
        "padding": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, end],
            "pair": [first, end, second, end],
            "special_tokens": {_END: {"id": _END, "ids": [end_id], "tokens": [_END]}},
        },
    }


def _converted(folder: Path, files: Mapping[str, Any]) -> Tokenizer:
    """Load with transformers, which takes seconds to import."""
    from transformers import T5Tokenizer

    given = {name: file.given() if isinstance(file, Config) else file for name, file in files.items()}
    with clean_folder(given) as clean:
        loaded = tried(folder, lambda: T5Tokenizer.from_pretrained(clean, local_files_only=True))
    if loaded.pad_token_id is None:
        raise UserError(f"{folder}: has no padding token (pad_token); use the text encoder's own tokenizer")
    return Tokenizer(loaded.backend_tokenizer, loaded.pad_token_id)


def _vocabulary(path: Path) -> Path:
    refuse_pointer(path)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes is too large for a vocabulary")
    return path
