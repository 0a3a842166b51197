"""Low-rank changes of a frozen transformer's linear layers (Hu et al. 2021, arXiv:2106.09685), beside an adapter.

peft puts them in and computes them, in training and in generation alike; refilm keeps their weights with the adapter.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from refilm.model import Adapter, Transformer
from refilm.settings import Settings
from refilm.sizes import AdapterSize


class LoraSettings(Settings):
    """Which layers change, and by how much they can."""

    rank: int = Field(default=16, ge=1, le=2**16)
    """The changes' rank."""
    alpha: int = Field(default=16, ge=1, le=2**16)
    """Changes count alpha / rank."""
    targets: tuple[str, ...] = Field(
        default=("attention.query_key_value", "attention.out"), min_length=1, max_length=100
    )
    """Which linear layers of the transformer, by the ends of their names."""


class TunedAdapter(Adapter):
    """An adapter that also changes the transformer's linear layers, by low-rank matrices.

    Args:
        size: of the adapter.
        lora: which layers change.
        weights: the changes by name, as `lora` gives them; none: fresh ones, which change nothing yet.
        name: what errors call them.
    """

    def __init__(
        self, size: AdapterSize, lora: LoraSettings, *, weights: Mapping[str, Tensor] | None = None, name: str = "lora"
    ):
        super().__init__(size)
        self.lora, self.name = lora, name
        self.weights = weights
        """By name: as given, then those of the transformer that it was attached to last, which may train."""

    def attach(self, transformer: Transformer) -> None:
        """Fill the reference slots, and wrap the linear layers that change.

        Raises:
            ValueError: the sizes do not fit, another adapter is attached, no layer has such a name, or peft is missing.
        """
        layers = self._targets(transformer)
        self._require_rank(len(layers))
        super().attach(transformer)
        _inject(transformer, self.lora, layers)
        fresh = {name.replace(".default.", "."): p for name, p in transformer.named_parameters() if ".lora_" in name}
        if self.weights is not None:
            self._fill(fresh, self.weights)
        if not any(parameter.is_meta for parameter in fresh.values()):  # or they were only tried on
            self.weights = fresh

    @staticmethod
    def detach(transformer: Transformer) -> None:
        """Empty the reference slots and put the bare linear layers back."""
        Adapter.detach(transformer)
        for name, module in list(transformer.named_modules()):
            if hasattr(module, "lora_A"):
                transformer.set_submodule(name, module.get_submodule("base_layer"))

    def _targets(self, transformer: Transformer) -> list[str]:
        linear = [n for n, module in transformer.named_modules() if isinstance(module, nn.Linear)]
        for end in self.lora.targets:
            if not any(f".{name}".endswith(f".{end}") for name in linear):
                raise ValueError(
                    f"{self.name}: targets: no linear layer of the transformer is called {end!r}: give the ends of "
                    "names, for instance attention.out or mlp.0"
                )
        return [name for name in linear if f".{name}".endswith(tuple(f".{end}" for end in self.lora.targets))]

    def _require_rank(self, layers: int) -> None:
        """Weights of another rank, or for other layers, are refused before room for them is made."""
        given = {} if self.weights is None else self.weights
        for name, weight in given.items():
            rank = weight.shape[:1] if ".lora_A" in name else weight.shape[1:2]
            if weight.ndim != 2 or rank != (self.lora.rank,):
                raise ValueError(f"{self.name}: {name} has shape {tuple(weight.shape)}, not of rank {self.lora.rank}")
        if self.weights is not None and len(given) != 2 * layers:
            raise ValueError(f"{self.name}: {len(given)} weights; {layers} layers change, of two weights each")

    def _fill(self, fresh: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
        for name in sorted(fresh.keys() ^ weights.keys()):
            raise ValueError(f"{self.name}: {'missing' if name in fresh else 'surplus'} key {name}")
        for name, parameter in fresh.items():
            if parameter.shape != weights[name].shape:
                raise ValueError(
                    f"{self.name}: {name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}"
                )
            with torch.no_grad():
                parameter.copy_(weights[name])


def _inject(transformer: Transformer, lora: LoraSettings, layers: list[str]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError('lora: low-rank changes need peft: pip install "refilm[lora]"') from error
    flags = {name: p.requires_grad for name, p in transformer.named_parameters()}
    inject_adapter_in_model(LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=layers), transformer)
    for name, parameter in transformer.named_parameters():  # what trains is not peft's to say
        parameter.requires_grad_(flags.get(name.replace(".base_layer.", "."), True))
