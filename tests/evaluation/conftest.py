"""Metrics of the tests, beside refilm's own."""

import pytest

from refilm.evaluation import metrics


@pytest.fixture
def grays(monkeypatch: pytest.MonkeyPatch):
    """The module of the suite, with its metrics in the table."""
    from . import suite

    for name, kind in {"brightness": suite.Brightness, "depth": suite.Absent}.items():
        monkeypatch.setitem(metrics.METRICS, name, f"{suite.__name__}.{kind.__name__}")
    suite.Brightness.scored.clear()
    return suite
