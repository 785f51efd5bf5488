"""What a program of the user's hears while `fit` trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Callback:
    """Listens to training; a subclass overrides what it wants to hear.

    `fit` calls the methods in the order in which things happen, after it has written them. An
    exception that a method raises ends training; what was saved before can be resumed. A resumed
    seed reports only its new rows. In several processes each calls its own callbacks, with the same
    rows.

    Example:
      >>> import seqjax
      >>> class Losses(seqjax.train.Callback):
      ...     def __init__(self):
      ...         self.losses = []
      ...
      ...     def on_row(self, row):
      ...         if row["kind"] == "epoch":
      ...             self.losses.append(row["val_loss"])
      ...
      ...     def stops(self, row):
      ...         return row["val_loss"] < 0.1
    """

    def on_row(self, row: Mapping[str, Any]) -> None:
        """Hears a row of metrics.jsonl.

        Args:
          row: its `kind` is "step", "epoch" or "probe"; it also has `seed`, `epoch`, `step`,
            `wall_s` and the metrics.
        """

    def on_checkpoint(self, folder: Path, step: int) -> None:
        """Hears that a checkpoint is complete.

        Args:
          folder: where the checkpoints of the seed are.
          step: updates done.
        """

    def stops(self, row: Mapping[str, Any]) -> bool:
        """Says after each epoch whether the seed ends here, as `patience` ends it.

        Args:
          row: the epoch's row.

        Returns:
          Whether training ends. In several processes all must say the same.
        """
        return False
