"""The sentences with figures in docs/study.md, beside its table, generated from the result files."""

from .results import RESULTS, result


def study() -> list[str]:
    names = sorted({path.stem[:-2] for path in (RESULTS / "study").glob("*.json")})
    runs = {name: [result(f"study/{name}-{seed}") for seed in (0, 1)] for name in names}
    minutes = sorted(run["minutes"] for pair in runs.values() for run in pair)
    assert 15 < minutes[len(minutes) // 2] < 25
    assert abs(runs["random-output"][1]["scores"]["gap"] - runs["shipped"][1]["scores"]["gap"]) < 0.0005

    def gap(name: str, digits: int = 3) -> list[str]:
        return [f"{run['scores']['gap']:.{digits}f}" for run in runs[name]]

    def gaps(name: str, digits: int = 3) -> str:
        return " and ".join(gap(name, digits))

    def seen(name: str, what: str) -> str:
        return " and ".join(f"{100 * run['judge'][what]['share']:.0f}" for run in runs[name])

    def right(name: str) -> str:
        return " and ".join(f"{run['scores']['right']:.3f}" for run in runs[name])

    def ahead(one: str, other: str) -> list[str]:
        pairs = zip(runs[one], runs[other], strict=True)
        return [f"{a['scores']['gap'] - b['scores']['gap']:.3f}" for a, b in pairs]

    return [
        "about 20 minutes each on one core of an old processor (an AMD EPYC of the first generation)",
        "120 steps of 96 stills, then 200 of 32 clips",
        f"The two seeds of the recipe itself differ by {float(gap('shipped', 4)[1]) - float(gap('shipped', 4)[0]):.3f}",
        f"With AdamW the gap grows from {gaps('adamw-1e-5')} at 1e-5 to {gaps('adamw-1e-4')} at 1e-4 and "
        f"{gaps('adamw-1e-3')} at 1e-3. The judge recognizes the shape in {seen('adamw-1e-5', 'shape')}, "
        f"{seen('adamw-1e-4', 'shape')}, and {seen('adamw-1e-3', 'shape')} % of the videos.",
        f"SAT's recipe has a gap of {gaps('research', 4)}, refilm's at that rate {gaps('adamw-1e-5', 4)}",
        f"SAT's recipe reaches {gaps('research-1e-3')} and shows the right shape in {seen('research-1e-3', 'shape')} %",
        f"has gaps of {gaps('shipped')} instead of {gaps('adamw-1e-3')}, and the second color is right in "
        f"{seen('shipped', 'second')} % instead of {seen('adamw-1e-3', 'second')} %.",
        f"AdamW at 3e-3 reaches gaps of {gaps('adamw-3e-3')} and a second color of {seen('adamw-3e-3', 'second')} %; "
        f"the remaining lead is {' and '.join(ahead('shipped', 'adamw-3e-3'))}.",
        f"the loss with the right image is {right('own-frames')} instead of {right('shipped')}, and the shape is right "
        f"in {seen('own-frames', 'shape')} % instead of {seen('shipped', 'shape')} %.",
        f"the gap is {gaps('no-norm')} instead of {gaps('shipped')}, and the second color is right in "
        f"{seen('no-norm', 'second')} % instead of {seen('shipped', 'second')} %.",
        f"the gap is larger by {' and '.join(ahead('no-drops', 'shipped'))} than with 5 % each",
        f"by {' and '.join(ahead('shipped', 'more-drops'))} smaller",
        f"The gap is larger by {' and '.join(ahead('penultimate', 'shipped'))} than with the last one, and the judge "
        f"agrees: body color {seen('penultimate', 'color')} % instead of {seen('shipped', 'color')} %, second color "
        f"{seen('penultimate', 'second')} % instead of {seen('shipped', 'second')} %, pattern "
        f"{seen('penultimate', 'pattern')} % instead of {seen('shipped', 'pattern')} %.",
        f"The gap is larger by {ahead('random-output', 'shipped')[0]} at one seed and equal at the other.",
        f"the gap is {gaps('winners')}. At both seeds this is more than with either alone, and more than the recipe's "
        f"by {' and '.join(ahead('winners', 'shipped'))}.",
    ]
