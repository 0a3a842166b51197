"""Encoding: what of a source is not in the cache yet is read by worker processes, encoded in batches and kept.

Kind by kind: captions, references, latents, so that no two encoders need to be in memory together. Whatever is whole
on the disk is kept, however the process ends. Knows nothing of where encoders come from or how processes meet.
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

from refilm.data.cutting import cut_clip, views
from refilm.data.encoding.index import missing, write_index
from refilm.data.encoding.keys import EncoderIdentity
from refilm.data.encoding.lock import only_writer
from refilm.data.encoding.plan import Plan, plan
from refilm.data.encoding.settings import EncodeSettings
from refilm.data.encoding.shards import Shelf, read_shards, tidy
from refilm.data.samples import Source
from refilm.data.workers import Failure, in_workers
from refilm.encoders import Encoders

LEAST_STD = 1e-8  # of latents: what rounds to none has no logarithm
BATCH = 16  # captions and images

What = Literal["captions", "references", "clips"]
Job = TypeVar("Job")
Item = TypeVar("Item")
Cut = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class EncodeProgress:
    """How far one process has come with one kind of encodings; clips, the long part, come last."""

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
    """Encode what of a source is not in `folder` yet, yielding this process's progress after each batch.

    Yields nothing where all is there. Stopped or killed, it goes on where it was. Encodings of other clips, or by
    other settings, stay in the folder, but its index tells of this source alone.

    Args:
        encoder_identity: tells these encoders from any others (`identify`).
        rank: which of `ranks` processes this is; each makes its share, and the first one writes the index.
        wait: returns when all processes have called it.
        on_wait: called if another command writes to this cache, whose end is waited for.

    Raises:
        ValueError: the settings do not fit the encoders, or a clip or image cannot be used; names it.
        FloatingPointError: an encoder gave values that are not finite.
    """
    whole = plan(source, settings, encoder_identity, encoders.unread.autoencoder.compression)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder, on_wait) if rank == 0 else nullcontext():
        wait()
        there = {key for shard in read_shards(folder) for key in shard.keys}
        todo = whole.share(rank, ranks).without(there)
        yield from _made(todo, encoders, folder, settings)
        wait()
        if rank == 0:
            shards = read_shards(folder)
            if gone := missing(whole.entries, shards):
                raise ValueError(
                    f"{folder}: {len(gone)} encodings of other processes are missing; encode again to finish"
                )
            write_index(folder, whole.entries, shards, settings=settings, encoders=encoder_identity)
            tidy(folder)
        wait()


def _made(todo: Plan, encoders: Encoders, folder: Path, settings: EncodeSettings) -> Iterator[EncodeProgress]:
    """Make all that is planned."""
    rows = settings.shard
    batch = settings.batch or BATCH

    def text(_: object) -> Shelf[str]:
        run, names = lambda captions: {"text": encoders.text(captions, cut=True)}, todo.captions
        return Shelf(folder, "text", run, batch=batch, rows=rows, names=names)

    def references(shown: list[Image.Image]) -> Shelf[list[Image.Image]]:
        run, few, names = partial(encode_references, encoders=encoders), max(1, batch // len(shown)), todo.views
        return Shelf(folder, "references", run, batch=few, rows=rows, names=names)

    def latents(cut: Cut) -> Shelf[Cut]:
        run, few, names = partial(encode_clips, encoders=encoders), settings.batch_of(cut[0].size // 3), todo.clips
        return Shelf(folder, "latents", run, batch=few, rows=rows, names=names)

    views_of, cuts = _results(views, todo.views, settings), _results(cut_clip, todo.clips, settings)
    yield from _counted("captions", len(todo.captions), _shelved(todo.captions.items(), lambda _: None, text))
    yield from _counted("references", len(todo.views), _shelved(views_of, len, references))
    yield from _counted("clips", len(todo.clips), _shelved(cuts, lambda cut: (cut[0].shape, cut[1] is None), latents))


def _counted(what: What, total: int, made: Iterator[int]) -> Iterator[EncodeProgress]:
    return (EncodeProgress(what, done, total) for done in accumulate(made))


def encode_clips(cuts: list[Cut], encoders: Encoders) -> dict[str, Tensor]:
    """Latents of clips of one size, with masks where they have them."""
    mean, std = encoders.autoencoder.posterior(torch.from_numpy(np.stack([pixels for pixels, _ in cuts])))
    rows = {"mean": mean, "logvar": 2 * std.clamp(min=LEAST_STD).log()}  # (n, T, C, h, w) each
    masks = [mask for _, mask in cuts if mask is not None]
    return {**rows, "mask": torch.from_numpy(np.stack(masks))} if masks else rows  # (n, T, h, w)


def encode_references(images: list[list[Image.Image]], encoders: Encoders) -> dict[str, Tensor]:
    """Tokens of images, each in equally many views."""
    tokens = encoders.image([view for shown in images for view in shown])
    return {"references": tokens.unflatten(0, (len(images), -1))}  # (n, 1 + N, M, E)


def _shelved(
    items: Iterable[tuple[str, Item]], shape_of: Callable[[Item], Hashable], shelf_for: Callable[[Item], Shelf[Item]]
) -> Iterator[int]:
    """Put each item on the shelf of its shape; whatever happens, what was encoded until then is written."""
    shelves: dict[Hashable, Shelf[Item]] = {}
    try:
        for key, item in items:
            shape = shape_of(item)
            if shape not in shelves:
                shelves[shape] = shelf_for(item)
            if made := shelves[shape].put(key, item):
                yield made
        for shelf in shelves.values():
            if made := shelf.encode():
                yield made
    finally:
        for shelf in shelves.values():
            shelf.close()


def _results(
    function: Callable[[Job], Item], jobs: dict[str, Job], settings: EncodeSettings
) -> Iterator[tuple[str, Item]]:
    """What worker processes make of the jobs, in their order.

    Raises:
        ValueError: one cannot be done; names its file.
    """
    keys, todo = list(jobs), list(jobs.values())
    outcomes = in_workers(function, todo, workers=settings.workers, seconds=settings.patience, in_order=True)
    for index, outcome in outcomes:
        if isinstance(outcome, Failure):
            name = str(todo[index])
            raise ValueError(outcome.message if name in outcome.message else f"{name}: {outcome.message}")
        yield keys[index], outcome
