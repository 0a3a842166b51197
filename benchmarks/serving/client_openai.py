"""The openai client against a server: `python client_openai.py ADDRESS TOKEN IMAGE`."""

import sys
from typing import Any

import openai
from steps import Steps, polled

SHORT = {"steps": 2, "frames": 9}


def main(address: str, token: str, image: str) -> None:
    steps = Steps("openai")
    videos: Any = openai.OpenAI(base_url=f"{address}/v1", api_key=token, max_retries=0).videos
    with steps.step("create"):
        video = videos.create(prompt="a critter bounces", size="32x32", extra_body=SHORT)
    with steps.step("create with an image"), open(image, "rb") as file:
        other = videos.create(
            prompt="a critter", size="32x32", seconds="1", input_reference=file, extra_body={"steps": 2}
        )
    with steps.step("poll"):
        assert polled(lambda: videos.retrieve(video.id).status) == "completed"
        assert videos.poll(other.id).status == "completed"
    with steps.step("download"):
        assert videos.download_content(video.id).read()[4:8] == b"ftyp"
        assert videos.download_content(video.id, variant="thumbnail").read()[8:12] == b"WEBP"
        assert videos.download_content(video.id, variant="spritesheet").read()[:2] == b"\xff\xd8"
    with steps.step("list"):
        assert {video.id, other.id} <= {one.id for one in videos.list(limit=1)}  # page by page
    with steps.step("remix"):
        assert videos.remix(video.id, prompt="a critter rests").prompt == "a critter rests"
    with steps.step("characters"), open(image, "rb") as file:
        fox = videos.create_character(name="fox", video=file)
        assert videos.get_character(fox.id).name == "fox"
        videos.create(prompt="a fox", size="32x32", extra_body=SHORT | {"characters": [{"id": fox.id}]})
    with steps.step("delete"):
        assert videos.delete(video.id).deleted
        try:
            videos.retrieve(video.id)
        except openai.NotFoundError:
            pass
        else:
            raise AssertionError("a deleted video is found")
    steps.print()


if __name__ == "__main__":
    main(*sys.argv[1:])
