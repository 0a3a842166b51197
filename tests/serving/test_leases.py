"""Leases: one worker at a time has a job; that of a dead worker is continued; who lost a lease changes nothing."""

import time

import pytest

from refilm.jobs.claims import Process
from refilm.serving import JobError
from refilm.serving.leases import MOST_DEATHS
from refilm.serving.retention import retain

from .stores import GONE, ME, MODEL, accept, die, expire, files_of

ERROR = JobError("server_error", "an error", "internal")


def test_jobs_are_taken_in_order_and_once(store):
    jobs = [accept(store).id for _ in range(2)]
    accept(store, model="another")
    assert [store.leases.take(ME, MODEL).job.id for _ in range(2)] == jobs
    assert store.leases.take(ME, MODEL) is None


def test_progress_never_decreases(store):
    accept(store)
    lease = store.leases.take(ME, MODEL)
    assert lease.report(2, 4, 1.5, preview=True)
    job = store.get(lease.job.id)
    assert (job.step, job.steps, job.progress, job.eta, job.preview) == (2, 4, 47, 1.5, 2)
    lease.report(1, 4, None)  # from an earlier state
    job = store.get(lease.job.id)
    assert (job.step, job.progress, job.preview) == (1, 47, 2)
    lease.complete({"video.mp4": 3})
    job = store.get(lease.job.id)
    assert (job.status, job.progress, job.step, job.files) == ("completed", 100, 4, {"video.mp4": 3})


@pytest.mark.parametrize("loses", [die, expire])
def test_a_worker_that_lost_its_lease_changes_nothing(store, loses):
    job = accept(store, {"fox.png": b"pixels"})
    old = store.leases.take(ME, MODEL)
    loses(store, job)
    new = store.leases.take(ME, MODEL)
    assert (new.job.id, new.job.attempts, new.job.deaths) == (job.id, 2, 1)
    before = store.get(job.id)
    assert not any((old.is_held(), old.renew(), old.report(2, 3, None), old.complete({}), old.fail(ERROR)))
    assert not old.give_back()
    old.discard()
    assert store.get(job.id) == before
    assert files_of(store, job)  # still those that the new worker reads
    assert new.complete({})


def test_a_lease_lasts_while_it_is_renewed(store, monkeypatch):
    accept(store)
    lease = store.leases.take(ME, MODEL)
    now = time.time()
    for minute in range(1, 4):
        monkeypatch.setattr(time, "time", lambda minute=minute: now + 50 * minute)
        assert store.leases.take(ME, MODEL) is None
        assert lease.renew()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert store.leases.take(ME, MODEL).job.attempts == 2


def test_a_job_that_ends_its_workers_fails(store):
    job = accept(store)
    for death in range(MOST_DEATHS):
        assert store.leases.take(ME, MODEL).job.deaths == death
        die(store, job)
    assert store.leases.take(ME, MODEL) is None
    failed = store.get(job.id)
    assert (failed.status, failed.error.code, failed.deaths) == ("failed", "worker_died", MOST_DEATHS)
    assert store.deaths() == MOST_DEATHS


def test_a_job_that_was_given_back_is_next_and_counts_no_death(store):
    first, _ = accept(store), accept(store)
    for _ in range(2 * MOST_DEATHS):
        lease = store.leases.take(ME, MODEL)
        assert lease.job.id == first.id
        assert lease.give_back()
    assert store.get(first.id).deaths == 0


def test_a_deleted_job_is_not_held_and_leaves_nothing(store):
    job = accept(store, {"fox.png": b"pixels"})
    lease = store.leases.take(ME, MODEL)
    store.delete(job.id)
    assert not lease.is_held()
    store.files.state(job.id).parent.mkdir()
    store.files.state(job.id).write_bytes(b"written after the deletion")
    assert not lease.complete({})
    lease.discard()
    assert files_of(store, job) == []


def test_an_ended_job_keeps_inputs_and_results_of_its_last_attempt(store):
    job = accept(store, {"fox.png": b"pixels"})
    for _ in range(2):
        lease = store.leases.take(ME, MODEL)
        folder = store.files.results(lease.job)
        folder.mkdir(parents=True)
        (folder / "video.mp4").write_bytes(str(lease.job.attempts).encode())
        if lease.job.attempts == 1:
            die(store, job)  # after it wrote the results, before it could say so
    store.files.state(job.id).parent.mkdir()
    store.files.state(job.id).touch()
    assert lease.complete({"video.mp4": 1})
    done = store.get(job.id)
    assert store.content(done).read_bytes() == b"2"
    assert {path.name for path in files_of(store, job)} == {"fox.png", "video.mp4"}
    assert len([*store.folder.glob(f"videos/{job.id}/*")]) == 1


def test_what_killed_processes_leave_is_removed(store):
    job = accept(store)
    lease = store.leases.take(ME, MODEL)
    lease.fail(ERROR)
    for path in (store.files.state(job.id), store.files.inputs("video_unknown") / "fox.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    retain(store)
    assert not store.files.state(job.id).exists()
    assert store.files.inputs("video_unknown").exists()  # it may be about to be accepted
    assert store.get(job.id).error == ERROR


def test_workers_that_run_are_known(store):
    store.leases.announce(ME, "cpu", "loading")
    store.leases.announce(GONE, "cuda:0", "idle")
    store.leases.announce(ME, "cpu", "idle")
    assert [(worker.pid, worker.device, worker.state) for worker in store.leases.workers()] == [(ME.pid, "cpu", "idle")]
    store.leases.forget_dead()
    store.leases.leave(ME)
    with store.database.reading() as database:
        assert database.execute("SELECT count(*) AS workers FROM workers").fetchone()["workers"] == 0


def test_workers_of_other_machines_are_not_known_to_be_gone(store):
    job = accept(store)
    lease = store.leases.take(Process("another machine", 1, "then"), MODEL)
    assert store.leases.take(ME, MODEL) is None
    assert lease.is_held()
    expire(store, job)
    assert store.leases.take(ME, MODEL) is not None
