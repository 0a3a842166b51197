"""Recipes of earlier versions stay readable. `fixtures` has a video of each version of the description."""

from pathlib import Path

import pytest

from refilm.generation.recipe import FORMAT, read_video_recipe
from refilm.settings import StepRange

FIXTURES = Path(__file__).parent / "fixtures"
VIDEOS = [FIXTURES / f"format-{number}.mp4" for number in range(1, FORMAT + 1)]


@pytest.mark.parametrize("video", VIDEOS, ids=lambda path: path.stem)
def test_the_recipe_of_an_earlier_version_is_read(video):
    recipe = read_video_recipe(video)
    assert recipe == read_video_recipe(video.with_name(f"{video.name}.json"))
    assert (recipe.prompt, recipe.seed) == ("a critter bounces in the meadow", 5)
    cat, ball = recipe.subjects
    assert (cat.name, cat.mask.path, cat.frames) == ("cat", "left.png", "0.5..1")
    assert (ball.words, ball.images[0].sha256[:8]) == (("critter",), "941d2a34")
    settings = recipe.settings
    assert (settings.steps, settings.guidance_form, settings.step_cache) == (4, "projected", 0.1)
    assert settings.guidance_steps == StepRange(1, 3)
    assert recipe.made.passes == 8
    assert recipe.changed({"cat.scale": 0.5, "steps": 9}).settings.steps == 9
