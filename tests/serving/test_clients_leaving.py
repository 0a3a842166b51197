"""Clients that delete a video, or close a connection, at the worst moment: neither is an error of the server."""

import logging

import anyio
import pytest

from refilm.serving import ServedModel, ServerOptions
from refilm.serving.api.app import create_app
from refilm.serving.interrupts import Interrupts
from refilm.serving.worker import Worker, WorkerSettings

from .stores import files_of


class DeletedWhileWriting:
    """Makes no video: its job is deleted while the results are written."""

    def __init__(self, store, interrupts):
        self.store, self.interrupts = store, interrupts

    def steps(self, job):
        folder = self.store.files.results(job)
        folder.mkdir(parents=True)
        self.store.delete(job.id)
        folder.mkdir(parents=True)  # by the writer
        (folder / "left").touch()
        self.interrupts.stop()
        yield (self.store.files.results(job) / "video.mp4").stat()


def test_a_video_that_is_deleted_while_it_is_written_is_no_error(store, job, monkeypatch, caplog):
    interrupts = Interrupts()
    maker = DeletedWhileWriting(store, interrupts)
    monkeypatch.setattr(Worker, "_maker_of_jobs", lambda worker: maker)
    with caplog.at_level(logging.WARNING, "refilm"):
        Worker(WorkerSettings(store=str(store.folder)), store, interrupts).run()
    assert store.get(job.id, deleted=True).status == "deleted"
    assert caplog.text == ""
    assert files_of(store, job) == []


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_connection_that_is_closed_during_an_upload_is_no_error(store, kind):
    app = create_app(store, ServerOptions(ServedModel.of("pocket")))
    headers = [(b"host", b"127.0.0.1"), (b"content-type", kind.encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/videos", "query_string": b"", "headers": headers}
    messages = iter([{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    async def send(message):
        """Nobody receives it."""

    anyio.run(app, scope, receive, send)  # raises nothing
    assert store.list().jobs == ()
