"""The files to inspect for each clip, and the results by clip. Opens no files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from refilm.data.checking.findings import FileRecord, Finding
from refilm.data.checking.hashes import ImageHash
from refilm.data.checking.inspecting import ClipPart, ImageToInspect, Inspected, InspectedFile, VideoToInspect
from refilm.data.examples import VIDEOS, Example, Listed
from refilm.data.settings import CheckSettings

THUMBNAILS = 64 * 2**20  # bytes of thumbnails that are kept for the page


@dataclass
class Inspections:
    """The results so far."""

    images: dict[ImageToInspect, Inspected] = field(default_factory=dict)
    clips: dict[int, Inspected] = field(default_factory=dict)
    """Results by clip number."""
    masks: dict[int, Inspected] = field(default_factory=dict)
    """Results of video masks, by clip number."""
    records: dict[Path, FileRecord] = field(default_factory=dict)
    thumbnails: int = 0
    """Total size of the thumbnails so far, in bytes."""

    @property
    def image_hashes(self) -> dict[Path, ImageHash]:
        """The hashes of all readable references."""
        return {
            file.path: seen.image_hashes[0] for file, seen in self.images.items() if seen.image_hashes and not file.mask
        }


class FileList:
    """The files of a data set, each once, without missing files and files outside the folder."""

    def __init__(self, listed: Sequence[Listed], settings: CheckSettings):
        self.settings = settings
        absent = {fault.file for one in listed for fault in one.faults}
        self.examples = {number: one.example for number, one in enumerate(listed) if one.example is not None}
        images: dict[ImageToInspect, None] = {}
        self._videos: dict[tuple[Path, bool], list[int]] = defaultdict(list)
        for number, example in self.examples.items():
            images |= dict.fromkeys(file for file in images_of(example) if file.path not in absent)
            for path, mask in videos_of(example):
                if path not in absent:
                    self._videos[path, mask].append(number)
        self.images = list(images)

    def __len__(self) -> int:
        return len(self.images) + len(self._videos)

    def videos(self, image_hashes: dict[Path, ImageHash]) -> list[VideoToInspect]:
        """The videos with their clips; requires the hashes of the references."""

        def clip(example: Example) -> ClipPart:
            return ClipPart(
                example.start, example.end, tuple(image_hashes.get(item.image) for item in example.references)
            )

        return [
            VideoToInspect(
                path,
                tuple(clip(self.examples[number]) for number in numbers),
                self.settings,
                mask,
                still=not mask and self.examples[numbers[0]].still,
            )
            for (path, mask), numbers in self._videos.items()
        ]

    def store(self, inspections: Inspections, file: ImageToInspect | VideoToInspect, seen: InspectedFile) -> None:
        """Store the result of a file."""
        if seen.record is not None:
            inspections.records[file.path] = seen.record
        parts = seen.parts
        inspections.thumbnails += sum(len(part.thumbnail) for part in parts)
        if inspections.thumbnails > THUMBNAILS:
            parts = tuple(replace(part, thumbnail=b"") for part in parts)
        if isinstance(file, ImageToInspect):
            inspections.images[file] = parts[0]
        else:
            clips = inspections.masks if file.mask else inspections.clips
            clips |= zip(self._videos[file.path, file.mask], parts, strict=True)

    def findings(self, number: int, inspections: Inspections) -> list[Finding]:
        """The findings in the files of a clip."""
        example, clip, mask = self.examples[number], inspections.clips.get(number), inspections.masks.get(number)
        seen = [clip, mask, *(inspections.images.get(file) for file in images_of(example))]
        findings = [finding for one in seen if one is not None for finding in one.findings]
        if clip is not None and mask is not None and 0 < mask.frames < min(clip.frames, self.settings.frames):
            counts = f"the mask has {mask.frames} frames, its clip {clip.frames}"
            message = f"{example.mask}: {counts}; use a mask of the same length"
            findings.append(Finding(kind="mask", message=message))
        return findings


def images_of(example: Example) -> list[ImageToInspect]:
    """A clip's image files: references and masks."""
    files = [ImageToInspect(item.image, mask=False) for item in example.references]
    files += [ImageToInspect(item.mask, mask=True) for item in example.references if item.mask is not None]
    if example.mask is not None and not _is_video(example.mask):
        files.append(ImageToInspect(example.mask, mask=True))
    return files


def videos_of(example: Example) -> list[tuple[Path, bool]]:
    """A clip's video files, each with a flag that marks the mask."""
    mask = [(example.mask, True)] if example.mask is not None and _is_video(example.mask) else []
    return [(example.video, False), *mask]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS
