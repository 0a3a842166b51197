"""Encoded clips in memory; the numbers of each identify the clip."""

import numpy as np
import torch

from refilm.data.encoding import EncodedClip


class Clips:
    """`count` clips of each size (T, h, w), with two captions and two references in three views each."""

    def __init__(
        self, counts: dict[tuple[int, int, int], int], *, channels: int = 4, text: int = 6, reference: int = 5
    ):
        self.channels, self.text, self.reference = channels, text, reference
        self.sizes = [size for size, count in counts.items() for _ in range(count)]
        self.buckets = {
            size: np.array([i for i, own in enumerate(self.sizes) if own == size], dtype=np.int64) for size in counts
        }

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> EncodedClip:
        frames, height, width = self.sizes[index]
        shape = (frames, self.channels, height, width)
        generator = torch.Generator().manual_seed(index)
        return EncodedClip(
            mean=torch.randn(shape, generator=generator).half(),
            logvar=torch.full(shape, -2.0).half(),
            text=torch.stack([torch.full((5, self.text), index + 0.25 * which) for which in range(2)]),
            references=torch.stack(
                [
                    torch.stack(
                        [torch.full((4, self.reference), index + 0.25 * who + 0.0625 * view) for view in range(3)]
                    )
                    for who in range(2)
                ]
            ),
            mask=None,
        )

    def not_finite(self, index: int) -> str | None:
        return None
