"""A recipe that trains an adapter on the tiny base within seconds: for tests of whole runs."""

from pathlib import Path

RECIPE = """
stage = "adapter"
base = "{base}"
out = "adapter"
data = {{cache = "{cache}", clips = 8, held_out_clips = 4}}
loop = {{steps = 200, save_every = 20, validate_every = 1000, optimizer = {{muon_learning_rate = 1e-3}}}}

[diffusion]
curriculum = [{{until = 40, latent_frames = 1, batch = 4}}, {{until = 500, latent_frames = 2, batch = 4}}]
"""


def write_recipe(path: Path, *, base: Path, cache: Path) -> Path:
    """Write the recipe; encodings are kept in `cache`."""
    path.write_text(RECIPE.format(base=base, cache=cache))
    return path
