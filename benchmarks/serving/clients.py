"""The clients of `serve_load`, in a process of their own: each makes one job after another, as its fate says.

    python benchmarks/serving/clients.py ADDRESS PLAN OUT

PLAN is a JSON file with the number of clients and, for each job, its number and fate: `patient` downloads the video,
`cancelled` deletes it at a random moment, `disconnected` first closes its connection while it creates, polls and
downloads. All clients repeat a request whose connection breaks, creations with the same idempotency key. OUT gets what
became of each job, when each answered request was sent and how long it took, and the number of refused and broken ones.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.files import write_json

STEPS, FRAMES, SIZE = 4, 9, "32x32"
MOMENTS = ("queued", "in_progress", "completed")  # of which a cancelled job reaches one
FINAL = ("completed", "failed")
ABANDONED = 3  # connections that a disconnected client closes in each phase
TIMEOUT = 60.0  # seconds
Facts = dict[str, Any]


def key_of(number: int) -> str:
    """The idempotency key of a job."""
    return f"load-{number}"


def request_of(number: int) -> Facts:
    """Arguments of httpx for a creation: every other one is a form with an image of a subject."""
    story = critters.story(7, number, "held_out")
    values = {"prompt": story.caption, "steps": STEPS, "frames": FRAMES, "size": SIZE, "seed": number}
    if number % 2:
        return {"json": values}
    file = BytesIO()
    Image.fromarray(critters.portrait(story.subject, np.random.default_rng(number))).save(file, "PNG")
    return {"data": values, "files": {"input_reference": ("subject.png", file.getvalue())}}


class Clients:
    """Clients of one server, and what they have seen."""

    def __init__(self, http: httpx.AsyncClient):
        self.http = http
        self.times: dict[str, list[tuple[float, float]]] = {"GET": [], "POST": [], "DELETE": [], "content": []}
        """When a request was sent, and its seconds."""
        self.counts: Counter[str] = Counter()
        self.ends: list[Facts] = []

    async def run(self, clients: int, jobs: list[Facts]) -> None:
        """Make all jobs."""
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                self.ends.append(await self._made(job["number"], job["fate"]))

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(work())

    async def _made(self, number: int, fate: str) -> Facts:
        """Make one job; returns how it ended for its client."""
        chance, request = random.Random(number), request_of(number)
        create = {"method": "POST", "url": "/v1/videos", "headers": {"Idempotency-Key": key_of(number)}, **request}
        if fate == "disconnected":
            await self._abandon(lambda: self.http.request(**create), chance, "create")
        job = (await self._answer("POST", **create)).json()
        url = f"/v1/videos/{job['id']}"
        if fate == "disconnected":
            await self._abandon(lambda: self._events(url), chance, "poll")
        facts = {"number": number, "fate": fate, "id": job["id"]}
        if fate == "cancelled":
            return facts | await self._cancelled(url, chance)
        video = await self._polled(url, FINAL)
        if fate == "disconnected":
            await self._abandon(lambda: self.http.get(f"{url}/content"), chance, "download")
        content = await self._answer("content", "GET", f"{url}/content") if video["status"] == "completed" else None
        digest = hashlib.sha256(content.content).hexdigest() if content else None
        return facts | {"end": video["status"], "sha256": digest}

    async def _cancelled(self, url: str, chance: random.Random) -> Facts:
        video = await self._polled(url, MOMENTS[MOMENTS.index(chance.choice(MOMENTS)) :] + FINAL)
        await asyncio.sleep(chance.random())
        deleted = await self._answer("DELETE", "DELETE", url)  # 404: the first of two requests was carried out
        gone = await self._answer("GET", "GET", url)
        ends = {(200, 404): "deleted", (404, 404): "deleted"}
        return {"end": ends.get((deleted.status_code, gone.status_code), "wrong"), "cancelled_when": video["status"]}

    async def _polled(self, url: str, wanted: tuple[str, ...]) -> Facts:
        """Poll as often as the server asks for, until a status is reached."""
        progress = 0
        while True:
            answer = await self._answer("GET", "GET", url)
            video = answer.json()
            self.counts["progress_decreased"] += video["progress"] < progress
            progress = video["progress"]
            if video["status"] in wanted:
                return video
            await asyncio.sleep(int(answer.headers["openai-poll-after-ms"]) / 1000)

    async def _answer(self, kind: str, method: str, url: str, **values: Any) -> httpx.Response:
        """Send a request until it is answered; the time of the last try is recorded."""
        while True:
            sent, began = time.time(), time.perf_counter()
            try:
                answer = await self.http.request(method, url, **values)
            except httpx.TransportError:
                self.counts["broken"] += 1
                await asyncio.sleep(0.3)
                continue
            self.times[kind].append((sent, time.perf_counter() - began))
            if answer.status_code == 429:
                self.counts["queue_full"] += 1
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            elif answer.status_code >= 500:
                self.counts["server_errors"] += 1
                await asyncio.sleep(1)
            else:
                self.counts["refused"] += answer.status_code >= 400 and answer.status_code != 404
                return answer

    async def _abandon(self, send: Callable[[], Awaitable[object]], chance: random.Random, phase: str) -> None:
        """Close some connections at random moments of a request."""
        for _ in range(ABANDONED):
            try:
                async with asyncio.timeout(chance.uniform(0.002, 0.05)):
                    await send()
            except TimeoutError:
                self.counts[f"disconnected_{phase}"] += 1
            except httpx.TransportError:
                self.counts["broken"] += 1

    async def _events(self, url: str) -> None:
        async with self.http.stream("GET", f"{url}/events") as events:
            async for _ in events.aiter_lines():
                pass


async def main(address: str, plan: Path, out: Path) -> None:
    given = json.loads(plan.read_text())
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=given["clients"])
    async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT, limits=limits) as http:
        clients = Clients(http)
        await clients.run(given["clients"], given["jobs"])
    found = {"ends": clients.ends, "times": clients.times, "counts": clients.counts}
    write_json(out, found)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
