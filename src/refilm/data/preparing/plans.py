"""Create references for the clips of a manifest that have none, and write a new manifest.

An image's file name contains a digest of everything that it was made from, so existing images are reused. Nothing is
skipped silently: the new manifest is written only if every clip has references, unless faulty clips are excluded.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refilm.data.augmentation import cut_out
from refilm.data.checking.places import name_of
from refilm.data.examples import Example, Reference
from refilm.data.manifest import is_utf8, write_manifest
from refilm.data.preparing.choosing import FrameRequest
from refilm.data.preparing.making import CutImage, Job, UncutFrame, make, write_image
from refilm.data.preparing.moments import RelatedClips, places
from refilm.data.preparing.removing import Remover
from refilm.data.settings import OTHER_CLIPS, PrepareSettings
from refilm.data.workers import Failure, Workers
from refilm.errors import UserError
from refilm.files import sha256_of


@dataclass(frozen=True)
class PreparePlan:
    """The images to create and the manifest to write."""

    out: Path
    examples: tuple[Example, ...]
    """The examples with all references, including those that have not been created yet."""
    made: int
    """Number of references created by refilm, now or in an earlier run."""
    own: int
    """Number of stills that are their own reference."""
    jobs: tuple[Job, ...]
    """The images that do not exist yet."""
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
) -> PreparePlan:
    """PreparePlan references for every clip, as PNGs in `references/` beside the manifest `out`.

    Existing references are unchanged unless `cut_out` is set. A clip without references gets one frame: from another
    clip of its `subject` if there is one, otherwise from another time of its video, outside the training part if
    possible. The frame is never nearly identical to the clip's first frame, and keeps its aspect ratio. Stills are
    preferred to frames: another one of the same subject, and for a still without one, the still itself.

    Args:
        remover: removes the background of frames without a mask.
        hashes: known sha256 hashes of files; others are computed.
        allow_outside: allow the manifest to name files outside its folder.

    Raises:
        UserError: the folder of `out` does not exist, a file is outside it although `allow_outside` is not set, a file
            cannot be read, or `cut_out` is set but there are no masks.
    """
    out = Path(out)
    _check(out, examples, allow_outside)
    masks = (each.mask for example in examples for each in (example, *example.references))
    if settings.cut_out and remover is None and not any(masks):
        raise UserError(
            "cut_out: no clip and no reference has a mask; add masks to the manifest (see docs/data.md), or use "
            "--remove-background"
        )
    related_clips = RelatedClips(examples)
    wanted = [_wanted(example, related_clips, settings, remover) for example in examples]
    made = [item for items in wanted for item in items if not isinstance(item, Reference)]
    known = _hashes((path for item in made for path in item.files), hashes or {})
    jobs = {item: _job(item, known, out.parent / "references", settings.seed, remover) for item in made}
    return PreparePlan(
        out,
        tuple(
            replace(example, references=tuple(_reference(item, jobs) for item in items))
            for example, items in zip(examples, wanted, strict=True)
        ),
        len(made),
        sum(_is_own(example, items[0]) for example, items in zip(examples, wanted, strict=True)),
        tuple({job.path: job for job in jobs.values() if not job.path.is_file()}.values()),
        remover,
        allow_outside,
    )


def prepare(
    plan: PreparePlan, *, workers: int | None = None, patience: float = 120.0, leave_out: bool = False
) -> Iterator[str | None]:
    """Create the images of a plan; yields the fault of each, or None. Then write the manifest.

    Args:
        workers: number of processes that read videos. Default: one per core.
        patience: time limit for one image, in seconds.
        leave_out: write the manifest without the clips that have faults.

    Raises:
        UserError: at the end, if there were faults and the manifest was not written. The error names the first fault.
    """
    if plan.jobs:
        plan.jobs[0].path.parent.mkdir(exist_ok=True)
    faults: dict[Path, str] = {}
    with Workers(workers or os.cpu_count() or 1, seconds=patience) as processes:
        for index, outcome in processes.run(make, plan.jobs):
            job = plan.jobs[index]
            fault = _finish(job, outcome, plan.remover)
            if fault is not None:
                faults[job.path] = fault
            yield fault
    left = [example for example in plan.examples if faults.keys().isdisjoint(example.files)]
    if faults and not (leave_out and left):
        first, more = next(iter(faults.values())), f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(f"{first}{more}; {plan.out} was not written")
    write_manifest(plan.out, left, allow_outside=plan.allow_outside)


def _check(out: Path, examples: Sequence[Example], allow_outside: bool) -> None:
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; use the name of a manifest, for example {out / 'clips.jsonl'}")
    home = out.parent.resolve()
    if bad := next(
        (path for example in examples for path in example.files if not is_utf8(name_of(path.resolve(), home))), None
    ):
        raise UserError(
            f"{bad}: the file name is not UTF-8; rename the file, or rename all files with refilm data import"
        )
    outside = (path for example in examples for path in example.files if not path.resolve().is_relative_to(home))
    if not allow_outside and (path := next(outside, None)):
        raise UserError(
            f"{path}: is outside {home}, the folder of {out.name}; write the manifest to a parent folder of all files"
        )


def _wanted(
    example: Example,
    related_clips: RelatedClips,
    settings: PrepareSettings,
    remover: Remover | None,
) -> tuple[Reference | CutImage | FrameRequest, ...]:
    """The references of a clip: unchanged, to be cut out, or to be chosen from videos."""
    if example.references:
        return tuple(
            CutImage(item.image, item.mask, settings.background) if settings.cut_out and item.mask else item
            for item in example.references
        )
    start = example.start or 0.0
    ground = settings.background if settings.cut_out or remover else None
    rng = np.random.default_rng((settings.seed, zlib.crc32(os.fsencode(f"{example.video.name} {start}"))))
    related = related_clips.of(example, most=OTHER_CLIPS, rng=rng)
    still = related.still or (example if example.still else None)
    if still is not None:
        cut = ground is not None and (remover is not None or still.mask is not None)
        return (CutImage(still.video, still.mask, settings.background) if cut else Reference(still.video),)
    end = start + settings.frames / settings.fps
    learned = replace(example, end=end if example.end is None else min(end, example.end))
    where = places(learned, related, settings.min_distance)
    return (
        FrameRequest(
            example.video, start, learned.end or end, where, settings.min_distance, settings.candidates, ground
        ),
    )


def _is_own(example: Example, item: Reference | CutImage | FrameRequest) -> bool:
    """Whether a new reference of a still is the still itself."""
    return not (example.references or isinstance(item, FrameRequest)) and item.image == example.video


def _job(
    item: CutImage | FrameRequest, hashes: Mapping[Path, str], folder: Path, seed: int, remover: Remover | None
) -> Job:
    masked = isinstance(item, CutImage) and item.mask is not None
    name = None if remover is None or masked else remover.name
    digest = hashlib.sha256(f"{item.identity(hashes)} {seed} {name}".encode()).hexdigest()
    return Job(item, folder / f"{item.source.stem}-{digest[:16]}.png", int(digest, 16), name is None)


def _reference(item: Reference | CutImage | FrameRequest, jobs: Mapping[CutImage | FrameRequest, Job]) -> Reference:
    return item if isinstance(item, Reference) else Reference(jobs[item].path)


def _hashes(files: Iterable[Path], known: Mapping[Path, str]) -> dict[Path, str]:
    unknown = list(dict.fromkeys(path for path in files if path not in known))
    with ThreadPoolExecutor() as pool:  # hashing releases the GIL
        return {**known, **dict(zip(unknown, pool.map(sha256_of, unknown), strict=True))}


def _finish(job: Job, outcome: UncutFrame | Failure | None, remover: Remover | None) -> str | None:
    """Remove the background if that has not been done. Returns the fault, if any."""
    if isinstance(outcome, Failure):
        name = str(job.item.source)
        return outcome.message if outcome.message.startswith(name) else f"{name}: {outcome.message}"
    if outcome is None:
        return None
    assert remover is not None
    assert job.item.background is not None
    try:
        image = cut_out(outcome.image, remover(outcome.image), job.item.background)
    except UserError as error:
        return f"{job.item.source}: {remover.name} on {outcome.about}: {error}"
    write_image(image, job.path, f"{outcome.about}, background removed by {remover.name}")
    return None
