"""Prompts as tokens of a fixed number, and the loading of encoders of the T5 kind; families derive from this."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from refilm.backbones.t5 import T5Config, T5Encoder
from refilm.backbones.tokenizer import Tokenizer
from refilm.errors import UserError
from refilm.weights.configs import read_config
from refilm.weights.files import weight_files
from refilm.weights.tensors import Piece, TensorFiles, fill, unfilled

_EMBEDDING = ("shared.weight", "encoder.embed_tokens.weight")  # one tensor; files use either name or both


class PromptEncoder:
    """The part of a `TextEncoder` that all families share. Prompts have `length` tokens, with end token and padding."""

    def __init__(self, tokenizer: Tokenizer, model: T5Encoder, length: int):
        self.tokenizer, self.model, self.length = tokenizer, model, length

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.shared.weight.device

    @property
    def vocabulary(self) -> list[tuple[str, int]]:
        """All tokens with their ids, sorted."""
        return sorted(self.tokenizer.vocabulary.items())

    def tokens(self, prompts: Sequence[str], *, cut: bool = False) -> Tensor:
        """Token ids (B, L), padded.

        Args:
            cut: truncate longer prompts and keep the end token, as in the models' training; the caller should warn.

        Raises:
            UserError: a prompt has too many tokens and `cut` is false.
        """
        padding = self.tokenizer.padding
        ids = self.ids(prompts, cut=cut)
        return torch.tensor([own + [padding] * (self.length - len(own)) for own in ids])

    def ids(self, prompts: Sequence[str], *, cut: bool = False) -> list[list[int]]:
        """The token ids of each prompt, without padding. Arguments and errors as in `tokens`."""
        ids = self.tokenizer(prompts)
        if cut:
            return [own if len(own) <= self.length else [*own[: self.length - 1], own[-1]] for own in ids]
        for prompt, own in zip(prompts, ids, strict=True):
            if len(own) > self.length:
                raise UserError(
                    f"the prompt has {len(own)} tokens, the limit of this model is {self.length}: "
                    f"shorten {prompt[:60]!r}{'...' if len(prompt) > 60 else ''}"
                )
        return ids

    def places(self, prompt: str, words: str) -> tuple[int, ...]:
        """Indices of the tokens that `words` have in a prompt; empty if it does not contain them."""
        return self.tokenizer.places(prompt, words)


def load_encoder(
    folder: Path, kind: type[T5Config], *, dtype: torch.dtype | None, device: torch.device | str
) -> T5Encoder:
    """Load an encoder; the decoder of a complete T5 is ignored.

    Args:
        folder: its folder, in transformers' layout.
        kind: the type of its config.
        dtype: dtype of the weights in memory. None: as stored.
        device: device of the weights.

    Raises:
        UserError: a part is missing, damaged or of another kind; names it.
    """
    config = read_config(folder / "config.json", kind)
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
    return model.eval()
