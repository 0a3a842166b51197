"""PyAV's FFmpeg, and the encoders of the videos that refilm writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from refilm.doctor.checks import Check, ok, problem


@dataclass(frozen=True)
class EncoderFacts:
    """Versions, and whether each encoder exists."""

    pyav: str
    ffmpeg: str
    encoders: Mapping[str, bool]
    """By suffix and name, such as `.mp4 (libx264)`."""


def gather() -> EncoderFacts:
    """Ask PyAV."""
    import av
    from av.codec.codec import Codec, UnknownCodecError

    from refilm.media.writing import CODECS

    def exists(name: str) -> bool:
        try:
            Codec(name, "w")
        except UnknownCodecError:
            return False
        return True

    encoders = {f"{suffix} ({codec.name})": exists(codec.name) for suffix, codec in CODECS.items()}
    return EncoderFacts(av.__version__, av.ffmpeg_version_info, encoders)


def judge(facts: EncoderFacts) -> Iterator[Check]:
    """The check of the encoders."""
    finding = f"PyAV {facts.pyav}, FFmpeg {facts.ffmpeg}"
    missing = [name for name, exists in facts.encoders.items() if not exists]
    if missing:
        yield problem(
            "video encoders",
            f"{finding}; missing for {', '.join(missing)}",
            "Install PyAV's own wheel, which has them: `pip install --force-reinstall --only-binary av av`.",
        )
        return
    yield ok("video encoders", f"{finding}; {', '.join(facts.encoders)}")
