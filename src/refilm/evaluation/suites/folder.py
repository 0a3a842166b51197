"""A suite of the user's own: a folder with images of subjects, and prompts.

my-suite/
    subjects/fox/1.png 2.png    images of a subject
    subjects/ball/1.png
    prompts.txt                 a prompt per line, each for all subjects; {} stands for the subject's name
    cases.jsonl                 or, in place of prompts.txt, {"subject": "fox", "prompt": "..."} per line
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from refilm.data.text import lines, parsed
from refilm.errors import UserError
from refilm.evaluation.case import LONGEST_PROMPT, NAME, Case
from refilm.evaluation.masks import is_mask
from refilm.evaluation.result import Result
from refilm.evaluation.suites.controls import in_all_controls
from refilm.settings import Seed, Settings, meant

SUBJECTS, PROMPTS, CASES = "subjects", "prompts.txt", "cases.jsonl"
IMAGES = (".png", ".jpg", ".jpeg", ".webp")
METRICS = ("efficientnet_i", "clip_i", "dino_i", "dinov2_i", "clip_t", "copy_paste", "motion")


@dataclass(frozen=True)
class Asked:
    """A prompt for a subject, and where it stands."""

    place: str
    name: str
    subject: str
    prompt: str
    group: str
    seed: int


class Row(Settings):
    """A line of `cases.jsonl`."""

    subject: Annotated[str, Field(max_length=200)]
    """Name of a folder in `subjects`."""
    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    name: Annotated[str, Field(max_length=140)] | None = None
    """Identifies the case, and names its video. Default: the number of the line, counted from 1."""
    group: Annotated[str, Field(max_length=LONGEST_PROMPT)] | None = None
    """Cases with the same group are resampled together. Default: the prompt."""
    seed: Seed | None = None
    """Default: the number of the line."""


class Folder:
    """The suite in a folder.

    Args:
        folder: the folder.

    Raises:
        UserError: the folder has no subjects, or neither or both of `prompts.txt` and `cases.jsonl`.
    """

    version = "1"
    metrics: Sequence[str] = METRICS
    settings: Mapping[str, Any]

    def __init__(self, folder: Path):
        self.folder, self.name, self.settings = folder, folder.resolve().name, {}
        if not (folder / SUBJECTS).is_dir():
            raise UserError(f"{folder}: has no folder {SUBJECTS}; put images into {folder / SUBJECTS / 'NAME'}")
        there = [name for name in (PROMPTS, CASES) if (folder / name).is_file()]
        if len(there) != 1:
            has = "both" if there else "neither"
            raise UserError(f"{folder}: has {has} {PROMPTS} {'and' if there else 'nor'} {CASES}; give one of them")
        self.file = folder / there[0]

    def cases(self, folder: Path) -> Sequence[Case]:
        """The cases of all lines, each in all controls; with a single subject there is no wrong one.

        Raises:
            UserError: an image folder is empty or badly named, or a line is invalid; names file, line and fix.
        """
        subjects = dict(self._subjects())
        names = list(subjects)
        cases: list[Case] = []
        for asked in self._prompts(subjects) if self.file.name == PROMPTS else self._rows(subjects):
            other = names[(names.index(asked.subject) + 1) % len(names)]
            try:
                images = subjects[asked.subject]
                case = Case(asked.name, asked.prompt, images, group=asked.group, seed=asked.seed)
                cases += in_all_controls(case, subjects[other] if other != asked.subject else ())
            except UserError as error:
                raise UserError(f"{asked.place}: {error}") from error
        if not cases:
            raise UserError(f"{self.file}: has no prompts; give each a line")
        return cases

    def remarks(self, result: Result) -> Iterable[str]:
        """None."""
        return ()

    def _subjects(self) -> Iterator[tuple[str, tuple[Path, ...]]]:
        """The images of each subject, by name."""
        places = sorted(path for path in (self.folder / SUBJECTS).iterdir() if path.is_dir())
        if not places:
            raise UserError(f"{self.folder / SUBJECTS}: has no folders; give each subject a folder with its images")
        for place in places:
            if not NAME.fullmatch(place.name) or len(place.name) > 100:
                raise UserError(
                    f"{place}: the name of a subject must be at most 100 letters, digits, -, _ or .; rename the folder"
                )
            images = tuple(
                path for path in sorted(place.iterdir()) if path.suffix.lower() in IMAGES and not is_mask(path)
            )
            if not images:
                raise UserError(f"{place}: has no images; add {', '.join(IMAGES)} files")
            yield place.name, images

    def _prompts(self, subjects: Iterable[str]) -> Iterator[Asked]:
        """Each prompt for each subject. A prompt of a file never becomes a name of a file."""
        for number, line in lines(self.file):
            if prompt := line.strip():
                for subject in subjects:
                    text = prompt.replace("{}", subject.replace("-", " ").replace("_", " "))
                    yield Asked(f"{self.file}:{number}", f"{number:03}-{subject}", subject, text, prompt, number)

    def _rows(self, subjects: Iterable[str]) -> Iterator[Asked]:
        names = list(subjects)
        for number, line in lines(self.file):
            if line.strip():
                place = f"{self.file}:{number}"
                values = parsed(line, place)
                try:
                    row = Row.from_values(values)
                except UserError as error:
                    raise UserError(f"{place}: {error}") from error
                if row.subject not in names:
                    similar = meant(row.subject, names)
                    hint = f"did you mean {similar}?" if similar else f"use {', '.join(names[:10])}"
                    raise UserError(f"{place}: subject {row.subject!r:.100} has no folder in {SUBJECTS}; {hint}")
                seed = number if row.seed is None else row.seed
                yield Asked(place, row.name or f"{number:03}", row.subject, row.prompt, row.group or row.prompt, seed)
