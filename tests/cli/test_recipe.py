"""`refilm recipe` prints the template of every stage."""

from typing import get_args, get_type_hints

from refilm.cli.recipe import recipe
from refilm.recipes import STAGES, read_recipe
from refilm.settings.template import template


def test_every_stage_can_be_chosen():
    assert set(get_args(get_type_hints(recipe)["stage"])) == set(STAGES)


def test_the_output_is_a_recipe(refilm, tmp_path):
    result = refilm("recipe", "adapter")
    assert result.exit_code == 0
    assert result.stdout == template(STAGES["adapter"])
    (tmp_path / "mine.toml").write_text(result.stdout)
    assert read_recipe(tmp_path / "mine.toml").stage == "adapter"
