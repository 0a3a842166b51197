"""The table of the page about lists of videos, generated from the result file."""

from .results import result


def batches() -> list[str]:
    found = result("batch")
    runs, rows = found["runs"], found["rows"]
    shared = {name: run for name, run in runs.items() if name != "loop"}
    assert all(run["done"] == run["same_files"] == rows for run in runs.values())
    killed = [run for run in runs.values() if "kills" in run]
    kills, videos, states = (sum(run[name] for run in killed) for name in ("kills", "videos_read", "states_read"))
    assert not any(run["reported_twice"] for run in shared.values())
    times = runs["loop"]["seconds"] / runs["batch-1"]["seconds"]
    return [
        f"{rows} videos of {found['steps']} steps by the pocket model, on {found['cores']} cores",
        f"| `refilm generate` for each row, in a loop | {runs['loop']['seconds']:.0f} |",
        *(
            f"| `refilm batch --claim`, {_processes(name, run)} | {run['seconds']:.0f} |"
            for name, run in shared.items()
        ),
        f"The loop takes {times:.1f} times as long as one process of `refilm batch`",
        f"all {len(runs)} runs wrote the same {rows} files, byte by byte",
        f"After each of the {kills} kills, all videos and states that existed were read: {videos} and {states} in all.",
    ]


def _processes(name: str, run: dict[str, int]) -> str:
    count = int(name.rpartition("-")[2])
    processes = "1 process" if count == 1 else f"{count} processes"
    return f"{processes}, {run['kills']} kills" if "kills" in run else processes
