"""Find duplicate clips, and equal images that are listed for different subjects."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from refilm.data.checking.findings import Finding
from refilm.data.checking.hashes import ImageHash, near_duplicates
from refilm.data.examples import Example, Listed


def repeated_clips(
    listed: Sequence[Listed], image_hashes: Mapping[int, Sequence[ImageHash]], hashes: Mapping[Path, str]
) -> Iterator[tuple[int, Finding]]:
    """Clips that overlap with another clip of the same content, and near-duplicates: (clip number, finding).

    Args:
        image_hashes: three hashes for each readable clip.
        hashes: sha256 of each file.
    """
    reported = set()
    for number, earlier in _overlapping(listed, image_hashes, hashes):
        reported.add(number)
        message = f"{_example(listed[number]).video}: has the same content as {listed[earlier].place}; keep one"
        yield number, Finding(kind="duplicate", message=message)
    for number, earlier in near_duplicates(
        (i, images) for i, images in sorted(image_hashes.items()) if i not in reported
    ):
        video, other = _example(listed[number]).video, _example(listed[earlier]).video
        if hashes[video] != hashes[other]:
            message = f"{video}: is nearly identical to {listed[earlier].place}; if it is a copy, keep one"
            yield number, Finding(kind="similar", message=message)


def repeated_images(
    listed: Sequence[Listed], image_hashes: Mapping[Path, ImageHash], hashes: Mapping[Path, str]
) -> Iterator[tuple[int, Finding]]:
    """References listed twice for one clip, or for clips without the same subject name: (clip number, finding).

    Args:
        image_hashes: the hash of each readable image.
        hashes: sha256 of each file.
    """
    originals = _originals(image_hashes, hashes)
    firsts: dict[str, tuple[int, str]] = {}
    for number, one in enumerate(listed):
        own: set[str] = set()
        for image in (
            [item.image for item in one.example.references if item.image in image_hashes] if one.example else []
        ):
            digest = hashes[image]
            earlier, theirs = firsts.setdefault(originals[digest], (number, digest))
            if digest in own:
                message = f"{image}: is listed twice in the references of this clip; remove one"
                yield number, Finding(kind="duplicate", message=message)
            elif earlier != number and not _same_subject(one, listed[earlier]):
                alike = "is the same image as" if digest == theirs else "is nearly identical to"
                message = (
                    f"{image}: {alike} a reference of {listed[earlier].place}; if both show the same subject, "
                    "set the same `subject` in both lines of the manifest"
                )
                yield number, Finding(kind="duplicate" if digest == theirs else "similar", message=message)
            own.add(digest)


def _overlapping(
    listed: Sequence[Listed], numbers: Iterable[int], hashes: Mapping[Path, str]
) -> Iterator[tuple[int, int]]:
    """Pairs of clips with the same content and subject whose time ranges overlap."""
    groups: dict[tuple[str, str | None], list[tuple[float, int]]] = defaultdict(list)
    for number in numbers:
        example = _example(listed[number])
        groups[hashes[example.video], example.subject].append((example.start or 0.0, number))
    for group in groups.values():
        until, holder = -math.inf, -1
        for start, number in sorted(group):
            if start < until:
                yield max(number, holder), min(number, holder)
            end = _example(listed[number]).end
            if (end or math.inf) > until:
                until, holder = end or math.inf, number


def _originals(image_hashes: Mapping[Path, ImageHash], hashes: Mapping[Path, str]) -> dict[str, str]:
    """For each image's sha256, that of the first near-duplicate."""
    distinct = list({hashes[path]: image for path, image in image_hashes.items()}.items())
    originals = {digest: digest for digest, _ in distinct}
    for number, earlier in near_duplicates((i, (image,)) for i, (_, image) in enumerate(distinct)):
        originals[distinct[number][0]] = distinct[earlier][0]
    return originals


def _same_subject(one: Listed, other: Listed) -> bool:
    subject = _example(one).subject
    return subject is not None and subject == _example(other).subject


def _example(one: Listed) -> Example:
    assert one.example is not None
    return one.example
