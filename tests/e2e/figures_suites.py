"""The published weights and ranges in the table of the page about suites are those that the code uses."""

from refilm.evaluation.suites.opens2v import PARTS

NAMES = {
    "aesthetic": "aesthetic",
    "q_align_smoothness": "motion smoothness (Q-Align)",
    "amplitude": "motion amplitude",
    "face_similarity": "FaceSim",
    "gme": "GmeScore",
    "nexus": "NexusScore",
    "natural": "NaturalScore",
}


def suites() -> list[str]:
    return [
        f"| {NAMES[name]} | {part.weight:.2f} ({_weight(part.human_weight)}) | {part.low:g} to {part.high:g} |"
        for name, part in PARTS.items()
    ]


def _weight(weight: float) -> str:
    return f"{weight:.2f}" if weight else "-"
