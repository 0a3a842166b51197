"""The store compared with a plain model of it: whatever is called in whatever order, each job is in one state."""

import tempfile
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from refilm.serving import JobError, Store
from refilm.serving.errors import IdempotencyConflictError, NotFoundError, QueueFullError
from refilm.serving.leases import MOST_DEATHS, Lease

from .stores import ME, MODEL, REQUEST, die, expire

MOST = 4  # queued jobs


@dataclass
class Expected:
    """What the model knows about a job."""

    status: str
    attempts: int = 0
    deaths: int = 0
    ends: int = 0
    lost: bool = False  # its worker has died, which nobody has noticed yet


class StoreMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(self.folder.name)
        self.expected: dict[str, Expected] = {}
        self.keys: dict[str, tuple[int, str]] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(target=jobs, key=st.sampled_from([None, "a", "b"]), seed=st.integers(0, 1))
    def accept(self, key, seed):
        request, queued = REQUEST | {"seed": seed}, self.of("queued")
        try:
            job = self.store.accept(request, model=MODEL, key=key, max_queue=MOST).id
        except IdempotencyConflictError:
            known = self.keys[key]
            assert known[0] != seed or self.expected[known[1]].status == "deleted"
            return known[1]
        except QueueFullError:
            assert len(queued) == MOST
            assert key not in self.keys
            return next(iter(self.expected))
        if key in self.keys:
            assert self.keys[key] == (seed, job)
            return job
        assert job not in self.expected
        assert len(queued) < MOST
        self.expected[job] = Expected("queued")
        if key is not None:
            self.keys[key] = seed, job
        return job

    @rule(target=leases)
    def take(self):
        self.recover()
        lease, queued = self.store.leases.take(ME, MODEL), self.of("queued")
        if lease is None:
            assert not queued
            return None
        assert lease.job.id == queued[0]  # the oldest
        job = self.expected[lease.job.id]
        job.status, job.attempts = "in_progress", job.attempts + 1
        return lease

    @rule(lease=leases, action=st.sampled_from(["renew", "report", "complete", "fail", "give_back", "discard"]))
    def act(self, lease, action):
        if lease is None:
            return
        job = self.expected[lease.job.id]
        held = job.status == "in_progress" and job.attempts == lease.job.attempts
        assert lease.is_held() == held
        if action == "discard":
            if not held:
                lease.discard()
            return
        assert self.called(lease, action) == held
        if held and action in ("complete", "fail", "give_back"):
            job.status = {"complete": "completed", "fail": "failed", "give_back": "queued"}[action]
            job.ends += action != "give_back"
            job.lost = False
        if held and action in ("renew", "report"):
            with self.store.database.writing() as database:  # a lease that is renewed does not run out
                row = database.execute("SELECT worker FROM jobs WHERE id = ?", (lease.job.id,)).fetchone()
            job.lost = "another start" in row["worker"]

    def called(self, lease: Lease, action: str) -> bool:
        arguments = {"report": (1, 3, None), "complete": ({},), "fail": (JobError("server_error", "", "internal"),)}
        return getattr(lease, action)(*arguments.get(action, ()))

    @rule(job=jobs, how=st.sampled_from([die, expire]))
    def lose(self, job, how):
        if self.expected[job].status == "in_progress":
            how(self.store, self.store.get(job))
            self.expected[job].lost = True

    @rule()
    def recover(self):
        self.store.leases.recover()
        for job in self.expected.values():
            if job.lost:
                job.deaths, job.lost = job.deaths + 1, False
                job.status = "failed" if job.deaths == MOST_DEATHS else "queued"
                job.ends += job.status == "failed"

    @rule(job=jobs)
    def delete(self, job):
        expected = self.expected[job]
        if expected.status == "deleted":
            with pytest.raises(NotFoundError):
                self.store.delete(job)
            return
        self.store.delete(job)
        expected.status, expected.lost = "deleted", False

    @invariant()
    def agrees(self):
        for name, job in self.expected.items():
            found = self.store.get(name, deleted=True)
            assert (found.status, found.attempts, found.deaths) == (job.status, job.attempts, job.deaths)
            assert job.ends <= 1
            assert (found.ended is not None) == found.is_final
            assert self.store.position(name) == (self.of("queued").index(name) if job.status == "queued" else None)
        listed = [job.id for job in self.store.list(limit=100, order="asc").jobs]
        assert listed == [name for name, job in self.expected.items() if job.status != "deleted"]
        assert sum(self.store.counts().values()) == len(self.expected)

    def of(self, status: str) -> list[str]:
        return [name for name, job in self.expected.items() if job.status == status]


def test_the_store_agrees_with_its_model():
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))


@pytest.mark.slow
def test_the_store_agrees_with_its_model_for_long():
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=400, stateful_step_count=80, deadline=None))
