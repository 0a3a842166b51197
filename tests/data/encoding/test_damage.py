"""A cache that was changed after it was written: reading fails with one line, and `verify` names the file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from refilm.data.drawn import Critters
from refilm.data.encoding import EncodedSet, verify
from refilm.data.encoding.shards import sidecar

from .clips import CLIPS

Change = Callable[[Path], object]


def file_of(cache: Path, kind: str) -> Path:
    return max(cache.glob(f"{kind}-*.safetensors"), key=lambda path: path.stat().st_size)


def tensors(kind: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Change:
    def changed(cache: Path) -> None:
        path = file_of(cache, kind)
        save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)

    return changed


def index(**values: object) -> Change:
    def changed(cache: Path) -> None:
        path = cache / "index.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return changed


def flipped(kind: str, place: int) -> Change:
    def changed(cache: Path) -> None:
        path = file_of(cache, kind)
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return changed


CHANGES: dict[str, Change] = {
    "a flipped bit in latents": flipped("latents", -1),
    "a flipped bit in references": flipped("references", -1),
    "a flipped bit in captions": flipped("text", -1),
    "a flipped bit in a header": flipped("latents", 12),
    "a flipped bit in the columns": flipped("clips", -1),
    "latents that are not finite": tensors("latents", lambda t: {**t, "mean": t["mean"] * torch.nan}),
    "references in another order": tensors("references", lambda t: {k: v.flip(0) for k, v in t.items()}),
    "fewer rows": tensors("latents", lambda t: {k: v[:1] for k, v in t.items()}),
    "a tensor less": tensors("latents", lambda t: {"mean": t["mean"]}),
    "records out of range": tensors("clips", lambda t: {**t, "records": t["records"] + 999}),
    "another size": index(buckets=[[9, 9, 9]]),
    "other encoders": index(encoders={"latents": "a", "text": "b", "references": "c"}),
    "no encoders": index(encoders={}),
    "no shards": index(shards=[]),
    "no settings": index(settings=None),
    "clips that are no number": index(clips="x"),
    "a shard elsewhere": index(shards=["../../latents-0123456789abcdef.safetensors"]),
    "columns elsewhere": index(columns="/etc/passwd"),
    "another format": index(format=10**400),
    "nested deeply": lambda cache: (cache / "index.json").write_text('{"a":' * 100_000),
    "no text": lambda cache: (cache / "index.json").write_bytes(b"\xff\xfe"),
    "no sidecar": lambda cache: sidecar(file_of(cache, "latents")).unlink(),
    "a sidecar of words": lambda cache: sidecar(file_of(cache, "latents")).write_text('{"keys": "many"}'),
    "cut short": lambda cache: os.truncate(file_of(cache, "latents"), 5000),
    "empty": lambda cache: os.truncate(file_of(cache, "text"), 0),
}


def named(cache: Path) -> list[str]:
    """The files that `verify` names; it refuses a cache without an index at once."""
    try:
        return [verdict.name for verdict in verify(cache) if verdict.fault]
    except ValueError as error:
        return [str(error)]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_cache_is_refused_and_named(cache, change):
    change(cache)
    with pytest.raises(ValueError, match=r"(index\.json|clips-|latents-|text-|references-|shards are)") as refused:
        list(EncodedSet(cache))
    assert "\n" not in str(refused.value)
    assert "encode" in str(refused.value)
    assert named(cache)


def test_a_shard_cut_short_under_a_reader_is_an_error_not_the_end_of_the_process(cache):
    clips = EncodedSet(cache)
    clips[0]
    for name in clips.index.shards:
        os.truncate(cache / name, 600)
    with pytest.raises(ValueError, match=r"latents-.*: is truncated; run refilm data verify, then refilm data encode"):
        clips[0]


def test_what_cannot_be_read_just_now_stays(cache):
    path = file_of(cache, "latents")
    code = "import sys; from pathlib import Path; from refilm.data.encoding import verify\n"
    code += "print([verdict for verdict in verify(Path(sys.argv[1])) if verdict.fault])"
    path.chmod(0)
    as_nobody = ["unshare", "--user"] if os.geteuid() == 0 else []
    if as_nobody and subprocess.run([*as_nobody, "true"], check=False).returncode:
        pytest.skip("this system lets nobody give up root's powers")
    reported = subprocess.run(
        [*as_nobody, sys.executable, "-c", code, cache], capture_output=True, text=True, check=True
    )
    path.chmod(0o644)
    assert f"{path.name}: permission denied" in reported.stdout
    assert "the file was left unchanged" in reported.stdout
    assert [verdict for verdict in verify(cache) if verdict.fault] == []


def test_a_cache_of_version_0_1_still_reads_and_is_checked(cache, sound):
    for path in cache.glob("*.json"):
        said = json.loads(path.read_text())
        said.pop("rows" if "keys" in said else "seal")
        path.write_text(json.dumps(said, indent=2))
    for old, new in zip(EncodedSet(cache), EncodedSet(sound), strict=True):
        assert torch.equal(old.mean, new.mean)
        assert torch.equal(old.references, new.references)
    assert not [verdict for verdict in verify(cache) if verdict.fault]
    flipped("latents", -1)(cache)
    with pytest.raises(ValueError, match="the content differs from what was written"):
        list(EncodedSet(cache))


def test_two_encodes_of_one_cache_end_well(encoding, tiny_base, tmp_path):
    """The second command waits for the first, and finds everything encoded."""
    code = """
import sys
from pathlib import Path
from refilm.data.encoding import encode
from refilm.data.drawn import Critters
sys.path.insert(0, sys.argv[1])
from clips import SETTINGS, Encoding
encoding = Encoding(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
steps = encode(Critters(24), encoding.encoders, Path(sys.argv[3]), settings=SETTINGS,
               encoder_identity=encoding.identity, on_wait=lambda: print("waiting", flush=True))
print("made", [step.done for step in steps][-1:])
"""
    command = [sys.executable, "-c", code, os.path.dirname(__file__), str(tiny_base), str(tmp_path / "cache")]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    reported = [""] * 2
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for number, process in enumerate(both):
        reported[number], _ = process.communicate()
        assert process.returncode == 0, reported[number]
    assert sorted(reported, key=len)[0].startswith("made [")
    assert "made []" in "".join(reported)
    assert "waiting" in "".join(reported)
    encoding(Critters(24), tmp_path / "alone")
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {p.name for p in (tmp_path / "cache").iterdir()}
    assert not [verdict for verdict in verify(tmp_path / "cache") if verdict.fault]


def test_an_encoder_that_leaves_the_range_of_numbers_names_the_clip(encoding, tmp_path, monkeypatch):
    encoder = encoding.encoders.autoencoder
    posterior = encoder.posterior

    def broken(pixels):
        mean, std = posterior(pixels)
        mean[0, 0, 0, 0, 0] = torch.inf
        return mean, std

    monkeypatch.setattr(encoder, "posterior", broken)
    with pytest.raises(FloatingPointError, match=r"critter.*: the latents encoder produced values that are not finite"):
        encoding(CLIPS, tmp_path)
