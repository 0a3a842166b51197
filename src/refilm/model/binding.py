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
    multiplied by the largest `where` of a video token, and the values of a subject by its scale.
    """
    where, scale = references.where, references.scale
    dtype = torch.promote_types(q.dtype, torch.float32)
    seen = _seen(references, q)  # (B, S, N or 1)
    bias = torch.where(seen.amax(dim=1, keepdim=True) > 0, seen, 1.0).log()  # a softmax over nothing would be NaN
    bias = repeat(bias, "b s n -> b 1 n (s m)", m=k.shape[-2])  # (B, 1, N or 1, S M)
    if references.bias is not None:
        bias = bias + rearrange(references.bias, "b s m -> b 1 1 (s m)")
    factor = torch.as_tensor(scale, dtype=dtype, device=q.device).expand(len(q), references.subjects)  # (B, S)
    k, v = rearrange(
        torch.stack([k, (factor[..., None, None, None] * v).to(v.dtype)]), "two b s h m d -> two b h (s m) d"
    )
    plain = where is None and references.weight is None
    found = kernel(q, k, v) if plain else kernel(q, k, v, bias.to(q.dtype))
    term = out(rearrange(found, "b h n d -> b n (h d)"))
    largest = factor.amax(dim=1)[:, None, None]  # the output layer's bias is scaled too: scale 0 adds nothing
    term = seen.amax(dim=1)[..., None] * (term if out.bias is None else term + (largest - 1) * out.bias)
    return in_dtype_of(found, term)


READS: dict[str, Read] = {"separate": separate, "joint": joint}
"""The ways by the names that settings use."""


def _seen(references: References, q: Tensor) -> Tensor:
    """How strongly each video token sees each subject: (B, S, N), or (B, S, 1) without masks; 0 for hidden subjects."""
    seen = references.where
    seen = q.new_ones(len(q), references.subjects, 1) if seen is None else seen.to(q.device)
    hidden = references.hidden
    return seen.float() if hidden is None else seen.float().masked_fill(hidden[..., None], 0.0)
