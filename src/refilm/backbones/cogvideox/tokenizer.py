"""Loading of T5's tokenizer from its vocabulary and the validated fields of its configuration files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from refilm.errors import UserError
from refilm.weights.configs import LARGEST, Config, Words, read_config, read_object, validated
from refilm.weights.files import refuse_pointer
from refilm.weights.libraries import clean_folder, tried

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_VOCABULARIES = ("tokenizer.json", "spiece.model")
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


class _TokenizerFields(_SpecialTokens):
    """The content of `tokenizer_config.json`."""

    tokenizer_class: Literal["T5Tokenizer", "T5TokenizerFast"] = "T5Tokenizer"
    extra_ids: Annotated[int, Field(ge=0, le=10_000)] = 100
    added_tokens_decoder: dict[Annotated[str, Field(pattern=r"^[0-9]{1,7}$")], _Token] | None = None


def load_tokenizer(folder: Path, *, words: int | None = None) -> "PreTrainedTokenizerBase":
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
            files[name] = read_config(folder / name, kind).given()
    added = folder / "added_tokens.json"
    if added.is_file():
        files[added.name] = validated(read_object(added), dict[str, Number], added)
    for name in _VOCABULARIES:
        if (folder / name).is_file():
            files[name] = _vocabulary(folder / name)
    if not files.keys() & set(_VOCABULARIES):
        raise UserError(f"{folder / _VOCABULARIES[0]}: no such file; a tokenizer needs it or {_VOCABULARIES[1]}")
    from transformers import T5Tokenizer

    with clean_folder(files) as clean:
        tokenizer = tried(folder, lambda: T5Tokenizer.from_pretrained(clean, local_files_only=True))
        highest = tried(folder, lambda: max(tokenizer.get_vocab().values()))
    if tokenizer.pad_token_id is None:
        raise UserError(f"{folder}: has no padding token (pad_token); use the text encoder's own tokenizer")
    if words is not None and highest >= words:
        raise UserError(f"{folder}: has a token {highest}, the text encoder has {words} tokens; use its own tokenizer")
    return tokenizer


def _vocabulary(path: Path) -> Path:
    refuse_pointer(path)
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size:,} bytes is too large for a vocabulary")
    return path
