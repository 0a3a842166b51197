"""What a suite is: a row in the table of suites, and a class with this protocol."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from refilm.evaluation.case import Case
from refilm.evaluation.result import Result


class Suite(Protocol):
    """Prompts and references, and the metrics that score their videos."""

    name: str
    """As in the command: `critters`; for a folder of the user, the folder's name."""
    version: str
    """Changes whenever cases or metrics change, so that results of different versions are not compared."""
    metrics: Sequence[str]
    """Names of the metrics, in the order of the columns. A metric that cannot run here is reported as absent."""
    settings: Mapping[str, Any]
    """Settings of the generation that the suite prescribes, by the names of `refilm generate`."""

    def cases(self, folder: Path) -> Sequence[Case]:
        """All cases, with the controls, in a fixed order.

        Args:
            folder: where the suite writes reference images that it draws, if it does.

        Raises:
            UserError: a file of the suite is missing or invalid; names the file, the value and the fix.
        """
        ...

    def remarks(self, result: Result) -> Iterable[str]:
        """What the rules of the suite's authors say about a result, in sentences; they follow its warnings."""
        ...
