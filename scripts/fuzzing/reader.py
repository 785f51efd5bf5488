"""What is fuzzed: a reader, sound inputs for it, and how often its turn comes."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.faults import spoilt


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader and sound inputs for it.

    Attributes:
      name: what is read.
      file: name of the file, in a folder of its own.
      sound: contents that are accepted.
      read: receives the file.
      weight: its part of all inputs, that of a usual reader being 1.
      drawn: whether contents are no file's but 8 random bytes, from which `read` draws faults of
        what it holds itself; the empty content stands for none.
    """

    name: str
    file: str
    sound: tuple[bytes, ...]
    read: Callable[[Path], Any]
    weight: float = 1.0
    drawn: bool = False

    def spoilt(self, rng: random.Random) -> bytes:
        """Returns a content that may be refused."""
        return rng.randbytes(8) if self.drawn else spoilt(self.sound, rng)


def drawn(name: str, act: Callable[[random.Random | None], Any], weight: float = 1.0) -> Reader:
    """Returns a reader of something else than a file: `act(rng)`, or `act(None)` without faults."""

    def read(path: Path) -> None:
        content = path.read_bytes()
        act(random.Random(content) if content else None)

    return Reader(name, "drawn", (b"",), read, weight, drawn=True)
