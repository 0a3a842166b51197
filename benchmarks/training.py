"""Encoding and training on the pocket model, compared with the plainest loops that do the same work.

    python benchmarks/training.py [--clips 96] [--steps 10] [--turns 5]

Turns alternate in one process (refilm, plain, refilm, ...), so that other load on the machine affects both; medians of
the turns are compared. Writes benchmarks/results/training.json, or `--out`. The plain loops:

- encoding: clip by clip, with PyAV, Pillow, and the base model's `AutoencoderKLCogVideoX`, `T5EncoderModel` and
  `CLIPVisionModel` from diffusers and transformers; one safetensors file per clip;
- base: all weights of diffusers' `CogVideoXTransformer3DModel`, with its scheduler, AdamW, clips stacked from memory;
- adapter: diffusers' transformer has no reference attention, so this loop trains refilm's transformer and adapter, with
  the model's default attention kernel.

Before timing starts, both must give the same encodings, and the same loss on the same batch. Clips are critters
written as MP4 and PNG files. `outside` is the fraction of refilm's steps outside the transformer's forward and
backward.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLCogVideoX, CogVideoXDPMScheduler, CogVideoXTransformer3DModel
from PIL import Image
from record import RESULTS, add_out, target, write
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.autograd import Variable
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPVisionModel, T5EncoderModel

from refilm.checkpoints import Base, fingerprint, load_base
from refilm.checkpoints.sources import POCKET
from refilm.data.critters.files import write_clips
from refilm.data.encoding import EncodedSet, EncodeSettings, encode, identify
from refilm.data.examples import Example
from refilm.data.manifest import read_examples
from refilm.data.samples import Files
from refilm.geometry import AdapterSize
from refilm.model import Adapter
from refilm.training.batches.stream import Batch
from refilm.training.engine.step import Trainer
from refilm.training.settings import ClipLesson, DiffusionSettings, OptimizerSettings, StepSettings
from refilm.training.tasks.diffusion import DiffusionTask

RESULT = RESULTS / "training.json"
RATE, DROP = 1e-4, 0.1


class PlainEncoders:
    """The pocket model's encoders, loaded by their own libraries."""

    def __init__(self) -> None:
        self.vae = AutoencoderKLCogVideoX.from_pretrained(POCKET / "vae", torch_dtype=torch.float32)
        self.vae.num_sample_frames_batch_size = 1 << 20  # in one pass: its batches of frames give other latents
        self.tokenizer = AutoTokenizer.from_pretrained(POCKET / "tokenizer")
        self.t5 = T5EncoderModel.from_pretrained(POCKET / "text_encoder", dtype=torch.float32)
        self.processor = CLIPImageProcessor.from_pretrained(POCKET / "image_processor")
        self.clip = CLIPVisionModel.from_pretrained(POCKET / "image_encoder", dtype=torch.float32)

    @torch.no_grad()
    def __call__(self, example: Example, settings: EncodeSettings, tokens: int) -> dict[str, Tensor]:
        """Encode a clip."""
        with av.open(str(example.video)) as container:
            frames = [frame.to_image() for frame in container.decode(video=0)][: settings.frames]
        small = [frame.resize((settings.width, settings.height), Image.Resampling.BOX) for frame in frames]
        video = torch.from_numpy(np.stack(small)).permute(3, 0, 1, 2)[None] / 127.5 - 1
        latents, scale = self.vae.encode(video).latent_dist, self.vae.config["scaling_factor"]
        ids = self.tokenizer(example.caption, padding="max_length", max_length=tokens, return_tensors="pt").input_ids
        images = [Image.open(reference.image).convert("RGB") for reference in example.references]
        pixels = self.processor(images, return_tensors="pt")["pixel_values"]
        return {
            "mean": (latents.mean[0].transpose(0, 1) * scale).half().contiguous(),
            "logvar": (latents.logvar[0].transpose(0, 1) + 2 * np.log(scale)).half().contiguous(),
            "text": self.t5(input_ids=ids).last_hidden_state[0].half(),
            "references": self.clip(pixel_values=pixels).last_hidden_state.half(),
        }


def alternate(turns: int, ours: Callable[[], float], plain: Callable[[], float]) -> dict[str, Any]:
    """Alternate both, after one warm-up turn each: statistics of the turns, and the ratio of the medians."""
    ours(), plain()
    taken = {"refilm": [], "plain": []}
    for _ in range(turns):
        taken["refilm"].append(ours())
        taken["plain"].append(plain())
    result = {
        name: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for name, values in taken.items()
    }
    return {**result, "refilm_to_plain": result["refilm"]["median"] / result["plain"]["median"]}


def encoding(base: Base, source: Path, folder: Path, turns: int) -> tuple[dict[str, Any], Path]:
    """Clips per second, and the folder of the last encodings."""
    videos = base.defaults.model_dump(include={"frames", "fps", "height", "width"})
    settings = EncodeSettings.model_validate(videos)
    examples, plain_encoders = read_examples(source), PlainEncoders()
    identity, tokens = identify(base.encoders, fingerprint), base.size.text_length
    numbers = iter(range(1000))
    made = [folder]

    def ours() -> float:
        made[0], started = folder / f"refilm-{next(numbers)}", time.perf_counter()
        for _ in encode(Files(examples), base.encoders, made[0], settings=settings, encoder_identity=identity):
            pass
        return len(examples) / (time.perf_counter() - started)

    def plain() -> float:
        out, started = folder / f"plain-{next(numbers)}", time.perf_counter()
        out.mkdir()
        for number, example in enumerate(examples):
            save_file(plain_encoders(example, settings, tokens), out / f"{number:05}.safetensors")
        return len(examples) / (time.perf_counter() - started)

    rates = alternate(turns, ours, plain)
    clips, other = EncodedSet(made[0]), load_file(sorted(folder.glob("plain-*/00000.safetensors"))[0])
    for name, ours_ in {
        "mean": clips[0].mean,
        "text": clips[0].text[0],
        "references": clips[0].references[:, 0],
    }.items():
        distance = ((ours_.float() - other[name].float()).norm() / ours_.float().norm()).item()
        assert distance < 0.02, f"{name}: the plain loop's encodings differ by {distance:.1%}"
    return rates, made[0]


class PlainTraining:
    """The simplest training loop."""

    def __init__(self, model: nn.Module, predict: Callable[..., Tensor], clips: EncodedSet, batch: int, precision: str):
        self.predict, self.batch, self.precision = predict, batch, precision
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=RATE)
        self.scheduler = CogVideoXDPMScheduler.from_pretrained(POCKET / "scheduler")
        self.clips = list(clips)

    def step(self) -> float:
        clips = [self.clips[index] for index in torch.randint(len(self.clips), (self.batch,))]
        mean, logvar = (torch.stack([getattr(clip, name) for clip in clips]).float() for name in ("mean", "logvar"))
        text = torch.stack([clip.text[0] for clip in clips]).float()
        latents = mean + (0.5 * logvar).exp() * torch.randn_like(mean)
        batch = Batch(
            latents=latents,
            text=text * (torch.rand(self.batch) > DROP)[:, None, None],
            reference=torch.stack([clip.references[0, 0] for clip in clips]).float(),
            timesteps=torch.randint(0, 1000, (self.batch,)),
            noise=torch.randn_like(latents),
            text_scale=torch.ones(self.batch),
            reference_scale=(torch.rand(self.batch) > DROP).float(),
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def loss(self, batch: Batch) -> Tensor:
        noisy = self.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
        target = self.scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)
        return F.mse_loss(self.predict(noisy, batch).float(), target)


class Stopwatch:
    """Measures the seconds of a trainer's forwards and backwards, and so the rest of its steps."""

    def __init__(self, trainer: Trainer, transformer: nn.Module):
        self.seconds = {"forward": 0.0, "backward": 0.0}
        self.started = 0.0
        transformer.register_forward_pre_hook(lambda *_: self.start())
        transformer.register_forward_hook(self.forward_done)
        self.trainer = trainer

    def start(self) -> None:
        self.started = time.perf_counter()

    def forward_done(self, module: nn.Module, given: Any, velocity: Tensor) -> None:
        self.seconds["forward"] += time.perf_counter() - self.started
        if velocity.requires_grad:
            velocity.register_hook(lambda _: self.backward())

    def backward(self) -> None:
        """Called with the velocity's gradient, when the transformer's backward starts."""
        self.start()
        Variable._execution_engine.queue_callback(self.backward_done)  # pyright: ignore[reportAttributeAccessIssue]

    def backward_done(self) -> None:
        self.seconds["backward"] += time.perf_counter() - self.started

    @contextmanager
    def turn(self) -> Iterator[dict[str, float]]:
        """Measure within the context: `all` seconds, and the fraction `outside` forward and backward."""
        self.seconds = {"forward": 0.0, "backward": 0.0}
        measured: dict[str, float] = {}
        started = time.perf_counter()
        yield measured
        measured["all"] = time.perf_counter() - started
        measured["outside"] = 1 - sum(self.seconds.values()) / measured["all"]


def training(base: Base, cache: Path, *, adapter: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per step of refilm and of the plain loop, and the fraction of refilm's outside the transformer."""
    torch.manual_seed(0)
    clips, transformer = EncodedSet(cache), deepcopy(base.transformer)
    size = AdapterSize.of(base.size, reference_dim=clips[0].references.shape[-1], query_norm=True)
    own = Adapter(size) if adapter else None
    copies = deepcopy((transformer, own))
    lesson = ClipLesson(until=1, batch=options.batch)
    settings = DiffusionSettings(curriculum=(lesson,), drop={"text": DROP, "reference": DROP, "both": 0.0})
    task = DiffusionTask(settings, transformer, base.schedule, adapter=own, train=clips, held_out=clips)
    optimizer = OptimizerSettings(kind="adamw", learning_rate=RATE, ema=0, warm_up=0)
    trainer = Trainer(task, StepSettings(steps=10**6, precision=options.precision, optimizer=optimizer))

    plain = PlainTraining(*plain_model(*copies), clips, options.batch, options.precision)
    batch = task.draw(task.stream, 0, task.samples(0))
    ones = torch.ones(options.batch)
    batch = Batch(**{**vars(batch), "text_scale": ones, "reference_scale": ones})
    with torch.no_grad():
        torch.testing.assert_close(task.losses(batch).mean(), plain.loss(batch), rtol=1e-3, atol=1e-4)

    stopwatch, outside = Stopwatch(trainer, transformer), []

    def ours() -> float:
        with stopwatch.turn() as measured:
            for _ in range(options.steps):
                trainer.advance()
        outside.append(measured["outside"])
        return measured["all"] / options.steps

    def theirs() -> float:
        started = time.perf_counter()
        for _ in range(options.steps):
            plain.step()
        return (time.perf_counter() - started) / options.steps

    seconds = alternate(options.turns, ours, theirs)
    return {**seconds, "outside": {"median": statistics.median(outside[1:]), "most": max(outside[1:])}}


def plain_model(transformer: nn.Module, adapter: Adapter | None) -> tuple[nn.Module, Callable[..., Tensor]]:
    """The model that the plain loop trains, and its function from batch to velocity."""
    if adapter is None:
        theirs = CogVideoXTransformer3DModel.from_pretrained(POCKET / "transformer", torch_dtype=torch.float32).train()
        return theirs, lambda noisy, batch: theirs(noisy, batch.text, batch.timesteps, return_dict=False)[0]
    transformer.requires_grad_(False)
    adapter.attach(transformer)  # pyright: ignore[reportArgumentType]

    def predict(noisy: Tensor, batch: Batch) -> Tensor:
        references = adapter.references(batch.reference, scale=batch.reference_scale)
        return transformer(noisy, batch.timesteps, batch.text, references)

    return adapter, predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=96, help="Clips. Default: %(default)s.")
    parser.add_argument("--batch", type=int, default=16, help="Clips per step. Default: %(default)s.")
    parser.add_argument("--steps", type=int, default=10, help="Steps per turn. Default: %(default)s.")
    parser.add_argument("--turns", type=int, default=5, help="Turns of each loop. Default: %(default)s.")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="Default: %(default)s.")
    add_out(parser, RESULT)
    options = parser.parse_args()
    out = target(parser, options.out, RESULT)
    base = load_base("pocket", device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for _ in write_clips(folder / "clips", clips=options.clips, split="train", seed=0):
            pass
        encoded, cache = encoding(base, folder / "clips" / "manifest.jsonl", folder, options.turns)
        result = {
            "threads": torch.get_num_threads(),
            **{name: getattr(options, name) for name in ("clips", "batch", "steps", "turns", "precision")},
            "encoding_clips_per_second": encoded,
            "adapter_seconds_per_step": training(base, cache, adapter=True, options=options),
            "base_seconds_per_step": training(base, cache, adapter=False, options=options),
        }
    write(out, result)


if __name__ == "__main__":
    main()
