"""Fills the form with the request of a job, or with the recipe of a video."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from refilm.control.encoded import image_hash
from refilm.errors import UserError
from refilm.generation.recipe import VideoRecipe, read_video_recipe
from refilm.media import open_image
from refilm.serving.characters import SUFFIX, Character
from refilm.serving.errors import NotFoundError
from refilm.serving.job import VideoJob
from refilm.serving.page.form import Form, not_in_form
from refilm.serving.page.masks import image_key, video_key
from refilm.serving.page.subjects import MOST, NEW

OF_CHARACTER = re.compile(r"(char_[0-9a-f]+)-\d+\..+")


class Reuse:
    """Fills a form.

    Args:
        form: the form.
    """

    def __init__(self, form: Form):
        self.form, self.store = form, form.store

    def of_job(self, job: VideoJob) -> tuple[dict[Any, Any], str]:
        """The form with the request of a job, and a note about what it could not fill."""
        request, folder = dict(job.request), self.store.files.inputs(job.id)
        tables = dict(request.get("subjects", {}))
        if request.get("reference"):
            tables = {"subject": {"images": _several(request["reference"])}, **tables}
        missing = not_in_form(request)
        filled = self.form.filled(request) | self._subjects(tables, folder)
        left = f"The form has no control for {', '.join(missing)}, which was left out." if missing else ""
        return filled, left

    def of_video(self, path: Path) -> tuple[dict[Any, Any], str]:
        """The form with the recipe of a video; its subjects are found among the saved ones by their images.

        Raises:
            UserError: the file has no recipe.
        """
        try:
            recipe = read_video_recipe(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from error
        settings = recipe.settings.model_dump(mode="json", exclude_none=True)
        values = {"prompt": recipe.prompt, "seed": recipe.seed, **settings}
        members, unknown = self._found(recipe)
        filled = self.form.filled(values) | self._filled_slots(members) | self._no_new()
        if not unknown:
            return filled, "The settings of the video are in the form."
        return filled, (
            f"The settings of the video are in the form. Add the images of {', '.join(unknown)} again: a video does "
            "not contain them."
        )

    def _found(self, recipe: VideoRecipe) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
        """The characters of a recipe's subjects with their values, and the names of the others."""
        known = {_hashes(self.store.characters.paths(one)): one.id for one in self._characters()}
        members, unknown = [], []
        for subject in recipe.subjects:
            hashes = frozenset(image.sha256 for image in subject.images)
            values = subject.model_dump(mode="json", exclude_defaults=True)
            if hashes and hashes in known:
                members.append((known[hashes], values))
            else:
                unknown.append(subject.name)
        return members, unknown

    def _characters(self) -> tuple[Character, ...]:
        found, _ = self.store.characters.list(limit=100)
        return tuple(one for one in found if not any(name.endswith(SUFFIX) for name in one.files))

    def _subjects(self, tables: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[Any, Any]:
        """The subjects of a request: saved ones, one as the new one, and further ones, which are saved for it."""
        members: list[tuple[str, dict[str, Any]]] = []
        filled, masks = self._no_new(), {}
        for name, table in tables.items():
            key = self._character_of(table)
            if key is None and "images" in table and filled[self.form.images] is None:
                key = NEW
                filled |= self._new(name, table, folder)
            elif key is None:
                key = self._saved(name, table, folder)
            if key != NEW:
                members.append((key, dict(table)))
            for number, mask in enumerate(_several(table.get("image_masks", ()))):
                masks[image_key(key, number)] = _read(folder / mask)
            if table.get("mask"):
                masks[video_key(key)] = _read(folder / table["mask"])
        return filled | self._filled_slots(members) | {self.form.masks: masks}

    def _no_new(self) -> dict[Any, Any]:
        form = self.form
        empty = {form.images: None, form.name: "", form.new: gr.update(visible=False), form.masks: {}}
        return {**empty, **form.direction.filled({})}

    def _new(self, name: str, table: Mapping[str, Any], folder: Path) -> dict[Any, Any]:
        form = self.form
        images = [_uploaded(folder / image) for image in _several(table["images"])]
        shown = {form.images: images, form.name: "" if name == "subject" else name, form.new: gr.update(visible=True)}
        return {**shown, **form.direction.filled(table)}

    def _filled_slots(self, members: list[tuple[str, dict[str, Any]]]) -> dict[Any, Any]:
        filled: dict[Any, Any] = {}
        padded = [*members[:MOST], *[("", {})] * MOST]
        for slot, (character, values) in zip(self.form.slots, padded, strict=False):
            filled |= slot.filled(self.store, character, values)
        return filled

    def _character_of(self, table: Mapping[str, Any]) -> str | None:
        """The character that a subject was made from, if it still exists."""
        first = next(iter(_several(table.get("images") or table.get("file") or ())), "")
        match = OF_CHARACTER.fullmatch(first)
        try:
            return None if match is None else self.store.characters.get(match[1]).id
        except NotFoundError:
            return None

    def _saved(self, name: str, table: Mapping[str, Any], folder: Path) -> str:
        files = {file: folder / file for file in _several(table.get("images") or table["file"])}
        return self.store.characters.create(name, files, words=_several(table.get("words", ()))).id


def _uploaded(path: Path) -> str:
    """A copy of a file among the uploads: Gradio serves no other files."""
    return save_file_to_cache(path, get_upload_folder())


def _hashes(paths: Mapping[str, Path]) -> frozenset[str]:
    return frozenset(image_hash(open_image(path)) for path in paths.values())


def _read(path: Path) -> tuple[str, bytes]:
    return path.suffix, path.read_bytes()


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
