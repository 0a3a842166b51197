"""Interlaced frames hold two moments, line by line: they become progressive ones by FFmpeg's bwdif. Knows no files."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame


def progressive(frames: Iterator[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """The same frames, as many, at the same times; from the first interlaced one on, these are made progressive.

    Whether a frame is, and which field comes first, is what the frame itself says.
    """
    graph, kind = None, None
    for frame in frames:
        if graph is not None and _kind(frame) != kind:  # bwdif looks at neighbors, which must be of one size
            yield from _filtered(graph, None)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, kind = _bwdif(frame, time_base), _kind(frame)
        if graph is None:
            yield frame
        else:
            yield from _filtered(graph, frame)
    if graph is not None:
        yield from _filtered(graph, None)


def _kind(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _bwdif(frame: VideoFrame, time_base: Fraction) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
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
