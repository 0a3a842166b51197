"""`refilm preview fit`: fit the linear preview of a base model to clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refilm.cli.console import bar, print_line, working
from refilm.cli.options import BaseOption, Computing, ManifestOptions, Size, clip_settings, given, with_options
from refilm.data.settings import CheckSettings
from refilm.errors import UserError
from refilm.hub import is_hub_id
from refilm.previews import PREVIEW
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.data.checking import CheckedSet
    from refilm.data.cutting import CutClip
    from refilm.geometry import Compression

HELD_OUT = 5  # one video in so many is held out


class FitOptions(Computing, BaseOption, ManifestOptions):
    """What is fitted, and to which clips."""

    output: Annotated[Path | None, typer.Option("--output", "-o")] = None
    """Output file, a name that ends in .safetensors. Default: preview.safetensors in the base model's folder."""
    size: Size = None
    """Width x height of a clip in pixels."""


@with_options(FitOptions, given(CheckSettings, of_base=("frames", "fps")))
def fit(options: FitOptions, clips: Settings) -> None:
    """Fit the linear preview of a base model: a color for each latent pixel, by least squares over clips.

    One video in five is held out, to measure the preview on clips that it was not fitted to.
    """
    import numpy as np

    from refilm.checkpoints import load_base
    from refilm.data.checking import require_checked
    from refilm.data.cutting import cut_clip
    from refilm.previews import correlations, encoded_pairs, fit_preview

    _require_output(options)
    checked = require_checked(options.manifest, allow_outside=options.allow_outside)
    with working("loading"):
        base = load_base(options.base, device=options.device, dtype=options.dtype, memory="low")
        codec = base.encoders.autoencoder
    settings = CheckSettings.of(**clip_settings(base.defaults, clips, options.size))
    cuts = _cuts(checked, settings, codec.compression)
    fitted, held_out = _split(options.manifest, cuts)
    with bar("fitting", len(cuts)) as advance:

        def pixels(cut: "CutClip") -> np.ndarray:
            advance("fitting")
            return cut_clip(cut)[0]

        preview = fit_preview(encoded_pairs(codec, map(pixels, fitted)), codec.compression)
        found = correlations(preview, encoded_pairs(codec, map(pixels, held_out)))
    output = options.output or base.source.folder / PREVIEW
    preview.save(output)
    print_line(
        f"{output}: fitted to {len(fitted)} clips; correlation with {len(held_out)} held-out clips: "
        f"mean {np.nanmean(found):.3f}, lowest {np.nanmin(found):.3f}"
    )


def _require_output(options: FitOptions) -> None:
    """Check the output file before anything is loaded."""
    if options.output is not None and options.output.suffix != ".safetensors":
        raise UserError(f"{options.output}: the name of a preview's file must end in .safetensors")
    if options.output is None and (options.base == "pocket" or is_hub_id(options.base)):
        raise UserError(f"{options.base}: is not a folder of yours; give the output file: -o {PREVIEW}")


def _cuts(checked: "CheckedSet", settings: CheckSettings, compression: "Compression") -> "list[CutClip]":
    """The clips at the size and length of the settings, each part of a video once."""
    from refilm.data.cutting import CutClip
    from refilm.data.samples import Files

    files, sizes = Files(checked.examples, checked.hashes), [(settings.height, settings.width)]
    clips = [files[index].clip for index in range(len(files))]
    return [
        CutClip(clip, None, settings.fps, settings.frames, flexible=False, sizes=sizes, compression=compression)
        for clip in {clip.identity: clip for clip in clips}.values()
    ]


def _split(manifest: Path, cuts: "Sequence[CutClip]") -> "tuple[list[CutClip], list[CutClip]]":
    """The clips to fit to, and those of every fifth video."""
    videos = list(dict.fromkeys(cut.clip.name for cut in cuts))
    if len(videos) < 2:
        raise UserError(f"{manifest}: one video is not enough, because one in {HELD_OUT} is held out; add videos")
    kept = set(videos[1::HELD_OUT])
    return [cut for cut in cuts if cut.clip.name not in kept], [cut for cut in cuts if cut.clip.name in kept]
