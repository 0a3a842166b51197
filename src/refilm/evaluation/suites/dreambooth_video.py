"""The subjects and prompts of DreamBooth (Ruiz et al. 2023), asked for as videos.

The data set is not part of refilm: clone github.com/google/dreambooth and give its folder `dataset`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from refilm.errors import UserError
from refilm.evaluation.case import NAME, Case
from refilm.evaluation.masks import is_mask
from refilm.evaluation.result import Result
from refilm.evaluation.suites.controls import in_all_controls
from refilm.files import read_text

FILE = "prompts_and_classes.txt"
LIVE = ("cat", "dog")
"""Classes of the live subjects, which have prompts of their own; the file does not say which those are."""
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_PROMPT = re.compile(r"'(?P<prompt>[^']*)'\.format\(unique_token, class_token\),?")


@dataclass(frozen=True)
class Subject:
    """A subject of the data set."""

    name: str
    """Name of its folder."""
    kind: str
    """Its class, the word for it in prompts."""

    @property
    def live(self) -> bool:
        """Whether the prompts of live subjects are for it."""
        return self.kind in LIVE


@dataclass(frozen=True)
class Prompts:
    """What `prompts_and_classes.txt` contains."""

    subjects: tuple[Subject, ...]
    objects: tuple[str, ...]
    """Prompts of objects, with {0} for a rare token and {1} for the class."""
    live: tuple[str, ...]
    """Prompts of live subjects."""


class DreamboothVideo:
    """All prompts for all subjects, 750 in the published data set, each in all controls.

    The rare token of a prompt is left out: it names a subject that a model was fine-tuned on. A case's reference is all
    images of its subject. The wrong reference is the next subject of the same class, or of the same kind (object or
    live) where there is no other of the class: how much two dogs resemble each other shows what a likeness is worth.

    Raises:
        UserError: no folder is given.
    """

    name = "dreambooth-video"
    version = "1"
    metrics: ClassVar[Sequence[str]] = (
        "clip_t",
        *("clip_i", "clip_i_segment"),
        *("dino_i", "dino_i_segment"),
        *("dinov2_i", "dinov2_i_segment"),
        *("efficientnet_i", "efficientnet_i_segment"),
        "copy_paste",
        "motion",
    )
    settings: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, data: Path | None = None):
        if data is None:
            raise UserError(
                "dreambooth-video: needs the data set; clone github.com/google/dreambooth and give its folder dataset "
                "with --data"
            )
        self.data = data

    def cases(self, folder: Path) -> Sequence[Case]:
        """The cases of each subject, which are one group: how well a subject is kept differs more between subjects than
        between prompts.
        """
        prompts = read_prompts(self.data / FILE)
        images = {subject: subject_images(self.data / subject.name) for subject in prompts.subjects}
        cases = []
        for subject, own in images.items():
            other = another(subject, prompts.subjects)
            for number, prompt in enumerate(prompts.live if subject.live else prompts.objects, 1):
                case = Case(
                    f"{subject.name}-{number:02}",
                    without_token(prompt, subject.kind),
                    own,
                    group=subject.name,
                    seed=number,
                    details={"class": subject.kind},
                )
                cases += in_all_controls(case, images[other] if other else ())
        return cases

    def remarks(self, result: Result) -> Iterable[str]:
        """None."""
        return ()


def read_prompts(path: Path) -> Prompts:
    """Read `prompts_and_classes.txt`: a table of subjects, then two Python lists of prompts, each under its title.

    Raises:
        UserError: the file is missing, or a line is not as in the published file; names file, line and fix.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the folder dataset of a clone of github.com/google/dreambooth")
    subjects: list[Subject] = []
    prompts: dict[str, list[str]] = {"Object Prompts": [], "Live Subject Prompts": []}
    title = ""
    for number, line in enumerate(map(str.strip, read_text(path).splitlines()), 1):
        if line in ("Classes", "Prompts", *prompts):
            title = line
        elif line in ("", "prompt_list = [", "]") or (title == "Classes" and line == "subject_name,class"):
            continue
        elif title == "Classes":
            subjects.append(_subject(line, f"{path}:{number}", subjects))
        elif title in prompts:
            prompts[title].append(_prompt(line, f"{path}:{number}"))
        else:
            raise UserError(f"{path}:{number}: {line!r:.80} is under no known title; restore the published file")
    for name, found in (("Classes", subjects), *prompts.items()):
        if not found:
            raise UserError(f"{path}: nothing is listed under {name}; restore the published file")
    return Prompts(tuple(subjects), *map(tuple, prompts.values()))


def _subject(line: str, where: str, known: Sequence[Subject]) -> Subject:
    name, _, kind = line.partition(",")
    if not NAME.fullmatch(name) or not kind or "," in kind:
        raise UserError(f"{where}: {line!r:.80} is not FOLDER,CLASS, with letters, digits, -, _ and . in FOLDER")
    if any(subject.name == name for subject in known):
        raise UserError(f"{where}: {name} is listed twice; remove one of the lines")
    return Subject(name, kind)


def _prompt(line: str, where: str) -> str:
    found = _PROMPT.fullmatch(line)
    if found is None or "{1}" not in found["prompt"]:
        raise UserError(f"{where}: {line!r:.80} is not '... {{0}} {{1}} ...'.format(unique_token, class_token)")
    return found["prompt"]


def without_token(prompt: str, kind: str) -> str:
    """A prompt with the class in place of {1}, and without the rare token {0}."""
    return prompt.replace("{0} ", "").replace("{1}", kind)


def subject_images(folder: Path) -> tuple[Path, ...]:
    """The images of a subject in order of their names, without masks.

    Raises:
        UserError: the folder is missing or has no images.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    images = tuple(path for path in paths if path.suffix.lower() in IMAGES and not is_mask(path))
    if not images:
        raise UserError(f"{folder}: no images ({', '.join(IMAGES)}); restore the folder, or remove its line in {FILE}")
    return images


def another(subject: Subject, subjects: Sequence[Subject]) -> Subject | None:
    """The next other subject of the same class, otherwise of the same kind; None: there is none."""
    place = subjects.index(subject)
    following = (*subjects[place + 1 :], *subjects[:place])
    same_class = (other for other in following if other.kind == subject.kind)
    same_kind = (other for other in following if other.live == subject.live)
    return next(same_class, None) or next(same_kind, None)
