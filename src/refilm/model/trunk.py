"""The trunk of a backbone: its blocks, each with a slot for reference attention, and how they are run.

Letters: B rows, L = S + N tokens, S of the text and N of the video; D channels per token.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from refilm.model.conditioning import Conditioning

WrapBlocks = Callable[[Callable[[Tensor, Conditioning], Tensor], Tensor, Conditioning], Tensor]
"""A wrapper of the trunk, (run, x, conditioning) -> x. It may skip the run."""

RunBlock = Callable[["Block", Tensor, Conditioning], Tensor]
"""A function that runs one block of the trunk, (block, x, conditioning) -> x."""


class Block(nn.Module):
    """Base class of a family's blocks: a function of tokens and conditioning, with a slot for reference attention."""

    def __init__(self) -> None:
        super().__init__()
        self.reference: nn.Module | None = None
        """The reference slot: (video (B, N, D), `References`) -> the term to add to the video, (B, N, D)."""

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        """(B, L, D) -> (B, L, D)"""
        raise NotImplementedError

    def attend_to_references(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        """Add the output of the reference attention to the video tokens."""
        if self.reference is None or conditioning.references is None:
            return x
        text, video = x[:, : conditioning.text_length], x[:, conditioning.text_length :]
        return torch.cat([text, video + self.reference(video, conditioning.references)], dim=1)


def plain(block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
    """Run a block and store all activations that its backward needs."""
    return block(x, conditioning)


class Trunk(nn.Module):
    """The sequence of blocks. `wrap_blocks`, if set, controls whether and how they run; `run_block` runs each one."""

    def __init__(self, blocks: Iterable[Block]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.wrap_blocks: WrapBlocks | None = None
        self.run_block: RunBlock = plain

    def forward(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        return self.run(x, conditioning) if self.wrap_blocks is None else self.wrap_blocks(self.run, x, conditioning)

    def run(self, x: Tensor, conditioning: Conditioning) -> Tensor:
        """Run all blocks in sequence."""
        for index, block in enumerate(self.blocks):
            x = self.run_block(cast(Block, block), x, conditioning.in_block(index))
        return x
