"""Remove backgrounds with rembg, which is optional and downloads its own model. Does not depend on clips."""

import importlib.util
from typing import Any, Protocol

from PIL import Image

from refilm.errors import UserError


class Remover(Protocol):
    """Finds the subject of an image."""

    @property
    def name(self) -> str:
        """Identifies the method; images made by another method are created again."""
        ...

    def __call__(self, image: Image.Image, /) -> Image.Image:
        """A mask of the image's size, white where the subject is."""
        ...


class Rembg(Remover):
    """A rembg model.

    Args:
        model: its name in rembg.
        session: the result of `rembg.new_session`.
    """

    def __init__(self, model: str, session: Any):
        self._model, self._session = model, session

    @property
    def name(self) -> str:
        return f"rembg {self._model}"

    def __call__(self, image: Image.Image, /) -> Image.Image:
        from rembg import remove  # pyright: ignore[reportMissingImports]

        mask = remove(image, session=self._session, only_mask=True)
        assert isinstance(mask, Image.Image)
        return mask


def background_remover(model: str = "u2net") -> Remover:
    """Load a rembg model; rembg downloads it at the first use.

    Raises:
        UserError: rembg is not installed, has no such model, or cannot download it.
    """
    for package in ("rembg", "onnxruntime"):  # without a runtime, rembg exits the process
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"removing backgrounds requires {package}, which is not installed; pip install 'refilm[prepare]'"
            )
    from rembg import new_session  # pyright: ignore[reportMissingImports]
    from rembg.sessions import sessions_names  # pyright: ignore[reportMissingImports]

    if model not in sessions_names:
        raise UserError(f"rembg has no model {model!r}; choose one of {', '.join(sorted(sessions_names))}")
    try:
        return Rembg(model, new_session(model))
    except Exception as error:  # network, disk or runtime errors, which rembg does not wrap
        raise UserError(
            f"rembg could not load its model {model!r} ({type(error).__name__}: {error}); it is downloaded at the "
            "first use, so connect to the internet once, or provide masks"
        ) from error
