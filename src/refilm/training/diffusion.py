"""Training the transformer, or an adapter on a frozen one, by the velocity loss on encoded clips.

Every draw is a function of (seed, step): which clips, which caption and reference, timestep, noise, drops.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from refilm.data.encoded import EncodedSet
from refilm.diffusion import Schedule, velocity_loss
from refilm.model import Adapter, JointAttention, ReferenceAttention, Transformer, eager, freeze_all_but
from refilm.settings import Settings
from refilm.training.curriculum import Lesson, lesson_at
from refilm.training.parallel import Place, place
from refilm.training.validation import ValidationSettings, measure


class DropSettings(Settings):
    """How often what conditions a clip is left out, so that guidance has something to push away from."""

    text: float = 0.05
    """Share of clips without their caption."""
    reference: float = 0.05
    """Share of clips without their reference picture."""
    both: float = 0.05
    """Share of clips with neither."""


class ClipLesson(Lesson):
    """Encoded clips, or their first frames."""

    latent_frames: int
    """Latent frames of a clip; 1 is stills."""
    batch: int
    """Clips a step."""


class DiffusionSettings(Settings):
    """What is learned from the encoded clips, and how."""

    captions: tuple[float, ...] = (1.0,)
    """How often each of a clip's captions is taken, by share."""
    drop: DropSettings = DropSettings()
    curriculum: tuple[ClipLesson, ...]
    validation: ValidationSettings = ValidationSettings()
    seed: int = 0


class DiffusionTask:
    """The velocity loss of a transformer, with an adapter's reference attention where one is given."""

    def __init__(
        self,
        settings: DiffusionSettings,
        transformer: Transformer,
        schedule: Schedule,
        *,
        adapter: Adapter | None,
        train: EncodedSet,
        held_out: EncodedSet,
    ):
        self.settings, self.transformer, self.schedule, self.adapter = settings, transformer, schedule, adapter
        self.train, self.held_out = train, held_out
        if adapter is None:
            self.module: nn.Module = transformer
        else:
            adapter.attach(transformer)
            freeze_all_but(adapter, transformer)
            self.module = adapter
        if next(transformer.parameters()).device.type == "cpu":
            use_eager_attention(transformer)

    def loss(self, step: int) -> dict[str, Tensor]:
        """The mean velocity loss of a step's batch."""
        lesson = lesson_at(self.settings.curriculum, step)
        batch = self.draw(self.train, (self.settings.seed << 32) + step, lesson)
        return {"loss": self.losses(batch.share(place())).mean()}

    def draw(self, clips: EncodedSet, seed: int, lesson: ClipLesson) -> Batch:
        """A batch as a function of the seed alone; timesteps are stratified over the batch."""
        generator = torch.Generator().manual_seed(seed)
        n = lesson.batch
        indices = torch.randint(len(clips), (n,), generator=generator)
        captions = torch.tensor(self.settings.captions).multinomial(n, replacement=True, generator=generator)
        shape = (n, *clips.tensors["mean"].shape[1:])
        latents = clips.latents(indices, torch.randn(shape, generator=generator))[:, : lesson.latent_frames]
        which = torch.randint(clips.tensors["references"].shape[1], (n,), generator=generator)
        strata = (torch.arange(n) + torch.rand(n, generator=generator)) / n
        text_scale, reference_scale = drops(torch.rand(n, generator=generator), self.settings.drop)
        return Batch(
            latents=latents,
            text=clips.text(indices, captions),
            reference=clips.references(indices, which),
            timesteps=(strata * self.schedule.steps).long(),
            noise=torch.randn(latents.shape, generator=generator),
            text_scale=text_scale,
            reference_scale=reference_scale,
        )

    def losses(self, batch: Batch) -> Tensor:
        """The velocity loss of each clip, (B,)."""
        prediction = self.transformer(
            self.schedule.add_noise(batch.latents, batch.noise, batch.timesteps),
            batch.timesteps,
            batch.text * batch.text_scale[:, None, None],
            batch.reference if self.adapter else None,
            reference_scale=batch.reference_scale,
        )
        return velocity_loss(
            prediction, batch.latents, noise=batch.noise, timesteps=batch.timesteps, schedule=self.schedule
        )

    def validate(self) -> dict[str, float]:
        """Losses with the right picture, another's and none, on fixed held-out samples; see `measure`."""
        return measure(self, self.settings.validation)


@dataclass(frozen=True)
class Batch:
    """A batch of clips with everything that was drawn for them, B rows each."""

    latents: Tensor
    """(B, T, C, h, w), clean."""
    text: Tensor
    """(B, L, D)"""
    reference: Tensor
    """(B, M, E)"""
    timesteps: Tensor
    """(B,)"""
    noise: Tensor
    """Like the latents."""
    text_scale: Tensor
    """(B,), 0 where the caption is dropped."""
    reference_scale: Tensor
    """(B,), 0 where the reference is dropped."""

    def share(self, place: Place) -> Batch:
        """One process's rows."""
        return Batch(**{field.name: place.share(getattr(self, field.name)) for field in fields(self)})


def drops(fates: Tensor, settings: DropSettings) -> tuple[Tensor, Tensor]:
    """What is kept of text and of reference, 1 or 0, by uniform draws (B,): each kind of drop has its own interval."""
    edges = torch.tensor([settings.both, settings.text, settings.reference]).cumsum(0)
    kind = torch.bucketize(fates, edges, right=True)
    return ((kind != 0) & (kind != 1)).float(), ((kind != 0) & (kind != 2)).float()


def use_eager_attention(transformer: Transformer) -> None:
    """On a CPU the plain formula trains faster than the fused kernel, whose backward pass is slow there."""
    for module in transformer.modules():
        if isinstance(module, JointAttention | ReferenceAttention):
            module.kernel = eager
