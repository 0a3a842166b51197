"""Values of pixels as values of latent pixels; independent of what they mean."""

import numpy as np
from einops import reduce

from refilm.geometry import Compression


def pooled(values: np.ndarray, compression: Compression) -> np.ndarray:
    """The mean over each latent pixel: (F, H, W, ...) floats -> (T, h, w, ...) float32; the first frame is pooled
    alone, and repeated as its latent frame is.
    """
    space, time = compression.space, compression.time
    small = reduce(values, "f (h a) (w b) ... -> f h w ...", "mean", a=space, b=space)
    others = reduce(small[1:], "(t c) h w ... -> t h w ...", "mean", c=time)
    return np.concatenate([*[small[:1]] * compression.patch_time, others]).astype(np.float32)
