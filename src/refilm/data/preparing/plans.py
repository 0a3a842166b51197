"""A manifest in which every clip has references, from one in which some have none.

An image's name tells all that it was made from, so one that is there is not made again. Nothing is skipped
silently: the new manifest is written when every clip has what it needs, or not at all.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from refilm.data.checking.places import name_of
from refilm.data.examples import Example, Reference
from refilm.data.manifest import is_utf8, write_manifest
from refilm.data.preparing.choosing import Wish
from refilm.data.preparing.making import Job, Masked, Unfinished, make, write_image
from refilm.data.preparing.moments import Neighborhood, places
from refilm.data.preparing.removing import Remover
from refilm.data.views import cut_out
from refilm.data.workers import Failure, in_workers
from refilm.files import sha256_of
from refilm.media.images import WHITE, Color
from refilm.settings import Settings

KIN = 2  # other clips of the subject to take frames from: enough to choose, few enough to open


class PrepareSettings(Settings):
    """How references are made for clips that have none."""

    min_distance: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """The fewest seconds between a clip's first frame and a reference from the same video."""
    frames: int = Field(default=49, ge=1)
    """Frames that training takes from the start of each clip: references come from elsewhere if there is room."""
    fps: float = Field(default=8.0, gt=0, le=1000)
    """Frames a second that training takes."""
    candidates: int = Field(default=8, ge=KIN, le=64)
    """Frames looked at for a reference; the sharpest is taken."""
    cut_out: bool = False
    """Lay subjects that have a mask, of their clip or of their reference, on plain ground."""
    background: Color = WHITE
    """That ground: red, green and blue, 0 to 255."""
    seed: int = Field(default=0, ge=0)
    """The same seed takes the same frames."""


@dataclass(frozen=True)
class Plan:
    """What is to be made, and the manifest that will be there."""

    out: Path
    examples: tuple[Example, ...]
    """With all references, those still to be made too."""
    made: int
    """How many of these references refilm makes, now or in an earlier run."""
    jobs: tuple[Job, ...]
    """The images that are not there yet."""
    remover: Remover | None
    allow_outside: bool


def plan(
    examples: Sequence[Example],
    out: Path | str,
    settings: PrepareSettings,
    *,
    remover: Remover | None = None,
    hashes: Mapping[Path, str] | None = None,
    allow_outside: bool = False,
) -> Plan:
    """Plan references for every clip, as PNGs in `references/` beside the manifest `out`.

    References that are there stay as they are, but for `cut_out`. A clip without any gets one frame: from another clip
    of its `subject` if there is one, else from another moment of its video, outside of what training takes if there is
    room. The frame never looks like the clip's first, and keeps its own shape.

    Args:
        remover: removes the background of frames that no mask cuts out.
        hashes: sha256 of files, where they are known; the others are read.
        allow_outside: whether the manifest may name files outside of its folder.

    Raises:
        ValueError: there is no folder for `out`, or a file lies outside of it and may not, or cannot be read; or there
            is no mask to cut out along.
    """
    out = Path(out)
    _check(out, examples, allow_outside)
    masks = (each.mask for example in examples for each in (example, *example.references))
    if settings.cut_out and remover is None and not any(masks):
        raise ValueError(
            "cut_out: no clip and no reference has a mask to cut out along; add masks to the manifest (docs/data.md), "
            "or take --remove-background"
        )
    ground = settings.background if settings.cut_out or remover else None
    neighborhood = Neighborhood(examples)
    wanted = [_wanted(example, neighborhood, settings, ground) for example in examples]
    made = [item for items in wanted for item in items if not isinstance(item, Reference)]
    known = _hashes((path for item in made for path in item.files), hashes or {})
    jobs = {item: _job(item, known, out.parent / "references", settings.seed, remover) for item in made}
    return Plan(
        out,
        tuple(
            replace(example, references=tuple(_reference(item, jobs) for item in items))
            for example, items in zip(examples, wanted, strict=True)
        ),
        len(made),
        tuple({job.path: job for job in jobs.values() if not job.path.is_file()}.values()),
        remover,
        allow_outside,
    )


def prepare(
    plan: Plan, *, workers: int | None = None, patience: float = 120.0, leave_out: bool = False
) -> Iterator[str | None]:
    """Make the images of a plan; yields the fault of each, or None, when it is done. Then writes the manifest.

    Args:
        workers: processes that read videos; left out, one for each core.
        patience: seconds that one image may take.
        leave_out: write the manifest without the clips that have faults.

    Raises:
        ValueError: in the end, when there were faults: the manifest was not written. Names the first.
    """
    if plan.jobs:
        plan.jobs[0].path.parent.mkdir(exist_ok=True)
    faults: dict[Path, str] = {}
    for index, outcome in in_workers(make, plan.jobs, workers=workers or os.cpu_count() or 1, seconds=patience):
        job = plan.jobs[index]
        fault = _finish(job, outcome, plan.remover)
        if fault is not None:
            faults[job.path] = fault
        yield fault
    left = [example for example in plan.examples if faults.keys().isdisjoint(example.files)]
    if faults and not (leave_out and left):
        first, more = next(iter(faults.values())), f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ValueError(f"{first}{more}; {plan.out} was not written")
    write_manifest(plan.out, left, allow_outside=plan.allow_outside)


def _check(out: Path, examples: Sequence[Example], allow_outside: bool) -> None:
    if not out.parent.is_dir():
        raise ValueError(f"{out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise ValueError(f"{out}: is a folder; give the name of a manifest, for instance {out / 'clips.jsonl'}")
    home = out.parent.resolve()
    if bad := next(
        (path for example in examples for path in example.files if not is_utf8(name_of(path.resolve(), home))), None
    ):
        raise ValueError(f"{bad}: its name is not UTF-8; rename it, or give all files new names by refilm data import")
    outside = (path for example in examples for path in example.files if not path.resolve().is_relative_to(home))
    if not allow_outside and (path := next(outside, None)):
        raise ValueError(f"{path}: lies outside {home}, the folder of {out.name}; write that above all files")


def _wanted(
    example: Example, neighborhood: Neighborhood, settings: PrepareSettings, ground: Color | None
) -> tuple[Reference | Masked | Wish, ...]:
    """The references of a clip: as they are, to be cut out, or to be found."""
    if example.references:
        return tuple(
            Masked(item.image, item.mask, settings.background) if settings.cut_out and item.mask else item
            for item in example.references
        )
    start = example.start or 0.0
    rng = np.random.default_rng((settings.seed, zlib.crc32(os.fsencode(f"{example.video.name} {start}"))))
    neighbors = neighborhood.of(example, most=KIN, rng=rng)
    end = start + settings.frames / settings.fps
    learned = replace(example, end=end if example.end is None else min(end, example.end))
    where = places(learned, neighbors, settings.min_distance)
    return (Wish(example.video, start, learned.end or end, where, settings.min_distance, settings.candidates, ground),)


def _job(item: Masked | Wish, hashes: Mapping[Path, str], folder: Path, seed: int, remover: Remover | None) -> Job:
    name = None if remover is None or isinstance(item, Masked) else remover.name
    digest = hashlib.sha256(f"{item.meaning(hashes)} {seed} {name}".encode()).hexdigest()
    return Job(item, folder / f"{item.source.stem}-{digest[:16]}.png", int(digest, 16), name is None)


def _reference(item: Reference | Masked | Wish, jobs: Mapping[Masked | Wish, Job]) -> Reference:
    return item if isinstance(item, Reference) else Reference(jobs[item].path)


def _hashes(files: Iterable[Path], known: Mapping[Path, str]) -> dict[Path, str]:
    unknown = list(dict.fromkeys(path for path in files if path not in known))
    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
        return {**known, **dict(zip(unknown, pool.map(sha256_of, unknown), strict=True))}


def _finish(job: Job, outcome: Unfinished | Failure | None, remover: Remover | None) -> str | None:
    """Remove the background where that is left to do. Returns what went wrong."""
    if isinstance(outcome, Failure):
        name = str(job.item.source)
        return outcome.message if outcome.message.startswith(name) else f"{name}: {outcome.message}"
    if outcome is None:
        return None
    assert remover is not None
    assert isinstance(job.item, Wish)
    assert job.item.ground is not None
    try:
        image = cut_out(outcome.image, remover(outcome.image), job.item.ground)
    except ValueError as error:
        return f"{job.item.source}: {remover.name} on {outcome.about}: {error}"
    write_image(image, job.path, f"{outcome.about}, background removed by {remover.name}")
    return None
