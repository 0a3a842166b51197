"""Values of a recipe have the types of their options; each fault names the file, the key and the value."""

from pathlib import Path

import pytest

PROMPT = 'prompt = "a critter bounces in the meadow"\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('prompt = ["a", "b"]', "prompt: Input should be a valid string (received ['a', 'b'])"),
        ("prompt = 3", "prompt: Input should be a valid string (received 3); write it in quotes"),
        ("frames = true", "frames: Input should be a valid integer (received True)"),
        ('frames = "9"', "frames: Input should be a valid integer (received '9'); write it without quotes"),
        ("seed = 1.0", "seed: Input should be a valid integer (received 1.0)"),
        ("guidance = nan", "guidance: Input should be a finite number"),
        ('guidance = ".5"', "guidance: Input should be a valid number (received '.5'); write it without quotes"),
        ("guidance = 51", "guidance: Input should be less than or equal to 50 (received 51)"),
        ("guidance = 2024-01-01", "guidance: datetime.date(2024, 1, 1) is not a valid setting; give a string"),
        ("explain = 1", "explain: Input should be a valid boolean (received 1)"),
        ('explain = "true"', "explain: Input should be a valid boolean (received 'true'); write it without quotes"),
        ("size = [64, 64]", "size: Input should be a valid string (received [64, 64])"),
        ('binding = "jont"', "binding: Input should be 'separate' or 'joint' (received 'jont')"),
        ("reference = [3]", "reference.0: Input should be a valid string (received 3); write it in quotes"),
        ("subject_scale = 0.5", "subject_scale.0: Input should be a valid string (received 0.5); write it in quotes"),
        ('recipe = "video.toml"', "recipe: a recipe cannot contain another; copy its values"),
        ("debug = true", "debug: unknown"),
        ("[subject.ball]\nscale = 1", "subject: is a table; the table of a subject is [subjects.ball]"),
        ("[fox]\nscale = 1", "fox: is a table; the table of a subject is [subjects.fox]"),
        ("[guidance]\nscale = 1", "guidance: is a table; give a value"),
    ],
)
def test_a_fault_names_the_file_the_key_and_the_value(refilm, tmp_path, line, message):
    (tmp_path / "video.toml").write_text(line if line.startswith("prompt") else PROMPT + line)
    result = refilm("generate", "--recipe", tmp_path / "video.toml", "-o", tmp_path / "video.mp4")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {tmp_path / 'video.toml'}: {message}")


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_base, fox) -> Path:
    """A folder with images and a link to a base model; the working folder is another."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "fox.png").write_bytes(fox.read_bytes())
    (inner / "base").symlink_to(tiny_base)
    return inner


def test_single_values_ranges_and_paths(refilm, folder):
    (folder / "video.toml").write_text(
        f'{PROMPT}reference = "fox.png"\nnegative_reference = "fox.png"\nbase = "base"\nadapter = "base/adapter"\n'
        'output = "video.png"\nframes = 1\nsteps = 2\nseed = 3\nguidance_steps = [1, 2]\nexplain = false\n'
        "metadata = false\n"
    )
    result = refilm("generate", "--recipe", folder / "video.toml")
    assert result.exit_code == 0, result.output
    first = (folder / "video-000.png").read_bytes()
    refilm("generate", "--recipe", folder / "video.toml", "-o", "here.png", "--guidance-steps", "1-2")
    assert Path("here-000.png").read_bytes() == first  # an option's path is relative to the working folder
