"""Backgrounds removed by rembg, which is optional and fetches its own model. Knows nothing of clips."""

import importlib.util
from typing import Any, Protocol

from PIL import Image


class Remover(Protocol):
    """Finds the subject of an image."""

    @property
    def name(self) -> str:
        """Tells this way of finding from any other: what was made by another is made anew."""
        ...

    def __call__(self, image: Image.Image, /) -> Image.Image:
        """A mask of the image's size, white where the subject is."""
        ...


class Rembg(Remover):
    """One of rembg's models.

    Args:
        model: its name, as rembg lists them.
        session: what `rembg.new_session` returns.
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
    """Load one of rembg's models; rembg fetches it at its first use.

    Raises:
        ValueError: rembg is not installed, has no such model, or cannot fetch it.
    """
    for package in ("rembg", "onnxruntime"):  # rembg without a runtime would end the process
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"removing backgrounds needs {package}, which is missing; pip install 'refilm[prepare]'")
    from rembg import new_session  # pyright: ignore[reportMissingImports]
    from rembg.sessions import sessions_names  # pyright: ignore[reportMissingImports]

    if model not in sessions_names:
        raise ValueError(f"rembg has no model {model!r}; choose one of {', '.join(sorted(sessions_names))}")
    try:
        return Rembg(model, new_session(model))
    except Exception as error:  # of the network, of the disk, of the runtime: rembg wraps none of them
        raise ValueError(
            f"rembg could not load its model {model!r} ({type(error).__name__}: {error}); it is fetched at its first "
            "use, so go online once, or give masks"
        ) from error
