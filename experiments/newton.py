"""What Newton's method did in a run with `--executor=newton`."""

import threading
from typing import Any

import jax

from seqjax.executors import Newton, NewtonReport


class Tally:
    """Counts the sequences that Newton's method ran, in training, validation and tests."""

    def __init__(self) -> None:
        """Starts at zero."""
        self._lock = threading.Lock()
        self.sequences = self.fallbacks = self.iterations = 0

    def add(self, report: NewtonReport) -> None:
        """Adds the sequences of one layer's run; JAX calls this from threads of its own."""
        with self._lock:
            self.sequences += report.fallback.size
            self.fallbacks += int(report.fallback.sum())
            self.iterations += int(report.iterations.sum())

    def take(self) -> str | None:
        """Returns the counts in a line, or None if there are none, and starts at zero again."""
        jax.effects_barrier()
        with self._lock:
            counts = self.sequences, self.fallbacks, self.iterations
            self.sequences = self.fallbacks = self.iterations = 0
        sequences, fallbacks, iterations = counts
        if not sequences:
            return None
        return (
            f"Newton: {iterations / sequences:.1f} iterations a sequence and layer, "
            f"{fallbacks:,} of {sequences:,} fell back to the sequential run"
        )


TALLY = Tally()


def executor_of(config: Any) -> Any:
    """Returns the executor of a configuration with the field `executor`."""
    return Newton(report=TALLY.add) if config.executor == "newton" else config.executor
