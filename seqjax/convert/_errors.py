"""The one error that means: these weights do not fit, and here is how to mend it."""

from seqjax._errors import OneLineError


class ConvertError(OneLineError):
    """Weights, a file or a module that cannot be converted; its message is one line.

    Example:
      >>> raise ConvertError("seqjax.convert: the file is empty.")
      Traceback (most recent call last):
      ...
      seqjax.convert._errors.ConvertError: seqjax.convert: the file is empty.
    """


def first_line(error: Exception) -> str:
    """Returns the first line of what another library says."""
    return str(error).partition("\n")[0]
