"""The pipeline: turns prompts and images into videos with encoders, sampler and autoencoder.

Letters: B videos, T latent frames, C latent channels, h x w latent pixels.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from refilm.arguments import checked, plain
from refilm.checkpoints import Base
from refilm.control import ImageLike, Subject
from refilm.control.encoded import EncodedSubject
from refilm.control.records import records_of
from refilm.errors import UserError
from refilm.generation.attention_maps import AttentionMaps
from refilm.generation.conditions import Conditioner, Conditions, Reference, shot_of
from refilm.generation.diffusers_hints import DiffusersHints
from refilm.generation.domain_notes import domain_notes
from refilm.generation.embeddings import require_embeddings
from refilm.generation.encodings import Encodings
from refilm.generation.explain import Explanation
from refilm.generation.explain_subjects import SubjectExplanation, presence_of
from refilm.generation.guiding import unused_negatives
from refilm.generation.long import windows_of
from refilm.generation.recipe import ModelRecord, VideoRecipe, adapter_fingerprint, made_now
from refilm.generation.request import Prompt, Request, Text
from refilm.generation.sampling import SamplerState, Sampling, WrapPrediction
from refilm.geometry import Grid
from refilm.media import Video, as_image
from refilm.model import KERNELS, Adapter, References
from refilm.names import known_elsewhere
from refilm.settings import Seed

logger = logging.getLogger("refilm")


class Pipeline(DiffusersHints):
    """A base model with an optional adapter, ready to generate videos. Create one with `refilm.load`.

    `generate` makes one video, `generate_batch` several; `sample` yields after every step. Errors for names of
    diffusers' pipelines give the refilm equivalent.

    Args:
        base: the base model.
        adapter: the reference adapter; it is attached to the base model's transformer if it is not attached yet.

    Raises:
        UserError: the adapter does not fit the base model, or another is attached.
    """

    @checked
    def __init__(self, base: Base, adapter: Adapter | None = None):
        self.base, self.adapter = base, adapter
        self.adapter_name: str | None = None
        """The source of the adapter, if known: a folder or a Hub id, or default for that of the base model."""
        if adapter is not None and base.attached is not adapter:
            base.attach(adapter)

    def __repr__(self) -> str:
        defaults, size = self.base.defaults, self.base.size
        adapter = "none" if self.adapter is None else self.adapter_name or "one in memory"
        adapter = self.base.adapter or self.base.name if adapter == "default" else adapter
        return (
            f"Pipeline(base {self.base.name}, adapter {adapter}, {self.base.device}, "
            f"{str(self.base.dtype).removeprefix('torch.')}, {size.layers} layers of {size.width} channels, "
            f"{defaults.frames} frames of {defaults.width} x {defaults.height} pixels at {defaults.fps:g} fps)"
        )

    def request(self, **settings: Any) -> Request:
        """The settings of a generation, completed with the base model's defaults. None selects the default.

        Raises:
            UserError: a setting is unknown or invalid; names it and the value received.
        """
        given = {name: plain(value) for name, value in settings.items() if value is not None}
        for name in given.keys() - Request.model_fields.keys():
            if hint := known_elsewhere(name):
                raise UserError(hint)
        return Request.of(**{**self.base.defaults.request(), **given})

    @checked
    def generate(
        self,
        prompt: Prompt,
        reference: Reference | None = None,
        *,
        seed: Seed | None = None,
        negative_reference: Reference | None = None,
        **settings: Any,
    ) -> Video:
        """Generate one video.

        Args:
            prompt: a description of the scene and the action.
            reference: an image of the subject: a path, a PIL image, or (H, W, 3) uint8; or several images of it; or a
                `Subject` with its controls, or several.
            seed: random seed, at least 0; the same seed gives the same video. Default: random, and logged.
            negative_reference: an image or a subject that guidance moves away from.
            settings: settings of `Request`: steps, guidance, reference_scale, frames, height, width, sampler, ...

        Raises:
            UserError: an image, prompt or setting is invalid; says how to fix it.
            NotFiniteError: values exceed the range of the dtype; names the part of the model.
        """
        seed = random.randrange(2**31) if seed is None else seed
        logger.info("seed %d", seed)
        for note in domain_notes(self.base, prompt):
            logger.warning(note)
        given = {"seeds": [seed], "negative_reference": negative_reference}
        return self.generate_batch([prompt], [reference], **given, **settings)[0]

    @checked
    def generate_batch(
        self,
        prompts: Sequence[Text] | Tensor,
        references: Sequence[Reference | None] | Tensor,
        *,
        seeds: Sequence[Seed],
        negative_reference: Reference | None = None,
        **settings: Any,
    ) -> list[Video]:
        """Generate several videos in one batch; each equals the result of `generate` with its seed.

        Either all videos have a reference or none has. Prompts and references can also be embeddings, see `sample`.
        """
        request = self.request(**settings)
        return self.finish(
            self.sample(prompts, references, seeds=seeds, request=request, negative_reference=negative_reference)
        )

    @checked
    def sample(
        self,
        prompts: Sequence[Text] | Tensor,
        references: Sequence[Reference | None] | Tensor | References,
        *,
        seeds: Sequence[Seed],
        request: Request,
        negative_reference: Reference | None = None,
        wrap_prediction: WrapPrediction | None = None,
        state: SamplerState | None = None,
        encodings: Encodings | None = None,
    ) -> Sampling:
        """A sampling run, an iterator over its steps; the caller owns progress, preview and cancellation.

        Args:
            prompts: one per video; or their embeddings, (B, L, text_dim).
            references: one per video (see `generate`), or None for all; or the images' tokens, (B, M, reference_dim);
                or projected `References` with weights, masks and scales, which reference_scale multiplies. Blocks
                compute the keys and values of those at every step, unless they are `Adapter.prepared`.
            seeds: one per video.
            request: the settings.
            negative_reference: an image or a subject that guidance moves away from, in all videos.
            wrap_prediction: a wrapper of every step's prediction that records or changes it, such as `AttentionMaps`.
            state: a state of the same run (`Sampling.state`), to run only the steps that follow it.
            encodings: for a series of videos, so that each prompt and each subject is encoded once.

        Raises:
            UserError: an input or setting is invalid.
            NotFiniteError: values exceed the range of the dtype; names the part of the model.
        """
        if not len(prompts) == len(references) == len(seeds) > 0:
            raise UserError(
                f"{len(prompts)} prompts, {len(references)} references, {len(seeds)} seeds: "
                "give the same number of each, at least one"
            )
        require_embeddings("prompts", prompts, width=self.base.size.text_dim)
        width = None if self.adapter is None else self.adapter.size.reference_dim
        if not isinstance(references, References):
            require_embeddings("references", references, width=width)
        request.latent_shape(self.base.size.channels, self.base.compression)
        windows_of(request, self.base.defaults.frames, self.base.size, self.base.compression)
        self._check(request)
        for name in unused_negatives(request, negative_reference is not None):
            logger.warning("%s has no effect without guidance: guidance is 1 at every step", name)
        conditioner = Conditioner(self.base, self.adapter, encodings)
        conditions = conditioner.conditions(prompts, references, request, negative_reference=negative_reference)
        recipes = self._recipes(prompts, references, seeds, request, conditions)
        run = {"seeds": seeds, "wrap_prediction": wrap_prediction, "state": state}
        return Sampling(self.base, conditions, request, recipes=recipes, **run)

    def finish(self, sampling: Sampling) -> list[Video]:
        """Run the remaining steps, and decode the videos; each carries its recipe as its note."""
        for _ in sampling:
            pass
        videos = self.decode(sampling.latents)
        notes = [recipe.to_json() for recipe in sampling.finished_recipes()] or [None] * len(videos)
        return [replace(video, note=note) for video, note in zip(videos, notes, strict=True)]

    @checked
    def encode_references(self, references: Sequence[ImageLike]) -> Tensor:
        """Encode images to the tokens that `sample` takes in their place, (B, M, E)."""
        return torch.cat([self.base.encoders.image([as_image(one)]) for one in references])

    @checked
    def encode_subject(self, subject: Subject) -> EncodedSubject:
        """Encode a subject's images, to be saved by `refilm.control.save_subject` for `Subject(file=...)`."""
        return Conditioner(self.base, self.adapter).encoded(subject)

    @checked
    def decode(self, latents: Tensor) -> list[Video]:
        """Decode latents (B, T, C, h, w) to videos."""
        return [
            Video(pixels.cpu().numpy(), self.base.defaults.fps)
            for one in latents
            for pixels in self.base.encoders.autoencoder.decode(one[None])
        ]

    @checked
    def explain(
        self,
        maps: AttentionMaps,
        video: Video,
        reference: ImageLike,
        *,
        index: int = 0,
        subject: int = 0,
        view: int = 0,
    ) -> Explanation:
        """Heat maps of the attention from a video to one of its reference images.

        Args:
            maps: the attention maps that were the `wrap_prediction` of `sample` for this video.
            video: the video.
            reference: the image.
            index: index of the video in its batch.
            subject: index of the subject that the image shows.
            view: index of the image among those of its subject.

        Raises:
            UserError: no reference attention was recorded, or the reference tokens are not a class token and a square
                of patches for each image.
        """
        weights = maps.blocks()[:, index, subject].mean(dim=0)  # (N, M)
        encoder = self.base.encoders.image
        side = encoder.model.config.image_size // encoder.model.config.patch_size
        if weights.shape[1] % (side**2 + 1):
            raise UserError(f"{weights.shape[1]} reference tokens are not a class token and a square of patches")
        weights = weights.unflatten(1, (-1, side**2 + 1))[:, view, 1:]  # (N, patches)
        weights = weights / weights.sum(dim=1, keepdim=True)
        image = (encoder.shown([as_image(reference)])[0] * 255).round().byte().permute(1, 2, 0)
        return Explanation(video, image.numpy(), weights.view(*self._grid_of(video), side, side))

    @checked
    def explain_subjects(
        self, maps: AttentionMaps, video: Video, names: Sequence[str], *, index: int = 0
    ) -> SubjectExplanation:
        """Heat maps of which subject each part of a video reads.

        Args:
            maps: the attention maps that were the `wrap_prediction` of `sample` for this video.
            video: the video.
            names: names of its subjects.
            index: index of the video in its batch.

        Raises:
            UserError: no reference attention was recorded, or of another number of subjects.
        """
        strengths, weights = (recorded[:, index].mean(dim=0) for recorded in (maps.strengths(), maps.blocks()))
        if len(names) != len(strengths):
            raise UserError(f"{len(names)} names for {len(strengths)} subjects; give one for each")
        presence = presence_of(weights, strengths)  # (S, N)
        return SubjectExplanation(video, tuple(names), presence.unflatten(1, self._grid_of(video)))

    def _grid_of(self, video: Video) -> Grid:
        frames, height, width, _ = video.frames.shape
        latent = self.base.compression.latent_frames(frames), *self.base.compression.latent_size(height, width)
        return self.base.size.grid(*latent)

    def _recipes(
        self,
        prompts: Sequence[Text] | Tensor,
        references: Sequence[Reference | None] | Tensor | References,
        seeds: Sequence[int],
        request: Request,
        conditions: Conditions,
    ) -> tuple[VideoRecipe, ...]:
        """The recipe of each video; none for embeddings, which have no text or image that a recipe could name."""
        if isinstance(prompts, Tensor) or isinstance(references, Tensor | References):
            return ()
        shot = shot_of(self.base, request)
        shared = {
            "settings": request,
            "fps": float(self.base.defaults.fps),
            "base": ModelRecord(source=self.base.name, fingerprint=self.base.fingerprint()),
            "adapter": self._adapter_record(),
            "image_encoder": self.base.preprocessing.image_encoder,
            "negative_subjects": records_of(conditions.negative, shot),
            "made": made_now(self.base, batch=len(prompts)),
        }
        casts = conditions.casts or [()] * len(prompts)
        return tuple(
            VideoRecipe(prompt=prompt, seed=seed, subjects=records_of(cast, shot), **shared)
            for prompt, seed, cast in zip(prompts, seeds, casts, strict=True)
        )

    def _adapter_record(self) -> ModelRecord | None:
        if self.adapter is None:
            return None
        return ModelRecord(source=self.adapter_name or "in memory", fingerprint=adapter_fingerprint(self.adapter))

    def _check(self, request: Request) -> None:
        """Reject a kernel that cannot run here before sampling starts."""
        if request.kernel is not None:
            heads = torch.zeros(1, 1, 8, self.base.size.head_dim, device=self.base.device)
            KERNELS[request.kernel](*[heads.to(self.base.dtype)] * 3)
