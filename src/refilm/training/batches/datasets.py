"""The data of a recipe: sources of clips, and their encoding into training and validation sets."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, model_validator

from refilm.checkpoints import Defaults, fingerprint
from refilm.data.checking import require_checked
from refilm.data.critters import Split
from refilm.data.encoding import EncodedSet, EncodeProgress, EncoderIdentity, EncodeSettings, Subset, encode, identify
from refilm.data.encoding.index import INDEX, read_index
from refilm.data.samples import Critters, Files, Source
from refilm.encoders import Encoders
from refilm.errors import UserError
from refilm.files import require_writable
from refilm.geometry import Geometry
from refilm.settings import DefaultsFrom, Settings
from refilm.training.distributed.parallel import place, wait_for_all

SPLITS: dict[str, tuple[Split, Split]] = {
    "subjects": ("train", "held_out"),
    "combinations": ("train_combinations", "held_out_combinations"),
}
OF_BASE = ("frames", "fps", "height", "width")  # settings of encoding whose defaults are the base model's


class DataSettings(Settings):
    """Sources of the clips, and the folder of their encodings."""

    cache: Path = Field(examples=["cache"])
    """Cache folder: written by `refilm data encode`, or filled before the first step from `manifest` or `clips`."""
    held_out: Path | None = None
    """Cache folder of the validation set. Default: at least a tenth of the clips, split by subject."""
    manifest: Path | None = None
    """Checked manifest or folder (`refilm data check`) that is encoded into `cache` before the first step."""
    clips: int | None = Field(default=None, ge=1)
    """Number of training clips of critters that are generated and encoded into `cache` before the first step."""
    held_out_clips: int = Field(default=64, ge=1)
    """Number of validation clips of critters, of held-out subjects."""
    hold_out: Literal["subjects", "combinations"] = "subjects"
    """Which critters are held out: `subjects`, which may differ from training subjects only in the eyes, or
    `combinations`: whole combinations of shape, colors and pattern."""
    classes: bool = False
    """Add a third caption to critters that names the subject's shape, as a caption would name the kind of subject."""
    encode: Annotated[EncodeSettings, DefaultsFrom("the base model's", OF_BASE)] = EncodeSettings()
    """How clips are encoded; frames, fps, height and width default to the base model's."""
    seed: int = Field(default=0, ge=0, lt=2**63 - 1)
    """Random seed of the critters."""

    @model_validator(mode="after")
    def _one_source(self) -> "DataSettings":
        if self.clips is not None and (self.manifest is not None or self.held_out is not None):
            raise UserError(
                "clips: critters have their own validation set; remove manifest and held_out, or remove clips"
            )
        return self

    @field_serializer("encode")
    def _as_given(self, settings: EncodeSettings) -> dict[str, Any]:
        """Settings that were not given default to the base model's, and so are not written to a recipe either."""
        return settings.model_dump(mode="json", exclude_unset=True)

    def prepare(self, encoders: Encoders, defaults: Defaults, *, tokens: int) -> Generator[EncodeProgress, None, None]:
        """Check that clips are encoded or can be encoded. The returned generator encodes missing clips while it is
        iterated, and yields this process's progress.

        Args:
            tokens: length of a caption for the text encoder; the check of the data must have used the same length.

        Raises:
            UserError: clips are unchecked or unusable; a cache is incomplete without a source to complete it, or is
                not writable; a complete cache was made by other encoders.
        """
        videos = defaults.model_dump(include=set(OF_BASE))
        settings = EncodeSettings.model_validate(videos | self.encode.model_dump(exclude_unset=True))
        found = encoders.unread
        _ = found.text, found.image, found.autoencoder  # open each encoder, so that errors occur now
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
                raise UserError(
                    f"{folder}: its {' and '.join(others)} come from other encoders than the base model's; encode with "
                    "the recipe's --base and --hidden-state"
                )

    @property
    def finished(self) -> bool:
        """Whether all caches are complete."""
        return all((folder / INDEX).is_file() for folder in self._folders())

    def _folders(self) -> list[Path]:
        folders = (self.cache, self.held_out) if self.clips is None else self._critters()
        return [folder for folder in folders if folder is not None]

    def encoded(self, size: Geometry) -> tuple[Subset, Subset]:
        """The encoded training set and validation set.

        Args:
            size: of the transformer that reads them.

        Raises:
            UserError: a folder is not a complete cache, or was encoded for another kind of model.
        """
        folders = self._folders()
        sets = [EncodedSet(folder) for folder in folders]
        for clips, folder in zip(sets, folders, strict=True):
            _check(clips, size, str(folder))
        train, held_out = sets if len(sets) == 2 else sets[0].split()
        return train, held_out


def _check(clips: Subset, size: Geometry, name: str) -> None:
    """Check that encoded clips have the shapes that a transformer reads."""
    if not len(clips):
        raise UserError(f"{name}: contains no clips; encode some")
    clip = clips[0]
    for what, found, wanted in (
        ("latents of {} channels", clip.mean.shape[1], size.channels),
        ("captions of {} tokens", clip.text.shape[1], size.text_length),
        ("captions of {} channels", clip.text.shape[2], size.text_dim),
    ):
        if found != wanted:
            raise UserError(
                f"{name}: has {what.format(found)}, but the base model reads {what.format(wanted)}: encode with "
                "the recipe's --base"
            )
