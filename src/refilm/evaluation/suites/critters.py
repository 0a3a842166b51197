"""Critters that the pocket model has never seen: 200 pairs of a held-out subject's image and a prompt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from refilm.errors import UserError
from refilm.evaluation.case import Case
from refilm.evaluation.result import Result
from refilm.evaluation.suites.controls import in_all_controls
from refilm.files import write_bytes
from refilm.pocket.judge import Judgement
from refilm.pocket.pairs import held_out_pairs, next_with_other_subject

PAIRS, SEED = 200, 0


class Critters:
    """The pairs of `benchmarks/critters.py`. A case's details are the attributes that a judge should find.

    Raises:
        UserError: data are given, which this suite draws by itself.
    """

    name = "critters"
    version = "2"
    metrics: ClassVar[Sequence[str]] = ("critters", "efficientnet_i", "copy_paste", "motion")
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, data: Path | None = None):
        if data is not None:
            raise UserError(f"{data}: the suite critters draws its images by itself; remove --data")

    def cases(self, folder: Path) -> Sequence[Case]:
        """Four controls of each pair, which is a group: pairs are drawn independently, also those of one prompt."""
        folder.mkdir(parents=True, exist_ok=True)  # other processes may draw the same images
        pairs = held_out_pairs(SEED, PAIRS)
        images = {pair.index: folder / f"{pair.index:03}.png" for pair in pairs}
        for pair in pairs:
            _write(pair.image, images[pair.index])
        cases = []
        for pair in pairs:
            name = f"{pair.index:03}"
            details = asdict(Judgement.of(pair.story))
            case = Case(name, pair.story.caption, (images[pair.index],), group=name, seed=pair.index, details=details)
            cases += in_all_controls(case, (images[next_with_other_subject(pair, pairs).index],))
        return cases

    def remarks(self, result: Result) -> Iterable[str]:
        """None."""
        return ()


def _write(image: Image.Image, path: Path) -> None:
    """Write an image, unless it is there: to wait for the disk 200 times takes longer than to draw them."""
    file = BytesIO()
    image.save(file, "PNG")
    if not path.is_file() or path.read_bytes() != file.getvalue():
        write_bytes(path, file.getvalue())
