"""Control over the subjects of a video: who they are, where, when and how strongly they appear.

`Subject` is what a user writes. Its images are encoded once (`encoded`, `subject_files`), and everything else resolves
to `References` and a strength per step (`directing`), or follows the words of the prompt (`words`, `routing`). Does not
depend on a model family or on a sampler.
"""

from typing import TYPE_CHECKING

from refilm.control.subject import ImageLike, Subject
from refilm.lazy import attributes

if TYPE_CHECKING:
    from refilm.control.encoded import EncodedSubject
    from refilm.control.routing import WordRouting
    from refilm.control.subject_files import load_subject, save_subject

__all__ = ["EncodedSubject", "ImageLike", "Subject", "WordRouting", "load_subject", "save_subject"]

__getattr__ = attributes(
    __name__,
    {
        "EncodedSubject": "refilm.control.encoded",
        "WordRouting": "refilm.control.routing",
        "load_subject": "refilm.control.subject_files",
        "save_subject": "refilm.control.subject_files",
    },
)
