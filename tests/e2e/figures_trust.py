"""The figures of the page about metrics, generated from the result file."""

from collections.abc import Mapping
from typing import Any

from .results import result


def metrics() -> list[str]:
    found = result("trust")
    photographs, critters, videos = found["photographs"], found["critters"], found["videos"]
    likeness, copies = critters["likeness"], critters["copy_paste"]
    assert (
        photographs["other view"]["efficientnet_i"]["lowest"] > photographs["other object"]["efficientnet_i"]["highest"]
    )
    assert max(part["motion"]["still"]["share"] for part in (critters, videos)) == 0
    return [
        *(row(name, values) for name, values in photographs.items()),
        f"{found['pairs']} clips of held-out critters and {found['real_clips']} clips of real videos",
        separated("`efficientnet_i`, critters", likeness["efficientnet_i"]),
        separated("`efficientnet_i_segment`, critters", likeness["efficientnet_i_segment"]),
        separated("`critters`, critters", likeness["critters"]),
        separated("`efficientnet_i`, real videos", videos["likeness"]),
        separated("`copy_paste`, critters", copies),
        separated("`smoothness`, critters", critters["motion"]),
        separated("`smoothness`, real videos", videos["motion"]),
        f"{caught(critters['motion'])} critters and {caught(videos['motion'])} real clips",
    ]


def row(name: str, values: Mapping[str, Any]) -> str:
    """A line of the table of photographs: the lowest and highest likeness and copy-paste index."""
    spans = (f"{values[one]['lowest']:.2f} to {values[one]['highest']:.2f}" for one in ("efficientnet_i", "copy_paste"))
    return f"| {name} | {' | '.join(spans)} |"


def separated(name: str, scores: Mapping[str, Any]) -> str:
    """A line of the table of clips: both means, and the probability with its interval."""
    auc = scores["auc"]
    means = f"{scores['above']['mean']:.3f} | {scores['below']['mean']:.3f}"
    return f"| {name} | {means} | {auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) |"


def caught(motion: Mapping[str, Any]) -> str:
    """In how many clips shuffling lowered the smoothness."""
    return f"{round(motion['caught']['share'] * motion['caught']['count'])} of {motion['caught']['count']}"
