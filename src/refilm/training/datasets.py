"""Where a recipe's clips come from, and how they become encoded ones, to learn from and to validate on."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, model_validator

from refilm.checkpoints import Defaults, fingerprint
from refilm.data.encoding import EncodedSet, EncodeSettings, Subset, encode, identify
from refilm.data.samples import Critters, Files, Source
from refilm.encoders import Encoders
from refilm.settings import Settings
from refilm.sizes import TransformerSize
from refilm.training.parallel import place, wait_for_all


class DataSettings(Settings):
    """Where the clips come from, and where their encodings are kept."""

    cache: Path
    """Folder of the encoded clips: what `refilm data encode` wrote, or where the next ones' encodings are kept."""
    held_out: Path | None = None
    """A second such folder, to validate on; none: at least a tenth of the clips, whole subjects."""
    manifest: Path | None = None
    """A manifest or folder that `refilm data check` found usable, encoded into `cache` before the first step."""
    clips: int | None = Field(default=None, ge=1)
    """Critters to learn from, drawn and encoded into `cache` before the first step."""
    held_out_clips: int = Field(default=64, ge=1)
    """Critters to validate on, of subjects that are not learned from."""
    encode: EncodeSettings = EncodeSettings()
    """How clips are encoded; what is left out of frames, fps, height and width is as in the base model's films."""
    seed: int = 0
    """Of the critters."""

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if self.clips is not None and (self.manifest is not None or self.held_out is not None):
            raise ValueError(
                "clips: critters have held-out ones of their own; leave manifest and held_out out, or clips"
            )
        return self

    def prepare(self, encoders: Encoders, defaults: Defaults) -> Iterator[tuple[int, int]]:
        """Encode what is not encoded yet, yielding (encodings made, encodings to make) of this process.

        Raises:
            ValueError: clips that were not checked, or cannot be used.
        """
        films = defaults.model_dump(include={"frames", "fps", "height", "width"})
        settings = EncodeSettings.model_validate(films | self.encode.model_dump(exclude_unset=True))
        here, identity = place(), identify(encoders, fingerprint)
        for source, folder in self._sources(settings):
            yield from encode(
                source,
                encoders,
                folder,
                settings=settings,
                encoder_identity=identity,
                rank=here.rank,
                ranks=here.size,
                wait=wait_for_all,
            )

    @property
    def encodes(self) -> bool:
        """Whether clips must be encoded first."""
        return self.clips is not None or self.manifest is not None

    def _sources(self, settings: EncodeSettings) -> Iterator[tuple[Source, Path]]:
        if self.manifest is not None:
            from refilm.data.checking import require_checked

            checked = require_checked(self.manifest)
            yield Files(checked.examples, checked.hashes), self.cache
        if self.clips is not None:
            train, held_out = self._critters()
            yield Critters(self.clips, "train", self.seed, size=settings.height), train
            yield Critters(self.held_out_clips, "held_out", self.seed + 1, size=settings.height), held_out

    def _critters(self) -> tuple[Path, Path]:
        return self.cache / "train", self.cache / "held_out"

    def encoded(self, size: TransformerSize) -> tuple[Subset, Subset]:
        """Encoded clips to learn from and to validate on.

        Args:
            size: of the transformer that shall read them.

        Raises:
            ValueError: a folder is no finished cache, or was encoded for another kind of model.
        """
        folders = (self.cache, self.held_out) if self.clips is None else self._critters()
        sets = [EncodedSet(folder) for folder in folders if folder is not None]
        for clips, folder in zip(sets, folders, strict=False):
            _check(clips, size, str(folder))
        train, held_out = sets if len(sets) == 2 else sets[0].split()
        return train, held_out


def _check(clips: Subset, size: TransformerSize, name: str) -> None:
    """That encoded clips have the shapes that a transformer reads."""
    if not len(clips):
        raise ValueError(f"{name}: holds no clips; encode some")
    clip = clips[0]
    for what, found, wanted in (
        ("latents of {} channels", clip.mean.shape[1], size.channels),
        ("captions of {} tokens", clip.text.shape[1], size.text_length),
        ("captions of {} channels", clip.text.shape[2], size.text_dim),
    ):
        if found != wanted:
            raise ValueError(
                f"{name}: holds {what.format(found)}, the base model reads {what.format(wanted)}: encode with --base "
                "as the recipe's"
            )
