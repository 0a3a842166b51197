"""The autoencoder's lessons and its initialization."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from refilm import evaluation
from refilm.backbones.cogvideox.autoencoder import Autoencoder, load_autoencoder
from refilm.data import critters
from refilm.pocket.autoencoder import AutoencoderSettings, AutoencoderTask, CropLesson, psnr
from refilm.pocket.recipes import AutoencoderRecipe
from refilm.training.engine.loop import fit
from refilm.training.settings import LoopSettings, OptimizerSettings


def decoded_from(noise: float) -> torch.Tensor:
    """The latents that the decoder gets in the first step, (B, C, T, h, w)."""
    lesson = {"until": 1, "batch": 3, "frames": 9, "crop": 16, "noise": noise}
    task = AutoencoderTask(AutoencoderSettings(channels=(8, 16, 16), curriculum=(lesson,)))
    given, decode = [], task.module.decode
    task.module.decode = lambda latents: (given.append(latents), decode(latents))[1]
    loss = task.loss(0, task.samples(0))["loss"]
    loss.backward()
    assert loss.isfinite()
    return given[0].detach()


def test_noise_is_added_to_the_same_latents_at_each_crops_own_level():
    plain, noisy, twice = decoded_from(0.0), decoded_from(0.5), decoded_from(1.0)
    added = noisy - plain
    assert torch.allclose(twice - plain, 2 * added, atol=1e-5)
    levels = added.std(dim=(1, 2, 3, 4)) / plain.std(dim=(1, 2, 3, 4))
    assert (levels > 0).all()
    assert (levels < 0.55).all()
    assert len({round(level, 3) for level in levels.tolist()}) == 3


def test_the_divergence_from_a_unit_normal_is_torchs():
    lesson = {"until": 1, "batch": 2, "frames": 9, "crop": 16}
    task = AutoencoderTask(AutoencoderSettings(channels=(8, 16, 16), curriculum=(lesson,)))
    with torch.no_grad():
        task.module.encoder.conv_out.conv.bias[16:] += torch.linspace(-3, 3, 16)  # variances far from 1
        terms = task.loss(0, task.samples(0))
        posterior = task.module.encode(task._batch(task.settings.curriculum[0], task.samples(0)))
    assert posterior.var.max() > 10 * posterior.var.min()
    wanted = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0)).mean()
    # each value is summed of three terms, each rounded once or twice in float32
    assert terms["kl"].item() == pytest.approx(wanted.item(), rel=16 * torch.finfo(torch.float32).eps)
    others = terms["l1"] + terms["l2"]
    assert terms["loss"].item() == pytest.approx((others + task.settings.kl_weight * wanted).item(), rel=1e-5)


@pytest.mark.parametrize("frames", [5, 13])
def test_frames_that_cannot_be_decoded_in_one_pass_are_refused(frames):
    with pytest.raises(ValueError, match=f"{frames} frames cannot be decoded in one pass; use 1, 9, 17"):
        CropLesson(until=1, batch=1, frames=frames, crop=16)


def recipe(out: Path, **settings) -> AutoencoderRecipe:
    lesson = {"until": 2, "batch": 2, "frames": 9, "crop": 16, "objective": "rms"}
    return AutoencoderRecipe(
        stage="autoencoder",
        out=out,
        autoencoder=AutoencoderSettings(**{"channels": (8, 8, 8, 16), "size": 32, "curriculum": (lesson,), **settings}),
        loop=LoopSettings(steps=2, optimizer=OptimizerSettings(warm_up=0, ema=0)),
    )


def trained(recipe: AutoencoderRecipe, run: Path) -> Autoencoder:
    task = recipe.task()
    list(fit(task, recipe.loop, run))
    return load_autoencoder(recipe.deliver(task, {}))


def test_an_autoencoder_grows_and_its_decoder_alone_is_trained_further(tmp_path):
    small = trained(recipe(tmp_path / "small", channels=(8, 8, 16), size=16), tmp_path / "1")
    grown_from = tmp_path / "small" / "vae"
    grown = trained(recipe(tmp_path / "grown", grown_from=grown_from, kept_latents=1.0), tmp_path / "2")
    assert grown.size.height == 32
    assert grown.scaling_factor == small.scaling_factor

    further = trained(recipe(tmp_path / "further", decoder_of=tmp_path / "grown" / "vae"), tmp_path / "3")
    assert further.scaling_factor == grown.scaling_factor
    before, after = grown.state_dict(), further.state_dict()
    same = {name for name, weight in after.items() if torch.equal(weight, before[name])}
    assert same >= {name for name in after if name.startswith("encoder.")}
    assert "decoder.conv_out.conv.weight" not in same


def test_a_decoder_trains_alone_and_is_validated_with_one_and_with_two_critters(tmp_path):
    start = recipe(tmp_path)
    further = recipe(tmp_path, decoder_of=start.deliver(start.task(), {}), double_fraction=1.0)
    task = further.task()
    task.loss(0, task.samples(0))["loss"].backward()
    assert all(weight.grad is None for weight in task.module.encoder.parameters())
    assert all(weight.grad is not None for weight in task.module.decoder.parameters())

    made, drawn = [], []
    for index in range(10_000_000, 10_000_008):
        story = critters.double_story(0, index, "held_out")
        rng = np.random.default_rng((0, index, 1))
        start = int(rng.integers(0, 1))
        clip = torch.from_numpy(critters.render(story, rng, size=32, start=start)) / 127.5 - 1
        drawn.append(clip.permute(3, 0, 1, 2))
        with torch.no_grad():
            latents = task.module.encode(drawn[-1][None]).mean
            made.append(task.module.decode(latents)[0].clamp(-1, 1))
    wanted = np.mean([evaluation.psnr(*pair, peak=2.0) for pair in zip(made, drawn, strict=True)])
    scores = task.validate()
    assert scores["psnr_doubles"] == pytest.approx(wanted, rel=1e-5)
    assert scores["psnr"] != pytest.approx(scores["psnr_doubles"], rel=1e-3)


def test_kept_latents_stay_close_to_those_of_the_small_one(tmp_path):
    small = recipe(tmp_path / "small", channels=(8, 8, 16), size=16)
    folder = small.deliver(small.task(), {})
    moved = []
    for weight in (0.0, 30.0):
        kept = recipe(tmp_path / "grown", grown_from=folder, kept_latents=weight).autoencoder
        task = AutoencoderTask(kept)
        loop = LoopSettings(steps=12, optimizer=OptimizerSettings(warm_up=0, learning_rate=3e-3, ema=0))
        list(fit(task, loop, tmp_path / f"run-{weight}"))
        watched = AutoencoderTask(kept.model_copy(update={"kept_latents": 1.0}))
        watched.module = task.module
        moved.append(watched.loss(99, watched.samples(99))["moved"].item())
    assert moved[1] < moved[0] / 2


def test_an_objective_is_the_metric_of_evaluation():
    made = {}
    for objective in ("rms", "psnr"):
        lesson = {"until": 1, "batch": 1, "frames": 9, "crop": 32, "objective": objective}
        task = recipe(Path("unused"), curriculum=(lesson,)).task()
        made |= task.loss(0, range(1))
        assert made["loss"].item() == pytest.approx(made[objective].item() + 5e-4 * made["kl"].item())
    in_db = evaluation.psnr([made["rms"].item()], [0.0], peak=2.0)
    assert made["psnr"].item() == pytest.approx(-in_db / 100, rel=1e-5)


def test_rms_and_psnr_have_equal_gradients_at_27_db():
    mse = torch.tensor(4 / 10**2.7, requires_grad=True)
    (of_root,) = torch.autograd.grad(mse.sqrt(), mse)
    (of_psnr,) = torch.autograd.grad(-0.01 * psnr(mse), mse)
    assert of_psnr.item() == pytest.approx(of_root.item(), rel=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grown_from": Path("a"), "decoder_of": Path("b")}, "grown_from and decoder_of are both set; set only one"),
        ({"grown_from": Path("a"), "widened_from": Path("b")}, "grown_from and widened_from are both set"),
        ({"kept_latents": 1.0}, "kept_latents: requires grown_from"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderSettings(curriculum=(), **settings)


def training_clips(double_fraction: float) -> torch.Tensor:
    """The clips of the first step, (B, 3, F, H, W)."""
    lesson = {"until": 1, "batch": 8, "frames": 9, "crop": 32}
    made = recipe(Path("unused"), curriculum=(lesson,), split="train_combinations", double_fraction=double_fraction)
    task = made.task()
    seen = []
    task.module.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    task.loss(0, task.samples(0))
    return seen[0]


def test_a_fraction_of_the_clips_shows_two_critters_and_the_others_do_not_change():
    one, some, two = (training_clips(fraction) for fraction in (0.0, 0.5, 1.0))
    of_two = [torch.equal(*pair) for pair in zip(some, two, strict=True)]
    of_one = [torch.equal(*pair) for pair in zip(some, one, strict=True)]
    assert [a != b for a, b in zip(of_one, of_two, strict=True)] == [True] * 8
    assert 0 < sum(of_two) < 8
    rng = np.random.default_rng((0, 0, 1))
    start = int(rng.integers(0, critters.FRAMES - 8))
    story = critters.double_story(0, 0, "train_combinations")
    video = torch.from_numpy(critters.render(story, rng, size=32, start=start, frames=9)) / 127.5 - 1
    assert torch.equal(two[0], video.permute(3, 0, 1, 2))
