"""Settings: no conversions, bounds on every number, and any text survives a round trip through a file."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import refilm
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.recipes import read_recipe, recipe_of
from refilm.settings import Seed, Settings

RECIPE = """
stage = "adapter"
out = "out"
data = { cache = "cache", clips = 8 }
diffusion = { curriculum = [{ until = 1, batch = 2 }] }
loop = { steps = 1 }
"""


class Inner(Settings):
    """A table."""

    seed: Seed = 0


class Everything(Settings):
    """A setting of each kind."""

    number: int = 1
    amount: float = 1.0
    on: bool = False
    words: str = ""
    path: Path = Path()
    pair: tuple[int, float] = (1, 2.0)
    tables: tuple[Inner, ...] = ()
    size: TransformerSize = TransformerSize(1, 1)


def all_settings(kind: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for each in kind.__subclasses__():
        yield each
        yield from all_settings(each)


def numbers(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number in a JSON schema, with where it is."""
    if schema.get("type") in ("integer", "number"):
        yield path, schema
    for name, value in schema.items():
        inside = enumerate(value) if isinstance(value, list) else [("", value)]
        for index, part in inside:
            if isinstance(part, dict):
                yield from numbers(part, f"{path}/{name}{index}")


def test_every_number_of_every_settings_has_bounds():
    for module in pkgutil.walk_packages(refilm.__path__, "refilm."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in all_settings() if kind.__module__.startswith("refilm.")}
    assert {"Request", "LoopSettings", "Defaults", "AdapterRecipe", "CheckSettings"} <= {each.__name__ for each in ours}
    for kind in ours:
        for place, schema in numbers(kind.model_json_schema()):
            bounds = schema.keys() & {"minimum", "exclusiveMinimum", "const", "enum"}
            assert bounds, f"{kind.__module__}.{kind.__name__}: {place} has no lower bound"


@pytest.mark.parametrize(
    "values",
    [
        {"number": "12"},
        {"number": 12.0},
        {"number": True},
        {"amount": "1.5"},
        {"amount": True},
        {"amount": float("nan")},
        {"amount": float("inf")},
        {"on": "yes"},
        {"on": 1},
        {"words": 1},
        {"path": 1},
        {"pair": [1, "2"]},
        {"tables": [{"seed": True}]},
        {"tables": [{"seed": -1}]},
        {"size": {"layers": "2", "heads": 1}},
        {"size": {"layers": 0, "heads": 1}},
    ],
)
def test_nothing_is_converted(values):
    with pytest.raises(ValueError, match=rf"^{next(iter(values))}\b"):
        Everything.from_values(values)
    with pytest.raises(ValidationError):
        Everything(**values)


def test_files_have_lists_and_text_where_python_has_tuples_and_paths():
    given = {"amount": 2, "path": "a/b", "pair": [1, 2], "tables": [{"seed": 3}], "size": {"layers": 2, "heads": 3}}
    read = Everything.from_values(given)
    assert (read.amount, read.path, read.pair, read.tables) == (2.0, Path("a/b"), (1, 2.0), (Inner(seed=3),))
    assert isinstance(read.amount, float)
    assert read.size == TransformerSize(2, 3)


@given(st.text(st.characters(codec="utf-8")), st.lists(st.text(st.characters(codec="utf-8")).map(str)))
def test_any_text_comes_back_from_toml(tmp_path_factory, words, prompts):
    recipe = recipe_of(read_values() | {"videos": {"prompts": prompts}, "out": f"out/{words}".replace("\0", "")})
    path = tmp_path_factory.mktemp("text") / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(path) == recipe


def read_values() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(RECIPE)


def test_a_byte_order_mark_is_passed_over_and_another_encoding_named(tmp_path):
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + RECIPE.encode())
    assert read_recipe(tmp_path / "bom.toml") == recipe_of(read_values())
    (tmp_path / "wide.toml").write_text(RECIPE, encoding="utf-16")
    with pytest.raises(ValueError, match=r"wide\.toml: not UTF-8 text .*save it as UTF-8"):
        read_recipe(tmp_path / "wide.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x = " + b"[" * 100_000, r"deep\.toml: not TOML"),
        (b"x = " + b"9" * 5_000, r"deep\.toml: not TOML"),
        (b"\0" * (1 << 23), r"deep\.toml: has 8,388,608 bytes"),
    ],
)
def test_files_that_would_cost_much_are_refused(tmp_path, content, words):
    (tmp_path / "deep.toml").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_recipe(tmp_path / "deep.toml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loop.step": 3}, r"loop\.step: unknown; did you mean loop\.steps\?"),
        ({"lop.steps": 3}, r"lop: unknown; did you mean loop\?"),
        ({"learning_rate": 0.1}, r"learning_rate: .*; did you mean loop\.optimizer\.learning_rate\?"),
        ({"train.lora.rnak": 3}, r"train\.lora\.rnak: .*; did you mean train\.lora\.rank\?"),
        (
            {"diffusion.curriculum": [{"until": 1, "batchs": 2}]},
            r"diffusion\.curriculum\.0\.batchs: .*; did you mean diffusion\.curriculum\.0\.batch\?",
        ),
        ({"xyzzy": 3}, r"xyzzy: unknown \(received 3\)"),
        ({"stage": "adaptor"}, r"stage: choose one of autoencoder, .* \(received 'adaptor'\)"),
        ({"loop.steps": 0}, r"loop\.steps: Input should be greater than or equal to 1 \(received 0\)"),
        ({"loop.steps": "12"}, r"loop\.steps: Input should be a valid integer \(received '12'\)"),
    ],
)
def test_an_error_names_the_setting_and_suggests_a_similar_one(tmp_path, changes, words):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    with pytest.raises(ValueError, match=rf"recipe\.toml: {words}"):
        read_recipe(path, changes)


def test_a_run_of_no_steps_is_refused_at_the_command_line(refilm, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    for steps in ("0", "-1", "true", '"12"', "12.0"):
        result = refilm("train", path, "--dry-run", "--set", f"loop.steps={steps}")
        assert result.exit_code == 2
        assert "loop.steps" in result.stderr


def test_text_that_no_file_can_hold_is_refused():
    with pytest.raises(ValueError, match=r"'\\udc80' is not a valid character"):
        recipe_of(json.loads('{"stage": "adapter", "out": "out\\udc80"}'))


def test_old_names_are_read_with_a_warning_that_has_the_new_ones(caplog, tmp_path):
    values = read_values()
    values["diffusion"] |= {"still_share": 0.25, "loss": {"mask_share": 0.5}}
    values["loop"] |= {"optimizer": {"decay_share": 0.1}}
    (tmp_path / "old.toml").write_text(tomli_w.dumps(values | {"begin_from": "me/mine", "films": {"prompts": ["hop"]}}))
    recipe = read_recipe(tmp_path / "old.toml")
    assert (recipe.diffusion.still_fraction, recipe.diffusion.loss.mask_fraction) == (0.25, 0.5)
    assert (recipe.loop.optimizer.decay_fraction, recipe.init_from) == (0.1, Path("me/mine"))
    assert recipe.videos.prompts == ("hop",)
    assert recipe == recipe_of(recipe.to_values())
    assert "begin_from was renamed to init_from; the old name is still read" in caplog.messages
    with pytest.raises(ValueError, match="begin_from: was renamed to init_from, and both are given; remove begin_from"):
        recipe_of(values | {"begin_from": "a", "init_from": "b"})
