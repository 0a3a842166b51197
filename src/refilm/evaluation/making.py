"""Videos of a suite from a model: a case is a row of a list (`refilm.jobs`).

If interrupted, a second call continues; processes can share the work; a video depends on its case and the model alone.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from refilm.checkpoints.sources import CLIP
from refilm.evaluation.answer import Answer
from refilm.evaluation.case import Case, Control
from refilm.evaluation.identity import hashed
from refilm.evaluation.result import Source, Values
from refilm.files import read_json, sha256_of, write_json
from refilm.generation.recipe import VideoRecipe, read_video_recipe
from refilm.jobs import Batch, Claims, Job, Progress, Records
from refilm.jobs.claims import STALE_AFTER
from refilm.jobs.job import jobs_of

if TYPE_CHECKING:
    from refilm.generation import Pipeline

FACTS = "model.json"
"""File beside the videos with what only the loaded model knows."""
LIST = "cases"
"""Stands for the list of the jobs, from whose folder they count paths. There is no such file."""


class Model:
    """A source of videos: a model.

    Args:
        load: loads the model; called once, and only if a video is missing.
        identity: what identifies the model, by name; videos of another model are made again.
        settings: settings of the generation, by the names of a list's columns: steps, guidance, size.
        seed: is added to the seed of each case.
        claim: whether other processes that evaluate the same model in the same folder make a part of the videos.
        stale_after: seconds without a heartbeat after which another process counts as killed.
    """

    controls: ClassVar[Sequence[Control]] = get_args(Control)
    masks = False

    def __init__(
        self,
        load: "Callable[[], Pipeline]",
        identity: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        seed: int = 0,
        claim: bool = False,
        stale_after: float = STALE_AFTER,
    ):
        self._load, self._identity, self._settings, self._seed = load, identity, settings, seed
        self._claim, self._stale_after = claim, stale_after
        self._made: Path | None = None

    def record(self) -> Source:
        """The model and its settings, read from a video that it made."""
        details: Values = {**self._identity, "seed": self._seed}
        if self._made is not None:
            details |= _facts(read_video_recipe(self._made)) | read_json(self._made.with_name(FACTS))
        return Source(kind="model", details=details)

    def answers(self, cases: Sequence[Case], out: Path) -> Iterator[Answer | Progress]:
        """Make the missing videos; then an answer for each case, in order.

        Raises:
            UserError: the model cannot be loaded, or `out` cannot be written to.
        """
        records = Records(out, self._identity)
        place = out.resolve()
        jobs = jobs_of([(case.name, self._row(case, place)) for case in cases], place / LIST)
        claims = Claims(records.folder, stale_after=self._stale_after) if self._claim else None
        batch = Batch(jobs, records, lambda: self._loaded(out), claims=claims, paths_from=place)
        for event in batch.run():
            if isinstance(event, Progress):
                yield event
        for case, job in zip(cases, jobs, strict=True):
            yield self._answer(case, job, records)

    def _loaded(self, out: Path) -> "Pipeline":
        pipeline = self._load()
        write_json(out / FACTS, {"image_encoder": _image_encoder(pipeline)})  # for later calls, which do not load it
        return pipeline

    def _row(self, case: Case, place: Path) -> dict[str, Any]:
        row = {
            **self._settings,
            "prompt": case.prompt,
            "seed": case.seed + self._seed,
            "output": f"{case.name}.mp4",
            "reference": [os.path.relpath(path.resolve(), place) for path in case.reference],  # the folder may move
        }
        return {**row, "reference_scale": 0.0} if case.control == "scale0" else row

    def _answer(self, case: Case, job: Job, records: Records) -> Answer:
        record = records.of(job)
        assert record is not None, f"{case.name} was not made"
        if record.status == "failed":
            return Answer(case, error=record.error)
        file = records.out / record.output
        if self._made is None or case.control == "right":
            self._made = file
        return Answer(case, file)


def model_identity(base: str, adapter: str, **others: Any) -> dict[str, Any]:
    """What identifies a model by name: its base and adapter, the files of local ones, and given options.

    Files of an adapter are recognized by their content; those of a base, which can be many gigabytes, by their size and
    the time of their last change.
    """
    content = [sha256_of(path) for path in _files(adapter)]
    stats = [(str(path.relative_to(base)), path.stat().st_size, path.stat().st_mtime_ns) for path in _files(base)]
    digests = {"base_files": stats, "adapter_files": content}
    named = {"base": base, "adapter": adapter, **{name: hashed(of) for name, of in digests.items() if of}, **others}
    return {name: value for name, value in named.items() if value is not None}


def _files(folder: str) -> list[Path]:
    """All files in a folder, in order; none of a Hub id or a name."""
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def _image_encoder(pipeline: "Pipeline") -> str:
    """Name of the encoder that the adapter reads."""
    base = pipeline.base
    own = (base.source.folder / "image_encoder").is_dir()
    return base.preprocessing.image_encoder or (f"{base.name}/image_encoder" if own else CLIP)


def _facts(recipe: VideoRecipe) -> Values:
    """Fingerprints and settings of a made video, except for what differs between cases."""
    settings = recipe.settings.to_values()
    settings.pop("reference_scale", None)
    facts: Values = {"base_fingerprint": recipe.base.fingerprint, "dtype": recipe.made.dtype, "fps": recipe.fps}
    if recipe.adapter is not None:
        facts["adapter_fingerprint"] = recipe.adapter.fingerprint
    return facts | settings
