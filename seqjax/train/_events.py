"""TensorBoard's file of events, without a thread that a full disk could end unseen."""

import os
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboardX.summary import scalar


class EventFile:
    """Scalars over steps, in a new file beside those of earlier processes."""

    def __init__(self, folder: Path, *, purge_step: int | None = None):
        """Opens the file.

        Args:
          folder: made when missing.
          purge_step: TensorBoard hides what earlier files hold from this step on.

        Raises:
          OSError: if it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=start))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Writes a number.

        Raises:
          OSError: if it cannot be written.
        """
        self._write(Event(step=step, summary=scalar(name, value)))

    def close(self) -> None:
        """Writes what is still in memory.

        Raises:
          OSError: if it cannot be written; the file is closed all the same.
        """
        try:
            self._writer.flush()
        finally:
            self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
