"""Prompts to T5 embeddings, padded to a fixed length and read without a mask, as CogVideoX was trained."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel


class TextEncoder:
    """A T5 encoder with its tokenizer. `length` tokens a prompt, end mark and padding included."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: T5EncoderModel, length: int):
        self.tokenizer, self.model, self.length = tokenizer, model, length

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: of longer prompts read the first tokens and the end mark, as CogVideoX was trained; say so before.

        Raises:
            ValueError: a prompt that has more tokens than fit and may not be cut.
        """
        ids = self.tokenizer(list(prompts)).input_ids
        if cut:
            ids = [own if len(own) <= self.length else [*own[: self.length - 1], own[-1]] for own in ids]
        for prompt, own in zip(prompts, ids, strict=True):
            if len(own) > self.length:
                raise ValueError(
                    f"the prompt has {len(own)} tokens, this model reads {self.length}: "
                    f"shorten {prompt[:60]!r}{'...' if len(prompt) > 60 else ''}"
                )
        padding = self.tokenizer.pad_token_id
        return torch.tensor([own + [padding] * (self.length - len(own)) for own in ids])

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Embeddings (B, L, D) in the encoder's dtype. Options and errors are those of `tokens`."""
        return self.model(input_ids=self.tokens(prompts, cut=cut).to(self.model.device)).last_hidden_state

    def dropped(self, count: int) -> Tensor:
        """What stands for no prompt: zeros (count, L, D), as in CogVideoX's training."""
        return torch.zeros(
            count, self.length, self.model.config.d_model, device=self.model.device, dtype=self.model.dtype
        )
