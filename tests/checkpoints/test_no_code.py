"""Code from model repositories never runs, and there is no prompt that allows it."""

import ast
import builtins
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import refilm
from refilm.backbones.tokenizer import load_tokenizer
from refilm.checkpoints import load_base
from refilm.checkpoints.sources import POCKET
from refilm.media import as_image

FILES = ["transformer/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json",
         "image_encoder/config.json", "image_processor/preprocessor_config.json", "scheduler/scheduler_config.json",
         "tokenizer/special_tokens_map.json"]  # fmt: skip
CLASSES = {"AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoImageProcessor": "evil.Evil", "AutoModel": "evil.Evil",
           "AutoConfig": "evil.Evil"}  # fmt: skip


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The pocket model with a Python file in each folder that would leave a trace; standard input answers yes."""
    folder, ran = shutil.copytree(POCKET, tmp_path / "model"), tmp_path / "ran"
    for part in folder.iterdir():
        if part.is_dir():
            (part / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))

    def asked(*_):
        raise AssertionError("a user is asked")

    monkeypatch.setattr(builtins, "input", asked)
    yield folder
    assert not ran.exists()
    assert not any(name.startswith("transformers_modules.") for name in sys.modules)


@pytest.mark.parametrize("file", FILES)
def test_a_class_of_the_models_own_is_refused_by_file_and_key(model, file, fox):
    path = model / file
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(content | {"auto_map": CLASSES}))
    with pytest.raises(ValueError, match=rf"{file}: auto_map: requests Python code") as error:
        refilm.load(model).generate("a critter waits", fox, steps=1, seed=1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_no_kernel_is_asked_for(model, key, fox):
    """Only declared fields are read."""
    for part in ("text_encoder", "image_encoder"):
        path = model / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: "evil/kernel"}))
    made, expected = load_base(model).encoders, load_base("pocket").encoders
    assert torch.equal(made.text(["a critter waits"]), expected.text(["a critter waits"]))
    assert torch.equal(made.image([as_image(fox)]), expected.image([as_image(fox)]))


@pytest.mark.parametrize("missing", ["spiece.model", "tokenizer.json"])
def test_a_tokenizer_leads_to_no_other_file(model, tmp_path, missing):
    path = model / "tokenizer" / "tokenizer_config.json"
    other = tmp_path / "other.model"
    other.write_text("not a vocabulary")
    forged = {
        "vocab_file": str(other),
        "tokenizer_file": str(other),
        "init_inputs": [str(other)],
        "chat_template": "{{",
    }
    (model / "tokenizer" / missing).unlink()
    expected = load_tokenizer(model / "tokenizer")
    path.write_text(json.dumps(json.loads(path.read_text()) | forged))
    assert load_tokenizer(model / "tokenizer").inner.to_str() == expected.inner.to_str()


def test_every_call_that_could_run_code_forbids_it():
    """`from_pretrained` of the Auto classes, data sets and torch.hub do not appear, nor is standard input read."""
    found = []
    for path in Path(refilm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.FunctionDef)
                and re.search(r"\bAuto\w+\.from_pretrained", text := ast.unparse(node))
                and "trust_remote_code=False" not in text
            ):
                found.append(f"{path.name}:{node.lineno} {node.name}")
            if not isinstance(node, ast.Call):
                continue
            call, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            name = call.rpartition(".")[2]
            if call in ("input", "builtins.input") or name in ("getpass", "confirm", "prompt") or "torch.hub" in call:
                found.append(f"{path.name}:{node.lineno} {call}")
            if name == "load" and call.startswith("torch") and given.get("weights_only") != "True":
                found.append(f"{path.name}:{node.lineno} {call}")
            if given.get("trust_remote_code", "False") != "False":
                found.append(f"{path.name}:{node.lineno} {call}")
    assert found == []
