"""What comparing row checksums costs at every read of a cache, against memory-mapped rows without checksums.

    python benchmarks/cache.py [--turns 20]

Measures medians of milliseconds of one thread, in turns, from the page cache: the latents of a clip (mean and logvar,
float16) with CogVideoX-2B's and the pocket model's shape, read from one cache shard; and, separately, the sha256 of the
whole cache shard, per clip. Writes benchmarks/results/cache.json, or `--out`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import RESULTS, add_out, target, write
from safetensors import safe_open

from refilm.data.encoding.keys import digest
from refilm.data.encoding.rows import ShardReader
from refilm.data.encoding.shards import write_shard
from refilm.files import sha256_of

RESULT = RESULTS / "cache.json"
SHAPES = {"cogvideox-2b": (13, 16, 60, 90), "pocket": (5, 16, 8, 8)}  # (T, C, h, w)
ROWS = 16


def mapped(path: Path) -> Callable[[int], float]:
    """The plain twin: memory-mapped rows. They are summed, because a page is read only when it is used."""
    with safe_open(path, "pt") as file:
        tensors = [file.get_tensor(name) for name in ("mean", "logvar")]
    return lambda row: sum(float(tensor[row].float().sum()) for tensor in tensors)


def compared(path: Path) -> Callable[[int], float]:
    """Rows as training reads them."""
    reader = ShardReader(path)
    return lambda row: sum(float(reader.read(name, row)[0].float().sum()) for name in ("mean", "logvar"))


def milliseconds(work: Callable[[], object]) -> float:
    """Processor milliseconds of a function."""
    started = time.process_time()
    work()
    return 1000 * (time.process_time() - started)


def measure(folder: Path, shape: tuple[int, ...], turns: int) -> dict[str, float]:
    """Milliseconds per clip, for each way to read."""
    rows = torch.randn(ROWS, *shape).half()
    shard = write_shard(
        folder, "latents", [digest(str(shape), row) for row in range(ROWS)], {"mean": rows, "logvar": rows - 1}
    )
    path = folder / shard.name
    plain, own = mapped(path), compared(path)
    assert [plain(row) for row in range(ROWS)] == [own(row) for row in range(ROWS)]
    taken: dict[str, list[float]] = {"mapped": [], "compared": [], "sha256": []}
    for _ in range(turns):
        taken["mapped"].append(milliseconds(lambda: [plain(row) for row in range(ROWS)]) / ROWS)
        taken["compared"].append(milliseconds(lambda: [own(row) for row in range(ROWS)]) / ROWS)
        taken["sha256"].append(milliseconds(lambda: sha256_of(path)) / ROWS)
    return {way: round(statistics.median(times), 4) for way, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="Turns of each way. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        clips = {name: measure(Path(folder), shape, options.turns) for name, shape in SHAPES.items()}
    write(out, {"milliseconds_a_clip": clips, "rows": ROWS, "turns": options.turns})


if __name__ == "__main__":
    main()
