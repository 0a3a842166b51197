"""The recipe of a video: everything that made it, as every video carries it in its metadata."""

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field

from refilm.arguments import checked
from refilm.checkpoints import Base
from refilm.control.records import SubjectRecord, relative_to
from refilm.control.subject import Controls
from refilm.errors import UserError
from refilm.files import atomic_file, read_text
from refilm.generation.request import Request, Text
from refilm.machine import machine
from refilm.media import Video
from refilm.media.notes import read_note
from refilm.model import Adapter
from refilm.settings import Seed, Settings, meant
from refilm.weights.fingerprints import fingerprint_of

FORMAT = 1
OTHERS = "a setting such as steps, or a subject's control such as fox.scale"
CONTROLS = tuple(name for name in Controls.model_fields if name != "name")
Short = Annotated[str, Field(max_length=4096)]


class ModelRecord(Settings):
    """A base model or an adapter."""

    source: Short
    """Its folder or Hub id, or pocket."""
    fingerprint: Short
    """Identifies its weights."""


class Made(Settings):
    """Where and when a video was made. It does not change the video, but machines round differently."""

    machine: dict[Short, Short | Annotated[int, Field(ge=0, le=10**6)] | None]
    """Processor, accelerator, threads, versions."""
    refilm: Short
    """Version of refilm."""
    device: Short
    dtype: Short
    date: Short | None = None
    """Date and time in UTC. None: a video of a list, which is the same file whenever it is made."""
    seconds: Annotated[float, Field(ge=0, le=10**9)] | None = None
    """Duration of sampling."""
    passes: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """Transformer passes; a window of a long video is a pass."""
    skipped: Annotated[float, Field(ge=0, le=10**9)] | None = None
    """Passes in which the step cache skipped the blocks; in a batch the mean of its videos. None: no step cache."""
    batch: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Videos that were made together; alone, values may be rounded otherwise."""


class VideoRecipe(Settings):
    """Everything that made a video: `refilm rerun` makes it again."""

    format: Annotated[int, Field(ge=1, le=1000)] = FORMAT
    """Version of this description."""
    prompt: Text
    seed: Seed
    subjects: tuple[SubjectRecord, ...] = ()
    """The subjects, with the hashes of their images."""
    negative_subjects: tuple[SubjectRecord, ...] = ()
    """The negative reference."""
    settings: Request
    """All settings of the generation."""
    fps: float = Field(gt=0, le=1000)
    """Frames per second."""
    base: ModelRecord
    adapter: ModelRecord | None = None
    image_encoder: Short | None = None
    """Folder or Hub id of another image encoder than that of adapter and base model."""
    scale: int | None = Field(default=None, ge=1, le=64)
    """Integer factor by which the saved video was enlarged. None: enough for 256 pixels."""
    made: Made

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The recipe with some values replaced.

        Args:
            changes: prompt, seed, a setting (steps), or a subject's control (fox.scale), each with its new value.

        Raises:
            UserError: an unknown name or an invalid value.
        """
        values = self.to_values()
        subjects = values.get("subjects", ())
        places = {name: (values, name) for name in ("prompt", "seed")}
        places |= {name: (values["settings"], name) for name in Request.model_fields}
        places |= {f"{one['name']}.{name}": (one, name) for one in subjects for name in CONTROLS}
        for name, value in changes.items():
            if name not in places:
                known = meant(name, list(places))
                hint = f"did you mean {known}?" if known else f"give prompt, seed, {OTHERS}"
                raise UserError(f"{name}: unknown; {hint}")
            table, key = places[name]
            table[key] = value
        try:
            return self.from_values(values)
        except UserError as error:
            raise UserError(_as_named(str(error), [one["name"] for one in subjects])) from error

    def with_paths_from(self, folder: Path) -> Self:
        """The recipe with absolute paths of subjects' files replaced by paths from a folder, for videos in it."""
        subjects = {
            name: tuple(relative_to(one, folder) for one in getattr(self, name))
            for name in ("subjects", "negative_subjects")
        }
        return self.model_copy(update=subjects)

    def makes_same_video_as(self, other: "VideoRecipe") -> bool:
        """Whether both are recipes of the same video, on the same machine."""
        own, others = (one.model_dump(exclude={"made", "scale"}) for one in (self, other))
        return own == others

    def to_json(self) -> str:
        """The recipe as JSON; `from_json` reads it back as an equal recipe."""
        return json.dumps(self.to_values(), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str, *, place: str = "recipe") -> Self:
        """Read a recipe.

        Raises:
            UserError: it is not a recipe of a video, is damaged, or is of a later version; names `place`.
        """
        if (values := _values(text)) is None:
            raise UserError(f"{place}: not the recipe of a video")
        if isinstance(version := values.get("format"), int) and version > FORMAT:
            raise UserError(f"{place}: a recipe of version {version}, this refilm reads up to {FORMAT}; update refilm")
        try:
            return cls.from_values(values)
        except UserError as error:
            raise UserError(f"{place}: {error}") from error

    @classmethod
    @checked
    def of_video(cls, video: Video) -> Self:
        """The recipe of a video that was generated.

        Raises:
            UserError: it has none.
        """
        if video.note is None:
            raise UserError("this video has no recipe: it was not generated, or from embeddings")
        return cls.from_json(video.note)


@checked
def read_video_recipe(path: Path | str) -> VideoRecipe:
    """The recipe of a video: from its metadata, or from the JSON beside it if they were lost, or from a JSON file.

    Raises:
        UserError: there is none; names the file.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        if not path.is_file():
            raise UserError(f"{path}: no such file; give a video or its recipe")
        return VideoRecipe.from_json(read_text(path), place=str(path))
    beside = recipe_path(path)
    note = None if not path.exists() and beside.is_file() else read_note(path)  # NAME.png: its frames are NAME-000.png
    if note is not None and (_values(note) is not None or not beside.is_file()):
        return VideoRecipe.from_json(note, place=str(path))
    if beside.is_file():
        return VideoRecipe.from_json(read_text(beside), place=str(beside))
    raise UserError(f"{path}: contains no recipe, and there is no {beside.name}; give the recipe's JSON file")


def recipe_path(video: Path) -> Path:
    """The JSON file beside a video: fox.mp4 -> fox.mp4.json."""
    return video.with_name(f"{video.name}.json")


@checked
def save_with_recipe(video: Video, recipe: VideoRecipe, path: Path | str) -> list[Path]:
    """Save a video with its recipe in its metadata and as JSON beside it; returns the files of the video.

    Both files are written before the first is renamed, so that a full disk leaves an earlier video with its own recipe.
    """
    path = Path(path)
    note = recipe.to_json()
    with atomic_file(recipe_path(path)) as beside:
        beside.write_text(note + "\n", encoding="utf-8")
        return replace(video, note=note).save(path, scale=recipe.scale)


@checked
def save_without_recipe(video: Video, path: Path | str, *, scale: int | None = None) -> list[Path]:
    """Save a video without its recipe, also in place of one that had a recipe; returns the files of the video."""
    path = Path(path)
    files = replace(video, note=None).save(path, scale=scale)
    if (beside := recipe_path(path)).is_file() and _values(read_text(beside)) is not None:
        beside.unlink()
    return files


def _values(text: str) -> dict[str, Any] | None:
    """The values of a recipe; None if a text is not meant as one. The comment of a GIF can be anything."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and "settings" in values else None


def _as_named(error: str, subjects: Sequence[str]) -> str:
    """An error with the names of `VideoRecipe.changed`: settings.steps -> steps, subjects.0.scale -> fox.scale."""
    error = re.sub(r"\bsettings\.(?=\w)", "", error)
    return re.sub(r"\bsubjects\.(\d+)\.", lambda found: f"{subjects[int(found[1])]}.", error)


def adapter_fingerprint(adapter: Adapter) -> str:
    """The fingerprint of an adapter's weights, and of its LoRA's."""
    lora: dict[str, Any] = getattr(adapter, "weights", None) or {}
    return fingerprint_of({name: weight.detach() for name, weight in (*adapter.named_parameters(), *lora.items())})


def made_now(base: Base, *, batch: int) -> Made:
    """The surroundings of a video that is being made."""
    return Made(
        machine=machine(),
        refilm=importlib.metadata.version("refilm"),
        device=str(base.device),
        dtype=str(base.dtype).removeprefix("torch."),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        batch=batch,
    )
