"""Every failure that is the user's to mend. The text of each is one sentence they can act on.

    WinnowError
    ├── PoolError        a file, line or field of the pool
    ├── ModelError       a model that is not there, does not fit or cannot do what was asked
    ├── MethodError      a parameter out of range, a measurement the method needs and has not got
    ├── RecipeError      a budget, filter, pin, recipe or manifest that cannot be read
    ├── ReplayError      the pool, the model or the outcome is not what the manifest says
    ├── WorkspaceError   disk full, no permission, a folder that is not ours
    └── Cancelled        the user stopped it; nothing finished is lost

The command line and the pages catch `WinnowError`; anything else is a fault of ours and may surface.
"""


class WinnowError(Exception):
    """Something the user can mend; `str()` of it says what, where and what to do."""


class PoolError(WinnowError):
    """The pool cannot be read as asked."""


class ModelError(WinnowError):
    """The model cannot be found, loaded or used as asked."""


class MethodError(WinnowError):
    """The method's parameters or inputs do not allow a score."""


class RecipeError(WinnowError):
    """A recipe, budget, filter, pin or manifest does not say something that can be done."""


class ReplayError(WinnowError):
    """Replaying a manifest would not give what it promises."""


class WorkspaceError(WinnowError):
    """The workspace cannot be read or written."""


class Cancelled(WinnowError):
    """Stopped on request."""
