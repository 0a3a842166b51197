"""Numbers that left the range of their dtype: they are found where they arise, for later they are a black video."""

from torch import Tensor


def require_finite(values: Tensor, *, maker: str) -> Tensor:
    """The same values.

    Args:
        values: any floating-point tensor.
        maker: what made them, as the message names it: "the autoencoder", say.

    Raises:
        FloatingPointError: NaN or infinity among the values.
    """
    if values.isfinite().all():
        return values
    raise FloatingPointError(
        f"{maker} gave NaN or infinity: float16 is too narrow for some models, use bfloat16 or float32 (--dtype); "
        "if it happens in those, the weights or what was given are damaged"
    )
