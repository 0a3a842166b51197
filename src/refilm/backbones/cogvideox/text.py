"""Encoding of prompts to T5 embeddings, padded to a fixed length without a mask, as in CogVideoX's training."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from refilm.backbones.cogvideox.tokenizer import Tokenizer, load_tokenizer
from refilm.backbones.t5 import T5Config, T5Encoder
from refilm.errors import UserError
from refilm.weights.configs import read_config
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled

_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor; files use either name or both


class T5TextEncoder:
    """A `TextEncoder`: T5's encoder and tokenizer. Prompts have `length` tokens, with end token and padding."""

    def __init__(self, tokenizer: Tokenizer, model: T5Encoder, length: int):
        self.tokenizer, self.model, self.length = tokenizer, model, length

    @property
    def vocabulary(self) -> list[tuple[str, int]]:
        """All tokens with their ids, sorted."""
        return sorted(self.tokenizer.vocabulary.items())

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: truncate longer prompts and keep the end token, as in CogVideoX's training; the caller should warn.

        Raises:
            UserError: a prompt has too many tokens and `cut` is false.
        """
        ids = self.tokenizer(prompts)
        if cut:
            ids = [own if len(own) <= self.length else [*own[: self.length - 1], own[-1]] for own in ids]
        for prompt, own in zip(prompts, ids, strict=True):
            if len(own) > self.length:
                raise UserError(
                    f"the prompt has {len(own)} tokens, the limit of this model is {self.length}: "
                    f"shorten {prompt[:60]!r}{'...' if len(prompt) > 60 else ''}"
                )
        padding = self.tokenizer.padding
        return torch.tensor([own + [padding] * (self.length - len(own)) for own in ids])

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype. Arguments and errors as in `tokens`."""
        return self.model(self.tokens(prompts, cut=cut).to(self.model.shared.weight.device))

    def dropped(self, count: int) -> Tensor:
        """The null prompt: zeros (count, L, D), as in CogVideoX's training."""
        return self.model.shared.weight.new_zeros(count, self.length, self.model.config.d_model)


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> T5TextEncoder:
    """Load a T5 encoder and its tokenizer; the decoder of a complete T5 is ignored.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    config = read_config(folder / "config.json", T5Config)
    files = TensorFiles(weight_files(folder, "model", "pytorch_model"))
    files.require_layers(config.num_layers)
    with unfilled():
        model = T5Encoder(config)
    files.drop(*[key for key in files if key.startswith(("decoder.", "lm_head."))])
    here = [key for key in _EMBEDDING if key in files] or [_EMBEDDING[0]]
    files.drop(*here[1:])
    layout = {name: (Piece(here[0] if name in _EMBEDDING else name),) for name in model.state_dict()}
    wide = [name for name in layout if ".wo." in name]  # overflow in float16
    exact = dict.fromkeys(wide, torch.float32) if dtype == torch.float16 else None
    fill(model, files, layout, dtype=dtype, device=device, exact=exact)
    return T5TextEncoder(load_tokenizer(tokenizer, words=config.vocab_size), model.eval(), length)
