"""What each part measures with: its device, its result, and how its cases fail."""

import gc
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from record import save

from gpu.timing import Execution, Facts, executed, summary
from refilm.errors import UserError

Made = TypeVar("Made")


class Run:
    """The device and the result of a part. The file of the result is written again after every case.

    Args:
        part: name of the part.
        out: the file.
        tiny: whether to measure tiny sizes.
        facts: further facts for the file.
    """

    def __init__(self, part: str, out: Path, *, tiny: bool, facts: Mapping[str, Any] | None = None):
        self.out, self.tiny = out, tiny
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        """Of the models, if a part does not compare dtypes; a CPU lacks some operations in bfloat16."""
        self.compiler = "inductor" if self.device.type == "cuda" else "eager"
        """Of `torch.compile`; on a CPU, where it would take minutes, blocks are only traced."""
        self.cases: dict[str, Facts] = {}
        self._facts = {"part": part, "tiny": tiny, **(facts or {})}
        self.status("running")

    def status(self, status: str) -> None:
        """Write the result with this status."""
        save(self.out, {**self._facts, "status": status, "cases": self.cases})

    def add(self, case: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a case, and write the result."""
        self.cases.setdefault(case, {}).update(facts)
        self.status("running")

    def attempt(self, case: str, measure: Callable[[], Mapping[str, Any]]) -> None:
        """Add the facts that a measurement returns, or why there are none."""
        facts, problem = attempted(measure)
        self.add(case, facts or problem)
        release()

    def obtain(self, cases: Iterable[str], make: Callable[[], Made]) -> Made | None:
        """What a function makes; None if it cannot, and the reason is added to the cases that need it."""
        made, problem = attempted(make)
        for case in cases if problem else ():
            self.add(case, problem)
        return made

    def compare(self, executions: Mapping[str, Execution], *, turns: int) -> None:
        """Measure executions in turn: each once to warm up, which compiles it, then all of them `turns` times."""
        done: dict[str, list[Facts]] = {case: [] for case in executions}
        for turn in range(turns + 1):
            for case in [*done]:
                facts, problem = attempted(lambda case=case: executed(executions[case], self.device))
                if facts is None:
                    del done[case]
                    self.add(case, problem)
                    release()
                elif turn == 0:
                    self.add(case, {"warm_up_seconds": facts["seconds"]})
                else:
                    done[case].append(facts)
                    self.add(case, summary(done[case]))


def attempted(make: Callable[[], Made]) -> tuple[Made | None, Facts]:
    """What a function returns, and why it failed or cannot run here, one of them empty."""
    try:
        return make(), {}
    except (ModuleNotFoundError, UserError) as error:
        return None, {"skipped": str(error)}
    except Exception as error:
        traceback.print_exc()
        return None, {"failed": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}


def release() -> None:
    """Release the memory of what is not used any more, so that the next case has it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
