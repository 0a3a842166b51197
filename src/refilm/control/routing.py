"""Words bind subjects: the base model's own attention from the video to a subject's words says where it appears.

No training, no masks. The attention of each block from video tokens to text tokens is recorded at every step, and the
next step's reference attention follows the mean over blocks. The idea that words locate what they name is that of
prompt-to-prompt (Hertz et al. 2022, arXiv:2208.01626) and DAAM (Tang et al. 2022, arXiv:2210.04885).

Letters: B samples, S subjects, N video tokens, H heads, L text tokens, d channels per head.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from refilm.diffusion import Model, Predict
from refilm.diffusion.memory import State
from refilm.model import (
    Backbone,
    Block,
    Conditioning,
    Kernel,
    References,
    Row,
    RunBlock,
    TextReader,
    Trunk,
    conditional_rows,
    swapped,
)

SHARPNESS = 4.0
THRESHOLD = 0.5


class WordRouting:
    """A wrapper of predictions that lets subjects appear only where the model attends to their words.

    Before the first step the transformer runs once without references, since there is no earlier step to learn from.

    Args:
        words: for each sample and subject the indices of its words' tokens; empty for a subject that is not bound.
        model: the model that is sampled from.
        text: its prompts' embeddings, (B, L, D).
        sharpness: exponent of the attention; larger values give harder masks.
        threshold: attention, as a fraction of its maximum, at which a subject is half visible.
    """

    def __init__(
        self,
        words: Sequence[Sequence[Sequence[int]]],
        model: Model,
        text: Tensor,
        *,
        sharpness: float = SHARPNESS,
        threshold: float = THRESHOLD,
    ):
        self.words, self.model, self.text = words, model, text
        self.sharpness, self.threshold = sharpness, threshold
        self._where: dict[Row, Tensor] = {}  # a row of the conditional branch -> (S, N)
        self._maps: dict[Row, list[Tensor]] = defaultdict(list)  # of the running step: (S, N) for each block
        self._rows: dict[int, Row] = {}  # index in the batch that runs -> a row of the conditional branch
        self._text_length = 0

    def __call__(self, predict: Predict, transformer: Backbone) -> Predict:
        """The same prediction with routing."""

        def routed(latents: Tensor, timestep: float, fraction: float) -> Tensor:
            with self._recording(transformer):
                if not self._where:
                    self._run_ahead(latents, timestep, transformer)
                    self._update()
                velocity = predict(latents, timestep, fraction)
            self._update()
            return velocity

        return routed

    def where(self, references: References, rows: Sequence[Row]) -> Tensor | None:
        """The masks of references, with those of subjects that words bind: (B, S, N). None: nothing is bound here."""
        if not any(row in self._where for row in rows):
            return references.where
        count = next(iter(self._where.values())).shape[1]
        bound = torch.ones(len(rows), references.subjects, count)
        for own, row in zip(bound, rows, strict=True):
            known = self._where.get(row, own)  # a video of the batch may have fewer subjects
            own[: len(known)] = known
        bound = bound.to(references.tokens.device)
        return bound if references.where is None else bound * references.where.to(bound.device)

    def state(self) -> State:
        """The masks that the next step uses."""
        return {str(row): where for row, where in self._where.items()}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._where = {Row.read(name): where.cpu() for name, where in state.items()}

    def attention(self, latents: Tensor, timestep: float, transformer: Backbone) -> dict[Row, Tensor]:
        """Run the transformer once, without references: the attention to each subject's words, (S, N) for each row."""
        with self._recording(transformer):
            self._run_ahead(latents, timestep, transformer)
        return self._recorded()

    def _run_ahead(self, latents: Tensor, timestep: float, transformer: Backbone) -> None:
        count = len(latents)
        timesteps = torch.full((count,), timestep, device=latents.device)
        with swapped(transformer, Trunk, wrap_blocks=lambda _: None):  # a step cache would keep this output
            self.model(latents, timesteps, self.text.expand(count, -1, -1), None, rows=conditional_rows(count))

    def _recorded(self) -> dict[Row, Tensor]:
        """The mean over blocks of what was recorded since the last call."""
        means = {row: torch.stack(maps).mean(dim=0) for row, maps in self._maps.items()}
        self._maps.clear()
        return means

    def _update(self) -> None:
        for row, attention in self._recorded().items():
            self._where[row] = visible(attention, self.words[row.sample], self.sharpness, self.threshold)

    @contextmanager
    def _recording(self, transformer: Backbone) -> Iterator[None]:
        with (
            swapped(transformer, Trunk, run_block=self._routing),
            swapped(transformer, TextReader, kernel=self._noting),
        ):
            yield

    def _routing(self, run_block: RunBlock) -> RunBlock:
        def routing(block: Block, x: Tensor, conditioning: Conditioning) -> Tensor:
            self._text_length = conditioning.text_length
            self._rows = {i: row for i, row in enumerate(conditioning.rows) if row.branch == "conditional"}
            references = conditioning.references
            if references is not None:
                where = self.where(references, conditioning.rows)
                conditioning = replace(conditioning, references=replace(references, where=where))
            return run_block(block, x, conditioning)

        return routing

    def _noting(self, kernel: Kernel) -> Kernel:
        def noting(q: Tensor, k: Tensor, v: Tensor, *bias: Tensor) -> Tensor:
            for index, row in self._rows.items():
                own = word_attention(q[index], k[index], self.words[row.sample], self._text_length)
                self._maps[row].append(own.cpu())
            return kernel(q, k, v, *bias)

        return noting


def word_attention(q: Tensor, k: Tensor, words: Sequence[Sequence[int]], text_length: int) -> Tensor:
    """Attention of video tokens to each subject's words among all text tokens, averaged over heads.

    (H, Lq, d), (H, Lk, d) -> (S, N) float32; zeros for a subject without words.

    Args:
        q: queries; those of the video are the last ones.
        k: keys; those of the text are the first ones.
        words: the indices of each subject's text tokens.
        text_length: number of text tokens among the queries and keys; 0 if all keys are text.
    """
    video, text = q[:, text_length:], k[:, : text_length or None]
    total = q.new_zeros(len(words), video.shape[1], dtype=torch.float32)
    for head_q, head_k in zip(video, text, strict=True):  # one by one, to save memory
        weights = torch.softmax(head_q.float() @ head_k.float().mT * q.shape[-1] ** -0.5, dim=-1)  # (N, L)
        total += torch.stack([weights[:, list(own)].sum(dim=1) for own in words])
    return total / len(q)


def visible(attention: Tensor, words: Sequence[Sequence[int]], sharpness: float, threshold: float) -> Tensor:
    """How strongly each video token sees each subject, from the attention to its words: (S, N) -> (S, N) in 0..1.

    a_s^p / (sum over subjects of a^p + threshold^p), where a is the attention as a fraction of its maximum: subjects
    compete with each other and with the background. A subject without words is seen everywhere.
    """
    relative = attention / attention.amax(dim=1, keepdim=True).clamp_min(1e-12)
    power = relative**sharpness
    seen = power / (power.sum(dim=0, keepdim=True) + threshold**sharpness)
    bound = torch.tensor([bool(own) for own in words])[:, None]
    return torch.where(bound, seen, 1.0)
