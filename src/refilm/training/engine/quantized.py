"""A frozen transformer's weights in 8 bits: half of bfloat16's memory while an adapter trains beside them.

A layer's weights are int8 with a scale for every output channel (torchao's int8 weight-only); they are widened when
they are used. Autograd keeps the widened ones of every layer until its backward, so the memory is saved only where
blocks are computed again: go with full or selective checkpointing. What is quantized can't be saved as a base model,
and has another fingerprint: take that before.
"""

import torch
from torch import Tensor, nn

from refilm.model import Block, Transformer


def quantize_base(transformer: Transformer) -> int:
    """Quantize the frozen linear layers of the blocks, in place. What trains stays as it is, the adapter always.

    Returns:
        Bytes that the quantized layers' weights take now.

    Raises:
        ValueError: torchao is missing, or no linear layer is frozen.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError('weights in 8 bits need torchao: pip install "refilm[quant]"') from error
    chosen = {layer for block in transformer.trunk.blocks for layer in _frozen(block)}
    if not chosen:
        raise ValueError("no linear layer of the transformer's blocks is frozen: leave 8-bit weights to adapters")
    quantize_(transformer.trunk, Int8WeightOnlyConfig(set_inductor_config=False), lambda module, _: module in chosen)
    for layer in chosen:
        layer.register_forward_pre_hook(_autocast)
    return sum(part.nbytes for layer in chosen for part in parts_of(layer.weight))


def parts_of(weight: Tensor) -> list[Tensor]:
    """The plain tensors that a weight is made of: itself, or those of a quantized one."""
    flatten = getattr(weight, "__tensor_flatten__", None)
    return [weight] if flatten is None else [getattr(weight, name) for name in flatten()[0]]


def _autocast(layer: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """What autocast does with a plain layer's input; with torchao's weights, float32 tokens would stay float32."""
    (x,) = given
    kind = x.device.type
    return (x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x,)


def _frozen(block: nn.Module) -> list[nn.Linear]:
    assert isinstance(block, Block)
    owned = set() if block.reference is None else set(block.reference.modules())
    layers = (module for module in block.modules() if isinstance(module, nn.Linear) and module not in owned)
    return [layer for layer in layers if not layer.weight.requires_grad]
