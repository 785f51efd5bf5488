"""TensorBoard's file of events: the rows of metrics.jsonl once more, each number at its step.

It has no thread that a full disk could end unseen.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboardX.summary import scalar

COUNTERS = ("kind", "seed", "epoch", "step", "wall_s")


class EventFile:
    """The numbers of a seed's rows, in place of what earlier processes left of them."""

    def __init__(self, folder: Path, rows: Iterable[Mapping[str, Any]], *, wall_s: float = 0.0):
        """Writes the rows that there are.

        Args:
          folder: made when missing; files of events in it are removed.
          rows: what is known already.
          wall_s: seconds of training so far.

        Raises:
          OSError: if it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.*"):
            old.unlink()
        self._began = time.time() - wall_s
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        # Whoever has been watching forgets what the old files held, from step 0 on.
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=self._began, session_log=start))
        for row in rows:
            self._write(row)
        self._writer.flush()

    def add(self, row: Mapping[str, Any]) -> None:
        """Writes a row's numbers, there for any reader when this returns, or raises OSError."""
        self._write(row)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _write(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name not in COUNTERS and value is not None:  # None is a number that is not finite
                summary = scalar(f"{row['kind']}/{name}", value)
                when = self._began + row["wall_s"]
                self._writer.write_event(Event(wall_time=when, step=row["step"], summary=summary))
