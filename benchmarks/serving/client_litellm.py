"""The litellm client against a server: `python client_litellm.py ADDRESS TOKEN IMAGE`. It offers no deletion."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise importing it asks a server for prices

import litellm  # pyright: ignore[reportMissingImports]
from steps import Steps, polled

SHORT = {"steps": 2, "frames": 9}


def main(address: str, token: str, image: str) -> None:
    steps = Steps("litellm")
    server = {"api_base": f"{address}/v1", "api_key": token, "custom_llm_provider": "openai"}
    ask = {"model": "pocket", "size": "32x32", **server}
    with steps.step("create"):
        video = litellm.video_generation(prompt="a critter bounces", extra_body=SHORT, **ask)
    with steps.step("create with an image"), open(image, "rb") as file:
        other = litellm.video_generation(
            prompt="a critter", seconds="1", input_reference=file, extra_body={"steps": 2}, **ask
        )
    with steps.step("poll"):
        for one in (video, other):
            assert polled(lambda one=one: litellm.video_status(one.id, **server).status) == "completed"
    with steps.step("download"):
        assert litellm.video_content(video.id, **server)[4:8] == b"ftyp"
        assert litellm.video_content(video.id, variant="thumbnail", **server)[8:12] == b"WEBP"
    with steps.step("list"):
        assert len(litellm.video_list(limit=2, **server)["data"]) == 2
    with steps.step("remix"):
        assert litellm.video_remix(video.id, prompt="a critter rests", **server).status == "queued"
    with steps.step("characters"), open(image, "rb") as file:
        fox = litellm.video_create_character(name="fox", video=file, **server)
        assert litellm.video_get_character(fox.id, **server).name == "fox"
        named = litellm.video_generation(prompt="a fox", characters=[{"id": fox.id}], extra_body=SHORT, **ask)
        assert named.status == "queued"
    steps.print()


if __name__ == "__main__":
    main(*sys.argv[1:])
