"""Encoding of prompts to T5 embeddings, padded to a fixed length without a mask, as in CogVideoX's training."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from refilm.backbones.prompts import PromptEncoder, load_encoder
from refilm.backbones.t5 import T5Config
from refilm.backbones.tokenizer import load_tokenizer


class T5TextEncoder(PromptEncoder):
    """A `TextEncoder`: T5's encoder and tokenizer."""

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype. Arguments and errors as in `tokens`."""
        return self.model(self.tokens(prompts, cut=cut).to(self.device))

    def dropped(self, count: int) -> Tensor:
        """The null prompt: zeros (count, L, D), as in CogVideoX's training."""
        return self.model.shared.weight.new_zeros(count, self.length, self.model.config.d_model)


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> T5TextEncoder:
    """Load a T5 encoder and its tokenizer.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    model = load_encoder(folder, T5Config, dtype=dtype, device=device)
    return T5TextEncoder(load_tokenizer(tokenizer, words=model.config.vocab_size), model, length)
