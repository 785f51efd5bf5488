"""The base class of the errors that a user can fix, and what others' errors say."""


class OneLineError(ValueError):
    r"""An error with a one-line message, even if the names and values that it quotes have more.

    Example:
      >>> str(OneLineError("a column 'two\nlines' is required."))
      "a column 'two lines' is required."
    """

    def __init__(self, message: str):
        """Stores the message with every line break replaced by a space."""
        super().__init__(" ".join(str(message).splitlines()))


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, cut short, or its type if it has none."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
