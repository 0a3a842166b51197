"""A template is a valid recipe with the defaults, before and after the lines of the defaults are uncommented."""

import re

import pytest

from refilm.recipes import STAGES, read_recipe
from refilm.settings.described import table_of
from refilm.settings.template import template

LESSON = {"until": 1000, "batch": 16}
LOOP = {"loop": {"steps": 1000}}
CLIPS = {"data": {"cache": "cache"}, "diffusion": {"curriculum": [LESSON]}}
MINIMAL = {
    "autoencoder": LOOP | {"out": "base", "autoencoder": {"curriculum": [LESSON | {"frames": 9, "crop": 32}]}},
    "encoders": LOOP | {"out": "base", "encoders": {}},
    "base": LOOP | CLIPS | {"base": "base", "size": {"layers": 30, "heads": 30}, "defaults": {}},
    "adapter": LOOP | CLIPS | {"out": "adapter"},
}
DEFAULT = re.compile(r"^#(?=\w+ = )", re.MULTILINE)


@pytest.fixture(params=STAGES)
def stage(request) -> str:
    return request.param


def recipe(text: str, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_a_template_is_a_recipe_with_the_defaults(stage, tmp_path):
    assert recipe(template(STAGES[stage]), tmp_path) == STAGES[stage].from_values({"stage": stage} | MINIMAL[stage])


def test_uncommented_defaults_change_nothing(stage, tmp_path):
    text = template(STAGES[stage])
    uncommented, count = DEFAULT.subn("", text)
    assert count > 20
    assert recipe(uncommented, tmp_path) == recipe(text, tmp_path)


def test_every_setting_is_in_its_template(stage):
    text = template(STAGES[stage])
    for name, setting in table_of(STAGES[stage]).rows():
        line = re.search(rf"^#? ?{setting.name} = (.*)$", text, re.MULTILINE)
        assert line, name
        assert setting.sentence, f"{name} has no docstring"
        assert setting.sentence.split()[0] in text
