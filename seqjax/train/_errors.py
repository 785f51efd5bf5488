"""What can go wrong with a run that is not a bug."""

from seqjax._errors import OneLineError


class RunError(OneLineError):
    """A mistake about a run or its folder, told in one line that says how to mend it."""


class PeerError(RunError):
    """Another of the processes that compute together failed; it says why itself."""


class DivergedError(RunError, FloatingPointError):
    """The loss, the gradient, a parameter or a validation metric is no finite number any more."""


class StoppedError(Exception):
    """A run was asked to stop from outside, and saved what it had."""
