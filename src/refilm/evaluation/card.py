"""A result in the model card of an adapter."""

from pathlib import Path
from typing import Any

from refilm.checkpoints import add_facts, load_adapter
from refilm.errors import UserError
from refilm.evaluation.result import Result
from refilm.evaluation.table import notes_on, table_of
from refilm.generation.recipe import adapter_fingerprint


def add_evaluation(folder: Path, result: Result) -> None:
    """Write the table of a result into an adapter's metadata and model card; an earlier one is replaced.

    Raises:
        UserError: as `require_result_of`.
    """
    require_result_of(folder, result)
    add_facts(folder, {"evaluation": facts_of(result)})


def require_result_of(folder: Path, result: Result) -> None:
    """Check that a result is about an adapter.

    Raises:
        UserError: its videos were made with other weights, or not by refilm.
    """
    source = result.source
    if source.kind != "model":
        raise UserError(f"{folder}: the result is about videos of a {source.kind}; evaluate the adapter with --adapter")
    if source.details.get("adapter_fingerprint") != adapter_fingerprint(load_adapter(folder)):
        raise UserError(
            f"{folder}: the result is about another adapter, {source.details.get('adapter')}; evaluate this"
        )


def facts_of(result: Result) -> dict[str, Any]:
    """What a model card shows of a result: its table, and what must be known about it."""
    table = table_of(result)
    return {
        "suite": result.suite.name,
        "version": result.suite.version,
        "cases": result.suite.cases,
        "groups": len({video.group for video in result.videos}),
        "table": [list(row) for row in (table.head, *table.rows)],
        "notes": [*result.warnings, *notes_on(result)],
    }
