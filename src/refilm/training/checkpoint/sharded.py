"""Sharded checkpoints: save and load the DTensors (FSDP2) of a run's state with torch.distributed.checkpoint.

Every process writes its shards as safetensors files. They can be loaded on any number of processes. Independent of
what the tensors are.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor import empty as empty_sharded

from refilm.errors import MachineError

PORTION = 1 << 30  # bytes of one process per file; all of them are in memory while the file is written


def take_apart(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, DTensor]]:
    """Split a state: itself with None in place of DTensors, and these by path, such as "weights/out.bias"."""
    sharded: dict[str, DTensor] = {}

    def take(path: str, leaf: Any) -> Any:
        if not isinstance(leaf, DTensor):
            return leaf
        assert leaf.device_mesh.ndim == 1, "shards lie along one dimension of processes"
        sharded[path] = leaf
        return None

    return _mapped(state, take), sharded


def put_together(state: Mapping[str, Any], sharded: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inverse of `take_apart`."""
    return _mapped(state, lambda path, leaf: sharded.get(path, leaf))


def mesh_of(state: Mapping[str, Any]) -> DeviceMesh | None:
    """The processes over which a state is sharded; None: it is not sharded."""
    return next((tensor.device_mesh for tensor in take_apart(state)[1].values()), None)


def describe(sharded: Mapping[str, DTensor]) -> dict[str, dict[str, Any]]:
    """Shape, dtype and sharded dimension of each, in plain values."""
    return {
        path: {"shape": list(tensor.shape), "dtype": tensor.dtype, "dim": _sharded_dim(tensor)}
        for path, tensor in sharded.items()
    }


def save_shards(folder: Path, sharded: Mapping[str, DTensor]) -> None:
    """Write all shards into `folder`; every process takes part.

    Raises:
        OSError: a process could not write its shards; the same for all.
    """
    files, size = {}, 0
    for path, tensor in sharded.items():
        files[path] = 1 + size // (PORTION * tensor.device_mesh.size())
        size += tensor.numel() * tensor.itemsize
    writer = dcp.HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=files, save_distributed=True)
    try:
        dcp.save(dict(sharded), storage_writer=writer)
    except CheckpointException as error:
        rank, (cause, _) = next(iter(error.failures.items()))
        if not isinstance(cause, Exception):  # a KeyboardInterrupt
            raise cause from None
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror, cause.filename or str(folder)) from error
        raise MachineError(f"{folder}: process {rank} could not write its shards: {cause}") from error


def load_shards(folder: Path, described: Mapping[str, Mapping[str, Any]], mesh: DeviceMesh | None) -> dict[str, Tensor]:
    """Load saved tensors: sharded over `mesh`, whose processes all take part, or without it whole and on the CPU."""
    tensors: dict[str, Tensor] = {}
    for path, about in described.items():
        shape, dtype, dim = about["shape"], about["dtype"], about["dim"]
        if mesh is None:
            tensors[path] = torch.empty(shape, dtype=dtype)
        else:
            placements = [Replicate() if dim is None else Shard(dim)]
            tensors[path] = empty_sharded(*shape, dtype=dtype, device_mesh=mesh, placements=placements)
    dcp.load(dict(tensors), storage_reader=dcp.HuggingFaceStorageReader(str(folder)), no_dist=mesh is None)
    return tensors


def _sharded_dim(tensor: DTensor) -> int | None:
    (placement,) = tensor.placements
    return placement.dim if isinstance(placement, Shard) else None


def _mapped(tree: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    if isinstance(tree, Mapping):
        return {key: _mapped(value, change, f"{path}/{key}" if path else str(key)) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(value, change, f"{path}/{index}") for index, value in enumerate(tree))
    return change(path, tree)
