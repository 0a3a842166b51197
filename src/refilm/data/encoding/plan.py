"""Plan the encoding of a source: the parts of each clip and the encodings to create, each once. Opens no files."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from refilm.data.cutting import AugmentJob, CutClip
from refilm.data.encoding.buckets import sizes
from refilm.data.encoding.index import Entry
from refilm.data.encoding.keys import EncoderIdentity, latents_key, references_key, text_key
from refilm.data.samples import Sample, Source
from refilm.data.settings import EncodeSettings
from refilm.errors import UserError
from refilm.geometry import Compression

Job = TypeVar("Job")


@dataclass(frozen=True)
class EncodePlan:
    """The clips in order, and the encodings to create, by key."""

    entries: list[Entry] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=dict)
    views: dict[str, AugmentJob] = field(default_factory=dict)
    clips: dict[str, CutClip] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.captions) + len(self.views) + len(self.clips)

    def part_of(self, rank: int, ranks: int) -> "EncodePlan":
        """The part of one process. It does not depend on the cache, so all processes divide the work identically."""

        def part(jobs: dict[str, Job]) -> dict[str, Job]:
            return dict(list(jobs.items())[rank::ranks])

        return replace(self, captions=part(self.captions), views=part(self.views), clips=part(self.clips))

    def without(self, there: set[str]) -> "EncodePlan":
        """The encodings that are not cached yet."""

        def rest(jobs: dict[str, Job]) -> dict[str, Job]:
            return {key: job for key, job in jobs.items() if key not in there}

        return replace(self, captions=rest(self.captions), views=rest(self.views), clips=rest(self.clips))


def plan(source: Source, settings: EncodeSettings, identity: EncoderIdentity, compression: Compression) -> EncodePlan:
    """The plan for a whole source.

    Raises:
        UserError: there are no clips, a clip has no reference, or the settings do not fit the autoencoder.
    """
    if not len(source):
        raise UserError("there are no clips to encode; provide at least one")
    allowed = sizes(settings, compression)
    whole = EncodePlan()
    for index in range(len(source)):
        sample = source[index]
        if not sample.references:
            raise UserError(f"{sample.clip.name}: has no reference; add one, or run refilm data prepare")
        entry = entry_of(sample, settings, identity)
        whole.entries.append(entry)
        whole.captions.update(zip(entry.text, sample.captions, strict=True))
        for key, image in zip(entry.references, sample.references, strict=True):
            whole.views[key] = AugmentJob(image, settings.views, settings.background)
        whole.clips[entry.latents] = CutClip(
            sample.clip, sample.mask, settings.fps, _frames(sample, settings), settings.buckets, allowed, compression
        )
    return whole


def _frames(sample: Sample, settings: EncodeSettings) -> int:
    return 1 if sample.clip.still else settings.frames


def entry_of(sample: Sample, settings: EncodeSettings, identity: EncoderIdentity) -> Entry:
    """A clip's entry in the index."""
    return Entry(
        video=sample.clip.name,
        captions=sample.captions,
        subject=sample.subject,
        source=sample.clip.identity,
        latents=latents_key(sample.clip, sample.mask, settings, identity),
        text=tuple(text_key(caption, identity) for caption in sample.captions),
        references=tuple(references_key(image, settings, identity) for image in sample.references),
    )
