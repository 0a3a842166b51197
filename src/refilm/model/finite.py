"""Detects values outside the range of their dtype where they arise; later they would become a black video."""

from torch import Tensor

from refilm.errors import NotFiniteError


def require_finite(values: Tensor, *, maker: str) -> Tensor:
    """Return the values unchanged, or fail if some are not finite.

    Args:
        values: any floating-point tensor.
        maker: what produced the values, as named in the message, for example "the autoencoder".

    Raises:
        NotFiniteError: the values contain NaN or infinity.
    """
    if values.isfinite().all():
        return values
    raise NotFiniteError(
        f"{maker} gave NaN or infinity: the range of float16 is too narrow for some models, use bfloat16 or float32 "
        "(--dtype); if it happens in those, the weights or the inputs are damaged"
    )
