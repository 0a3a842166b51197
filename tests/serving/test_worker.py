"""A worker makes jobs; killed, stopped or disturbed at any moment, the video is the same in the end, or none."""

import io
import os
import re
import signal
import time

from PIL import Image

from refilm.generation.recipe import VideoRecipe

from .stores import files_of
from .workers import REQUEST, ended, results, runs, until, wait_for

ENDLESS = {"prompt": "a critter bounces", "steps": 999}


def test_a_video_comes_with_its_recipe_and_images(undisturbed, fox):
    assert undisturbed.keys() == {"video.mp4", "video.mp4.json", "thumbnail.webp", "spritesheet.jpg"}
    text = undisturbed["video.mp4.json"].decode()
    recipe = VideoRecipe.from_json(text)
    assert (recipe.seed, recipe.settings.steps, recipe.made.date) == (3, 5, None)
    assert recipe.subjects[0].images[0].path == "fox.png"
    assert "/tmp" not in text  # nor any other folder of the server


def test_the_images_show_the_video(undisturbed, tmp_path):
    for name, size in {"thumbnail.webp": (320, 320), "spritesheet.jpg": (6 * 160, 2 * 160)}.items():
        (tmp_path / name).write_bytes(undisturbed[name])
        assert Image.open(tmp_path / name).size == size


def test_the_video_of_a_killed_worker_is_continued(workers, store, job, undisturbed):
    pid = workers.start(store)
    until(store, job, lambda found: found.step >= 2)
    os.kill(pid, signal.SIGKILL)
    left = store.get(job.id)
    workers.start(store)
    taken = until(store, job, lambda found: found.attempts == 2)
    done = ended(store, job)
    assert results(store, done) == undisturbed
    assert (done.deaths, done.attempts) == (1, 2)
    assert taken.progress >= left.progress > 0
    wait_for(lambda: not store.files.state(job.id).exists())


def test_the_continued_video_begins_at_its_last_step(workers, store, job, undisturbed):
    pid = workers.start(store)
    until(store, job, lambda found: found.step >= 3)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not runs(pid))
    queued = store.get(job.id)
    assert (queued.status, queued.deaths, queued.worker) == ("queued", 0, None)
    workers.start(store)
    steps = []
    done = until(store, job, lambda found: steps.append(found.step) or found.is_final)
    assert min(steps) == queued.step >= 3
    assert results(store, done) == undisturbed
    assert done.deaths == 0


def test_a_deleted_job_stops_within_a_step(workers, store):
    endless = store.accept(ENDLESS | {"frames": 161, "size": "96x96"}, model="pocket")  # a step takes seconds
    workers.start(store)
    until(store, endless, lambda found: found.status == "in_progress")
    wait_for(lambda: any(worker.state == endless.id for worker in store.leases.workers()))
    began = time.monotonic()
    following = store.accept(REQUEST, model="pocket")
    store.delete(endless.id)
    until(store, following, lambda found: found.status == "in_progress")
    assert store.get(endless.id, deleted=True).step <= 1
    assert time.monotonic() - began < 60
    assert ended(store, following).status == "completed"
    wait_for(lambda: not files_of(store, endless))


def test_a_worker_without_its_server_gives_its_job_back(workers, store):
    endless = store.accept(ENDLESS, model="pocket")
    pid = workers.start(store, parent=os.getpid())  # it was forked by another process: its server seems to have ended
    wait_for(lambda: not runs(pid))
    assert store.get(endless.id).status == "queued"
    assert store.get(endless.id).deaths == 0
    assert store.leases.workers() == ()


BAD = {
    "multiples of 16": {"size": "33x32"},
    r"^text\.png: .*image": {"reference": ["text.png"]},
    "zebra": {"subjects": {"fox": {"images": ["fox.png"], "words": ["zebra"]}}},
}


def test_an_invalid_request_fails_alone(workers, store):
    files = {"fox.png": image_file(), "text.png": b"no image"}
    bad = {error: store.accept(REQUEST | values, files, model="pocket") for error, values in BAD.items()}
    good = store.accept(REQUEST, model="pocket")
    workers.start(store)
    assert ended(store, good).status == "completed"
    for error, job in bad.items():
        failed = store.get(job.id)
        assert (failed.status, failed.error.type) == ("failed", "invalid_request_error")
        assert re.search(error, failed.error.message)
        assert str(store.folder) not in failed.error.message


def image_file() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_an_error_of_one_video_is_none_of_the_next(workers, store, job, undisturbed):
    files = {"fox.png": store.files.inputs(job.id) / "fox.png"}
    jobs = [job, *(store.accept(job.request, files, model="pocket") for _ in range(2))]
    workers.start(store, faults=["bug", "memory", "disk", "disk"])
    bug, memory, disk = (ended(store, job) for job in jobs)
    assert (bug.status, bug.error.type, bug.error.code) == ("failed", "server_error", "internal")
    assert "a bug" not in bug.error.message
    assert (memory.status, memory.error.code) == ("failed", "out_of_memory")
    assert results(store, disk) == undisturbed  # a full disk fails no job
    assert disk.deaths == 0


def test_previews_show_the_video_while_it_is_made(workers, store):
    endless = store.accept(ENDLESS, model="pocket")
    workers.start(store)
    found = until(store, endless, lambda found: found.preview > 0)
    with Image.open(store.preview(found)) as preview:
        assert preview.is_animated
        assert min(preview.size) >= 128
