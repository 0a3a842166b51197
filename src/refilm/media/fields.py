"""Interlaced frames hold two moments, line by line: they become progressive ones by FFmpeg's bwdif. Knows no files."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

TOP_FIRST = {2: True, 3: False, 4: False, 5: True}  # FFmpeg's AVFieldOrder: whose lines are the earlier moment
SPOKEN = ("cavs", "cfhd", "dnxhd", "dvvideo", "ffv1", "h264", "hevc", "mpeg2video", "mpeg4", "prores", "vc1", "wmv3")
"""Codecs in which each frame says whether it is interlaced, by FFmpeg's names. Those of all others are silent."""


def top_first(codec: str, order: int) -> bool | None:
    """Whether the upper lines of a stream's frames come first; None: they are progressive, or speak for themselves.

    Args:
        codec: FFmpeg's name of it.
        order: what the container says of the stream, an AVFieldOrder.
    """
    return None if codec in SPOKEN else TOP_FIRST.get(order)


def progressive(
    frames: Iterator[VideoFrame], time_base: Fraction, top_first: bool | None = None
) -> Iterator[VideoFrame]:
    """The same frames, as many, at the same times; from the first interlaced one on, these are made progressive.

    Whether a frame is, and which field comes first, is what the frame itself says.

    Args:
        top_first: given where all frames are interlaced and do not say so: whether the upper lines come first.
    """
    graph, kind = None, None
    for frame in frames:
        if graph is not None and _kind(frame) != kind:  # bwdif looks at neighbors, which must be of one size
            yield from _filtered(graph, None)
            graph = None
        if graph is None and (frame.interlaced_frame or top_first is not None):
            graph, kind = _bwdif(frame, time_base, top_first), _kind(frame)
        if graph is None:
            yield frame
        else:
            yield from _filtered(graph, frame)
    if graph is not None:
        yield from _filtered(graph, None)


def _kind(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _bwdif(frame: VideoFrame, time_base: Fraction, top_first: bool | None) -> Graph:
    which = "deint=interlaced" if top_first is None else f"deint=all:parity={'tff' if top_first else 'bff'}"
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("bwdif", f"mode=send_frame:{which}"), graph.add("buffersink"))
    graph.configure()
    return graph


def _filtered(graph: Graph, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """What comes out when a frame goes in; None: when no more will come."""
    graph.push(frame)
    while True:
        try:
            made = graph.pull()
        except (av.BlockingIOError, av.EOFError):  # it wants another frame first, or was emptied
            return
        assert isinstance(made, VideoFrame)
        yield made
