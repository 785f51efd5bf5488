"""Data sets that TFDS has prepared."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_READ_AT_ONCE = 5000  # records; bounds memory and keeps both reader threads busy


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Hides the advice of TFDS, such as another decoder."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def prepared_builder(name: str, root: Path) -> Any:
    """Returns the builder of a data set whose files lie under `root`."""
    with quiet_tfds():
        import tensorflow_datasets as tfds

        return tfds.builder(name, data_dir=root, file_format="array_record")


def records_of(source: Any) -> Iterator[Any]:
    """Yields the records of a data source of TFDS."""
    for start in range(0, len(source), _READ_AT_ONCE):
        yield from source.__getitems__(range(start, min(start + _READ_AT_ONCE, len(source))))
