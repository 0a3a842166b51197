"""The demo: one image of a critter that no training clip ever showed, videos of it, and a page that shows them.

Makes files and yields as it goes; knows nothing of screens.
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
PICTURE_SIZE = 512  # pixels
PLOTS = (
    ("bounces", "meadow"),
    ("moves right", "beach"),
    ("circles", "night"),
    ("grows", "snow"),
    ("spins", "desert"),
    ("rises", "forest"),
)


@dataclass(frozen=True)
class Take:
    """A video of the demo."""

    name: str
    """Of its files, without suffix."""
    prompt: str
    image: str | None
    """The file of its reference image, or none."""


@dataclass(frozen=True)
class DemoStep:
    """A sampler's step is done."""

    take: int
    """Of which video, from 1."""
    takes: int
    """How many videos there are."""


@dataclass(frozen=True)
class Demo:
    """What is made where. The same seed chooses the same critters and makes the same videos."""

    folder: Path
    seed: int

    @property
    def page(self) -> Path:
        """The page that shows everything."""
        return self.folder / "index.html"

    @cached_property
    def cast(self) -> tuple[critters.Subject, critters.Subject]:
        """The critter, and another one that shares neither shape nor color with it."""
        rng = np.random.default_rng(self.seed)
        unseen = critters.subjects("held_out")
        hero = unseen[int(rng.integers(len(unseen)))]
        different = [
            one for one in unseen if one.shape != hero.shape and not {one.color, one.second} & {hero.color, hero.second}
        ]
        return hero, different[int(rng.integers(len(different)))]

    @cached_property
    def takes(self) -> tuple[Take, ...]:
        """The videos: of the critter, then twice the first prompt again, without the image and with another's."""
        prompts = [critters.Story(self.cast[0], motion, scene).caption for motion, scene in PLOTS]
        videos = [Take(f"video-{n}", prompt, "critter.png") for n, prompt in enumerate(prompts, start=1)]
        return (
            *videos,
            Take("without-image", prompts[0], None),
            Take("another-image", prompts[0], "another.png"),
        )

    def make(self, pipeline: Pipeline, request: Request) -> Iterator[DemoStep]:
        """Draw the images, make the videos and write the page, yielding after every step of a sampler."""
        self.folder.mkdir(parents=True, exist_ok=True)
        images = self._draw()
        for number, take in enumerate(self.takes, start=1):
            reference = images[take.image] if take.image else None
            latents = None
            for step in pipeline.sample([take.prompt], [reference], seeds=[self.seed], request=request):
                latents = step.latents
                yield DemoStep(number, len(self.takes))
            assert latents is not None
            (video,) = pipeline.decode(latents)
            for suffix in (".mp4", ".gif"):
                video.save(self.folder / f"{take.name}{suffix}")
        write_text(self.page, self._html(request))

    def _draw(self) -> dict[str, Image.Image]:
        images = {}
        for number, (name, subject) in enumerate(zip(("critter.png", "another.png"), self.cast, strict=True)):
            rng = np.random.default_rng((self.seed, number))
            images[name] = Image.fromarray(critters.portrait(subject, rng, size=PICTURE_SIZE))
            images[name].save(self.folder / name)
        return images

    def _html(self, request: Request) -> str:
        first, alone, another = self.takes[0], *self.takes[len(PLOTS) :]
        command = ["refilm", "generate", first.prompt, "--reference", str(self.folder / "critter.png")]
        command += ["--seed", str(self.seed), "--steps", str(request.steps), "-o", "video.mp4"]
        settings = {"seed": self.seed, **request.model_dump(exclude_none=True)}
        return Template(read_text(TEMPLATE)).substitute(
            looks=escape(self.cast[0].looks),
            videos="\n".join(_figure(take, take.prompt) for take in self.takes[: len(PLOTS)]),
            prompt=escape(first.prompt),
            comparison="\n".join(
                (
                    _figure(first, "this image", badge=True),
                    _figure(alone, "no image: whoever comes"),
                    _figure(another, "another critter's image", badge=True),
                )
            ),
            settings="\n".join(
                f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd></div>"
                for name, value in settings.items()
            ),
            command=escape(shlex.join(command)),
        )


def _figure(take: Take, caption: str, *, badge: bool = False) -> str:
    """A video with words below it, and on it the image that it was made from."""
    image = f'<img class="reference" src="{take.image}" alt="">' if badge else ""
    return (
        f'<figure><video src="{take.name}.mp4" autoplay loop muted playsinline></video>{image}'
        f'<figcaption>{escape(caption)}<a href="{take.name}.gif">GIF</a></figcaption></figure>'
    )
