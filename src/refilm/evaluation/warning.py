"""What a reader of a result must know: where its numbers may mislead."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from refilm.evaluation.result import MetricRecord, ScoredVideo, Source

STILLS_WIN = "smoothness"
MOTION = ("dynamic_degree", "amplitude")


def warnings_about(source: Source, metrics: Mapping[str, MetricRecord], videos: Sequence[ScoredVideo]) -> Iterator[str]:
    """The warnings of a result, each one sentence."""
    present = {name: record for name, record in metrics.items() if record.absent is None}
    yield from _shared_encoders(source, present)
    columns = {column.name for record in present.values() for column in record.columns}
    if any(STILLS_WIN in column for column in columns) and not columns.intersection(MOTION):
        yield "Smoothness is measured without dynamic degree: a video that does not move has the best smoothness."
    failed = [video for video in videos if video.error is not None]
    if failed:
        yield (
            f"{len(failed)} of {len(videos)} videos are missing or cannot be read; they count with the worst value of "
            f"each column. The first: {failed[0].case}: {failed[0].error}"
        )


def _shared_encoders(source: Source, metrics: Mapping[str, MetricRecord]) -> Iterator[str]:
    reads = source.details.get("image_encoder")
    if not isinstance(reads, str):
        return
    for name, record in metrics.items():
        encoder = record.identity.get("encoder", "").partition(",")[0]
        if encoder and _name(encoder) == _name(reads):
            yield (
                f"{name} measures with the encoder that the adapter reads ({reads}), which favors this adapter; "
                "compare it with others by another metric."
            )


def _name(encoder: str) -> str:
    """The last part of a Hub id or a path."""
    return PurePosixPath(encoder).name.lower()
