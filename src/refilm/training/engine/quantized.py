"""8-bit weights of a frozen transformer: half the memory of bfloat16 during adapter training.

A layer's weights are int8 with one scale per output channel (torchao's int8 weight-only) and are dequantized in each
forward pass. Autograd keeps the dequantized weights of every layer until its backward pass, so this saves memory only
with selective or full activation checkpointing. A quantized transformer cannot be saved as a base model and has
another fingerprint: compute the fingerprint before.
"""

import torch
from torch import Tensor, nn

from refilm.errors import UserError
from refilm.model import Backbone, Block


def quantize_base(transformer: Backbone) -> int:
    """Quantize the frozen linear layers of the blocks, in place; trained layers and the adapter are unchanged.

    Returns:
        Bytes of the quantized weights.

    Raises:
        UserError: torchao is missing, or no linear layer is frozen.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError('8-bit weights need torchao: pip install "refilm[quant]"') from error
    chosen = {layer for block in transformer.trunk.blocks for layer in _frozen(block)}
    if not chosen:
        raise UserError(
            "no linear layer of the transformer's blocks is frozen: use 8-bit weights only to train adapters"
        )
    quantize_(transformer.trunk, Int8WeightOnlyConfig(set_inductor_config=False), lambda module, _: module in chosen)
    for layer in chosen:
        layer.register_forward_pre_hook(_autocast)
    return sum(part.nbytes for layer in chosen for part in parts_of(layer.weight))


def parts_of(weight: Tensor) -> list[Tensor]:
    """The plain tensors of a weight: itself, or those of a quantized weight."""
    flatten = getattr(weight, "__tensor_flatten__", None)
    return [weight] if flatten is None else [getattr(weight, name) for name in flatten()[0]]


def _autocast(layer: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """Cast the input as autocast does for plain layers; with torchao's weights, float32 tokens would stay float32."""
    (x,) = given
    kind = x.device.type
    return (x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x,)


def _frozen(block: nn.Module) -> list[nn.Linear]:
    assert isinstance(block, Block)
    owned = set() if block.reference is None else set(block.reference.modules())
    layers = (module for module in block.modules() if isinstance(module, nn.Linear) and module not in owned)
    return [layer for layer in layers if not layer.weight.requires_grad]
