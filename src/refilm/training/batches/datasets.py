"""Where a recipe's clips come from, and how they become encoded ones, to learn from and to validate on."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator

from refilm.checkpoints import Defaults, fingerprint
from refilm.data.checking import require_checked
from refilm.data.critters import Split
from refilm.data.encoding import EncodedSet, EncodeProgress, EncoderIdentity, EncodeSettings, Subset, encode, identify
from refilm.data.encoding.index import INDEX, read_index
from refilm.data.samples import Critters, Files, Source
from refilm.encoders import Encoders
from refilm.files import require_writable
from refilm.settings import Settings
from refilm.sizes import TransformerSize
from refilm.training.distributed.parallel import place, wait_for_all

SPLITS: dict[str, tuple[Split, Split]] = {
    "subjects": ("train", "held_out"),
    "combinations": ("train_combinations", "held_out_combinations"),
}


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
    hold_out: Literal["subjects", "combinations"] = "subjects"
    """Which critters are not learned from: single subjects, of which others may differ by the eyes alone, or whole
    combinations of shape, colors and pattern."""
    classes: bool = False
    """Critters get a third caption, which names the subject's shape, as people name a subject's kind."""
    encode: EncodeSettings = EncodeSettings()
    """How clips are encoded; what is left out of frames, fps, height and width is as in the base model's videos."""
    seed: int = Field(default=0, ge=0, lt=2**63 - 1)
    """Of the critters."""

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if self.clips is not None and (self.manifest is not None or self.held_out is not None):
            raise ValueError(
                "clips: critters have held-out ones of their own; leave manifest and held_out out, or clips"
            )
        return self

    @field_serializer("encode")
    def _as_given(self, settings: EncodeSettings) -> dict[str, Any]:
        """What is left out is the base model's, and so stays left out in a recipe that is written down."""
        return settings.model_dump(mode="json", exclude_unset=True)

    def prepare(self, encoders: Encoders, defaults: Defaults, *, tokens: int) -> Generator[EncodeProgress, None, None]:
        """See whether clips are there, or can be encoded. What is returned encodes those that are not there yet, as it
        is followed, and yields this process's progress.

        Args:
            tokens: of a caption that the text encoder reads; what the check told of longer ones must hold for it.

        Raises:
            ValueError: clips that were not checked, or cannot be used; a cache that is not finished and that nothing
                here can finish, or cannot be written to; a finished one that other encoders made.
        """
        videos = defaults.model_dump(include={"frames", "fps", "height", "width"})
        settings = EncodeSettings.model_validate(videos | self.encode.model_dump(exclude_unset=True))
        found = encoders.unread
        _ = found.text, found.image, found.autoencoder  # each is opened, so that what cannot be is refused
        identity, sources = cache(partial(identify, encoders, fingerprint)), list(self._sources(settings, tokens))
        written = [folder for _, folder in sources]
        for folder in written:
            if not (folder / INDEX).is_file():
                require_writable(folder)
        self._require_made_by(identity, [folder for folder in self._folders() if folder not in written])
        return self._encoded(encoders, settings, identity, sources)

    def _encoded(
        self,
        encoders: Encoders,
        settings: EncodeSettings,
        identity: Callable[[], EncoderIdentity],
        sources: list[tuple[Source, Path]],
    ) -> Generator[EncodeProgress, None, None]:
        here = place()
        for source, folder in sources:
            yield from encode(
                source,
                encoders,
                folder,
                settings=settings,
                encoder_identity=identity(),
                rank=here.rank,
                ranks=here.size,
                wait=wait_for_all,
            )
        self._require_made_by(identity, self._folders())

    def _sources(self, settings: EncodeSettings, tokens: int) -> Iterator[tuple[Source, Path]]:
        if self.manifest is not None:
            checked = require_checked(self.manifest)
            checked.require_tokens(self.manifest, tokens)
            yield Files(checked.examples, checked.hashes), self.cache
        if self.clips is not None:
            train, held_out = self._critters()
            size, classes = settings.height, self.classes
            known, unknown = SPLITS[self.hold_out]
            yield Critters(self.clips, known, self.seed, size=size, classes=classes), train
            yield Critters(self.held_out_clips, unknown, self.seed + 1, size=size, classes=classes), held_out

    def _critters(self) -> tuple[Path, Path]:
        return self.cache / "train", self.cache / "held_out"

    def _require_made_by(self, identity: Callable[[], EncoderIdentity], folders: list[Path]) -> None:
        for folder in folders:
            own = asdict(identity())
            others = [name for name, made in read_index(folder).encoders.items() if made != own[name]]
            if others:
                raise ValueError(
                    f"{folder}: its {' and '.join(others)} come from other encoders than the base model's; encode with "
                    "--base and --hidden-state as the recipe's"
                )

    @property
    def finished(self) -> bool:
        """Whether encoded clips are there."""
        return all((folder / INDEX).is_file() for folder in self._folders())

    def _folders(self) -> list[Path]:
        folders = (self.cache, self.held_out) if self.clips is None else self._critters()
        return [folder for folder in folders if folder is not None]

    def encoded(self, size: TransformerSize) -> tuple[Subset, Subset]:
        """Encoded clips to learn from and to validate on.

        Args:
            size: of the transformer that shall read them.

        Raises:
            ValueError: a folder is no finished cache, or was encoded for another kind of model.
        """
        folders = self._folders()
        sets = [EncodedSet(folder) for folder in folders]
        for clips, folder in zip(sets, folders, strict=True):
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
