"""Encoding of prompts to UMT5 embeddings, with zeros for padding, as in Wan's training.

The original code masks padding in attention and then sets its embeddings to zero. That equals encoding a prompt's own
tokens alone, which is done here: it takes less time, and a prompt's embedding does not depend on the length.
"""

import html
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from refilm.backbones.prompts import PromptEncoder, load_encoder
from refilm.backbones.t5 import UMT5Config
from refilm.backbones.tokenizer import Tokenizer, load_stored_tokenizer


class WanTokenizer(Tokenizer):
    """Cleans text and splits it into tokens, see `cleaned`."""

    def cleaned(self, text: str) -> str:
        return cleaned(text)


class UMT5TextEncoder(PromptEncoder):
    """A `TextEncoder`: UMT5's encoder and tokenizer."""

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype; padding is zero. Arguments and errors as in `tokens`."""
        ids = self.ids(prompts, cut=cut)
        embeddings = self.model.shared.weight.new_zeros(len(ids), self.length, self.model.config.d_model)
        for own, into in zip(ids, embeddings, strict=True):
            into[: len(own)] = self.model(torch.tensor([own], device=self.device))[0]
        return embeddings

    def dropped(self, count: int) -> Tensor:
        """The null prompt: embeddings (count, L, D) of an empty text, which is one end token."""
        return self([""]).expand(count, -1, -1)


def cleaned(text: str) -> str:
    """A text without HTML entities and repeated or outer white space.

    The original code also repairs wrongly decoded text with ftfy; diffusers does so only where ftfy is installed.
    """
    return " ".join(html.unescape(html.unescape(text)).split())


def load_text_encoder(
    folder: Path, tokenizer: Path, *, length: int, dtype: torch.dtype | None, device: torch.device | str
) -> UMT5TextEncoder:
    """Load a UMT5 encoder and its tokenizer.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    model = load_encoder(folder, UMT5Config, dtype=dtype, device=device)
    return UMT5TextEncoder(load_tokenizer(tokenizer, words=model.config.vocab_size), model, length)


def load_tokenizer(folder: Path, *, words: int | None = None) -> WanTokenizer:
    """Load only the tokenizer. Arguments and errors as in `load_stored_tokenizer`."""
    stored = load_stored_tokenizer(folder, words=words)
    return WanTokenizer(stored.inner, stored.padding)
