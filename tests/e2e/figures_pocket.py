"""The sentences with figures about the pocket model, for its card and the README, generated from result files."""

import json

import safetensors

from refilm.data.critters import COLORS, EYES, MOTIONS, PATTERNS, SHAPES, subjects
from refilm.evaluation import Accuracy, Row, markdown
from refilm.pocket.novelty import novelty
from refilm.recipes import read_recipe

from .results import ROOT, result

POCKET = ROOT / "src" / "refilm" / "pocket" / "model"


def rows(name: str, kind: str | None = None) -> list[Row]:
    found = result(name)["rows"] if kind is None else result(name)["by_novelty"][kind]
    return [Row(row["name"], {k: Accuracy.from_values(a) for k, a in row["scores"].items()}) for row in found]


def lines(table: list[Row]) -> list[str]:
    """The lines of a table in Markdown, below its head."""
    return markdown(table).splitlines()[2:]


def row(table: list[Row], name: str = "the model") -> Row:
    return next(row for row in table if row.name == name)


def parameters(part: str) -> int:
    (path,) = (POCKET / part).glob("*.safetensors")
    with safetensors.safe_open(path, "pt") as file:
        shapes = (file.get_slice(name).get_shape() for name in file.keys())  # noqa: SIM118
        return sum(_product(shape) for shape in shapes)


def _product(shape: list[int]) -> int:
    return 1 if not shape else shape[0] * _product(shape[1:])


def card() -> list[str]:
    scored, made, video, alone = (
        result("critters"),
        result("autoencoder"),
        result("video"),
        result("critters-combination"),
    )
    option = scored["model_by_option"]
    of = lambda attribute, name: "{right} of {of}".format(**option[attribute][name])  # noqa: E731
    wrong = sum(one["of"] - one["right"] for one in option["color"].values())
    new = [novelty(subject) for subject in subjects("held_out")]
    facts = json.loads((POCKET / "adapter" / "adapter.json").read_text(encoding="utf-8"))["facts"]
    scores = row(rows("critters")).scores
    aims = {"body color": 90, "second color": 75, "shape": 75, "pattern": 60, "motion": 85}
    assert all(100 * scores[name].fraction >= aim for name, aim in aims.items())
    assert made["psnr_mean"] >= 28
    assert (len(COLORS), len(SHAPES), len(PATTERNS), len(EYES), len(MOTIONS)) == (8, 8, 5, 3, 10)
    return [
        f"| `transformer/` | CogVideoX's, 8 layers of 3 x 64 channels | {parameters('transformer'):,} |",
        f"image's projection | {parameters('adapter'):,} |",
        f"16 channels | {parameters('vae'):,} |",
        f"24 tokens | {parameters('text_encoder'):,} |",
        f"65 tokens | {parameters('image_encoder'):,} |",
        f"{scored['request']['steps']} steps, guidance {scored['request']['guidance']:.0f}",
        *lines(rows("critters")),
        f"Of the {len(new)} held-out critters {new.count('eyes')} have a twin in training that differs in the eyes "
        f"alone, and {new.count('combination')} have none.",
        f"{alone['pairs']} pairs of those {new.count('combination')}",
        *lines(rows("critters-combination")),
        f"The autoencoder reconstructs {made['clips']} held-out clips at a mean PSNR of {made['psnr_mean']:.1f} dB "
        f"(lowest {made['psnr_lowest']:.1f}; first frames {made['psnr_first_frame_mean']:.1f})",
        f"Generating a video takes {video['process_seconds']:.1f} s on two idle cores of an AMD EPYC of the first "
        f"generation, including the start of the process; {video['steps']} sampler steps with guidance take "
        f"{video['sampling_seconds']:.1f} s of that and decoding {video['decoding_seconds']:.1f} s",
        "- Shapes, as counted by the judge: "
        + ", ".join(f"{_plural(name)} {of('shape', name)}" for name in _best_first(option["shape"]))
        + ".",
        "- Patterns: " + ", ".join(f"{name} {of('pattern', name)}" for name in _best_first(option["pattern"])) + ".",
        "- Eyes: " + ", ".join(f"{name} {of('eyes', name)}" for name in _best_first(option["eyes"])) + ".",
        f"Of {wrong} wrong body colors {scored['model_second_for_color']} are the critter's second color.",
        f"Final loss of the adapter on 256 held-out samples: {facts['scores']['right']:.4f} with the right image, "
        f"{facts['scores']['wrong']:.4f} with another subject's, {facts['scores']['none']:.4f} with none.",
        f"28 dB for the autoencoder, which reaches {made['psnr_mean']:.2f}",
        *stages(),
    ]


def _best_first(options: dict[str, dict[str, int]]) -> list[str]:
    return sorted(options, key=lambda name: (-options[name]["right"] / options[name]["of"], name))


def _plural(name: str) -> str:
    return {"box": "boxes", "bunny": "bunnies"}.get(name, f"{name}s")


def stages() -> list[str]:
    """Steps and samples of each training stage, as in the recipes."""
    of = {path.stem: read_recipe(path) for path in (ROOT / "recipes" / "pocket").glob("*.toml")}
    half, grown = (lessons(of[name].autoencoder.curriculum) for name in ("autoencoder-half", "autoencoder"))
    base, adapter = (lessons(of[name].diffusion.curriculum) for name in ("base", "adapter"))
    more = {name: lessons(of[f"{name}-further"].diffusion.curriculum)[5] for name in ("base", "adapter")}
    steps = {name: _steps(recipe.loop.steps) for name, recipe in of.items()}
    pairs = of["encoders"].loop.steps * of["encoders"].encoders.batch
    return [
        f"| autoencoder of 32 x 32 pixels | {steps['autoencoder-half']} | {half[1] / 1e3:.0f} thousand stills of "
        f"16 x 16, {half[9] / 1e3:.0f} thousand clips of 9 frames, {half[17] / 1e3:.0f} thousand of 17 |",
        f"| autoencoder, grown to 64 x 64 | {steps['autoencoder']} | {grown[9] / 1e3:.1f} thousand clips of 9 frames, "
        f"{grown[17] / 1e3:.1f} thousand of 17 |",
        f"| encoders | {steps['encoders']} | {pairs / 1e3:.0f} thousand pairs |",
        f"| transformer | {steps['base']} | {base[1] / 1e3:.0f} thousand stills, {base[5] / 1e3:.0f} thousand clips |",
        f"| adapter | {steps['adapter']} | {adapter[1] / 1e3:.0f} thousand stills, "
        f"{adapter[5] / 1e3:.0f} thousand clips |",
        f"| transformer, further | {steps['base-further']} | {more['base'] / 1e3:.0f} thousand clips |",
        f"| adapter, further | {steps['adapter-further']} | {more['adapter'] / 1e3:.0f} thousand clips |",
    ]


def _steps(count: int) -> str:
    return f"{count:,}" if count > 9999 else str(count)


def lessons(curriculum) -> dict[int, int]:
    """Samples for each number of frames."""
    samples, start = {}, 0
    for lesson in curriculum:
        frames = getattr(lesson, "frames", None) or lesson.latent_frames
        samples[frames] = samples.get(frames, 0) + (lesson.until - start) * lesson.batch
        start = lesson.until
    return samples


def readme() -> list[str]:
    new = [novelty(subject) for subject in subjects("held_out")]
    every, alone = (100 * row(rows(name)).scores["all"].fraction for name in ("critters", "critters-combination"))
    run, recipe = result("first_validation"), read_recipe(ROOT / "recipes" / "critters.toml")
    return [
        f"On {run['machine']['cores']} cores the recipe encodes its clips in {run['encoding_seconds']:.0f} s and "
        f"reports its first validation result after {run['first_validation_seconds']:.0f} s; with "
        f"{run['step_seconds']:.2f} s per step, all {recipe.loop.steps:,} steps take an estimated "
        f"{run['all_steps_seconds'] / 60:.0f} min.",
        f"{new.count('eyes')} of the {len(new)} held-out critters have a twin in training that differs in the eyes "
        "alone",
        f"everything right in {every:.0f} % of all pairs, and in {alone:.0f} % of those whose critter has no such twin",
    ]
