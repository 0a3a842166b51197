"""Every name in docs/names.md and docs/differences.md exists: in the package, as a setting, option, value or file."""

import ast
import inspect
import re
import sys
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

import refilm
from refilm.backbones.cogvideox.autoencoder import Autoencoder, AutoencoderSize, VideoAutoencoder
from refilm.backbones.cogvideox.sizes import TransformerSize
from refilm.checkpoints import Defaults
from refilm.data.critters.files import write_clips
from refilm.diffusion import Schedule
from refilm.encoders import Encoders
from refilm.generation import Request
from refilm.generation.request import GuidanceScheduleName, KernelName, SamplerName
from refilm.settings import Settings
from refilm.training.recipes import AdapterRecipe
from refilm.training.tasks.diffusion import DiffusionTask

from ..command_tree import commands, options

ROOT = Path(__file__).parents[2]
PAGES = ("names", "differences")
ROOMS = ("backbones", "checkpoints", "data", "diffusion", "encoders", "generation", "media", "model", "sizes",
         "training")  # fmt: skip
CLASSES = {"Pipeline": refilm.Pipeline, "DiffusionTask": DiffusionTask, "Schedule": Schedule, "refilm": refilm}
VALUES = {*get_args(SamplerName), *get_args(GuidanceScheduleName), *get_args(KernelName), ""}

KNOWN = dict(commands())


def ours():
    """Names in code marks in the second column of the tables."""
    for page in PAGES:
        for line in (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").splitlines():
            if line.startswith("| ") and not line.startswith("| ---"):
                yield from re.findall(r"`([^`]+)`", line.split(" | ")[1])


@pytest.mark.parametrize("name", sorted(set(ours())))
def test_it_exists(name, tmp_path):
    assert exists(name, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "--resume-it",
        "refilm invent",
        '"dpm++"',
        "adapter.yaml",
        "images/",
        "guidance_scale",
        "guidance_schedule='steep'",
        "diffusion.drops",
        "model.Projector",
        "transformer.heads",
        "adapter.layers[i].keys",
        "Pipeline.run",
        "schedule.clean(noisy, velocity, timesteps, more)",
        "refilm.load(..., memory='tiny')",
        "backbones.cogvideox.sizes.cogvideox_9b()",
    ],
)
def test_what_does_not_exist_is_noticed(name, tmp_path):
    assert not exists(name, tmp_path)


def exists(name: str, folder: Path) -> bool:
    """Whether refilm has something with this name."""
    if name.startswith("-"):
        return name.split()[0] in set().union(*map(options, KNOWN.values()))
    if name.startswith("refilm "):
        return " ".join(name.split()[:2]) in KNOWN
    if name == "torchrun":
        return Path(sys.executable).with_name("torchrun").exists()
    if name.endswith(("/", ".json", ".safetensors")):
        return all(part.rstrip("/") in files(folder) for part in name.split())
    if re.fullmatch(r"[a-z]+-[a-z]+", name):
        return name in VALUES
    code = ast.parse(name.removeprefix("for step in ")).body[0]
    if isinstance(code, ast.Assign):
        return takes(code.targets[0].id, ast.literal_eval(code.value))
    if isinstance(code.value, ast.Constant):
        return code.value.value in VALUES
    path, call = dotted(code.value)
    return any(found(start, path, call) for start in (live(), CLASSES, room(path[0]), settings(AdapterRecipe), words()))


def dotted(node: ast.expr, call: ast.Call | None = None) -> tuple[list[str], ast.Call | None]:
    """`a.b[i].c(d)` as its names, and its call where it is one."""
    if isinstance(node, ast.Call):
        return dotted(node.func, node)
    if isinstance(node, ast.Name):
        return [node.id], call
    if isinstance(node, ast.Subscript):
        return [*dotted(node.value)[0], "0"], call
    assert isinstance(node, ast.Attribute), ast.dump(node)
    return [*dotted(node.value)[0], node.attr], call


def found(start, path: list[str], call: ast.Call | None) -> bool:
    try:
        thing = reduce(step, path, start)
    except (LookupError, AttributeError, ImportError):
        return False
    if call is None:
        return True
    positional = [arg for arg in call.args if not (isinstance(arg, ast.Constant) and arg.value is ...)]
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    try:
        inspect.signature(thing).bind_partial(*positional, **named)
    except TypeError:
        return False
    allowed = inspect.signature(thing, eval_str=True).parameters
    return all(value is ... or fits(value, allowed[key].annotation) for key, value in named.items())


def step(thing, name: str):
    """Resolve one name: an entry, an attribute, or a module."""
    if isinstance(thing, dict):
        return thing[name]
    if name.isdigit():
        return thing[int(name)]
    if hasattr(thing, name):
        return getattr(thing, name)
    return import_module(f"{thing.__name__}.{name}") if inspect.ismodule(thing) else getattr(thing, name)


def fits(value, annotation) -> bool:
    choices = get_args(annotation)
    return value in choices if choices else isinstance(value, annotation)


def takes(name: str, value) -> bool:
    """Whether that is a setting of a generation with that value, or an argument of `torch.load`."""
    if name in inspect.signature(torch.load).parameters:
        return True
    try:
        return name in Request.model_fields and Request(
            steps=1, guidance=1, frames=1, height=8, width=8, **{name: value}
        )
    except ValidationError:
        return False


def room(name: str) -> dict:
    return {name: import_module(f"refilm.{name}")} if name in ROOMS else {}


@cache
def live() -> dict:
    """Objects that the pages name by a variable."""
    pipeline = refilm.load("pocket")
    transformer = pipeline.base.transformer
    block = transformer.trunk.blocks[0]
    return {
        "pipeline": pipeline,
        "transformer": transformer,
        "block": block,
        "attention": block.attention,
        "adapter": pipeline.adapter,
        "schedule": pipeline.base.schedule,
        "size": transformer.size,
    }


@cache
def settings(kind: type[Settings]) -> dict:
    """The settings of a recipe as nested tables."""
    tree = {}
    for name, field in kind.model_fields.items():
        kinds = [own for own in (field.annotation, *get_args(field.annotation)) if inspect.isclass(own)]
        tables = [settings(own) for own in kinds if issubclass(own, Settings)]
        tree[name] = tables[0] if tables else {}
    return tree


@cache
def words() -> dict:
    """Names without an object, such as attributes and settings."""
    layer = live()["adapter"].layers[0]
    owners = (Encoders, VideoAutoencoder, layer, Autoencoder(AutoencoderSize(channels=(32,))))
    attributes = {name for owner in owners for name in (*dir(owner), *getattr(owner, "__annotations__", ()))}
    fields = {*Request.model_fields, *Defaults.model_fields, *TransformerSize.__dataclass_fields__}
    alone = {
        *import_module("refilm.backbones.cogvideox.transformer").__dict__,
        *leaves(settings(AdapterRecipe)),
    }
    lesson = {"batch"}  # of a curriculum's lessons
    reference = {"reference"}  # an argument of `generate`, and what `--reference` gives
    names = attributes | fields | alone | lesson | reference | {"Adapter", "Pipeline", "Schedule"} | VALUES
    return {name: name for name in names}


def leaves(table: dict):
    for name, below in table.items():
        yield from (name, *leaves(below))


@cache
def files(folder: Path) -> set[str]:
    """Files in the included model, in the repository, and in a folder of clips."""
    for _ in write_clips(folder / "clips", clips=1, split="train", seed=0, size=32):
        pass
    places = (
        ROOT / "src" / "refilm" / "pocket" / "model",
        ROOT / "src" / "refilm" / "pocket" / "model" / "adapter",
        ROOT,
        folder / "clips",
    )
    return {path.name for place in places for path in place.iterdir()}
