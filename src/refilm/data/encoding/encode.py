"""Encode the missing parts of a data set: worker processes read files, batches are encoded and written to the cache.

Captions, references and latents are encoded one after another, so only one encoder is in memory at a time. Complete
shards on the disk are kept, however the process ends. Does not depend on where encoders come from or how processes
synchronize.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refilm.data.cutting import augmented_images, cut_clip
from refilm.data.encoding.index import missing, write_index
from refilm.data.encoding.keys import EncoderIdentity
from refilm.data.encoding.lock import only_writer
from refilm.data.encoding.plan import EncodePlan, plan
from refilm.data.encoding.shards import ShardWriter, read_shards, tidy
from refilm.data.samples import Source
from refilm.data.settings import EncodeSettings
from refilm.data.workers import Failure, Workers
from refilm.encoders import Encoders
from refilm.errors import UserError

LEAST_STD = 1e-8  # of latents, so that the logarithm is finite
BATCH = 16  # captions and images

What = Literal["captions", "references", "clips"]
Job = TypeVar("Job")
Item = TypeVar("Item")
Cut = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class EncodeProgress:
    """One process's progress with one kind of encodings; clips, which take longest, come last."""

    what: What
    done: int
    total: int


def encode(
    source: Source,
    encoders: Encoders,
    folder: Path,
    *,
    settings: EncodeSettings,
    encoder_identity: EncoderIdentity,
    rank: int = 0,
    ranks: int = 1,
    wait: Callable[[], None] = lambda: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[EncodeProgress]:
    """Encode the parts of a source that are not in `folder` yet; yields this process's progress after each batch.

    Yields nothing if everything is cached. If interrupted, run it again to continue. Encodings of other clips or with
    other settings remain in the folder, but its index lists this source only.

    Args:
        encoder_identity: identifies the encoders (see `identify`).
        rank: number of this process out of `ranks`. Each encodes its part, and rank 0 writes the index.
        wait: a barrier that returns when all processes have called it.
        on_wait: called before waiting for another command that is writing to this cache.

    Raises:
        UserError: the settings do not fit the encoders, or a clip or image cannot be used. The error names it.
        NotFiniteError: an encoder produced values that are not finite.
    """
    whole = plan(source, settings, encoder_identity, encoders.unread.autoencoder.compression)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder, on_wait) if rank == 0 else nullcontext():
        wait()
        there = {key for shard in read_shards(folder) for key in shard.keys}
        rest = whole.part_of(rank, ranks).without(there)
        yield from _made(rest, encoders, folder, settings)
        wait()
        if rank == 0:
            shards = read_shards(folder)
            if gone := missing(whole.entries, shards):
                raise UserError(
                    f"{folder}: {len(gone)} encodings of other processes are missing; run this again to add them"
                )
            write_index(folder, whole.entries, shards, settings=settings, encoders=encoder_identity)
            tidy(folder)
        wait()


def _made(rest: EncodePlan, encoders: Encoders, folder: Path, settings: EncodeSettings) -> Iterator[EncodeProgress]:
    """Create all planned encodings."""
    rows = settings.shard
    batch = settings.batch or BATCH

    def text(_: object) -> ShardWriter[str]:
        run, names = lambda captions: {"text": encoders.text(captions, cut=True)}, rest.captions
        return ShardWriter(folder, "text", run, batch=batch, rows=rows, names=names)

    def references(shown: list[Image.Image]) -> ShardWriter[list[Image.Image]]:
        run, few, names = partial(encode_references, encoders=encoders), max(1, batch // len(shown)), rest.views
        return ShardWriter(folder, "references", run, batch=few, rows=rows, names=names)

    def latents(cut: Cut) -> ShardWriter[Cut]:
        run, few, names = partial(encode_clips, encoders=encoders), settings.batch_of(cut[0].size // 3), rest.clips
        return ShardWriter(folder, "latents", run, batch=few, rows=rows, names=names)

    yield from _counted("captions", len(rest.captions), _written(rest.captions.items(), lambda _: None, text))
    with Workers(settings.workers, seconds=settings.patience) as processes:
        views, cuts = _results(processes, augmented_images, rest.views), _results(processes, cut_clip, rest.clips)
        yield from _counted("references", len(rest.views), _written(views, len, references))
        yield from _counted("clips", len(rest.clips), _written(cuts, _shape_of, latents))


def _shape_of(cut: Cut) -> Hashable:
    pixels, mask = cut
    return pixels.shape, mask is None


def _counted(what: What, total: int, made: Iterator[int]) -> Iterator[EncodeProgress]:
    return (EncodeProgress(what, done, total) for done in accumulate(made))


def encode_clips(cuts: list[Cut], encoders: Encoders) -> dict[str, Tensor]:
    """Latents of clips of one size, and their masks if they have any.

    Subjects of one video follow each other, with equal pixels and different masks: such pixels are encoded once.
    """
    pixels = [cut[0] for cut in cuts]
    new = [n == 0 or not np.array_equal(pixels[n], pixels[n - 1]) for n in range(len(pixels))]
    different = torch.from_numpy(np.stack([one for one, is_new in zip(pixels, new, strict=True) if is_new]))
    encoded = torch.from_numpy(np.cumsum(new) - 1)
    mean, std = (part[encoded] for part in encoders.autoencoder.posterior(different))
    rows = {"mean": mean, "logvar": 2 * std.clamp(min=LEAST_STD).log()}  # (n, T, C, h, w) each
    masks = [mask for _, mask in cuts if mask is not None]
    return {**rows, "mask": torch.from_numpy(np.stack(masks))} if masks else rows  # (n, T, h, w)


def encode_references(images: list[list[Image.Image]], encoders: Encoders) -> dict[str, Tensor]:
    """Tokens of images with the same number of augmented versions."""
    tokens = encoders.image([view for shown in images for view in shown])
    return {"references": tokens.unflatten(0, (len(images), -1))}  # (n, 1 + N, M, E)


def _written(
    items: Iterable[tuple[str, Item]],
    shape_of: Callable[[Item], Hashable],
    writer_for: Callable[[Item], ShardWriter[Item]],
) -> Iterator[int]:
    """Add each item to the shard writer of its shape; everything encoded is written even if an error is raised."""
    writers: dict[Hashable, ShardWriter[Item]] = {}
    try:
        for key, item in items:
            shape = shape_of(item)
            if shape not in writers:
                writers[shape] = writer_for(item)
            if made := writers[shape].add(key, item):
                yield made
        for writer in writers.values():
            if made := writer.encode():
                yield made
    finally:
        for writer in writers.values():
            writer.close()


def _results(processes: Workers, function: Callable[[Job], Item], jobs: dict[str, Job]) -> Iterator[tuple[str, Item]]:
    """The results of the jobs from worker processes, in order.

    Raises:
        UserError: a job failed. The error names its file.
    """
    keys, values = list(jobs), list(jobs.values())
    for index, outcome in processes.run(function, values, in_order=True):
        if isinstance(outcome, Failure):
            name = str(values[index])
            raise UserError(outcome.message if name in outcome.message else f"{name}: {outcome.message}")
        yield keys[index], outcome
