"""What is better known before a run than after, in sentences. Reads the recipe alone."""

from refilm.settings import Settings
from refilm.training.recipes import AdapterRecipe


def notes_on(recipe: Settings) -> tuple[str, ...]:
    """What a recipe rules out for its result."""
    if isinstance(recipe, AdapterRecipe) and recipe.query_norm:
        return ("query_norm = true: this adapter cannot be converted to SAT; set query_norm = false if it has to be",)
    return ()
