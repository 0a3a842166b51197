"""Functions for agents, served by Gradio's MCP endpoint over the same store."""

from typing import Any

import gradio as gr

from refilm.errors import UserError
from refilm.serving.job import VideoJob
from refilm.serving.page.asking import Desk
from refilm.serving.page.subjects import named, saved_member

MOST = 100


def add_tools(desk: Desk) -> None:
    """Add the functions to the present Gradio app."""
    store = desk.store

    def create_video(prompt: str, seed: int = -1, characters: str = "", steps: int = 0) -> dict[str, Any]:
        """Ask for a video; returns at once with its id, to be given to video_status.

        Args:
            prompt: What happens in the video, and where.
            seed: Random seed; -1 draws one.
            characters: Ids of saved subjects that appear in it, separated by commas.
            steps: Number of sampler steps; 0 is the model's default.
        """
        ids = [one.strip() for one in characters.split(",") if one.strip()]
        request: dict[str, Any] = {"prompt": prompt}
        request |= {name: value for name, value, none in (("seed", seed, -1), ("steps", steps, 0)) if value != none}
        try:
            members = named([saved_member(store, one, {}) for one in ids])
            files = {name: content for member in members.values() for name, content in member.files.items()}
            subjects = {name: member.values for name, member in members.items()}
            return _facts(desk.create({**request, **({"subjects": subjects} if subjects else {})}, files))
        except UserError as error:
            raise gr.Error(str(error)) from error

    def video_status(video: str) -> dict[str, Any]:
        """The status, the progress and, when it is completed, the address of a video.

        Args:
            video: The id of the video.
        """
        try:
            return _facts(store.get(video))
        except UserError as error:
            raise gr.Error(str(error)) from error

    def list_videos(limit: int = 20) -> list[dict[str, Any]]:
        """The newest videos first.

        Args:
            limit: The greatest number of videos, 1 to 100.
        """
        return [_facts(job) for job in store.list(limit=min(max(1, limit), MOST)).jobs]

    for function in (create_video, video_status, list_videos):
        gr.api(function, api_name=function.__name__)


def _facts(job: VideoJob) -> dict[str, Any]:
    """What an agent needs to know of a job."""
    facts: dict[str, Any] = {
        "id": job.id,
        "status": job.status,
        "progress": job.progress,
        "prompt": job.prompt,
        "seed": job.seed,
        "seconds_left": job.eta,
        "error": job.error.message if job.error else None,
    }
    return facts | ({"content": f"/v1/videos/{job.id}/content"} if job.status == "completed" else {})
