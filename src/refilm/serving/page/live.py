"""The videos that are being made, and the newest ones that have ended, as HTML."""

from refilm.serving.job import VideoJob
from refilm.serving.page.fragments import button, content, duration, empty, text
from refilm.serving.store import Store

MOST_QUEUED, RECENT = 20, 4


def active(store: Store) -> str:
    """The jobs in progress with preview, progress and remaining time, then the queued ones."""
    running = store.list(status="in_progress", order="asc", limit=MOST_QUEUED).jobs
    queued = store.list(status="queued", order="asc", limit=MOST_QUEUED)
    cards = [_running(job) for job in running] + [_queued(job, store) for job in queued.jobs]
    if queued.has_more:
        cards.append(f'<p class="empty">{store.counts()["queued"]} videos wait in all.</p>')
    title = '<h2 class="title">In progress</h2>'
    if not cards:
        return title + empty("Nothing is being made.")
    return title + "".join(cards) + _workers(store)


def recent(store: Store) -> str:
    """The newest videos that are finished or failed."""
    jobs = [job for job in store.list(limit=RECENT + MOST_QUEUED).jobs if job.status in ("completed", "failed")]
    cards = "".join(_failed(job) if job.status == "failed" else _finished(job) for job in jobs[:RECENT])
    return '<h2 class="title">Recent</h2>' + (cards or empty("Finished videos appear here, and stay in the gallery."))


def _running(job: VideoJob) -> str:
    where = f"step {job.step} of {job.steps}" if job.steps else "starting"
    left = f", about {duration(job.eta)} left" if job.eta is not None else ""
    preview = (
        f'<img class="frame" src="v1/videos/{job.id}/preview?step={job.preview}" alt="Preview of step {job.preview}">'
        if job.preview
        else '<div class="frame waiting" aria-hidden="true"></div>'
    )
    return (
        f'<article class="job" data-job="{job.id}">{preview}<div><p class="prompt">{text(job.prompt)}</p>'
        f'<progress max="100" value="{job.progress}" aria-label="Progress">{job.progress} %</progress>'
        f'<p class="state">{where}{left}</p>{_cancel(job)}</div></article>'
    )


def _queued(job: VideoJob, store: Store) -> str:
    before = store.position(job.id) or 0
    place = "next" if before == 0 else f"{before} {'video' if before == 1 else 'videos'} before it"
    again = f", continues at {job.progress} %" if job.progress else ""
    return (
        f'<article class="job" data-job="{job.id}"><div class="frame waiting" aria-hidden="true"></div><div>'
        f'<p class="prompt">{text(job.prompt)}</p><p class="state">queued, {place}{again}</p>{_cancel(job)}</div>'
        "</article>"
    )


def _cancel(job: VideoJob) -> str:
    return button("Cancel", "delete", job.id, title=f"Cancel: {job.prompt}")


def _finished(job: VideoJob) -> str:
    return (
        f'<article class="job" data-job="{job.id}"><button class="frame" data-action="open" data-key="{job.id}" '
        f'aria-label="Open in the gallery: {text(job.prompt)}"><img src="{content(job, "thumbnail")}" alt=""></button>'
        f'<div><p class="prompt">{text(job.prompt)}</p><p class="state">finished, seed {job.seed}</p>'
        f"{button('Open', 'open', job.id, title=f'Open: {job.prompt}')}</div></article>"
    )


def _failed(job: VideoJob) -> str:
    message = job.error.message if job.error else ""
    reuse = button("Reuse settings", "reuse", job.id, title=f"Reuse settings: {job.prompt}")
    return (
        f'<article class="job failed" data-job="{job.id}"><div class="frame waiting" aria-hidden="true"></div><div>'
        f'<p class="prompt">{text(job.prompt)}</p><p class="state">failed: {text(message)}</p>'
        f"{reuse}{button('Remove', 'delete', job.id, title=f'Remove: {job.prompt}')}</div></article>"
    )


def _workers(store: Store) -> str:
    workers = store.leases.workers()
    if not workers:
        return '<p class="state">No worker is running; videos wait until one is.</p>'
    if all(worker.state == "loading" for worker in workers):
        return '<p class="state">The model is loading.</p>'
    return ""
