"""Values of latent pixels as values of video tokens; independent of one model family."""

from einops import reduce
from torch import Tensor

from refilm.geometry import Geometry


def token_means(values: Tensor, size: Geometry) -> Tensor:
    """The mean over each video token, in the order of the tokens: (..., T, h, w) -> (..., N).

    Args:
        values: one per latent pixel; T, h and w must be multiples of the token's sizes.
        size: of the transformer.
    """
    s, p = size.patch_time, size.patch
    return reduce(values, "... (t s) (h p) (w q) -> ... (t h w)", "mean", s=s, p=p, q=p)
