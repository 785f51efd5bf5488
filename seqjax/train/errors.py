"""What can go wrong with a run that is not a bug."""


class RunError(ValueError):
    """A mistake about a run or its folder, told in one line that says how to mend it."""


class DivergedError(RunError, FloatingPointError):
    """The loss, the gradient or a validation metric stopped being a finite number."""
