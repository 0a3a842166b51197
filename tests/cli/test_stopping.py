"""SIGTERM and SIGHUP end a command with their own exit code, and nothing half-written stays."""

import os
import signal
from pathlib import Path

import pytest

from refilm.cli.stopping import SIGNALS


@pytest.fixture(autouse=True)
def heard():
    """Both signals as a shell leaves them; under nohup the tests would be born deaf to SIGHUP."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def at_the_last_moment(monkeypatch):
    """Sends this process a signal just before a finished file or folder gets its name."""

    def arm(number: int) -> None:
        def armed(real):
            def told(source, target, *rest, **named):
                if Path(os.fsdecode(target)).name.startswith("video") or Path(os.fsdecode(target)).name == "out":
                    os.kill(os.getpid(), number)
                return real(source, target, *rest, **named)

            return told

        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, armed(getattr(os, name)))

    return arm


COMMANDS = {
    "generate": ("generate", "a critter", "-o", "video.mp4", "--steps", 1, "--base", "{base}"),
    "demo": ("demo", "--out", ".", "--steps", 1, "--base", "{base}"),
    "import": ("data", "import", "clips", "out"),
    "convert": ("convert", "{base}/transformer", "out", "--dtype", "bfloat16"),
}


@pytest.mark.parametrize(
    ("number", "command"),
    [*((signal.SIGTERM, command) for command in COMMANDS), *((n, "generate") for n in SIGNALS if n != signal.SIGTERM)],
)
def test_nothing_half_written_stays(refilm, tiny_base, tmp_path, monkeypatch, at_the_last_moment, command, number):
    monkeypatch.chdir(tmp_path)
    if command == "import":
        assert refilm("data", "critters", "clips", "--clips", 1).exit_code == 0
    before = {path.name for path in Path().iterdir()}
    at_the_last_moment(number)
    result = refilm(*(str(word).format(base=tiny_base) for word in COMMANDS[command]))
    assert result.exit_code == 128 + number, result.output
    assert result.stderr.splitlines()[-1] == "stopped"
    left = {path.name for path in Path().iterdir()} - before - {"critter.png", "another.png"}
    assert left == ({"video.mp4.state"} if command == "generate" else set())
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_video_that_is_stopped_while_it_is_written_need_not_be_sampled_again(
    refilm, tiny_base, tmp_path, monkeypatch, at_the_last_moment
):
    monkeypatch.chdir(tmp_path)
    at_the_last_moment(signal.SIGTERM)
    result = refilm(*(str(word).format(base=tiny_base) for word in COMMANDS["generate"]))
    assert "step 1 of 1 is saved; continue with: refilm finish video.mp4.state" in result.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    result = refilm("finish", "video.mp4.state")
    assert "video.mp4.state: step 1 of 1" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"video.mp4", "video.mp4.json"}


def test_what_is_ignored_stays_ignored(refilm, tiny_base, tmp_path, monkeypatch, at_the_last_moment):
    """As under nohup."""
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        at_the_last_moment(signal.SIGHUP)
        assert refilm(*(str(word).format(base=tiny_base) for word in COMMANDS["generate"])).exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert Path("video.mp4").exists()
