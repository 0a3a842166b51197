"""Malicious or damaged files: one error that names file and key, no code runs, nothing is left behind."""

import contextlib
import functools
import io
import json
import math
import pickle
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from refilm.backbones.cogvideox.sat import PREFIX, save_sat
from refilm.backbones.cogvideox.text import load_text_encoder
from refilm.checkpoints import convert, describe, load_adapter, load_denoiser, save_adapter, save_transformer

from ..model.tiny import SINCOS, adapter, transformer

SIZE = replace(SINCOS, head_norm_eps=1e-6)
QKV = f"{PREFIX}transformer.layers.1.attention.query_key_value.weight"
CROSS = f"{PREFIX}transformer.layers.0.cross_attention.query.weight"
SAFE = "diffusion_pytorch_model.safetensors"
TO_Q = "transformer_blocks.1.attn1.to_q.weight"


class Runs:
    """An object that is pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(marker):
    """A call that leaves a trace."""
    return Runs(Path.touch, marker)


def shell(marker):
    import os

    return Runs(os.system, f"touch {marker}")


def evaluated(marker):
    return Runs(eval, f"open({str(marker)!r}, 'w')")


def executed(marker):
    return Runs(exec, f"open({str(marker)!r}, 'w')")


def partially(marker):
    return functools.partial(Path.touch, marker)


def in_numpy(marker):
    """NumPy's functions are allowed, so a call is hidden in their arguments."""
    return Runs(np.random.get_state()[1].__reduce__()[0], np.ndarray, shell(marker), b"b")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A valid checkpoint and valid folders, to be damaged."""
    folder = tmp_path_factory.mktemp("good")
    save_sat(folder / "s.pt", transformer(SIZE), adapter(SIZE), frames=9)
    save_sat(folder / "s.safetensors", transformer(SIZE), adapter(SIZE), frames=9)
    save_transformer(transformer(), folder / "transformer")
    save_adapter(adapter(), folder / "adapter", base_fingerprint="feed", facts={})
    return folder


def weights(good):
    return load_file(good / "s.safetensors")


def zipped(path, content):
    torch.save(content, path)


def legacy(path, content):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def changed(good, path, **changes):
    tensors = {key: tensor for key, tensor in (weights(good) | changes).items() if tensor is not ...}
    torch.save({"module": tensors}, path) if path.suffix == ".pt" else save_file(tensors, path)


def retensored(good, path, **changes):
    """A transformer's folder with some tensors replaced."""
    path.mkdir()
    (path / "config.json").write_bytes((good / "transformer" / "config.json").read_bytes())
    tensors = load_file(good / "transformer" / SAFE) | changes
    save_file({key: tensor for key, tensor in tensors.items() if tensor is not ...}, path / SAFE)


def header(good, path, change):
    """A safetensors file whose header was changed."""
    data = (good / "s.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    content = json.loads(data[8 : 8 + length])
    change(content)
    text = json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def repickled(good, path, change):
    """A valid checkpoint whose pickle was changed as bytes."""
    with zipfile.ZipFile(good / "s.pt") as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(data) if name.endswith("data.pkl") else data)


def archive(path, **files):
    with zipfile.ZipFile(path, "w") as target:
        for name, data in files.items():
            target.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), data)


def bent(good, path, value):
    tensor = weights(good)[QKV].clone()
    tensor[3, 4] = value
    changed(good, path, **{QKV: tensor})


REFUSED = "rejected because it tries to run "
HOSTILE = {
    # name of the file: (how it is made of the good folder, the path and the marker; what the error says after the path)
    "shell.pt": (lambda g, p, m: zipped(p, {"module": {"x": shell(m)}}), REFUSED + r"posix\.system"),
    "beside.pt": (lambda g, p, m: zipped(p, {"module": weights(g), "optimizer": shell(m)}), REFUSED + r"posix\.system"),
    "eval.ckpt": (lambda g, p, m: zipped(p, evaluated(m)), REFUSED + "eval"),
    "exec.bin": (lambda g, p, m: zipped(p, {"module": executed(m)}), REFUSED + "exec"),
    "partial.pth": (lambda g, p, m: zipped(p, {"module": partially(m)}), REFUSED + r"functools\.partial"),
    "path.pt": (lambda g, p, m: zipped(p, {"module": touch(m)}), REFUSED + "getattr"),
    "numpy.pt": (lambda g, p, m: zipped(p, {"module": weights(g), "rng": in_numpy(m)}), REFUSED + r"posix\.system"),
    "legacy.pt": (lambda g, p, m: legacy(p, {"module": shell(m)}), REFUSED + r"posix\.system"),
    "plain.pt": (lambda g, p, m: plain(p, {"module": shell(m)}), REFUSED + r"posix\.system"),
    "newest.ckpt": (lambda g, p, m: plain(p, {"module": shell(m)}, protocol=5), REFUSED + r"posix\.system"),
    "disguised.safetensors": (lambda g, p, m: plain(p, shell(m)), "is truncated or not a safetensors file"),
    "zipped.safetensors": (lambda g, p, m: zipped(p, {"module": shell(m)}), "is truncated or not a safetensors file"),
    "harmless-but-old.pt": (lambda g, p, m: legacy(p, {"module": weights(g)}), "is truncated or not a weights file"),
    "cut-off.pt": (
        lambda g, p, m: p.write_bytes((g / "s.pt").read_bytes()[:-4000]),
        "is truncated or not a weights file",
    ),
    "begun.pt": (lambda g, p, m: p.write_bytes((g / "s.pt").read_bytes()[:300]), "is truncated or not a weights file"),
    "cut-off.safetensors": (
        lambda g, p, m: p.write_bytes((g / "s.safetensors").read_bytes()[:-4]),
        "is truncated or not a safetensors file",
    ),
    "empty.pt": (lambda g, p, m: p.write_bytes(b""), "is truncated or not a weights file"),
    "empty.safetensors": (lambda g, p, m: p.write_bytes(b""), "is truncated or not a safetensors file"),
    "no-pickle.pt": (lambda g, p, m: archive(p, archive__version="3"), "is truncated or not a weights file"),
    "long-header.safetensors": (
        lambda g, p, m: p.write_bytes(struct.pack("<Q", 1 << 40) + b"{}" * 100),
        "is truncated or not a safetensors file",
    ),
    "no-json.safetensors": (
        lambda g, p, m: p.write_bytes(struct.pack("<Q", 8) + b"[[[[[[[["),
        "is truncated or not a safetensors file",
    ),
    "beyond.safetensors": (
        lambda g, p, m: header(g, p, lambda t: t[QKV].update(data_offsets=[0, 1 << 40])),
        "is truncated or not a safetensors file",
    ),
    "beyond.pt": (  # a tensor that would reach past its storage: 192 rows become 19200
        lambda g, p, m: repickled(g, p, lambda d: d.replace(b"K\xc0K@\x86", b"M\x00KK@\x86")),
        "is truncated or not a weights file",
    ),
    "list.pt": (lambda g, p, m: zipped(p, [1, 2, 3]), r"contains no weights by name \(received list\)"),
    "tensor.pt": (lambda g, p, m: zipped(p, torch.ones(3)), r"contains no weights by name \(received Tensor\)"),
    "number.pt": (lambda g, p, m: zipped(p, weights(g) | {"x": 3}), "'x' is a int, not a tensor"),
    "shape.pt": (
        lambda g, p, m: changed(g, p, **{QKV: torch.ones(3, 64)}),
        rf"{QKV} has shape \(3, 64\), not \(192, 64\)",
    ),
    "integers.pt": (
        lambda g, p, m: changed(g, p, **{QKV: torch.ones(192, 64, dtype=torch.int32)}),
        f"{QKV} is int32, not float32, bfloat16, float16",
    ),
    "sparse.pt": (
        lambda g, p, m: changed(g, p, **{QKV: torch.ones(192, 64).to_sparse()}),
        f"{QKV} is sparse_coo, not float32",
    ),
    "double.safetensors": (
        lambda g, p, m: changed(g, p, **{CROSS: torch.ones(64, 64, dtype=torch.float64)}),
        f"{CROSS} is float64, not float32",
    ),
    "missing.pt": (lambda g, p, m: changed(g, p, **{QKV: ...}), f"missing key {QKV}"),
    "missing-cross.pt": (lambda g, p, m: changed(g, p, **{CROSS: ...}), f"missing key {CROSS}"),
    "surplus.safetensors": (
        lambda g, p, m: changed(g, p, **{f"{PREFIX}mixins.lora.0": torch.ones(2)}),
        rf"surplus key {PREFIX}mixins\.lora\.0",
    ),
    "nan.pt": (lambda g, p, m: bent(g, p, math.nan), f"{QKV} contains NaN or infinity"),
    "infinity.safetensors": (lambda g, p, m: bent(g, p, -math.inf), f"{QKV} contains NaN or infinity"),
    "nan": (
        lambda g, p, m: retensored(g, p, **{TO_Q: torch.full((64, 64), math.nan)}),
        f"/{SAFE}: {TO_Q} contains NaN or infinity",
    ),
    "integers": (
        lambda g, p, m: retensored(g, p, **{TO_Q: torch.ones(64, 64, dtype=torch.uint8)}),
        f"/{SAFE}: {TO_Q} is uint8, not float32",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused(good, tmp_path, name):
    make, message = HOSTILE[name]
    path, marker, target = tmp_path / name, tmp_path / "ran", tmp_path / "converted"
    make(good, path, marker)
    before = sorted(tmp_path.rglob("*"))
    for load in (load_denoiser, lambda path: convert(path, target), describe):
        try:
            load(path)
        except ValueError as error:
            assert f"{path}" in str(error)  # noqa: PT017 - which of the doors read far enough is not the point
        else:
            assert load is describe  # it reads no values
    with pytest.raises(ValueError, match=message) as error:
        load_denoiser(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert not marker.exists()
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-made stays


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 25


def test_the_payloads_would_run(tmp_path):
    """The files do run code in an unsafe reader, so the tests above are meaningful."""
    for made in (shell, evaluated, executed, in_numpy):
        marker = tmp_path / made.__name__
        stream = io.BytesIO(pickle.dumps(made(marker)))
        with contextlib.suppress(TypeError, ValueError):
            pickle.load(stream)
        assert marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_encoders_are_read_as_carefully(tmp_path, name):
    marker = tmp_path / "ran"
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5", "num_layers": 1, "d_model": 8, "d_ff": 8}))
    zipped(tmp_path / name, {"shared.weight": shell(marker)})
    message = REFUSED + r"posix\.system" if name.endswith("bin") else "is truncated or not a safetensors file"
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        load_text_encoder(tmp_path, tmp_path, length=4, dtype=None, device="cpu")
    assert not marker.exists()


def test_an_adapter_that_is_a_pickle(good, tmp_path):
    marker, folder = tmp_path / "ran", tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter.json").write_bytes((good / "adapter" / "adapter.json").read_bytes())
    plain(folder / "adapter.safetensors", shell(marker))
    with pytest.raises(ValueError, match=r"adapter\.safetensors: is truncated or not a safetensors file"):
        load_adapter(folder)
    with pytest.raises(ValueError, match="is not an adapter's folder; convert it with: refilm convert"):
        load_adapter(good / "s.pt")
    assert not marker.exists()


def test_an_index_cannot_lead_elsewhere(good, tmp_path):
    (tmp_path / "config.json").write_bytes((good / "transformer" / "config.json").read_bytes())
    (tmp_path / f"{SAFE}.index.json").write_text(json.dumps({"weight_map": {TO_Q: "../../etc/passwd"}}))
    with pytest.raises(ValueError, match=r"index\.json: weight_map: must map each tensor to its file"):
        load_denoiser(tmp_path)
