"""The model card of an adapter, generated from its `adapter.json`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from refilm.backbones import family_name

_PAGE = """---
library_name: refilm
tags: [text-to-video, image-adapter, {family}]
---

# A refilm adapter

This adapter puts the subject of a reference image into a video that follows a prompt.
It works only with the base model it was trained on.

| | |
| --- | --- |
| model family | {family_name} |
| base model fingerprint | {base} |
| image encoder | {encoder} |
| image preprocessing | {fit} |
| hidden state | {state} |
| layers x heads x channels per head | {layers} x {heads} x {head_dim} |
| channels per reference token | {reference_dim} |
| parameters | {parameters:,} in {dtype} |

```
refilm generate "PROMPT" --reference IMAGE --base {source} --adapter FOLDER -o video.mp4
```

{evaluation}## Training

{training}
"""
_FITS = {"pad": "padded to a square", "squash-bilinear": "squashed to a square, as in the CogVideoX SAT code"}
_NOISE = {"q1": "least", "q2": "little", "q3": "much", "q4": "most"}
_IMAGES = {"right": "right image", "wrong": "image of another subject", "none": "no image"}


def model_card(card: Mapping[str, Any]) -> str:
    """The model card with the metadata header of the Hub."""
    size, facts = card["size"], card["facts"]
    width = size["heads"] * size["head_dim"]
    layer = 4 * width * (width + 1)  # query, key, value and out, with biases
    return _PAGE.format(
        base=f"`{card['base_fingerprint']}`" if card["base_fingerprint"] else "unknown",
        encoder=card["image_encoder"] or "the base model's own",
        fit=_FITS[card["image_fit"]],
        state=card["hidden_state"],
        parameters=size["layers"] * layer + width * (size["reference_dim"] + 1),
        dtype=card["dtype"],
        source=_of(facts, "base", "source") or "BASE",
        family_name=family_name(size["family"]),
        evaluation="".join(f"{part}\n\n" for part in _evaluation(facts.get("evaluation"))),
        training="\n\n".join(_training(facts)) or "No training facts are recorded.",
        **{name: size[name] for name in ("family", "layers", "heads", "head_dim", "reference_dim")},
    )


def _evaluation(found: Any) -> Iterator[str]:
    """A section with the table of an evaluation (`refilm.evaluation.card.facts_of`)."""
    if not isinstance(found, Mapping) or not isinstance(table := found.get("table"), list) or not table:
        return
    yield "## Evaluation"
    step = f" after step {found['step']:,}" if isinstance(found.get("step"), int) else ""
    yield (
        f"The suite `{found.get('suite')}`, version {found.get('version')}{step}: means over {found.get('groups')} "
        "groups of videos, with 95 % intervals if there are enough. A failed video counts with the worst value of each "
        "column."
    )
    yield _table(tuple(table[0]), [tuple(row) for row in table[1:]])
    if isinstance(notes := found.get("notes"), list) and notes:
        yield "\n".join(f"- {note}" for note in notes)


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    """Sections about the training: tables for known facts, and all facts as JSON."""
    if rows := list(_rows(facts)):
        yield _table(("", ""), rows)
    scores = facts.get("scores")
    if isinstance(scores, Mapping) and _number(scores, "right"):
        yield "Loss on held-out clips (velocity; the same clips, timesteps and noise for each image), by noise level:"
        columns = [
            ("all", ""),
            *((_NOISE[quarter], f"/{quarter}") for quarter in _NOISE if f"right/{quarter}" in scores),
        ]
        kinds = [(label, kind) for kind, label in _IMAGES.items() if _number(scores, kind)]
        yield _table(
            ("", *(name for name, _ in columns)),
            [(label, *(_number(scores, f"{kind}{part}") for _, part in columns)) for label, kind in kinds],
        )
        ratios = [ratio for name, ratio in scores.items() if name.startswith("share/")]
        if facts.get("words"):
            yield f"Reference usage: {facts['words']}."
        if ratios:
            yield f"The output norm of its layers is {min(ratios):.1%} to {max(ratios):.1%} of a video token's norm."
    if facts:
        everything = f"```json\n{json.dumps(facts, indent=2)}\n```"
        yield f"<details><summary>All facts as JSON</summary>\n\n{everything}\n\n</details>"


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, label in (("train", "training clips"), ("held_out", "held-out clips")):
        if clips := _of(facts, "data", name, "clips"):
            yield label, f"{clips:,}"
    for kind, label in (("steps", "training steps"), ("samples", "training samples")):
        if isinstance(count := facts.get(kind), int):
            yield label, f"{count:,}"
    if isinstance(hours := facts.get("hours"), int | float):
        yield "training time", f"{hours:.2f} hours on {facts.get('processes', 1)} x {facts.get('device', 'unknown')}"
    versions = facts.get("versions")
    if isinstance(versions, Mapping) and "refilm" in versions:
        commit = _of(facts, "git", "commit")
        yield (
            "software",
            f"refilm {versions['refilm']}, torch {versions.get('torch')}" + (f", `{commit[:12]}`" if commit else ""),
        )


def _of(facts: Mapping[str, Any], *names: str) -> Any:
    """The value at a path of names, or None."""
    value: Any = facts
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(scores: Mapping[str, Any], name: str) -> str:
    """A formatted loss, or an empty string if unknown."""
    value = scores.get(name)
    return f"{value:.4f}" if isinstance(value, int | float) else ""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
