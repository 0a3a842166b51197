"""The rows of a process: shares are disjoint and complete, from `--shard`, torchrun and SLURM job arrays."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refilm.errors import UserError
from refilm.jobs import Share

ROWS = range(23)


def array(task: int, *, first: int = 0, last: int, step: int = 1, **others: str) -> dict[str, str]:
    """The variables of a task of `sbatch --array=first-last:step`."""
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": len(range(first, last + 1, step))}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()} | others


def torchrun(rank: int, size: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": "0"}


@given(st.integers(1, 9), st.integers(0, 3), st.integers(1, 3), st.integers(1, 4))
def test_shares_are_disjoint_and_complete(tasks, first, step, ranks):
    last = first + (tasks - 1) * step
    shares = [
        Share.of_environment(array(task, first=first, last=last, step=step, **torchrun(rank, ranks)))
        for task in range(first, last + 1, step)
        for rank in range(ranks)
    ]
    assert sorted(row for share in shares for row in share.of(ROWS)) == [*ROWS]
    sizes = [len(share.of(ROWS)) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    for share in shares:
        own = share.of(ROWS)
        assert share.first(ROWS)[: len(own)] == own
        assert sorted(share.first(ROWS)) == [*ROWS]


def test_a_share_says_where_it_comes_from():
    assert str(Share.of_text("3/16")) == "share 3/16 (--shard)"
    assert Share.of_text("3/16").of(range(40)) == [2, 18, 34]
    assert str(Share.of_environment(torchrun(1, 4))) == "share 2/4 (torchrun)"
    assert str(Share.of_environment(array(5, first=1, last=16))) == "share 5/16 (SLURM job array)"
    both = Share.of_environment(array(1, last=3, **torchrun(1, 2)))
    assert str(both) == "share 6/8 (SLURM job array and torchrun)"
    assert Share.of_environment({}) == Share.of_environment({"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}) == Share()


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "1/0", "-1/4", "a/b", ""])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(UserError, match=re.escape(f"--shard {text!r}: give a number and how many there are")):
        Share.of_text(text)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (array(4, first=1, last=9) | {"SLURM_ARRAY_TASK_COUNT": "3"}, "SLURM_ARRAY_TASK_ID=4: the tasks of this job"),
        (array(3, first=1, last=9, step=4), "not evenly spaced; number them 1-3"),  # --array=1,3,9
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK='x': must be a number"),
    ],
)
def test_variables_that_make_no_shares_are_refused(environment, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Share.of_environment(environment)
