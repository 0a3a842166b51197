"""The subjects of a command: those of its options and of its recipe."""

from pathlib import Path

from refilm.cli.described_subjects import DescribedSubjects, Given, subjects_in
from refilm.cli.options import naming
from refilm.cli.subject_options import SubjectOptions
from refilm.control.subject import Subject

OF_IMAGES = ("images", "file", "weights", "image_masks")  # what other images replace


def subjects_of(options: SubjectOptions, *, recipe: Path | None = None) -> tuple[Subject, ...]:
    """The subjects that options and a recipe describe.

    Images of the options replace those of the recipe, with the weights and masks of these: --subject those of the
    subject with its name, --reference those of all subjects; both replace `reference` of the recipe. The other controls
    of the recipe stay, but for those that options replace.

    Raises:
        UserError: a subject or a control is invalid, or names an unknown subject; names the option or the recipe.
    """
    typed = DescribedSubjects(options)
    stored = DescribedSubjects(SubjectOptions()) if recipe is None else subjects_in(recipe)
    chosen, subjects = typed.sources(), stored.sources()
    replaced = set(subjects) if chosen and (options.reference or stored.options.reference) else set()
    for name in replaced:
        del subjects[name]
    for name, source in chosen.items():
        subjects[name] = _without_images(subjects.get(name, {})) | source
    for name, values in stored.controls(list(subjects), ignored=replaced - set(subjects)).items():
        subjects[name] |= _without_images(values) if name in chosen else values
    for name, values in typed.controls(list(subjects)).items():
        subjects[name] |= values
    return tuple(_subject(name, values) for name, values in subjects.items())


def _without_images(values: dict[str, Given]) -> dict[str, Given]:
    return {key: value for key, value in values.items() if key not in OF_IMAGES}


def _subject(name: str, values: dict[str, Given]) -> Subject:
    with naming(Subject, {key: one.where for key, one in values.items()}):
        return Subject(name=name, **{key: one.value for key, one in values.items()})
