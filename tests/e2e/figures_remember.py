"""The figures of the pages about videos that remember, from the result file."""

from .results import result


def remember() -> list[str]:
    found = result("remember")["rerun"]
    assert found["metadata"] == found["JSON"] == found["videos"]
    return [f"{found['videos']} of {found['videos']} videos were the same bit for bit"]


def drafts() -> list[str]:
    rows = result("remember")["draft"]
    count, same = (sum(row[name] for row in rows) for name in ("drafts", "same"))
    assert count == same
    return [f"{same} of {count} finished drafts were the uninterrupted videos bit for bit"]
