"""`refilm subject make` and `show`: subject files, which are used without their images and the image encoder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from refilm.cli.console import counted, print_line, working
from refilm.cli.options import BaseOption, Computing, naming, option_name, with_options
from refilm.cli.subject_options import SEVERAL
from refilm.cli.subject_texts import LISTS, file_of, require_images, require_name, values_of
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.settings import Settings

if TYPE_CHECKING:
    from refilm.control import EncodedSubject

THUMBNAILS = (".png", ".jpg", ".jpeg", ".webp")


def _listed(control: str) -> Any:
    return Field(default=(), description=f"{Subject.model_fields[control].description} {SEVERAL}")


class Making(Settings):
    """What is stored, and where."""

    images: Annotated[tuple[Path, ...], typer.Argument(metavar="IMAGE...", show_default=False)]
    """Images of the subject: several are views of it, not several subjects."""
    output: Annotated[Path, typer.Option("--output", "-o")]
    """Output file, name.subject."""
    name: str | None = None
    """Name of the subject. Default: the name of the output file."""
    words: Annotated[tuple[str, ...], typer.Option(metavar="WORDS")] = ()
    """Words that mean the subject in a prompt, for instance fox. Videos use the first ones that their prompt contains.
    Separate several by commas, or repeat the option."""
    weights: Annotated[tuple[str, ...], typer.Option(metavar="NUMBER")] = _listed("weights")
    image_masks: Annotated[tuple[str, ...], typer.Option(metavar="PATH")] = _listed("image_masks")


class Reader(Computing, BaseOption):
    """Whose image encoder reads the images."""

    adapter: str = "default"
    """The adapter that the file is for, a folder or a Hub id, or 'default' (shipped with the base model)."""
    image_encoder: str | None = None
    """Folder or Hub id of the image encoder. Default: the adapter's, else the base model's, else
    openai/clip-vit-large-patch14."""


@with_options(Making, Reader)
def make(wanted: Making, reader: Reader) -> None:
    """Encode images of a subject once, and write them as one file for `generate --subject`."""
    if wanted.output.suffix != ".subject":  # before a model is loaded
        raise UserError(f"{wanted.output}: the name of a subject file must end in .subject")
    if wanted.name is None:
        require_name(wanted.output.stem, f"{wanted.output}: give the subject a --name")
    else:
        require_name(wanted.name, f"--name {wanted.name!r:.100}")
    require_images(wanted.images, "subject make")
    controls = {name: values_of(name, getattr(wanted, name), option_name(name)) for name in LISTS}
    with naming(Subject, {name: option_name(name) for name in controls}):
        subject = Subject.of(name=wanted.name or wanted.output.stem, images=wanted.images, **controls)
    with working("encoding"):
        from refilm.checkpoints import load_base, read_images_for
        from refilm.control import save_subject
        from refilm.control.encoded import encode_subject

        base = load_base(reader.base, device=reader.device, dtype=reader.dtype, memory="low")
        read_images_for(base, reader.adapter, image_encoder=reader.image_encoder)
        encoded = encode_subject(subject, base.encoders.image)
        path = save_subject(encoded, wanted.output)
    print_line(f"{path}: {subject.name}, {_views(encoded)}, {path.stat().st_size:,} bytes")


class Showing(Settings):
    """What is shown."""

    file: Annotated[Path, typer.Argument(show_default=False)]
    """A subject file or its Hub id."""
    thumbnail: Path | None = None
    """Also write the thumbnail in the file as an image: .png, .jpg or .webp."""


@with_options(Showing)
def show(wanted: Showing) -> None:
    """Print what a subject file contains: name, words, views, and which image encoder made it."""
    if wanted.thumbnail is not None:
        _check_thumbnail(wanted.thumbnail)
    subject = loaded(str(wanted.file), "subject show")
    for line in lines(subject):
        print_line(line)
    if wanted.thumbnail is not None:
        from PIL import Image

        Image.fromarray(subject.thumbnail).save(wanted.thumbnail)
        print_line(f"{wanted.thumbnail}: {subject.thumbnail.shape[1]} x {subject.thumbnail.shape[0]} pixels")


def loaded(source: str, command: str) -> "EncodedSubject":
    """Load a subject file for a command; a missing file is not taken for a Hub id."""
    from refilm.control import load_subject

    return load_subject(file_of(source, command, Path()) or source)


def lines(subject: "EncodedSubject") -> list[str]:
    """What a subject file contains, as lines."""
    card = subject.card
    encoder = card.image_encoder or "the base model's"
    named = {
        "name": card.name,
        "words": ", ".join(card.words) or "none",
        "tokens": f"{_views(subject)}, {str(subject.tokens.dtype).removeprefix('torch.')}",
        "weights": ", ".join(f"{row[0]:g}" for row in subject.weight.tolist()),
        "read": ", ".join(f"{(row[1:] > 0).float().mean():.0%}" for row in subject.weight) + " of each image",
        "encoder": f"{encoder}, {card.image_fit}, {card.hidden_state} hidden state, {card.encoder}",
    }
    named |= {f"image {number}": f"sha256 {digest}" for number, digest in enumerate(card.images, start=1)}
    return [f"{name}: {value}" for name, value in named.items()]


def _views(subject: "EncodedSubject") -> str:
    views, tokens, channels = subject.tokens.shape
    return f"{counted(views, 'view')} of {tokens} x {channels} tokens"


def _check_thumbnail(path: Path) -> None:
    """Check before anything is printed that an image can be written there."""
    if path.suffix.lower() not in THUMBNAILS:
        known = f"{', '.join(THUMBNAILS[:-1])} or {THUMBNAILS[-1]}"
        raise UserError(f"--thumbnail {path}: cannot write {path.suffix or 'a file without suffix'}; use {known}")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"--thumbnail {path}: give the name of a file in an existing folder")
