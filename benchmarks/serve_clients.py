"""Whether clients and tools that others have written can use `refilm serve`.

    python benchmarks/serve_clients.py [--litellm PYTHON] [--schemathesis PYTHON] [--aiperf PYTHON]

Each client does what it offers of: create, poll, download, list, remix, characters, delete. The openai client is in
this Python; litellm, schemathesis and aiperf need many packages, so each is in an environment of its own, whose Python
is given. Schemathesis sends requests that it derives from the server's OpenAPI document, valid and invalid ones, while
the worker is stopped. aiperf measures; here it must only finish. Writes benchmarks/results/serve_clients.json, or
`--out`.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image
from record import RESULTS, add_out, target, write
from serving.process import ServerProcess

from refilm.checkpoints.sources import POCKET

RESULT = RESULTS / "serve_clients.json"
SCRIPTS = Path(__file__).parent / "serving"
TOKEN = "a-token"
EXCLUDED = {
    "positive_data_acceptance": "a well-formed request can name frames that the model does not make, or missing files"
}
"""Checks of schemathesis that contradict the form of the API, and why."""
Facts = dict[str, Any]


def script(python: str, name: str, address: str, image: Path) -> Facts:
    """What the script of a client prints."""
    command = [python, str(SCRIPTS / f"client_{name}.py"), address, TOKEN, str(image)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def curl(address: str, image: Path) -> Facts:
    """The same with curl."""

    def sent(*words: str) -> bytes:
        return subprocess.run(["curl", "-sS", "--oauth2-bearer", TOKEN, *words], capture_output=True, check=True).stdout

    def answer(*words: str) -> Facts:
        return json.loads(sent(*words))

    url, steps = f"{address}/v1/videos", {}
    short = [word for field in ("prompt=a fox", "steps=2", "frames=9", "size=32x32") for word in ("-F", field)]
    video = answer(url, *short, "-F", f"input_reference=@{image}")
    steps["create"] = video["status"] == "queued"
    while (status := answer(f"{url}/{video['id']}")["status"]) not in ("completed", "failed"):
        time.sleep(0.3)
    steps["poll"] = status == "completed"
    steps["download"] = sent(f"{url}/{video['id']}/content")[4:8] == b"ftyp"
    steps["events"] = b'"status":"completed"' in sent(f"{url}/{video['id']}/events")
    steps["list"] = video["id"] in [one["id"] for one in answer(f"{url}?limit=100")["data"]]
    fox = answer(f"{url}/characters", "-F", "name=fox", "-F", f"images=@{image}")
    named = answer(url, *short, "-F", f"character_ids={json.dumps([fox['id']])}")
    steps["characters"] = named["status"] == "queued"
    steps["delete"] = answer("-X", "DELETE", f"{url}/{video['id']}")["deleted"]
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return {"version": version, "steps": {name: "ok" if done else "wrong" for name, done in steps.items()}}


def schemathesis(python: str, address: str, examples: int) -> Facts:
    """Requests from the OpenAPI document: what they found."""
    words = ["--checks", "all", "--exclude-checks", ",".join(EXCLUDED), "--max-examples", str(examples)]
    words += ["--header", f"Authorization: Bearer {TOKEN}", "--seed", "1", "--no-color", "--continue-on-failure"]
    words += ["--max-time", "150", "--request-timeout", "10"]  # of events, which wait for the stopped worker
    tool = str(Path(python).with_name("schemathesis"))
    done = subprocess.run([tool, "run", f"{address}/openapi.json", *words], capture_output=True, text=True)
    print(done.stdout, done.stderr, flush=True)
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    failures = dict(re.findall(r"^\s*❌ (.+?): (\d+)$", done.stdout, re.MULTILINE))
    return {
        "version": installed(python, "schemathesis"),
        "exit_code": done.returncode,
        "cases": int(cases[1].replace(",", "")) if cases else None,
        "failures": failures,
        "excluded_checks": EXCLUDED,
        "examples_per_operation": examples,
    }


def aiperf(python: str, address: str, folder: Path) -> Facts:
    """A short measurement. It counts tokens with the pocket model's tokenizer, as its own one is downloaded."""
    tool = str(Path(python).with_name("aiperf"))
    words = ["profile", "--model", "pocket", "--url", address, "--endpoint-type", "video-generation"]
    words += ["--request-count", "4", "--concurrency", "2", "--isl", "20", "--download-video-content"]
    words += ["--extra-inputs", "num_inference_steps:2", "num_frames:9", "size:32x32"]
    words += [
        "--api-key",
        TOKEN,
        "--tokenizer",
        str(POCKET / "tokenizer"),
        "--ui",
        "none",
        "--artifact-dir",
        str(folder),
    ]
    done = subprocess.run([tool, *words], capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-3000:], flush=True)
    (found,) = [json.loads(path.read_text()) for path in folder.rglob("profile_export_aiperf.json")] or [{}]
    counts = {name: found.get(name, {}).get("avg") for name in ("request_count", "error_request_count")}
    return {"version": installed(python, "aiperf"), "exit_code": done.returncode, **counts}


def installed(python: str, package: str) -> str:
    """The version of a package in another environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def measured(server: ServerProcess, folder: Path, options: argparse.Namespace) -> Facts:
    """All clients that are there, one after the other."""
    Image.radial_gradient("L").resize((64, 64)).convert("RGB").save(image := folder / "image.png")
    found = {"openai": script(sys.executable, "openai", server.address, image), "curl": curl(server.address, image)}
    if options.litellm:
        found["litellm"] = script(options.litellm, "litellm", server.address, image)
    if options.aiperf:
        found["aiperf"] = aiperf(options.aiperf, server.address, folder / "aiperf")
    if options.schemathesis:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        found["schemathesis"] = schemathesis(options.schemathesis, server.address, options.examples)
        os.kill(worker, signal.SIGKILL)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("litellm", "schemathesis", "aiperf"):
        parser.add_argument(f"--{name}", help=f"Python of an environment with {name}. Default: it is left out.")
    parser.add_argument("--examples", type=int, default=30, help="Of schemathesis per route. Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    with tempfile.TemporaryDirectory() as name:
        server = ServerProcess(Path(name) / "store", "--token", TOKEN, "--max-queue", "100000")
        server.wait_until_ready(1)
        found = measured(server, Path(name), options)
        server.stop()
    write(out, {"clients": found})


if __name__ == "__main__":
    main()
