"""The one error that means: the data, not the program, must be mended."""

from seqjax._errors import OneLineError


class DataError(OneLineError):
    """A mistake in the data or in how it was asked for; its message is one line.

    Example:
      >>> raise DataError("reviews: folder is empty.")
      Traceback (most recent call last):
      ...
      seqjax.data._errors.DataError: reviews: folder is empty.
    """


class UnreachableError(DataError):
    """The data is published but cannot be fetched now, as without a network."""
