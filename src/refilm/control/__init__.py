"""Control over the subjects of a video: who they are, where, when and how strongly they appear.

`Subject` is what a user writes. Its images are encoded once (`views`, `subject_files`), and everything else resolves to
`References` (`directing`). Does not depend on a model family or on how a video is sampled.
"""

from refilm.control.subject import ImageLike, Subject

__all__ = ["ImageLike", "Subject"]
