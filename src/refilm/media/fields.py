"""Deinterlace frames with FFmpeg's bwdif. Works on frames, not on files."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

TOP_FIRST = {2: True, 3: False, 4: False, 5: True}  # FFmpeg's AVFieldOrder: whether the top field is the earlier one
PER_FRAME = ("cavs", "cfhd", "dnxhd", "dvvideo", "ffv1", "h264", "hevc", "mpeg2video", "mpeg4", "prores", "vc1", "wmv3")
"""FFmpeg's names of the codecs in which each frame declares whether it is interlaced; others do not."""


def top_first(codec: str, order: int) -> bool | None:
    """Whether the top field of a stream's frames comes first. None: progressive, or each frame declares it.

    Args:
        codec: FFmpeg's name of the codec.
        order: the field order declared by the container, an AVFieldOrder.
    """
    return None if codec in PER_FRAME else TOP_FIRST.get(order)


def progressive(
    frames: Iterator[VideoFrame], time_base: Fraction, top_first: bool | None = None
) -> Iterator[VideoFrame]:
    """The same number of frames at the same times, deinterlaced from the first interlaced frame on.

    Each frame declares whether it is interlaced and which field comes first.

    Args:
        top_first: set it if all frames are interlaced without declaring it: whether the top field comes first.
    """
    graph, kind = None, None
    for frame in frames:
        if graph is not None and _kind(frame) != kind:  # bwdif uses neighboring frames, which must have the same size
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
    """The output frames for one input frame; None flushes the filter."""
    graph.push(frame)
    while True:
        try:
            made = graph.pull()
        except (av.BlockingIOError, av.EOFError):  # it needs another frame, or was flushed
            return
        assert isinstance(made, VideoFrame)
        yield made
