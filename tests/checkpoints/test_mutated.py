"""Every number, type and key of a model's files is changed: it loads, or a one-line error names the file."""

import copy
import json
import resource
import shutil
import signal
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from refilm.backbones.cogvideox.sat import save_sat
from refilm.backbones.cogvideox.sat_autoencoder import load_sat_autoencoder
from refilm.checkpoints import (
    describe,
    load_adapter,
    load_denoiser,
    load_transformer,
)
from refilm.checkpoints.defaults import load_defaults
from refilm.checkpoints.image_encoders import load_image_encoder
from refilm.checkpoints.sources import POCKET, DiffusersSource
from refilm.weights.pickles import pickled_tensors

from ..model.tiny import SINCOS, adapter, transformer
from ..parity.test_autoencoder import FIXTURES

VALUES = [
    None, True, False, -1, 0, 1, 3, 10**8, 10**18, 10**400, -0.5, 1.5, 1e308, float("inf"), float("nan"), "", "x", "2",
    "../../etc/passwd", "owner/kernel", "\x1b[31m\n", [], ["x"], [0], [[]], {}, {"a": 1}, ...,
]  # fmt: skip
PLACES = {"dtype": None, "device": "cpu"}
SECONDS, BYTES = 60, 1 << 30


def words(base):
    DiffusersSource(base).text(24, torch.float32, torch.device("cpu"))(["a critter bounces"])


def images(base):
    encoder = load_image_encoder(base / "image_encoder", base / "image_processor", **PLACES)
    encoder([Image.new("RGB", (40, 30), "red")])


def videos(base):
    source = DiffusersSource(base)
    source.compression()
    source.autoencoder(torch.float32, torch.device("cpu"), decode_frames=None)


def denoiser(base):
    size = load_transformer(base / "transformer").size
    tokens = torch.zeros(1, 1, size.channels, 2 * size.patch, 2 * size.patch), torch.zeros(1, dtype=torch.long)
    load_denoiser(base, adapter=None)(*tokens, torch.zeros(1, size.text_length, size.text_dim))


FAMILY_READERS = {
    "transformer/config.json": denoiser,
    "vae/config.json": videos,
    "text_encoder/config.json": words,
    "tokenizer/tokenizer_config.json": words,
    "scheduler/scheduler_config.json": lambda base: DiffusersSource(base).schedule(),
}
READERS = FAMILY_READERS | {
    "tokenizer/special_tokens_map.json": words,
    "tokenizer/added_tokens.json": words,
    "image_encoder/config.json": images,
    "image_processor/preprocessor_config.json": images,
    "refilm.json": load_defaults,
    "adapter/adapter.json": lambda base: load_adapter(base / "adapter"),
}
FILES = [*(("pocket", name) for name in READERS), *(("wan", name) for name in FAMILY_READERS)]
MADE = {  # by older libraries, and not in the pocket model
    "tokenizer/special_tokens_map.json": {"eos_token": {"content": "</s>", "lstrip": False}, "unk_token": "<unk>"},
    "tokenizer/added_tokens.json": {"<extra_id_0>": 60},
}
ADDED = ("auto_map", "attn_implementation", "_attn_implementation", "quantization_config", "vision_config",
         "init_inputs", "vocab_file", "trained_betas", "lora", "dtype", "torch_dtype", "chat_template",
         "added_tokens_decoder", "use_kernels", "architectures", "model_max_length", "use_square_size")  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory, tiny_wan):
    """The pocket model and a tiny Wan, to be damaged one file at a time."""
    folder = tmp_path_factory.mktemp("mutated")
    shutil.copytree(POCKET, folder / "pocket")
    shutil.copytree(tiny_wan, folder / "wan")
    for name, content in MADE.items():
        (folder / "pocket" / name).write_text(json.dumps(content))
    return folder


def places_in(content, path=()):
    """The paths to all values of an object without `facts`, which can contain anything."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if key != "facts":
            yield (*path, key)
            if isinstance(value, dict | list):
                yield from places_in(value, (*path, key))


def mutations(content):
    places = [*places_in(content), *((key,) for key in ADDED if key not in content)]
    return [(place, index) for place in places for index in range(len(VALUES))]


def mutated(content, place, value):
    inner = content = copy.deepcopy(content)
    for key in place[:-1]:
        inner = inner[key]
    if value is not ...:
        inner[place[-1]] = value
    elif place[-1] in (inner if isinstance(inner, dict) else range(len(inner))):
        del inner[place[-1]]
    return content


def holds(read, *names):
    """It loads, or raises a one-line error that names a file; within a minute and a gigabyte."""

    def too_long(*_):
        raise AssertionError(f"still at it after {SECONDS} s")

    before, old = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        read()
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may as well load
        assert len(str(error)) < 2000  # noqa: PT017
        assert not names or any(name in str(error) for name in names)  # noqa: PT017
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES


def spoil(base, name, place, index):
    path = base / name
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(mutated(json.loads(before), place, VALUES[index])))
        holds(lambda: READERS[name](base))
        holds(lambda: describe(base), str(base))
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("kind", "name"), FILES)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_config(bases, kind, name, data):
    base = bases / kind
    place, index = data.draw(st.sampled_from(mutations(json.loads((base / name).read_text()))))
    spoil(base, name, place, index)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_config_in_every_way(bases, kind, name):
    base = bases / kind
    for place, index in mutations(json.loads((base / name).read_text())):
        try:
            spoil(base, name, place, index)
        except BaseException as error:
            raise AssertionError(f"{name}: {place} = {VALUES[index]!r}") from error


@pytest.mark.parametrize(("kind", "name"), FILES)
@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, '{"a": ' * 100_000, "1" * 10_000, '"', "[]", "null", "\udcff", "{}"]
)
def test_a_config_that_is_none(bases, kind, name, text):
    base = bases / kind
    path = base / name
    before = path.read_bytes()
    try:
        path.write_bytes(text.encode(errors="surrogateescape"))
        holds(lambda: READERS[name](base))
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A SAT checkpoint in both formats."""
    folder = tmp_path_factory.mktemp("sat")
    for suffix in ("pt", "safetensors"):
        save_sat(folder / f"s.{suffix}", transformer(SINCOS), adapter(SINCOS), frames=9)
    return folder


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_safetensors_header(weights, tmp_path, data):
    header, rest = header_of(weights / "s.safetensors")
    key = data.draw(st.sampled_from(sorted(header)))
    place = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", None]))
    value = data.draw(st.sampled_from([*VALUES[:-1], "F64", "BF16", "I8", [1 << 62, 4], [0, 0], [1] * 80]))
    if place is None or key == "__metadata__":
        header[key] = value
    else:
        header[key][place] = value
    text, path = json.dumps(header).encode(), tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)
    for read in (load_denoiser, describe):
        holds(lambda read=read: read(path), str(path))


ODD = {
    "0-d": lambda t: torch.ones(()),
    "1-d": lambda t: torch.ones(3),
    "5-d": lambda t: torch.ones(2, 1, 1, 2, 1),
    "empty": lambda t: torch.ones(0),
    "empty sides": lambda t: torch.ones(t.shape[0], *[0] * (t.ndim - 1)),
    "all by stride 0": lambda t: torch.zeros(1).expand(1 << 34),
    "sides by stride 0": lambda t: torch.zeros([1] * t.ndim).expand(*[1 << 12] * t.ndim),
    "integers": lambda t: torch.ones(t.shape, dtype=torch.int64),
    "complex": lambda t: torch.ones(t.shape, dtype=torch.complex64),
    "conjugated": lambda t: torch.ones(t.shape, dtype=torch.complex64).conj(),
    "sparse": lambda t: torch.ones(t.shape).to_sparse(),
    "on meta": lambda t: torch.ones(t.shape, device="meta"),
    "float8": lambda t: torch.ones(t.shape).to(torch.float8_e4m3fn),
    "flipped": lambda t: torch.ones(t.shape[::-1]),
    "missing": lambda t: None,
    "named by a giant": lambda t: t,
}


def odd_file(path, tensors, key, kind):
    made = ODD[kind](tensors[key])
    new = key.replace(".0.", ".99999999999999999999.") if kind == "named by a giant" else key
    changed = {name: tensor for name, tensor in tensors.items() if name != key} | ({} if made is None else {new: made})
    torch.save({"module": changed}, path)


@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors(weights, tmp_path, kind):
    """Changes of the keys from which sizes are read."""
    tensors, path = torch.load(weights / "s.pt", weights_only=True)["module"], tmp_path / "x.pt"
    marks = ("patch_embed", "final_layer.linear", "layernorm_list.0", "time_embed.0", "pos_embed", "image_proj",
             "layers.0.cross_attention.query")  # fmt: skip
    for key in (key for key in tensors if any(mark in key for mark in marks) and not key.endswith("bias")):
        odd_file(path, tensors, key, kind)
        for read in (load_denoiser, describe):
            holds(lambda read=read: read(path), str(path))


@pytest.mark.parametrize("kind", ODD)
def test_odd_tensors_of_an_autoencoder(tmp_path, kind):
    path, tensors = tmp_path / "3d-vae.pt", pickled_tensors(FIXTURES / "3d-vae.pt")
    for key in (
        "encoder.conv_in.conv.weight",
        "decoder.conv_out.conv.weight",
        "encoder.down.0.block.0.conv1.conv.weight",
    ):
        odd_file(path, tensors, key, kind)
        for read in (lambda p: load_sat_autoencoder(p, scaling_factor=1.0), describe):
            holds(lambda read=read: read(path), str(path))


def test_a_table_larger_than_its_file(weights, tmp_path):
    """Sixteen terabytes with a stride of 0."""
    tensors, key = pickled_tensors(weights / "s.pt"), "model.diffusion_model.mixins.pos_embed.pos_embedding"
    torch.save({"module": tensors | {key: torch.zeros(1, 1, 1).expand(1, 1 << 34, 64)}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=rf"x\.pt: {key} has shape .*, but the file does not contain all its values"):
        load_denoiser(tmp_path / "x.pt")


LAYERS = {
    ("pocket", "transformer/config.json"): "num_layers",
    ("pocket", "vae/config.json"): "layers_per_block",
    ("pocket", "text_encoder/config.json"): "num_layers",
    ("pocket", "image_encoder/config.json"): "num_hidden_layers",
    ("wan", "transformer/config.json"): "num_layers",
    ("wan", "vae/config.json"): "num_res_blocks",
    ("wan", "text_encoder/config.json"): "num_layers",
}


@pytest.mark.parametrize(("kind", "name"), LAYERS)
def test_more_layers_than_tensors(bases, kind, name):
    """Values within the bounds, rejected before a model is created."""
    base = bases / kind
    path = base / name
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(json.loads(before) | {LAYERS[kind, name]: 990}))
        with pytest.raises(ValueError, match=r"tensors are too few for the 990 layers in its config"):
            READERS[name](base)
    finally:
        path.write_bytes(before)


def test_layers_are_counted(weights, tmp_path):
    """A key with a huge layer number counts as one more layer."""
    tensors = pickled_tensors(weights / "s.pt")
    key = next(key for key in tensors if ".transformer.layers.0." in key)
    torch.save({"module": tensors | {key.replace(".0.", ".99999999."): tensors[key]}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: missing key .*modulations\.2\.1\.bias and"):
        load_denoiser(tmp_path / "x.pt")
