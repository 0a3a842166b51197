"""Many jobs, while workers are killed at random moments and jobs deleted: each ends once, with the same bytes."""

import os
import random
import signal
import time

import pytest

from .workers import LONG, REQUEST, results

JOBS, KILLS, WORKERS = 24, 20, 2


@pytest.mark.slow
def test_every_job_ends_once_whatever_is_killed(workers, store, undisturbed, fox, monkeypatch):
    monkeypatch.setattr("refilm.serving.leases.MOST_DEATHS", 1000)  # a job may have bad luck
    chance = random.Random(0)
    values = REQUEST | {"reference": ["fox.png"]}
    jobs = [store.accept(values, {"fox.png": fox}, model="pocket", key=str(number)).id for number in range(JOBS)]
    running = [workers.start(store, most_deaths=1000) for _ in range(WORKERS)]
    deleted, kills, end = set(), 0, time.monotonic() + 10 * LONG
    while kills < KILLS or store.counts()["queued"] + store.counts()["in_progress"]:
        assert time.monotonic() < end
        time.sleep(chance.choice([0.02, 0.2, 1.0]) * chance.random())
        if kills < KILLS:
            victim = running.pop(chance.randrange(WORKERS))
            os.kill(victim, signal.SIGKILL)
            workers.pids.remove(victim)
            running.append(workers.start(store, most_deaths=1000))
            kills += 1
            if kills % 4 == 0:
                job = chance.choice([job for job in jobs if job not in deleted])
                store.delete(job)
                deleted.add(job)
    found = {job: store.get(job, deleted=True) for job in jobs}
    assert {job for job, one in found.items() if one.status == "deleted"} == deleted
    assert store.counts()["completed"] == JOBS - len(deleted)
    for job in found.values():
        if job.status == "completed":
            assert results(store, job) == undisturbed
    assert store.deaths() > KILLS / 4  # many kills hit a job
    assert {path.name for path in store.folder.glob("videos/*")} >= set(jobs) - deleted
