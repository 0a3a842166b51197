"""`refilm data encode` and `refilm data verify`: encode a checked data set into a cache, and verify a cache."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.console import bar, print_error, print_line, terminal
from refilm.cli.options import Base, Device, ImageEncoder, size_of
from refilm.cli.run_display import LineDisplay, LiveDisplay, RunDisplay

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress


def encode(
    manifest: Annotated[Path, typer.Argument(help="A checked manifest or folder of clips.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Cache folder; encodings that it already has are kept.", show_default=False)
    ],
    base: Base = "pocket",
    image_encoder: ImageEncoder = None,
    frames: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames per clip.", show_default="the base model's")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.01,
            max=1000,
            help="Frames per second; the nearest frames of the video are used.",
            show_default="the base model's",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Width x height in pixels.", show_default="the base model's")
    ] = None,
    buckets: Annotated[
        bool,
        typer.Option(
            "--buckets",
            help="Keep roughly the clips' aspect ratio at the area of --size, and allow fewer frames than --frames.",
        ),
    ] = False,
    hidden_state: Annotated[
        Literal["last", "penultimate"],
        typer.Option(help="Hidden state of the image encoder that becomes the reference tokens."),
    ] = "penultimate",
    views: Annotated[int, typer.Option(metavar="N", min=0, help="Number of augmented versions of each reference.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the augmented versions.")] = False,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Clips encoded at once.", show_default="chosen by clip size")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Number of processes that read files.")] = 2,
    patience: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Time limit for reading one file.")] = 120.0,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Allow paths outside of the manifest's folder.")
    ] = False,
    device: Device = None,
) -> None:
    """Encode clips, captions and references once, for all epochs of training.

    If interrupted, run it again to continue. Under torchrun every process encodes a part.
    """
    from refilm.checkpoints import fingerprint, load_base
    from refilm.data.augmentation import AugmentationSettings
    from refilm.data.checking import require_checked
    from refilm.data.encoding import EncodedSet, EncodeSettings, identify
    from refilm.data.encoding import encode as encodings
    from refilm.data.samples import Files
    from refilm.training.distributed.heartbeats import heartbeats
    from refilm.training.distributed.parallel import joined, wait_for_all

    height, width = size_of(size)
    checked = require_checked(manifest, allow_outside=allow_outside)
    with joined() as here, heartbeats():
        loaded = load_base(base, device=device, memory="low")
        loaded.read_images_with(image_encoder, hidden_state=hidden_state)
        own, tokens = loaded.defaults, loaded.size.text_length
        checked.require_tokens(manifest, tokens)
        if checked.long_captions and checked.settings.tokens == tokens and here.first:
            print_error(
                f"{manifest}: {checked.long_captions} captions have more than {tokens} tokens and are truncated"
            )
        settings = EncodeSettings.of(
            frames=own.frames if frames is None else frames,
            fps=own.fps if fps is None else fps,
            height=height or own.height,
            width=width or own.width,
            buckets=buckets,
            views=AugmentationSettings.of(count=views, flip=flip),
            batch=batch,
            workers=workers,
            patience=patience,
        )
        steps = encodings(
            Files(checked.examples, checked.hashes),
            loaded.encoders,
            out,
            settings=settings,
            encoder_identity=identify(loaded.encoders, fingerprint),
            rank=here.rank,
            ranks=here.size,
            wait=wait_for_all,
            on_wait=lambda: print_error(f"waiting for another command that writes to {out}"),
        )
        made = _shown(steps, first=here.first)
        if here.first:
            clips = EncodedSet(out)
            news = f"newly encoded: {', '.join(made)}" if made else "everything was already encoded"
            print_line(f"{out}: {len(clips)} clips in {len(clips.buckets)} sizes; {news}")


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
