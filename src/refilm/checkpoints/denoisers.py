"""The bare transformer, loaded from any format and run on plain tensors, without encoders.

It is meant for research and comparisons. The samplers of `refilm.diffusion` accept the result of `load_denoiser`, as
they accept any such callable.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from refilm.arguments import checked
from refilm.backbones import Family, families, family_in, family_of, native_format
from refilm.checkpoints.adapters import load_adapter, require_family
from refilm.checkpoints.bases import choose_device, choose_dtype
from refilm.checkpoints.sources import located
from refilm.errors import UserError
from refilm.geometry import Geometry
from refilm.model import Adapter, Backbone, References, Row
from refilm.weights.fingerprints import fingerprint


class Denoiser:
    """A callable transformer with an optional adapter; it supports autograd like any module.

    Attributes:
        transformer: the model; `transformer.size` has its sizes.
        adapter: the attached adapter, if any; `adapter.layers[i]` is the reference attention of block i.
    """

    def __init__(self, transformer: Backbone, adapter: Adapter | None):
        self.transformer, self.adapter = transformer, adapter
        if adapter is not None:
            adapter.attach(transformer)

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        references: Tensor | References | None = None,
        *,
        rows: Sequence[Row] | None = None,
    ) -> Tensor:
        """The velocity of noisy latents, (B, T, C, h, w). Inputs are moved to the model's device and dtype.

        Args:
            latents: (B, T, C, h, w).
            timesteps: (B,), 0..999.
            text: (B, S, text_dim); zeros for samples whose text is dropped.
            references: from `references`; or the image encoder's tokens, (B, M, E), with a scale of 1. None disables
                the reference attention, which differs from zeros.
            rows: the branch of guidance and the sample of each row.

        Raises:
            UserError: references were given without an adapter, or the latents do not fit the patch size.
        """
        if isinstance(references, Tensor):
            references = self.references(references)
        place = {"device": self.transformer.device, "dtype": self.transformer.dtype}
        timesteps = timesteps.to(self.transformer.device)
        return self.transformer(latents.to(**place), timesteps, text.to(**place), references, rows=rows)

    def references(self, tokens: Tensor, *, scale: Tensor | float = 1.0, projected: bool = False) -> References:
        """The references that the transformer reads, of one subject per sample.

        Args:
            tokens: (B, M, E), the input of the image projection; or (B, M, D), already projected.
            scale: factor on the output of the reference attention; (B,) sets it per sample.
            projected: the tokens are already projected. Projected zeros are the image-free branch of SAT.

        Raises:
            UserError: there is no adapter.
        """
        if self.adapter is None:
            raise UserError("a reference was given, but no adapter is attached to this transformer")
        tokens = tokens.to(self.transformer.device, self.transformer.dtype)
        if not projected:
            return self.adapter.references(tokens, scale=scale)
        return References(tokens[:, None], scale=scale[:, None] if isinstance(scale, Tensor) else scale)


@checked
def load_denoiser(
    source: str | Path,
    *,
    size: Geometry | None = None,
    adapter: Literal["default"] | str | Path | None = "default",
    dtype: torch.dtype | str | None = None,
    device: torch.device | str = "cpu",
) -> Denoiser:
    """Load only a transformer, with its adapter if there is one.

    Args:
        source: `pocket`; a Hub id; a folder in diffusers' layout, of a whole pipeline or of the transformer; a SAT
            checkpoint's folder; or one file of either (`.safetensors`, `.pt`, `.ckpt`, `.bin`).
        size: the model's sizes, if they are not in its files and should not be inferred from the weights. A SAT file
            always has head_norm_eps 1e-6, and the positions of its own table.
        adapter: `default` for the adapter in the file or in the pipeline's folder; an adapter's folder or Hub id; None
            for the bare model.
        dtype: dtype of the weights, as a torch dtype or by name. Default: as stored.
        device: device of the weights.

    Raises:
        UserError: a file is missing or damaged, a size does not match, or the adapter belongs to another model; names
            the file and the key.
    """
    device = choose_device(device)
    dtype = None if dtype is None else choose_dtype(dtype, device)
    folder = located(source)
    native = native_format(folder)
    if native is not None:
        file = native.open_file(folder, size=size)
        if file.size is None:
            raise UserError(f"{file.path}: contains an adapter but no transformer; use a complete checkpoint")
        transformer = file.transformer(dtype=dtype, device=device)
        own = None if file.adapter_size is None else file.adapter
    else:
        transformer = _diffusers(folder, size, dtype=dtype, device=device)
        path = folder / "adapter"
        own = (lambda *, dtype, device: _adapter(path, transformer, dtype, device)) if path.is_dir() else None
    if adapter != "default":
        made = None if adapter is None else _adapter(adapter, transformer, dtype, device)
    else:
        made = None if own is None else own(dtype=dtype, device=device)
    return Denoiser(transformer, made)


def _diffusers(path: Path, size: Geometry | None, *, dtype: torch.dtype | None, device: torch.device | str) -> Backbone:
    if path.is_file():
        known = family_of(size) if size is not None else _beside(path)
        return known.load_transformer_file(path, size=size, dtype=dtype, device=device)
    folder = path / "transformer" if (path / "transformer").is_dir() else path
    transformer = family_in(folder).load_transformer(folder, dtype=dtype, device=device)
    if size is not None and size != transformer.size:
        raise UserError(f"{folder / 'config.json'}: has {transformer.size}, not {size}; omit the size")
    return transformer


def _beside(path: Path) -> Family:
    """The family that a `config.json` next to a weights file names; the first one where there is none."""
    return family_in(path.parent) if path.with_name("config.json").is_file() else families()[0]


def _adapter(
    folder: str | Path, transformer: Backbone, dtype: torch.dtype | None, device: torch.device | str
) -> Adapter:
    require_family(folder, transformer)
    dtype = dtype or transformer.dtype
    return load_adapter(folder, dtype=dtype, base_fingerprint=fingerprint(transformer)).to(device)
