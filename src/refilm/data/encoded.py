"""Clips encoded once: latents, caption embeddings and reference tokens, in shards on the disk.

A shard appears by one rename, so an interrupted encoding goes on with the first shard that is missing.
Letters: n clips of a shard; T, C, h, w as in latents; V captions of L tokens; R references of M tokens.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from refilm.data.samples import Sample, Source
from refilm.encoders import Encoders

SHARD = 512
BATCH = 16


def encode(
    source: Source,
    encoders: Encoders,
    folder: Path,
    *,
    encoder_identity: str,
    rank: int = 0,
    ranks: int = 1,
) -> Iterator[tuple[int, int]]:
    """Encode a source into `folder`, shard by shard, yielding (clips done, clips in all).

    Args:
        encoder_identity: tells these encoders from any other.
        rank: which of `ranks` processes this is; each takes every `ranks`-th shard.

    Raises:
        ValueError: the folder holds another source's encodings, or those of other encoders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, {"source": source.identity, "encoders": encoder_identity, "clips": len(source), "shard": SHARD})
    for start in range(rank * SHARD, len(source), ranks * SHARD):
        stop = min(start + SHARD, len(source))
        path = _shard_path(folder, start)
        if not path.exists():
            rows = range(start, stop, BATCH)
            parts = [_encode_batch([source[i] for i in range(a, min(a + BATCH, stop))], encoders) for a in rows]
            shard = {name: torch.cat([part[name] for part in parts]).contiguous() for name in parts[0]}
            temporary = path.with_suffix(".tmp")
            save_file(shard, temporary)
            os.replace(temporary, path)
        yield stop, len(source)


def _claim(folder: Path, meaning: dict[str, object]) -> None:
    index = folder / "index.json"
    if not index.exists():
        temporary = index.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(meaning, indent=2))
        os.replace(temporary, index)
    elif (found := json.loads(index.read_text())) != meaning:
        different = sorted(key for key in meaning if found.get(key) != meaning[key])
        raise ValueError(
            f"{folder}: was encoded with another {', '.join(different)}; choose another folder or remove it"
        )


def _shard_path(folder: Path, start: int) -> Path:
    return folder / f"clips-{start:08d}.safetensors"


def _encode_batch(samples: list[Sample], encoders: Encoders) -> dict[str, Tensor]:
    mean, std = encoders.autoencoder.posterior(torch.from_numpy(np.stack([sample.video for sample in samples])))
    text = encoders.text([caption for sample in samples for caption in sample.captions])
    references = encoders.image([picture for sample in samples for picture in sample.references])
    return {
        "mean": mean.half(),  # (n, T, C, h, w)
        "std": std.half(),  # (n, T, C, h, w)
        "text": text.unflatten(0, (len(samples), -1)).half(),  # (n, V, L, D)
        "references": references.unflatten(0, (len(samples), -1)).half(),  # (n, R, M, E)
    }


class EncodedSet:
    """Encoded clips, held in memory.

    Raises:
        ValueError: the folder is no encoded set, or shards are missing.
    """

    def __init__(self, folder: Path):
        index = folder / "index.json"
        if not index.is_file():
            raise ValueError(f"{folder}: not an encoded data set (no index.json in it)")
        self.meaning = json.loads(index.read_text())
        paths = [_shard_path(folder, start) for start in range(0, self.meaning["clips"], self.meaning["shard"])]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise ValueError(f"{folder}: {len(missing)} shards are missing, {missing[0]} first; encode again to finish")
        shards = [load_file(path) for path in paths]
        self.tensors = {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}

    def __len__(self) -> int:
        return len(self.tensors["mean"])

    def latents(self, indices: Tensor, noise: Tensor) -> Tensor:
        """Latents drawn from the posterior, (B, T, C, h, w) float32; `noise` is a unit normal of that shape."""
        return self.tensors["mean"][indices].float() + self.tensors["std"][indices].float() * noise

    def text(self, indices: Tensor, which: Tensor) -> Tensor:
        """Embeddings of one caption of each clip, (B, L, D) float32."""
        return self.tensors["text"][indices, which].float()

    def references(self, indices: Tensor, which: Tensor) -> Tensor:
        """Tokens of one reference of each clip, (B, M, E) float32."""
        return self.tensors["references"][indices, which].float()
