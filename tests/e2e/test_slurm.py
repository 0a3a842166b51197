"""The SLURM script of the docs, with three small programs in place of SLURM's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refilm.training.checkpoint.checkpoints import checkpoints

from ..tiny_recipe import write_recipe

SCRIPT = Path(__file__).parents[2] / "docs" / "slurm" / "train.sbatch"
PROGRAMS = {
    # starts its command in one process per task, and exits with the largest exit code
    "srun": """
pids=()
shift  # its one option
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" &
    pids+=($!)
done
echo "${pids[@]}" > tasks
most=0
for pid in "${pids[@]}"; do
    wait "$pid"
    code=$?
    [ $code -gt $most ] && most=$code
done
exit $most
""",
    "scancel": '[ "$1 $2" = "--signal=TERM 7" ] && kill -TERM $(cat tasks)\n',
    "scontrol": 'case "$1" in show) echo localhost ;; *) echo "$@" >> requeued ;; esac\n',
    "refilm": f'exec {sys.executable} -m refilm.cli "$@"\n',
}


def test_the_script_is_bash():
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_requeued_and_continues(tiny_base, tmp_path):
    for name, content in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{content}")
        program.chmod(0o755)
    write_recipe(tmp_path / "tiny.toml", base=tiny_base, cache=tmp_path / "cache")
    own = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here", "SLURM_NTASKS": "2"}
    own["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def job() -> subprocess.Popen[str]:
        words = ["bash", str(SCRIPT), "tiny.toml"]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=tmp_path, env={**os.environ, **own}, stderr=pipe, stdout=pipe, text=True)

    run, first = tmp_path / "runs" / "tiny", job()
    end = time.monotonic() + 900
    while not checkpoints(run):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    out, errors = first.communicate(timeout=900)
    assert first.returncode == 75, errors
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    (saved, *_) = checkpoints(run)[::-1]
    assert 20 <= int(saved.name.removeprefix("step-")) < 200

    second = job()
    out, errors = second.communicate(timeout=900)
    assert second.returncode == 0, errors
    assert "adapter: trained" in out
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"  # not again
    assert (tmp_path / "adapter" / "adapter.safetensors").is_file()
