import re
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

import refilm
from refilm.backbones.cogvideox.attention import JointAttention
from refilm.data import critters
from refilm.diffusion import GUIDANCE_SCHEDULES, SAMPLERS, Condition, by_timestep, gaussian, guided, run
from refilm.generation import AttentionMaps, Pipeline, request
from refilm.model import KERNELS, ReferenceAttention, References, eager, fused


@pytest.fixture(scope="module")
def pipeline(tiny_base) -> Pipeline:
    return refilm.load(tiny_base)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    subject = critters.subjects("held_out")[0]
    return Image.fromarray(critters.portrait(subject, np.random.default_rng(0), size=96))


PROMPT = "a critter bounces in the meadow"


def test_a_video_is_a_function_of_its_seed_and_not_of_its_batch(pipeline, image):
    alone = pipeline.generate(PROMPT, image, seed=7)
    assert alone.frames.shape == (17, 32, 32, 3)
    assert np.array_equal(alone.frames, pipeline.generate(PROMPT, image, seed=7).frames)
    assert not np.array_equal(alone.frames, pipeline.generate(PROMPT, image, seed=8).frames)
    _, second = pipeline.generate_batch(["a critter waits at night", PROMPT], [image, image], seeds=[1, 7])
    difference = np.abs(alone.frames.astype(int) - second.frames.astype(int))
    assert difference.max() <= 2  # other batch sizes sum in another order


def test_the_reference_counts_and_scale_0_is_no_reference(pipeline, image):
    without = pipeline.generate(PROMPT, seed=7).frames
    assert np.array_equal(without, pipeline.generate(PROMPT, image, seed=7, reference_scale=0.0).frames)
    assert not np.array_equal(without, pipeline.generate(PROMPT, image, seed=7).frames)
    other = Image.fromarray(np.asarray(image)[..., ::-1].copy())
    assert not np.array_equal(
        pipeline.generate(PROMPT, image, seed=7).frames, pipeline.generate(PROMPT, other, seed=7).frames
    )


def test_other_sizes_lengths_and_samplers(pipeline, image):
    video = pipeline.generate(PROMPT, image, seed=1, frames=9, height=24, width=40, steps=2, sampler="ddim")
    assert video.frames.shape == (9, 24, 40, 3)
    assert pipeline.generate(PROMPT, image, seed=1, frames=1, steps=2).frames.shape == (1, 32, 32, 3)
    assert pipeline.generate(PROMPT, image, seed=1, frames=13, steps=2).frames.shape == (13, 32, 32, 3)


def test_names_of_settings_are_names_of_things():
    assert get_args(request.SamplerName) == (*SAMPLERS, "sat")
    assert get_args(request.GuidanceScheduleName) == tuple(GUIDANCE_SCHEDULES)
    assert get_args(request.KernelName) == tuple(KERNELS)


def test_sat_is_the_research_code_with_zeros_after_the_projection(pipeline, image):
    """Composed from public parts; the adapter's projection has a bias, so zeros before it give other results."""
    asked = pipeline.request(sampler="sat", steps=3, guidance=6.0)
    assert asked.guidance_schedule == "by-timestep"
    *_, last = pipeline.sample([PROMPT], [image], seeds=[7], request=asked)

    text, transformer = pipeline.base.encoders.text, pipeline.base.transformer
    references = pipeline.adapter.references(pipeline.encode_references([image]))
    nothing = Condition(text.dropped(1), References(torch.zeros_like(references.tokens)))
    shape = (1, *asked.latent_shape(transformer.size.channels, pipeline.base.compression))
    predict = guided(transformer, Condition(text([PROMPT]), references), unconditional=nothing, guidance=by_timestep(3))
    draw = gaussian(shape, torch.Generator().manual_seed(7))
    with torch.no_grad():
        *_, expected = run("sat", predict, schedule=pipeline.base.schedule, steps=3, draw=draw)
    torch.testing.assert_close(last.latents, expected.latents, rtol=0, atol=1e-5)
    *_, other = pipeline.sample([PROMPT], [image], seeds=[7], request=asked.model_copy(update={"sampler": "ddim"}))
    assert (other.latents - last.latents).abs().max() > 0.01


def test_a_scale_of_the_reference_needs_a_reference(pipeline, image):
    for reference, scale in ((None, 1.0), (image, 0.0)):
        with pytest.raises(ValueError, match="reference_guidance: give a reference, and a reference_scale above 0"):
            pipeline.generate(PROMPT, reference, seed=7, steps=2, reference_guidance=3.0, reference_scale=scale)


def test_several_subjects_with_masks_are_sampled_and_explained(pipeline, image):
    """Two subjects side by side: each half of the video sees one, and the maps tell them apart."""
    tokens = pipeline.encode_references([image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    request = pipeline.request(steps=2, frames=1)
    left = torch.tensor([1.0, 1, 0, 0]).repeat(4)  # 4 x 4 video tokens
    both = pipeline.adapter.references(tokens[None], where=torch.stack([left, 1 - left])[None])
    maps = AttentionMaps()
    *_, together = pipeline.sample([PROMPT], both, seeds=[7], request=request, wrap_prediction=maps)
    assert maps.blocks().shape == (2, 1, 2, 16, 65)
    one = pipeline.adapter.references(tokens[None, :1])
    *_, alone = pipeline.sample([PROMPT], one, seeds=[7], request=request)
    assert (together.latents - alone.latents).abs().max() > 1e-3
    unmasked = pipeline.adapter.references(tokens[None], where=torch.stack([left * 0 + 1, left * 0])[None])
    *_, hidden = pipeline.sample([PROMPT], unmasked, seeds=[7], request=request)
    torch.testing.assert_close(hidden.latents, alone.latents, rtol=0, atol=1e-4)


def test_embeddings_of_another_dtype_are_converted(pipeline, image):
    tokens, text = pipeline.encode_references([image]), pipeline.base.encoders.text([PROMPT])
    request = pipeline.request(steps=2, frames=1)
    *_, plain = pipeline.sample(text, tokens, seeds=[7], request=request)
    *_, wide = pipeline.sample(text.double(), tokens.double(), seeds=[7], request=request)
    assert torch.equal(plain.latents, wide.latents)


def test_a_kernel_by_name_makes_the_same_video_and_is_taken_off_again(pipeline, image):
    plain = pipeline.generate(PROMPT, image, seed=7, steps=2).frames.astype(int)
    for name in ("eager", "math", "flash"):
        video = pipeline.generate(PROMPT, image, seed=7, steps=2, kernel=name).frames
        assert np.abs(plain - video).max() <= 2
    seen, transformer = [], pipeline.base.transformer
    attentions = [m for m in transformer.modules() if isinstance(m, JointAttention | ReferenceAttention)]
    watch = lambda predict, _: lambda *asked: seen.extend(m.kernel for m in attentions) or predict(*asked)  # noqa: E731
    steps = pipeline.sample(
        [PROMPT], [image], seeds=[7], request=pipeline.request(kernel="eager"), wrap_prediction=watch
    )
    next(steps)
    assert set(seen) == {eager}
    assert {m.kernel for m in attentions} == {fused}  # though the run is not over
    assert not torch.is_inference_mode_enabled()
    with pytest.raises(ValueError, match="attention kernel 'cudnn' cannot run here, on cpu"):
        pipeline.generate(PROMPT, image, seed=7, kernel="cudnn")


def test_a_step_cache_is_new_for_every_video(pipeline, image, caplog):
    videos = []
    with caplog.at_level("INFO", logger="refilm"):
        for cache in (0.5, 0.5, 0.0):
            videos.append(pipeline.generate(PROMPT, image, seed=7, steps=8, step_cache=cache).frames)
    assert np.array_equal(videos[0], videos[1])
    assert not np.array_equal(videos[0], videos[2])
    counts = re.findall(r"step cache: (\d+) of 16 runs", caplog.text)
    assert len(counts) == 2
    assert 0 < int(counts[0]) == int(counts[1]) < 16
    assert pipeline.base.transformer.trunk.wrap_blocks is None
    pipeline.base.transformer.trunk.wrap_blocks = lambda run, x, conditioning: run(x, conditioning)
    try:
        with pytest.raises(ValueError, match=r"step_cache: trunk\.wrap_blocks is already set"):
            pipeline.generate(PROMPT, seed=7, step_cache=0.5)
    finally:
        pipeline.base.transformer.trunk.wrap_blocks = None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 10}, r"10 frames: the number must be 4k \+ 1, for instance 9 or 13"),
        ({"height": 30}, r"a height of 30 and a width of 32 pixels: both must be multiples of 8"),
        ({"steps": 0}, r"steps: .*greater than or equal to 1 \(received 0\)"),
        ({"guidance": float("nan")}, r"guidance: .*received nan"),
        ({"sampler": "heun"}, r"sampler: .*'dpmpp-2m-sde', 'ddim', 'euler', 'unipc' or 'sat' \(received 'heun'\)"),
        ({"sampler": "sat", "steps": 1}, r"steps: must be from 2 to 999 with the sampler sat \(received 1\)"),
        ({"step_cache": -1.0}, r"step_cache: .*\(received -1.0\)"),
        ({"colour": 1}, r"colour: unknown \(received 1\)"),
        ({"step": 4}, r"step: unknown; did you mean steps\?"),
    ],
)
def test_impossible_settings_are_refused_in_words(pipeline, image, settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline.generate(PROMPT, image, seed=1, **settings)


def test_a_reference_needs_an_adapter(tiny_base, image):
    bare = refilm.load(tiny_base, adapter=None)
    assert bare.generate(PROMPT, seed=1, steps=1).frames.shape == (17, 32, 32, 3)
    with pytest.raises(ValueError, match="no adapter is loaded"):
        bare.generate(PROMPT, image, seed=1)
    with pytest.raises(ValueError, match="a reference for every prompt or for none"):
        bare.generate_batch([PROMPT, PROMPT], [image, None], seeds=[1, 2])


def test_unknown_bases_devices_and_dtypes_are_refused(tiny_base, tmp_path):
    with pytest.raises(ValueError, match="unknown base model 'giant'"):
        refilm.load("giant")
    with pytest.raises(ValueError, match="device 'toaster' cannot be used here"):
        refilm.load(tiny_base, device="toaster")
    with pytest.raises(ValueError, match="unknown dtype 'int8'"):
        refilm.load(tiny_base, dtype="int8")
    with pytest.raises(ValueError, match=str(tmp_path)):
        refilm.load(tiny_base, adapter=tmp_path)
