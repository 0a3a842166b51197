"""The data of a recipe: sources of clips, and their encoding into training and validation sets."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Literal

from refilm.checkpoints import Defaults, fingerprint
from refilm.data.checking import require_checked
from refilm.data.critters import Split
from refilm.data.drawn import Critters, DoubleCritters
from refilm.data.encoding import EncodedSet, EncodeProgress, EncoderIdentity, EncodeSettings, Subset, encode, identify
from refilm.data.encoding.index import INDEX, read_index
from refilm.data.samples import Files, Joined, Source
from refilm.encoders import Encoders
from refilm.errors import UserError
from refilm.files import require_writable
from refilm.geometry import Geometry
from refilm.training.distributed.parallel import place, wait_for_all
from refilm.training.settings import OF_BASE, DataSettings

SPLITS: dict[str, tuple[Split, Split]] = {
    "subjects": ("train", "held_out"),
    "combinations": ("train_combinations", "held_out_combinations"),
}


class DataSets:
    """The training set and the validation set of a recipe."""

    def __init__(self, settings: DataSettings):
        self.settings = settings

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
        settings = EncodeSettings.model_validate(videos | self.settings.encode.model_dump(exclude_unset=True))
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
        if self.settings.manifest is not None:
            checked = require_checked(self.settings.manifest)
            checked.require_tokens(self.settings.manifest, tokens)
            yield Files(checked.examples, checked.hashes), self.settings.cache
        if self.settings.clips is not None:
            train, held_out = self._critters()
            known, unknown = SPLITS[self.settings.hold_out]
            seed, size = self.settings.seed, settings.height
            yield self._drawn(self.settings.clips, known, seed, size=size), train
            yield self._drawn(self.settings.held_out_clips, unknown, seed + 1, size=size), held_out

    def _drawn(self, clips: int, split: Split, seed: int, *, size: int) -> Source:
        """Critters of a split, with the fraction of clips with two that the settings give."""
        doubles, classes = round(self.settings.double_fraction * clips), self.settings.classes
        single = Critters(clips - doubles, split, seed, size=size, classes=classes)
        return Joined((single, DoubleCritters(doubles, split, seed, size=size, classes=classes))) if doubles else single

    def _critters(self) -> tuple[Path, Path]:
        return self.settings.cache / "train", self.settings.cache / "held_out"

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
        folders = (self.settings.cache, self.settings.held_out) if self.settings.clips is None else self._critters()
        return [folder for folder in folders if folder is not None]

    def encoded(self, size: Geometry, *, by: Literal["subject", "video"] = "subject") -> tuple[Subset, Subset]:
        """The encoded training set and validation set.

        Args:
            size: of the transformer that reads them.
            by: how one cache is split into both, see `Subset.split`.

        Raises:
            UserError: a folder is not a complete cache, or was encoded for another kind of model.
        """
        folders = self._folders()
        sets = [EncodedSet(folder) for folder in folders]
        for clips, folder in zip(sets, folders, strict=True):
            _check(clips, size, str(folder))
        train, held_out = sets if len(sets) == 2 else sets[0].split(by=by)
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
