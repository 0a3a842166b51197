"""Encoding of prompts to T5 embeddings, padded to a fixed length without a mask, as in CogVideoX's training."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel


class TextEncoder:
    """A T5 encoder with its tokenizer. Prompts have `length` tokens, including the end token and padding."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: T5EncoderModel, length: int):
        self.tokenizer, self.model, self.length = tokenizer, model, length

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: truncate longer prompts and keep the end token, as in CogVideoX's training; the caller should warn.

        Raises:
            ValueError: a prompt has too many tokens and `cut` is false.
        """
        ids = self.tokenizer(list(prompts)).input_ids
        if cut:
            ids = [own if len(own) <= self.length else [*own[: self.length - 1], own[-1]] for own in ids]
        for prompt, own in zip(prompts, ids, strict=True):
            if len(own) > self.length:
                raise ValueError(
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
