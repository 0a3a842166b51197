"""The sentences with figures in docs/study.md, beside its table, generated from the result files."""

from .results import RESULTS, result


def study() -> list[str]:
    names = sorted({path.stem[:-2] for path in (RESULTS / "study").glob("*.json")})
    runs = {name: [result(f"study/{name}-{seed}") for seed in (0, 1)] for name in names}
    gap = lambda name, digits=3: [f"{run['scores']['gap']:.{digits}f}" for run in runs[name]]  # noqa: E731
    seen = lambda name, what: [f"{100 * run['judge'][what]['share']:.0f}" for run in runs[name]]  # noqa: E731
    right = lambda name: " and ".join(f"{run['scores']['right']:.3f}" for run in runs[name])  # noqa: E731
    ahead = lambda one, other: [  # noqa: E731
        f"{a['scores']['gap'] - b['scores']['gap']:.3f}" for a, b in zip(runs[one], runs[other], strict=True)
    ]
    both = " and ".join
    minutes = sorted(run["minutes"] for pair in runs.values() for run in pair)
    assert 15 < minutes[len(minutes) // 2] < 25
    return [
        "about 20 minutes each on one core of an old processor (an AMD EPYC of the first generation)",
        "120 steps of 96 stills, then 200 of 32 clips",
        f"The two seeds of the recipe itself lie {float(gap('shipped', 4)[1]) - float(gap('shipped', 4)[0]):.3f} apart",
        f"AdamW's gap goes from {gap('adamw-1e-5')[0]} to {gap('adamw-1e-4')[0]} to {both(gap('adamw-1e-3'))}, and "
        f"shape is seen in {both(seen('adamw-1e-5', 'shape'))}, then {both(seen('adamw-1e-4', 'shape'))}, then "
        f"{both(seen('adamw-1e-3', 'shape'))}.",
        f"the gaps are {gap('research', 4)[0]} and {gap('adamw-1e-5', 4)[0]} at both seeds",
        f"to a gap of {gap('research-1e-3')[0]} at both and shapes seen in {both(seen('research-1e-3', 'shape'))}, "
        f"though less than ours with AdamW at that rate ({both(gap('adamw-1e-3'))}, "
        f"{both(seen('adamw-1e-3', 'shape'))}).",
        f"gaps of {both(gap('shipped'))} against {both(gap('adamw-1e-3'))}, and the second color is seen in "
        f"{both(seen('shipped', 'second'))} against {both(seen('adamw-1e-3', 'second'))}.",
        f"AdamW at 3e-3 comes to {both(gap('adamw-3e-3'))}, and to {both(seen('adamw-3e-3', 'second'))} for the second "
        f"color, which leaves a lead of {both(ahead('shipped', 'adamw-3e-3'))}.",
        f"the right loss is {right('own-frames')} against {right('shipped')}, shape "
        f"{both(seen('own-frames', 'shape'))} against {both(seen('shipped', 'shape'))}.",
        f"the gap is smaller ({gap('no-norm')[0]} twice, against {both(gap('shipped'))}), and the second color is seen "
        f"less ({both(seen('no-norm', 'second'))} against {both(seen('shipped', 'second'))}).",
        f"by {ahead('no-drops', 'shipped')[0]} at both seeds and in every quarter of the timesteps",
        f"by {both(ahead('penultimate', 'shipped'))}, and so is what the judge sees of colors and pattern: "
        f"{both(seen('penultimate', 'color'))} against {both(seen('shipped', 'color'))}, "
        f"{seen('penultimate', 'second')[0]} twice against {both(seen('shipped', 'second'))}, "
        f"{both(seen('penultimate', 'pattern'))} against {both(seen('shipped', 'pattern'))}.",
        f"{ahead('random-output', 'shipped')[0]} ahead of zero at the one, and level with it at the other",
        f"the gap is {both(gap('winners'))}, ahead of either alone at both seeds, and of the recipe by "
        f"{both(ahead('winners', 'shipped'))}.",
    ]
