"""How a video was made, as the lines of `refilm info`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refilm.control.records import FileRecord, SubjectRecord
    from refilm.generation.recipe import VideoRecipe

VIDEOS = (".mp4", ".webm", ".gif", ".webp", ".png")
SUFFIXES = (*VIDEOS, *(f"{suffix}.json" for suffix in VIDEOS), ".state")


def video_lines(path: Path) -> list[str]:
    """The recipe of a video, or those of a state file.

    Raises:
        UserError: it has none; names the file.
    """
    if path.suffix == ".state":
        from refilm.generation.states import load_state

        stored = load_state(path)
        step = stored.state.step
        first = f"{path}: state after step {step.index + 1} of {step.steps}, {stored.state.passes} transformer passes"
        return [first, *(line for recipe in stored.recipes for line in _lines(recipe))]
    from refilm.generation.recipe import read_video_recipe

    what = "recipe of a video" if path.suffix == ".json" else "video"
    return [f"{path}: {what}", *_lines(read_video_recipe(path))]


def _lines(recipe: "VideoRecipe") -> list[str]:
    made = recipe.made
    values = recipe.settings.to_values()
    lines = [f"prompt: {recipe.prompt}", f"seed: {recipe.seed}"]
    lines += [line for one in recipe.subjects for line in _subject("subject", one)]
    lines += [line for one in recipe.negative_subjects for line in _subject("negative reference", one)]
    lines += [f"{name}: {value}" for name, value in values.items()]
    lines.append(f"base model: {recipe.base.source}, fingerprint {recipe.base.fingerprint}")
    if recipe.adapter is not None:
        lines.append(f"adapter: {recipe.adapter.source}, fingerprint {recipe.adapter.fingerprint}")
    if made.passes is not None:
        lines.append(f"transformer passes: {made.passes}" + ("" if made.seconds is None else f", {made.seconds:g} s"))
    lines.append(f"made: {f'{made.date}, ' if made.date else ''}refilm {made.refilm}, {made.device}, {made.dtype}")
    lines.append(
        f"machine: {', '.join(f'{name} {value}' for name, value in made.machine.items() if value is not None)}"
    )
    return [f"  {line}" for line in lines]


def _subject(what: str, record: "SubjectRecord") -> list[str]:
    files: list[tuple[str, FileRecord]] = [("image", one) for one in record.images]
    files += [("image mask", one) for one in record.image_masks]
    files += [(name, one) for name, one in (("file", record.file), ("mask", record.mask)) if one is not None]
    own = record.model_dump(exclude={"name", "images", "image_masks", "file", "mask"}, exclude_defaults=True)
    lines = [f"{what} {record.name}: {_listed(own)}".rstrip(": ")]
    return lines + [f"  {name} {file.path or 'in memory'}: sha256 {file.sha256}" for name, file in files]


def _listed(values: dict[str, Any]) -> str:
    def shown(value: Any) -> str:
        return " / ".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())
