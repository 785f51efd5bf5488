"""What a running seed shows and leaves: progress on stderr, metrics.jsonl, TensorBoard events."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm

from seqjax.train._checkpoints import Position
from seqjax.train._events import COUNTERS, EventFile
from seqjax.train._files import plain
from seqjax.train._processes import is_first_process
from seqjax.train._run_folder import RunFolder, writing
from seqjax.train._streams import Harmless


class Reporter:
    """Reports one seed, and keeps its clock; use it in a `with` statement."""

    def __init__(
        self,
        run: RunFolder,
        seed: int,
        epochs: int,
        position: Position,
        name: str,
        clock: Callable[[], float],
        *,
        show_bar: bool,
    ):
        """Opens the event file.

        Args:
          run: where to report.
          seed: whose rows these are.
          epochs: how many there will be at most.
          position: where training stands; its rows and seconds are counted here.
          name: what it is called, such as "seed 0".
          clock: gives seconds.
          show_bar: whether there may be a progress bar.
        """
        self.name = name
        self._seed, self._clock, self._show_bar = seed, clock, show_bar
        self._run, self._epochs, self._position = run, epochs, position
        with writing(run.path):
            self._events = EventFile(
                run.path / "tensorboard" / f"seed_{seed}",
                (row for row in run.metrics() if row.get("seed") == seed),
                wall_s=position.wall_s,
            )
        self._bar = None
        self._began = clock() - position.wall_s
        self._restart_rate()

    def __enter__(self) -> "Reporter":
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the progress bar and the event file."""
        self._close_bar()
        with contextlib.suppress(OSError):  # of a disk that is full; the last row said so
            self._events.close()

    def begin_epoch(self, num_steps: int) -> None:
        """Shows a progress bar, if someone is looking.

        Args:
          num_steps: batches in the epoch, 0 if unknown.
        """
        self._bar = tqdm(
            desc=f"{self.name} epoch {self._position.epoch}/{self._epochs}",
            total=num_steps or None,
            initial=self._position.step_in_epoch,
            # None: unless stderr is a terminal.
            disable=None if is_first_process() and self._show_bar else True,
            leave=False,
            unit="step",
            file=Harmless(sys.stderr),
        )
        self._restart_rate()

    def advance(self, num_examples: int, *, steps: int = 1) -> None:
        """Counts steps.

        Args:
          num_examples: examples in their batches.
          steps: how many.
        """
        self._examples += num_examples
        if self._bar is not None:
            self._bar.update(steps)

    def step(self, metrics: Mapping[str, float]) -> None:
        """Reports the averages since the last report.

        Args:
          metrics: names to values.
        """
        rate = self._examples / max(self._clock() - self._since, 1e-9)
        self._write("step", {**metrics, "examples_per_s": round(rate, 1)})
        if self._bar is not None:
            shown = [
                f"{n} {metrics[n]:.4f}" for n in ("train_loss", "train_accuracy") if n in metrics
            ]
            self._bar.set_postfix_str(", ".join([*shown, f"{rate:,.0f} examples/s"]))
        self._restart_rate()

    def probe(self, metrics: Mapping[str, float]) -> None:
        """Reports what a probe measured; its seconds count in the examples a second around it.

        Args:
          metrics: names to values.
        """
        self._write("probe", metrics)

    def epoch(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Reports an epoch: one line on stderr, whoever looks.

        Args:
          metrics: names to values.

        Returns:
          The row written to metrics.jsonl.
        """
        self._close_bar()
        row = self._write("epoch", metrics)
        if is_first_process():
            line = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            where = f"{self.name} epoch {row['epoch']}/{self._epochs}"
            print(f"{where}: {line} ({row['wall_s']:.0f} s)", file=Harmless(sys.stderr), flush=True)
        return row

    def stop_clock(self) -> None:
        """Notes the seconds of training in the position, over all resumptions."""
        self._position.wall_s = round(self._clock() - self._began, 3)

    def _write(self, kind: str, metrics: Mapping[str, float]) -> dict[str, Any]:
        position = self._position
        self.stop_clock()
        where = (kind, self._seed, position.epoch, position.step, position.wall_s)
        row = plain({**dict(zip(COUNTERS, where, strict=True)), **metrics})
        self._run.append_metrics(row)
        position.rows += 1
        with writing(self._run.path):
            self._events.add(row)
        return row

    def _restart_rate(self) -> None:
        self._since, self._examples = self._clock(), 0

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
