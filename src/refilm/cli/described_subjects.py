"""Subjects as a command line or a recipe describes them: their images or files, and their controls."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from refilm.cli.options import option_name
from refilm.cli.recipe_options import SUBJECTS, read_options
from refilm.cli.subject_options import CONTROLS, SubjectOptions
from refilm.cli.subject_texts import file_of, require_images, require_name, source_of, target_of, value_of
from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.settings import meant, read_toml

UNNAMED = "subject"  # the name of the subject that --reference shows


class Given(NamedTuple):
    """A value and where it is given: an option, or a recipe and its key."""

    value: Any
    where: str


Subjects = dict[str, dict[str, Given]]
"""What is given for each subject, by their names and those of the settings of `Subject`."""


@dataclass(frozen=True)
class DescribedSubjects:
    """Subjects as a command line or a recipe describes them."""

    options: SubjectOptions
    recipe: Path | None = None
    """The recipe that has the options; None: the command line."""
    tables: Subjects = field(default_factory=dict)
    """The tables of the recipe."""

    def sources(self) -> Subjects:
        """The images or the file of each subject; of a table, all its values.

        Raises:
            UserError: one is not valid, or two subjects have the same name.
        """
        where, subjects = self._where("subject"), dict(self.tables)
        for text in self.options.subject:
            name, source = source_of(text, where, self._folder)
            if name in subjects:
                raise UserError(
                    f"{where}: two subjects are named {name!r}; give each its own name, or join their images"
                )
            subjects[name] = {key: Given(value, where) for key, value in source.items()}
        if not self.options.reference:
            return subjects
        option = self._where("reference")
        if subjects:
            raise UserError(
                f"{option}: gives the images of a single subject, but there is also {next(iter(subjects))}; use "
                f"{where} NAME=IMAGE for each of several"
            )
        require_images(self.options.reference, option)
        return {UNNAMED: {"images": Given([str(path) for path in self.options.reference], option)}}

    def controls(self, names: Sequence[str], *, ignored: Set[str] = frozenset()) -> Subjects:
        """The controls that the options give, for each subject.

        Args:
            names: names of the subjects.
            ignored: names of other subjects, whose controls are left out.

        Raises:
            UserError: a control is not that of a subject, or is given twice.
        """
        made: Subjects = {name: {} for name in names}
        for control in CONTROLS:
            option = f"subject_{control}"
            for text in getattr(self.options, option):
                if text.partition("=")[0].strip() not in ignored:
                    self._add(made, control, text, self._where(option))
        return made

    def _add(self, made: Subjects, control: str, text: str, where: str) -> None:
        folder = self._folder if control in ("mask", "image_masks") else None
        name, text = target_of(text, list(made), where, folder=folder)
        value = value_of(control, text, where, self._folder)
        if control in self.tables.get(name, {}) or (control in made[name] and not isinstance(value, list)):
            raise UserError(f"{where}: is given twice for {name}; give it once")
        earlier = made[name][control].value if control in made[name] else []
        made[name][control] = Given([*earlier, *value] if isinstance(value, list) else value, where)

    @property
    def _folder(self) -> Path:
        return Path() if self.recipe is None else self.recipe.parent

    def _where(self, option: str) -> str:
        return option_name(option) if self.recipe is None else f"{self.recipe}: {option}"


def subjects_in(recipe: Path) -> DescribedSubjects:
    """The subjects of a recipe.

    Raises:
        UserError: a value is not valid; names the recipe and the key.
    """
    values = read_toml(recipe)
    tables = values.get(SUBJECTS, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UserError(f"{recipe}: {SUBJECTS}: must be tables, for example [{SUBJECTS}.fox]")
    own = {name: value for name, value in values.items() if name in SubjectOptions.model_fields}
    options = SubjectOptions(**read_options(recipe, own, [SubjectOptions]).model_dump(exclude_unset=True))
    return DescribedSubjects(options, recipe, {name: _table(recipe, name, table) for name, table in tables.items()})


def _table(recipe: Path, name: str, table: Mapping[str, Any]) -> dict[str, Given]:
    """The values of a table [subjects.NAME]."""
    require_name(name, f"{recipe}: [{SUBJECTS}.{name:.40}]")
    given = {}
    for key, value in table.items():
        where = f"{recipe}: {SUBJECTS}.{name}.{key}"
        if key == "name":
            raise UserError(f"{where}: a subject has the name of its table; remove this line")
        if key not in Subject.model_fields:
            similar = meant(key, list(Subject.model_fields))
            raise UserError(f"{where}: unknown" + (f"; did you mean {similar}?" if similar else ""))
        given[key] = Given(_resolved(recipe.parent, key, value, where), where)
    return given


def _resolved(folder: Path, key: str, value: Any, where: str) -> Any:
    """A value of a table; paths are relative to a folder."""
    if key not in ("images", "image_masks", "mask", "file"):
        return value
    several = key in ("images", "image_masks")
    texts = value if several and isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        hint = " or a list of them" if several else ""
        raise UserError(f"{where}: give a path in quotes{hint} (received {value!r:.100})")
    if several:
        return [str(folder / text) for text in texts]
    (text,) = texts
    if key == "mask":
        return str(folder / text)
    if (file := file_of(text, where, folder)) is None:
        raise UserError(f"{where}: {text!r:.100} is not a subject file (.subject) or its Hub id; give images instead")
    return file
