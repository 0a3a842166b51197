"""Public functions validate their arguments against their signatures and reject others with a one-line error."""

import inspect
import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from refilm.backbones.cogvideox.autoencoder import load_autoencoder
from refilm.checkpoints import convert, describe, load_adapter, load_transformer, read_card
from refilm.data import list_examples, read_examples
from refilm.diffusion import StepCache, min_snr_weights, scaled_linear
from refilm.evaluation import accuracy, wilson
from refilm.media import Video, duration, open_frames, open_image, open_mask, open_video
from refilm.pocket.judge import Judge
from refilm.pocket.novelty import novelty

VIDEO = Video(np.zeros((2, 4, 4, 3), np.uint8), 8)
OTHERWISE = {
    "checkpoints": {
        *("base_weights", "fingerprint"),  # take a module
        *("adapter_files", "adapter_folder", "copy_base", "image_encoder_of", "load_encoders", "whole_base"),  # paths
        *("create_base", "open_source", "push", "require_family"),  # for recipes and commands
    },
    "data": {"write_manifest"},  # compares what it writes with what is read back
    "evaluation": {"accuracy", "as_json", "machine", "markdown", "psnr"},  # anything that counts or compares
    "media": {
        "as_image",
        "as_mask",
        "border_color",
        "check_size",
        "check_target",
        "existing_files",
        "pad_to_square",
    },  # refuse for themselves, or take images
    "generation": set(),
}
"""Functions that validate their arguments in another way, by package."""


@pytest.mark.parametrize("room", OTHERWISE)
def test_every_public_function_is_a_door(room):
    module = import_module(f"refilm.{room}")
    functions = {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}
    assert {name for name in functions if not hasattr(getattr(module, name), "__wrapped__")} == OTHERWISE[room]


@pytest.mark.parametrize(
    ("function", "given", "named", "message"),
    [
        (load_adapter, [None], {}, "folder: "),
        (load_adapter, ["pocket"], {"dtype": "float16"}, "dtype: "),
        (load_adapter, ["pocket"], {"torch_dtype": torch.float16}, "torch_dtype: refilm calls it dtype"),
        (read_card, [b"pocket"], {}, "folder: "),
        (load_transformer, [["a", "b"]], {}, "folder: "),
        (load_autoencoder, [None], {}, "folder: "),
        (convert, ["pocket", None], {}, "target: "),
        (convert, ["pocket", "new"], {"only": "lora"}, "only: "),
        (convert, ["pocket", "new"], {"dtype": torch.float16}, "dtype: "),
        (describe, [3], {}, "source: "),
        (open_video, [None], {}, "path: "),
        (open_video, ["a.mp4"], {"frames": "9"}, "frames: Input should be a valid integer (received '9')"),
        (open_video, ["a.mp4"], {"frames": True}, "frames: Input should be a valid integer (received True)"),
        (open_video, ["a.mp4"], {"start": "0"}, "start: "),
        (open_video, ["a.mp4"], {"end": float("nan")}, "end must be seconds"),
        (open_frames, ["a.mp4", 1.0], {}, "seconds: Input should be a valid list (received 1.0)"),
        (open_frames, ["a.mp4", ["1"]], {}, "seconds[0]: "),
        (open_image, [["a.png"]], {}, "path: "),
        (open_image, ["a.png"], {"background": "white"}, "background: "),
        (open_mask, [None], {}, "path: "),
        (duration, [3], {}, "path: "),
        (VIDEO.save, [None], {}, "path: "),
        (VIDEO.save, ["a.gif"], {"fps": "8"}, "fps: "),
        (VIDEO.contact_sheet, ["6"], {}, "columns: "),
        (VIDEO.contact_sheet, [2.5], {}, "columns: "),
        (list_examples, [None], {}, "path: "),
        (read_examples, ["a.jsonl"], {"allow_outside": "no"}, "allow_outside: "),
        (wilson, ["3", 4], {}, "hits: "),
        (wilson, [2.5, 4], {}, "hits: "),
        (novelty, ["a cat"], {}, "subject: "),
        (Judge.load, [None], {}, "path: "),
        (accuracy, [["no", "yes"]], {}, "hits: each must be true or false, received 'no'"),
        (Video, [VIDEO.frames, None], {}, "fps must be between"),
        (Video, [VIDEO.frames, [8]], {}, "fps must be between"),
        (StepCache, ["0.1"], {}, "threshold: "),
        (StepCache, [True], {}, "threshold: "),
        (scaled_linear().spaced, ["4"], {}, "steps: "),
        (scaled_linear().spaced, [True], {}, "steps: "),
        (min_snr_weights, [torch.tensor([1]), scaled_linear()], {"gamma": float("nan")}, "gamma must be above 0"),
        (min_snr_weights, [torch.tensor([1]), scaled_linear()], {"gamma": "5"}, "gamma: "),
    ],
)
def test_other_kinds_are_refused(function: Any, given, named, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        function(*given, **named)
    assert "\n" not in str(refused.value)
