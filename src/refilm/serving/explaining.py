"""Heat maps of a job's video: which parts of its images, and which of its subjects, each part of it read."""

from collections.abc import Sequence

from refilm.control import Subject
from refilm.generation.attention_maps import AttentionMaps
from refilm.generation.conditions import images_of
from refilm.generation.pipeline import Pipeline
from refilm.media import Video


def heat_maps(pipeline: Pipeline, maps: AttentionMaps, video: Video, subjects: Sequence[Subject]) -> dict[str, Video]:
    """Heat maps by name: NAME-VIEW.attention of each image that the video read, and subjects if there are several.

    Args:
        pipeline: the model.
        maps: what was recorded while the video was sampled.
        video: the video.
        subjects: its subjects.

    Raises:
        UserError: the video read no reference.
    """
    read = (maps.strengths()[:, 0] > 0).any(dim=2).any(dim=0).tolist()  # (blocks, S, N) -> (S,)
    found = {
        f"{subject.name}-{view + 1}.attention": pipeline.explain(
            maps, video, image, subject=number, view=view
        ).side_by_side()
        for number, subject in enumerate(subjects)
        if read[number]
        for view, image in enumerate(images_of(subject))
    }
    if len(subjects) > 1:
        names = [subject.name for subject in subjects]
        found["all.subjects"] = pipeline.explain_subjects(maps, video, names).side_by_side()
    return found
