"""The run record of the working folder."""

import subprocess

from refilm.training.monitor.run_record import git_commit


def test_the_commit_is_recorded_and_no_program_of_the_folder_runs(tmp_path):
    def git(*words: str) -> str:
        name = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        return subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    program = tmp_path / ".git" / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git("config", "core.fsmonitor", str(program))
    (tmp_path / "file").write_text("other")
    assert git_commit(tmp_path) == {"commit": git("rev-parse", "HEAD").strip(), "changed": True}
    assert not (tmp_path / "ran").exists()
    git("status")
    assert (tmp_path / "ran").exists()  # it would have


def test_outside_of_a_repository_there_is_none(tmp_path):
    assert git_commit(tmp_path) is None
