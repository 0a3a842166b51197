"""Metrics that suites ask for and that refilm does not run. They are reported as absent, never filled in."""

from collections.abc import Sequence
from dataclasses import dataclass

from refilm.evaluation.metric import Column


@dataclass(frozen=True)
class Absent:
    """A metric without an implementation."""

    columns: Sequence[Column]
    reason: str
    """Why it is absent, and what would be needed."""


def _row(name: str, description: str, reason: str) -> Absent:
    return Absent((Column(name, description, worst=0),), reason)


ABSENT = {
    "q_align_smoothness": _row(
        "q_align_smoothness",
        "OpenS2V motion smoothness: rated by Q-Align, 0 to 1.",
        "needs q-future/one-align, which is loaded by code from its repository; refilm runs no code of models",
    ),
    "face_similarity": _row(
        "face_similarity",
        "OpenS2V FaceSim-Cur: similarity of the faces in frames and image, 0 to 1.",
        "needs InsightFace's detector and CurricularFace's weights, licensed for non-commercial research only",
    ),
    "gme": _row(
        "gme",
        "OpenS2V GmeScore: similarity of frames and prompt, -1 to 1.",
        "needs Alibaba-NLP/gme-Qwen2-VL-7B-Instruct, which is loaded by code from its repository; refilm runs no code "
        "of models",
    ),
    "nexus": _row(
        "nexus",
        "OpenS2V NexusScore: similarity of the subjects that a detector finds in frames to their images.",
        "needs a YOLO-World detector with image prompts (mmyolo, GPL) and the judge of `gme`",
    ),
    "natural": _row(
        "natural",
        "OpenS2V NaturalScore: how real a video looks to GPT-4o, 1 to 5.",
        "needs GPT-4o, a paid service whose answers cannot be repeated",
    ),
    "dynamic_degree_raft": _row(
        "dynamic_degree_raft",
        "VBench dynamic degree: whether the video moves, by the optical flow of RAFT.",
        "refilm has no RAFT, and its weights are not on the Hub as safetensors; `motion` has the same measure by DIS "
        "flow",
    ),
}
