"""Lists of videos: a row of a JSONL or CSV file is a video, made by one process or shared among many.

A video depends on its row alone, not on the process that makes it, nor on the other rows of the same process.
"""

from typing import TYPE_CHECKING

from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.jobs.batch import Batch, Progress
    from refilm.jobs.claims import Claims
    from refilm.jobs.job import Job
    from refilm.jobs.reading import read_jobs
    from refilm.jobs.records import Record, Records
    from refilm.jobs.sharing import Share

__all__ = ["Batch", "Claims", "Job", "Progress", "Record", "Records", "Share", "read_jobs"]
_MODULES = {
    "Batch": "batch",
    "Claims": "claims",
    "Job": "job",
    "Progress": "batch",
    "Record": "records",
    "Records": "records",
    "Share": "sharing",
    "read_jobs": "reading",
}
__getattr__ = attributes(__name__, {name: f"refilm.jobs.{module}" for name, module in _MODULES.items()})
