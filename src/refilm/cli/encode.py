"""`refilm data encode` and `refilm data verify`: a checked data set becomes a cache that training reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refilm.cli.options import Base, Device, ImageEncoder, size_of
from refilm.cli.run_display import Course, Lines, Live
from refilm.cli.showing import bar, complain, say, terminal

if TYPE_CHECKING:
    from refilm.data.encoding import EncodeProgress


def encode(
    manifest: Annotated[
        Path, typer.Argument(help="A manifest, or a folder of clips, that was checked.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the cache; what it has already is kept.", show_default=False)],
    base: Base = "pocket",
    image_encoder: ImageEncoder = None,
    frames: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames of a clip.", show_default="the base model's")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.01,
            max=1000,
            help="Frames a second; the nearest are taken.",
            show_default="the base model's",
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Width x height in pixels.", show_default="the base model's")
    ] = None,
    buckets: Annotated[
        bool,
        typer.Option("--buckets", help="Let clips keep about their shape, at that area, and be shorter than --frames."),
    ] = False,
    hidden_state: Annotated[
        Literal["last", "penultimate"],
        typer.Option(help="Which of the image encoder's hidden states is the reference."),
    ] = "penultimate",
    views: Annotated[int, typer.Option(metavar="N", min=0, help="Augmented views of each reference.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the views.")] = False,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Clips encoded at once.", show_default="by their size")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that read files.")] = 2,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long one file may take to be read.")
    ] = 120.0,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Files may lie outside of the manifest's folder.")
    ] = False,
    device: Device = None,
) -> None:
    """Encode clips, captions and references once, for every epoch of training. Killed, it goes on where it was.

    Under torchrun every process makes its share.
    """
    from refilm.checkpoints import fingerprint, load_base
    from refilm.data.checking import require_checked
    from refilm.data.encoding import EncodedSet, EncodeSettings, identify
    from refilm.data.encoding import encode as encodings
    from refilm.data.samples import Files
    from refilm.data.views import ViewSettings
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
            complain(
                f"{manifest}: {checked.long_captions} captions have more than {tokens} tokens; the rest is not read"
            )
        settings = EncodeSettings(
            frames=own.frames if frames is None else frames,
            fps=own.fps if fps is None else fps,
            height=height or own.height,
            width=width or own.width,
            buckets=buckets,
            views=ViewSettings(count=views, flip=flip),
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
            on_wait=lambda: complain(f"waiting for another command that writes to {out}"),
        )
        made = _shown(steps, first=here.first)
        if here.first:
            clips = EncodedSet(out)
            news = f"encoded just now: {', '.join(made)}" if made else "all were encoded already"
            say(f"{out}: {len(clips)} clips in {len(clips.buckets)} sizes; {news}")


def verify(
    cache: Annotated[Path, typer.Argument(help="A folder that refilm data encode made.", show_default=False)],
) -> None:
    """Read a whole cache, and name what is damaged. What is, is set aside; encoding again makes it anew."""
    from refilm.data.encoding import verify as verdicts
    from refilm.data.encoding.shards import shard_paths

    faults = 0
    with bar("verifying", len(shard_paths(cache)) + 1) as advance:
        for verdict in verdicts(cache, lambda: complain(f"waiting for another command that writes to {cache}")):
            advance("verifying")
            if verdict.fault is not None:
                faults += 1
                say(f"{cache / verdict.name}: {verdict.fault}")
    if faults:
        say(f"{cache}: {faults} files are damaged; run refilm data encode again, which makes just these anew")
        raise typer.Exit(1)
    say(f"{cache}: sound")


def _shown(steps: "Iterator[EncodeProgress]", *, first: bool) -> list[str]:
    """Follow the work to its end, on standard error. What this process encoded: "3 clips", and so on."""
    made: dict[str, int] = {}
    with _course(first) as course:
        for step in steps:
            course.encoded(step)
            made[step.what] = step.done
    return [f"{done} {what}" for what, done in made.items()]


def _course(first: bool) -> Course:
    if not first:
        return Course()
    return Live(terminal) if terminal.is_terminal else Lines(complain)
