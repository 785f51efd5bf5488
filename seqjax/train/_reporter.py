"""What a running seed shows and leaves: progress on stderr, metrics.jsonl, TensorBoard events."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seqjax.train._callbacks import Callback
from seqjax.train._checkpoints import Position
from seqjax.train._events import COUNTERS, EventFile
from seqjax.train._files import plain
from seqjax.train._processes import is_first_process
from seqjax.train._progress import Progress, short
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
        progress: Progress,
        callbacks: Sequence[Callback] = (),
    ):
        """Opens the event file.

        Args:
          run: where to report.
          seed: whose rows these are.
          epochs: how many there will be at most.
          position: where training stands; its rows and seconds are counted here.
          name: what it is called, such as "seed 0".
          clock: gives seconds.
          progress: the bar.
          callbacks: they hear every row.
        """
        self.name = name
        self._seed, self._clock, self._progress = seed, clock, progress
        self._callbacks = callbacks
        self._run, self._epochs, self._position = run, epochs, position
        with writing(run.path):
            self._events = EventFile(
                run.path / "tensorboard" / f"seed_{seed}",
                (row for row in run.metrics() if row.get("seed") == seed),
                wall_s=position.wall_s,
            )
        self._began = clock() - position.wall_s
        self._restart_rate()

    def __enter__(self) -> "Reporter":
        """Returns itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the progress bar and the event file."""
        self._progress.close()
        with contextlib.suppress(OSError):  # of a disk that is full; the last row said so
            self._events.close()

    def begin_epoch(self, num_steps: int) -> None:
        """Moves the progress bar to the position.

        Args:
          num_steps: batches in the epoch, 0 if unknown.
        """
        position = self._position
        self._progress.begin_epoch(position.epoch, num_steps, position.step_in_epoch)
        self._restart_rate()

    def hand_over(self, shapes: Any) -> None:
        """Says of what shapes the batches of the next update are; new ones are compiled.

        Args:
          shapes: anything that is equal for equal shapes.
        """
        self._progress.hand_over(shapes)

    def advance(self, num_examples: int, *, steps: int = 1) -> None:
        """Counts steps.

        Args:
          num_examples: examples in their batches.
          steps: how many.
        """
        self._examples += num_examples
        self._progress.advance(steps)

    def step(self, metrics: Mapping[str, float]) -> None:
        """Reports the averages since the last report.

        Args:
          metrics: names to values.
        """
        rate = self._examples / max(self._clock() - self._since, 1e-9)
        self._write("step", {**metrics, "examples_per_s": round(rate, 1)})
        shown = {n: metrics[n] for n in ("train_loss", "train_accuracy") if n in metrics}
        self._progress.show(f"{short(shown)} {rate:,.0f}/s")
        self._restart_rate()

    def probe(self, metrics: Mapping[str, float]) -> None:
        """Reports what a probe measured; its seconds count in the examples a second around it.

        Args:
          metrics: names to values.
        """
        self._write("probe", metrics)

    def epoch(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Reports an epoch: one line on stderr, whoever looks, with names cut short.

        Args:
          metrics: names to values.

        Returns:
          The row written to metrics.jsonl.
        """
        row = self._write("epoch", metrics)
        if is_first_process():
            parts = [
                f"{part} {short({n: v for n, v in metrics.items() if n.startswith(part)})}"
                for part in ("train", "val")
            ]
            where = f"{self.name} epoch {row['epoch']}/{self._epochs}"
            line = f"{where}: {'; '.join(parts)} ({row['wall_s']:.0f} s)"
            with self._progress.hidden():
                print(line, file=Harmless(sys.stderr), flush=True)
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
        for callback in self._callbacks:
            callback.on_row(row)
        return row

    def _restart_rate(self) -> None:
        self._since, self._examples = self._clock(), 0
