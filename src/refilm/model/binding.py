"""How video tokens read the references of several subjects. With one subject both ways are the same function.

Letters: B samples, S subjects, H heads, N video tokens, M reference tokens of a subject, d channels per head,
D channels per token.
"""

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from refilm.model.attention import Kernel
from refilm.model.references import References, in_dtype_of

Read = Callable[[Tensor, Tensor, Tensor, References, Kernel, nn.Linear], Tensor]
"""(q (B, H, N, d), k and v (B, S, H, M, d), references, kernel, output layer) -> the term to add to the video tokens,
(B, N, D)."""


def separate(q: Tensor, k: Tensor, v: Tensor, references: References, kernel: Kernel, out: nn.Linear) -> Tensor:
    """An attention per subject, and the sum of their terms: over s, scale_s where_s out(softmax(q k_s) v_s).

    As IP-Adapter with several images and masks (Ye et al. 2023, arXiv:2308.06721): a subject's term does not depend on
    the others, so both are added where masks overlap.
    """
    subjects, bias = references.subjects, references.bias
    q = q.repeat_interleave(subjects, dim=0) if subjects > 1 else q  # (B S, H, N, d)
    k, v = k.flatten(0, 1), v.flatten(0, 1)  # (B S, H, M, d)
    found = kernel(q, k, v) if bias is None else kernel(q, k, v, bias.flatten(0, 1)[:, None, None])
    return references.combined(out(rearrange(found, "b h n d -> b n (h d)")))


def joint(q: Tensor, k: Tensor, v: Tensor, references: References, kernel: Kernel, out: nn.Linear) -> Tensor:
    """One softmax over the tokens of all subjects: a video token that reads one subject reads less of the others.

    log(where) is added to the scores of a subject's tokens, so that masks move attention between subjects. The term is
    multiplied by the largest `where` of a video token, and the values of a subject by its scale. A subject of scale 0
    takes no part.
    """
    subjects, dtype = references.subjects, torch.promote_types(q.dtype, torch.float32)
    scale = references.scale
    factor = scale.to(q.device, dtype) if isinstance(scale, Tensor) else q.new_full((1, 1), scale, dtype=dtype)
    factor = factor.expand(len(q), subjects)  # (B, S)
    seen = _seen(references, factor, q)  # (B, S, N or 1)
    bias = torch.where(seen.amax(dim=1, keepdim=True) > 0, seen, 1.0).log()  # a softmax over nothing would be NaN
    bias = repeat(bias, "b s n -> b 1 n (s m)", m=k.shape[-2])  # (B, 1, N or 1, S M)
    if references.bias is not None:
        bias = bias + rearrange(references.bias, "b s m -> b 1 1 (s m)")
    k, v = rearrange(
        torch.stack([k, (factor[..., None, None, None] * v).to(v.dtype)]), "two b s h m d -> two b h (s m) d"
    )
    whole = references.where is None and references.weight is None  # what is left to hide are subjects of scale 0
    plain = whole and (subjects == 1 or not isinstance(references.scale, Tensor))
    found = kernel(q, k, v) if plain else kernel(q, k, v, bias.to(q.dtype))
    term = out(rearrange(found, "b h n d -> b n (h d)"))
    if out.bias is not None:  # it is scaled like the rest: scale 0 adds nothing
        term = term + ((factor[..., None] * (seen > 0)).amax(dim=1)[..., None] - 1) * out.bias
    return in_dtype_of(found, seen.amax(dim=1)[..., None] * term)


READS: dict[str, Read] = {"separate": separate, "joint": joint}
"""The ways by the names that settings use."""


def _seen(references: References, factor: Tensor, q: Tensor) -> Tensor:
    """How strongly each video token sees each subject: (B, S, N), or (B, S, 1) without masks; 0 for hidden subjects
    and those of factor 0, (B, S)."""
    seen = references.where
    seen = q.new_ones(len(q), references.subjects, 1) if seen is None else seen.to(q.device)
    absent = factor == 0 if references.hidden is None else references.hidden | (factor == 0)
    return seen.float().masked_fill(absent[..., None], 0.0)
