"""The page that tells people what an adapter is, made from its `adapter.json`. Knows text alone."""

import json
from collections.abc import Mapping
from typing import Any

_PAGE = """---
library_name: refilm
tags: [text-to-video, image-adapter, cogvideox]
---

# A refilm adapter

Puts the subject of a picture into a video that follows a prompt. It works on one frozen base model alone.

| | |
| --- | --- |
| base model's fingerprint | {base} |
| image encoder | {encoder} |
| pictures are | {fit} |
| layers x heads x channels of a head | {layers} x {heads} x {head_dim} |
| channels of a reference token | {reference_dim} |
| parameters | {parameters:,} in {dtype} |

```
refilm generate "PROMPT" --reference PICTURE --base BASE --adapter FOLDER -o film.mp4
```

## Training

{facts}
"""
_FITS = {"pad": "padded to a square, whole", "squash-bilinear": "squashed to a square, as the research code has it"}


def model_card(card: Mapping[str, Any]) -> str:
    """The page, with the header that the Hub reads."""
    size, facts = card["size"], card["facts"]
    width = size["heads"] * size["head_dim"]
    layer = 4 * width * (width + 1)  # query, key, value and out, with biases
    return _PAGE.format(
        base=f"`{card['base_fingerprint']}`" if card["base_fingerprint"] else "unknown",
        encoder=card["image_encoder"] or "the base model's own",
        fit=_FITS[card["picture_fit"]],
        parameters=size["layers"] * layer + width * (size["reference_dim"] + 1),
        dtype=card["dtype"],
        facts=f"```json\n{json.dumps(facts, indent=2)}\n```" if facts else "Nothing was told about it.",
        **{name: size[name] for name in ("layers", "heads", "head_dim", "reference_dim")},
    )
