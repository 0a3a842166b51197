"""The store: what is accepted is there, once; keys, queue length, pages, deletion, characters, limits of the disk."""

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from refilm.control.subject import Subject
from refilm.errors import UserError
from refilm.serving import Store
from refilm.serving.database import VERSION
from refilm.serving.errors import IdempotencyConflictError, NotFoundError, QueueFullError
from refilm.serving.retention import retain

from ..disk import limited_files
from .stores import ME, MODEL, REQUEST, accept, files_of


def test_an_accepted_job_survives_its_store(store):
    job = accept(store, {"fox.png": b"pixels"})
    assert job.status == "queued"
    assert job.seed == 5
    other = Store(store.folder)
    assert other.get(job.id) == job
    assert (other.files.inputs(job.id) / "fox.png").read_bytes() == b"pixels"


def test_a_seed_is_drawn_once(store):
    request = {"prompt": "a critter"}
    jobs = [store.accept(request, model=MODEL, key="once") for _ in range(2)]
    assert jobs[0] == jobs[1]
    assert jobs[0].seed != store.accept(request, model=MODEL).seed
    assert store.counts()["queued"] == 2


def test_a_key_stands_for_one_request(store):
    accept(store, {"fox.png": b"pixels"}, key="k")
    with pytest.raises(IdempotencyConflictError):
        accept(store, {"fox.png": b"other pixels"}, key="k")
    job = accept(store, {"fox.png": b"pixels"}, key="k", max_queue=1)  # no second job, so the queue is not too long
    store.delete(job.id)
    with pytest.raises(IdempotencyConflictError):
        accept(store, {"fox.png": b"pixels"}, key="k")


def test_a_full_queue_refuses(store):
    jobs = [accept(store, max_queue=2) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 videos are queued"):
        accept(store, {"fox.png": b"pixels"}, max_queue=2)
    assert store.leases.take(ME, MODEL).job.id == jobs[0].id
    accept(store, max_queue=2)
    assert not any(store.folder.glob("inputs/*"))


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, "prompt"),
        (REQUEST | {"stepz": 3}, "did you mean steps"),
        (REQUEST | {"steps": 0}, "steps"),
        (REQUEST | {"reference": ["/etc/passwd"]}, "was uploaded"),
        (REQUEST | {"subjects": {"fox": {"file": "someone/subject"}}}, "was uploaded"),
        (REQUEST | {"subjects": {"fox": {"images": ["a.png"], "mask": "../a.png"}}}, "was uploaded"),
        (REQUEST | {"output": "frames.PNG"}, "output"),
        (REQUEST | {"output": "../video.mp4"}, "output"),
    ],
)
def test_a_request_names_only_what_comes_with_it(store, request_, error):
    with pytest.raises(UserError, match=error):
        store.accept(request_, {"a.png": b"pixels"}, model=MODEL)
    assert not any(store.counts().values())


@pytest.mark.parametrize("name", ["../a.png", "a/b.png", ".hidden", "", "a" * 101, "a\0.png", "ä.png"])
def test_file_names_stay_in_their_folder(store, name):
    with pytest.raises(UserError, match="file name"):
        accept(store, {name: b"pixels"})


def test_pages_stay_the_same_while_jobs_come_and_go(store):
    jobs = [accept(store).id for _ in range(5)]
    first = store.list(limit=2)
    assert [job.id for job in first.jobs] == [jobs[4], jobs[3]]
    assert first.has_more
    accept(store)
    store.delete(jobs[3])  # the cursor
    second = store.list(after=jobs[3], limit=3)
    assert [job.id for job in second.jobs] == [jobs[2], jobs[1], jobs[0]]
    assert not second.has_more
    assert [job.id for job in store.list(after=jobs[0], limit=1, order="asc").jobs] == [jobs[1]]
    with pytest.raises(NotFoundError):
        store.list(after="video_unknown")


def test_positions_are_counted_among_jobs_of_the_same_model(store):
    first, other, second = accept(store), accept(store, model="another"), accept(store)
    assert [store.position(job.id) for job in (first, other, second)] == [0, 0, 1]
    store.leases.take(ME, MODEL)
    assert [store.position(job.id) for job in (first, second)] == [None, 0]


def test_nothing_of_a_deleted_job_remains(store):
    job = accept(store, {"fox.png": b"pixels"})
    assert files_of(store, job)
    assert store.delete(job.id).status == "deleted"
    assert files_of(store, job) == []
    assert store.get(job.id, deleted=True).request == {}
    for use in (store.get, store.delete):
        with pytest.raises(NotFoundError):
            use(job.id)
    assert store.changed_since(job.id, job.revision).status == "deleted"
    assert store.list().jobs == ()


def test_changes_are_seen_once(store):
    job = accept(store)
    assert store.changed_since(job.id, job.revision) is None
    lease = store.leases.take(ME, MODEL)
    taken = store.changed_since(job.id, job.revision)
    assert taken.status == "in_progress"
    lease.renew()
    assert store.changed_since(job.id, taken.revision) is None


def test_a_character_lives_on_in_its_jobs(store):
    fox = store.characters.create("Fox", {"one.png": b"1", "two.png": b"2"}, words=["the fox"])
    assert store.characters.list() == ((fox,), False)
    values, files = store.characters.subject(fox)
    job = store.accept(REQUEST | {"subjects": {"fox": values}}, files, model=MODEL)
    assert store.characters.delete(fox.id) == fox
    assert not store.files.character(fox.id).exists()
    assert sorted(path.read_bytes() for path in files_of(store, job)) == [b"1", b"2"]
    with pytest.raises(NotFoundError, match="was deleted"):
        store.accept(REQUEST | {"subjects": {"fox": values}}, files, model=MODEL)
    assert store.counts()["queued"] == 1


@pytest.mark.parametrize("files", [{}, {"a.subject": b"", "b.png": b""}, {"a.subject": b"no subject"}])
def test_a_character_is_images_or_one_subject_file(store, files):
    with pytest.raises(UserError, match="subject file"):
        store.characters.create("Fox", files)
    assert [*store.folder.glob("characters/*")] == []


def test_a_subject_file_is_a_character(store, fox, tiny_base):
    from refilm import load
    from refilm.control import save_subject

    path = save_subject(load(tiny_base).encode_subject(Subject(fox)), store.folder / "fox.subject")
    for file in (path, path.read_bytes()):
        values, files = store.characters.subject(store.characters.create("Fox", {"fox.subject": file}))
        assert values == {"file": next(iter(files))}


def test_a_full_disk_accepts_nothing_and_loses_nothing(store):
    job = accept(store, {"fox.png": b"pixels"})
    with limited_files(1 << 12), pytest.raises(OSError, match=r"full|larg"):
        accept(store, {"fox.png": bytes(1 << 13)})
    with limited_files(1), pytest.raises(OSError, match="full"):
        accept(store)
    with limited_files(1), pytest.raises(OSError, match="full"):
        store.delete(job.id)
    assert store.get(job.id) == job
    assert len([*store.folder.glob("inputs/*")]) == 1
    assert accept(store).status == "queued"


def test_a_later_schema_is_refused(store):
    with sqlite3.connect(store.database.path) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(UserError, match=f"jobs.sqlite: has version {VERSION + 1}.*update refilm"):
        Store(store.folder)


def test_a_damaged_database_is_named(tmp_path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match=r"jobs\.sqlite: is damaged"):
        Store(tmp_path)


def test_retention_removes_the_oldest_ended_jobs_only(tmp_path):
    store = Store(tmp_path, keep_days=1, keep_bytes=2500)
    jobs = [accept(store) for _ in range(5)]
    for _ in range(4):  # the fifth is queued
        lease = store.leases.take(ME, MODEL)
        folder = store.files.results(lease.job)
        folder.mkdir(parents=True)
        (folder / "video.mp4").write_bytes(bytes(1000))
        lease.complete({"video.mp4": 1000})
    with store.database.writing() as database:
        database.execute("UPDATE jobs SET ended = ended - 90000 WHERE id = ?", (jobs[2].id,))
    assert store.get(jobs[2].id).expires < store.get(jobs[0].id).expires
    assert retain(store) == [jobs[2].id, jobs[0].id]
    assert [job.id for job in store.list(order="asc").jobs] == [jobs[1].id, jobs[3].id, jobs[4].id]
    assert {path.name for path in store.folder.glob("videos/*")} == {jobs[1].id, jobs[3].id}
    assert retain(store) == []


def test_retention_removes_what_killed_processes_left(store):
    job, fox = accept(store, {"fox.png": b"pixels"}), store.characters.create("fox", {"fox.png": b"pixels"})
    kept = {store.files.inputs(job.id), store.files.character(fox.id)}
    accepted_in_part = [store.files.inputs(f"video_{'0' * 32}"), store.files.character(f"char_{'0' * 32}")]
    written_in_part = [folder.with_name(f".{folder.name}-12345678.unfinished") for folder in accepted_in_part]
    for folder in (*accepted_in_part, *written_in_part):
        (folder / "new").mkdir(parents=True)
    retain(store)
    assert not any(folder.exists() for folder in written_in_part)
    assert all(folder.exists() for folder in accepted_in_part)  # a process may be about to accept them
    for folder in (*accepted_in_part, *kept):
        os.utime(folder, (0, 0))
    retain(store)
    assert not any(folder.exists() for folder in accepted_in_part)
    assert all((folder / "fox.png").exists() for folder in kept)


def test_processes_share_a_new_store(tmp_path):
    """Each accepts with keys of its own and with one key of all, takes and ends jobs, and deletes some."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        done = pool.starmap(_work, [(tmp_path / "store", number) for number in range(4)])
    store = Store(tmp_path / "store")
    shared = {job for _, job, _ in done}
    assert len(shared) == 1
    accepted = shared.union(*(set(own) for own, _, _ in done))
    taken = [job for *_, jobs in done for job in jobs]
    assert len(taken) == len(set(taken))  # none twice
    while (lease := store.leases.take(ME, MODEL)) is not None:
        taken.append(lease.job.id)
        lease.complete({})
    counts = store.counts()
    assert counts["queued"] == counts["in_progress"] == 0
    assert counts["completed"] + counts["deleted"] == len(accepted) == 4 * 25 + 1
    deleted = {job for job in accepted if store.get(job, deleted=True).status == "deleted"}
    assert accepted - deleted == {job.id for job in store.list(limit=1000).jobs} <= set(taken)


def _work(folder: Path, number: int) -> tuple[list[str], str, list[str]]:
    store, own, taken = Store(folder), [], []
    shared = accept(store, key="of all").id
    for turn in range(25):
        own.append(accept(store, key=f"{number} {turn}").id)
        if (lease := store.leases.take(ME, MODEL)) is not None:
            assert lease.report(1, 2, None) or not lease.is_held()
            if lease.complete({}):
                taken.append(lease.job.id)
        if turn % 5 == 0:  # another process may be making it, or have made it
            store.delete(own[-1])
    return own, shared, taken
