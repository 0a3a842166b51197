"""Commands import only what they use; imports are most of the time of a short command."""

import subprocess
import sys

import pytest

from refilm.cli.app import Commands, DataCommands, EvaluateCommands, PreviewCommands

SLOW = {"diffusers", "pandas", "peft", "scipy", "sklearn", "sympy", "torch._dynamo", "torchao", "transformers"}


def imported(*words: object) -> set[str]:
    """The modules that a command imports, in its own process."""
    code = "import sys, refilm.cli, atexit; atexit.register(lambda: print(*sys.modules)); refilm.cli.main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_list_of_commands_needs_no_library(option):
    assert not imported(option) & {*SLOW, "torch", "numpy", "pydantic", "av", "PIL"}


@pytest.mark.parametrize(
    "command",
    [
        *Commands.places,
        *(f"data {name}" for name in DataCommands.places),
        *(f"preview {name}" for name in PreviewCommands.places),
        *(f"evaluate {name}" for name in EvaluateCommands.places),
    ],
)
def test_the_options_of_a_command_need_no_torch(command):
    assert not imported(*command.split(), "--help") & {*SLOW, "torch", "numpy", "av"}


def test_a_description_needs_no_slow_library():
    assert not imported("info", "pocket") & SLOW


def test_a_video_needs_no_slow_library(tmp_path, fox):
    words = ["generate", "a critter waits", "--reference", fox, "--steps", 1, "-o", tmp_path / "video.mp4"]
    assert not imported(*words) & {*SLOW, "torch.distributed.fsdp"}
    assert (tmp_path / "video.mp4").exists()


def test_a_data_set_is_encoded_without_slow_libraries(tmp_path, tiny_base):
    imported("data", "critters", tmp_path / "clips", "--clips", 1)
    imported("data", "check", tmp_path / "clips", "--base", tiny_base)
    words = ["data", "encode", tmp_path / "clips", "--out", tmp_path / "cache", "--base", tiny_base]
    assert not imported(*words) & SLOW
