"""One progress bar for all seeds and epochs of a run, with the remaining time."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tqdm import tqdm

from seqjax.train._streams import Harmless

_NAME = 12  # a longer name is shortened, so that the bar fits into 80 columns
_SHORT = {"accuracy": "acc"}


class Progress:
    """Shows the progress of a run. The bar of each seed starts where the last seed ended."""

    def __init__(self, name: str, epochs: int, place: tuple[int, int] | None):
        """Shows nothing until the first epoch.

        Args:
          name: name of the seed or seeds in training, such as "seed 0".
          epochs: maximum number of epochs.
          place: the number of finished seeds, and the number of all seeds of the run.
            None shows nothing at all.
        """
        self._name = name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
        self._epochs, self._place, self._since = epochs, place, time.monotonic()
        self._bar: tqdm | None = None
        self._metrics = ""
        self._compiled: set[Any] = set()
        self._compiling = False
        self._seconds, self._steps = 0.0, 0  # of steps that compiled nothing

    def begin_epoch(self, epoch: int, num_steps: int, done: int) -> None:
        """Moves to an epoch.

        Args:
          epoch: number of the epoch, from 1.
          num_steps: steps of the epoch, 0 if unknown.
          done: finished steps of the epoch.
        """
        if self._place is None:
            return
        seeds_done, seeds = self._place
        where = f"{self._name} epoch {epoch}/{self._epochs}"
        total = seeds * self._epochs * num_steps or None
        so_far = (seeds_done * self._epochs + epoch - 1) * num_steps + done
        if self._bar is None:
            self._bar = tqdm(
                desc=where,
                total=total,
                initial=so_far,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {unit}",
                disable=None,  # shown only if stderr is a terminal
                leave=False,
                dynamic_ncols=True,
                unit="compiling",
                file=Harmless(sys.stderr),
            )
            self._since = time.monotonic()
        self._bar.desc, self._bar.total, self._bar.n = where, total, so_far
        self._refresh()

    def hand_over(self, shapes: Any) -> None:
        """Receives the shapes of the next batches; see `Reporter.hand_over`."""
        self._compiling = shapes not in self._compiled
        self._compiled.add(shapes)
        if self._compiling:
            self._refresh()

    def advance(self, steps: int) -> None:
        """Counts finished steps."""
        now = time.monotonic()
        if not self._compiling:  # time between the steps, such as validation, counts
            self._seconds += now - self._since
            self._steps += steps
        self._since, self._compiling = now, False
        if self._bar is not None:
            self._bar.unit = self._text()
            self._bar.update(steps)

    def show(self, metrics: str) -> None:
        """Shows metrics from now on."""
        self._metrics = metrics
        self._refresh()

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Hides the bar while the body writes lines to the screen."""
        if self._bar is not None:
            self._bar.clear()
        yield
        self._refresh()

    def close(self) -> None:
        """Removes the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _refresh(self) -> None:
        if self._bar is not None:
            self._bar.unit = self._text()
            self._bar.refresh()

    def _text(self) -> str:
        if self._compiling or not self._compiled:
            return f"compiling {self._metrics}".rstrip()
        left = ""
        if self._bar is not None and self._bar.total and self._steps:
            seconds = self._seconds / self._steps * (self._bar.total - self._bar.n)
            left = f"{duration(seconds)} left "
        return f"{left}{self._metrics}".rstrip()


def duration(seconds: float) -> str:
    """Returns a time in words: seconds, minutes or hours.

    Example:
      >>> duration(4.2), duration(300), duration(7200)
      ('4.2 s', '5 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(metrics: Mapping[str, float]) -> str:
    """Returns metrics as a short text, without the prefix `train_` or `val_`.

    Example:
      >>> short({"train_loss": 0.51234, "train_accuracy": 0.75})
      'loss 0.5123, acc 0.75'
    """
    shown = []
    for name, value in metrics.items():
        words = name.removeprefix("train_").removeprefix("val_").split("_")
        shown.append(f"{' '.join(_SHORT.get(word, word) for word in words)} {value:.4g}")
    return ", ".join(shown)
