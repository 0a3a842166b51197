"""A Wan pipeline saved by diffusers generates the same videos in refilm as in diffusers."""

import json

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

import refilm
from refilm.diffusion import gaussian
from refilm.errors import UserError

from ..wan_folder import make_wan

PROMPT, NEGATIVE, SEED = "a critter  bounces &amp; spins ", "a critter spins at night", 7
SIZE = {"height": 64, "width": 80}
SCHEDULERS = {
    "unipc": (UniPCMultistepScheduler, {}),
    "euler": (FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
    "dpmpp-2m-sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return make_wan(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_videos_are_those_of_diffusers(theirs, tmp_path, monkeypatch, sampler, guidance):
    kind, settings = SCHEDULERS[sampler]
    theirs.scheduler = kind.from_config(theirs.scheduler.config, **settings)
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path)
    ours = refilm.load(tmp_path)
    steps, frames = 6, 9
    draw = gaussian((1, 3, 4, 8, 10), torch.Generator().manual_seed(SEED))
    start, *draws = [draw().transpose(1, 2) for _ in range(steps)]
    module = "diffusers.schedulers.scheduling_dpmsolver_multistep.randn_tensor"
    monkeypatch.setattr(module, lambda *_, **__: draws.pop(0) if draws else torch.zeros_like(start))
    given = {"num_frames": frames, "num_inference_steps": steps, "guidance_scale": guidance, "latents": start, **SIZE}
    wanted = theirs(PROMPT, NEGATIVE, **given, output_type="latent").frames.transpose(1, 2)

    request = ours.request(
        frames=frames, steps=steps, guidance=guidance, sampler=sampler, negative_prompt=NEGATIVE, **SIZE
    )
    *_, last = ours.sample([PROMPT], [None], seeds=[SEED], request=request)
    assert wanted.std() > 0.3
    assert (last.latents - wanted).abs().max() <= 1e-4

    std, mean = (torch.tensor(theirs.vae.config[name])[:, None, None, None] for name in ("latents_std", "latents_mean"))
    with torch.no_grad():
        pixels = theirs.vae.decode(wanted.transpose(1, 2) * std + mean).sample[0].permute(1, 2, 3, 0)
    (video,) = ours.decode(last.latents)
    assert (torch.from_numpy(video.frames) / 255 - (pixels + 1) / 2).abs().max() <= 1.5 / 255
    assert pixels.std() > 0.02


def test_defaults_are_those_of_the_published_model(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    request = refilm.load(tmp_path).request()
    assert (request.frames, request.height, request.width, request.guidance) == (81, 480, 832, 5.0)
    assert (request.steps, request.sampler) == (50, "unipc")


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (
            "vae",
            {"z_dim": 8, "latents_mean": [0.0] * 8, "latents_std": [1.0] * 8},
            "z_dim: 8 latent channels, but .* 4",
        ),
        ("scheduler", {"use_karras_sigmas": True}, "use_karras_sigmas"),
        ("scheduler", {"shift_terminal": 0.1}, "shift_terminal"),
        ("scheduler", {"flow_shift": 1e6}, "flow_shift"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_sampling(theirs, tmp_path, part, changes, message):
    theirs.save_pretrained(tmp_path)
    path = tmp_path / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=message) as error:
        refilm.load(tmp_path)
    assert str(path) in str(error.value)


def test_the_null_prompt_is_an_empty_text(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    ours = refilm.load(tmp_path)
    made = []
    for text in (None, "", NEGATIVE):
        request = ours.request(frames=1, steps=2, negative_prompt=text, **SIZE)
        *_, last = ours.sample([PROMPT], [None], seeds=[SEED], request=request)
        made.append(last.latents)
    assert torch.equal(made[0], made[1])
    assert (made[0] - made[2]).abs().max() > 0.01
