"""A user error is one line that says how to fix it, exit code 2, and no traceback."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from refilm.cli.app import QUIET
from refilm.names import GENERATE, LOAD

PROMPT = "a critter bounces in the meadow"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "recipe.toml").write_text('stage = "adapter"\n')
    (tmp_path / "typo.toml").write_text('stage = "encoders"\nout = "x"\nencoders = {}\nloop = {steps = 1, stepz = 1}\n')
    return tmp_path


@pytest.fixture
def unsampled(monkeypatch) -> None:
    """Sampling does not start in this test."""

    def steps(*_: object, **__: object) -> Iterator[None]:
        pytest.fail("sampling started")
        yield

    monkeypatch.setattr("refilm.generation.sampling.run", steps)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--reference fox.png", "fox.png: no such file; use the path of an image"),
        ("--reference text.png", "text.png: not a valid image in a supported format (PNG, JPEG"),
        ("--reference .", "is a folder; use the path of an image"),
        ("--frames 10", "10 frames: the number must be 4k + 1, for instance 9 or 13"),
        ("--size 30x32", "both must be multiples of 8"),
        ("--size large", "--size 'large': give width x height in pixels, for instance 720x480"),
        ("--steps 0", "--steps: Input should be greater than or equal to 1 (received 0)"),
        ("--guidance nan", "--guidance: "),
        ("--base giant", "unknown base model 'giant': use 'pocket', a folder in diffusers' layout"),
        ("--adapter giant", "giant/adapter.json: no such file"),
        ("--explain", "--explain shows which parts of a reference image were used: give one with --reference"),
        ("--device toaster", "device 'toaster' cannot be used here"),
        ("--device meta", "device 'meta' cannot be used here"),
        ("--size 0x0", "--size '0x0': give width x height in pixels, for instance 720x480"),
        (f"--size {'9' * 5000}x32", "99: give width x height in pixels, for instance 720x480"),
        ("--scale 65", "--scale: Input should be less than or equal to 64 (received 65)"),
        ("--guidance-steps 3-9", "--guidance-steps: the run has 4 steps; give 1-4 or a part of it (received 3-9)"),
        (
            "--guidance-steps 9-3",
            "--guidance-steps: give the first and the last step, counted from 1, for instance 1-20",
        ),
        ("--scale 64 --size 272x32", "video.mp4: 17408 x 2048 pixels are too large for .mp4 (at most 16384 per side)"),
    ],
)
def test_generate_refuses(refilm, folder, tiny_base, unsampled, words, what):
    refused(refilm("generate", PROMPT, "-o", "video.mp4", "--base", tiny_base, *words.split()), what)
    assert not Path("video.mp4").exists()


def test_generate_refuses_a_reference_without_an_adapter(refilm, folder, tiny_base, fox):
    words = ("generate", PROMPT, "-o", "video.mp4", "--base", tiny_base, "--adapter", "none")
    refused(
        refilm(*words, "--reference", fox), "a reference needs an adapter: remove --adapter none, or the references"
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--explain-steps 3-9", "--explain-steps '3-9': the run has 4 steps; give 1-4 or a part of it"),
        (f"--explain-steps 1-{'9' * 5000}", "99: give the first and the last step, counted from 1, for instance 1-20"),
        ("--reference-scale 0", "--reference-scale 0 disables the reference, so --explain has nothing to show"),
        ("--guidance 0", "--guidance 0 disables the reference"),
        ("--subject-scale 0", "--explain has nothing to show: no subject has a strength above 0"),
        ("--subject-frames 0..0", "--explain has nothing to show"),
        ("--subject-steps 3-4 --explain-steps 1-2", "--explain has nothing to show"),
        ("--subject-blocks 1:0", "--explain has nothing to show"),
        ("--subject-blocks 1-99", "subject: blocks: '1-99': there are 2 blocks"),
        ("--guidance 2 --reference-guidance 0", "--reference-guidance 0 disables the reference"),
    ],
)
def test_generate_refuses_to_explain_what_is_not_run(refilm, folder, tiny_base, unsampled, fox, words, what):
    given = ("generate", PROMPT, "-o", "video.mp4", "--base", tiny_base, "--reference", fox, "--explain")
    refused(refilm(*given, *words.split()), what)
    assert not Path("video.mp4").exists()


def test_generate_refuses_a_prompt_that_is_too_long(refilm, folder, tiny_base):
    result = refilm("generate", "a critter waits " * 20, "-o", "video.mp4", "--base", tiny_base)
    refused(result, "tokens, the limit of this model is 24: shorten 'a critter waits")


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("video.avi", "video.avi: cannot write .avi; use .mp4, .webm, .gif, .webp or .png"),
        ("video", "video: cannot write a file without suffix; use .mp4, .webm, .gif, .webp or .png"),
        ("nowhere/video.mp4", "the folder nowhere does not exist; create it first"),
    ],
)
def test_generate_refuses_an_output_before_anything_is_loaded(refilm, folder, output, what):
    refused(refilm("generate", PROMPT, "-o", output, "--base", "giant"), what)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("nowhere.toml", "nowhere.toml: no such file; give the path of a recipe, a TOML file"),
        ("recipe.toml", "recipe.toml: out: Field required"),
        ("typo.toml", "typo.toml: loop.stepz: unknown; did you mean loop.steps?"),
        ("typo.toml --resume", "typo.toml: "),
        ("recipe.toml --set loop", "--set 'loop': give a setting's dotted name and its value, for instance loop.steps"),
        ("recipe.toml --set stage.x=1", "stage.x: stage is 'adapter', not a table of settings; set stage itself"),
        ("typo.toml --set loop.steps.x=3", "loop.steps.x: loop.steps is 1, not a table of settings; set loop.steps"),
        (
            "recipe.toml --set loop.optimizer.muon_names=(",
            "loop.optimizer.muon_names: is not a valid regular expression: missing ), unterminated subpattern",
        ),
        (
            "recipe.toml --set loop.optimizer.muon_names=a{99999999999}",
            "loop.optimizer.muon_names: is not a valid regular expression: the repetition number is too large",
        ),
        ("recipe.toml --set diffusion.curriculum=[]", "diffusion.curriculum: is empty; give at least one lesson"),
    ],
)
def test_train_refuses(refilm, folder, words, what):
    refused(refilm("train", *words.split()), what)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--num-frames 9", "No such option: --num-frames; use --frames"),
        ("--num_inference_steps 9", "No such option: --num_inference_steps; use --steps"),
        ("--height 64", "No such option: --height; use --size WIDTHxHEIGHT"),
        ("--enable-model-cpu-offload", "use --memory low"),
        ("--stepz 9", "No such option: --stepz (Possible options: "),
    ],
)
def test_options_of_others_are_answered_with_ours(refilm, words, what, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = refilm("generate", PROMPT, "-o", "video.mp4", *words.split())
    assert result.exit_code == 2
    assert what in " ".join(result.stderr.split())


def test_options_that_stand_for_others_are_there(refilm, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    told = refilm("generate", "--help").stdout
    arguments = {own.partition("=")[0] for own in (GENERATE | LOAD).values()} - {"source"}
    assert {name for name in arguments if f"--{name.replace('_', '-')} " not in told} == set()


def test_generate_refuses_a_prompt_that_is_not_utf8(refilm, folder, tiny_base):
    words = ("generate", "caf\udce9", "-o", "video.mp4", "--base", tiny_base)
    refused(refilm(*words), "prompts[0]: contains bytes that are not UTF-8; enter the text in UTF-8")
    words = ("generate", PROMPT, "--negative-prompt", "caf\udce9", "-o", "video.mp4", "--base", tiny_base)
    refused(refilm(*words), "--negative-prompt: contains bytes that are not UTF-8")


def test_data_refuses_a_folder_that_holds_something(refilm, folder):
    refused(refilm("data", "critters", ".", "--clips", 1), "is not empty; choose an empty or new folder")


def test_debug_shows_where_it_came_from(refilm, folder):
    result = refilm("--debug", "train", "nowhere.toml")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: nowhere.toml: no such file")


def test_an_error_is_one_line_and_exit_code_2(folder, tiny_base, monkeypatch):
    """Without output of libraries, although they are loaded here."""
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    words = [Path(sys.executable).with_name("refilm"), "generate", PROMPT, "-o", "video.mp4", "--base", tiny_base]
    done = subprocess.run([*words, "--frames", "10"], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: 10 frames: the number must be 4k + 1, for instance 9 or 13\n"


def test_starting_needs_no_torch():
    """So `refilm --help` is quick."""
    code = "import sys, refilm.cli; assert not {'torch', 'transformers', 'diffusers', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


@pytest.mark.parametrize("error", ["KeyError('x')", "ValueError('x')", "OSError('x')"])
def test_a_bug_keeps_its_traceback_and_exits_with_1(folder, error):
    """Only a UserError is for the user. The OSError here has no number, so no system call failed."""
    done = _run_with(f"raise {error}")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.splitlines()[-1] == "This is a bug in refilm. Please report it with the lines above."


def test_an_error_of_the_system_is_one_line(folder):
    done = _run_with("raise OSError(28, 'No space left on device', 'video.mp4')")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: video.mp4: the disk is full; free some space, then run this again\n"


def _run_with(fault: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose check of the output fails with a fault."""
    code = f"""
        import sys, refilm.media, refilm.cli
        def fail(_): {fault}
        refilm.media.check_target = fail
        sys.argv = ["refilm", "generate", "a fox", "-o", "video.mp4"]
        refilm.cli.main()
    """
    return subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=600)


def refused(result, what: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert what in line
