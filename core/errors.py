"""Errors that the user can fix. The message of each is one sentence with a way to fix it.

    WinnowError
    ├── PoolError        a file, line or field of the pool
    ├── ModelError       a model that is missing, does not fit or cannot do what was requested
    ├── MethodError      a parameter out of range, or a measurement that the method needs and is missing
    ├── RecipeError      a budget, filter, pin, recipe or manifest that cannot be read
    ├── ReplayError      the pool, the model or the result differs from the manifest
    ├── OutputError      a file that must not be written: an input, a device, a file that is not ours
    ├── WorkspaceError   disk full, no permission, a folder that is not ours
    │   └── DamagedFile  a stored file that is missing, or not as it was written
    ├── OutOfMemory      the computer, or the limit of this process, has no memory left
    └── Cancelled        the user stopped the work; nothing finished is lost

The command line and the pages catch `WinnowError`; any other exception is a bug and may surface.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

NO_MEMORY = (
    "There is not enough memory, or this process has reached its limit. Finished parts are kept. Close other "
    "programs, raise the limit, lower the maximum sequence length or choose a smaller model, then try again."
)
# in what libraries say when they get no memory
MEMORY_WORDS = ("allocate memory", "out of memory", "start new thread", "failed to map segment")


class WinnowError(Exception):
    """An error that the user can fix; `str()` of it gives what is wrong, where, and what to do."""


class PoolError(WinnowError):
    """The pool cannot be read as requested."""


class ModelError(WinnowError):
    """The model cannot be found, loaded or used as requested."""


class MethodError(WinnowError):
    """The method's parameters or inputs do not allow a score."""


class RecipeError(WinnowError):
    """The recipe, budget, filter, pin or manifest cannot be carried out."""


class ReplayError(WinnowError):
    """Replaying the manifest would not give the recorded result."""


class OutputError(WinnowError):
    """A file must not be written where it was asked for."""


class WorkspaceError(WinnowError):
    """The workspace cannot be read or written."""


class DamagedFile(WorkspaceError):
    """A stored file is missing, or its bytes are not those that were written."""


class OutOfMemory(WinnowError):
    """There is no memory left."""


class Cancelled(WinnowError):
    """The work was stopped on request."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's own, the system's, or a library's by its words."""
    worded = isinstance(error, (OSError, RuntimeError, ImportError)) and any(
        word in str(error) for word in MEMORY_WORDS
    )
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or worded


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what a lack of memory raises in the block into OutOfMemory."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(NO_MEMORY) from error
