"""`refilm serve`: jobs that survive every crash, the processes that make them, and the API and page in front of them.

The store is one folder that any number of servers and workers of a machine share. Only workers load a model.
"""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.serving.characters import Character
    from refilm.serving.job import JobError, VideoJob
    from refilm.serving.options import ServedModel, ServerOptions
    from refilm.serving.store import Store

__all__ = ["Character", "JobError", "ServedModel", "ServerOptions", "Store", "VideoJob"]
_MODULES = {
    "Character": "characters",
    "JobError": "job",
    "ServedModel": "options",
    "ServerOptions": "options",
    "Store": "store",
    "VideoJob": "job",
}
__getattr__ = attributes(__name__, {name: f"refilm.serving.{module}" for name, module in _MODULES.items()})
