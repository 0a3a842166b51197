"""`refilm data encode` and `refilm data verify`: encode a checked data set into a cache, and verify a cache."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refilm.cli.console import bar, print_error, print_line, terminal
from refilm.cli.options import (
    BaseOption,
    Device,
    ManifestOptions,
    Size,
    chosen,
    clip_settings,
    given,
    with_options,
)
from refilm.cli.run_display import LineDisplay, LiveDisplay, RunDisplay
from refilm.data.settings import AugmentationSettings, EncodeSettings
from refilm.media.preprocessing import ImagePreprocessing
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.data.checking import CheckedSet
    from refilm.data.encoding import EncodeProgress


class EncodeOptions(Device, BaseOption, ManifestOptions):
    """What is encoded, and with which encoders."""

    out: Path
    """Cache folder; encodings that it already has are kept."""
    size: Size = None
    """Width x height of a clip in pixels; with --buckets, they define the area."""


Clips = given(EncodeSettings, "buckets", "batch", "workers", "patience", of_base=("frames", "fps"))
Views = given(AugmentationSettings, "count", "flip", count=typer.Option("--views"))

Images = given(ImagePreprocessing, "image_encoder", "hidden_state")


@with_options(EncodeOptions, Clips, Views, Images)
def encode(options: EncodeOptions, clips: Settings, views: Settings, images: Settings) -> None:
    """Encode clips, captions and references once, for all epochs of training.

    If interrupted, run it again to continue. Under torchrun every process encodes a part.
    """
    from refilm.checkpoints import fingerprint, load_base
    from refilm.data.checking import require_checked
    from refilm.data.encoding import EncodedSet, identify
    from refilm.data.encoding import encode as encodings
    from refilm.data.samples import Files
    from refilm.training.distributed.heartbeats import heartbeats
    from refilm.training.distributed.parallel import joined, wait_for_all

    checked = require_checked(options.manifest, allow_outside=options.allow_outside)
    with joined() as here, heartbeats():
        base = load_base(options.base, device=options.device, memory="low")
        base.read_images_with(ImagePreprocessing.of(**chosen(images)))
        checked.require_tokens(options.manifest, base.size.text_length)
        if here.first:
            _report_truncated(options.manifest, checked, base.size.text_length)
        settings = EncodeSettings.of(
            **clip_settings(base.defaults, clips, options.size), views=AugmentationSettings.of(**chosen(views))
        )
        steps = encodings(
            Files(checked.examples, checked.hashes),
            base.encoders,
            options.out,
            settings=settings,
            encoder_identity=identify(base.encoders, fingerprint),
            rank=here.rank,
            ranks=here.size,
            wait=wait_for_all,
            on_wait=lambda: print_error(f"waiting for another command that writes to {options.out}"),
        )
        made = _shown(steps, first=here.first)
        if here.first:
            cache = EncodedSet(options.out)
            news = f"newly encoded: {', '.join(made)}" if made else "everything was already encoded"
            print_line(f"{options.out}: {len(cache)} clips in {len(cache.buckets)} sizes; {news}")


def _report_truncated(manifest: Path, checked: "CheckedSet", tokens: int) -> None:
    if checked.long_captions and checked.settings.tokens == tokens:
        print_error(f"{manifest}: {checked.long_captions} captions have more than {tokens} tokens and are truncated")


def verify(
    cache: Annotated[Path, typer.Argument(help="Cache folder written by refilm data encode.", show_default=False)],
) -> None:
    """Read a whole cache, and report and set aside damaged files; refilm data encode recreates them."""
    from refilm.data.encoding import verify as verifications
    from refilm.data.encoding.shards import shard_paths

    faults = 0
    with bar("verifying", len(shard_paths(cache)) + 1) as advance:
        for verification in verifications(
            cache, lambda: print_error(f"waiting for another command that writes to {cache}")
        ):
            advance("verifying")
            if verification.fault is not None:
                faults += 1
                print_line(f"{cache / verification.name}: {verification.fault}")
    if faults:
        print_line(f"{cache}: {faults} files are damaged; run refilm data encode again to recreate them")
        raise typer.Exit(1)
    print_line(f"{cache}: no damage found")


def _shown(steps: "Iterator[EncodeProgress]", *, first: bool) -> list[str]:
    """Show progress on standard error. Returns what this process encoded, for instance "3 clips"."""
    made: dict[str, int] = {}
    with _display(first) as display:
        for step in steps:
            display.encoded(step)
            made[step.what] = step.done
    return [f"{done} {what}" for what, done in made.items()]


def _display(first: bool) -> RunDisplay:
    if not first:
        return RunDisplay()
    return LiveDisplay(terminal) if terminal.is_terminal else LineDisplay(print_error)
