"""The diffusion task: train a transformer, or an adapter on a frozen one, with the velocity loss on encoded clips."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn

from refilm.backbones import family_of
from refilm.data.encoding import Subset
from refilm.diffusion import Process, min_snr_weights, velocity_loss
from refilm.errors import UserError
from refilm.model import Adapter, Attention, Backbone, References, eager
from refilm.model.tokens import token_means
from refilm.training.batches.stream import Batch, Stream
from refilm.training.engine.parameters import ParameterTable, Part, assert_trained, table
from refilm.training.engine.precision import products_in
from refilm.training.engine.quantized import quantize_base
from refilm.training.settings import (
    DiffusionSettings,
    DropSettings,
    OptimizerSettings,
    TrainSettings,
)
from refilm.training.tasks.activation_checkpointing import apply_checkpointing, compile_blocks
from refilm.training.tasks.reference_usage import Usage, unused_in_a_row, usage_of
from refilm.training.tasks.task import Reporting
from refilm.training.tasks.validation import measure

DROPS = DropSettings(text=0.05, reference=0.05, both=0.05)
"""Default drops if the transformer or LoRA trains. On a frozen transformer an adapter learns nothing from a clip
without its reference, and the unconditional predictions of guidance are those of the frozen model."""


class DiffusionTask(Reporting):
    """The velocity loss of a transformer, with an adapter's reference attention where one is given.

    Args:
        settings: samples, loss and validation.
        transformer: on the device of the training.
        schedule: the noise schedule.
        adapter: attached to the transformer here, with its LoRA if it has one; None: the transformer trains alone.
        train: training set.
        held_out: validation set.
        training: which parameters train, if there is an adapter.
        base_source: the base model's name, folder or Hub id, for the run record.
        base_fingerprint: of the transformer as it was loaded, if known.

    Raises:
        UserError: data and settings do not match.
    """

    products = torch.float32

    def __init__(
        self,
        settings: DiffusionSettings,
        transformer: Backbone,
        schedule: Process,
        *,
        adapter: Adapter | None,
        train: Subset,
        held_out: Subset,
        training: TrainSettings | None = None,
        base_source: str | None = None,
        base_fingerprint: str | None = None,
    ):
        self.training = training or TrainSettings(what="adapter" if adapter else "all")
        if settings.drop is None and self.training.changes_transformer:
            settings = settings.model_copy(update={"drop": DROPS})
        self.settings, self.schedule, self.train, self.held_out = settings, schedule, train, held_out
        self.stream = Stream(train, settings, timesteps=schedule.steps, still=transformer.size.patch_time)
        self._take(transformer.train(), adapter)
        for module in transformer.modules():
            if isinstance(module, nn.LayerNorm):
                for weight in module.parameters():  # small; on a CPU autocast does not apply them to float32 tokens
                    weight.data = weight.data.float()
        for part in self.parts():
            for _, parameter in part.parameters:
                parameter.requires_grad_(part.trains)
                if part.trains:
                    parameter.data = parameter.data.float()
        assert_trained(self.parts())
        self.base_source, self.base_fingerprint = base_source, base_fingerprint
        if self.training.base_dtype == "int8":
            quantize_base(transformer)
        apply_checkpointing(transformer, settings.checkpointing)
        if settings.compile:
            compile_blocks(transformer)

    def _take(self, transformer: Backbone, adapter: Adapter | None) -> None:
        self.transformer, self.adapter = transformer, adapter
        self.device = transformer.device
        if adapter is not None:
            if adapter.projection.weight.device != self.device:
                adapter.to(self.device)
            adapter.attach(transformer)
        modules: dict[str, nn.Module] = {"transformer": transformer}
        self.module: nn.Module = nn.ModuleDict(modules if adapter is None else {"adapter": adapter} | modules)
        if self.device.type == "cpu":
            use_eager_attention(transformer)

    def on(self, train: Subset, held_out: Subset, settings: DiffusionSettings) -> "DiffusionTask":
        """A task with the same model and other clips."""
        other = copy(self)
        other.train, other.held_out, other.settings = train, held_out, settings
        other.stream = Stream(train, settings, timesteps=self.stream.timesteps, still=self.stream.still)
        return other

    def samples(self, step: int) -> range:
        """The numbers of a step's samples."""
        return self.stream.samples(step)

    def loss(self, step: int, samples: Sequence[int]) -> dict[str, Tensor]:
        """The mean loss of some of a step's samples."""
        batch, settings = self.draw(self.stream, step, samples), self.settings.loss
        losses = self.losses(batch, mask_fraction=settings.mask_fraction)
        if settings.weighting == "min-snr":
            losses = losses * min_snr_weights(batch.timesteps, self.schedule, gamma=settings.gamma)
        return {"loss": losses.mean()}

    def draw(self, stream: Stream, step: int, samples: Sequence[int]) -> Batch:
        """Samples of a stream's step, on the transformer's device."""
        return stream.batch(step, samples).to(self.device)

    def losses(self, batch: Batch, *, mask_fraction: float = 0.0) -> Tensor:
        """The velocity loss of each clip, (B,), without timestep weights."""
        with self.autocast():
            prediction = self.transformer(
                self.schedule.add_noise(batch.latents, batch.noise, batch.timesteps),
                self.schedule.received(batch.timesteps),
                batch.text * batch.text_scale[:, None, None],
                self._references(batch),
            )
        return velocity_loss(
            prediction,
            batch.latents,
            noise=batch.noise,
            timesteps=batch.timesteps,
            schedule=self.schedule,
            mask=batch.mask,
            mask_fraction=mask_fraction,
        )

    def _references(self, batch: Batch) -> References | None:
        if self.adapter is None:
            return None
        return self.adapter.references(
            batch.reference,
            weight=batch.weight,
            where=None if batch.where is None else token_means(batch.where, self.transformer.size),
            scale=batch.reference_scale,
            binding=self.settings.subjects.binding,
        )

    def autocast(self) -> torch.autocast:
        """The context of the transformer's forward pass. A half-precision transformer always needs it, because its
        adapter is float32.
        """
        stored = self.transformer.dtype
        return products_in(stored if self.products == torch.float32 else self.products, self.device)

    def validate(self) -> dict[str, float]:
        """Losses with the right, a wrong and no reference, on the validation set; see `measure`."""
        return measure(self, self.settings.validation)

    def reference_usage(self, scores: Mapping[str, float]) -> Usage | None:
        """Whether the reference is used, by the scores of `validate`; None without an adapter."""
        drop = self.settings.drop or DropSettings()
        dropped = drop.reference + drop.both > 0
        return usage_of(scores, samples=self.settings.validation.samples, dropped=dropped)

    def usage(self, scores: Mapping[str, float]) -> str:
        """The reference usage in words."""
        found = self.reference_usage(scores)
        return found.words if found else ""

    def reference_unused(self, validations: Sequence[Mapping[str, float]]) -> bool:
        """Whether `stop_if_unused` validations in a row found that the reference is not used."""
        patience = self.settings.validation.stop_if_unused
        return patience > 0 and unused_in_a_row(validations) >= patience

    def sources(self) -> dict[str, Any]:
        """Seed, clips and base model."""
        sets = {"train": self.train, "held_out": self.held_out}
        return {
            "seed": self.settings.seed,
            "data": {name: {"clips": len(clips), "identity": clips.identity} for name, clips in sets.items()},
            "base": {"source": self.base_source, "fingerprint": self.base_fingerprint},
        }

    def facts(self, step: int) -> dict[str, Any]:
        """The number of training samples so far."""
        return {"samples": self.samples(step - 1).stop} if step else {}

    def not_finite(self, step: int, samples: Sequence[int]) -> str | None:
        """The first non-finite tensor among some of a step's samples, and its file; None: all are finite."""
        return self.stream.not_finite(step, samples)

    def parts(self) -> tuple[Part, ...]:
        """Trained and frozen parameters."""
        of: dict[str, list[tuple[str, nn.Parameter]]] = {}
        for name, parameter in self.module.named_parameters():
            of.setdefault(_part(name), []).append((name, parameter))
        return tuple(
            Part(name, name != TRANSFORMER or self.training.what == "all", tuple(of[name]))
            for name in PARTS
            if name in of
        )

    def trained(self, optimizer: OptimizerSettings | None = None) -> ParameterTable:
        """The table of trained and frozen parameters, with their memory under an optimizer."""
        return table(self.parts(), optimizer or OptimizerSettings())

    def shards(self) -> Sequence[nn.Module]:
        """FSDP units: the blocks, the image projection, then the transformer, which contains the adapter's layers.

        Raises:
            UserError: a part of it is frozen, or its blocks cannot be sharded.
        """
        if self.training.what != "all":
            raise UserError(
                "loop.shard: needs train.what = 'all'; remove it, an adapter is small enough for every process"
            )
        if self.settings.compile and self.settings.checkpointing == "selective":
            raise UserError(
                "loop.shard: does not work with compile and checkpointing = 'selective'; use 'full' or 'none'"
            )
        projection = [] if self.adapter is None else [self.adapter.projection]
        return [*self.transformer.trunk.blocks, *projection, self.transformer]

    def gathered(self, weights: Mapping[str, Tensor]) -> None:
        """Replace sharded weights by whole ones, given by their names in `module`."""
        with torch.device("meta"):
            transformer = family_of(self.transformer).create(self.transformer.size)
            adapter = None if self.adapter is None else Adapter(self.adapter.size)
        for prefix, module in (("transformer.", transformer), ("adapter.", adapter)):
            if module is not None:
                own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
                module.load_state_dict(own, assign=True)
        self._take(transformer.to(self.device), adapter)


TRANSFORMER = "transformer"
PARTS = ("reference attention", "reference projection", "LoRA", TRANSFORMER)


def _part(name: str) -> str:
    """The part that a parameter belongs to."""
    if name.startswith("adapter."):
        return PARTS[1] if name.startswith("adapter.projection.") else PARTS[0]
    return PARTS[2] if ".lora_" in name else TRANSFORMER


def use_eager_attention(transformer: Backbone) -> None:
    """Use unfused attention: on a CPU it trains faster than the fused kernel, whose backward pass is slow."""
    for module in transformer.modules():
        if isinstance(module, Attention):
            module.kernel = eager
