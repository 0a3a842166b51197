"""The tables of the page about previews, generated from the result file."""

from .figures_windows import overlap
from .results import result

STEPS = ("1", "5", "10", "15", "20")
COLUMNS = ("decoded", "finished", "decoded against finished")
CLIPS = {
    "the decoded clip": "decoded",
    "the decoded clip, what moves": "decoded, moving",
    "the clip itself": "clip",
    "another clip, decoded": "next clip",
}
LARGE = {"linear preview": "linear", "tiny decoder": "tiny", "the autoencoder's decoder": "decode"}


def previews() -> list[str]:
    found = result("preview")
    clips, steps, took, large = (found[name] for name in ("clips", "steps", "seconds", "cogvideox"))
    for suffix in ("", ", moving"):  # the decoder tells no more at step 1, and more at step 10
        first, later = (
            [steps[step][f"{name}{suffix}"] for name in ("finished", "decoded against finished")]
            for step in ("1", "10")
        )
        assert overlap(first)
        assert overlap(later) == bool(suffix)
    frames, channels, height, width = large["latents"]
    return [
        f"{clips['decoded']['count']} held-out clips",
        *(f"| {name} | {cell(clips[row])} |" for name, row in CLIPS.items()),
        f"{steps['1']['decoded']['count']} held-out pairs of image and prompt",
        *(
            f"| {step} | {' | '.join(cell(steps[step][f'{name}{suffix}']) for name in COLUMNS)} |"
            for suffix in ("", ", moving")
            for step in STEPS
        ),
        f"a sampler step takes {1000 * took['step']:.0f} ms and its preview {1000 * took['frames']:.1f} ms, "
        f"{100 * took['frames'] / took['step']:.1f} % of it; a preview in full size takes "
        f"{1000 * took['video']:.0f} ms, decoding {1000 * took['decode']:.0f} ms",
        f"{frames} x {channels} x {height} x {width} latents",
        *(
            f"| {name} | {number(large[f'{key}_tflop'])} | "
            f"{number(100 * large[f'{key}_tflop'] / large['step_tflop'])} % |"
            for name, key in LARGE.items()
        ),
        f"a sampler step with guidance has {large['step_tflop']:.0f} TFLOP",
        f"{1000 * large['linear_seconds']:.0f} ms on one CPU thread",
    ]


def cell(found: dict[str, float]) -> str:
    """A mean with its interval."""
    return f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def number(value: float) -> str:
    """Two significant digits, also of small numbers."""
    return f"{value:.7f}" if value < 0.001 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
