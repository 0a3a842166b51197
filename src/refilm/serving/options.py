"""What a server is started with, and what it knows about its model without loading it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from refilm.checkpoints.defaults import Defaults, load_defaults
from refilm.checkpoints.sources import open_source
from refilm.errors import UserError
from refilm.generation.long import windows_of
from refilm.generation.request import Request
from refilm.geometry import Compression, Geometry
from refilm.jobs.row import Row, unknown
from refilm.media.writing import check_size
from refilm.serving.requests import row_of

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class ServedModel:
    """The facts about a base model that its small files tell. Its weights are not read."""

    name: str
    """As in --base: pocket, a Hub id or a folder."""
    defaults: Defaults
    """Steps, size, frames, frame rate, guidance, sampler."""
    size: Geometry
    compression: Compression
    has_adapter: bool = True
    """Whether it takes references."""
    largest: float = 16.0
    """Most pixels of all frames of a video, as a multiple of the default video's."""

    @classmethod
    def of(cls, base: str, adapter: str = "default", *, largest: float = 16.0) -> Self:
        """The facts about a base model; from the Hub, only its small files are downloaded.

        Args:
            base: as in --base.
            adapter: as in --adapter.
            largest: see `ServedModel.largest`.

        Raises:
            UserError: the model does not exist, or one of its files is damaged.
        """
        source = open_source(base, weights=False)
        own = (source.folder / "adapter").is_dir()
        has_adapter = adapter != "none" and (adapter != "default" or own)
        return cls(base, load_defaults(source.folder), source.size, source.compression(), has_adapter, largest)

    def request(self, **settings: Any) -> Request:
        """All settings of a generation: the given ones, completed with the model's defaults.

        Raises:
            UserError: a setting is unknown or invalid.
        """
        return Request.of(**{**self.defaults.request(), **settings})

    def check(self, values: dict[str, Any]) -> Request:
        """Check that a job's request (a row of a list) is valid and fits the model; returns its complete settings.

        Raises:
            UserError: a name is unknown, a value is invalid, or the model does not support it; says how to fix it.
        """
        values = row_of(values)
        for message in unknown(values):
            raise UserError(message)
        row = Row.from_values(values)
        request = self.request(**row.request())
        self._require_small(request)
        request.latent_shape(self.size.channels, self.compression)
        windows_of(request, self.defaults.frames, self.size, self.compression)
        check_size(Path(row.output or "video.mp4"), request.height, request.width, row.scale or 1)
        if not self.has_adapter and (row.reference or row.subjects or row.negative_reference):
            raise UserError(f"{self.name} is served without an adapter and takes no references; remove them")
        return request

    def _require_small(self, request: Request) -> None:
        own = self.defaults.frames * self.defaults.height * self.defaults.width
        if request.frames * request.height * request.width > self.largest * own:
            raise UserError(
                f"{request.frames} frames of {request.width} x {request.height} pixels are more than {self.largest:g} "
                f"times the model's {self.defaults.frames} of {self.defaults.width} x {self.defaults.height}, which is "
                "the limit of this server; choose a smaller size or fewer frames"
            )


@dataclass(frozen=True)
class ServerOptions:
    """What the API needs to know besides the store."""

    model: ServedModel
    token: str | None = None
    """Required of every request but /health. None: no token."""
    max_queue: int = 100
    """Most jobs that wait."""
    max_upload: int = 50 * MEGABYTE
    """Most bytes of a request's body."""
    allow_fetch: tuple[str, ...] = ()
    """Hosts from which URLs of references are fetched."""
