"""Encoding of prompts to T5 embeddings, padded to a fixed length without a mask, as in CogVideoX's training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from refilm.backbones.cogvideox.tokenizer import load_tokenizer
from refilm.errors import UserError
from refilm.sizes import Heads, Layers, Width
from refilm.weights.configs import Config, Fraction, Small, read_config
from refilm.weights.files import weight_files
from refilm.weights.libraries import bare
from refilm.weights.tensors import Piece, TensorFiles, fill

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5EncoderModel

_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor; files use either name or both


class T5TextEncoder:
    """A `TextEncoder`: T5's encoder and tokenizer. Prompts have `length` tokens, with end token and padding."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", model: "T5EncoderModel", length: int):
        self.tokenizer, self.model, self.length = tokenizer, model, length

    @property
    def vocabulary(self) -> list[tuple[str, int]]:
        """All tokens with their ids, sorted."""
        return sorted(self.tokenizer.get_vocab().items())

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: truncate longer prompts and keep the end token, as in CogVideoX's training; the caller should warn.

        Raises:
            UserError: a prompt has too many tokens and `cut` is false.
        """
        ids = self.tokenizer(list(prompts)).input_ids
        if cut:
            ids = [own if len(own) <= self.length else [*own[: self.length - 1], own[-1]] for own in ids]
        for prompt, own in zip(prompts, ids, strict=True):
            if len(own) > self.length:
                raise UserError(
                    f"the prompt has {len(own)} tokens, the limit of this model is {self.length}: "
                    f"shorten {prompt[:60]!r}{'...' if len(prompt) > 60 else ''}"
                )
        padding = self.tokenizer.pad_token_id
        return torch.tensor([own + [padding] * (self.length - len(own)) for own in ids])

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype. Arguments and errors as in `tokens`."""
        return self.model(input_ids=self.tokens(prompts, cut=cut).to(self.model.device)).last_hidden_state

    def dropped(self, count: int) -> Tensor:
        """The null prompt: zeros (count, L, D), as in CogVideoX's training."""
        return torch.zeros(
            count, self.length, self.model.config.d_model, device=self.model.device, dtype=self.model.dtype
        )


class T5Fields(Config):
    """The content of a T5 encoder's `config.json`."""

    model_type: Literal["t5"]
    vocab_size: Annotated[int, Field(ge=1, le=1 << 20)] = 32128
    d_model: Width = 512
    d_kv: Heads = 64
    d_ff: Annotated[int, Field(ge=1, le=1 << 18)] = 2048
    num_layers: Layers = 6
    num_heads: Heads = 8
    relative_attention_num_buckets: Annotated[int, Field(ge=4, le=4096)] = 32
    relative_attention_max_distance: Annotated[int, Field(ge=1, le=1 << 16)] = 128
    dropout_rate: Fraction = 0.1
    layer_norm_epsilon: Small = 1e-6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"

    @model_validator(mode="after")
    def _far(self) -> "T5Fields":
        if self.relative_attention_max_distance < self.relative_attention_num_buckets:
            raise UserError("relative_attention_max_distance: must be at least relative_attention_num_buckets")
        return self


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> T5TextEncoder:
    """Load a T5 encoder and its tokenizer; the decoder of a complete T5 is ignored.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    from transformers import T5Config, T5EncoderModel

    config = read_config(folder / "config.json", T5Fields)
    files = TensorFiles(weight_files(folder, "model", "pytorch_model"))
    files.require_layers(config.num_layers)
    model = bare(folder, lambda: T5EncoderModel(T5Config(**config.given())))
    files.drop(*[key for key in files if key.startswith(("decoder.", "lm_head."))])
    here = [key for key in _EMBEDDING if key in files] or [_EMBEDDING[0]]
    files.drop(*here[1:])
    layout = {name: (Piece(here[0] if name in _EMBEDDING else name),) for name in model.state_dict()}
    # transformers keeps these in float32, because they overflow in half precision
    wide = [name for name in layout if ".wo." in name]
    exact = dict.fromkeys(wide, torch.float32) if dtype == torch.float16 else None
    fill(model, files, layout, dtype=dtype, device=device, exact=exact)
    model.tie_weights()  # `fill` reads the embedding once; this makes it one parameter
    return T5TextEncoder(load_tokenizer(tokenizer, words=config.vocab_size), model.eval(), length)
