"""`refilm doctor` on this machine."""

import json
import os
import subprocess
import sys


def test_it_examines_this_machine(tmp_path):
    own = {"HF_TOKEN": "hf_s3cret", "REFILM_TOKEN": "s3cret", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "refilm.cli", "doctor", "--json", "--folder", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own, timeout=600)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert len(checks) > 20
    assert {check["status"] for check in checks.values()} <= {"ok", "warning", "problem"}
    assert done.returncode == any(check["status"] == "problem" for check in checks.values())
    failed = [check for check in checks.values() if "this check failed" in check["finding"]]
    assert failed == []
    assert "2 steps" in checks["video of pocket"]["finding"]
    assert "takes an estimated" in checks["base CogVideoX-2B"]["finding"] or "does not fit" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_problem_is_an_exit_code_and_a_sentence(refilm):
    result = refilm("doctor", "--no-generate", "--folder", "/proc/1", "--device", "cpu")
    assert result.exit_code == 1, result.output
    assert "problem: result folder: Make it writable" in result.output
    assert "video of pocket" not in result.output
