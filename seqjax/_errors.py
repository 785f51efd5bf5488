"""What every error has in common that a user is to mend."""


class OneLineError(ValueError):
    r"""An error whose message is one line, whatever the names and contents that it quotes.

    Example:
      >>> str(OneLineError("a column 'two\nlines' is required."))
      "a column 'two lines' is required."
    """

    def __init__(self, message: str):
        """Takes the message, the ends of lines in it becoming spaces."""
        super().__init__(" ".join(str(message).splitlines()))
