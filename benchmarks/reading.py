"""What reading a video costs: peak memory, live frames and seconds, for several frame sizes.

    python benchmarks/reading.py [--frames 170]

Each line is a separate process that decodes one video: `sample` like encoding, `inspect` like `refilm data check`.
Frames are plain gray, so that the codec costs almost nothing; HDR frames are tone-mapped. Memory is the peak of the
process minus its memory before the video was opened. Writes benchmarks/results/reading.json, or `--out`.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from record import RESULTS, add_out, target, write

RESULT = RESULTS / "reading.json"
CLIPS = {  # width, height, bits, codec, container
    "1080p": (1920, 1080, 8, "libx264", "mp4"),
    "1080p HDR": (1920, 1080, 10, "libx264", "mp4"),
    "4K": (3840, 2160, 8, "libx264", "mp4"),
    "GIF 7000 x 7000": (7000, 7000, 8, "gif", "gif"),
}
PQ, BT2020 = 16, 9


def make(path: Path, name: str, frames: int) -> None:
    """Write a plain gray video."""
    width, height, bits, codec, container = CLIPS[name]
    kind = "rgb8" if codec == "gif" else "yuv420p" if bits == 8 else "yuv420p10le"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=24, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = width, height, kind
        if bits > 8:
            stream.codec_context.color_trc, stream.codec_context.color_primaries = PQ, BT2020
        rows = height if kind == "rgb8" else height * 3 // 2
        frame = av.VideoFrame.from_ndarray(
            np.full((rows, width), 90 if bits == 8 else 600, np.uint8 if bits == 8 else np.uint16),
            format="gray" if kind == "rgb8" else kind,
        ).reformat(format=kind)
        for number in range(frames):
            frame.pts, frame.time_base = number, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def measure(path: Path, how: str) -> None:
    """Read a video in this process and print what it costs."""
    from refilm.media.inspecting import inspect_video
    from refilm.media.sampling import sample_video

    before, started, live = _peak(), time.perf_counter(), 0
    if how == "inspect":
        inspect_video(path)
    else:
        for number, _ in enumerate(sample_video(path, fps=24)):
            if number % 20 == 0:
                live = max(live, sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()))
    seconds = time.perf_counter() - started
    print(json.dumps({"megabytes": _peak() - before, "live_frames": live or None, "seconds": round(seconds, 2)}))


def _peak() -> int:
    """Peak megabytes of this process, on Linux only: the value of getrusage starts at the parent's peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=170, help="Frames per video. Default: %(default)s.")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    add_out(parser, RESULT)
    options = parser.parse_args()
    if options.measure:
        return measure(Path(options.measure[0]), options.measure[1])
    out, result = target(parser, options.out, RESULT), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in CLIPS:
            path = Path(folder) / "clip"
            make(path, name, min(options.frames, 30 if "7000" in name else options.frames))
            for how in ("sample", "inspect"):
                command = [sys.executable, __file__, "--measure", str(path), how]
                line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                result[f"{name}, {how}"] = json.loads(line)
                print(name, how, line, end="", flush=True)
    write(out, {"frames": options.frames, **result})


if __name__ == "__main__":
    main()
