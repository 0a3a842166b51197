"""A pipeline saved by diffusers generates the same videos in refilm as in diffusers."""

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.schedulers import scheduling_dpm_cogvideox
from transformers import T5Config, T5EncoderModel

import refilm
from refilm.diffusion import gaussian
from refilm.pocket.contrastive import EncodersSettings, train_tokenizer

from ..model.tiny import wild

PROMPT, NEGATIVE, SEED = "a critter bounces in the meadow", "a critter spins at night", 7
SIZE = {"height": 64, "width": 80}
PROCESS = {"beta_start": 0.00085, "beta_end": 0.012, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
           "prediction_type": "v_prediction"}  # fmt: skip


def transformer(**kind) -> CogVideoXTransformer3DModel:
    return wild(
        CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=32, num_layers=2, time_embed_dim=16, text_embed_dim=24,
            max_text_seq_length=20, in_channels=4, out_channels=4, sample_frames=9,
            **{"sample_width": 20, "sample_height": 16, **kind},
        )
    )  # fmt: skip


KINDS = {
    "2b": {"use_rotary_positional_embeddings": False},
    "5b": {"use_rotary_positional_embeddings": True},
    "1.5 5b": {
        "use_rotary_positional_embeddings": True, "patch_size_t": 2, "patch_bias": False, "sample_width": 24,
        "sample_height": 24,
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def theirs(request, tmp_path_factory) -> CogVideoXPipeline:
    """Random weights; 2B-like with its table and SNR shift 3, the others rotary and not shifted."""
    folder = tmp_path_factory.mktemp("tokenizer")
    torch.manual_seed(0)
    tokenizer = train_tokenizer(folder, EncodersSettings())
    text = T5Config(vocab_size=len(tokenizer), d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2)
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3, up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(8, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4, scaling_factor=1.15,
    )  # fmt: skip
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(text).eval(),
        vae=vae,
        transformer=transformer(**KINDS[request.param]),
        scheduler=CogVideoXDPMScheduler(**PROCESS, snr_shift_scale=3.0 if request.param == "2b" else 1.0),
    )


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory) -> refilm.Pipeline:
    folder = tmp_path_factory.mktemp("pipeline")
    theirs.save_pretrained(folder)
    return refilm.load(folder)


def video_of_theirs(pipeline, monkeypatch, *, steps, kind, frames=9, **settings):
    """Latents and pixels from the noise of refilm's seed in refilm's order; diffusers samples noise more often."""
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    added = (pipeline.transformer.config.patch_size_t or 1) - 1  # noise in front that is not decoded
    latents = ((frames - 1) // 4 + 1 + added, 4, SIZE["height"] // 4, SIZE["width"] // 4)
    draw = gaussian((1, *latents), torch.Generator().manual_seed(SEED))
    start, *noises = [draw() for _ in range(steps + 1)]
    step = kind.step

    def stepped(self, *given, **more):
        noise = noises.pop(0)
        monkeypatch.setattr(scheduling_dpm_cogvideox, "randn_tensor", lambda *_, **__: noise)
        return step(self, *given, **more)

    monkeypatch.setattr(kind, "step", stepped)
    settings = {"prompt": PROMPT, "num_frames": frames, "num_inference_steps": steps, "latents": start, **settings}
    final = pipeline(**settings, **SIZE, max_sequence_length=20, output_type="latent").frames
    pixels = pipeline.decode_latents(final[:, added:])
    return final, pipeline.video_processor.postprocess_video(pixels, output_type="pt")


def video_of_ours(pipeline, *, frames=9, **settings):
    request = pipeline.request(frames=frames, **SIZE, **settings)
    *_, last = pipeline.sample([PROMPT], [None], seeds=[SEED], request=request)
    (video,) = pipeline.decode(last.latents)
    return last.latents, torch.from_numpy(video.frames)


@pytest.mark.parametrize(
    ("sampler", "kind", "settings", "same"),
    [
        ("ddim", CogVideoXDDIMScheduler, {"guidance": 6.0}, {"guidance_scale": 6.0}),
        ("dpmpp-2m-sde", CogVideoXDPMScheduler, {"guidance": 6.0}, {"guidance_scale": 6.0}),
        ("dpmpp-2m-sde", CogVideoXDPMScheduler, {"guidance": 1.0}, {"guidance_scale": 1.0}),
        (
            "dpmpp-2m-sde",
            CogVideoXDPMScheduler,
            {
                "guidance": 3.0,
                "guidance_schedule": "by-timestep",
                "negative_prompt": NEGATIVE,
                "frames": 17,
                "window": 17,
            },
            {"guidance_scale": 3.0, "use_dynamic_cfg": True, "negative_prompt": NEGATIVE, "frames": 17},
        ),
    ],
)
def test_videos_are_those_of_diffusers(theirs, ours, monkeypatch, sampler, kind, settings, same):
    expected, pixels = video_of_theirs(theirs, monkeypatch, steps=10, kind=kind, **same)
    latents, frames = video_of_ours(ours, steps=10, sampler=sampler, **{"negative_prompt": "", **settings})
    assert expected.std() > 0.3
    assert pixels.std() > 0.02
    assert (latents - expected).abs().max() <= 1e-4
    assert (frames / 255 - pixels[0].permute(0, 2, 3, 1)).abs().max() <= 1 / 255


def test_a_folder_of_diffusers_has_the_defaults_of_its_kind(theirs, ours):
    defaults, later = ours.base.defaults, theirs.transformer.config.patch_size_t is not None
    assert (defaults.fps, defaults.height, defaults.width) == ((16, 768, 1360) if later else (8, 480, 720))
    assert defaults.frames == theirs.transformer.config.sample_frames == 9


def test_prompts_are_read_as_diffusers_reads_them(theirs, ours):
    """Padded to the full length, without a mask."""
    for prompt in (PROMPT, ""):
        expected, _ = theirs.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=20)
        torch.testing.assert_close(ours.base.encoders.text([prompt]), expected, rtol=0, atol=1e-6)


def test_no_prompt_is_zeros_and_not_an_empty_text(ours):
    nothing, empty = (video_of_ours(ours, steps=2, negative_prompt=text)[0] for text in (None, ""))
    assert (nothing - empty).abs().max() > 0.01
