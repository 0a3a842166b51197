"""The page that tells people what an adapter is, made from its `adapter.json`. Knows text alone."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_PAGE = """---
library_name: refilm
tags: [text-to-video, image-adapter, cogvideox]
---

# A refilm adapter

Puts the subject of an image into a video that follows a prompt. It works on one frozen base model alone.

| | |
| --- | --- |
| base model's fingerprint | {base} |
| image encoder | {encoder} |
| images are | {fit} |
| it reads | the {state} hidden state |
| layers x heads x channels of a head | {layers} x {heads} x {head_dim} |
| channels of a reference token | {reference_dim} |
| parameters | {parameters:,} in {dtype} |

```
refilm generate "PROMPT" --reference PICTURE --base {source} --adapter FOLDER -o video.mp4
```

## Training

{training}
"""
_FITS = {"pad": "padded to a square, whole", "squash-bilinear": "squashed to a square, as the research code has it"}
_NOISE = {"q1": "least", "q2": "little", "q3": "much", "q4": "most"}
_PICTURES = {"right": "the right image", "wrong": "another subject's", "none": "no image"}


def model_card(card: Mapping[str, Any]) -> str:
    """The page, with the header that the Hub reads."""
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
        training="\n\n".join(_training(facts)) or "Nothing was told about it.",
        **{name: size[name] for name in ("layers", "heads", "head_dim", "reference_dim")},
    )


def _training(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is known of the training, each kind in a form that suits it; what has no form of its own as JSON."""
    if rows := list(_rows(facts)):
        yield _table(("", ""), rows)
    scores = facts.get("scores")
    if isinstance(scores, Mapping) and _number(scores, "right"):
        yield "Loss on held-out clips (velocity, the same clips, timesteps and noise under each image), by noise:"
        columns = [
            ("all", ""),
            *((_NOISE[quarter], f"/{quarter}") for quarter in _NOISE if f"right/{quarter}" in scores),
        ]
        kinds = [(told, kind) for kind, told in _PICTURES.items() if _number(scores, kind)]
        yield _table(
            ("", *(name for name, _ in columns)),
            [(told, *(_number(scores, f"{kind}{part}") for _, part in columns)) for told, kind in kinds],
        )
        shares = [share for name, share in scores.items() if name.startswith("share/")]
        if facts.get("words"):
            yield f"In words: {facts['words']}."
        if shares:
            yield f"Its layers add {min(shares):.1%} to {max(shares):.1%} of the length of a video token."
    if facts:
        everything = f"```json\n{json.dumps(facts, indent=2)}\n```"
        yield f"<details><summary>Everything, as JSON</summary>\n\n{everything}\n\n</details>"


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, told in (("train", "clips learned from"), ("held_out", "clips held out")):
        if clips := _of(facts, "data", name, "clips"):
            yield told, f"{clips:,}"
    for kind, told in (("steps", "steps"), ("samples", "samples seen")):
        if isinstance(count := facts.get(kind), int):
            yield told, f"{count:,}"
    if isinstance(hours := facts.get("hours"), int | float):
        yield "took", f"{hours:.2f} hours on {facts.get('processes', 1)} x {facts.get('device', 'unknown')}"
    versions = facts.get("versions")
    if isinstance(versions, Mapping) and "refilm" in versions:
        commit = _of(facts, "git", "commit")
        yield (
            "made by",
            f"refilm {versions['refilm']}, torch {versions.get('torch')}" + (f", `{commit[:12]}`" if commit else ""),
        )


def _of(facts: Mapping[str, Any], *names: str) -> Any:
    """What stands under a row of names; none if it is not told."""
    value: Any = facts
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _number(scores: Mapping[str, Any], name: str) -> str:
    """A loss, or nothing where it is not known."""
    value = scores.get(name)
    return f"{value:.4f}" if isinstance(value, int | float) else ""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
