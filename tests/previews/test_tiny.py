"""Tiny decoders in TAEHV's layout: compared with a plain computation, frame by frame, from the keys of the file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from refilm.errors import NotFiniteError, UserError
from refilm.geometry import Compression
from refilm.previews import TinyDecoder

COMPRESSION = Compression()
FITS = {"channels": 16, "compression": COMPRESSION}


def published(channels=16, outputs=3) -> dict[str, torch.Tensor]:
    """Random weights with the keys and shapes of `taecvx`; decoder and, in part, encoder."""
    shapes = {"decoder.1": (256, channels, 3), "decoder.22": (outputs, 64, 3), "encoder.0": (64, 3, 3)}
    biased = set(shapes)
    for stage, (width, following, growth) in enumerate([(256, 128, 1), (128, 64, 2), (64, 64, 2)]):
        place = 3 + 6 * stage
        for block in range(place, place + 3):
            convs = {f"decoder.{block}.conv.{layer}": width * (2 if layer == 0 else 1) for layer in (0, 2, 4)}
            shapes |= {name: (width, inputs, 3) for name, inputs in convs.items()}
            biased |= set(convs)
        shapes[f"decoder.{place + 4}.conv"] = (growth * width, width, 1)
        shapes[f"decoder.{place + 5}"] = (following, width, 3)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, (rows, inputs, side) in shapes.items():
        values = torch.randn(rows, inputs, side, side, generator=generator)
        state[f"{name}.weight"] = values * (1.2 / (inputs * side * side) ** 0.5)
        if name in biased:
            state[f"{name}.bias"] = 0.1 * torch.randn(rows, generator=generator)
    state["decoder.22.bias"] += 0.5
    return state


def plain(state: dict[str, torch.Tensor], latents: torch.Tensor) -> np.ndarray:
    """What the published decoder computes, one frame after another: (T, C, h, w) -> (4 T, H, W, 3)."""

    def conv(x, name):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def block(frames, number):
        past, made = torch.zeros_like(frames[0]), []
        for frame in frames:
            x = torch.cat([frame, past])[None]
            for layer in (0, 2):
                x = conv(x, f"decoder.{number}.conv.{layer}").relu()
            made.append((conv(x, f"decoder.{number}.conv.4")[0] + frame).relu())
            past = frame
        return made

    frames = [conv(3 * torch.tanh(one / 3)[None], "decoder.1")[0].relu() for one in latents]
    for first, growth in ((3, 1), (9, 2), (15, 2)):
        for number in range(first, first + 3):
            frames = block(frames, number)
        large = [one.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2) for one in frames]
        frames = [part for one in large for part in conv(one[None], f"decoder.{first + 4}.conv")[0].chunk(growth)]
        frames = [conv(one[None], f"decoder.{first + 5}")[0] for one in frames]
    shown = torch.stack([conv(one.relu()[None], "decoder.22")[0] for one in frames]).clamp(0, 1) * 255
    return shown.permute(0, 2, 3, 1).numpy()


@pytest.fixture(scope="module")
def state():
    return published()


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "taecvx.safetensors"
    save_file(state, path)
    return path


def latents(frames=3, channels=16):
    return torch.randn(frames, channels, 2, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 2, 3])  # CogVideoX's own decoder treats even and odd numbers differently
def test_frames_are_those_of_the_published_decoder_without_the_first_three(state, path, frames):
    z = latents(frames)
    made, expected = TinyDecoder.load(path, **FITS).frames(z), plain(state, z)[3:]
    assert made.shape == expected.shape == (COMPRESSION.frames(frames), 16, 24, 3)
    assert np.abs(made - expected).max() < 0.51
    assert made.std() > 20  # not all gray
    assert made.min() == 0
    assert made.max() == 255


def test_latent_frames_one_by_one_are_those_of_all_at_once(path):
    decoder, z = TinyDecoder.load(path, **FITS), latents()
    by_one = decoder.frames(z).astype(int)
    for at_once in (2, None):
        decoder.at_once = at_once
        assert np.abs(decoder.frames(z) - by_one).max() <= 1
    other = z.clone()
    other[0] += 1
    assert np.abs(decoder.frames(other)[5:] - by_one[5:]).max() > 1  # earlier latent frames are seen
    assert np.array_equal(decoder.frames(other[:1]), decoder.frames(other)[:1])  # later ones are not


def test_the_repeated_first_latent_frame_of_cogvideox_15_is_dropped(path):
    twice = Compression(patch_time=2)
    decoder, z = TinyDecoder.load(path, channels=16, compression=twice), latents(4)
    assert len(decoder.frames(z)) == twice.frames(4)
    assert np.array_equal(decoder.frames(z), TinyDecoder.load(path, **FITS).frames(z[1:]))


def test_a_video_has_all_frames(path):
    decoder = TinyDecoder.load(path, **FITS)
    video = decoder.video(latents(), fps=8)
    assert video.fps == 8
    assert np.array_equal(video.frames, decoder.frames(latents()))


def test_latents_are_scaled_for_the_file(path):
    scaled = TinyDecoder.load(path, **FITS, scale=0.7).frames(latents())
    assert np.array_equal(scaled, TinyDecoder.load(path, **FITS).frames(latents() * 0.7))


def test_a_pth_file_is_read_as_tensors_alone(state, path, tmp_path):
    torch.save(state, tmp_path / "taecvx.pth")
    z = latents()
    made = TinyDecoder.load(tmp_path / "taecvx.pth", **FITS).frames(z)
    assert np.array_equal(made, TinyDecoder.load(path, **FITS).frames(z))
    torch.save({"decoder.1.weight": print}, tmp_path / "code.pth")
    with pytest.raises(UserError, match=r"code.pth: rejected because it tries to run .*print"):
        TinyDecoder.load(tmp_path / "code.pth", **FITS)


def test_a_file_without_the_encoder_is_read(state, path, tmp_path):
    save_file({key: value for key, value in state.items() if "decoder" in key}, tmp_path / "d.safetensors")
    z = latents(1)
    made = TinyDecoder.load(tmp_path / "d.safetensors", **FITS).frames(z)
    assert np.array_equal(made, TinyDecoder.load(path, **FITS).frames(z))


def test_half_precision_is_close(path):
    exact, half = (TinyDecoder.load(path, **FITS, dtype=dtype) for dtype in (None, torch.bfloat16))
    assert half.network.first.weight.dtype == torch.bfloat16
    assert np.abs(half.frames(latents()).astype(int) - exact.frames(latents())).mean() < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.9.conv.2.weight": None}, "missing key decoder.9.conv.2.weight"),
        ({"decoder.1.weight": None}, "missing key decoder.1.weight"),
        ({"decoder.23.weight": torch.zeros(3)}, "surplus key decoder.23.weight"),
        ({"decoder.13.conv.weight": torch.zeros(128, 128, 1, 1)}, r"decoder.13.conv.weight has shape \(128, 128, 1, 1"),
        ({"decoder.22.weight": torch.zeros(12, 64, 3, 3)}, r"decoder.22.weight has shape \(12, 64, 3, 3\), not \(3"),
        ({"decoder.1.weight": torch.zeros(256, 48, 3, 3)}, r"latents with 48 channels, the base model's have 16; use"),
        ({"decoder.1.bias": torch.full((256,), torch.inf)}, "decoder.1.bias contains NaN or infinity"),
    ],
)
def test_other_files_are_refused(state, tmp_path, change, message):
    file = tmp_path / "other.safetensors"
    save_file({key: value for key, value in (state | change).items() if value is not None}, file)
    with pytest.raises(UserError, match=message) as error:
        TinyDecoder.load(file, **FITS)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize("compression", [Compression(space=16), Compression(time=8)])
def test_another_compression_is_refused(path, compression):
    with pytest.raises(UserError, match=r"decodes 8 x 8 pixels and 4 frames from a latent pixel, the base model's"):
        TinyDecoder.load(path, channels=16, compression=compression)


def test_other_latents_are_refused(path):
    decoder = TinyDecoder.load(path, **FITS)
    with pytest.raises(UserError, match=r"received a batch, \(1, 3, 16, 2, 3\)"):
        decoder.frames(latents()[None])
    with pytest.raises(UserError, match=r"must be \(T, 16, h, w\), received \(3, 8, 2, 3\)"):
        decoder.frames(latents(channels=8))
    with pytest.raises(NotFiniteError, match="the tiny decoder gave NaN"):
        decoder.frames(latents() * float("nan"))


def test_the_file_stays_as_it_is(path, state):
    TinyDecoder.load(path, **FITS).frames(latents())
    assert load_file(path).keys() == state.keys()
