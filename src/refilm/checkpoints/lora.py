"""LoRA of a frozen transformer's linear layers (Hu et al. 2021, arXiv:2106.09685), in addition to an adapter.

peft injects and computes the LoRA in training and generation; refilm stores its weights with the adapter.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.geometry import AdapterSize
from refilm.model import Adapter, Backbone
from refilm.settings import Settings


class LoraSettings(Settings):
    """Settings of a LoRA."""

    rank: int = Field(default=16, ge=1, le=2**16)
    """Rank of the LoRA; a higher rank has more capacity and needs more memory."""
    alpha: int = Field(default=16, ge=1, le=2**16)
    """Scaling numerator of the LoRA; its output is multiplied by alpha / rank."""
    targets: tuple[str, ...] = Field(
        default=("attention.query_key_value", "attention.out"), min_length=1, max_length=100
    )
    """Linear layers of the transformer that get a LoRA, as suffixes of their names."""


class TunedAdapter(Adapter):
    """An adapter with a LoRA on the transformer's linear layers.

    Args:
        size: sizes of the adapter.
        lora: settings of the LoRA.
        weights: LoRA weights by name. Default: new ones, which have no effect yet.
        name: name of the LoRA in errors.
    """

    def __init__(
        self, size: AdapterSize, lora: LoraSettings, *, weights: Mapping[str, Tensor] | None = None, name: str = "lora"
    ):
        super().__init__(size)
        self.lora, self.name = lora, name
        self.weights = weights
        """LoRA weights by name: as given, or the trainable weights in the transformer it was last attached to."""

    def attach(self, transformer: Backbone) -> None:
        """Fill the reference slots, and inject the LoRA.

        Raises:
            UserError: the sizes do not match, another adapter is attached, no layer matches, or peft is not installed.
        """
        layers = self._targets(transformer)
        self._require_rank(len(layers))
        super().attach(transformer)
        _inject(transformer, self.lora, layers)
        fresh = {name.replace(".default.", "."): p for name, p in transformer.named_parameters() if ".lora_" in name}
        if self.weights is not None:
            self._fill(fresh, self.weights)
        if not any(parameter.is_meta for parameter in fresh.values()):  # meta: attached only to check the sizes
            self.weights = fresh

    @staticmethod
    def detach(transformer: Backbone) -> None:
        """Empty the reference slots and restore the bare linear layers."""
        Adapter.detach(transformer)
        for name, module in list(transformer.named_modules()):
            if hasattr(module, "lora_A"):
                transformer.set_submodule(name, module.get_submodule("base_layer"))

    def _targets(self, transformer: Backbone) -> list[str]:
        linear = [n for n, module in transformer.named_modules() if isinstance(module, nn.Linear)]
        for end in self.lora.targets:
            if not any(f".{name}".endswith(f".{end}") for name in linear):
                raise UserError(
                    f"{self.name}: targets: no linear layer of the transformer is called {end!r}: use name suffixes "
                    "such as attention.out or mlp.0"
                )
        return [name for name in linear if f".{name}".endswith(tuple(f".{end}" for end in self.lora.targets))]

    def _require_rank(self, layers: int) -> None:
        """Reject weights of another rank or for other layers before memory is allocated."""
        given = {} if self.weights is None else self.weights
        for name, weight in given.items():
            rank = weight.shape[:1] if ".lora_A" in name else weight.shape[1:2]
            if weight.ndim != 2 or rank != (self.lora.rank,):
                raise UserError(f"{self.name}: {name} has shape {tuple(weight.shape)}, not of rank {self.lora.rank}")
        if self.weights is not None and len(given) != 2 * layers:
            raise UserError(f"{self.name}: {len(given)} weights, but {layers} layers with two weights each")

    def _fill(self, fresh: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
        for name in sorted(fresh.keys() ^ weights.keys()):
            raise UserError(f"{self.name}: {'missing' if name in fresh else 'surplus'} key {name}")
        for name, parameter in fresh.items():
            if parameter.shape != weights[name].shape:
                raise UserError(
                    f"{self.name}: {name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
                )
            with torch.no_grad():
                parameter.copy_(weights[name])


def _inject(transformer: Backbone, lora: LoraSettings, layers: list[str]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError('lora: LoRA needs peft: pip install "refilm[lora]"') from error
    flags = {name: p.requires_grad for name, p in transformer.named_parameters()}
    inject_adapter_in_model(LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=layers), transformer)
    for name, parameter in transformer.named_parameters():  # restore the trainable flags that peft changed
        parameter.requires_grad_(flags.get(name.replace(".base_layer.", "."), True))
