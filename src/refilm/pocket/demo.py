"""The demo: an image of a critter that no training clip shows, videos of it, and an HTML page that shows them.

Writes files and yields after every sampler step; does not know how progress is displayed.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from refilm.data import critters
from refilm.files import read_text, write_text
from refilm.generation.pipeline import Pipeline
from refilm.generation.request import Request

TEMPLATE = Path(__file__).with_name("demo.html")
IMAGE_SIZE = 512  # pixels
SCENARIOS = (
    ("bounces", "meadow"),
    ("moves right", "beach"),
    ("circles", "night"),
    ("grows", "snow"),
    ("spins", "desert"),
    ("rises", "forest"),
)


@dataclass(frozen=True)
class DemoVideo:
    """A video of the demo."""

    name: str
    """Name of its files, without suffix."""
    prompt: str
    image: str | None
    """File name of its reference image; None without one."""


@dataclass(frozen=True)
class DemoStep:
    """A sampler step is done."""

    video: int
    """Number of the video, from 1."""
    videos: int
    """Number of videos in the demo."""


@dataclass(frozen=True)
class Demo:
    """A demo in a folder. The same seed selects the same critters and generates the same videos."""

    folder: Path
    seed: int

    @property
    def page(self) -> Path:
        """The HTML page that shows the image and all videos."""
        return self.folder / "index.html"

    @cached_property
    def subjects(self) -> tuple[critters.Subject, critters.Subject]:
        """The critter, and another one that has neither its shape nor any of its colors."""
        rng = np.random.default_rng(self.seed)
        unseen = critters.subjects("held_out")
        hero = unseen[int(rng.integers(len(unseen)))]
        different = [
            one for one in unseen if one.shape != hero.shape and not {one.color, one.second} & {hero.color, hero.second}
        ]
        return hero, different[int(rng.integers(len(different)))]

    @cached_property
    def videos(self) -> tuple[DemoVideo, ...]:
        """Six videos of the critter, then the first prompt again without an image and with another critter's."""
        prompts = [critters.Story(self.subjects[0], motion, scene).caption for motion, scene in SCENARIOS]
        of_critter = [DemoVideo(f"video-{n}", prompt, "critter.png") for n, prompt in enumerate(prompts, start=1)]
        return (
            *of_critter,
            DemoVideo("without-image", prompts[0], None),
            DemoVideo("another-image", prompts[0], "another.png"),
        )

    def make(self, pipeline: Pipeline, request: Request) -> Iterator[DemoStep]:
        """Draw the images, generate the videos and write the page; yields after every sampler step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        images = self._draw()
        for number, one in enumerate(self.videos, start=1):
            reference = images[one.image] if one.image else None
            latents = None
            for step in pipeline.sample([one.prompt], [reference], seeds=[self.seed], request=request):
                latents = step.latents
                yield DemoStep(number, len(self.videos))
            assert latents is not None
            (video,) = pipeline.decode(latents)
            for suffix in (".mp4", ".gif"):
                video.save(self.folder / f"{one.name}{suffix}")
        write_text(self.page, self._html(request))

    def _draw(self) -> dict[str, Image.Image]:
        images = {}
        for number, (name, subject) in enumerate(zip(("critter.png", "another.png"), self.subjects, strict=True)):
            rng = np.random.default_rng((self.seed, number))
            images[name] = Image.fromarray(critters.portrait(subject, rng, size=IMAGE_SIZE))
            images[name].save(self.folder / name)
        return images

    def _html(self, request: Request) -> str:
        first, alone, another = self.videos[0], *self.videos[len(SCENARIOS) :]
        command = ["refilm", "generate", first.prompt, "--reference", str(self.folder / "critter.png")]
        command += ["--seed", str(self.seed), "--steps", str(request.steps), "-o", "video.mp4"]
        settings = {"seed": self.seed, **request.model_dump(exclude_none=True)}
        return Template(read_text(TEMPLATE)).substitute(
            appearance=escape(self.subjects[0].appearance),
            videos="\n".join(_figure(one, one.prompt) for one in self.videos[: len(SCENARIOS)]),
            prompt=escape(first.prompt),
            comparison="\n".join(
                (
                    _figure(first, "this image", badge=True),
                    _figure(alone, "no image: a random critter"),
                    _figure(another, "another critter's image", badge=True),
                )
            ),
            settings="\n".join(
                f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd></div>"
                for name, value in settings.items()
            ),
            command=escape(shlex.join(command)),
        )


def _figure(video: DemoVideo, caption: str, *, badge: bool = False) -> str:
    """A video with a caption below and, as a badge, its reference image."""
    image = f'<img class="reference" src="{video.image}" alt="">' if badge else ""
    return (
        f'<figure><video src="{video.name}.mp4" autoplay loop muted playsinline></video>{image}'
        f'<figcaption>{escape(caption)}<a href="{video.name}.gif">GIF</a></figcaption></figure>'
    )
