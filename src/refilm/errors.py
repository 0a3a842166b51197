"""The errors that a user can fix: the command line prints each in one line and exits with code 2.

Every other exception is a bug and keeps its traceback (exit code 1). There is one exception to this rule: errors of
the operating system, such as a full disk, reach a Python caller as the `OSError` that they are, so that the caller can
act on their number. The command line converts them to `UserError` (`refilm.files.system_errors`).
"""


class UserError(ValueError):
    """Invalid input, or a damaged or missing file. One line: what was received, what is allowed, how to fix it.

    A subclass of ValueError: `except ValueError` catches it too.
    """


class NotFiniteError(UserError, FloatingPointError):
    """Numbers became NaN or infinity: the dtype is too narrow, the settings diverge, or the input is damaged."""


class MachineError(UserError, OSError):
    """A file could not be written, or another process of the run failed, and the system gives no error number."""


def is_of_one_video(error: BaseException) -> bool:
    """Whether an error ends one video of many, and not all: its input, its files, or its memory, but no bug."""
    return isinstance(error, UserError | OSError) or is_out_of_memory(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice. torch raises its own error on a GPU and a plain RuntimeError on a CPU, OpenCV
    its general error."""
    names = {kind.__name__ for kind in type(error).__mro__}
    texts = ("DefaultCPUAllocator", "Insufficient memory")
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(text in str(error) for text in texts)
