"""Subject files: an encoded subject as one safetensors file, used without its images and without the image encoder."""

from pathlib import Path

import torch

from refilm.arguments import checked
from refilm.control.encoded import EncodedSubject, SubjectCard
from refilm.errors import UserError
from refilm.files import atomic_file
from refilm.hub import fetched, is_hub_id
from refilm.weights.cards import read_card
from refilm.weights.tensors import Piece, TensorFiles, save_tensors

FORMAT = 1
KEY = "refilm_subject"
HEAVIEST = 100  # as of an image in `Subject`
SHAPES = {"tokens": 3, "weight": 2, "thumbnail": 3}


@checked
def save_subject(subject: EncodedSubject, path: Path | str) -> Path:
    """Write a subject file atomically; an existing file is replaced.

    Raises:
        UserError: the name does not end in .subject, or the folder does not exist.
    """
    path = Path(path)
    if path.suffix != ".subject":
        raise UserError(f"{path}: the name of a subject file must end in .subject")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; create it first")
    tensors = {
        "tokens": subject.tokens.cpu().contiguous(),
        "weight": subject.weight.cpu().contiguous(),
        "thumbnail": torch.from_numpy(subject.thumbnail.copy()),
    }
    with atomic_file(path) as temporary:
        save_tensors(tensors, temporary, about={KEY: subject.card.model_dump_json(exclude_none=True)})
    return path


@checked
def load_subject(source: Path | str) -> EncodedSubject:
    """Read a subject file, or download the one of a Hub repository.

    Raises:
        UserError: it is missing, damaged, not a subject file, or of a later version; names the file.
    """
    path = locate_subject(source)
    card = _card(path)
    files = TensorFiles([path])
    missing = SHAPES.keys() - set(files)
    if missing:
        raise UserError(f"{path}: has no {sorted(missing)[0]}; make the subject file again")
    shapes = {name: files.shape(name, dimensions) for name, dimensions in SHAPES.items()}
    if (
        shapes["tokens"][:2] != shapes["weight"]
        or len(card.images) != shapes["tokens"][0]
        or shapes["thumbnail"][2] != 3
        or shapes["tokens"][1] < 2  # a class token and patches
    ):
        raise UserError(f"{path}: its tensors do not fit each other ({shapes}); make the subject file again")
    tokens, weight, thumbnail = (
        files.read([Piece(name)], dtype=None, device="cpu") for name in ("tokens", "weight", "thumbnail")
    )
    floats = tokens.is_floating_point() and weight.is_floating_point() and thumbnail.dtype == torch.uint8
    if not floats:
        raise UserError(f"{path}: its tensors have wrong types; make the subject file again")
    if not (weight.min() >= 0 and 0 < weight.max() <= HEAVIEST):
        raise UserError(f"{path}: weights must be 0 to {HEAVIEST}, and one above 0; make the subject file again")
    return EncodedSubject(card, tokens, weight.float(), thumbnail.numpy())


def locate_subject(source: Path | str) -> Path:
    """The path of a subject file; that of a Hub repository is downloaded.

    Raises:
        UserError: the repository has none, or several.
    """
    if not is_hub_id(source):
        return Path(source)
    found = sorted(fetched(str(source), ("*.subject",)).glob("*.subject"))
    if len(found) != 1:
        raise UserError(f"{source}: has {len(found)} subject files; download one and give its path")
    return found[0]


def _card(path: Path) -> SubjectCard:
    return read_card(
        path,
        SubjectCard,
        key=KEY,
        what="subject file",
        version=FORMAT,
        made_by="make one with `refilm subject make`",
        again="make the subject file again",
    )
